/*
 * A program that does what profilers have hung on: exceptions through deep
 * stacks, and libraries that come and go, in threads.
 *
 *     throws <library>   until SIGTERM; then prints how often it did each, and
 *                        exits with 3, or with 1 when anything was wrong
 */

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <dlfcn.h>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <sys/epoll.h>


static std::atomic<bool>      finish;
static std::atomic<bool>      wrong;
static std::atomic<unsigned>  caught, loaded, interrupted;
static const char            *library;


struct Guard {
    unsigned  *n;

    explicit Guard(unsigned *count) : n(count) { ++*n; }
    ~Guard() { --*n; }
};


__attribute__((noinline)) static void
descend(unsigned depth, unsigned *guards)
{
    Guard guard(guards);

    if (depth == 0) {
        throw std::runtime_error(std::string(100, 'x'));
    }

    descend(depth - 1, guards);
    __asm__ volatile ("");
}


static void *
throw_and_catch(void *)
{
    while (!finish) {
        unsigned guards = 0;

        try {
            descend(30, &guards);
            wrong = true;

        } catch (const std::runtime_error &e) {
            if (guards != 0 || e.what()[99] != 'x') {
                wrong = true;
            }

            caught++;
        }
    }

    return nullptr;
}


static void *
load_and_unload(void *)
{
    while (!finish) {
        void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);

        if (handle == nullptr) {
            wrong = true;
            break;
        }

        dlclose(handle);
        loaded++;
    }

    return nullptr;
}


static void *
wait_for_nothing(void *)
{
    struct epoll_event event;
    int fd = epoll_create1(EPOLL_CLOEXEC);

    while (!finish) {
        if (epoll_wait(fd, &event, 1, 50) == -1 && errno == EINTR) {
            interrupted++;
        }
    }

    return nullptr;
}


int
main(int argc, char **argv)
{
    void *(*const all[])(void *) = {
        throw_and_catch, throw_and_catch, load_and_unload, wait_for_nothing
    };
    pthread_t threads[4];
    sigset_t set;
    int signo, i = 0;

    if (argc != 2) {
        return 2;
    }

    library = argv[1];
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);

    for (auto run : all) {
        pthread_create(&threads[i++], nullptr, run, nullptr);
    }

    sigwait(&set, &signo);
    finish = true;

    for (auto thread : threads) {
        pthread_join(thread, nullptr);
    }

    std::printf("caught %u loaded %u interrupted %u\n", caught.load(),
                loaded.load(), interrupted.load());

    return wrong || caught == 0 || loaded == 0 ? 1 : 3;
}
