/*
 * The least that a library can do that stands in front of malloc() and free():
 * jump on.
 */

#include <stddef.h>


extern void *__libc_malloc(size_t size) __attribute__((noplt));
extern void __libc_free(void *p) __attribute__((noplt));


void *
malloc(size_t size)
{
    return __libc_malloc(size);
}


void
free(void *p)
{
    __libc_free(p);
}
