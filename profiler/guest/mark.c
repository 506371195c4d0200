#include "guest/mark.h"

#include <stdbool.h>
#include <string.h>


static const char  http_key[] = "x-debug-route:";
static const char  key[] = "DEBUG_ROUTE";
static const char  scgi_first[] = "CONTENT_LENGTH";

enum {
    KEY = sizeof(key) - 1,
    HTTP_KEY = sizeof(http_key) - 1,
    SCGI_FIRST = sizeof(scgi_first),    /* with its zero */
    ID = 8,                             /* hexadecimal digits */
    VALUE = PPROF_MARK_NAME + 1 + ID,   /* at most */
    METHOD = 4,                         /* bytes that tell one */
    FCGI_PAIR = 24,                     /* where the PARAMS' content begins */
    SCGI_DIGITS = 5
};


static int
hex(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}


/* "name;8hex", all N bytes of it. */
static enum pprof_mark_found
read_value(const uint8_t *p, size_t n, struct pprof_mark *mark)
{
    if (n < 1 + ID || n > VALUE || p[n - ID - 1] != ';') {
        return PPROF_MARK_BARE;
    }

    mark->len = (uint32_t) (n - ID - 1);
    mark->id = 0;

    for (size_t i = 0; i < mark->len; i++) {
        if (p[i] < ' ' || p[i] == 0x7f || p[i] == ',' || p[i] == ';') {
            return PPROF_MARK_BARE;
        }

        mark->name[i] = (char) p[i];
    }

    for (size_t i = n - ID; i < n; i++) {
        if (hex(p[i]) == -1) {
            return PPROF_MARK_BARE;
        }

        mark->id = mark->id << 4 | (uint32_t) hex(p[i]);
    }

    return PPROF_MARK_SEEN;
}


/* Does P, of which there are N bytes, begin as WHAT, of SIZE?  Fewer: MORE. */
static enum pprof_mark_found
begins(const uint8_t *p, size_t n, const char *what, size_t size)
{
    const size_t have = n < size ? n : size;

    return memcmp(p, what, have) != 0 ? PPROF_MARK_BARE
           : have < size ? PPROF_MARK_MORE : PPROF_MARK_SEEN;
}


/* The first header line. */
static enum pprof_mark_found
look_line(const uint8_t *p, size_t n, struct pprof_mark *mark)
{
    size_t i = 0;

    for (/* void */; i < HTTP_KEY; i++) {
        if (i == n) {
            return PPROF_MARK_MORE;
        }

        const uint8_t c = p[i] >= 'A' && p[i] <= 'Z' ? p[i] | 0x20 : p[i];

        if (c != (uint8_t) http_key[i]) {
            return PPROF_MARK_BARE;
        }
    }

    i += i < n && p[i] == ' ';

    const size_t from = i;

    while (i < n && p[i] != '\r' && p[i] != '\n') {
        if (i - from == VALUE) {
            return PPROF_MARK_BARE;
        }

        i++;
    }

    return i == n ? PPROF_MARK_MORE : read_value(p + from, i - from, mark);
}


static bool
is_method(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n && i < METHOD; i++) {
        if ((p[i] < 'A' || p[i] > 'Z') && (p[i] != ' ' || i < 3)) {
            return false;
        }
    }

    /* an HTTP/2 connection's first words are no request */
    return n < METHOD || memcmp(p, "PRI ", METHOD) != 0;
}


static enum pprof_mark_found
look_http(const uint8_t *p, size_t n, struct pprof_mark *mark)
{
    if (!is_method(p, n)) {
        return PPROF_MARK_NOTHING;
    }

    const uint8_t *const lf = memchr(p, '\n', n);

    return lf == NULL ? PPROF_MARK_MORE
           : look_line(lf + 1, n - (size_t) (lf + 1 - p), mark);
}


/*
 * A BEGIN_REQUEST of eight bytes, then a PARAMS record with one pair, of
 * lengths that have a byte each.
 */
static enum pprof_mark_found
look_fastcgi(const uint8_t *p, size_t n, struct pprof_mark *mark)
{
    const enum pprof_mark_found head = begins(p, n, "\1\1\0", 3);

    if (head != PPROF_MARK_SEEN) {
        return head == PPROF_MARK_BARE ? PPROF_MARK_NOTHING : head;
    }

    if (n < FCGI_PAIR + 2) {
        return PPROF_MARK_MORE;
    }

    if (p[4] != 0 || p[5] != 8 || p[16] != 1 || p[17] != 4
        || p[FCGI_PAIR] != KEY || p[FCGI_PAIR + 1] > VALUE)
    {
        return PPROF_MARK_BARE;
    }

    const size_t at = FCGI_PAIR + 2 + KEY, len = p[FCGI_PAIR + 1];
    const enum pprof_mark_found rc = begins(p + FCGI_PAIR + 2,
                                            n - FCGI_PAIR - 2, key, KEY);

    return rc != PPROF_MARK_SEEN ? rc
           : n < at + len ? PPROF_MARK_MORE : read_value(p + at, len, mark);
}


