/*
 * The functions of libpthread that wait, with a look at the clock around those
 * that do.
 *
 * GUEST ROOM.  This code runs inside the application's threads: inside
 * malloc, under its locks, before main() and after it.  Nothing here
 * allocates, locks or blocks but the function that was called.
 *
 * For libpprof.so only: an archive cannot come before libc.
 *
 * What a function does and returns is left to libc's own, which is called
 * once.  (Trying the lock first, and waiting when that fails, would take a
 * robust mutex whose owner died and then wait for itself.)  Only glibc's lock
 * word is looked at before, to leave alone the calls that need not wait.
 *
 * One case is not left to it: a mutex of a usual kind (default, recursive,
 * error-checking) that nobody holds, or waits for.  To stand in front of libc's
 * function and jump on to it costs half a nanosecond, before anything is looked
 * at ("an empty function", ./build.sh bench library locks); to do what it does,
 * in its stead, costs none.  That such mutexes are what they are held to be is
 * tried before main().
 */

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/single_threaded.h>
#include <threads.h>
#include <time.h>

#include "guest/events.h"
#include "guest/raw.h"
#include "guest/routes.h"


#if defined(__x86_64__)
#define LIBC_FIRST  "GLIBC_2.2.5"
#define LIBC_COND   "GLIBC_2.3.2"
#else
#define LIBC_FIRST  "GLIBC_2.17"
#define LIBC_COND   "GLIBC_2.17"
#endif

#define EXPORT   __attribute__((visibility("default"), noinline))
#define SLOW     __attribute__((noinline, cold))
#define RARE(x)  __builtin_expect(!!(x), 0)
#define CALLER   __builtin_return_address(0)

/*
 * glibc's inner names: bound by the linker, so that no lock waits for dlsym,
 * and called without the detour of the PLT.
 */
