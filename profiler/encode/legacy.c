#include "encode/legacy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>


/* The CPU profile's header: words before the period, by their number. */
enum {
    HEADER_ZERO    = 0,     /* 0: the count of a sample that cannot be */
    HEADER_WORDS   = 1,     /* how many words of header follow this one */
    HEADER_VERSION = 2,     /* 0 */
    HEADER_PERIOD  = 3,     /* microseconds */
    HEADER_PADDING = 4,
    HEADER_MIN     = 3,     /* version, period, padding */

    DEPTH_MAX      = 8192   /* frames: gperftools writes at most 254 */
};


/* Word number N of DATA, which need not be aligned. */
static uintptr_t
word(const void *data, size_t n)
{
    uintptr_t  x;

    memcpy(&x, (const char *) data + n * sizeof(x), sizeof(x));

    return x;
}


static int64_t
times(int64_t a, int64_t b)
{
    int64_t  product;

    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}


int
pprof_legacy_cpu_parse(struct pprof_profile *p, const void *data,
    size_t size, size_t *maps_offset)
{
    const size_t  words = size / sizeof(uintptr_t);

    pprof_profile_value(p, "samples", "count");
    pprof_profile_value(p, "cpu", "nanoseconds");

    if (words <= HEADER_PADDING || word(data, HEADER_ZERO) != 0
        || word(data, HEADER_WORDS) < HEADER_MIN
        || word(data, HEADER_WORDS) > words - 2
        || word(data, HEADER_VERSION) != 0
        || word(data, HEADER_PERIOD) == 0
        || word(data, HEADER_PERIOD) > INT64_MAX / 1000)
    {
        errno = EINVAL;
        return -1;
    }

    const int64_t  period = (int64_t) word(data, HEADER_PERIOD) * 1000;

    pprof_profile_period(p, "cpu", "nanoseconds", period);

    uintptr_t  *pcs = NULL;
    size_t      cap = 0, at = 2 + word(data, HEADER_WORDS);
    bool        whole = false;

    while (words - at >= 3) {
        const uintptr_t  count = word(data, at);
        const uintptr_t  depth = word(data, at + 1);

        if (depth == 0 || depth > DEPTH_MAX || depth > words - at - 2
            || count > INT64_MAX)
        {
            break;
        }

        if (count == 0) {
            /* the end: a sample of no time at address 0 */
            whole = depth == 1 && word(data, at + 2) == 0;
            at += 3;
            break;
        }

        if (depth > cap) {
            uintptr_t  *more = realloc(pcs, depth * sizeof(*pcs));

            if (more == NULL) {
                p->failed = true;
                break;
            }

            pcs = more;
            cap = depth;
        }

        for (size_t i = 0; i < depth; i++) {
            pcs[i] = word(data, at + 2 + i);
        }

        const int64_t  values[2] = {count, times(count, period)};

        pprof_profile_sample(p, pcs, depth, true, values, NULL, 0);

        at += 2 + depth;
    }

    free(pcs);

    if (maps_offset != NULL) {
        *maps_offset = at * sizeof(uintptr_t);
    }

    if (!whole && !p->failed) {
        errno = EINVAL;
        return -1;
    }

    return 0;
}
