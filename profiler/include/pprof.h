/*
 * libpprof: what net/http/pprof is for Go, for C and C++ programs.
 *
 *     #include <pprof.h>
 *     pprof_start("unix:/run/acs.pprof", NULL);
 *
 * and then
 *
 *     curl --unix-socket /run/acs.pprof -o cpu.pb.gz \
 *         'http://localhost/debug/pprof/profile?seconds=10'
 *     go tool pprof -top cpu.pb.gz
 *
 * There is no authentication.  A unix socket is created 0600; whoever reaches
 * a TCP listener may profile the program.
 *
 * The library never writes to stdout or stderr, never aborts, installs no
 * signal handler while nobody profiles, and blocks all signals in its
 * threads.  All functions are thread-safe; none may be called from a signal
 * handler.
 */

#ifndef PPROF_H
#define PPROF_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PPROF_VERSION  "1.0.0"

#define PPROF_API  __attribute__((visibility("default")))


/*
 * What pprof_start() may be told.  Zero means the default everywhere, so
 * fill it in with designated initialisers and forget the rest.
 */
struct pprof_options {
    size_t       size;          /* sizeof(struct pprof_options): later
                                   versions append fields */
    unsigned     socket_mode;   /* of a unix socket; 0: $PPROF_SOCKET_MODE,
                                   else 0600, or 0660 and of the group that
                                   $PPROF_SOCKET_GROUP names */
    unsigned     max_seconds;   /* longest profile; 0: 3600 */
    const char  *cmdline;       /* what /debug/pprof/cmdline shows: "full",
                                   "argv0" or "off"; NULL: $PPROF_CMDLINE,
                                   else "argv0", since command lines hold
                                   secrets */
};


/*
 * Starts to answer profile requests, in one thread of its own, at LISTEN.
 *
 * LISTEN is "unix:<path>", "<IPv4 address>:<port>" or "[<IPv6 address>]:
 * <port>".  There are no host names, and no port without an address: to
 * listen for everybody is to be said in full, "0.0.0.0:6060".  "%p" in a
 * path stands for the process id, "%%" for a percent sign.  Port 0 takes a
 * free one; pprof_address() tells which.
 *
 * The file of a unix socket that nobody listens at any more is replaced.
 *
 * A child of fork() does not listen and holds none of the descriptors; it may
 * call pprof_start() itself.
 *
 * Returns 0, or -1 and errno:
 *   EALREADY      this process listens already;
 *   EINVAL        LISTEN or OPTIONS cannot be understood;
 *   ENAMETOOLONG  the path is longer than a unix socket's may be;
 *   EADDRINUSE    another process listens there, or a file that is no socket
 *                 has this name;
 *   ECANCELED     the program is in exit();
 *   ENOMEM        out of memory;
 *   EMFILE, ENFILE, EAGAIN   no descriptor, or no thread, is to be had;
 *   EACCES, EPERM, ENOENT, ENOTDIR, EROFS, ENOSPC, EADDRNOTAVAIL,
 *   EAFNOSUPPORT  as bind() says.
 *
 * Owner: copies its arguments.  Context: thread-safe.
 */
PPROF_API int pprof_start(const char *listen,
    const struct pprof_options *options);

/*
 * Stops answering: ends profiles under way, closes what is open, removes the
 * socket's file.  When it returns, no thread and no descriptor of the library
 * is left.  Does nothing when nothing was started.
 *
 * Context: thread-safe, but not from within pprof_handle().
 */
PPROF_API void pprof_stop(void);

/*
 * Writes the address that pprof_start() listens at into BUF, SIZE bytes with
 * a zero at the end: "unix:/run/acs.71.pprof", "127.0.0.1:41233".
 *
 * Returns 0, or -1 and errno: ENOTCONN when nothing was started, ERANGE when
 * SIZE is too small.
 */
PPROF_API int pprof_address(char *buf, size_t size);

/* Returns the version of the library that runs; PPROF_VERSION is that of the
   header.  The string is static. */
PPROF_API const char *pprof_version(void);


/*
 * Says that the current thread works for ROUTE from now on, until the next
 * call; NULL ends it.  For profiles that are told by route (?labels=route)
 * where reads and writes do not tell whose the work is: a loop that writes the
 * answers of its workers, coroutines that change threads, threads that serve
 * no request.  While a thread has a label that is what counts.
 *
 * ROUTE is text, of which 48 bytes count; no commas.  It must stay as it is
 * until the label ends: a literal, mostly.  At most 256 different ones are
 * told from one another, nginx's routes included.
 *
 * Takes some instructions while nobody asks.  A program that is to run without
 * the library too declares it weak, as here:
 *
 *     extern void pprof_label(const char *) __attribute__((weak));
 *
 *     if (pprof_label) { pprof_label("/report"); }
 *
 * Context: any thread, not a signal handler.
 */
PPROF_API void pprof_label(const char *route);


/* One request, for programs with an HTTP server of their own. */
struct pprof_request {
    size_t       size;          /* sizeof(struct pprof_request) */
    const char  *method;        /* "GET", "HEAD", "POST" */
    const char  *path;          /* "/debug/pprof/heap", as it came: escapes
                                   and double slashes are understood */
    const char  *query;         /* "seconds=5"; NULL or "": none */
    const void  *body;          /* of POST */
    size_t       body_len;      /* bytes */
    int        (*gone)(void *arg);  /* asked four times a second while a
                                   profile runs: nonzero ends it; or NULL */
    void        *arg;
};

struct pprof_header {
    const char  *name;
    const char  *value;
};

/* Owner: whoever declared the struct; pprof_response_free() when done. */
struct pprof_response {
    size_t                      size;   /* sizeof(struct pprof_response) */
    int                         status; /* 200 … */
    const struct pprof_header  *headers;    /* each to be sent; no
                                               Content-Length among them */
    size_t                      nheaders;
    const void                 *body;       /* empty for HEAD */
    size_t                      body_len;   /* bytes */
    void                       *memory;     /* private */
};


/*
 * Answers one request of a program's own HTTP server.
 *
 * Blocks for as long as the profile takes, so call it in a thread that may
 * wait, one that has 1 MiB of stack.  Errors of the request are answers too:
 * a status and a sentence in RESPONSE.  Who may ask is the caller's business.
 * pprof_start() is not needed.
 *
 * Returns 0, or -1 and errno: EINVAL when REQUEST lacks a method or path or
 * a size is wrong, ENOMEM, ECANCELED when the request's gone() ended it.
 *
 * Owner: RESPONSE->size is the caller's to set; on 0 the caller frees it
 * with pprof_response_free().  Context: thread-safe.
 */
PPROF_API int pprof_handle(const struct pprof_request *request,
    struct pprof_response *response);

/* Gives everything back.  A zeroed response may be freed too. */
PPROF_API void pprof_response_free(struct pprof_response *response);

#ifdef __cplusplus
}
#endif

#endif
