/*
 * guest/locks.c and create.c: libc's own behavior, kept exactly, and what is
 * recorded of it.
 */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

#include "tap.h"


int
main(void)
{
    skip("interposed locks", "the sanitizers' own stand in their place");

    return done_testing();
}

#else

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/events.c"
#define prepare  prepare_locks
#include "guest/locks.c"
#undef prepare
#define prepare  prepare_create
#include "guest/create.c"
#undef prepare
#define prepare  prepare_mask
#include "guest/mask.c"
#include "tap.h"


/* The functions under test, and libc's own to compare them with. */
struct functions {
    int  (*lock)(pthread_mutex_t *);
    int  (*timedlock)(pthread_mutex_t *, const struct timespec *);
    int  (*unlock)(pthread_mutex_t *);
    int  (*sem_wait)(sem_t *);
};

enum { RESULTS = 32 };

static struct functions ours = {
    pthread_mutex_lock, pthread_mutex_timedlock, pthread_mutex_unlock, sem_wait
};
static struct functions theirs;


static struct timespec
soon(long msec)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_nsec += msec * 1000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_sec++;
        ts.tv_nsec -= 1000000000;
    }

    return ts;
}


static void
pause_msec(long msec)
{
    struct timespec ts = { 0, msec * 1000000 };

    nanosleep(&ts, NULL);
}


struct job {
    const struct functions  *f;
    pthread_mutex_t         *mutex;
    int                      result;
    int                      again;
};


static void *
lock_and_die(void *arg)
{
    struct job *job = arg;

    job->result = job->f->lock(job->mutex);

    return NULL;
}


static void *
use_other(void *arg)
{
    struct job      *job = arg;
    struct timespec  until = soon(20);

    job->result = job->f->timedlock(job->mutex, &until);
    if (job->result == 0 || job->result == EOWNERDEAD) {
        job->f->unlock(job->mutex);
    }

    return NULL;
}


static void *
unlock_other(void *arg)
{
    struct job *job = arg;

    job->result = job->f->unlock(job->mutex);

    return NULL;
}


static int
in_thread(void *(*run)(void *), const struct functions *f,
    pthread_mutex_t *mutex)
{
    struct job job = { f, mutex, -1, -1 };
    pthread_t  thread;

    pthread_create(&thread, NULL, run, &job);
    pthread_join(thread, NULL);

    return job.result;
}


/* Everything one can do to a mutex of one kind; what came back. */
static int
exercise(const struct functions *f, int type, int robust, int protocol,
    int *results)
{
    pthread_mutexattr_t attr;
    pthread_mutex_t     mutex;
    struct timespec     until;
    int                 n = 0;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, type);
    pthread_mutexattr_setrobust(&attr, robust);
    pthread_mutexattr_setprotocol(&attr, protocol);
    results[n++] = pthread_mutex_init(&mutex, &attr);

    results[n++] = f->lock(&mutex);
    results[n++] = in_thread(use_other, f, &mutex);

    if (type == PTHREAD_MUTEX_RECURSIVE || type == PTHREAD_MUTEX_ERRORCHECK) {
        results[n++] = f->lock(&mutex);
        until = soon(10);
        results[n++] = f->timedlock(&mutex, &until);
        results[n++] = in_thread(unlock_other, f, &mutex);

        if (type == PTHREAD_MUTEX_RECURSIVE) {
            results[n++] = f->unlock(&mutex);
            results[n++] = f->unlock(&mutex);
        }
    }

    results[n++] = in_thread(use_other, f, &mutex);
    results[n++] = f->unlock(&mutex);
    results[n++] = in_thread(use_other, f, &mutex);

    if (type == PTHREAD_MUTEX_ERRORCHECK) {
        results[n++] = f->unlock(&mutex);
    }

    if (robust == PTHREAD_MUTEX_ROBUST) {
        /* its owner dies; it is repaired */
        results[n++] = in_thread(lock_and_die, f, &mutex);
        results[n++] = f->lock(&mutex);
        results[n++] = pthread_mutex_consistent(&mutex);
        results[n++] = f->unlock(&mutex);
        results[n++] = f->lock(&mutex);
        results[n++] = f->unlock(&mutex);

        /* and again, and is not */
        results[n++] = in_thread(lock_and_die, f, &mutex);
        until = soon(20);
        results[n++] = f->timedlock(&mutex, &until);
        results[n++] = f->unlock(&mutex);
        results[n++] = f->lock(&mutex);
        results[n++] = in_thread(use_other, f, &mutex);
    }

    results[n++] = pthread_mutex_destroy(&mutex);
    pthread_mutexattr_destroy(&attr);

    return n;
}


