/*
 * guest/unwind.c against libgcc's unwinder: on code of libc, C++, SQLite,
 * zlib and OpenSSL (which is assembly) both must tell the same stack.
 */

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <zlib.h>
#define HAVE_ZLIB  1              /* nobody has a foreign one */
#endif

#include "guest/unwind.c"
#include "compare.h"
#include "tap.h"


enum { STACKS_MIN = 1000 };     /* for a share of 99.9 % to mean something */


static void
describe(const char *who, const struct backtrace *trace)
{
    for (size_t i = 0; i < trace->n; i++) {
        Dl_info info = { 0 };

        dladdr((void *) (trace->pcs[i] - (i > 0)), &info);
        note("%s %2zu %#lx %s+%#lx %s", who, i, trace->pcs[i],
             info.dli_fname ? info.dli_fname : "?",
             trace->pcs[i] - (uintptr_t) info.dli_fbase,
             info.dli_sname ? info.dli_sname : "");
    }
}


static double
now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}


static void
run(const char *name, void (*work)(void))
{
    struct itimerval timer = { { 0, 300 }, { 0, 300 } };
    double           begun = now();

    memset(&result, 0, sizeof(result));
    work();
    pprof_cfi_refresh();

    setitimer(ITIMER_REAL, &timer, NULL);

    /* a busy machine takes its time for as many */
    while (now() < begun + 0.8
           || (result.same < STACKS_MIN && now() < begun + 20))
    {
        work();
    }

    memset(&timer, 0, sizeof(timer));
    setitimer(ITIMER_REAL, &timer, NULL);

    const unsigned long all = result.same + result.different + result.shorter;

    note("%s: %lu stacks, %.1f frames each, %lu differ, %lu are shorter", name,
         all, (double) result.frames / (double) (all + !all),
         result.different, result.shorter);

    if (!ok(all >= STACKS_MIN && result.same * 1000 >= all * 999,
            "%s: 99.9 %% of the stacks are libgcc's", name))
    {
        describe("ours", &result.ours);
        describe("libgcc", &result.theirs);
    }
}


static char text[65536];

static int
compare_words(const void *a, const void *b)
{
    char x[32], y[32];

    snprintf(x, sizeof(x), "%08d %g", *(const int *) a, 1.5 * *(int *) a);
    snprintf(y, sizeof(y), "%08d %g", *(const int *) b, 1.5 * *(int *) b);

    return strcmp(x, y);
}


static void
work_libc(void)
{
    int numbers[200];

    for (int i = 0; i < 200; i++) {
        numbers[i] = rand();
    }

    qsort(numbers, 200, sizeof(int), compare_words);
}


#ifdef HAVE_ZLIB

static void
work_zlib(void)
{
    static Bytef out[80000], in[65536];
    uLongf       size = sizeof(out), back = sizeof(in);

    compress2(out, &size, (Bytef *) text, sizeof(text), 6);
    uncompress(in, &back, out, size);
}

#endif


static long (*cxx)(void);

static void
work_cxx(void)
{
    cxx();
}


static void *sqlite;

static void
work_sqlite(void)
{
    static int (*exec)(void *, const char *, void *, void *, char **);
    static void *db;

    if (db == NULL) {
        int (*open_db)(const char *, void **);

        *(void **) &open_db = dlsym(sqlite, "sqlite3_open");
        *(void **) &exec = dlsym(sqlite, "sqlite3_exec");
        open_db(":memory:", &db);
        exec(db, "create table t (a integer, b text)", NULL, NULL, NULL);
    }

    exec(db, "delete from t;"
             "with recursive c(x) as (select 1 union all select x + 1 from c"
             " where x < 500) insert into t select x, 'row' || x from c;"
             "select count(*), max(length(b || a)) from t where b like '%9%'"
             " group by a % 7 order by 2", NULL, NULL, NULL);
}


static void *crypto;

/* Hashes and ciphers whose frames gcc has not laid out. */
static void
work_crypto(void)
{
    static const char *const names[] = {
        "SHA1", "SHA256", "SHA512", "MD5"
    };
    unsigned char digest[64];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        unsigned char *(*hash)(const void *, size_t, unsigned char *);

        *(void **) &hash = dlsym(crypto, names[i]);
        if (hash != NULL) {
            hash(text, sizeof(text), digest);
        }
    }
}


static void *
in_thread(void *arg)
{
    pthread_sigmask(SIG_UNBLOCK, arg, NULL);
    run("libc in another thread", work_libc);

    return NULL;
}


int
main(void)
{
    char path[4096];

    compare_init();

    ok(pprof_unwind_init() == 0, "libc's stack bounds are found");
    ok(pprof_cfi_refresh() == 1, "tables are built");
    ok(pprof_cfi_refresh() == 0, "and not built again");

    /* libgcc takes its time to begin with */
    struct backtrace trace = { .n = 0 };
    gcc_backtrace(keep_frame, &trace);

    uintptr_t here[PPROF_STACK_MAX];
    size_t    n = pprof_unwind_here(here, PPROF_STACK_MAX, 0);

    ok(n + 1 >= trace.n && n > 1 && here[1] == trace.pcs[1],
       "from here: %zu frames", n);

    struct sigaction action = { .sa_sigaction = compare,
                                .sa_flags = SA_SIGINFO | SA_RESTART };
    sigaction(SIGALRM, &action, NULL);

    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = "etaoin shrdlu"[rand() % 13];
    }

    run("libc", work_libc);
#ifdef HAVE_ZLIB
    run("zlib", work_zlib);
#endif

    ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - 16);
    path[size] = '\0';
    strcpy(strrchr(path, '/'), "/work.so");

    void *handle = dlopen(path, RTLD_NOW);
    *(void **) &cxx = handle ? dlsym(handle, "work_cxx") : NULL;
    if (cxx != NULL) {
        run("C++", work_cxx);
    } else {
        skip("C++", dlerror());
    }

    sqlite = dlopen("libsqlite3.so.0", RTLD_NOW);
    if (sqlite != NULL) {
        run("SQLite", work_sqlite);
    } else {
        skip("SQLite", "no libsqlite3.so.0");
    }

    crypto = dlopen("libcrypto.so.3", RTLD_NOW);
    if (crypto != NULL) {
        run("OpenSSL", work_crypto);
    } else {
        skip("OpenSSL", "no libcrypto.so.3");
    }

    /* the signal is the process's: let it find one thread only */
    sigset_t set;
    pthread_t thread;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_create(&thread, NULL, in_thread, &set);
    pthread_join(thread, NULL);

    struct pprof_cfi_stats stats = pprof_cfi_stats();
    note("%zu modules, %zu rows, %zu bytes", stats.modules, stats.rows,
         stats.bytes);

    pprof_cfi_clear();
    ok(pprof_cfi_stats().modules == 0, "cleared");

    return done_testing();
}
