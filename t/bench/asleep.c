/*
 * A library with a thread that sleeps, and nothing else.  glibc takes locks
 * without atomic instructions while a program has never had a second thread;
 * what that was worth to a program is lost with any library that has one.
 */

#include <pthread.h>
#include <signal.h>
#include <unistd.h>


static void *
sleep_on(void *arg)
{
    for ( ;; ) {
        pause();
    }

    return arg;
}


__attribute__((constructor)) static void
start(void)
{
    pthread_t thread;
    sigset_t  all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_create(&thread, NULL, sleep_on, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