#define INNER(name, arg)                                                      \
    __attribute__((noplt)) int inner_##name(arg *);                           \
    __asm__(".symver inner_" #name ", __pthread_" #name "@" LIBC_FIRST)

INNER(mutex_lock, pthread_mutex_t);
INNER(mutex_unlock, pthread_mutex_t);
INNER(rwlock_rdlock, pthread_rwlock_t);
INNER(rwlock_wrlock, pthread_rwlock_t);
INNER(rwlock_unlock, pthread_rwlock_t);


enum {
    /* glibc's __lock of the kinds that hold the owner's number */
    LOCK_WAITERS = 1u << 31,
    LOCK_DIED = 1u << 30,

    USUAL = PTHREAD_MUTEX_ERRORCHECK,   /* the last of the usual kinds */

    WAITED = 1024                       /* counters of waiters */
};

/* The others, found before main(), or by the first who needs one. */
static struct {
    int  (*mutex_timedlock)(pthread_mutex_t *, const struct timespec *);
    int  (*mutex_clocklock)(pthread_mutex_t *, clockid_t,
                            const struct timespec *);
    int  (*rwlock_timedrdlock)(pthread_rwlock_t *, const struct timespec *);
    int  (*rwlock_timedwrlock)(pthread_rwlock_t *, const struct timespec *);
    int  (*rwlock_clockrdlock)(pthread_rwlock_t *, clockid_t,
                               const struct timespec *);
    int  (*rwlock_clockwrlock)(pthread_rwlock_t *, clockid_t,
                               const struct timespec *);
    int  (*cond_wait)(pthread_cond_t *, pthread_mutex_t *);
    int  (*cond_timedwait)(pthread_cond_t *, pthread_mutex_t *,
                           const struct timespec *);
    int  (*cond_clockwait)(pthread_cond_t *, pthread_mutex_t *, clockid_t,
                           const struct timespec *);
    int  (*sem_wait)(sem_t *);
    int  (*sem_timedwait)(sem_t *, const struct timespec *);
    int  (*sem_clockwait)(sem_t *, clockid_t, const struct timespec *);
    int  (*join)(pthread_t, void **);
    int  (*timedjoin_np)(pthread_t, void **, const struct timespec *);
    int  (*clockjoin_np)(pthread_t, void **, clockid_t,
                         const struct timespec *);
    int  (*barrier_wait)(pthread_barrier_t *);
    int  (*mtx_lock)(mtx_t *);
    int  (*mtx_timedlock)(mtx_t *restrict, const struct timespec *restrict);
    int  (*mtx_unlock)(mtx_t *);
    int  (*cnd_wait)(cnd_t *, mtx_t *);
    int  (*cnd_timedwait)(cnd_t *restrict, mtx_t *restrict,
                          const struct timespec *restrict);
    int  (*thrd_join)(thrd_t, int *);
} libc;

/* How many threads wait for read-write locks, by their address. */
static _Atomic unsigned  waiters[WAITED];


static void
find(void *slot, const char *name, const char *version)
{
    void *function = NULL;

    if (version != NULL) {
        function = dlvsym(RTLD_NEXT, name, version);
    }

    if (function == NULL) {
        function = dlsym(RTLD_NEXT, name);
    }

    *(void **) slot = function;
}


SLOW static void
find_all(void)
{
    find(&libc.mutex_timedlock, "pthread_mutex_timedlock", NULL);
    find(&libc.mutex_clocklock, "pthread_mutex_clocklock", NULL);
    find(&libc.rwlock_timedrdlock, "pthread_rwlock_timedrdlock", NULL);
    find(&libc.rwlock_timedwrlock, "pthread_rwlock_timedwrlock", NULL);
    find(&libc.rwlock_clockrdlock, "pthread_rwlock_clockrdlock", NULL);
    find(&libc.rwlock_clockwrlock, "pthread_rwlock_clockwrlock", NULL);
    /* without a version the oldest may come, which is another type */
    find(&libc.cond_wait, "pthread_cond_wait", LIBC_COND);
    find(&libc.cond_timedwait, "pthread_cond_timedwait", LIBC_COND);
    find(&libc.cond_clockwait, "pthread_cond_clockwait", NULL);
    find(&libc.sem_wait, "sem_wait", NULL);
    find(&libc.sem_timedwait, "sem_timedwait", NULL);
    find(&libc.sem_clockwait, "sem_clockwait", NULL);
    find(&libc.join, "pthread_join", NULL);
    find(&libc.timedjoin_np, "pthread_timedjoin_np", NULL);
    find(&libc.clockjoin_np, "pthread_clockjoin_np", NULL);
    find(&libc.barrier_wait, "pthread_barrier_wait", NULL);
    find(&libc.mtx_lock, "mtx_lock", NULL);
    find(&libc.mtx_timedlock, "mtx_timedlock", NULL);
    find(&libc.mtx_unlock, "mtx_unlock", NULL);
    find(&libc.cnd_wait, "cnd_wait", NULL);
    find(&libc.cnd_timedwait, "cnd_timedwait", NULL);
    find(&libc.thrd_join, "thrd_join", NULL);
}


/*
 * Does libc take and release usual mutexes as it is done here: 0, 1, 0 in
 * __lock, and beside it their owner, how many use them, and how often a
 * recursive one is held?
 */
static bool  usual_known;

/* Since there is a second thread: with one, libc's own way is the quicker. */
static bool  usual_ready;

/*
 * Where libc has a thread's number, from the thread pointer.  It is libc's own
 * that is written to a mutex, and not what gettid() says: after fork() and
 * _Fork() libc changes it, after a bare clone() it does not, and whoever takes
 * a lock once more is then found to be its owner, or not, as without us.
 */
static intptr_t  tid_at;


static inline int
own_tid(void)
{
    int tid;

#if defined(__x86_64__)
    __asm__ ("movl %%fs:(%1), %0" : "=r" (tid) : "r" (tid_at));
#else
    uintptr_t tp;

    __asm__ ("mrs %0, tpidr_el0" : "=r" (tp));
    tid = *(const int *) (tp + (uintptr_t) tid_at);
#endif

    return tid;
}


/*
 * The kernel clears it when a thread ends, and tells where it is; if not, it
 * is the one word of the thread's descriptor that has its number.
 */
static bool
find_own_tid(void)
{
    enum { DESCRIPTOR = 2304 };         /* bytes */

    const int tid = (int) pprof_raw(SYS_gettid, 0, 0, 0, 0, 0, 0);
    uintptr_t tp, found = 0;
    unsigned  n = 0;

#if defined(__x86_64__)
    __asm__ ("movq %%fs:0, %0" : "=r" (tp));
    const uintptr_t low = tp;
#else
    __asm__ ("mrs %0, tpidr_el0" : "=r" (tp));
    const uintptr_t low = tp - DESCRIPTOR;
#endif

    if (pprof_raw(SYS_prctl, PR_GET_TID_ADDRESS, (uintptr_t) &found, 0, 0, 0,
                  0) != 0
        || found < low || found >= low + DESCRIPTOR)
    {
        for (uintptr_t at = low; at < low + DESCRIPTOR; at += sizeof(int)) {
            if (*(const int *) at == tid) {
                found = at;
                n++;
            }
        }

        if (n != 1) {
            return false;
        }
    }

    tid_at = (intptr_t) (found - tp);

    return own_tid() == tid;
}


static bool
is_usual_known(pthread_mutex_t mutex, int kind)
{
    if (mutex.__data.__kind != kind || inner_mutex_lock(&mutex) != 0) {
        return false;
    }

    const bool taken = mutex.__data.__lock == 1 && mutex.__data.__nusers == 1
                       && mutex.__data.__owner == own_tid()
                       && mutex.__data.__count == (kind & 1)
                       && mutex.__data.__kind == kind;

    return inner_mutex_unlock(&mutex) == 0 && taken
           && mutex.__data.__lock == 0 && mutex.__data.__nusers == 0
           && mutex.__data.__owner == 0 && mutex.__data.__count == 0;
}


__attribute__((constructor(101))) static void
prepare(void)
{
    find_all();
    usual_known
        = find_own_tid()
          && is_usual_known((pthread_mutex_t) PTHREAD_MUTEX_INITIALIZER,
                         PTHREAD_MUTEX_DEFAULT)
          && is_usual_known(
                 (pthread_mutex_t) PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP,
                 PTHREAD_MUTEX_RECURSIVE)
          && is_usual_known(
                 (pthread_mutex_t) PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP,
                 PTHREAD_MUTEX_ERRORCHECK);
    pprof_events_hook(PPROF_EVENT_MUTEX);
    pprof_events_hook(PPROF_EVENT_BLOCK);
    pprof_routes_quick = &usual_ready;
}


/* Is anybody interested in waits? */
static bool
watched(void)
{
    return pprof_events_wanted(PPROF_EVENT_BLOCK)
           || pprof_events_wanted(PPROF_EVENT_MUTEX);
}


/* Who waits for work has none. */
static void
end_work(void)
{
    if (pprof_routes_on()) {
        pprof_routes_waiting();
    }
}


static int
begin_work(int rc)
{
    if (pprof_routes_on()) {
        pprof_routes_waited();
    }

    return rc;
}


#define FOR_WORK(call)  (end_work(), begin_work(call))


static bool
got(int rc)
{
    return rc == 0 || rc == EOWNERDEAD;
}


/*
 * Calls CALL and records how long it took, if it GOT what it waited for.
 */
#define TIMED(object, addr, caller, call, got_it)                             \
    if (!watched()) {                                                         \
        return call;                                                          \
    }                                                                         \
                                                                              \
    uint64_t start = pprof_events_clock();                                    \
    int      rc = call;                                                       \
                                                                              \
    if (got_it) {                                                             \
        pprof_events_waited(object, addr, pprof_events_clock() - start,       \
                            caller);                                          \
    }                                                                         \
                                                                              \
    return rc


/*
 * Does another thread hold MUTEX?  A recursive one that its owner takes again
 * is held, too, but nobody waits; one whose owner died is there to be taken.
 */
static bool
is_held(pthread_mutex_t *mutex)
{
    unsigned lock = (unsigned) __atomic_load_n(&mutex->__data.__lock,
                                               __ATOMIC_RELAXED);

    return lock != 0 && !(lock & LOCK_DIED)
           && mutex->__data.__owner
              != (tid_at != 0 ? own_tid()
                  : (int) pprof_raw(SYS_gettid, 0, 0, 0, 0, 0, 0));
}


SLOW static int
lock_mutex(pthread_mutex_t *mutex, const void *caller)
{
    if (pprof_routes_on()) {
        pprof_routes_locking();
    }

    if (!is_held(mutex)) {
        return inner_mutex_lock(mutex);
    }

    TIMED(PPROF_ON_MUTEX, mutex, caller, inner_mutex_lock(mutex), got(rc));
}


/* A usual one that could not be taken at once. */
SLOW static int
lock_usual(pthread_mutex_t *mutex, const void *caller)
{
    if (usual_known && !__libc_single_threaded) {
        __atomic_store_n(&usual_ready, true, __ATOMIC_SEQ_CST);

        /* each lock may be the end of a request's work, while that is asked */
        if (atomic_load(&pprof_routes_now) != NULL) {
            usual_ready = false;
        }
    }

    return lock_mutex(mutex, caller);
}


/* Default 0, recursive 1, error-checking 2, of one process; else: more. */
static inline unsigned
kind_of(const pthread_mutex_t *mutex)
{
    return (unsigned) __atomic_load_n(&mutex->__data.__kind,
                                      __ATOMIC_RELAXED);
}


EXPORT int
pthread_mutex_lock(pthread_mutex_t *mutex)
{
    const unsigned kind = kind_of(mutex);
    int is_free = 0;

    if (RARE(kind > USUAL)) {
        return RARE(__atomic_load_n(&mutex->__data.__lock, __ATOMIC_RELAXED)
                    != 0)
               ? lock_mutex(mutex, CALLER) : inner_mutex_lock(mutex);
    }

    if (RARE(!usual_ready
             || !__atomic_compare_exchange_n(&mutex->__data.__lock, &is_free,
                                             1, false, __ATOMIC_ACQUIRE,
                                             __ATOMIC_RELAXED)))
    {
        return lock_usual(mutex, CALLER);
    }

    mutex->__data.__owner = own_tid();
    mutex->__data.__nusers++;
    mutex->__data.__count = kind & 1;

    return 0;
}


EXPORT int
pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *until)
{
    if (libc.mutex_timedlock == NULL) {
        find_all();
    }

    if (!is_held(mutex)) {
        return libc.mutex_timedlock(mutex, until);
    }

    TIMED(PPROF_ON_MUTEX, mutex, CALLER, libc.mutex_timedlock(mutex, until),
          got(rc));
}


