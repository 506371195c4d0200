/*
 * symbol: names for addresses, for clients that have no binary.
 *
 * A GET says that there are names to be had; a POST brings addresses in hex,
 * joined by '+'.  Callers' addresses are lowered by the client.
 *
 * Format: https://gperftools.github.io/gperftools/pprof_remote_servers.html
 */

#include "kinds/kind.h"

#include <errno.h>
#include <string.h>

#include "kinds/write.h"
#include "symbols/maps.h"
#include "symbols/names.h"


enum {
    ADDRESS_TEXT_MAX = 2 + 16 + 16  /* "0x", digits, zeros in front */
};


/*
 * Reads TEXT, LEN bytes, as a hex number with or without "0x".  Returns 0, or
 * -1 when it is none or does not fit.
 */
static int
parse_address(const char *text, size_t len, uintptr_t *addr)
{
    if (len > 2 && text[0] == '0' && (text[1] | 0x20) == 'x') {
        text += 2;
        len -= 2;
    }

    if (len == 0) {
        return -1;
    }

    uintptr_t n = 0;

    for (size_t i = 0; i < len; i++) {
        const int c = text[i] | 0x20;
        unsigned digit;

        if (text[i] >= '0' && text[i] <= '9') {
            digit = (unsigned) (text[i] - '0');

        } else if (c >= 'a' && c <= 'f') {
            digit = (unsigned) (c - 'a' + 10);

        } else {
            return -1;
        }

        if (n >> (sizeof(n) * 8 - 4)) {
            return -1;
        }

        n = n << 4 | digit;
    }

    *addr = n;

    return 0;
}


/* Writes one line for each address of BODY; what is no address is skipped. */
static void
name_addresses(const char *body, size_t len, const struct pprof_maps *maps,
    struct pprof_names *names, struct pprof_buf *out)
{
    const char *end = body + len;

    for (const char *p = body; p < end; p++) {
        const char *text = p;
        uintptr_t addr;
        struct pprof_name name;

        while (p < end && *p != '+' && *p != ' ' && *p != '\r' && *p != '\n') {
            p++;
        }

        const size_t n = (size_t) (p - text);

        if (n > ADDRESS_TEXT_MAX || parse_address(text, n, &addr) == -1
            || pprof_names_find(names, maps, addr, &name) == -1)
        {
            continue;
        }

        /* the text as it came: google-pprof looks it up by its spelling */
        pprof_buf_append(out, text, n);
        pprof_buf_byte(out, '\t');
        pprof_buf_string(out, name.name);
        pprof_buf_byte(out, '\n');
    }
}


static void
end(struct pprof_job *job, bool gone)
{
    struct pprof_answer *a = &job->answer;
    struct pprof_buf *b = &a->body;

    (void) gone;

    pprof_buf_string(b, "num_symbols: 1\n");

    if (strcmp(job->ask.method, "POST") == 0) {
        struct pprof_maps maps;
        struct pprof_names names;

        if (pprof_job_maps(job, &maps) == -1) {
            return;
        }

        pprof_names_init(&names);
        name_addresses(job->ask.body, job->ask.body_len, &maps, &names, b);
        pprof_names_free(&names);
        pprof_maps_free(&maps);
    }

    pprof_answer_ok(a, PPROF_TYPE_TEXT, NULL);
}


const struct pprof_kind pprof_kind_symbol = {
    .name = "symbol",
    .about = "names for the addresses of a POST",
    .flags = PPROF_KIND_PLAIN | PPROF_KIND_POST,
    .end = end,
};
