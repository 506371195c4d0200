/*
 * What concerns the whole room: fork, and the end.
 *
 * GUEST ROOM, but for the serving thread only.
 */

#ifndef PPROF_CAPTURE_CAPTURE_H
#define PPROF_CAPTURE_CAPTURE_H


/*
 * To be called in the child of a fork, before anything else of this room: the
 * parent's profile, dump and threads are not the child's.  What was recorded
 * of waits stays.
 *
 * Context: the child's only thread.
 */
void pprof_capture_child(void);


/*
 * Stops recording and frees all that this room keeps between requests.  A
 * profile that runs is dropped.
 *
 * Context: serving thread.
 */
void pprof_capture_clear(void);

#endif
