/*
 * A listening socket from its description.
 *
 * Context: thread-safe; nothing is shared.
 */

#ifndef PPROF_FRONT_LISTEN_H
#define PPROF_FRONT_LISTEN_H

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>


/* The name of an agent that listens although its program has ended: who starts
   the program again may have its address. */
#define PPROF_LISTEN_ENDED  "pprof-ended"


/* Owner: whoever declared it; pprof_listen_close() when done. */
struct pprof_listen {
    int                      fd;        /* non-blocking, close-on-exec; -1 */
    struct sockaddr_storage  addr;
    socklen_t                addr_len;
    char                     pattern[256];  /* a unix socket's path as it was
                                               given; "": longer */
    dev_t                    dev;       /* of a unix socket's file */
    ino_t                    ino;
};


/*
 * Reads SPEC, as pprof_start() describes it, into L->addr; "%p" becomes PID.
 *
 * Returns 0, or -1 and errno: EINVAL, ENAMETOOLONG.
 */
int pprof_listen_parse(struct pprof_listen *l, const char *spec, pid_t pid);

/*
 * Opens what was parsed.  MODE is a unix socket's; 0: what PPROF_SOCKET_MODE
 * says, else 0660 where PPROF_SOCKET_GROUP names whose it is to be, else 0600.
 *
 * Returns 0, or -1 and errno as pprof_start() lists them.
 */
int pprof_listen_open(struct pprof_listen *l, mode_t mode);

/*
 * Reads the group NAME, or its number, from /etc/group.  Returns 0, or -1 and
 * errno: EINVAL when there is none.
 */
int pprof_listen_group(const char *name, gid_t *group);

/* Closes it, and removes a unix socket's file when it still is ours. */
void pprof_listen_close(struct pprof_listen *l);

/* Removes the file alone. */
void pprof_listen_unlink(struct pprof_listen *l);

/*
 * Removes what processes that were killed left of L's pattern, where its last
 * part has "%p": sockets of our user, older than ten seconds, that refuse, by
 * the number of a process that does not exist.
 */
void pprof_listen_sweep(const struct pprof_listen *l);

/* Writes the address as SPEC was.  Returns the length it has, or would. */
size_t pprof_listen_print(const struct pprof_listen *l, char *buf,
    size_t size);

#endif
