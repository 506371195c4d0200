#include "guest/routes.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "guest/raw.h"
#include "guest/sampler.h"
#include "guest/stackmap.h"
#include "guest/tick.h"
#include "guest/timers.h"
#include "guest/unwind.h"


enum {
    NAMES = 2 * PPROF_ROUTES_NAMES,     /* places for them */
    PENDING = 128,                      /* samples of a thread */
    SCRATCH = 832,                      /* bytes to look ahead into */
    ROOM_PROBES = 16,
    SUM_PROBES = 64
};

enum state {
    FREE,                               /* nothing is known of it */
    ASKED,                              /* a marked request was read */
    ANSWERED                            /* and something written since */
};

enum named { NAME_FREE, NAME_CLAIMED, NAME_READY };

struct name {
    _Atomic uint32_t  state;            /* enum named */
    uint32_t          len;
    char              name[PPROF_MARK_NAME];
    _Atomic uint64_t  requests;
    uint32_t          number;           /* 1 … PPROF_ROUTES_NAMES */
};

/* A descriptor. */
struct request {
    _Atomic uint32_t  state;            /* enum state, and 256 × the route */
    _Atomic uint32_t  id;
    _Atomic uint64_t  read;             /* CLOCK_MONOTONIC, ns */
    _Atomic uint64_t  wrote;            /* the same; 0: not yet */
    _Atomic uint32_t  tid;              /* who read it */
    uint32_t          unused;
};

struct pending {
    uint32_t  row;
    uint32_t  unused;
    uint64_t  nsec;
    uint64_t  when;                     /* CLOCK_MONOTONIC, ns */
};

/* What others see of a thread. */
struct seat {
    _Atomic uint32_t  tid;              /* 0: nobody's */
    uint32_t          unused;
    _Atomic uint64_t  begun;            /* when its work did; 0: it waits */
    _Atomic uint64_t  at;               /* the number of its request, << 32,
                                           and descriptor + 1; 0: none */
};

/* What a thread has in here. */
struct room {
    uint32_t          ticks;            /* the profile that PENDING is of */
    uint32_t          n;
    uint32_t          route;            /* of the request it is at, if any */
    struct seat      *seat;
    uint64_t          since;            /* when that request was read */
    struct pending    pending[PENDING];
    uint8_t           scratch[SCRATCH];
};

_Static_assert(sizeof(struct room) <= 4096, "a room is a page");

struct pprof_routes {
    uint32_t          generation;
    uint64_t          since;            /* CLOCK_MONOTONIC, ns */
    _Atomic bool      paired;           /* somebody asks who works on what */
    _Atomic uint32_t  nnames;
    _Atomic uint64_t  others;           /* requests of routes without a name */
    struct name       names[NAMES];
    _Atomic uint32_t  top;              /* descriptors below had one */
    struct request    requests[PPROF_ROUTES_FDS];
    struct seat       seats[PPROF_ROUTES_ROOMS];
    _Alignas(4096) struct {
        _Alignas(4096) struct room  room;
    } rooms[PPROF_ROUTES_ROOMS];
};

struct sum {
    _Atomic uint64_t  key;              /* row, 65536 ×, and route; 0: free */
    _Atomic uint64_t  nsec;
};

struct pprof_route_sums {
    _Atomic uint64_t  lost;
    struct sum        sums[PPROF_ROUTES_SUMS];

    /* by _close() */
    uint32_t          first[PPROF_SAMPLER_STACKS];   /* of SUMS, + 1; by row */
    uint32_t          next[PPROF_ROUTES_SUMS];
    uint64_t          whole[PPROF_SAMPLER_STACKS];
};


_Atomic(struct pprof_routes *)  pprof_routes_now;
bool *pprof_routes_quick;

static _Atomic bool  hooked;
static unsigned      users;             /* a bit each; the serving thread's */
static uint32_t      generation;

