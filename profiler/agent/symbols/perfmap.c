#include "symbols/perfmap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>


enum {
    FILE_MAX    = 64 << 20,     /* bytes */
    NESTING_MAX = 16            /* rows before an address that may cover it */
};


struct pprof_perfmap_row {
    uintptr_t    start;
    uintptr_t    size;
    const char  *name;
};


/* Later lines stand behind earlier ones: of one start the last counts. */
static int
by_start(const void *a, const void *b)
{
    const struct pprof_perfmap_row  *x = a, *y = b;

    if (x->start != y->start) {
        return x->start < y->start ? -1 : 1;
    }

    return (x->name > y->name) - (x->name < y->name);
}


/* Reads "START SIZE name".  False: it is none. */
static bool
parse_line(char *line, struct pprof_perfmap_row *row)
{
    char  *end;

    errno = 0;
    row->start = strtoull(line, &end, 16);

    if (errno != 0 || end == line || *end != ' ') {
        return false;
    }

    row->size = strtoull(end + 1, &end, 16);

    if (errno != 0 || *end != ' ' || end[1] == '\0') {
        return false;
    }

    row->name = end + 1;

    return true;
}


int
pprof_perfmap_parse(struct pprof_perfmap *pm, char *text, size_t len)
{
    size_t  n = 0;

    *pm = (struct pprof_perfmap) {.text = text};

    for (size_t i = 0; i < len; i++) {
        n += text[i] == '\n';

        /* lines are strings from here on */
        if (text[i] == '\0') {
            text[i] = '?';
        }
    }

    pm->rows = calloc(n + 1, sizeof(pm->rows[0]));

    if (pm->rows == NULL) {
        pprof_perfmap_free(pm);
        errno = ENOMEM;
        return -1;
    }

    /* a line without an end is still being written */
    for (char *line = text, *end;
         (end = memchr(line, '\n', text + len - line)) != NULL;
         line = end + 1)
    {
        *end = '\0';
        pm->nrows += parse_line(line, &pm->rows[pm->nrows]);
    }

    qsort(pm->rows, pm->nrows, sizeof(pm->rows[0]), by_start);

    return 0;
}


/*
 * The process's id where it lives, which is the one that it knows, and its
 * user.  False: /proc does not tell.
 */
static bool
whose(const struct pprof_source *source, int *pid, uid_t *uid)
{
    char  text[4096];

    const int  fd = source == NULL
                    ? open("/proc/self/status", O_RDONLY | O_CLOEXEC)
                    : source->open(source, "status");

    if (fd < 0) {
        return false;
    }

    const ssize_t  n = read(fd, text, sizeof(text) - 1);

    close(fd);
    text[n < 0 ? 0 : n] = '\0';

    const char  *user = strstr(text, "\nUid:");
    const char  *ids = strstr(text, "\nNSpid:");
    unsigned     effective;

    if (user == NULL || sscanf(user, "\nUid: %*u %u", &effective) != 1) {
        return false;
    }

    *uid = effective;

    /* from the outermost to its own */
    for (char *end; ids != NULL; ids = end) {
        ids += strspn(ids, "\nNSpid: \t");

        const long  id = strtol(ids, &end, 10);

        if (end == ids) {
            break;
        }

        *pid = (int) id;

        if (*end == '\n') {
            break;
        }
    }

    return true;
}


int
pprof_perfmap_load(struct pprof_perfmap *pm,
    const struct pprof_source *source)
{
    int          pid = source == NULL ? (int) getpid() : (int) source->pid;
    char         path[80];
    uid_t        uid;
    struct stat  st;

    *pm = (struct pprof_perfmap) {.rows = NULL};

    if (!whose(source, &pid, &uid)) {
        return 0;
    }

    /* its root may be another */
    if (source == NULL) {
        snprintf(path, sizeof(path), "/tmp/perf-%d.map", pid);
    } else {
        snprintf(path, sizeof(path), "/proc/%d/root/tmp/perf-%d.map",
                 (int) source->pid, pid);
    }

    const int  fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
                               | O_NOCTTY);

    if (fd < 0) {
        return 0;
    }

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)
        || (st.st_uid != uid && st.st_uid != 0))
    {
        close(fd);
        return 0;
    }

    const size_t  size = st.st_size > FILE_MAX ? FILE_MAX : st.st_size;
    char         *text = malloc(size + 1);
    size_t        len = 0;
    ssize_t       n = 1;

    while (text != NULL && len < size && n > 0) {
        n = read(fd, text + len, size - len);
        len += n > 0 ? n : 0;
    }

    close(fd);

    if (text == NULL) {
        errno = ENOMEM;
        return -1;
    }

    return pprof_perfmap_parse(pm, text, len);
}


void
pprof_perfmap_free(struct pprof_perfmap *pm)
{
    free(pm->rows);
    free(pm->text);
    *pm = (struct pprof_perfmap) {.rows = NULL};
}


const char *
pprof_perfmap_find(const struct pprof_perfmap *pm, uintptr_t addr,
    uintptr_t *start)
{
    size_t  low = 0, high = pm->nrows;

    while (low < high) {
        const size_t  mid = low + (high - low) / 2;

        if (pm->rows[mid].start <= addr) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }

    for (size_t i = low; i > 0 && low - i < NESTING_MAX; i--) {
        const struct pprof_perfmap_row  *row = &pm->rows[i - 1];

        if (addr - row->start < row->size) {
            *start = row->start;
            return row->name;
        }
    }

    return NULL;
}
