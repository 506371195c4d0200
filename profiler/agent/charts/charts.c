#include "charts/charts.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "charts/history.h"


static const uint64_t OLD_NANOS = 10 * (uint64_t) PPROF_SECOND;


struct pprof_charts {
    struct pprof_process  process;
    struct pprof_history  history;
    struct pprof_reading  last;         /* the youngest, */
    uint32_t              last_time;    /* and its unix second; 0: none yet */
};


struct pprof_charts *
pprof_charts_create(struct pprof_target *target)
{
    struct pprof_charts *c = calloc(1, sizeof(struct pprof_charts));

    if (c != NULL) {
        pprof_process_init(&c->process, target);
        pprof_history_init(&c->history);
    }

    return c;
}


void
pprof_charts_free(struct pprof_charts *c)
{
    free(c);
}


unsigned
pprof_charts_measure(struct pprof_charts *c)
{
    struct pprof_reading r;
    struct timespec ts;

    pprof_process_read(&c->process, &r);
    clock_gettime(CLOCK_REALTIME, &ts);

    /* a timer may be a little early */
    const unsigned msec = (unsigned) (ts.tv_nsec / 1000000);
    const time_t second = ts.tv_sec + (msec >= 500);

    pprof_history_add(&c->history, (uint32_t) second, &r);

    c->last = r;
    c->last_time = (uint32_t) second;

    return msec >= 500 ? 2000 - msec : 1000 - msec;
}


/* One array at a time: the points are walked once for each. */
struct writer {
    struct pprof_buf  *buf;
    pid_t              pid;
};


static void
begin_object(struct writer *w, const struct pprof_point *point)
{
    pprof_buf_printf(w->buf, "%s\n{\"Ts\":%u000",
                     w->buf->data != NULL
                     && w->buf->data[w->buf->len - 1] == '[' ? "" : ",",
                     (unsigned) point->time);
}


/* KiB as bytes, when SHIFT is 10. */
static void
put_number(struct writer *w, const char *name, uint32_t n, unsigned shift)
{
    if (n != UINT32_MAX) {
        pprof_buf_printf(w->buf, ",\"%s\":%llu", name,
                         (unsigned long long) n << shift);
    }
}


/*
 * A fraction without printf's "%f", which writes a comma where the program
 * set a locale that does.
 */
static void
put_fraction(struct writer *w, const char *name, double x)
{
    const unsigned long long n = (unsigned long long) (x * 1e6 + 0.5);

    pprof_buf_printf(w->buf, ",\"%s\":%llu.%06llu", name, n / 1000000,
                     n % 1000000);
}


static void
put_allocated(const struct pprof_point *point, void *arg)
{
    struct writer *w = arg;

    if (point->heap_in_use != UINT32_MAX) {
        begin_object(w, point);
        put_number(w, "Value", point->heap_in_use, 10);
        pprof_buf_byte(w->buf, '}');
    }
}


static void
put_cpu(const struct pprof_point *point, void *arg)
{
    struct writer *w = arg;

    if (point->user >= 0) {
        begin_object(w, point);
        put_fraction(w, "User", point->user);
        put_fraction(w, "Sys", point->sys);
        pprof_buf_byte(w->buf, '}');
    }
}


static void
put_counts(const struct pprof_point *point, void *arg)
{
    static const char *const names[PPROF_COUNTS] = {
        [PPROF_COUNT_BLOCK] = "Block",
        [PPROF_COUNT_GOROUTINE] = "Goroutine",
        [PPROF_COUNT_HEAP] = "Heap",
        [PPROF_COUNT_MUTEX] = "Mutex",
        [PPROF_COUNT_THREADCREATE] = "Threadcreate",
    };
    struct writer *w = arg;

    begin_object(w, point);

    for (size_t i = 0; i < PPROF_COUNTS; i++) {
        put_number(w, names[i], point->counts[i], 0);
    }

    pprof_buf_byte(w->buf, '}');
}


static void
put_process(const struct pprof_point *point, void *arg)
{
    struct writer *w = arg;

    begin_object(w, point);
    put_number(w, "Rss", point->rss, 10);
    put_number(w, "HeapHeld", point->heap_held, 10);
    put_number(w, "Unmapped", point->unmapped, 10);
    put_number(w, "Scavenges", point->scavenges, 0);
    put_number(w, "Threads", point->threads, 0);
    put_number(w, "Fds", point->fds, 0);
    put_number(w, "Pid", (uint32_t) w->pid, 0);
    pprof_buf_byte(w->buf, '}');
}


void
pprof_charts_write(const struct pprof_charts *c, int64_t since_msec,
    struct pprof_answer *a)
{
    static const struct {
        const char  *name;
        void       (*put)(const struct pprof_point *point, void *arg);
    } arrays[] = {
        { "BytesAllocated", put_allocated },
        { "GcPauses", NULL },       /* there is no collector to pause */
        { "CPUUsage", put_cpu },
        { "Pprof", put_counts },
        { "Process", put_process },
    };
    struct writer w = { .buf = &a->body, .pid = c->process.target->pid };
    const int64_t last = pprof_history_last(&c->history);
    int64_t since = since_msec < 0 ? 0 : since_msec / 1000;

    if (since > last + 1) {
        since = 0;
    }

    for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++) {
        pprof_buf_printf(w.buf, "%s\"%s\":[", i == 0 ? "{" : ",\n",
                         arrays[i].name);

        if (arrays[i].put != NULL) {
            pprof_history_walk(&c->history, (uint32_t) since, arrays[i].put,
                               &w);
        }

        pprof_buf_byte(w.buf, ']');
    }

    pprof_buf_string(w.buf, "}\n");
    pprof_answer_ok(a, "application/json", NULL);
}


static void
put_whole(struct pprof_buf *b, const char *name, uint64_t n)
{
    if (n != PPROF_UNKNOWN) {
        pprof_buf_printf(b, ",\"%s\":%llu", name, (unsigned long long) n);
    }
}


void
pprof_charts_write_last(const struct pprof_charts *c, struct pprof_answer *a)
{
    struct writer w = { .buf = &a->body, .pid = c->process.target->pid };
    const struct pprof_reading *r = &c->last;

    pprof_buf_string(w.buf, "{\"Process\":[");

    if (c->last_time != 0
        && pprof_clock(CLOCK_MONOTONIC) - r->mono_nanos < OLD_NANOS)
    {
        pprof_buf_printf(w.buf, "{\"Ts\":%u000", (unsigned) c->last_time);
        put_whole(w.buf, "Rss", r->rss);
        put_whole(w.buf, "HeapInUse", r->heap_in_use);
        put_whole(w.buf, "HeapHeld", r->heap_held);
        put_whole(w.buf, "Threads", r->threads);
        put_whole(w.buf, "Fds", r->fds);

        if (r->threads != PPROF_UNKNOWN) {
            put_fraction(&w, "CpuSeconds",
                         (double) (r->user_nanos + r->sys_nanos) / 1e9);
        }

        put_whole(w.buf, "Pid", (uint64_t) w.pid);
        pprof_buf_byte(w.buf, '}');
    }

    pprof_buf_string(w.buf, "]}\n");
    pprof_answer_ok(a, "application/json", NULL);
}
