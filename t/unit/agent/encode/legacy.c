#include "encode/legacy.c"

#include "guard.h"
#include "tap.h"


/* As gperftools writes it: 100 Hz, two stacks, the end, the maps. */
static const uintptr_t  good[] = {
    0, 3, 0, 10000, 0,
    5, 3, 0x401000, 0x402000, 0x403000,
    1, 1, 0x404000,
    0, 1, 0,
    0x70616d0a      /* "\nmap" */
};


static int
parse(const void *data, size_t size, struct pprof_profile *p, size_t *offset)
{
    void  *copy = guard(data, size);

    pprof_profile_init(p);

    const int  rc = pprof_legacy_cpu_parse(p, copy, size, offset);

    guard_free(copy, size);

    return rc;
}


static int
parse_changed(size_t n, uintptr_t value)
{
    uintptr_t             words[sizeof(good) / sizeof(good[0])];
    struct pprof_profile  p;

    memcpy(words, good, sizeof(good));
    words[n] = value;
    errno = 0;

    const int  rc = parse(words, sizeof(words), &p, NULL);

    pprof_profile_free(&p);

    return rc == -1 && errno != EINVAL ? -2 : rc;
}


int
main(void)
{
    struct pprof_profile  p;
    size_t                offset;

    plan(24);

    is_int(parse(good, sizeof(good), &p, &offset), 0, "a profile is read");
    is_int(offset, 16 * sizeof(uintptr_t), "the maps follow");
    is_int(p.nvalues, 2, "two values");
    is(p.values[0].type, "samples", "samples");
    is(p.values[1].unit, "nanoseconds", "nanoseconds");
    is_int(p.period, 10000000, "the period is in nanoseconds");
    is_int(p.nsamples, 2, "two stacks");
    ok(p.samples[0].values[0] == 5 && p.samples[0].values[1] == 50000000,
       "five times 10 ms");
    ok(p.samples[0].depth == 3 && p.samples[0].pcs[0] == 0x401000
       && p.samples[0].pcs[1] == 0x401fff, "callers are lowered, the leaf not");
    pprof_profile_free(&p);

    is_int(parse(good, 0, &p, NULL), -1, "nothing");
    pprof_profile_free(&p);

    /* cut off anywhere before the end, it is never taken for a whole one */
    size_t  whole = 0;

    for (size_t size = 0; size < 16 * sizeof(uintptr_t); size++) {
        whole += parse(good, size, &p, NULL) == 0;
        pprof_profile_free(&p);
    }

    is_int(whole, 0, "cut off");

    is_int(parse(good, 16 * sizeof(uintptr_t), &p, NULL), 0, "no maps");
    pprof_profile_free(&p);

    is_int(parse_changed(0, 1), -1, "header: no zero first");
    is_int(parse_changed(1, 2), -1, "header: too short");
    is_int(parse_changed(1, UINTPTR_MAX), -1, "header: too long");
    is_int(parse_changed(2, 1), -1, "header: another version");
    is_int(parse_changed(3, 0), -1, "header: no period");
    is_int(parse_changed(3, UINTPTR_MAX), -1, "header: too long a period");
    is_int(parse_changed(6, 0), -1, "sample: no stack");
    is_int(parse_changed(6, UINTPTR_MAX), -1, "sample: too deep");
    is_int(parse_changed(6, 11), -1, "sample: deeper than the rest");
    is_int(parse_changed(5, UINTPTR_MAX), -1, "sample: too many");
    is_int(parse_changed(5, 0), -1, "sample: none, but not the end");
    is_int(parse_changed(5, INT64_MAX), 0, "sample: as many as can be");

    return done();
}
