/*
 * goroutine, also as thread: the stacks of all threads, as they are now.
 *
 * Nobody is woken for it: see threads.h.
 */

#include "kinds/kind.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "encode/profile.h"
#include "encode/text.h"
#include "kinds/life.h"
#include "kinds/requests.h"
#include "kinds/threads.h"
#include "kinds/write.h"


enum {
    TURN_MSEC = 5,          /* until another look */
    TURNS     = 2000        /* 16 requests of half a second each, and some */
};


/* What one thread has beside its stack, for debug=2. */
struct thread {
    pid_t     tid;
    char      name[16];
    char      state;
    int       call;
    uint64_t  cpu;          /* ns */
    size_t    sample;       /* its number in the profile */
};

struct dump {
    struct pprof_profile  profile;
    struct thread        *threads;      /* NULL: not wanted */
    size_t                nthreads;
    size_t                cap;
    int64_t               sign;
    int64_t               time_nanos;
    bool                  failed;
    struct pprof_requests *requests;    /* threads at these alone, that WANTED
                                           says; NULL: all */
    const struct pprof_ask *wanted;
};


/* The calls that threads are found waiting in most of the time. */
static const struct {
    int          nr;
    const char  *name;
} calls[] = {
#define CALL(name)  { SYS_##name, #name }
    CALL(futex), CALL(read), CALL(write), CALL(readv), CALL(writev),
    CALL(recvfrom), CALL(recvmsg), CALL(sendto), CALL(sendmsg), CALL(accept),
    CALL(accept4), CALL(connect), CALL(nanosleep), CALL(clock_nanosleep),
    CALL(ppoll), CALL(pselect6), CALL(epoll_pwait), CALL(wait4),
    CALL(waitid), CALL(rt_sigtimedwait), CALL(rt_sigsuspend), CALL(fsync),
    CALL(fdatasync), CALL(flock), CALL(io_getevents), CALL(semtimedop),
    CALL(msgrcv), CALL(pread64), CALL(pwrite64), CALL(openat),
#ifdef SYS_poll
    CALL(poll), CALL(select), CALL(epoll_wait), CALL(pause), CALL(open),
#endif
#undef CALL
};


static const char *
call_name(int nr)
{
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        if (calls[i].nr == nr) {
            return calls[i].name;
        }
    }

    return NULL;
}


static const char *
state_name(char state)
{
    switch (state) {

    case 'R':
        return "running";

    case 'S':
        return "sleeping";

    case 'D':
        return "disk sleep";

    case 'T':
        return "stopped";

    case 't':
        return "traced";

    case 'Z':
    case 'X':
        return "dead";

    default:
        return "unknown";
    }
}


static void
remember(struct dump *dump, const struct pprof_thread *thread, size_t sample)
{
    if (dump->nthreads == dump->cap) {
        const size_t cap = dump->cap * 2;
        struct thread *p = realloc(dump->threads, cap * sizeof(*p));

        if (p == NULL) {
            dump->failed = true;
            return;
        }

        dump->threads = p;
        dump->cap = cap;
    }

    struct thread *t = &dump->threads[dump->nthreads++];

    *t = (struct thread) {
        .tid = thread->tid, .state = thread->state, .call = thread->call,
        .cpu = thread->cpu, .sample = sample
    };
    snprintf(t->name, sizeof(t->name), "%s", thread->name);
}


static bool
is_wanted(const struct dump *dump, const struct pprof_request_row *row)
{
    return (!dump->wanted->by_id || row->id == dump->wanted->id)
           && (dump->wanted->route[0] == '\0'
               || strcmp(dump->wanted->route,
                         pprof_routes_name(&dump->requests->list, row->route))
                  == 0);
}


/* The request that is asked for and TID is at, or NULL. */
static const struct pprof_request_row *
find_row(const struct dump *dump, pid_t tid)
{
    for (size_t i = 0; i < dump->requests->nrows; i++) {
        const struct pprof_request_row *const row = &dump->requests->rows[i];

        if (row->thread == tid && is_wanted(dump, row)) {
            return row;
        }
    }

    return NULL;
}


