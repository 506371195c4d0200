/*
 * Preloaded before an allocator: fails what $FAILING_FILE says, of the calls
 * that libpprof's own threads make.  The file is one struct control.
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>


static struct control {
    uint64_t  calls;        /* so many were made */
    uint64_t  first;        /* from this one on, counted from 1; 0: none */
    uint64_t  count;        /* so many fail */
} *control;

static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static int   (*next_memalign)(void **, size_t, size_t);
static void  (*next_free)(void *);

/* For dlsym() itself. */
static char    early[1 << 16];
static size_t  early_used;


static void *
take_early(size_t size)
{
    void *p = early + early_used;

    early_used += (size + 15) & ~(size_t) 15;

    return early_used <= sizeof(early) ? p : NULL;
}


static void
find(void)
{
    static bool finding;

    if (finding) {
        return;
    }

    finding = true;
    *(void **) &next_calloc = dlsym(RTLD_NEXT, "calloc");
    *(void **) &next_realloc = dlsym(RTLD_NEXT, "realloc");
    *(void **) &next_memalign = dlsym(RTLD_NEXT, "posix_memalign");
    *(void **) &next_free = dlsym(RTLD_NEXT, "free");
    *(void **) &next_malloc = dlsym(RTLD_NEXT, "malloc");
}


__attribute__((constructor)) static void
begin(void)
{
    const char *path = getenv("FAILING_FILE");
    const int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *p = fd == -1 ? MAP_FAILED
                       : mmap(NULL, sizeof(struct control),
                              PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (p != MAP_FAILED) {
        control = p;
    }

    if (fd != -1) {
        close(fd);
    }
}


static bool
fails(void)
{
    char name[16] = "";

    if (control == NULL) {
        return false;
    }

    prctl(PR_GET_NAME, name);

    if (strncmp(name, "pprof", 5) != 0) {
        return false;
    }

    const uint64_t n = __atomic_add_fetch(&control->calls, 1,
                                          __ATOMIC_RELAXED);
    const uint64_t first = __atomic_load_n(&control->first, __ATOMIC_RELAXED);

    if (first == 0 || n < first || n - first >= control->count) {
        return false;
    }

    errno = ENOMEM;

    return true;
}


void *
malloc(size_t size)
{
    if (next_malloc == NULL) {
        find();
    }

    return next_malloc == NULL ? take_early(size)
           : fails() ? NULL : next_malloc(size);
}


void *
calloc(size_t n, size_t size)
{
    if (next_malloc == NULL) {
        find();
    }

    return next_malloc == NULL ? take_early(n * size)
           : fails() ? NULL : next_calloc(n, size);
}


void *
realloc(void *p, size_t size)
{
    return fails() ? NULL : next_realloc(p, size);
}


int
posix_memalign(void **p, size_t align, size_t size)
{
    return fails() ? ENOMEM : next_memalign(p, align, size);
}


void
free(void *p)
{
    if ((char *) p >= early && (char *) p < early + sizeof(early)) {
        return;
    }

    if (p != NULL) {
        next_free(p);
    }
}