static __thread struct {
    struct room  *room;
    const char   *label;                /* pprof_label()'s; NULL: none */
    uint32_t      generation;           /* that ROOM is of */
    uint32_t      labeled;              /* and LABEL's NUMBER is of */
    uint16_t      number;
    bool          inside;               /* the handler keeps out */
    bool          wrote;                /* an answer, and no lock since */
} self __attribute__((tls_model("initial-exec")));


/*
 * Between these two what was returned stays.  NULL: there is nothing, or the
 * thread was interrupted in here.  Sequentially consistent, as the withdrawal
 * is: see tick.h.
 */
static struct pprof_routes *
enter(void)
{
    if (self.inside) {
        return NULL;
    }

    self.inside = true;
    atomic_signal_fence(memory_order_seq_cst);
    atomic_fetch_add(&pprof_tick_shared.inside, 1);

    struct pprof_routes *const routes = atomic_load(&pprof_routes_now);

    if (routes == NULL) {
        atomic_fetch_sub_explicit(&pprof_tick_shared.inside, 1,
                                  memory_order_release);
        self.inside = false;
    }

    return routes;
}


static void
leave(void)
{
    atomic_fetch_sub_explicit(&pprof_tick_shared.inside, 1,
                              memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    self.inside = false;
}


static uint64_t
now_nsec(void)
{
    return pprof_clock(CLOCK_MONOTONIC);
}


static pid_t
own_tid(void)
{
    return (pid_t) pprof_raw(SYS_gettid, 0, 0, 0, 0, 0, 0);
}


/* The current thread's room, if it needed one yet. */
static struct room *
old_room(const struct pprof_routes *routes)
{
    return self.generation == routes->generation ? self.room : NULL;
}


/*
 * The current thread's room.  NULL when there is none left: it has no routes
 * then.
 */
static struct room *
own_room(struct pprof_routes *routes)
{
    if (__builtin_expect(self.generation == routes->generation, 1)) {
        return self.room;
    }

    /* what the kernel is asked for below it may be killed for */
    if (atomic_load_explicit(&pprof_unwind_sealed, memory_order_relaxed)) {
        return NULL;
    }

    const uint32_t tid = (uint32_t) own_tid();
    size_t         at = tid * 2654435761u % PPROF_ROUTES_ROOMS;

    self.generation = routes->generation;
    self.room = NULL;

    for (int i = 0; i < ROOM_PROBES; i++, at = (at + 1) % PPROF_ROUTES_ROOMS) {
        struct room *const room = &routes->rooms[at].room;
        struct seat *const seat = &routes->seats[at];
        uint32_t           owner = atomic_load(&seat->tid);

        /* who ended says nothing */
        if (owner != 0 && owner != tid
            && pprof_raw(SYS_tkill, owner, 0, 0, 0, 0, 0) == 0)
        {
            continue;
        }

        if (atomic_compare_exchange_strong(&seat->tid, &owner, tid)) {
            room->seat = seat;
            room->n = 0;
            room->route = PPROF_ROUTE_NONE;
            atomic_store(&seat->begun, 0);
            atomic_store(&seat->at, 0);
            self.room = room;
            break;
        }
    }

    return self.room;
}


/* The number of the route with this NAME; a place for it if there is none. */
static unsigned
find_route(struct pprof_routes *routes, const char *name, size_t len,
    bool request)
{
    uint32_t hash = 2166136261;

    if (len == 0) {
        return PPROF_ROUTE_NONE;
    }

    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (uint8_t) name[i]) * 16777619;
    }

    size_t at = hash % NAMES;

    for (size_t i = 0; i < NAMES; i++, at = (at + 1) % NAMES) {
        struct name *const n = &routes->names[at];
        uint32_t           state = atomic_load_explicit(&n->state,
                                                        memory_order_acquire);

        if (state == NAME_FREE) {
            if (atomic_load(&routes->nnames) >= PPROF_ROUTES_NAMES
                || !atomic_compare_exchange_strong(&n->state, &state,
                                                   NAME_CLAIMED))
            {
                if (state == NAME_FREE) {
                    break;
                }

                continue;
            }

            const uint32_t number = atomic_fetch_add(&routes->nnames, 1) + 1;

            if (number > PPROF_ROUTES_NAMES) {
                /* the place stays claimed: others may lie behind it */
                break;
            }

            memcpy(n->name, name, len);
            n->len = (uint32_t) len;
            n->number = number;
            atomic_store_explicit(&n->state, NAME_READY,
                                  memory_order_release);
            state = NAME_READY;
        }

        if (state == NAME_READY && n->len == len
            && memcmp(n->name, name, len) == 0)
        {
            if (request) {
                atomic_fetch_add_explicit(&n->requests, 1,
                                          memory_order_relaxed);
            }

            return n->number;
        }
    }

    if (request) {
        atomic_fetch_add_explicit(&routes->others, 1, memory_order_relaxed);
    }

    return PPROF_ROUTE_OTHER;
}


