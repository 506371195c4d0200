/* guest/mark.c: the mark in what nginx sends, in one piece and in many. */

#include "guest/mark.c"
#include "guard.h"
#include "tap.h"


struct sent {
    const char  *what;
    const char  *bytes;
    size_t       len;
    const char  *name;              /* NULL: bare; "!": nothing */
};

#define B(s)  s, sizeof(s) - 1

static const struct sent all[] = {
    { "http", B("GET /a?b HTTP/1.1\r\nX-Debug-Route: /a;0000beef\r\n"
                "Host: a\r\n\r\n"), "/a" },
    { "http, POST, in small letters",
      B("POST / HTTP/1.0\r\nx-debug-route:/b c;0000beef\r\n\r\n"), "/b c" },
    { "http, no route", B("PUT / HTTP/1.1\r\nX-Debug-Route: ;0000beef\r\n"),
      "" },
    { "http, the second line",
      B("GET / HTTP/1.1\r\nHost: a\r\nX-Debug-Route: /a;0000beef\r\n\r\n"),
      NULL },
    { "http, two", B("GET / HTTP/1.1\r\nX-Debug-Route: /a;0000beef\r\n"
                     "X-Debug-Route: /evil;0000beef\r\n\r\n"), "/a" },
    { "http, a comma", B("GET / HTTP/1.1\r\nX-Debug-Route: a,b;0000beef\r\n"),
      NULL },
    { "http, no number", B("GET / HTTP/1.1\r\nX-Debug-Route: /a;000beef\r\n"),
      NULL },
    { "http, not hexadecimal",
      B("GET / HTTP/1.1\r\nX-Debug-Route: /a;0000beeg\r\n"), NULL },
    { "http, the longest name",
      B("GET / HTTP/1.1\r\nX-Debug-Route: "
        "/45678901234567890123456789012345678901234567890;0000beef\r\n"),
      "/45678901234567890123456789012345678901234567890" },
    { "http, a longer one",
      B("GET / HTTP/1.1\r\nX-Debug-Route: "
        "/456789012345678901234567890123456789012345678901;0000beef\r\n"),
      NULL },
    { "HTTP/2", B("PRI * HTTP/2.0\r\nX-Debug-Route: /a;0000beef\r\n"), "!" },
    { "an answer", B("HTTP/1.1 200 OK\r\nServer: a\r\n\r\n"), NULL },
    { "text", B("Hello\nX-Debug-Route: /a;0000beef\r\n"), "!" },
    { "fastcgi", B("\1\1\0\1\0\x08\0\0\0\1\1\0\0\0\0\0"
                   "\1\4\0\1\0\x18\0\0\x0b\x0b" "DEBUG_ROUTE/a;0000beef"
                   "\1\4\0\1\0\0\0\0"), "/a" },
    { "fastcgi, another first pair",
      B("\1\1\0\1\0\x08\0\0\0\1\1\0\0\0\0\0"
        "\1\4\0\1\0\x18\0\0\x0b\x0b" "DEBUG_ROUTF/a;0000beef"
        "\1\4\0\1\0\0\0\0"), NULL },
    { "fastcgi, a value too long",
      B("\1\1\0\1\0\x08\0\0\0\1\1\0\0\0\0\0"
        "\1\4\0\1\0\x18\0\0\x0b\xff" "DEBUG_ROUTE/a;0000beef"
        "\1\4\0\1\0\0\0\0"), NULL },
    { "uwsgi", B("\0\x2a\0\0\x0b\0DEBUG_ROUTE\x0b\0/a;0000beef"
                 "\4\0HTTP\0\0"), "/a" },
    { "uwsgi, another's", B("\0\x2a\0\0\x0b\0QUERYSTRING\x0b\0/a;0000beef"),
      "!" },
    { "zeroes", B("\0\0\0\0\0\0\0\0"), "!" },
    { "a bell", B("\1\0\0\0\0\0\0\0"), "!" },
    { "scgi", B("44:CONTENT_LENGTH\0" "27\0DEBUG_ROUTE\0/a;0000beef\0"
                "SCGI\0" "1\0,"), "/a" },
    { "scgi, without", B("24:CONTENT_LENGTH\0" "27\0SCGI\0" "1\0,"), NULL },
    { "a number", B("44:\"a\"\0"), "!" },
};


static void
judge(const struct sent *sent, enum pprof_mark_found found,
    const struct pprof_mark *mark, const char *how)
{
    if (sent->name == NULL || strcmp(sent->name, "!") == 0) {
        ok(found == (sent->name == NULL ? PPROF_MARK_BARE
                                        : PPROF_MARK_NOTHING),
           "%s, %s: no mark", sent->what, how);
        return;
    }

    ok(found == PPROF_MARK_SEEN && mark->id == 0xbeef
       && mark->len == strlen(sent->name)
       && memcmp(mark->name, sent->name, mark->len) == 0,
       "%s, %s: its name and number", sent->what, how);
}


/* The first N bytes, and the rest behind what was kept of them. */
static enum pprof_mark_found
in_two(const struct sent *sent, size_t n, struct pprof_mark *mark)
{
    uint8_t *const first = guard(sent->bytes, n);
    enum pprof_mark_found found = pprof_mark_look(first, n, mark);
    uint8_t buf[PPROF_MARK_HEAD + 512];

    if (found == PPROF_MARK_MORE) {
        const size_t kept = pprof_mark_keep(first, n, buf);

        memcpy(buf + kept, sent->bytes + n, sent->len - n);

        uint8_t *const both = guard(buf, kept + sent->len - n);

        found = pprof_mark_look(both, kept + sent->len - n, mark);
        guard_free(both, kept + sent->len - n);
    }

    guard_free(first, n);

    return found;
}


int
main(void)
{
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        const struct sent *const sent = &all[i];
        struct pprof_mark mark, other;
        bool same = true;

        const enum pprof_mark_found found = in_two(sent, sent->len, &mark);

        judge(sent, found, &mark, "whole");

        /* uwsgi's head is read as four bytes at least */
        for (size_t n = sent->bytes[0] == 0 ? 4 : 1; n < sent->len; n++) {
            const enum pprof_mark_found now = in_two(sent, n, &other);

            if (now != found
                || (now == PPROF_MARK_SEEN
                    && (other.id != mark.id || other.len != mark.len
                        || memcmp(other.name, mark.name, mark.len) != 0)))
            {
                same = false;
                printf("# %s: %d after %zu bytes\n", sent->what, (int) now, n);
            }
        }

        ok(same, "%s: the same in two pieces, wherever they part", sent->what);
    }

    return done_testing();
}
