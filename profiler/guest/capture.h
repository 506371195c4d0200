/*
 * What fork() means for the whole room.
 *
 * GUEST ROOM.
 */

#ifndef PPROF_GUEST_CAPTURE_H
#define PPROF_GUEST_CAPTURE_H


/*
 * To be called in the child of a fork, before anything else of this room: the
 * parent's profile, dump and threads are not the child's.  What was recorded
 * of waits stays.
 *
 * Context: the child's only thread.
 */
void pprof_capture_child(void);

#endif