static void
semantics(const char *when)
{
    static const int types[] = { PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE,
                                 PTHREAD_MUTEX_ERRORCHECK,
                                 PTHREAD_MUTEX_ADAPTIVE_NP };
    int same = 0, all = 0, dead = 0;

    for (int type = 0; type < 4; type++) {
        for (int robust = 0; robust < 2; robust++) {
            for (int pi = 0; pi < 2; pi++) {
                int a[RESULTS] = { 0 }, b[RESULTS] = { 0 };
                int protocol = pi ? PTHREAD_PRIO_INHERIT : PTHREAD_PRIO_NONE;
                int n = exercise(&ours, types[type], robust, protocol, a);
                int m = exercise(&theirs, types[type], robust, protocol, b);

                all++;
                same += n == m && memcmp(a, b, sizeof(a)) == 0;

                for (int i = 0; i < n; i++) {
                    dead += a[i] == EOWNERDEAD;

                    if (a[i] != b[i]) {
                        note("type %d robust %d pi %d: step %d: %d, libc %d",
                             types[type], robust, pi, i, a[i], b[i]);
                    }
                }
            }
        }
    }

    ok(same == all && dead >= 16,
       "%s: %d of %d kinds of mutex behave as libc's, EOWNERDEAD %d times",
       when, same, all, dead);
}


/* The sums of one function in one profile. */
struct sum {
    const void  *function;
    uint64_t     tag;
    uint64_t     count;
    uint64_t     nsec;
    uint64_t     rows;
};


static void
add_up(void *arg, const struct pprof_stack *row)
{
    struct sum *sum = arg;

    sum->rows++;

    if (sum->tag != 0 && row->tag != sum->tag) {
        return;
    }

    for (size_t i = 0; i < row->depth; i++) {
        if (row->pcs[i] - 1 - (uintptr_t) sum->function < 512) {
            sum->count += row->count;
            sum->nsec += row->value;
            return;
        }
    }
}


static struct sum
sum_of(enum pprof_event event, const void *function, uint64_t tag)
{
    struct sum sum = { .function = function, .tag = tag };

    pprof_events_read(event, add_up, &sum);

    return sum;
}


static pthread_mutex_t  shared = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static _Atomic uint64_t waited;
static pthread_barrier_t together;

#define FUNCTION  __attribute__((noinline, noclone)) static

FUNCTION void
hold_mutex(long msec)
{
    pause_msec(msec);
    pthread_mutex_unlock(&shared);
    __asm__ volatile("");
}

FUNCTION void
wait_mutex(void)
{
    uint64_t start = pprof_events_clock();

    pthread_mutex_lock(&shared);
    atomic_fetch_add(&waited, pprof_events_clock() - start);
    __asm__ volatile("");
}

FUNCTION void
hold_write(long msec)
{
    pause_msec(msec);
    pthread_rwlock_unlock(&rwlock);
    __asm__ volatile("");
}

FUNCTION void
wait_write(void)
{
    pthread_rwlock_wrlock(&rwlock);
    __asm__ volatile("");
}

FUNCTION void
wait_read(void)
{
    pthread_rwlock_rdlock(&rwlock);
    __asm__ volatile("");
}


static void *
contend(void *arg)
{
    long rounds = (long) arg;

    pthread_barrier_wait(&together);

    for (long i = 0; i < rounds; i++) {
        wait_mutex();
        hold_mutex(2);
        /* or the same thread would get it again and again */
        pause_msec(1);
    }

    return NULL;
}