static void
visit(void *arg, const struct pprof_thread *thread)
{
    struct dump *dump = arg;
    struct pprof_profile *p = &dump->profile;
    const int64_t one = dump->sign;
    char tid[16], lost[64];

    if (dump->requests != NULL && find_row(dump, thread->tid) == NULL) {
        return;
    }

    /* debug=2 shows each thread, so there each is a sample of its own */
    snprintf(tid, sizeof(tid), "%d", (int) thread->tid);

    const struct pprof_label label = { .key = "thread_id", .str = tid };
    const size_t nlabels = dump->threads != NULL;

    if (thread->lost != NULL) {
        snprintf(lost, sizeof(lost), "[%s]", thread->lost);
        pprof_profile_lost(p, &one, lost);

    } else {
        pprof_profile_sample(p, thread->pcs, thread->depth, true, &one,
                             &label, nlabels);
    }

    if (dump->threads != NULL && !p->failed) {
        size_t sample = p->nsamples - 1;

        /* those without a stack share one sample for each reason */
        for (size_t i = 0; thread->lost != NULL && i < p->nsamples; i++) {
            if (p->samples[i].lost != NULL
                && strcmp(p->samples[i].lost, lost) == 0)
            {
                sample = i;
            }
        }

        remember(dump, thread, sample);
    }
}


/*
 * One dump at a time; the others wait for theirs.  By looking again and not by
 * a lock, which the child of a fork() might find taken for ever.
 */
static int
take_turns(struct pprof_target *target, struct dump *dump)
{
    const struct timespec pause = { 0, TURN_MSEC * 1000000L };
    int n;

    for (int i = 0; i < TURNS; i++) {
        n = pprof_threads_dump(target, 0, visit, dump);

        if (n != -1 || errno != EBUSY) {
            break;
        }

        nanosleep(&pause, NULL);
        errno = EBUSY;
    }

    return n;
}


/* Adds all threads, SIGN times.  Returns 0, or -1 with the answer given. */
static int
take(struct pprof_job *job, struct dump *dump, int64_t sign)
{
    struct pprof_target *const target = job->target;
    struct pprof_answer *const a = &job->answer;

    dump->sign = sign;

    pprof_capture_lock(target);
    pprof_tables_use(target);
    pprof_capture_unlock(target);

    const int n = take_turns(target, dump);
    const int error = errno;

    pprof_capture_lock(target);
    pprof_tables_drop(target);
    pprof_capture_unlock(target);

    if (n == -1 && error == EBUSY) {
        a->retry_after = 1;
        pprof_answer_error(a, 503, "other dumps of the threads are under way; "
                           "retry in 1 s");
        return -1;
    }

    if (n == -1 && error == ESRCH) {
        pprof_answer_refuse(a, error, "the threads' stacks cannot be taken");
        return -1;
    }

    if (n == -1) {
        pprof_answer_error(a, 500, "the threads' stacks cannot be taken: %s",
                           strerrordesc_np(error));
        return -1;
    }

    return 0;
}


static struct dump *
new_dump(bool detailed, struct pprof_answer *a)
{
    struct dump *dump = calloc(1, sizeof(struct dump));

    if (dump != NULL && detailed) {
        dump->cap = 64;
        dump->threads = calloc(dump->cap, sizeof(struct thread));
    }

    if (dump == NULL || (detailed && dump->threads == NULL)) {
        free(dump);
        pprof_answer_error(a, 500, "out of memory");
        return NULL;
    }

    pprof_profile_init(&dump->profile);
    pprof_profile_value(&dump->profile, "goroutine", "count");
    pprof_profile_period(&dump->profile, "goroutine", "count", 1);
    dump->time_nanos = pprof_now_nanos();

    return dump;
}


static void
free_dump(struct dump *dump)
{
    if (dump != NULL) {
        pprof_profile_free(&dump->profile);
        free(dump->threads);

        if (dump->requests != NULL) {
            pprof_requests_free(dump->requests);
            free(dump->requests);
        }

        free(dump);
    }
}


static int
begin(struct pprof_job *job)
{
    struct dump *dump = new_dump(false, &job->answer);

    if (dump == NULL) {
        return -1;
    }

    if (take(job, dump, -1) == -1) {
        free_dump(dump);
        return -1;
    }

    job->state = dump;

    return 0;
}


/*
 * The requests that were asked for: each that a thread is at was written with
 * it; of the others it is said what there is to say.
 */
static void
write_idle_requests(const struct dump *dump, struct pprof_buf *b)
{
    const struct pprof_requests *const r = dump->requests;
    size_t n = 0;

    for (size_t i = 0; i < r->nrows; i++) {
        const struct pprof_request_row *const row = &r->rows[i];

        if (!is_wanted(dump, row)) {
            continue;
        }

        n++;

        if (row->thread == 0) {
            pprof_buf_printf(b, "%srequest %08x \"%s\" [read %.1f ms ago]: "
                             "%s\n", b->len == 0 ? "" : "\n",
                             (unsigned) row->id,
                             pprof_routes_name(&r->list, row->route),
                             (double) row->read / 1e6,
                             row->wrote == 0 ? "waiting for a free thread"
                                             : "answered");
        }
    }

    if (n == 0) {
        pprof_buf_printf(b, "no such request was read in the last %.1f s, or "
                         "it is over; requests are looked at until nobody has "
                         "asked for %d s: ask again\n",
                         (double) r->list.nsec / 1e9, PPROF_REQUESTS_LOOK);
    }
}


