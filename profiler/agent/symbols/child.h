/*
 * A helper's process, in the middle of a stranger's program.
 *
 * The program must not notice.  A child that executes a file sends SIGCHLD
 * when it ends, and is found by wait(-1), whatever it was created with; so the
 * helper is a grandchild.  Its parent is a process that shares our memory,
 * executes nothing, gets no signal, sends none, and that only who asks for it
 * by __WCLONE finds.  Either dies with the thread that asked.
 *
 * The helper gets a socket as its standard input and output, no other
 * descriptor, no environment, signals as after login, a lower priority, and
 * bounds on its memory and CPU time.
 *
 * Owner: whoever declared the struct.  Context: the serving thread; the thread
 * that starts it must not end before pprof_child_end().
 */

#ifndef PPROF_SYMBOLS_CHILD_H
#define PPROF_SYMBOLS_CHILD_H

#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>


enum {
    PPROF_CHILD_MEMORY = 512 << 20  /* bytes of its own; files that it maps
                                       do not count */
};


struct pprof_child {
    int           fd;           /* our end of the socket; -1: none */

    /* private to child.c */
    const char   *path;
    char        **argv;
    unsigned      seconds;
    int           fd_child;
    pid_t         parent;
    pid_t         pid;          /* of the process between */
    char         *stacks;
    _Atomic int   stop;         /* a futex: the helper is to be ended */
    _Atomic int   error;        /* errno of what could not be executed */
};


/*
 * Starts PATH with ARGV, which ends with NULL; it may use SECONDS of CPU
 * time.
 *
 * Returns 0, or -1 with errno.  That PATH cannot be executed comes out later,
 * from pprof_child_end().
 *
 * Owner: PATH and ARGV must live until pprof_child_end().
 */
int pprof_child_start(struct pprof_child *c, const char *path, char **argv,
    unsigned seconds);

/*
 * Ends the helper, if it still runs, and gives everything back.
 *
 * Returns 0, or the errno with which PATH could not be executed.
 */
int pprof_child_end(struct pprof_child *c);

#endif