static void
contended(long rounds)
{
    pthread_t threads[4];

    waited = 0;
    pthread_barrier_init(&together, NULL, 4);
    for (int i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, contend, (void *) rounds);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&together);
}


static void *
contend_rwlock(void *arg)
{
    (void) arg;

    wait_write();
    hold_write(100);

    return NULL;
}


static void
read_write(void)
{
    pthread_t threads[2];

    pthread_create(&threads[0], NULL, contend_rwlock, NULL);

    while (!is_written(&rwlock)) {
        pause_msec(1);
    }

    uint64_t start = pprof_events_clock();

    wait_read();

    uint64_t took = pprof_events_clock() - start;

    pthread_rwlock_unlock(&rwlock);
    pthread_join(threads[0], NULL);

    struct sum block = sum_of(PPROF_EVENT_BLOCK, wait_read, PPROF_ON_RWLOCK);
    struct sum mutex = sum_of(PPROF_EVENT_MUTEX, hold_write, PPROF_ON_RWLOCK);

    ok(block.count == 1 && block.nsec <= took
       && block.nsec > took / 2,
       "a reader waited for a writer: %.1f of %.1f ms",
       (double) block.nsec / 1e6, (double) took / 1e6);
    ok(mutex.count == 1 && mutex.nsec == block.nsec,
       "and the writer pays: %.1f ms", (double) mutex.nsec / 1e6);
}


static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem;

FUNCTION int
wait_cond(void)
{
    struct timespec until = soon(20);

    pthread_mutex_lock(&shared);
    int rc = pthread_cond_timedwait(&cond, &shared, &until);
    pthread_mutex_unlock(&shared);

    return rc;
}

FUNCTION int
wait_sem(void)
{
    struct timespec until = soon(20);
    int             rc = sem_timedwait(&sem, &until);

    return rc == -1 ? errno : rc;
}

FUNCTION int
wait_sem_posted(void)
{
    int rc = sem_wait(&sem);

    __asm__ volatile("");

    return rc;
}

static void *
sleep_20(void *arg)
{
    pause_msec(20);

    return arg;
}

static void *
post_later(void *arg)
{
    pause_msec(20);
    sem_post(&sem);

    return arg;
}

FUNCTION void
wait_join(pthread_t thread, void **result)
{
    pthread_join(thread, result);
    __asm__ volatile("");
}

FUNCTION pthread_t
create_one(void *(*run)(void *), void *arg)
{
    pthread_t thread;

    pthread_create(&thread, NULL, run, arg);
    __asm__ volatile("");

    return thread;
}


static void
others(void)
{
    void    *result;
    uint64_t created = sum_of(PPROF_EVENT_CREATE, create_one, 0).count;

    sem_init(&sem, 0, 0);
    ok(wait_cond() == ETIMEDOUT && wait_sem() == ETIMEDOUT, "timeouts come");

    pthread_t thread = create_one(post_later, NULL);
    ok(wait_sem_posted() == 0, "a semaphore is had");
    pthread_join(thread, NULL);

    thread = create_one(sleep_20, &sem);
    wait_join(thread, &result);
    ok(result == &sem, "a thread's result comes");

    struct sum sum = sum_of(PPROF_EVENT_BLOCK, wait_cond, PPROF_ON_COND);
    ok(sum.count == 1 && sum.nsec > 15000000, "condition: %.1f ms",
       (double) sum.nsec / 1e6);
    sum = sum_of(PPROF_EVENT_BLOCK, wait_sem_posted, PPROF_ON_SEM);
    ok(sum.count == 1 && sum.nsec > 10000000, "semaphore: %.1f ms",
       (double) sum.nsec / 1e6);
    sum = sum_of(PPROF_EVENT_BLOCK, wait_sem, PPROF_ON_SEM);
    ok(sum.count == 0, "none that was not had");
    sum = sum_of(PPROF_EVENT_BLOCK, wait_join, PPROF_ON_JOIN);
    ok(sum.count == 1 && sum.nsec > 10000000, "join: %.1f ms",
       (double) sum.nsec / 1e6);
    sum = sum_of(PPROF_EVENT_CREATE, create_one, PPROF_ON_THREAD);
    ok(sum.count - created == 2 && sum.nsec == 0,
       "two threads were created there: %lu", sum.count - created);
}