static enum pprof_mark_found
look_uwsgi(const uint8_t *p, size_t n, struct pprof_mark *mark)
{
    /* the head comes in one piece: zeroes by the byte are somebody's bell */
    if (n < 4) {
        return PPROF_MARK_NOTHING;
    }

    const size_t size = p[1] | (size_t) p[2] << 8;

    if (p[3] != 0 || size < 2 + KEY + 2) {
        return PPROF_MARK_NOTHING;
    }

    /* a request of another server's has another key there, of any length */
    const enum pprof_mark_found rc = begins(p + 4, n - 4, "\13\0DEBUG_ROUTE",
                                            2 + KEY);

    if (rc != PPROF_MARK_SEEN) {
        return rc == PPROF_MARK_BARE ? PPROF_MARK_NOTHING : rc;
    }

    const size_t at = 4 + 2 + KEY + 2;

    if (n < at) {
        return PPROF_MARK_MORE;
    }

    const size_t len = p[at - 2] | (size_t) p[at - 1] << 8;

    return len > VALUE ? PPROF_MARK_BARE
           : n < at + len ? PPROF_MARK_MORE : read_value(p + at, len, mark);
}


/* "70:CONTENT_LENGTH" 0 "0" 0 "DEBUG_ROUTE" 0 "name;8hex" 0 … */
static enum pprof_mark_found
look_scgi(const uint8_t *p, size_t n, struct pprof_mark *mark)
{
    size_t i = 0;

    while (i < n && i <= SCGI_DIGITS && p[i] >= '0' && p[i] <= '9') {
        i++;
    }

    if (i == n) {
        return i <= SCGI_DIGITS ? PPROF_MARK_MORE : PPROF_MARK_NOTHING;
    }

    if (i == 0 || p[i] != ':') {
        return PPROF_MARK_NOTHING;
    }

    i++;

    enum pprof_mark_found rc = begins(p + i, n - i, scgi_first, SCGI_FIRST);

    if (rc != PPROF_MARK_SEEN) {
        return rc == PPROF_MARK_BARE ? PPROF_MARK_NOTHING : rc;
    }

    const uint8_t *zero = memchr(p + i + SCGI_FIRST, '\0',
                                 n - i - SCGI_FIRST);

    if (zero == NULL) {
        return n < PPROF_MARK_HEAD ? PPROF_MARK_MORE : PPROF_MARK_BARE;
    }

    i = (size_t) (zero + 1 - p);
    rc = begins(p + i, n - i, key, KEY + 1);

    if (rc != PPROF_MARK_SEEN) {
        return rc;
    }

    i += KEY + 1;
    zero = memchr(p + i, '\0', n - i);

    return zero != NULL ? read_value(p + i, (size_t) (zero - p) - i, mark)
           : n - i <= VALUE ? PPROF_MARK_MORE : PPROF_MARK_BARE;
}


enum pprof_mark_found
pprof_mark_look(const uint8_t *p, size_t n, struct pprof_mark *mark)
{
    if (n == 0) {
        return PPROF_MARK_NOTHING;
    }

    if (p[0] >= 'A' && p[0] <= 'Z') {
        return look_http(p, n, mark);
    }

    if (p[0] == 1) {
        return look_fastcgi(p, n, mark);
    }

    if (p[0] == 0) {
        return look_uwsgi(p, n, mark);
    }

    return p[0] >= '1' && p[0] <= '9' ? look_scgi(p, n, mark)
                                      : PPROF_MARK_NOTHING;
}


size_t
pprof_mark_keep(const uint8_t *p, size_t n, uint8_t *head)
{
    if (p[0] < 'A' || p[0] > 'Z' || n <= METHOD) {
        /* as it is: what wants more than that has been told so */
        n = n < PPROF_MARK_HEAD ? n : PPROF_MARK_HEAD;
        memcpy(head, p, n);

        return n;
    }

    const uint8_t *const lf = memchr(p, '\n', n);
    const size_t rest = lf == NULL ? 0 : n - (size_t) (lf - p);

    memcpy(head, p, METHOD);

    if (rest > PPROF_MARK_HEAD - METHOD) {
        return METHOD;
    }

    memcpy(head + METHOD, lf, rest);

    return METHOD + rest;
}
