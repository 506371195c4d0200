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
#include <stdlib.h>
#include <string.h>

#include "kinds/write.h"
#include "symbols/maps.h"
#include "symbols/names.h"


enum {
    ADDRESS_TEXT_MAX = 2 + 16 + 16, /* "0x", digits, zeros in front */
    ADDRESSES_MAX = 50000,          /* of one answer */
    SEEN_SIZE = 1 << 17             /* more than twice as many */
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


/*
 * Puts ADDR into SEEN, of SEEN_SIZE places.  Returns whether it was new; false,
 * too, when that many are in there that no more are to be.
 */
static bool
note(uintptr_t *seen, size_t *count, uintptr_t addr)
{
    /* a place that holds 0 is free */
    const uintptr_t key = addr + 1;
    size_t at = (size_t) ((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32)
                % SEEN_SIZE;

    while (seen[at] != 0) {
        if (seen[at] == key) {
            return false;
        }

        at = (at + 1) % SEEN_SIZE;
    }

    if (*count == ADDRESSES_MAX) {
        return false;
    }

    seen[at] = key;
    (*count)++;

    return true;
}


/*
 * Writes one line for each address of BODY, once; what is no address is
 * skipped.  Behind ADDRESSES_MAX of them a line that clients skip says how
 * many words were left out.
 */
static void
name_addresses(const char *body, size_t len, const struct pprof_maps *maps,
    struct pprof_names *names, struct pprof_buf *out)
{
    const char *end = body + len;
    uintptr_t *const seen = calloc(SEEN_SIZE, sizeof(*seen));
    size_t count = 0, left = 0;

    if (seen == NULL) {
        out->failed = true;
        return;
    }

    for (const char *p = body; p < end; p++) {
        const char *text = p;
        uintptr_t addr;
        struct pprof_name name;

        while (p < end && *p != '+' && *p != ' ' && *p != '\r' && *p != '\n') {
            p++;
        }

        const size_t n = (size_t) (p - text);

        if (count == ADDRESSES_MAX) {
            left += n > 0;
            continue;
        }

        if (n > ADDRESS_TEXT_MAX || parse_address(text, n, &addr) == -1
            || !note(seen, &count, addr)
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

    if (left > 0) {
        pprof_buf_printf(out, "# %zu more were not looked up; ask for at most "
                         "%d at once\n", left, ADDRESSES_MAX);
    }

    free(seen);
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
    PPROF_KIND(symbol),
    .about = "names for the addresses of a POST",
    .end = end,
};