static void
on_signal(int signo)
{
    (void) signo;
}


static void *
interrupt(void *arg)
{
    pause_msec(20);
    pthread_kill(*(pthread_t *) arg, SIGUSR1);

    return NULL;
}


static void
unlock_shared(void *arg)
{
    (void) arg;

    pthread_mutex_unlock(&shared);
}


static void *
canceled(void *arg)
{
    pthread_mutex_lock(&shared);
    pthread_cleanup_push(unlock_shared, NULL);
    pthread_cond_wait(&cond, &shared);
    pthread_cleanup_pop(1);

    return arg;
}


static void
interruptions(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    pthread_t        self_thread = pthread_self(), thread;
    void            *result;

    sigaction(SIGUSR1, &action, NULL);
    pthread_create(&thread, NULL, interrupt, &self_thread);
    errno = 0;
    int rc = sem_wait(&sem);
    ok(rc == -1 && errno == EINTR, "sem_wait: EINTR comes through");
    pthread_join(thread, NULL);

    pthread_create(&thread, NULL, canceled, NULL);
    pause_msec(20);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    ok(result == PTHREAD_CANCELED && pthread_mutex_trylock(&shared) == 0,
       "a thread is canceled in cond_wait, and cleans up");
    pthread_mutex_unlock(&shared);
}


/* Two processes share a mutex; one dies with it. */
static void
processes(void)
{
    pthread_mutexattr_t attr;
    struct {
        pthread_mutex_t  mutex;
        _Atomic bool     locked;
    } *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutex_t *mutex = &page->mutex;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex, &attr);

    pid_t pid = fork();

    if (pid == 0) {
        pprof_own_child();
        pprof_events_child();
        alarm(20);
        pthread_mutex_lock(mutex);
        page->locked = true;
        pause_msec(50);
        _exit(0);
    }

    while (!page->locked) {
        pause_msec(1);
    }

    int rc = pthread_mutex_lock(mutex);
    waitpid(pid, NULL, 0);
    ok(rc == EOWNERDEAD && pthread_mutex_consistent(mutex) == 0
       && pthread_mutex_unlock(mutex) == 0,
       "a mutex whose process died while we waited: %d", rc);
    munmap(page, 4096);
}


static bool
looks(const pthread_mutex_t *mutex, int lock, int owner, unsigned users)
{
    return mutex->__data.__lock == lock && mutex->__data.__owner == owner
           && mutex->__data.__nusers == users;
}


static void *
take_it(void *arg)
{
    pthread_mutex_t *mutex = arg;
    static int result;

    result = theirs.lock(mutex);
    result |= looks(mutex, 2, gettid(), 1) ? 0 : 1;
    result |= theirs.unlock(mutex);

    return &result;
}


/*
 * A mutex of a usual kind, which is taken without libc: it must look as libc
 * leaves it, to libc, to pthread_mutex_destroy() and to a debugger.
 */
