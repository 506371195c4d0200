/*
 * A program whose live memory is known, function by function: each by_…()
 * leaves COUNT objects of SIZE bytes, each gone_…() none.
 *
 *   allocate MODE
 *
 * Says "ready" when all of it is there, and waits.
 */

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <malloc.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>


#define BY  __attribute__((noinline)) static void

enum { COUNT = 5000, SIZE = 1000 };

static void  *kept[64 * COUNT];
static size_t nkept;

static void
keep(void *p)
{
    if (p == NULL) {
        abort();
    }

    /* whoever is first has the page, too */
    memset(p, 'x', 8);
    kept[nkept++] = p;
}


/* Nothing is a tail call, which would leave the function out of the stack, and
   no two are the same, which would be made one. */
#define EACH(what)                                                            \
    for (int i = 0; i < COUNT; i++) {                                         \
        what;                                                                 \
    }                                                                         \
                                                                              \
    __asm__ volatile("" : : "i" (__COUNTER__))


BY by_malloc() { EACH(keep(malloc(SIZE))); }
BY by_calloc() { EACH(keep(calloc(SIZE / 10, 10))); }
BY by_realloc_null() { EACH(keep(realloc(NULL, SIZE))); }
BY by_reallocarray() { EACH(keep(reallocarray(NULL, SIZE / 10, 10))); }
BY by_memalign() { EACH(keep(memalign(64, SIZE))); }
BY by_aligned_alloc() { EACH(keep(aligned_alloc(8, SIZE))); }
BY by_valloc() { EACH(keep(valloc(SIZE))); }
BY by_new() { EACH(keep(::operator new(SIZE))); }
BY by_new_array() { EACH(keep(::operator new[](SIZE))); }
BY by_new_nothrow() { EACH(keep(::operator new(SIZE, std::nothrow))); }

BY
by_new_aligned()
{
    EACH(keep(::operator new(SIZE, std::align_val_t(64))));
}

BY
by_posix_memalign()
{
    void *p;

    EACH(keep(posix_memalign(&p, 64, SIZE) == 0 ? p : NULL));
}

BY
by_realloc_growth()
{
    for (int i = 0; i < COUNT; i++) {
        void *p = malloc(10);

        for (int size = 100; size <= SIZE; size += 100) {
            p = realloc(p, size);
        }

        keep(p);
    }

    __asm__ volatile("");
}

BY by_realloc_less() { EACH(keep(realloc(malloc(4 * SIZE), SIZE))); }

BY
by_strdup()
{
    char text[SIZE];

    memset(text, 'x', sizeof(text));
    text[SIZE - 1] = '\0';
    EACH(keep(strdup(text)));
}

BY
by_vector()
{
    static std::deque<std::vector<char>> *all
        = new std::deque<std::vector<char>>;

    EACH(all->emplace_back(SIZE));
}


/* volatile: such a pair must not be optimised away */
BY gone_free() { EACH(void *volatile p = malloc(SIZE); free(p)); }
BY gone_calloc() { EACH(void *volatile p = calloc(1, SIZE); free(p)); }

BY
gone_delete()
{
    EACH(void *volatile p = ::operator new(SIZE); ::operator delete(p));
}

BY
gone_delete_sized()
{
    EACH(void *volatile p = ::operator new(SIZE);
         ::operator delete(p, (size_t) SIZE));
}

BY
gone_delete_array()
{
    EACH(void *volatile p = ::operator new[](SIZE);
         ::operator delete[](p, (size_t) SIZE));
}

BY
gone_delete_aligned()
{
    EACH(void *volatile p = ::operator new(SIZE, std::align_val_t(64));
         ::operator delete(p, (size_t) SIZE, std::align_val_t(64)));
}

BY
gone_realloc()
{
    /* to nothing, which frees; or a smallest object */
    for (int i = 0; i < COUNT; i++) {
        void *volatile p = malloc(SIZE);
        void *volatile q = realloc(p, 0);

        free(q);
    }
}

BY
gone_realloc_fails()
{
    for (int i = 0; i < COUNT; i++) {
        void *volatile p = malloc(SIZE);
        volatile size_t huge = (size_t) -1 / 2;

        if (realloc(p, huge) == NULL) {
            free(p);
        }
    }
}

BY
gone_getline()
{
    FILE *const f = fopen("/proc/self/maps", "r");
    char *line = NULL;
    size_t size = 0;

    while (f != NULL && getline(&line, &size, f) > 0) {
        free(line);
        line = NULL;
        size = 0;
    }

    free(line);
    fclose(f);
}


