/*
 * The kinds there are, and what they answer with.
 */

#include "kinds/kind.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>


#define KIND(what, flags)  extern const struct pprof_kind pprof_kind_##what;
PPROF_KINDS(KIND)
#undef KIND

const struct pprof_kind *const pprof_kinds[] = {
#define KIND(what, flags)  &pprof_kind_##what,
    PPROF_KINDS(KIND)
#undef KIND
    NULL
};


const struct pprof_kind *
pprof_kind_find(const char *name, size_t len)
{
    for (size_t i = 0; pprof_kinds[i] != NULL; i++) {
        const char *s = pprof_kinds[i]->name;

        if (strlen(s) == len && memcmp(s, name, len) == 0) {
            return pprof_kinds[i];
        }
    }

    return NULL;
}


void
pprof_answer_error(struct pprof_answer *a, int status, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    pprof_buf_free(&a->body);
    pprof_buf_string(&a->body, text);
    pprof_buf_byte(&a->body, '\n');

    if (a->body.failed) {
        /* the status alone has to do */
        pprof_buf_free(&a->body);
    }

    a->status = status;
    a->type = PPROF_TYPE_TEXT;
    a->file = NULL;
}


void
pprof_answer_ok(struct pprof_answer *a, const char *type, const char *file)
{
    if (a->body.failed) {
        pprof_answer_error(a, 500, "out of memory while the profile was "
                           "written; retry when the program has more");
        return;
    }

    a->status = 200;
    a->type = type;
    a->file = file;
}
