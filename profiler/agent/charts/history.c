#include "charts/history.h"

#include <stddef.h>


static struct pprof_point *
point_at(const struct pprof_ring *ring, uint32_t i)
{
    return &ring->points[(ring->begin + i) % ring->cap];
}


void
pprof_history_init(struct pprof_history *h)
{
    h->rings[0] = (struct pprof_ring) { .points = h->seconds, .step = 1,
                                        .cap = PPROF_HISTORY_SECONDS };
    h->rings[1] = (struct pprof_ring) { .points = h->tens, .step = 10,
                                        .cap = PPROF_HISTORY_TENS };
    h->rings[2] = (struct pprof_ring) { .points = h->minutes, .step = 60,
                                        .cap = PPROF_HISTORY_MINUTES };
}


static uint32_t
narrow(uint64_t n, unsigned shift)
{
    if (n == PPROF_UNKNOWN) {
        return UINT32_MAX;
    }

    n >>= shift;

    return n < UINT32_MAX ? (uint32_t) n : UINT32_MAX - 1;
}


/* The share of one CPU that NOW - BEFORE, both in nanoseconds, was. */
static float
share(uint64_t now, uint64_t before, uint64_t elapsed)
{
    return now < before || elapsed == 0
           ? 0 : (float) ((double) (now - before) / (double) elapsed);
}


static void
add_point(struct pprof_ring *ring, uint32_t time,
    const struct pprof_reading *r)
{
    struct pprof_point *point = point_at(ring, ring->len);
    const uint64_t elapsed = r->mono_nanos - ring->mono_nanos;

    *point = (struct pprof_point) {
        .time = time,
        .rss = narrow(r->rss, 10),
        .heap_in_use = narrow(r->heap_in_use, 10),
        .heap_held = narrow(r->heap_held, 10),
        .unmapped = narrow(r->unmapped, 10),
        .scavenges = narrow(r->scavenges, 0),
        .threads = narrow(r->threads, 0),
        .fds = narrow(r->fds, 0),
        .user = -1,
        .sys = -1,
    };

    if (ring->len > 0) {
        point->user = share(r->user_nanos, ring->user_nanos, elapsed);
        point->sys = share(r->sys_nanos, ring->sys_nanos, elapsed);
    }

    for (size_t i = 0; i < PPROF_COUNTS; i++) {
        point->counts[i] = narrow(r->counts[i], 0);
    }

    ring->mono_nanos = r->mono_nanos;
    ring->user_nanos = r->user_nanos;
    ring->sys_nanos = r->sys_nanos;

    if (ring->len < ring->cap) {
        ring->len++;

    } else {
        ring->begin = (ring->begin + 1) % ring->cap;
    }
}


uint32_t
pprof_history_last(const struct pprof_history *h)
{
    const struct pprof_ring *ring = &h->rings[0];

    return ring->len == 0 ? 0 : point_at(ring, ring->len - 1)->time;
}


void
pprof_history_add(struct pprof_history *h, uint32_t time,
    const struct pprof_reading *r)
{
    const uint32_t last = pprof_history_last(h);

    if (time == last) {
        return;
    }

    if (time < last) {
        pprof_history_init(h);
    }

    for (size_t i = 0; i < PPROF_HISTORY_RINGS; i++) {
        struct pprof_ring *ring = &h->rings[i];

        /* a second that was missed must not make a minute of two */
        if (ring->len == 0
            || time / ring->step
               != point_at(ring, ring->len - 1)->time / ring->step)
        {
            add_point(ring, time, r);
        }
    }
}


void
pprof_history_walk(const struct pprof_history *h, uint32_t since,
    void (*each)(const struct pprof_point *point, void *arg), void *arg)
{
    for (size_t i = PPROF_HISTORY_RINGS; i-- > 0; ) {
        const struct pprof_ring *ring = &h->rings[i];
        const struct pprof_ring *finer = i > 0 ? &h->rings[i - 1] : NULL;

        for (uint32_t n = 0; n < ring->len; n++) {
            const struct pprof_point *point = point_at(ring, n);

            if (finer != NULL && point->time >= point_at(finer, 0)->time) {
                break;
            }

            if (point->time > since) {
                each(point, arg);
            }
        }
    }
}
