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


void pprof_legacy_lost(void);


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


/*
 * Exists for its name: samples without a stack are charged to it.  Not
 * static, so that no compiler makes it one with another empty function.
 */
void
pprof_legacy_lost(void)
{
    __asm__ volatile ("");
}


/* Frame I as an unwinder gave it. */
static uintptr_t
return_address(const struct pprof_sample *s, size_t i)
{
    return s->pcs[i] + 1;
}


static void
put_word(struct pprof_buf *out, uintptr_t x)
{
    pprof_buf_append(out, &x, sizeof(x));
}


static int
finish(const struct pprof_profile *p, const struct pprof_buf *out)
{
    if (p->failed || out->failed) {
        errno = ENOMEM;
        return -1;
    }

    return 0;
}


int
pprof_legacy_cpu_write(const struct pprof_profile *p, size_t count,
    const struct pprof_maps *maps, struct pprof_buf *out)
{
    if (count >= p->nvalues || p->period < 1000) {
        errno = EINVAL;
        return -1;
    }

    put_word(out, 0);
    put_word(out, HEADER_MIN);
    put_word(out, 0);
    put_word(out, p->period / 1000);
    put_word(out, 0);

    for (size_t i = 0; i < p->nsamples; i++) {
        const struct pprof_sample  *s = &p->samples[i];

        if (s->values[count] <= 0) {
            continue;
        }

        put_word(out, s->values[count]);

        if (s->depth == 0) {
            put_word(out, 1);
            put_word(out, (uintptr_t) pprof_legacy_lost);
            continue;
        }

        put_word(out, s->depth);

        /* readers lower all but the leaf, which we may have lowered */
        put_word(out, s->pcs[0]);

        for (size_t j = 1; j < s->depth; j++) {
            put_word(out, return_address(s, j));
        }
    }

    put_word(out, 0);
    put_word(out, 1);
    put_word(out, 0);

    pprof_legacy_maps_write(maps, out);

    return finish(p, out);
}


/* " @" and the stack; the readers of these texts lower every frame. */
static void
put_stack(struct pprof_buf *out, const struct pprof_sample *s)
{
    pprof_buf_string(out, " @");

    if (s->depth == 0) {
        pprof_buf_printf(out, " 0x%08" PRIxPTR,
                         (uintptr_t) pprof_legacy_lost + 1);
    }

    for (size_t i = 0; i < s->depth; i++) {
        pprof_buf_printf(out, " 0x%08" PRIxPTR, return_address(s, i));
    }

    pprof_buf_byte(out, '\n');
}


/* Objects and bytes; a reader refuses bytes without objects. */
struct pair {
    int64_t  objects;
    int64_t  bytes;
};


static struct pair
pair(const struct pprof_sample *s, size_t n)
{
    const struct pair  x = {s->values[n], s->values[n + 1]};

    return x.objects > 0 && x.bytes >= 0 ? x : (struct pair) {0, 0};
}


static void
put_pairs(struct pprof_buf *out, struct pair in, struct pair alloc)
{
    pprof_buf_printf(out, "%6" PRId64 ": %8" PRId64 " [%6" PRId64
                     ": %8" PRId64 "]", in.objects, in.bytes, alloc.objects,
                     alloc.bytes);
}


int
pprof_legacy_heap_write(const struct pprof_profile *p, size_t in_objects,
    int alloc_objects, const char *name, const struct pprof_maps *maps,
    struct pprof_buf *out)
{
    const size_t  in_n = in_objects;
    const size_t  alloc_n = alloc_objects < 0 ? in_n : (size_t) alloc_objects;

    if (in_n + 1 >= p->nvalues || alloc_n + 1 >= p->nvalues) {
        errno = EINVAL;
        return -1;
    }

    struct pair  in_sum = {0, 0}, alloc_sum = {0, 0};

    for (size_t i = 0; i < p->nsamples; i++) {
        const struct pair  in = pair(&p->samples[i], in_n);
        const struct pair  alloc = pair(&p->samples[i], alloc_n);

        in_sum.objects += in.objects;
        in_sum.bytes += in.bytes;
        alloc_sum.objects += alloc.objects;
        alloc_sum.bytes += alloc.bytes;
    }

    pprof_buf_string(out, "heap profile: ");
    put_pairs(out, in_sum, alloc_sum);
    pprof_buf_printf(out, " @ %s\n", name);

    for (size_t i = 0; i < p->nsamples; i++) {
        const struct pair  in = pair(&p->samples[i], in_n);
        const struct pair  alloc = pair(&p->samples[i], alloc_n);

        if (in.objects != 0 || alloc.objects != 0) {
            put_pairs(out, in, alloc);
            put_stack(out, &p->samples[i]);
        }
    }

    pprof_buf_string(out, "\nMAPPED_LIBRARIES:\n");
    pprof_legacy_maps_write(maps, out);

    return finish(p, out);
}


int
pprof_legacy_contention_write(const struct pprof_profile *p,
    size_t count, size_t delay, const struct pprof_maps *maps,
    struct pprof_buf *out)
{
    if (count >= p->nvalues || delay >= p->nvalues) {
        errno = EINVAL;
        return -1;
    }

    /* a cycle is a nanosecond */
    pprof_buf_printf(out, "--- contention:\n"
                     "cycles/second = 1000000000\n"
                     "sampling period = 1\n"
                     "ms since reset = %" PRId64 "\n"
                     "discarded samples = 0\n",
                     p->duration_nanos / 1000000);

    for (size_t i = 0; i < p->nsamples; i++) {
        const struct pprof_sample  *s = &p->samples[i];

        /* the Perl client divides by the count */
        if (s->values[count] > 0 && s->values[delay] >= 0) {
            pprof_buf_printf(out, "%10" PRId64 " %10" PRId64,
                             s->values[delay], s->values[count]);
            put_stack(out, s);
        }
    }

    pprof_buf_string(out, "\n--- Memory map: ---\n");
    pprof_legacy_maps_write(maps, out);

    return finish(p, out);
}


void
pprof_legacy_maps_write(const struct pprof_maps *maps, struct pprof_buf *out)
{
    char  hex[2 * PPROF_BUILD_ID_MAX + 1];

    for (size_t i = 0; i < maps->nmaps; i++) {
        const struct pprof_map  *map = &maps->maps[i];

        pprof_maps_build_id(maps, map, hex);

        /* in this form a path ends at a space */
        if (hex[0] != '\0' && strchr(map->file, ' ') == NULL) {
            pprof_buf_printf(out, "%08" PRIxPTR "-%08" PRIxPTR
                             " r-xp %s (@%" PRIx64 ") %s\n", map->start,
                             map->limit, map->file, map->offset, hex);
        }
    }

    for (size_t i = 0; i < maps->nmaps; i++) {
        const struct pprof_map  *map = &maps->maps[i];

        pprof_buf_printf(out, "%08" PRIxPTR "-%08" PRIxPTR
                         " r-xp %08" PRIx64 " %02x:%02x %-15" PRIu64 " %s\n",
                         map->start, map->limit, map->offset,
                         (unsigned) (map->dev >> 32), (unsigned) map->dev,
                         map->inode, map->file);
    }
}