EXPORT int
pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock,
    const struct timespec *until)
{
    if (libc.mutex_clocklock == NULL) {
        find_all();
    }

    if (!is_held(mutex)) {
        return libc.mutex_clocklock(mutex, clock, until);
    }

    TIMED(PPROF_ON_MUTEX, mutex, CALLER,
          libc.mutex_clocklock(mutex, clock, until), got(rc));
}


SLOW static int
unlock_mutex(pthread_mutex_t *mutex, const void *caller)
{
    bool waited = pprof_events_releasing(mutex);
    int  rc = inner_mutex_unlock(mutex);

    if (rc == 0 && waited) {
        pprof_events_released(PPROF_ON_MUTEX, mutex, caller);
    }

    return rc;
}


/* Returns false when somebody began to wait just now: nothing is changed. */
static inline bool
release_usual(pthread_mutex_t *mutex, unsigned kind)
{
    /* all but the lock is written while it is held */
    const int owner = mutex->__data.__owner;
    int held = 1;

    mutex->__data.__count = 0;
    mutex->__data.__owner = 0;
    mutex->__data.__nusers--;

    if (__atomic_compare_exchange_n(&mutex->__data.__lock, &held, 0, false,
                                    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
    {
        return true;
    }

    mutex->__data.__nusers++;
    mutex->__data.__owner = owner;
    mutex->__data.__count = kind & 1;

    return false;
}


/* A default one is anybody's to release, the others their owner's alone. */
static inline bool
may_release(const pthread_mutex_t *mutex, unsigned kind)
{
    return usual_ready
           && (kind == 0 || (mutex->__data.__owner == own_tid()
                             && mutex->__data.__count == (kind & 1)));
}


EXPORT int
pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    const unsigned lock = (unsigned) __atomic_load_n(&mutex->__data.__lock,
                                                     __ATOMIC_RELAXED);
    const unsigned kind = kind_of(mutex);

    if (lock == 1 && kind <= USUAL && may_release(mutex, kind)) {
        return release_usual(mutex, kind) ? 0 : unlock_mutex(mutex, CALLER);
    }

    /* 2: a usual one with waiters; else its owner's number and a bit */
    if (RARE(lock > 1) && (lock == 2 || (lock & LOCK_WAITERS))) {
        return unlock_mutex(mutex, CALLER);
    }

    return inner_mutex_unlock(mutex);
}


static _Atomic unsigned *
waiters_of(const pthread_rwlock_t *lock)
{
    return &waiters[((uintptr_t) lock >> 4) * 0x9e3779b97f4a7c15 >> 54];
}


/* Will reading wait?  Only a writer makes it; glibc's two bits say so. */
static bool
is_written(pthread_rwlock_t *lock)
{
    return (__atomic_load_n(&lock->__data.__readers, __ATOMIC_RELAXED) & 3)
           != 0;
}


static bool
is_used(pthread_rwlock_t *lock)
{
    /* bit 0 is the phase, which outlives its writer */
    return (__atomic_load_n(&lock->__data.__readers, __ATOMIC_RELAXED) & ~1u)
           != 0;
}


#define TIMED_RWLOCK(lock, caller, call)                                      \
    if (!watched()) {                                                         \
        return call;                                                          \
    }                                                                         \
                                                                              \
    uint64_t start = pprof_events_clock();                                    \
                                                                              \
    atomic_fetch_add_explicit(waiters_of(lock), 1, memory_order_relaxed);     \
    int rc = call;                                                            \
    atomic_fetch_sub_explicit(waiters_of(lock), 1, memory_order_relaxed);     \
                                                                              \
    if (rc == 0) {                                                            \
        pprof_events_waited(PPROF_ON_RWLOCK, lock,                            \
                            pprof_events_clock() - start, caller);            \
    }                                                                         \
                                                                              \
    return rc


SLOW static int
lock_read(pthread_rwlock_t *lock, const void *caller)
{
    TIMED_RWLOCK(lock, caller, inner_rwlock_rdlock(lock));
}


EXPORT int
pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
    if (RARE(is_written(lock))) {
        return lock_read(lock, CALLER);
    }

    return inner_rwlock_rdlock(lock);
}