static void
usual(const char *name, pthread_mutex_t mutex)
{
    const int kind = mutex.__data.__kind;
    pthread_t thread;
    void *result;

    ok(usual_known && !__libc_single_threaded,
       "%s: this libc's mutexes are as they are held to be", name);

    pthread_mutex_lock(&mutex);
    ok(looks(&mutex, 1, gettid(), 1) && mutex.__data.__count == (kind & 1),
       "%s: taken", name);
    ok(pthread_mutex_destroy(&mutex) == EBUSY, "%s: and busy", name);

    /* libc's own function waits for it, so that libc must wake it up */
    pthread_create(&thread, NULL, take_it, &mutex);

    while (mutex.__data.__lock != 2) {
        pause_msec(1);
    }

    pthread_mutex_unlock(&mutex);
    pthread_join(thread, &result);
    ok(*(int *) result == 0 && looks(&mutex, 0, 0, 0),
       "%s: handed on to who waits in libc", name);

    theirs.lock(&mutex);
    ok(looks(&mutex, 1, gettid(), 1) && pthread_mutex_unlock(&mutex) == 0
       && looks(&mutex, 0, 0, 0), "%s: taken by libc, released here", name);

    pthread_mutex_lock(&mutex);
    ok(theirs.unlock(&mutex) == 0 && looks(&mutex, 0, 0, 0),
       "%s: taken here, released by libc", name);

    if (kind == PTHREAD_MUTEX_RECURSIVE) {
        pthread_mutex_lock(&mutex);
        theirs.lock(&mutex);
        pthread_mutex_lock(&mutex);
        ok(looks(&mutex, 1, gettid(), 1) && mutex.__data.__count == 3
           && pthread_mutex_unlock(&mutex) == 0
           && pthread_mutex_unlock(&mutex) == 0
           && looks(&mutex, 1, gettid(), 1)
           && pthread_mutex_unlock(&mutex) == 0 && looks(&mutex, 0, 0, 0),
           "%s: three times, by both", name);
    }

    const pid_t pid = fork();

    if (pid == 0) {
        pprof_own_child();
        pprof_events_child();
        pthread_mutex_lock(&mutex);
        _exit(looks(&mutex, 1, getpid(), 1) ? 0 : 1);
    }

    int status = -1;

    waitpid(pid, &status, 0);
    ok(status == 0, "%s: in the child of a fork its owner is the child", name);
    ok(pthread_mutex_destroy(&mutex) == 0, "%s: destroyed", name);
}


struct turns {
    pthread_mutex_t  mutex;
    pthread_cond_t   cond;
    unsigned long    sum;
    unsigned         waits;
};


static void *
take_turns(void *arg)
{
    struct turns *t = arg;

    for (int i = 0; i < 200000; i++) {
        pthread_mutex_lock(&t->mutex);
        t->sum++;

        if (i % 1000 == 0) {
            /* the condition releases it, and takes it again, in libc */
            struct timespec ts = soon(1);

            t->waits++;
            pthread_cond_signal(&t->cond);
            pthread_cond_timedwait(&t->cond, &t->mutex, &ts);
        }

        pthread_mutex_unlock(&t->mutex);
    }

    return NULL;
}


static void
many_turns(void)
{
    struct turns t = {
        .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER
    };
    pthread_t threads[4];

    for (int i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, take_turns, &t);
    }

    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }

    ok(t.sum == 800000 && t.waits == 800 && looks(&t.mutex, 0, 0, 0),
       "four threads, 800,000 turns, none is lost: %lu", t.sum);
}


static void *
own_waits(void *arg)
{
    (void) arg;

    pthread_mutex_lock(&shared);
    pthread_mutex_unlock(&shared);

    return NULL;
}


static void
our_own(void)
{
    pthread_t  thread;
    struct sum before = sum_of(PPROF_EVENT_BLOCK, own_waits, 0);
    struct sum created = sum_of(PPROF_EVENT_CREATE, our_own, 0);

    pthread_mutex_lock(&shared);
    pprof_own_create(&thread, "own", own_waits, NULL);
    pause_msec(20);
    pthread_mutex_unlock(&shared);
    pthread_join(thread, NULL);

    ok(sum_of(PPROF_EVENT_BLOCK, own_waits, 0).count == before.count
       && sum_of(PPROF_EVENT_CREATE, our_own, 0).count == created.count,
       "threads of our own are not recorded");
}


static _Atomic bool finish;

static void *
hammer(void *arg)
{
    while (!finish) {
        pthread_mutex_lock(&shared);
        pthread_mutex_unlock(&shared);
    }

    return arg;
}


