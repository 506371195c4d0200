/*
 * A growable buffer of bytes that remembers its own failure, so that twenty
 * appends need one check.
 *
 * Owner: whoever declared the struct; pprof_buf_free() when done.
 * Context: the serving thread.  Nothing here is shared.
 */

#ifndef PPROF_ENCODE_BUF_H
#define PPROF_ENCODE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


struct pprof_buf {
    char    *data;      /* LEN bytes; NULL while nothing was appended */
    size_t   len;       /* bytes in use */
    size_t   cap;       /* bytes allocated */
    bool     failed;    /* memory ran out: some of the content is missing */
};


/* Makes an empty buffer.  Allocates nothing, so it cannot fail. */
void pprof_buf_init(struct pprof_buf *b);

/* Gives the memory back and leaves an empty buffer, ready for use again. */
void pprof_buf_free(struct pprof_buf *b);

/*
 * Makes room for LEN more bytes, so that appending them cannot fail.
 *
 * Returns where they will stand, or NULL when memory ran out (now or
 * before).  B's len is not changed: add to it what you wrote.
 */
char *pprof_buf_reserve(struct pprof_buf *b, size_t len);

/*
 * Appends LEN bytes of DATA; DATA must not point into B.
 *
 * Cannot fail here: lack of memory sets B->failed, and from then on every
 * append does nothing.
 */
void pprof_buf_append(struct pprof_buf *b, const void *data, size_t len);

/* Appends a string without its zero.  Fails as pprof_buf_append() does. */
void pprof_buf_string(struct pprof_buf *b, const char *s);

/* Appends one byte.  Fails as pprof_buf_append() does. */
void pprof_buf_byte(struct pprof_buf *b, uint8_t byte);

/*
 * Appends what printf would print, of any length.  Fails as
 * pprof_buf_append() does; a conversion error of libc's counts as failure.
 */
void pprof_buf_printf(struct pprof_buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