/* Of the NSEC that ROW stands for: ROUTE's. */
static void
add_sum(struct pprof_route_sums *sums, uint32_t row, unsigned route,
    uint64_t nsec)
{
    const uint64_t key = (uint64_t) row << 16 | route;
    size_t         at = key * 0x9e3779b97f4a7c15 >> 47;

    for (int i = 0; i < SUM_PROBES; i++, at = (at + 1) % PPROF_ROUTES_SUMS) {
        struct sum *const sum = &sums->sums[at];
        uint64_t          old = atomic_load_explicit(&sum->key,
                                                     memory_order_relaxed);

        if (old == key
            || (old == 0
                && (atomic_compare_exchange_strong(&sum->key, &old, key)
                    || old == key)))
        {
            atomic_fetch_add_explicit(&sum->nsec, nsec, memory_order_relaxed);
            return;
        }
    }

    atomic_fetch_add_explicit(&sums->lost, 1, memory_order_relaxed);
}


/* What is pending in ROOM is ROUTE's, from SINCE on. */
static void
settle(struct room *room, unsigned route, uint64_t since)
{
    if (__builtin_expect(room->n == 0, 1)) {
        return;
    }

    struct pprof_ticks *const ticks = atomic_load(&pprof_tick_shared.ticks);

    if (route != PPROF_ROUTE_NONE && ticks != NULL && ticks->routes != NULL
        && ticks->generation == room->ticks)
    {
        for (uint32_t i = 0; i < room->n; i++) {
            const struct pending *const p = &room->pending[i];

            if (p->when >= since) {
                add_sum(ticks->routes, p->row, route, p->nsec);
            }
        }
    }

    room->n = 0;
}


static void
begin_work(struct room *room, uint64_t when, uint64_t at)
{
    atomic_store_explicit(&room->seat->begun, when, memory_order_relaxed);
    atomic_store_explicit(&room->seat->at, at, memory_order_relaxed);
}


/* The current thread is at no request any more, but at work WHEN, if not 0. */
static void
end_request(struct pprof_routes *routes, uint64_t when)
{
    struct room *const room = old_room(routes);

    self.wrote = false;

    if (room == NULL) {
        return;
    }

    begin_work(room, when, 0);
    settle(room, room->route, room->since);
    room->route = PPROF_ROUTE_NONE;
}


/*
 * Adds up those of the same stack, as of the older one's time.  Returns false
 * when that makes no room.
 */
static bool
merge_pending(struct room *room)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < room->n; i++) {
        uint32_t k = 0;

        while (k < n && room->pending[k].row != room->pending[i].row) {
            k++;
        }

        if (k < n) {
            room->pending[k].nsec += room->pending[i].nsec;

        } else {
            room->pending[n++] = room->pending[i];
        }
    }

    room->n = n;

    return n < PENDING;
}


