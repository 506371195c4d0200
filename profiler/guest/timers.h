/*
 * Per-thread timers and the signal that they send.
 *
 * GUEST ROOM, but for the controller and the serving thread only.
 *
 * A timer on a thread's CPU clock goes off while the thread computes, so it
 * cannot cut short a system call that waits: where the kernel handles such
 * timers on the way back to user mode (x86-64 and aarch64 since 5.10), never;
 * on others only in the instant before the thread falls asleep.
 */

#ifndef PPROF_GUEST_TIMERS_H
#define PPROF_GUEST_TIMERS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


/*
 * The signal, if it is free: one that nobody sends, and that can be kept out of
 * the masks of threads which block all there are (mask.c).
 */
#define PPROF_SIGNAL  (SIGRTMAX - 3)


/*
 * Installs pprof_tick_handle() and tells the signal it is on: PPROF_SIGNAL or,
 * where the program uses that itself, another that is free.  Calls nest.
 *
 * Returns the signal's number, or -1 with EBUSY when every one is taken.
 *
 * Context: serving thread or controller.
 */
int pprof_signal_acquire(void);


/*
 * Undoes one pprof_signal_acquire(); the last puts the program's own action
 * back.  All timers must be deleted.  Signals still pending anywhere are
 * discarded first: the default action would end the program.
 *
 * Context: serving thread or controller; the child of a fork.
 */
void pprof_signal_release(void);


/* Is ACTION our handler?  Context: async-signal-safe. */
bool pprof_signal_is_ours(const struct sigaction *action);


/*
 * Does the program still leave the signal to us?
 *
 * Context: serving thread or controller.
 */
bool pprof_signal_ours(void);


/*
 * Waits until no handler is inside, for at most a second.
 *
 * Returns false when one still is: what it may read must not be freed.
 *
 * Context: serving thread or controller.
 */
bool pprof_signal_quiesce(void);


/*
 * Makes a timer that sends the signal with VALUE to thread TID, FIRST ns from
 * now and then every PERIOD ns (0: once) of its CPU time; WALL: of time.
 *
 * Returns its number, or -1; errno is left alone.
 *
 * Context: async-signal-safe, while the signal is ours.
 */
int pprof_timer_create(pid_t tid, uintptr_t value, uint64_t first,
    uint64_t period, bool wall);


/* Context: async-signal-safe. */
void pprof_timer_delete(int timer);


/*
 * The CPU time of thread TID in ns; 0 when it is gone.
 *
 * Context: async-signal-safe.
 */
uint64_t pprof_thread_clock(pid_t tid);


/*
 * Reads at most SIZE - 1 bytes of /proc/self/task/TID/FILE (TID 0:
 * /proc/self/FILE) into BUF and ends them with a NUL.
 *
 * Returns how many, or -1 with errno.
 *
 * Context: serving thread or controller.
 */
ssize_t pprof_task_read(pid_t tid, const char *file, char *buf, size_t size);


/*
 * Is the signal blocked in thread TID?
 *
 * Context: serving thread or controller.
 */
bool pprof_task_blocks(pid_t tid);


/*
 * Calls VISIT with ARG for each thread of the process that is not our own.
 *
 * Returns 0, or -1 with errno when /proc cannot be read.
 *
 * Context: serving thread or controller.
 */
int pprof_task_list(void (*visit)(void *arg, pid_t tid), void *arg);

#endif