SLOW static int
lock_write(pthread_rwlock_t *lock, const void *caller)
{
    TIMED_RWLOCK(lock, caller, inner_rwlock_wrlock(lock));
}


EXPORT int
pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
    if (RARE(is_used(lock))) {
        return lock_write(lock, CALLER);
    }

    return inner_rwlock_wrlock(lock);
}


EXPORT int
pthread_rwlock_timedrdlock(pthread_rwlock_t *lock, const struct timespec *until)
{
    if (libc.rwlock_timedrdlock == NULL) {
        find_all();
    }

    if (!is_written(lock)) {
        return libc.rwlock_timedrdlock(lock, until);
    }

    TIMED_RWLOCK(lock, CALLER, libc.rwlock_timedrdlock(lock, until));
}


EXPORT int
pthread_rwlock_timedwrlock(pthread_rwlock_t *lock, const struct timespec *until)
{
    if (libc.rwlock_timedwrlock == NULL) {
        find_all();
    }

    if (!is_used(lock)) {
        return libc.rwlock_timedwrlock(lock, until);
    }

    TIMED_RWLOCK(lock, CALLER, libc.rwlock_timedwrlock(lock, until));
}


EXPORT int
pthread_rwlock_clockrdlock(pthread_rwlock_t *lock, clockid_t clock,
    const struct timespec *until)
{
    if (libc.rwlock_clockrdlock == NULL) {
        find_all();
    }

    if (!is_written(lock)) {
        return libc.rwlock_clockrdlock(lock, clock, until);
    }

    TIMED_RWLOCK(lock, CALLER, libc.rwlock_clockrdlock(lock, clock, until));
}


