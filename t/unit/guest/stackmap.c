/* guest/stackmap.c: sums, bounds, and many writers at once. */

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>

#include "guest/stackmap.c"
#include "tap.h"


struct sum {
    uint64_t   rows;
    uint64_t   count;
    uint64_t   value;
    uint64_t   tag;
    uintptr_t  leaf;
    size_t     depth;
};

static struct pprof_stackmap *shared;
static _Atomic uint64_t added;


static void
add_up(void *arg, const struct pprof_stack *row)
{
    struct sum *sum = arg;

    sum->rows++;
    sum->count += row->count;
    sum->value += row->value;
    sum->tag = row->tag;
    sum->leaf = row->pcs[0];
    sum->depth = row->depth;
}


static struct sum
read_all(struct pprof_stackmap *map)
{
    struct sum sum = { 0 };

    pprof_stackmap_read(map, add_up, &sum);

    return sum;
}


/* One of 64 stacks, depth 1 to 40, with a common root. */
static void
add_one(unsigned n)
{
    uintptr_t pcs[40];
    size_t    depth = n % 40 + 1;

    for (size_t i = 0; i < depth; i++) {
        pcs[i] = 0x400000 + i * 16 + (i == 0 ? n : 0);
    }

    pprof_stackmap_add(shared, n % 4, pcs, depth, 1, 10);
    atomic_fetch_add(&added, 1);
}


static void
tick(int signo)
{
    static _Atomic unsigned n;

    (void) signo;

    add_one(atomic_fetch_add(&n, 7) % 64);
}


static void *
writer(void *arg)
{
    (void) arg;

    for (unsigned n = 0; n < 200000; n++) {
        add_one(n % 64);
    }

    return NULL;
}


int
main(void)
{
    uintptr_t  pcs[PPROF_STACK_MAX + 10];
    struct sum sum;

    for (size_t i = 0; i < sizeof(pcs) / sizeof(pcs[0]); i++) {
        pcs[i] = 0x1000 + i;
    }

    struct pprof_stackmap *map = pprof_stackmap_create(100, 1000);

    ok(map != NULL, "create");
    ok(pprof_stackmap_add(map, 7, pcs, 3, 2, 20), "add");
    ok(pprof_stackmap_add(map, 7, pcs, 3, 1, 5), "add again");

    sum = read_all(map);
    ok(sum.rows == 1 && sum.count == 3 && sum.value == 25, "one row, summed");
    ok(sum.tag == 7 && sum.leaf == 0x1000 && sum.depth == 3,
       "tag, leaf and depth come back");

    pprof_stackmap_add(map, 8, pcs, 3, 1, 1);
    pprof_stackmap_add(map, 7, pcs, 2, 1, 1);
    pprof_stackmap_add(map, 7, pcs, 0, 1, 1);
    ok(read_all(map).rows == 4, "other tag, other depth, no frames: new rows");

    pprof_stackmap_add(map, 9, pcs, PPROF_STACK_MAX + 10, 1, 1);
    sum = read_all(map);
    ok(sum.rows == 5, "a stack too deep is kept");
    pprof_stackmap_free(map);

    map = pprof_stackmap_create(4, 1000);
    for (uintptr_t i = 0; i < 100; i++) {
        pprof_stackmap_add(map, 0, &i, 1, 1, 3);
    }
    sum = read_all(map);
    struct pprof_stackmap_loss lost = pprof_stackmap_lost(map);
    ok(sum.rows == 4, "never more rows than asked for");
    ok(sum.count + lost.count == 100 && sum.value + lost.value == 300,
       "what did not fit is counted as lost");
    pprof_stackmap_free(map);

    map = pprof_stackmap_create(64, 10);
    for (uintptr_t i = 0; i < 20; i++) {
        pprof_stackmap_add(map, i, pcs, 3, 1, 1);
    }
    ok(read_all(map).rows == 3 && pprof_stackmap_lost(map).count == 17,
       "frames run out: lost, too");
    ok(pprof_stackmap_add(map, 0, pcs, 3, 1, 1), "what is there still counts");
    pprof_stackmap_free(map);

    shared = pprof_stackmap_create(1024, 65536);
    struct sigaction action = { .sa_handler = tick, .sa_flags = SA_RESTART };
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = { { 0, 200 }, { 0, 200 } };
    setitimer(ITIMER_REAL, &timer, NULL);

    pthread_t thread[4];
    for (int i = 0; i < 4; i++) {
        pthread_create(&thread[i], NULL, writer, NULL);
    }
    for (int i = 0; i < 100; i++) {
        read_all(shared);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
    }
    memset(&timer, 0, sizeof(timer));
    setitimer(ITIMER_REAL, &timer, NULL);

    sum = read_all(shared);
    ok(sum.count == added && sum.value == added * 10
       && pprof_stackmap_lost(shared).count == 0,
       "four writers, signals and a reader: nothing lost");
    ok(sum.rows >= 64 && sum.rows < 200, "duplicates are few: %d rows of 64",
       (int) sum.rows);
    pprof_stackmap_free(shared);
    pprof_stackmap_free(NULL);

    return done_testing();
}
