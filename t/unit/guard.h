/*
 * Input for parsers that ends at an unreadable page, so that one byte too far
 * is a crash and not luck.
 */

#ifndef GUARD_H
#define GUARD_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>


/* A copy of LEN bytes with nothing after them; guard_free() when done. */
static inline void *
guard(const void *data, size_t len)
{
    const size_t  page = sysconf(_SC_PAGESIZE);
    const size_t  room = (len + page - 1) / page * page;
    char         *p = mmap(NULL, room + page, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED || mprotect(p + room, page, PROT_NONE) != 0) {
        abort();
    }

    return memcpy(p + room - len, data, len);
}


static inline void
guard_free(void *data, size_t len)
{
    const size_t  page = sysconf(_SC_PAGESIZE);
    const size_t  room = (len + page - 1) / page * page;

    munmap((char *) data + len - room, room + page);
}

#endif