EXPORT int
pthread_rwlock_clockwrlock(pthread_rwlock_t *lock, clockid_t clock,
    const struct timespec *until)
{
    if (libc.rwlock_clockwrlock == NULL) {
        find_all();
    }

    if (!is_used(lock)) {
        return libc.rwlock_clockwrlock(lock, clock, until);
    }

    TIMED_RWLOCK(lock, CALLER, libc.rwlock_clockwrlock(lock, clock, until));
}


SLOW static int
unlock_rwlock(pthread_rwlock_t *lock, const void *caller)
{
    bool waited = pprof_events_releasing(lock);
    int  rc = inner_rwlock_unlock(lock);

    if (rc == 0 && waited) {
        pprof_events_released(PPROF_ON_RWLOCK, lock, caller);
    }

    return rc;
}


EXPORT int
pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
    if (RARE(atomic_load_explicit(waiters_of(lock), memory_order_relaxed)
             != 0))
    {
        return unlock_rwlock(lock, CALLER);
    }

    return inner_rwlock_unlock(lock);
}


/*
 * The rest always may wait, and may be where a thread is canceled: nothing
 * needs to be undone then.
 */

EXPORT int
pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    if (libc.cond_wait == NULL) {
        find_all();
    }
    TIMED(PPROF_ON_COND, cond, CALLER,
          FOR_WORK(libc.cond_wait(cond, mutex)), got(rc));
}