static void
all_entries()
{
    by_malloc();
    by_calloc();
    by_realloc_null();
    by_reallocarray();
    by_memalign();
    by_aligned_alloc();
    by_valloc();
    by_new();
    by_new_array();
    by_new_nothrow();
    by_new_aligned();
    by_posix_memalign();
    by_realloc_growth();
    by_realloc_less();
    by_strdup();
    by_vector();

    for (int i = 0; i < 4; i++) {
        gone_free();
        gone_calloc();
        gone_delete();
        gone_delete_sized();
        gone_delete_array();
        gone_delete_aligned();
        gone_realloc();
        gone_realloc_fails();
        gone_getline();
    }
}


/* Threads that free what others have allocated. */

static std::mutex               lock;
static std::condition_variable  changed;
static std::deque<void *>       passed;
static int                      makers;

BY
by_thread()
{
    EACH(std::lock_guard<std::mutex> held(lock); keep(malloc(SIZE)));
}

BY
gone_in_another()
{
    for (int i = 0; i < 8 * COUNT; i++) {
        void *const p = i % 2 ? malloc(SIZE) : ::operator new(SIZE);

        std::lock_guard<std::mutex> held(lock);
        passed.push_back(i % 2 ? p : (char *) p + 1);
        changed.notify_one();
    }

    std::lock_guard<std::mutex> held(lock);
    makers--;
    changed.notify_all();
}

/* An odd address is one of operator new's. */
BY
take_and_free()
{
    for ( ;; ) {
        std::unique_lock<std::mutex> held(lock);

        changed.wait(held, [] { return !passed.empty() || makers == 0; });

        if (passed.empty()) {
            return;
        }

        char *const p = (char *) passed.front();

        passed.pop_front();
        held.unlock();

        if ((size_t) p % 2) {
            ::operator delete(p - 1);

        } else {
            free(p);
        }
    }
}

/* What a thread leaves to the end of itself. */
struct last {
    __attribute__((noinline)) static void
    by_thread_exit()
    {
        EACH(std::lock_guard<std::mutex> held(lock);
             keep(malloc(SIZE)));
    }

    ~last() { by_thread_exit(); }
};

static void
all_threads()
{
    std::vector<std::thread> threads;

    makers = 3;

    for (int i = 0; i < 3; i++) {
        threads.emplace_back([] { gone_in_another(); });
        threads.emplace_back([] { take_and_free(); });
    }

    threads.emplace_back([] { by_thread(); });
    threads.emplace_back([] {
        static thread_local last l;

        (void) &l;
    });

    for (auto &t : threads) {
        t.join();
    }

    passed.shrink_to_fit();
}


BY by_parent() { EACH(keep(malloc(SIZE))); }
BY by_child() { EACH(keep(malloc(SIZE))); }
BY by_atexit() { EACH(keep(malloc(SIZE))); }
BY by_handler() { EACH(keep(malloc(SIZE))); }
BY by_constructor() { EACH(keep(malloc(SIZE))); }


static void
ready(const char *what)
{
    fputs(what, stdout);
    fflush(stdout);

    for ( ;; ) {
        pause();
    }
}


static void
at_exit()
{
    by_atexit();
    ready("ready\n");
}


static void
on_signal(int)
{
    by_handler();
}


/* Before main(), whoever has been loaded when. */
__attribute__((constructor)) static void
construct()
{
    const char *const text = getenv("ALLOCATE_FIRST");

    if (text != NULL) {
        by_constructor();
    }
}


int
main(int argc, char **argv)
{
    const std::string mode = argc > 1 ? argv[1] : "";

    if (mode == "entries") {
        all_entries();

    } else if (mode == "threads") {
        all_threads();

    } else if (mode == "fork") {
        by_parent();

        if (fork() == 0) {
            for (size_t i = 0; i < nkept; i++) {
                free(kept[i]);
            }

            by_child();
            ready("child ready\n");
        }

    } else if (mode == "atexit") {
        atexit(at_exit);
        return 0;

    } else if (mode == "handler") {
        signal(SIGUSR1, on_signal);
        raise(SIGUSR1);

    } else if (mode == "pairs") {
        /* so many, of which none may be lost */
        const long n = atol(argv[2]);

        for (long i = 0; i < n; i++) {
            void *volatile p = malloc(16 + i % 977);

            free(p);
        }

    } else if (mode == "step") {
        /* a part each time that somebody says so */
        for ( ;; ) {
            char line[16];

            by_malloc();
            puts("step");
            fflush(stdout);

            if (fgets(line, sizeof(line), stdin) == NULL) {
                return 0;
            }
        }
    }

    ready("ready\n");
}
