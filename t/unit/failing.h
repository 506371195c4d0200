/*
 * An allocator that fails on the n-th call, for the .c files that are
 * included after this one.  With failing_at = n, call number n (from 1) fails;
 * 0: none does.
 */

#ifndef FAILING_H
#define FAILING_H

#include <stdlib.h>


static unsigned  failing_at, failing_calls;


static inline int
failing_now(void)
{
    return ++failing_calls == failing_at;
}


static inline void *
failing_malloc(size_t size)
{
    return failing_now() ? NULL : malloc(size);
}


static inline void *
failing_calloc(size_t n, size_t size)
{
    return failing_now() ? NULL : calloc(n, size);
}


static inline void *
failing_realloc(void *old, size_t size)
{
    return failing_now() ? NULL : realloc(old, size);
}


static inline void *
failing_reallocarray(void *old, size_t n, size_t size)
{
    return failing_now() ? NULL : reallocarray(old, n, size);
}


#define malloc        failing_malloc
#define calloc        failing_calloc
#define realloc       failing_realloc
#define reallocarray  failing_reallocarray

#endif