/* The number of the label that the program gave this thread. */
static unsigned
own_label(struct pprof_routes *routes)
{
    if (self.labeled != routes->generation) {
        size_t len = 0;

        while (len < PPROF_MARK_NAME && self.label[len] != '\0') {
            len++;
        }

        self.number = (uint16_t) find_route(routes, self.label, len, false);
        self.labeled = routes->generation;
    }

    return self.number;
}


void
pprof_routes_sample(struct pprof_ticks *ticks, uint32_t row, uint64_t nsec)
{
    struct pprof_routes *const routes = atomic_load(&pprof_routes_now);

    if (ticks->routes == NULL || routes == NULL || row == 0 || self.inside) {
        return;
    }

    if (self.label != NULL) {
        add_sum(ticks->routes, row, own_label(routes), nsec);
        return;
    }

    struct room *const room = own_room(routes);

    if (room == NULL) {
        return;
    }

    if (room->ticks != ticks->generation) {
        room->ticks = ticks->generation;
        room->n = 0;
    }

    if (room->n == PENDING && !merge_pending(room)) {
        return;
    }

    room->pending[room->n++] = (struct pending) {
        .row = row, .nsec = nsec, .when = now_nsec()
    };
}


static struct request *
find_request(struct pprof_routes *routes, int fd)
{
    return (unsigned) fd < PPROF_ROUTES_FDS ? &routes->requests[fd] : NULL;
}


static enum state
state_of(const struct request *request)
{
    return atomic_load_explicit(&request->state, memory_order_relaxed) & 255;
}


void
pprof_routes_reading(int fd)
{
    struct pprof_routes *const routes = enter();

    if (routes == NULL) {
        return;
    }

    const struct request *const request = find_request(routes, fd);

    if (request != NULL && state_of(request) == ANSWERED) {
        end_request(routes, 0);
    }

    leave();
}


/* A request begins at REQUEST, which the current thread has read. */
static void
begin_request(struct pprof_routes *routes, struct request *request,
    const struct pprof_mark *mark)
{
    const uint64_t fd = (uint64_t) (request - routes->requests);
    const unsigned route = find_route(routes, mark->name, mark->len, true);
    const uint64_t now = now_nsec();
    uint32_t top = atomic_load_explicit(&routes->top, memory_order_relaxed);

    while (top <= fd
           && !atomic_compare_exchange_weak(&routes->top, &top,
                                            (uint32_t) fd + 1))
    {
        /* somebody else raised it */
    }

    struct room *const room = own_room(routes);

    atomic_store_explicit(&request->id, mark->id, memory_order_relaxed);
    atomic_store_explicit(&request->read, now, memory_order_relaxed);
    atomic_store_explicit(&request->wrote, 0, memory_order_relaxed);
    atomic_store_explicit(&request->tid, room == NULL ? 0
                          : atomic_load_explicit(&room->seat->tid,
                                                 memory_order_relaxed),
                          memory_order_relaxed);
    atomic_store_explicit(&request->state, ASKED | route << 8,
                          memory_order_release);

    if (room != NULL) {
        settle(room, room->route, room->since);
        room->route = route;
        room->since = now;
        begin_work(room, now, (uint64_t) mark->id << 32 | (fd + 1));
    }

    self.wrote = false;
}


/*
 * Looks for a mark in N bytes of IOV, which is as long as that.  What is not
 * there yet may be behind it, in the socket; that is asked once.
 */