EXPORT int
pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
    const struct timespec *until)
{
    if (libc.cond_timedwait == NULL) {
        find_all();
    }
    TIMED(PPROF_ON_COND, cond, CALLER,
          FOR_WORK(libc.cond_timedwait(cond, mutex, until)),
          got(rc) || rc == ETIMEDOUT);
}


EXPORT int
pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
    clockid_t clock, const struct timespec *until)
{
    if (libc.cond_clockwait == NULL) {
        find_all();
    }
    TIMED(PPROF_ON_COND, cond, CALLER,
          FOR_WORK(libc.cond_clockwait(cond, mutex, clock, until)),
          got(rc) || rc == ETIMEDOUT);
}


/* glibc has a semaphore's value in its first word, on 64-bit machines. */
static bool
is_empty(sem_t *sem)
{
    return __atomic_load_n((unsigned *) sem, __ATOMIC_RELAXED) == 0;
}


/* Apart, so that the quick way saves no registers for it. */
SLOW static int
wait_for_sem(sem_t *sem, const void *caller)
{
    if (libc.sem_wait == NULL) {
        find_all();
    }

    if (!is_empty(sem)) {
        return libc.sem_wait(sem);
    }
    TIMED(PPROF_ON_SEM, sem, caller, FOR_WORK(libc.sem_wait(sem)), rc == 0);
}


EXPORT int
sem_wait(sem_t *sem)
{
    if (RARE(libc.sem_wait == NULL || is_empty(sem))) {
        return wait_for_sem(sem, CALLER);
    }

    return libc.sem_wait(sem);
}


EXPORT int
sem_timedwait(sem_t *sem, const struct timespec *until)
{
    if (libc.sem_timedwait == NULL) {
        find_all();
    }
    if (!is_empty(sem)) {
        return libc.sem_timedwait(sem, until);
    }

    TIMED(PPROF_ON_SEM, sem, CALLER,
          FOR_WORK(libc.sem_timedwait(sem, until)), rc == 0);
}


EXPORT int
sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *until)
{
    if (libc.sem_clockwait == NULL) {
        find_all();
    }
    if (!is_empty(sem)) {
        return libc.sem_clockwait(sem, clock, until);
    }

    TIMED(PPROF_ON_SEM, sem, CALLER,
          FOR_WORK(libc.sem_clockwait(sem, clock, until)),
          rc == 0);
}


