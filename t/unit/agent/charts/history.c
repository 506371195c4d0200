/*
 * The rings of the process's history, and what /proc tells it.
 */

#include "charts/history.c"
#include "charts/process.c"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

#include "tap.h"


enum { START = 1700000040 };        /* a whole minute */


struct seen {
    unsigned   n;
    unsigned   disorder;            /* points that are not after the one
                                       before */
    uint32_t   first, last;
    uint32_t   minutes, tens;       /* gaps of 60 and 10 seconds */
    float      user;                /* sums */
};


static void
look(const struct pprof_point *point, void *arg)
{
    struct seen *s = arg;

    if (s->n == 0) {
        s->first = point->time;

    } else {
        s->disorder += point->time <= s->last;
        s->minutes += point->time - s->last == 60;
        s->tens += point->time - s->last == 10;
    }

    s->user += point->user > 0 ? point->user : 0;
    s->last = point->time;
    s->n++;
}


static struct seen
walk(const struct pprof_history *h, uint32_t since)
{
    struct seen s = { .n = 0 };

    pprof_history_walk(h, since, look, &s);

    return s;
}


/* Half a CPU in the program, a tenth in the kernel, since second 0. */
static struct pprof_reading
reading(uint64_t second)
{
    return (struct pprof_reading) {
        .mono_nanos = second * 1000000000,
        .user_nanos = second * 500000000,
        .sys_nanos = second * 100000000,
        .rss = 3 << 20,
        .heap_in_use = (uint64_t) 5 << 42,
        .heap_held = PPROF_UNKNOWN,
    };
}


static void
fill(struct pprof_history *h, uint32_t from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct pprof_reading r = reading(from + i);

        pprof_history_add(h, START + from + i, &r);
    }
}


static void
test_rings(struct pprof_history *h)
{
    pprof_history_init(h);
    is_int(walk(h, 0).n, 0, "nothing yet");
    is_int(pprof_history_last(h), 0, "no last one");

    fill(h, 0, 1);
    is_int(h->seconds[0].user, -1, "the first has no CPU");
    is_int(h->seconds[0].rss, 3 << 10, "KiB");
    is_int(h->seconds[0].heap_in_use, UINT32_MAX - 1, "too many are a limit");
    is_int(h->seconds[0].heap_held, UINT32_MAX, "unknown is not a limit");

    fill(h, 0, 900);

    struct seen s = walk(h, 0);

    is_int(s.n, 900, "15 minutes are all there");
    is_int(s.disorder, 0, "in order");
    ok(s.user > 449 && s.user < 450, "CPU: half of each second, %g", s.user);

    s = walk(h, START + 890);
    is_int(s.n, 9, "since: those after it");
    is_int(s.first, START + 891, "the first of them");

    /* three days */
    fill(h, 900, 3 * 86400);
    s = walk(h, 0);
    is_int(s.disorder, 0, "three days: in order");
    is_int(s.last, START + 900 + 3 * 86400 - 1, "up to now");
    is_int(s.last - s.first, 86399, "a day");

    /* 14 of 15 minutes in seconds, 105 in tens, the rest in minutes */
    ok(s.tens >= 628 && s.tens <= 631, "tens in between: %u", s.tens);
    ok(s.minutes >= 1318 && s.minutes <= 1321, "minutes before: %u",
       s.minutes);

    for (uint32_t i = 0; i < h->rings[2].len; i++) {
        const float user = h->minutes[i].user;

        if (user < 0.499 || user > 0.501) {
            ok(false, "minute %u: %g", i, user);
            return;
        }
    }

    ok(true, "CPU of each minute is the mean of it");
}