/* debug=2: each thread, as Go has its goroutines. */
static void
write_threads(const struct dump *dump, const struct pprof_maps *maps,
    struct pprof_names *names, struct pprof_buf *b)
{
    for (size_t i = 0; i < dump->nthreads; i++) {
        const struct thread *t = &dump->threads[i];
        const char *call = call_name(t->call);

        const struct pprof_request_row *const row
            = dump->requests == NULL ? NULL : find_row(dump, t->tid);

        pprof_buf_string(b, i == 0 ? "" : "\n");

        if (row != NULL) {
            pprof_buf_printf(b, "request %08x \"%s\" [read %.1f ms ago%s], "
                             "likely by\n", (unsigned) row->id,
                             pprof_routes_name(&dump->requests->list,
                                               row->route),
                             (double) row->read / 1e6,
                             row->wrote == 0 ? "" : ", being answered");
        }

        pprof_buf_printf(b, "thread %d \"%s\" [%s", (int) t->tid, t->name,
                         state_name(t->state));

        if (call != NULL) {
            pprof_buf_printf(b, " in %s", call);

        } else if (t->call >= 0) {
            pprof_buf_printf(b, " in system call %d", t->call);
        }

        pprof_buf_printf(b, ", cpu %.6f s]:\n", (double) t->cpu / 1e9);
        pprof_text_frames_write(&dump->profile.samples[t->sample], maps,
                                names, b);
    }
}


static int
write_text(const struct pprof_form *form, const struct pprof_job *job,
    const struct pprof_profile *p, const struct pprof_maps *maps,
    struct pprof_names *names, struct pprof_buf *out)
{
    const struct dump *const dump = form->arg;

    if (job->ask.debug != 2) {
        return pprof_text_count_write(p, "goroutine", maps, names, out);
    }

    write_threads(dump, maps, names, out);

    if (dump->requests != NULL) {
        write_idle_requests(dump, out);
    }

    if (dump->failed || p->failed) {
        errno = ENOMEM;
        return -1;
    }

    return 0;
}


static void
finish(struct pprof_job *job, struct dump *dump, bool delta)
{
    struct pprof_maps maps;

    if (take(job, dump, 1) == -1) {
        return;
    }

    pprof_profile_time(&dump->profile, dump->time_nanos,
                       delta ? pprof_now_nanos() - dump->time_nanos : 0);

    if (pprof_job_maps(job, &maps) == -1) {
        return;
    }

    const struct pprof_form form = {
        .file = delta ? "goroutine-delta" : "goroutine",
        .named = true,
        .text = write_text,
        .arg = dump,
    };

    pprof_job_answer(job, &dump->profile, &maps, &form);
    pprof_maps_free(&maps);
}


/*
 * The requests are read before the stacks are: between the two a thread may
 * have gone on.  Returns 0, or -1 with the answer given.
 */
static int
take_requests(struct pprof_job *job, struct dump *dump)
{
    dump->wanted = &job->ask;
    dump->requests = calloc(1, sizeof(*dump->requests));

    if (dump->requests == NULL
        || pprof_requests_want(job->target) == -1
        || pprof_requests_take(job->target, dump->requests) == -1)
    {
        pprof_job_refuse(job, dump->requests == NULL ? ENOMEM : errno,
                         "the requests cannot be read");
        return -1;
    }

    return 0;
}


static void
end(struct pprof_job *job, bool gone)
{
    struct dump *dump = job->state;
    const bool delta = dump != NULL;

    job->state = NULL;

    if (!gone && !delta) {
        dump = new_dump(job->ask.debug == 2, &job->answer);
    }

    if (!gone && dump != NULL
        && ((!job->ask.by_id && job->ask.route[0] == '\0')
            || take_requests(job, dump) == 0))
    {
        finish(job, dump, delta);
    }

    free_dump(dump);
}


const struct pprof_kind pprof_kind_goroutine = {
    PPROF_KIND(goroutine),
    .about = "stacks of all threads (?debug=1, ?debug=2)",
    .begin = begin,
    .end = end,
};


const struct pprof_kind pprof_kind_thread = {
    PPROF_KIND(thread),
    .about = "the same under the name it has in C",
    .begin = begin,
    .end = end,
};