EXPORT int
pthread_join(pthread_t thread, void **result)
{
    if (libc.join == NULL) {
        find_all();
    }

    TIMED(PPROF_ON_JOIN, NULL, CALLER, libc.join(thread, result), rc == 0);
}


EXPORT int
pthread_timedjoin_np(pthread_t thread, void **result,
    const struct timespec *until)
{
    if (libc.timedjoin_np == NULL) {
        find_all();
    }

    TIMED(PPROF_ON_JOIN, NULL, CALLER,
          libc.timedjoin_np(thread, result, until), rc == 0);
}


EXPORT int
pthread_clockjoin_np(pthread_t thread, void **result, clockid_t clock,
    const struct timespec *until)
{
    if (libc.clockjoin_np == NULL) {
        find_all();
    }

    TIMED(PPROF_ON_JOIN, NULL, CALLER,
          libc.clockjoin_np(thread, result, clock, until), rc == 0);
}


/* Who comes last waits for nobody: that is a moment, as such. */
EXPORT int
pthread_barrier_wait(pthread_barrier_t *barrier)
{
    if (libc.barrier_wait == NULL) {
        find_all();
    }

    TIMED(PPROF_ON_BARRIER, barrier, CALLER, libc.barrier_wait(barrier),
          rc == 0);
}


/*
 * C11's are pthreads' under other names, but libc does not call those by a
 * name that could be ours.
 */

EXPORT int
mtx_lock(mtx_t *mutex)
{
    if (libc.mtx_lock == NULL) {
        find_all();
    }

    if (pprof_routes_on()) {
        pprof_routes_locking();
    }

    if (!is_held((pthread_mutex_t *) mutex)) {
        return libc.mtx_lock(mutex);
    }

    TIMED(PPROF_ON_MUTEX, mutex, CALLER, libc.mtx_lock(mutex),
          rc == thrd_success);
}


EXPORT int
mtx_timedlock(mtx_t *restrict mutex, const struct timespec *restrict until)
{
    if (libc.mtx_timedlock == NULL) {
        find_all();
    }

    if (!is_held((pthread_mutex_t *) mutex)) {
        return libc.mtx_timedlock(mutex, until);
    }

    TIMED(PPROF_ON_MUTEX, mutex, CALLER, libc.mtx_timedlock(mutex, until),
          rc == thrd_success);
}


SLOW static int
unlock_mtx(mtx_t *mutex, const void *caller)
{
    bool waited = pprof_events_releasing(mutex);
    int  rc = libc.mtx_unlock(mutex);

    if (rc == thrd_success && waited) {
        pprof_events_released(PPROF_ON_MUTEX, mutex, caller);
    }

    return rc;
}


EXPORT int
mtx_unlock(mtx_t *mutex)
{
    if (libc.mtx_unlock == NULL) {
        find_all();
    }

    /* 2: somebody waits */
    if (RARE(__atomic_load_n(&((pthread_mutex_t *) mutex)->__data.__lock,
                             __ATOMIC_RELAXED) == 2))
    {
        return unlock_mtx(mutex, CALLER);
    }

    return libc.mtx_unlock(mutex);
}


EXPORT int
cnd_wait(cnd_t *cond, mtx_t *mutex)
{
    if (libc.cnd_wait == NULL) {
        find_all();
    }
    TIMED(PPROF_ON_COND, cond, CALLER, FOR_WORK(libc.cnd_wait(cond, mutex)),
          rc == thrd_success);
}


EXPORT int
cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex,
    const struct timespec *restrict until)
{
    if (libc.cnd_timedwait == NULL) {
        find_all();
    }
    TIMED(PPROF_ON_COND, cond, CALLER,
          FOR_WORK(libc.cnd_timedwait(cond, mutex, until)),
          rc == thrd_success || rc == thrd_timedout);
}


EXPORT int
thrd_join(thrd_t thread, int *result)
{
    if (libc.thrd_join == NULL) {
        find_all();
    }

    TIMED(PPROF_ON_JOIN, NULL, CALLER, libc.thrd_join(thread, result),
          rc == thrd_success);
}