static void
on_and_off(void)
{
    pthread_t threads[3];

    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, hammer, NULL);
    }

    for (int i = 0; i < 100; i++) {
        pprof_events_rate(PPROF_EVENT_MUTEX, 1);
        pprof_events_rate(PPROF_EVENT_BLOCK, 1);
        pause_msec(1);
        if (i % 2 == 0) {
            pprof_events_rate(PPROF_EVENT_MUTEX, 0);
        }
        pprof_events_clear();
    }

    finish = true;
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }

    ok(!pprof_events_on && tables[PPROF_EVENT_MUTEX] == NULL,
       "switched on and off 100 times under load");
}


int
main(void)
{
    void *libc_handle = dlopen("libc.so.6", RTLD_NOW);

    *(void **) &theirs.lock = dlsym(libc_handle, "pthread_mutex_lock");
    *(void **) &theirs.timedlock = dlsym(libc_handle,
                                         "pthread_mutex_timedlock");
    *(void **) &theirs.unlock = dlsym(libc_handle, "pthread_mutex_unlock");

    ok(theirs.lock != NULL && theirs.lock != ours.lock,
       "our functions stand before libc's");
    ok(pprof_events_hooked(PPROF_EVENT_MUTEX)
       && pprof_events_hooked(PPROF_EVENT_CREATE), "and say so");

    semantics("off");
    ok(sum_of(PPROF_EVENT_BLOCK, wait_mutex, 0).rows == 0,
       "nothing is recorded before it is asked for");

    pprof_events_rate(PPROF_EVENT_MUTEX, 1);
    pprof_events_rate(PPROF_EVENT_BLOCK, 1);
    pprof_events_rate(PPROF_EVENT_CREATE, 1);

    semantics("on");
    contended(30);

    struct sum block = sum_of(PPROF_EVENT_BLOCK, wait_mutex, PPROF_ON_MUTEX);
    struct sum mutex = sum_of(PPROF_EVENT_MUTEX, hold_mutex, PPROF_ON_MUTEX);

    note("waited %.1f ms; block %lu, %.1f ms; mutex %lu, %.1f ms",
         (double) waited / 1e6, block.count, (double) block.nsec / 1e6,
         mutex.count, (double) mutex.nsec / 1e6);
    ok(block.count >= 20 && block.count <= 120
       && block.nsec > waited / 100 * 97 && block.nsec < waited / 100 * 103,
       "who waits: %lu times, the time within 3 %%", block.count);
    ok(mutex.nsec > waited / 100 * 80 && mutex.nsec < waited / 100 * 105,
       "is charged to who held it: %.1f of %.1f ms",
       (double) mutex.nsec / 1e6, (double) waited / 1e6);

    read_write();
    others();
    interruptions();
    processes();
    usual("default", (pthread_mutex_t) PTHREAD_MUTEX_INITIALIZER);
    usual("recursive",
          (pthread_mutex_t) PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP);
    usual("error-checking",
          (pthread_mutex_t) PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP);
    many_turns();
    our_own();

    /* fewer are recorded: the sums stay about the same, as far as chance
     * lets them with a hundred waits */
    pprof_events_rate(PPROF_EVENT_MUTEX, 3);
    pprof_events_rate(PPROF_EVENT_BLOCK, 10000000);
    contended(60);
    struct sum more = sum_of(PPROF_EVENT_BLOCK, wait_mutex, PPROF_ON_MUTEX);
    uint64_t   told = more.nsec - block.nsec;
    ok(told > waited / 100 * 70 && told < waited / 100 * 130,
       "block, one each 10 ms: %.1f of %.1f ms", (double) told / 1e6,
       (double) waited / 1e6);
    more = sum_of(PPROF_EVENT_MUTEX, hold_mutex, PPROF_ON_MUTEX);
    told = more.nsec - mutex.nsec;
    ok(told > waited / 100 * 50 && told < waited / 100 * 150,
       "mutex, one in three: %.1f of %.1f ms", (double) told / 1e6,
       (double) waited / 1e6);

    on_and_off();
    pprof_cfi_clear();

    return done_testing();
}

#endif