static enum pprof_mark_found
look(struct pprof_routes *routes, int fd, const struct iovec *iov,
    size_t count, size_t n, struct pprof_mark *mark)
{
    const uint8_t *first = iov->iov_base;
    size_t         len = iov->iov_len < n ? iov->iov_len : n;

    enum pprof_mark_found found = pprof_mark_look(first, len, mark);

    if (__builtin_expect(found != PPROF_MARK_MORE, 1)) {
        return found;
    }

    struct room *const room = own_room(routes);

    if (room == NULL) {
        return PPROF_MARK_NOTHING;
    }

    uint8_t *const scratch = room->scratch;

    size_t have = pprof_mark_keep(first, len, scratch);

    /* the other parts of what came */
    for (size_t i = 1; i < count && found == PPROF_MARK_MORE; i++) {
        n -= len;
        len = iov[i].iov_len < n ? iov[i].iov_len : n;

        const size_t take = len < SCRATCH - have ? len : SCRATCH - have;

        memcpy(scratch + have, iov[i].iov_base, take);
        found = pprof_mark_look(scratch, have + take, mark);
        have = pprof_mark_keep(scratch, have + take, scratch);
    }

    if (found != PPROF_MARK_MORE
        || atomic_load_explicit(&pprof_unwind_sealed, memory_order_relaxed))
    {
        return found;
    }

    const long more = pprof_raw(SYS_recvfrom, (uintptr_t) fd,
                                (uintptr_t) scratch + have, SCRATCH - have,
                                MSG_PEEK | MSG_DONTWAIT, 0, 0);

    return more <= 0 ? found
                     : pprof_mark_look(scratch, have + (size_t) more, mark);
}


void
pprof_routes_came(int fd, const struct iovec *iov, size_t count, size_t n)
{
    struct pprof_mark mark;

    while (count > 0 && iov->iov_len == 0) {
        iov++;
        count--;
    }

    if (count == 0) {
        return;
    }

    /* most of what is read begins no request: text, or a number */
    const uint8_t c = *(const uint8_t *) iov->iov_base;

    if (c > 'Z' || (c < 'A' && c > '9') || (c > 1 && c < '1')) {
        return;
    }

    struct pprof_routes *const routes = enter();

    if (routes == NULL) {
        return;
    }

    struct request *const request = find_request(routes, fd);

    /* the body of a request begins no other */
    if (request != NULL && state_of(request) != ASKED) {
        switch (look(routes, fd, iov, count, n, &mark)) {

        case PPROF_MARK_SEEN:
            begin_request(routes, request, &mark);
            break;

        case PPROF_MARK_BARE:
        case PPROF_MARK_MORE:
            /* somebody else's, or one that cannot be told */
            atomic_store_explicit(&request->state, FREE,
                                  memory_order_relaxed);
            break;

        case PPROF_MARK_NOTHING:
            break;
        }
    }

    leave();
}


void
pprof_routes_writing(int fd)
{
    struct pprof_routes *const routes = enter();

    if (routes == NULL) {
        return;
    }

    struct request *const request = find_request(routes, fd);
    const uint32_t        state = request == NULL ? FREE
                                  : atomic_load_explicit(&request->state,
                                                         memory_order_acquire);

    if (state != FREE) {
        struct room *const room = own_room(routes);
        const uint64_t     now = now_nsec();

        if (room != NULL) {
            const uint64_t id = atomic_load_explicit(&request->id,
                                                     memory_order_relaxed);

            begin_work(room, now, id << 32 | ((uint64_t) fd + 1));
            room->since = atomic_load_explicit(&request->read,
                                               memory_order_relaxed);
            room->route = state >> 8;
            settle(room, room->route, room->since);
            self.wrote = true;
        }

        atomic_store_explicit(&request->wrote, now, memory_order_relaxed);
        atomic_store_explicit(&request->state, (state & ~255u) | ANSWERED,
                              memory_order_relaxed);
    }

    leave();
}


void
pprof_routes_waiting(void)
{
    struct pprof_routes *const routes = enter();

    if (routes != NULL) {
        end_request(routes, 0);
        leave();
    }
}


void
pprof_routes_waited(void)
{
    struct pprof_routes *const routes = enter();

    if (routes != NULL) {
        struct room *const room
            = atomic_load_explicit(&routes->paired, memory_order_relaxed)
              ? own_room(routes) : NULL;

        if (room != NULL) {
            begin_work(room, now_nsec(), 0);
        }

        leave();
    }
}


