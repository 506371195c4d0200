/*
 * The big program: many functions, a hundred threads that wait, a heap of
 * many blocks.  Each kind of profile then has something to say.
 *
 *   big threads blocks
 *
 * says "ready", and does what it reads, a line each:
 *
 *   work n      n rounds of computing by four threads; answers "done" and the
 *               seconds of CPU that these used
 *   stall       begins to allocate and free large blocks all the time
 *   calm        ends that; answers with the longest that one took, in seconds
 *   lock        how long tcmalloc's lock is held to read its heap sample, in
 *               seconds: the least of several
 *   heap, growth, start, stop
 *               what gperftools itself has: the heap's sample and its growth,
 *               its CPU profile, to /dev/null; answers "done"
 */

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dlfcn.h>
#include <memory>
#include <mutex>
#include <pthread.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gperftools/malloc_extension.h>

#include "big.h"


namespace big {

static std::vector<step> &steps()
{
    static std::vector<step> all;

    return all;
}


void enlist(step function)
{
    steps().push_back(function);
}


long walk(int depth, unsigned seed, const leaf &last)
{
    if (depth == 0) {
        return last();
    }

    return steps()[(seed >> 8) % steps().size()](depth - 1, seed, last);
}

}


enum { DEPTH = 10, BLOCK = 16384, PATHS = 2000, WORKERS = 4 };

static std::mutex               lock, parking;
static std::condition_variable  parked;
static std::atomic<int>         waiting, stalling;
static std::vector<void *>      heap;


static double seconds(clockid_t clock)
{
    timespec ts;

    clock_gettime(clock, &ts);

    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}


static long compute(long n)
{
    volatile long sum = 0;

    for (long i = 0; i < n; i++) {
        sum = sum + i * i;
    }

    return sum;
}


static void park(unsigned seed)
{
    big::walk(DEPTH, seed, [] {
        std::unique_lock<std::mutex> hold(parking);

        waiting++;
        parked.wait(hold, [] { return false; });

        return 0L;
    });
}


static double work(long rounds)
{
    std::vector<std::thread> workers;
    std::vector<double>      used(WORKERS);

    for (int w = 0; w < WORKERS; w++) {
        workers.emplace_back([w, rounds, &used] {
            for (long i = w; i < rounds; i += WORKERS) {
                big::walk(DEPTH, (unsigned) (i % PATHS) * 2654435761u,
                          [] { return compute(20000); });
            }

            used[w] = seconds(CLOCK_THREAD_CPUTIME_ID);
        });
    }

    double sum = 0;

    for (int w = 0; w < WORKERS; w++) {
        workers[w].join();
        sum += used[w];
    }

    return sum;
}


/* Waits of two threads for one lock, each from many places. */
static void contend()
{
    std::vector<std::thread> two;

    for (int t = 0; t < 2; t++) {
        two.emplace_back([t] {
            for (int i = 0; i < PATHS / 4; i++) {
                big::walk(DEPTH, (unsigned) (2 * i + t) * 2654435761u, [] {
                    std::lock_guard<std::mutex> hold(lock);

                    /* until the other one waits, even on a single CPU */
                    usleep(100);

                    return 0L;
                });
            }
        });
    }

    for (auto &thread : two) {
        thread.join();
    }
}


static double longest_stall;

static void stall()
{
    while (stalling) {
        double start = seconds(CLOCK_MONOTONIC);

        void *block = malloc(1 << 20);

        __asm__ volatile("" : : "r" (block) : "memory");
        free(block);

        double took = seconds(CLOCK_MONOTONIC) - start;

        longest_stall = std::max(longest_stall, took);
    }
}


/* What GetHeapSample() and libpprof call; the lock is held inside. */
static double hold_lock()
{
    auto   read = (void **(*)(MallocExtension *, int *))
                  dlsym(RTLD_DEFAULT, "_ZN22TCMallocImplementation"
                                      "15ReadStackTracesEPi");
    double least = 1e9;

    for (int i = 0; i < 20; i++) {
        int    period;
        double start = seconds(CLOCK_THREAD_CPUTIME_ID);
        void **rows = read(MallocExtension::instance(), &period);

        least = std::min(least, seconds(CLOCK_THREAD_CPUTIME_ID) - start);
        delete[] rows;
    }

    return least;
}


static void own_profiler(bool start)
{
    static void *library = dlopen("libprofiler.so.0", RTLD_NOW);
    static auto  begin = (int (*)(const char *))
                         dlsym(library, "ProfilerStart");
    static auto  end = (void (*)()) dlsym(library, "ProfilerStop");

    if (start) {
        begin("/dev/null");

    } else {
        end();
    }
}


int main(int argc, char **argv)
{
    if (argc != 3) {
        return 2;
    }

    int threads = atoi(argv[1]), blocks = atoi(argv[2]);

    for (int i = 0; i < blocks; i++) {
        big::walk(DEPTH, (unsigned) (i % PATHS) * 2654435761u, [] {
            heap.push_back(malloc(BLOCK));
            return 0L;
        });
    }

    for (int i = 0; i < threads; i++) {
        big::walk(DEPTH, (unsigned) i * 2654435761u, [i] {
            std::thread(park, (unsigned) i * 40503u).detach();
            return 0L;
        });
    }

    while (waiting < threads) {
        std::this_thread::yield();
    }

    contend();
    puts("ready");
    fflush(stdout);

    std::thread staller;
    char        line[64];

    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';

        if (strncmp(line, "work ", 5) == 0) {
            printf("done %.9f\n", work(atol(line + 5)));

        } else if (strcmp(line, "stall") == 0) {
            stalling = 1;
            longest_stall = 0;
            staller = std::thread(stall);
            puts("done");

        } else if (strcmp(line, "calm") == 0) {
            stalling = 0;
            staller.join();
            printf("done %.9f\n", longest_stall);

        } else if (strcmp(line, "lock") == 0) {
            printf("done %.9f\n", hold_lock());

        } else if (strcmp(line, "heap") == 0) {
            std::string text;

            MallocExtension::instance()->GetHeapSample(&text);
            printf("done %zu\n", text.size());

        } else if (strcmp(line, "growth") == 0) {
            std::string text;

            MallocExtension::instance()->GetHeapGrowthStacks(&text);
            printf("done %zu\n", text.size());

        } else if (strcmp(line, "start") == 0 || strcmp(line, "stop") == 0) {
            own_profiler(line[2] == 'a');
            puts("done");
        }

        fflush(stdout);
    }

    _exit(0);
}