static void
test_clock(struct pprof_history *h)
{
    memset(h, 0, sizeof(struct pprof_history));
    pprof_history_init(h);
    fill(h, 0, 100);

    /* a timer that came twice in a second */
    fill(h, 99, 1);
    is_int(walk(h, 0).n, 100, "a second is there once");

    /* a process that stood still for 55 s, over the minute's end */
    const struct pprof_reading r = reading(155);
    pprof_history_add(h, START + 155, &r);

    const struct seen s = walk(h, START + 99);

    is_int(s.n, 1, "a gap stays one");
    ok(s.user > 0.499 && s.user < 0.501, "CPU is over the gap: %g", s.user);

    fill(h, 10, 1);
    is_int(walk(h, 0).n, 1, "set back: what was the future is forgotten");
    is_int(pprof_history_last(h), START + 10, "and goes on");
}


static void
test_parse(void)
{
    static const char good[] = "71 (a) R 1 (b c) S 1 71 71 0 -1 4194560 1 2 3 "
        "4 5 6 7 8 20 0 12 0 3433 26021888 345 18446744073709551615 1";
    uint64_t threads = 0, pages = 0, times[2] = { 0 };

    is_int(pprof_process_parse(good, &threads, &pages, times), 0, "stat");
    is_int(threads, 12, "threads");
    is_int(pages, 345, "pages");
    is_int(times[0], 5, "user time");
    is_int(times[1], 6, "system time");

    for (size_t len = 0; len < strlen(good) - 22; len++) {
        char *cut = strndup(good, len);

        if (pprof_process_parse(cut, &threads, &pages, times) == 0) {
            ok(false, "cut at %zu", len);
            free(cut);
            return;
        }

        free(cut);
    }

    ok(true, "cut anywhere: an error");
    is_int(pprof_process_parse("", &threads, &pages, times), -1, "nothing");
    is_int(pprof_process_parse("1 (x)", &threads, &pages, times), -1, "a name");
}


static void *
sleep_on(void *arg)
{
    pthread_mutex_lock(arg);
    pthread_mutex_unlock(arg);

    return NULL;
}


static void
test_process(void)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    struct pprof_process p;
    struct pprof_reading r, r2;
    pthread_t threads[3];
    int fds[5];

    /* with the first thread the thread sanitizer starts one of its own */
    pthread_create(&threads[0], NULL, sleep_on, &gate);
    pthread_join(threads[0], NULL);

    pprof_process_init(&p, pprof_target_self());
    pprof_process_read(&p, &r);
    ok(r.rss > 1 << 19 && r.rss < (uint64_t) 1 << 32, "resident: %" PRIu64,
       r.rss);
    is_int(r.heap_in_use, PPROF_UNKNOWN, "no tcmalloc, no heap");

    pthread_mutex_lock(&gate);

    for (size_t i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, sleep_on, &gate);
    }

    for (size_t i = 0; i < 5; i++) {
        fds[i] = open("/dev/null", O_RDONLY);
    }

    volatile unsigned sum = 0;

    do {
        for (unsigned i = 0; i < 1000000; i++) {
            sum += i;
        }

        pprof_process_read(&p, &r2);

    } while (r2.user_nanos - r.user_nanos < 20000000);

    (void) sum;

    is_int(r2.threads, r.threads + 3, "three threads more");
    is_int(r2.counts[PPROF_COUNT_GOROUTINE], r2.threads, "its kind's count");

    p.fds.next_nanos = 0;
    pprof_process_read(&p, &r2);
    is_int(r2.fds, r.fds + 5, "five descriptors more");

    close(fds[0]);
    pprof_process_read(&p, &r);
    is_int(r.fds, r2.fds, "which are counted no more than pays");
    ok(p.fds.next_nanos > r.mono_nanos, "but will be");

    for (size_t i = 1; i < 5; i++) {
        close(fds[i]);
    }

    pthread_mutex_unlock(&gate);

    for (size_t i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
}


int
main(void)
{
    struct pprof_history *h = calloc(1, sizeof(struct pprof_history));

    test_rings(h);
    test_clock(h);
    free(h);
    test_parse();
    test_process();

    return done_testing();
}
