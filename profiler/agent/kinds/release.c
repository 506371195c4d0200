#include "kinds/release.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "guest/allocator.h"
#include "kinds/tcmalloc.h"


enum { LOOK_NSEC = 10 * 1000 * 1000 };  /* between two looks */

/* ns: for a thread to come by, and to be done. */
#define WAIT_NSEC  PPROF_SECOND
#define DO_NSEC    (2 * PPROF_SECOND)


/* Bytes in memory, or 0. */
static uint64_t
read_resident(const struct pprof_target *target)
{
    char text[128];
    unsigned long long pages;

    return pprof_target_slurp(target, "statm", text, sizeof(text)) > 0
           && sscanf(text, "%*u %llu", &pages) == 1
           ? pages * (uint64_t) sysconf(_SC_PAGESIZE) : 0;
}


static void
say_released(const struct pprof_target *target, const char *function,
    uint64_t before, uint64_t nsec, char *text)
{
    const uint64_t after = read_resident(target);
    const uint64_t less = before > after ? before - after : 0;

    snprintf(text, PPROF_RELEASE_TEXT, "gc=1: %s: %llu KiB less in memory, "
             "%llu KiB before, %llu KiB after; %llu us", function,
             (unsigned long long) less / 1024,
             (unsigned long long) before / 1024,
             (unsigned long long) after / 1024,
             (unsigned long long) nsec / 1000);
}


/* Returns 0, or -1 with errno. */
static int
read_state(struct pprof_target *target, uint64_t results[PPROF_RESULTS])
{
    struct pprof_reply reply;

    if (pprof_target_call(target, PPROF_OP_RELEASE_READ, NULL, &reply) == -1) {
        return -1;
    }

    for (int i = 0; i < PPROF_RESULTS; i++) {
        results[i] = reply.results[i];
    }

    pprof_reply_free(&reply);

    return 0;
}


static void
await(struct pprof_target *target, uint64_t before, char *text)
{
    static const char *const functions[] = {
        [PPROF_ALLOCATOR_LIBC] = "malloc_trim()",
        [PPROF_ALLOCATOR_JEMALLOC] = "jemalloc's purge",
        [PPROF_ALLOCATOR_MIMALLOC] = "mi_collect()",
        [PPROF_ALLOCATOR_TCMALLOC] = "tcmalloc's ReleaseFreeMemory()"
    };
    const struct timespec look = { .tv_nsec = LOOK_NSEC };
    const uint64_t began = pprof_clock(CLOCK_MONOTONIC);
    uint64_t results[PPROF_RESULTS] = { PPROF_RELEASE_NONE };
    int error = 0;

    for ( ;; ) {
        const uint64_t waited = pprof_clock(CLOCK_MONOTONIC) - began;

        if (read_state(target, results) == -1) {
            error = errno;
            break;
        }

        if (results[0] == PPROF_RELEASE_DONE
            && results[1] < sizeof(functions) / sizeof(functions[0])
            && functions[results[1]] != NULL)
        {
            say_released(target, functions[results[1]], before, results[2],
                         text);
            return;
        }

        if (results[0] == PPROF_RELEASE_RUNNING
            ? waited >= DO_NSEC
            : waited >= WAIT_NSEC || results[0] != PPROF_RELEASE_WANTED)
        {
            break;
        }

        nanosleep(&look, NULL);
    }

    (void) pprof_target_call(target, PPROF_OP_RELEASE_END, NULL, NULL);

    snprintf(text, PPROF_RELEASE_TEXT, "gc=1: nothing was given back: %s",
             error != 0 ? "the program does not answer"
             : results[0] == PPROF_RELEASE_RUNNING
             ? "a thread is still at it"
             : results[0] == PPROF_RELEASE_REFUSED || results[3] > 0
             ? "the threads that called malloc() were in signal handlers, or "
               "in code whose stack does not tell"
             : "no thread of the program called malloc() within a second");
}


void
pprof_release(struct pprof_target *target, char text[PPROF_RELEASE_TEXT])
{
    const uint64_t before = read_resident(target);
    size_t n;

    if (pprof_tcmalloc_count(target, &n) == 0 || errno != ENOSYS) {
        /* one that an ordinary thread of ours may call */
        if (pprof_target_call(target, PPROF_OP_TCMALLOC_RELEASE, NULL, NULL)
            == 0)
        {
            say_released(target, "tcmalloc's ReleaseFreeMemory()", before, 0,
                         text);
            return;
        }
    }

    if (pprof_target_call(target, PPROF_OP_RELEASE, NULL, NULL) == 0) {
        await(target, before, text);
        return;
    }

    snprintf(text, PPROF_RELEASE_TEXT, "gc=1: nothing was given back: %s",
             errno == EBUSY ? "somebody else has asked for it just now"
             : errno == ENOSYS
             ? "libpprof is not in front of the program's malloc(), or does "
               "not know that allocator"
             : "the program does not answer");
}
