#include "guest/command.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "guest/allocator.h"
#include "guest/allocs.h"
#include "guest/ask.h"
#include "guest/capture.h"
#include "guest/cfi.h"
#include "guest/events.h"
#include "guest/growth.h"
#include "guest/heap.h"
#include "guest/own.h"
#include "guest/raw.h"
#include "guest/routes.h"
#include "guest/sampler.h"
#include "guest/sites.h"
#include "guest/stackmap.h"
#include "guest/tcmalloc.h"
#include "guest/tick.h"


enum { OUT_FIRST = 1 << 16 };           /* bytes of rows to begin with */

/* Not one of libc's: the resting thread has no number there. */
static _Atomic uint32_t  lock;

/* How many handlers of one fork() are between. */
static __thread unsigned  forks __attribute__((tls_model("initial-exec")));

_Atomic bool  pprof_command_kinds;

static void (*current_state)(void *);   /* gperftools' profiler's */

static uint64_t  owner;                 /* of the profile that runs */

static char  *code;                     /* the page's area, while in use */


void *
pprof_command_map(void *head, size_t at, size_t size)
{
    char *p = mremap(head, 0, at + size, MREMAP_MAYMOVE);

    if (p == MAP_FAILED) {
        return NULL;
    }

    if (at > 0) {
        munmap(p, at);
    }

    return p + at;
}


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

    void *p;

    if (out->mapped != 0) {
        p = mremap(out->base, out->mapped, want, MREMAP_MAYMOVE);

    } else if (out->page != NULL) {
        p = pprof_command_map(out->page, PPROF_OUT_AT, want);

    } else {
        p = mmap(NULL, want, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }

    if (p == MAP_FAILED || p == NULL) {
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

    if (frames > 0) {
        memcpy(row->pcs, pcs, frames);
    }

    out->size += size;
}


static void
put_sample(void *arg, const struct pprof_sampler_row *sample)
{
    struct pprof_row row = {
        .depth = sample->lost == NULL ? (uint32_t) sample->depth : 0,
        .tag = sample->route,
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


void
pprof_command_prepare(void)
{
    *(void **) &current_state = dlsym(RTLD_DEFAULT, "ProfilerGetCurrentState");
}


/*
 * Does the program run gperftools' profiler itself (ProfilerStart(),
 * CPUPROFILE)?
 */
static bool
is_profiling_itself(void)
{
    /* gperftools, src/gperftools/profiler.h */
    struct {
        int     enabled;
        time_t  start_time;
        char    profile_name[1024];
        int     samples_gathered;
    } now = { .enabled = 0 };

    if (current_state != NULL) {
        current_state(&now);
    }

    return now.enabled != 0;
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


/* Samples allocations, one in PERIOD bytes; 0: no more. */
static int
sample_allocs(uint64_t period)
{
    static bool hooked;

    if (period == 0) {
        if (hooked) {
            pprof_tcmalloc_unhook(pprof_allocs_hook);
            hooked = false;
        }

        (void) pprof_allocs_period(0);
        return 0;
    }

    if (pprof_allocs_period(period) == -1) {
        return errno;
    }

    if (!hooked && pprof_tcmalloc_hook(pprof_allocs_hook) == -1) {
        (void) pprof_allocs_period(0);
        return ENOSYS;
    }

    hooked = true;

    return 0;
}


static int
read_tcmalloc(enum pprof_tcmalloc_sort sort, bool count_only,
    struct pprof_out *out)
{
    struct pprof_tcmalloc_told told = { 0 };
    const int error = pprof_tcmalloc_rows(sort, count_only ? NULL : put_stack,
                                          out, &told);

    out->results[0] = told.period;
    out->results[1] = told.since;
    out->results[2] = told.count;
    out->results[3] = count_only ? 0 : pprof_tcmalloc_address();

    return error;
}


static void
read_allocs(struct pprof_out *out)
{
    const struct pprof_stackmap_loss lost = pprof_allocs_lost();

    pprof_allocs_read(put_stack, out);
    out->results[0] = lost.count;
    out->results[1] = lost.value;
    out->results[2] = pprof_tcmalloc_address();
}


static void
put_site(void *arg, const struct pprof_site *site, uint32_t number)
{
    (void) number;

    if (site->sort != PPROF_SITES_HEAP) {
        return;
    }

    const struct pprof_row row = {
        .depth = site->depth,
        .count = atomic_load(&site->objects),
        .value = atomic_load(&site->bytes),
        .more = {
            atomic_load(&site->live_objects), atomic_load(&site->live_bytes)
        }
    };

    put(arg, &row, site->pcs);
}


static void
read_heap(struct pprof_out *out)
{
    const struct pprof_heap_told told = pprof_heap_tell();

    pprof_sites_read(put_site, out);
    out->results[0] = told.period;
    out->results[1] = told.in_front;
    out->results[2] = told.since;
    out->results[3] = told.allocator;
    out->results[4] = told.missed;
    out->results[5] = told.skipped;
    out->results[6] = told.unplaced;
}


/* The name where a stack would be: there is as much room as it needs. */
static void
put_route(void *arg, const struct pprof_route_told *route)
{
    uintptr_t text[(PPROF_MARK_NAME + 7) / 8] = { 0 };

    const struct pprof_row row = {
        .depth = sizeof(text) / sizeof(text[0]),
        .tag = route->number,
        .count = route->requests
    };

    memcpy(text, route->name, route->len);
    put(arg, &row, text);
}


static void
put_request(void *arg, const struct pprof_request_told *request)
{
    const struct pprof_row row = {
        .tag = request->id,
        .count = request->read,
        .value = request->wrote,
        .more = { 0, (uint64_t) request->fd << 32 | request->route },
        .tid = request->tid
    };

    put(arg, &row, NULL);
}


static void
put_worker(void *arg, const struct pprof_worker_told *worker)
{
    const struct pprof_row row = {
        .tag = worker->id,
        .count = worker->begun,
        .value = worker->fd,
        .more = { 1, 0 },
        .tid = worker->tid
    };

    put(arg, &row, NULL);
}


static void
put_growth(void *arg, const struct pprof_site *site, uint32_t number)
{
    const struct pprof_row row = {
        .depth = site->depth,
        .tag = number,
        .count = atomic_load(&site->objects),
        .value = atomic_load(&site->bytes)
    };

    if (site->sort == PPROF_SITES_GROWTH) {
        put(arg, &row, site->pcs);
    }
}


static void
put_region(void *arg, const struct pprof_growth_region *region)
{
    const struct pprof_row row = {
        .tag = region->site,
        .count = region->start,
        .value = region->size,
        .more = { region->weight, region->age }
    };

    put(arg, &row, NULL);
}


static void
put_own(void *arg, uintptr_t start, size_t size)
{
    const struct pprof_row row = { .count = start, .value = size };

    put(arg, &row, NULL);
}


static void
read_growth(struct pprof_out *out)
{
    const struct pprof_heap_told told = pprof_heap_tell();
    pprof_sites_read(put_growth, out);
    pprof_growth_read(put_region, out);
    pprof_own_mappings(put_own, out);
    out->results[0] = pprof_growth_on();
    out->results[1] = pprof_growth_lost();
    out->results[2] = told.allocator;
    out->results[3] = told.since == 0 ? 0 : told.period;
    out->results[4] = pprof_allocator_tell == NULL
                      ? PPROF_ALLOCATOR_UNKNOWN : pprof_allocator_tell().which;
}


static int
read_release(struct pprof_out *out)
{
    if (pprof_allocator_tell == NULL) {
        return ENOSYS;
    }

    const struct pprof_allocator_told told = pprof_allocator_tell();

    out->results[0] = told.release;
    out->results[1] = told.which;
    out->results[2] = told.nsec;
    out->results[3] = told.could_not;

    return 0;
}


static void
put_asked(void *arg, size_t index, const uintptr_t *pcs, size_t depth)
{
    const struct pprof_row row = {
        .depth = (uint32_t) depth,
        .tag = index,
        .count = 1
    };

    put(arg, &row, pcs);
}


/*
 * Tables that the agent has made.  It writes them by the address that they
 * have in here, which the first call tells.
 */
static int
take_code(const uint64_t args[PPROF_ARGS], struct pprof_out *out)
{
    const uint64_t at = args[0];

    if (out->page == NULL || at >= PPROF_CODE_SIZE
        || at % _Alignof(struct pprof_cfi) != 0)
    {
        return EINVAL;
    }

    if (code == NULL) {
        code = pprof_command_map(out->page, PPROF_CODE_AT, PPROF_CODE_SIZE);

        if (code == NULL) {
            return ENOMEM;
        }
    }

    out->results[0] = (uintptr_t) code;

    switch (args[1]) {

    case PPROF_CODE_MAP:
        return 0;

    case PPROF_CODE_USE:
        out->results[1] = pprof_cfi_adopt((struct pprof_cfi *) (code + at));
        return 0;

    case PPROF_CODE_DROP:
        if (pprof_cfi_adopt(NULL)) {
            munmap(code, PPROF_CODE_SIZE);
            code = NULL;
        }

        return 0;

    default:
        return EINVAL;
    }
}


static int
execute(enum pprof_op op, const uint64_t args[PPROF_ARGS],
    struct pprof_out *out)
{
    int error, signo = 0;

    switch (op) {

    case PPROF_OP_SAMPLE:
        if (args[0] > PPROF_SAMPLER_HZ_MAX || args[1] > 1) {
            return EINVAL;
        }

        if (is_profiling_itself()) {
            return EINPROGRESS;
        }

        if (args[2] != 0 && args[2] == owner) {
            (void) pprof_sampler_stop(NULL, NULL, NULL);
        }

        if (pprof_sampler_start((unsigned) args[0], args[1] != 0) == -1) {
            return errno;
        }

        owner = args[2];

        return 0;

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

    case PPROF_OP_ASK:
        /* whoever asked before has given up waiting */
        pprof_ask_end();
        error = pprof_ask_begin(&signo);
        out->results[0] = (uint64_t) signo;
        return error;

    case PPROF_OP_ASK_THREAD:
        return args[0] >= PPROF_ASK_MAX || args[1] > INT_MAX
               ? EINVAL : pprof_ask_thread(args[0], (pid_t) args[1]);

    case PPROF_OP_ASK_READ:
        pprof_ask_read(put_asked, out);
        return 0;

    case PPROF_OP_ASK_END:
        pprof_ask_end();
        return 0;

    case PPROF_OP_CODE:
        return take_code(args, out);

    case PPROF_OP_ROUTES:
        if (args[0] > 1 || args[1] >= PPROF_ROUTES_USERS) {
            return EINVAL;
        }

        if (args[0] == 1) {
            return pprof_routes_begin((enum pprof_routes_user) args[1]);
        }

        pprof_routes_end((enum pprof_routes_user) args[1]);
        return 0;

    case PPROF_OP_ROUTES_READ:
        out->results[1] = pprof_routes_read(put_route, out);
        out->results[0] = pprof_routes_hooked();
        return 0;

    case PPROF_OP_REQUESTS_READ:
        pprof_routes_requests(put_request, put_worker, out);
        return 0;

    case PPROF_OP_HEAP:
        return pprof_heap_period(args[0]);

    case PPROF_OP_HEAP_READ:
        read_heap(out);
        return 0;

    case PPROF_OP_GROWTH_READ:
        read_growth(out);
        return 0;

    case PPROF_OP_RELEASE:
        return pprof_allocator_want == NULL ? ENOSYS : pprof_allocator_want();

    case PPROF_OP_LOOK:
        return pprof_allocator_want_look == NULL ? ENOSYS
               : pprof_allocator_want_look();

    case PPROF_OP_RELEASE_READ:
        return read_release(out);

    case PPROF_OP_RELEASE_END:
        if (pprof_allocator_forget != NULL) {
            pprof_allocator_forget();
        }

        return 0;

    case PPROF_OP_ALLOCS:
        return sample_allocs(args[0]);

    case PPROF_OP_ALLOCS_READ:
        read_allocs(out);
        return 0;

    case PPROF_OP_ALLOCS_CLEAR:
        pprof_allocs_clear();
        return 0;

    case PPROF_OP_TCMALLOC:
        return args[0] > PPROF_TCMALLOC_GROWTH
               ? EINVAL
               : read_tcmalloc((enum pprof_tcmalloc_sort) args[0],
                               args[1] != 0, out);

    case PPROF_OP_TCMALLOC_SAMPLE:
        return pprof_tcmalloc_sample(args[0]) == 0 ? 0 : ENOSYS;

    case PPROF_OP_TCMALLOC_RELEASE:
        pprof_tcmalloc_release();
        return 0;

    case PPROF_OP_TCMALLOC_PROPERTIES:
        return pprof_tcmalloc_properties(put_stack, out);

    default:
        return EINVAL;
    }
}


static void
take_lock(void)
{
    uint32_t free = 0;

    if (atomic_compare_exchange_strong(&lock, &free, 1)) {
        return;
    }

    /* 2: somebody waits */
    while (atomic_exchange(&lock, 2) != 0) {
        pprof_raw(SYS_futex, (uintptr_t) &lock, FUTEX_WAIT_PRIVATE, 2, 0, 0,
                  0);
    }
}


static void
leave_lock(void)
{
    if (atomic_exchange(&lock, 0) == 2) {
        pprof_raw(SYS_futex, (uintptr_t) &lock, FUTEX_WAKE_PRIVATE, 1, 0, 0,
                  0);
    }
}


bool
pprof_command_forking(void)
{
    return forks > 0;
}


void
pprof_command_fork(void)
{
    if (forks++ == 0) {
        take_lock();
    }
}


void
pprof_command_forked(void)
{
    if (forks > 0 && --forks == 0) {
        leave_lock();
    }
}


void
pprof_command_child(void)
{
    if (forks == 0) {
        return;
    }

    forks = 0;
    atomic_store(&lock, 0);
    pprof_capture_child();

    if (code != NULL) {
        /* the parent's agent will not mind who reads there */
        (void) pprof_cfi_adopt(NULL);
        munmap(code, PPROF_CODE_SIZE);
        code = NULL;
    }
}


int
pprof_command_execute(enum pprof_op op, const uint64_t args[PPROF_ARGS],
    struct pprof_out *out)
{
    take_lock();
    const int error = execute(op, args, out);
    leave_lock();

    return error;
}
