/*
 * Writes a profile of known content on standard output, for t/encode.t to
 * read with a foreign decoder.  The argument says which: "proto"; "cpu",
 * "heap", "heapprofile", "growth" or "contention" for gperftools' formats;
 * "convert" reads gperftools' CPU profile from standard input and writes the
 * proto.
 */

#include <gnu/libc-version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "encode/legacy.h"
#include "encode/profile.h"


int encode_global(int x);
int encode_root(int x);


__attribute__((noinline)) static int
encode_leaf(int x)
{
    return x * 3;
}


__attribute__((noinline)) int
encode_global(int x)
{
    return encode_leaf(x) + 1;
}


__attribute__((noinline)) int
encode_root(int x)
{
    return encode_global(x) + 1;
}


static void
fill(struct pprof_profile *p)
{
    const uintptr_t  stack[] = {
        (uintptr_t) encode_leaf,            /* an interrupted pc */
        (uintptr_t) encode_global + 1,      /* return addresses: lowered */
        (uintptr_t) encode_root + 1
    };

    /* returns to the very start of a function: its caller is another one */
    const uintptr_t  edge[] = {
        (uintptr_t) encode_leaf,
        (uintptr_t) encode_global
    };

    const uintptr_t           nowhere[] = {16, (uintptr_t) encode_root + 1};
    const struct pprof_label  labels[] = {
        {.key = "thread", .str = "worker \"1\""},
        {.key = "bytes", .num = 4096, .unit = "bytes"}
    };

    pprof_profile_value(p, "samples", "count");
    pprof_profile_value(p, "cpu", "nanoseconds");
    pprof_profile_period(p, "cpu", "nanoseconds", 10000000);
    pprof_profile_time(p, 1531771542000000000, 30050000000);
    pprof_profile_comment(p, "a comment");

    pprof_profile_sample(p, stack, 3, true, (int64_t[]) {3, 30000000}, NULL,
                         0);
    pprof_profile_sample(p, stack, 3, true, (int64_t[]) {4, 40000000}, NULL,
                         0);
    pprof_profile_sample(p, stack + 1, 2, true, (int64_t[]) {1, 10000000},
                         labels, 2);
    pprof_profile_sample(p, edge, 2, true, (int64_t[]) {1, 10000000}, NULL, 0);
    pprof_profile_sample(p, nowhere, 2, true, (int64_t[]) {1, 10000000}, NULL,
                         0);
    pprof_profile_lost(p, (int64_t[]) {2, 20000000}, "lost_samples");

    /* a delta that came out even: not written */
    pprof_profile_sample(p, stack + 2, 1, true, (int64_t[]) {6, 60}, NULL, 0);
    pprof_profile_sample(p, stack + 2, 1, true, (int64_t[]) {-6, -60}, NULL,
                         0);
}


/* One live object of 512 KiB, and one that is gone. */
static void
fill_heap(struct pprof_profile *p)
{
    const uintptr_t  stack[] = {
        (uintptr_t) encode_leaf + 1, (uintptr_t) encode_root + 1
    };

    pprof_profile_value(p, "inuse_objects", "count");
    pprof_profile_value(p, "inuse_space", "bytes");
    pprof_profile_value(p, "alloc_objects", "count");
    pprof_profile_value(p, "alloc_space", "bytes");

    pprof_profile_sample(p, stack, 2, false,
                         (int64_t[]) {1, 524288, 1, 524288}, NULL, 0);
    pprof_profile_sample(p, stack + 1, 1, false,
                         (int64_t[]) {0, 0, 3, 1048576 * 3}, NULL, 0);
    pprof_profile_lost(p, (int64_t[]) {-1, -5, 0, 0}, "negative");
}


static void
fill_contention(struct pprof_profile *p)
{
    const uintptr_t  stack[] = {
        (uintptr_t) encode_leaf + 1, (uintptr_t) encode_root + 1
    };

    pprof_profile_value(p, "contentions", "count");
    pprof_profile_value(p, "delay", "nanoseconds");
    pprof_profile_time(p, 0, 2000000000);
    pprof_profile_sample(p, stack, 2, false, (int64_t[]) {3, 6000000}, NULL,
                         0);
    pprof_profile_lost(p, (int64_t[]) {1, 1000000}, "lost_samples");

    /* in a library, and in one that no sanitizer has a double of */
    const uintptr_t  library[] = {
        (uintptr_t) gnu_get_libc_version + 1, (uintptr_t) encode_root + 1
    };

    pprof_profile_sample(p, library, 2, false, (int64_t[]) {2, 3000000}, NULL,
                         0);
}


static int
convert(struct pprof_profile *p)
{
    struct pprof_buf  in;
    char             *at;
    ssize_t           n;

    pprof_buf_init(&in);

    while ((at = pprof_buf_reserve(&in, 65536)) != NULL
           && (n = read(0, at, 65536)) > 0)
    {
        in.len += n;
    }

    const int  rc = pprof_legacy_cpu_parse(p, in.data, in.len, NULL);

    pprof_buf_free(&in);

    return rc;
}


int
main(int argc, char **argv)
{
    struct pprof_profile  p;
    struct pprof_maps     maps;
    struct pprof_names    names;
    struct pprof_buf      out;
    const char           *what = argc > 1 ? argv[1] : "proto";
    int                   rc;

    pprof_profile_init(&p);
    pprof_names_init(&names);
    pprof_buf_init(&out);

    if (strcmp(what, "convert") == 0) {
        if (convert(&p) != 0) {
            perror("convert");
            return 1;
        }

    } else if (strncmp(what, "heap", 4) == 0 || strcmp(what, "growth") == 0) {
        fill_heap(&p);

    } else if (strcmp(what, "contention") == 0) {
        fill_contention(&p);

    } else {
        fill(&p);
    }

    if (pprof_maps_load(&maps) != 0) {
        perror("maps");
        return 1;
    }

    if (strcmp(what, "cpu") == 0) {
        rc = pprof_legacy_cpu_write(&p, 0, &maps, &out);

    } else if (strcmp(what, "heap") == 0) {
        rc = pprof_legacy_heap_write(&p, 0, -1, "heap_v2/524288", &maps, &out);

    } else if (strcmp(what, "heapprofile") == 0) {
        rc = pprof_legacy_heap_write(&p, 0, 2, what, &maps, &out);

    } else if (strcmp(what, "growth") == 0) {
        rc = pprof_legacy_heap_write(&p, 2, -1, what, &maps, &out);

    } else if (strcmp(what, "contention") == 0) {
        rc = pprof_legacy_contention_write(&p, 0, 1, &maps, &out);

    } else {
        rc = pprof_profile_finish(&p, &maps, &names, &out);
    }

    if (rc != 0 || fwrite(out.data, 1, out.len, stdout) != out.len) {
        perror(what);
        return 1;
    }

    pprof_buf_free(&out);
    pprof_names_free(&names);
    pprof_maps_free(&maps);
    pprof_profile_free(&p);

    return 0;
}