void
pprof_routes_locking(void)
{
    struct pprof_routes *const routes = self.wrote ? enter() : NULL;

    if (routes != NULL) {
        end_request(routes, now_nsec());
        leave();
    }
}


void
pprof_routes_forget(int fd)
{
    struct pprof_routes *const routes = enter();

    if (routes != NULL) {
        struct request *const request = find_request(routes, fd);

        if (request != NULL
            && atomic_load_explicit(&request->state, memory_order_relaxed)
               != FREE)
        {
            atomic_store_explicit(&request->state, FREE,
                                  memory_order_relaxed);
        }

        leave();
    }
}


/* The program says itself whose work it does. */

__attribute__((visibility("default"))) void
pprof_label(const char *route)
{
    struct pprof_routes *const routes = pprof_routes_on() ? enter() : NULL;

    if (routes != NULL) {
        end_request(routes, now_nsec());
    }

    /* the handler may come between any two */
    self.label = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    self.labeled = 0;
    atomic_signal_fence(memory_order_seq_cst);
    self.label = route;

    if (routes != NULL) {
        leave();
    }
}


void
pprof_routes_hook(void)
{
    atomic_store(&hooked, true);
}


bool
pprof_routes_hooked(void)
{
    return atomic_load(&hooked);
}


static void *
map_zeroes(size_t size)
{
    void *const p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}


static void
set_paired(struct pprof_routes *routes)
{
    atomic_store(&routes->paired, users >> PPROF_ROUTES_REQUESTS & 1);
}


int
pprof_routes_begin(enum pprof_routes_user user)
{
    if (users != 0) {
        users |= 1u << user;
        set_paired(atomic_load(&pprof_routes_now));
        return 0;
    }

    struct pprof_routes *const routes = map_zeroes(sizeof(*routes));

    if (routes == NULL) {
        return ENOMEM;
    }

    users = 1u << user;
    routes->generation = ++generation;
    routes->since = now_nsec();
    set_paired(routes);
    atomic_store(&pprof_routes_now, routes);

    if (pprof_routes_quick != NULL) {
        __atomic_store_n(pprof_routes_quick, false, __ATOMIC_SEQ_CST);
    }

    return 0;
}


void
pprof_routes_end(enum pprof_routes_user user)
{
    if (users == 0) {
        return;
    }

    users &= ~(1u << user);

    if (users != 0) {
        set_paired(atomic_load(&pprof_routes_now));
        return;
    }

    struct pprof_routes *const routes = atomic_exchange(&pprof_routes_now,
                                                        NULL);

    /* else somebody was stopped in the middle: the memory is theirs */
    if (pprof_signal_quiesce()) {
        munmap(routes, sizeof(*routes));
    }
}


uint64_t
pprof_routes_read(pprof_routes_visit *visit, void *arg)
{
    struct pprof_routes *const routes = atomic_load(&pprof_routes_now);

    if (routes == NULL) {
        return 0;
    }

    for (size_t i = 0; i < NAMES; i++) {
        struct name *const n = &routes->names[i];

        if (atomic_load_explicit(&n->state, memory_order_acquire)
            == NAME_READY)
        {
            const struct pprof_route_told told = {
                .name = n->name, .len = n->len, .number = n->number,
                .requests = atomic_load(&n->requests)
            };

            visit(arg, &told);
        }
    }

    const struct pprof_route_told other = {
        .name = "other", .len = sizeof("other") - 1,
        .number = PPROF_ROUTE_OTHER, .requests = atomic_load(&routes->others)
    };

    visit(arg, &other);

    return now_nsec() - routes->since;
}


/* How long ago WHEN was; at least 1. */
static uint64_t
ago(uint64_t now, uint64_t when)
{
    return when < now ? now - when : 1;
}


