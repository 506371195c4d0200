/*
 * What the samples of a CPU profile sum up to, held against the kernel's
 * account: each thread's by its own clock, and all of them by the process's.
 *
 * GUEST ROOM, but for the serving thread only, when no handler can write any
 * more.
 */

#ifndef PPROF_GUEST_ACCOUNT_H
#define PPROF_GUEST_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/newborn.h"
#include "guest/sampler.h"
#include "guest/tick.h"


/* ns of CPU time without a sample, from which on it matters why */
enum { PPROF_ACCOUNT_LAG = 50000000 };

/* Where rows go, and what they come to.  Owner: whoever declared it. */
struct pprof_account {
    struct pprof_ticks   *ticks;
    uint64_t              cpu;          /* what the program computed, ns */
    bool                  taken;        /* the signal, by the program */
    pprof_sampler_visit  *visit;        /* or NULL */
    void                 *arg;

    /* what is told */
    uint64_t              samples;      /* periods with a stack */
    uint64_t              lost;         /* periods without */
    uint64_t              young;        /* threads that never had a row */

    /* meanwhile */
    double                scale[PPROF_NEWBORN_CLASSES];
                                        /* of what the young's samples say */
    uint64_t              carry;        /* ns that do not make a period yet */
};


/*
 * Settles the accounts and calls VISIT with ARG for each row.  Their periods
 * sum up to what the program computed, but for one; those that no sample
 * stands for are charged
 *
 *   - to the first stack of the thread that computed them, if it has one: as
 *     the time before each signal is to where that one was; what is more than
 *     lies between two signals, to the last;
 *   - else to the samples of those threads that were hit though they computed
 *     less than a tick for each: of many threads that compute little the
 *     kernel's tick hits some, and they stand for the others;
 *   - and what threads computed that came and went, to the samples of those
 *     of them that a tick hit, and then to the function that they began with.
 *
 * Where no sample can stand for it, it is told as lost, with the reason.
 *
 * Context: serving thread.
 */
void pprof_account_settle(struct pprof_account *account);

#endif
