#include "guest/command.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>

#include "guest/allocs.h"
#include "guest/events.h"
#include "guest/sampler.h"
#include "guest/stackmap.h"
#include "guest/tick.h"


enum { OUT_FIRST = 1 << 16 };           /* bytes of rows to begin with */


/* Makes room for SIZE bytes more. */
static bool
reserve(struct pprof_out *out, size_t size)
{
    size_t want = out->mapped == 0 ? OUT_FIRST : out->mapped;

    while (want < out->size + size) {
        want *= 2;
    }

    if (want == out->mapped) {
        return true;
    }

    if (want > PPROF_OUT_SIZE) {
        return false;
    }

    void *p = out->mapped == 0
              ? mmap(NULL, want, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
              : mremap(out->base, out->mapped, want, MREMAP_MAYMOVE);

    if (p == MAP_FAILED) {
        return false;
    }

    out->base = p;
    out->mapped = want;

    return true;
}


static void
copy_text(char *to, size_t size, const char *from)
{
    size_t n = 0;

    while (n + 1 < size && from[n] != '\0') {
        to[n] = from[n];
        n++;
    }

    memset(to + n, 0, size - n);
}


static void
put(struct pprof_out *out, const struct pprof_row *head, const uintptr_t *pcs)
{
    const size_t frames = head->depth * sizeof(uint64_t);
    const size_t size = sizeof(*head) + frames;

    if (!reserve(out, size)) {
        out->failed = true;
        return;
    }

    struct pprof_row *row = (struct pprof_row *) (out->base + out->size);

    *row = *head;
    row->size = (uint32_t) size;
    memcpy(row->pcs, pcs, frames);
    out->size += size;
}


static void
put_sample(void *arg, const struct pprof_sampler_row *sample)
{
    struct pprof_row row = {
        .depth = sample->lost == NULL ? (uint32_t) sample->depth : 0,
        .count = sample->count,
        .tid = (uint32_t) sample->tid
    };

    copy_text(row.name, sizeof(row.name), sample->thread);
    copy_text(row.lost, sizeof(row.lost),
              sample->lost == NULL ? "" : sample->lost);
    put(arg, &row, sample->pcs);
}


static void
put_stack(void *arg, const struct pprof_stack *stack)
{
    const struct pprof_row row = {
        .depth = (uint32_t) stack->depth,
        .tag = stack->tag,
        .count = stack->count,
        .value = stack->value
    };

    if (stack->count != 0) {
        put(arg, &row, stack->pcs);
    }
}


static void
count_stack(void *arg, const struct pprof_stack *stack)
{
    *(uint64_t *) arg += stack->count != 0;
}


static int
end_sample(bool drop, struct pprof_out *out)
{
    struct pprof_sampler_result result;

    if (pprof_sampler_stop(drop ? NULL : put_sample, out, &result) == -1) {
        return errno;
    }

    out->results[0] = result.period;
    out->results[1] = result.duration;
    out->results[2] = result.cpu;
    out->results[3] = result.samples;
    out->results[4] = result.lost;
    out->results[5] = result.threads;
    out->results[6] = (uint64_t) result.signo;
    out->results[7] = result.taken;

    return 0;
}


static void
read_events(enum pprof_event event, bool count_only, struct pprof_out *out)
{
    const struct pprof_stackmap_loss lost = pprof_events_lost(event);

    if (count_only) {
        pprof_events_read(event, count_stack, &out->results[3]);

    } else {
        pprof_events_read(event, put_stack, out);
    }

    out->results[0] = lost.count;
    out->results[1] = lost.value;
    out->results[2] = pprof_events_hooked(event);
}


static void
read_allocs(struct pprof_out *out)
{
    const struct pprof_stackmap_loss lost = pprof_allocs_lost();

    pprof_allocs_read(put_stack, out);
    out->results[0] = lost.count;
    out->results[1] = lost.value;
}


int
pprof_command_execute(enum pprof_op op, const uint64_t args[PPROF_ARGS],
    struct pprof_out *out, bool driven)
{
    (void) driven;

    switch (op) {

    case PPROF_OP_SAMPLE:
        if (args[0] > PPROF_SAMPLER_HZ_MAX || args[1] > 1) {
            return EINVAL;
        }

        return pprof_sampler_start((unsigned) args[0], args[1] != 0) == 0
               ? 0 : errno;

    case PPROF_OP_SAMPLE_END:
        return end_sample(args[0] != 0, out);

    case PPROF_OP_EVENTS:
        if (args[0] >= PPROF_EVENTS) {
            return EINVAL;
        }

        return pprof_events_rate((enum pprof_event) args[0], args[1]) == 0
               ? 0 : errno;

    case PPROF_OP_EVENTS_READ:
        if (args[0] >= PPROF_EVENTS) {
            return EINVAL;
        }

        read_events((enum pprof_event) args[0], args[1] != 0, out);
        return 0;

    case PPROF_OP_EVENTS_CLEAR:
        pprof_events_clear();
        return 0;

    case PPROF_OP_ALLOCS_READ:
        read_allocs(out);
        return 0;

    default:
        return EINVAL;
    }
}


uint64_t
pprof_command_step(void)
{
    return UINT64_MAX;
}
