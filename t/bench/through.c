/*
 * The least that a library can do that stands in front of libc's functions:
 * jump on.  What it costs is not libpprof's to save; locks.c compares.
 *
 * An inner name of glibc is needed, as in profiler/guest/locks.c, so those
 * that have none are not here.
 */

#include <pthread.h>


#if defined(__x86_64__)
#define LIBC_FIRST  "GLIBC_2.2.5"
#else
#define LIBC_FIRST  "GLIBC_2.17"
#endif

#define THROUGH(name, type)                                                   \
    __attribute__((noplt)) int inner_##name(type *);                          \
    __asm__(".symver inner_" #name ", __" #name "@" LIBC_FIRST);              \
                                                                              \
    __attribute__((aligned(64))) int                                          \
    name(type *object)                                                        \
    {                                                                         \
        return inner_##name(object);                                          \
    }

THROUGH(pthread_mutex_lock, pthread_mutex_t)
THROUGH(pthread_mutex_unlock, pthread_mutex_t)
THROUGH(pthread_rwlock_rdlock, pthread_rwlock_t)
THROUGH(pthread_rwlock_wrlock, pthread_rwlock_t)
THROUGH(pthread_rwlock_unlock, pthread_rwlock_t)
