#include "symbols/demangle.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>


enum {
    /*
     * The runtimes keep about 64 bytes of stack for each byte of the name;
     * 4 KiB of it stay within the serving thread's stack.
     */
    RUNTIME_MAX = 4096
};


/* Text that never outgrows what it was given: a name shrinks by demangling. */
struct text {
    char    *data;
    size_t   len;
    size_t   cap;
    bool     full;
};


static void
put(struct text *t, const char *s, size_t len)
{
    if (len > t->cap - t->len) {
        t->full = true;
        return;
    }

    memcpy(t->data + t->len, s, len);
    t->len += len;
}


/*
 * <source-name>: a length and so many characters.  *FIRST and *LEN are set to
 * them; returns what follows, or NULL.
 */
static const char *
source_name(const char *s, const char **first, size_t *len)
{
    size_t  n = 0;

    if (*s < '1' || *s > '9') {
        return NULL;
    }

    while (*s >= '0' && *s <= '9') {
        n = n * 10 + (*s++ - '0');

        if (n > RUNTIME_MAX) {
            return NULL;
        }
    }

    if (strnlen(s, n) < n) {
        return NULL;
    }

    *first = s;
    *len = n;

    return s + n;
}


/* One part of a name, with "::" before it when it is not the first. */
static const char *
name_part(const char *s, struct text *t, const char **last, size_t *last_len)
{
    static const char  anonymous[] = "_GLOBAL__N_";
    const char        *first;
    size_t             len;

    if (*s == 'L') {
        s++;            /* internal linkage: says nothing to people */
    }

    s = source_name(s, &first, &len);

    if (s == NULL) {
        return NULL;
    }

    if (t->len != 0) {
        put(t, "::", 2);
    }

    if (len > sizeof(anonymous) - 1
        && memcmp(first, anonymous, sizeof(anonymous) - 1) == 0)
    {
        put(t, "(anonymous namespace)", 21);
    } else {
        put(t, first, len);
    }

    *last = first;
    *last_len = len;

    return s;
}


/* After N: qualifiers, parts, then E. */
static const char *
nested_name(const char *s, struct text *t)
{
    const char  *last = NULL;
    size_t       last_len = 0;

    while (*s == 'r' || *s == 'V' || *s == 'K' || *s == 'R' || *s == 'O') {
        s++;
    }

    if (s[0] == 'S' && s[1] == 't') {
        put(t, "std", 3);
        s += 2;
    }

    while (*s != 'E') {
        if ((*s == 'C' || *s == 'D') && s[1] >= '0' && s[1] <= '5'
            && last != NULL)
        {
            put(t, "::~", *s == 'D' ? 3 : 2);
            put(t, last, last_len);
            s += 2;
            continue;
        }

        s = name_part(s, t, &last, &last_len);

        if (s == NULL) {
            return NULL;
        }
    }

    return last == NULL ? NULL : s + 1;
}


static char *
demangle_plain(const char *name)
{
    /* the longest part that grows is _GLOBAL__N_1: 14 bytes become 23 */
    const size_t  len = strlen(name);
    struct text   t = {.cap = 2 * len};
    const char   *s = name + 2;

    t.data = malloc(t.cap + 1);

    if (t.data == NULL) {
        return NULL;
    }

    if (*s == 'N') {
        s = nested_name(s + 1, &t);

    } else {
        const char  *last;
        size_t       last_len;

        if (s[0] == 'S' && s[1] == 't') {
            put(&t, "std", 3);
            s += 2;
        }

        s = name_part(s, &t, &last, &last_len);
    }

    /* template arguments: better the mangled name than half of it */
    if (s == NULL || *s == 'I' || t.full) {
        free(t.data);
        return NULL;
    }

    t.data[t.len] = '\0';

    return t.data;
}


char *
pprof_demangle(char *(*runtime)(const char *, char *, size_t *, int *),
    const char *name)
{
    if (name[0] != '_' || name[1] != 'Z') {
        return NULL;
    }

    if (runtime != NULL && strlen(name) <= RUNTIME_MAX) {
        int  status;

        return runtime(name, NULL, NULL, &status);
    }

    return demangle_plain(name);
}