void
pprof_routes_requests(void (*request)(void *arg,
                                      const struct pprof_request_told *),
    void (*worker)(void *arg, const struct pprof_worker_told *), void *arg)
{
    struct pprof_routes *const routes = atomic_load(&pprof_routes_now);

    if (routes == NULL) {
        return;
    }

    const uint64_t now = now_nsec();

    for (uint32_t fd = 0; fd < atomic_load(&routes->top); fd++) {
        const struct request *const r = &routes->requests[fd];
        const uint32_t state = atomic_load(&r->state);
        const uint64_t wrote = atomic_load(&r->wrote);

        if (state != FREE) {
            const struct pprof_request_told told = {
                .id = atomic_load(&r->id), .fd = fd, .route = state >> 8,
                .tid = atomic_load(&r->tid),
                .read = ago(now, atomic_load(&r->read)),
                .wrote = wrote == 0 ? 0 : ago(now, wrote)
            };

            request(arg, &told);
        }
    }

    for (size_t i = 0; i < PPROF_ROUTES_ROOMS; i++) {
        const struct seat *const seat = &routes->seats[i];
        const uint64_t begun = atomic_load(&seat->begun);
        const uint64_t at = atomic_load(&seat->at);

        if (begun != 0) {
            const struct pprof_worker_told told = {
                .tid = atomic_load(&seat->tid), .id = (uint32_t) (at >> 32),
                .fd = (uint32_t) at, .begun = ago(now, begun)
            };

            worker(arg, &told);
        }
    }
}


void
pprof_routes_child(void)
{
    struct pprof_routes *const routes = atomic_exchange(&pprof_routes_now,
                                                        NULL);

    self.inside = false;
    self.generation = self.labeled = 0;
    users = 0;

    if (routes != NULL) {
        munmap(routes, sizeof(*routes));
    }
}


struct pprof_route_sums *
pprof_route_sums_create(void)
{
    return map_zeroes(sizeof(struct pprof_route_sums));
}


void
pprof_route_sums_free(struct pprof_route_sums *sums)
{
    if (sums != NULL) {
        munmap(sums, sizeof(*sums));
    }
}


static void
note_whole(void *arg, const struct pprof_stack *row)
{
    struct pprof_route_sums *const sums = arg;

    sums->whole[row->row - 1] = row->value;
}


void
pprof_route_sums_close(struct pprof_route_sums *sums,
    const struct pprof_stackmap *map)
{
    pprof_stackmap_read(map, note_whole, sums);

    for (uint32_t i = 0; i < PPROF_ROUTES_SUMS; i++) {
        const uint64_t key = atomic_load(&sums->sums[i].key);

        if (key != 0) {
            uint32_t *const first = &sums->first[(key >> 16) - 1];

            sums->next[i] = *first;
            *first = i + 1;
        }
    }
}


void
pprof_route_sums_share(const struct pprof_route_sums *sums, uint32_t row,
    uint64_t nsec, void (*give)(void *arg, unsigned route, uint64_t nsec),
    void *arg)
{
    const double whole = (double) sums->whole[row - 1];
    uint64_t     left = nsec;

    for (uint32_t i = sums->first[row - 1]; i != 0; i = sums->next[i - 1]) {
        const struct sum *const sum = &sums->sums[i - 1];
        const double            part = (double) atomic_load(&sum->nsec);

        uint64_t own = part < whole ? (uint64_t) ((double) nsec / whole * part)
                                    : nsec;

        own = own < left ? own : left;
        left -= own;

        if (own > 0) {
            give(arg, atomic_load(&sum->key) & 0xffff, own);
        }
    }

    if (left > 0) {
        give(arg, PPROF_ROUTE_NONE, left);
    }
}


uint64_t
pprof_route_sums_lost(const struct pprof_route_sums *sums)
{
    return atomic_load(&sums->lost);
}
