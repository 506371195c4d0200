#include "kinds/env.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


static struct {
    const char  *name;
    bool         set;
    char         value[160];    /* a longer one means nothing to us */
} known[] = {
    { .name = "PPROF_LISTEN" },
    { .name = "PPROF_SOCKET_MODE" },
    { .name = "PPROF_SOCKET_GROUP" },
    { .name = "PPROF_CHILDREN" },
    { .name = "PPROF_LINGER" },
    { .name = "PPROF_PRELOAD" },
    { .name = "PPROF_PAGE" },
    { .name = "PPROF_VERBOSE" },
    { .name = "PPROF_CMDLINE" },
    { .name = "PPROF_CPU_ENGINE" },
    { .name = "PPROF_HEAP_SAMPLE" },
    { .name = "PPROF_HEAP_ENGINE" },
    { .name = "TCMALLOC_SAMPLE_PARAMETER" },
    { .name = "PPROF_ALLOC_SAMPLE" },
    { .name = "PPROF_THREADCREATE" },
    { .name = "PPROF_MUTEX_RATE" },
    { .name = "PPROF_BLOCK_RATE" },
    { .name = "PPROF_LINES" },
};

enum { KNOWN = sizeof(known) / sizeof(known[0]) };

static bool  remembered;


void
pprof_env_remember(void)
{
    for (size_t i = 0; i < KNOWN; i++) {
        /* who runs a program that has more rights is not to give it orders */
        const char *const value = secure_getenv(known[i].name);

        if (value != NULL) {
            strncpy(known[i].value, value, sizeof(known[i].value) - 1);
            known[i].set = true;
        }
    }

    remembered = true;
}


const char *
pprof_env_get(const char *name)
{
    if (!remembered) {
        return secure_getenv(name);
    }

    for (size_t i = 0; i < KNOWN; i++) {
        if (strcmp(known[i].name, name) == 0) {
            return known[i].set ? known[i].value : NULL;
        }
    }

    return NULL;
}


/* Is the N characters at ENTRY the last part of OWN, or a path that ends so? */
static bool
is_own(const char *entry, size_t n, const char *own)
{
    const char *const slash = strrchr(own, '/');
    const char *const name = slash == NULL ? own : slash + 1;
    const size_t len = strlen(name);

    return n >= len && memcmp(entry + n - len, name, len) == 0
           && (n == len || entry[n - len - 1] == '/');
}


/*
 * Takes what OURS says, and the library itself, which is OWN, out of the list
 * LIST of LD_PRELOAD, in its place.  Returns whether anything is left.
 */
static bool
close_preload(char *list, const char *ours, const char *own)
{
    const size_t len = ours == NULL ? 0 : strlen(ours);
    char *to = list;
    const char *from = list;

    if (len > 0 && strncmp(list, ours, len) == 0
        && strchr(" :", list[len]) != NULL)
    {
        from += len;
    }

    while (*(from += strspn(from, " :")) != '\0') {
        const size_t n = strcspn(from, " :");

        if (!is_own(from, n, own)) {
            if (to != list) {
                *to++ = ' ';
            }

            memmove(to, from, n);
            to += n;
        }

        from += n;
    }

    /* what was behind it must not stand there a second time */
    memset(to, '\0', (size_t) (from - to));

    return to != list;
}


/* Is ENTRY a variable of ours?  Go's clients have PPROF_… of their own. */
static bool
is_known(const char *entry)
{
    const size_t n = strcspn(entry, "=");

    for (size_t i = 0; i < KNOWN; i++) {
        if (strncmp(known[i].name, "PPROF_", 6) == 0
            && strlen(known[i].name) == n
            && memcmp(entry, known[i].name, n) == 0)
        {
            return true;
        }
    }

    return false;
}


void
pprof_env_close(char **envp, const char *own)
{
    static const char preload[] = "LD_PRELOAD=";
    const size_t len = sizeof(preload) - 1;
    /* the string stays when its place in the array is another's */
    const char *const ours = getenv("PPROF_PRELOAD");
    char **to = envp;
    char **from;

    for (from = envp; *from != NULL; from++) {
        const bool goes = strncmp(*from, preload, len) == 0
                          ? !close_preload(*from + len, ours, own)
                          : is_known(*from);

        if (!goes) {
            *to++ = *from;
        }
    }

    /*
     * Who looks behind it for the auxiliary vector, as Go's runtime does,
     * finds the end of one and asks /proc.
     */
    while (to < from) {
        *to++ = NULL;
    }
}


/* Where to listen, and whose the agent is, is told in other ways. */
static bool
is_setting(const char *name)
{
    static const char *const others[] = {
        "PPROF_LISTEN", "PPROF_CHILDREN", "PPROF_PRELOAD", "PPROF_PAGE"
    };

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (strcmp(name, others[i]) == 0) {
            return false;
        }
    }

    return true;
}


int
pprof_env_copy(char **list, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < KNOWN && n + 1 < max; i++) {
        const char *const value = pprof_env_get(known[i].name);

        if (value == NULL || !is_setting(known[i].name)) {
            continue;
        }

        if (asprintf(&list[n], "%s=%s", known[i].name, value) == -1) {
            list[n] = NULL;
            return -1;
        }

        n++;
    }

    list[n] = NULL;

    return 0;
}


void
pprof_env_free(char **list)
{
    while (*list != NULL) {
        free(*list++);
    }
}
