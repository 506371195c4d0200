#include "failing.h"

#include "encode/buf.c"
#include "encode/gzip.c"
#include "encode/legacy.c"
#include "encode/profile.c"
/* a name that cannot be demangled stays as it is: no failure to report */

static unsigned  failing_unreported;


static inline void *
failing_demangle(size_t size)
{
    void  *p = failing_malloc(size);

    failing_unreported += p == NULL;

    return p;
}


#undef malloc
#define malloc  failing_demangle
#include "symbols/demangle.c"
#undef malloc
#define malloc  failing_malloc

#include "symbols/files.c"
#include "symbols/functions.c"
#include "symbols/known.c"
#include "symbols/names.c"

#include "tap.h"


static const uintptr_t           stack[] = {0x1000, 0x2000, 0x3000};
static const int64_t             one[] = {1, 10};
static const struct pprof_label  label = {.key = "thread", .str = "worker"};


static void
begin(struct pprof_profile *p)
{
    pprof_profile_init(p);
    pprof_profile_value(p, "samples", "count");
    pprof_profile_value(p, "cpu", "nanoseconds");
    pprof_profile_period(p, "cpu", "nanoseconds", 10000000);
}


static void
test_samples(void)
{
    struct pprof_profile  p;

    begin(&p);
    pprof_profile_sample(&p, stack, 3, true, one, NULL, 0);

    is_int(p.nsamples, 1, "one sample");
    ok(p.samples[0].pcs[0] == 0x1000, "an exact leaf stays");
    ok(p.samples[0].pcs[1] == 0x1fff && p.samples[0].pcs[2] == 0x2fff,
       "callers are lowered");

    pprof_profile_sample(&p, stack, 3, true, one, NULL, 0);
    is_int(p.nsamples, 1, "the same stack again is no new sample");
    ok(p.samples[0].values[0] == 2 && p.samples[0].values[1] == 20,
       "its numbers are added");

    pprof_profile_sample(&p, stack, 3, false, one, NULL, 0);
    is_int(p.nsamples, 2, "a leaf that is a return address is another");
    ok(p.samples[1].pcs[0] == 0xfff, "and is lowered");

    pprof_profile_sample(&p, stack, 2, true, one, NULL, 0);
    is_int(p.nsamples, 3, "a shorter stack is another");

    pprof_profile_sample(&p, stack, 2, true, one, &label, 1);
    is_int(p.nsamples, 4, "the same with a label is another");

    const struct pprof_label  same = {
        .key = strdup("thread"), .str = strdup("worker")
    };

    pprof_profile_sample(&p, stack, 2, true, one, &same, 1);
    is_int(p.nsamples, 4, "labels are compared by their text");
    free((char *) same.key);
    free((char *) same.str);

    is(p.samples[3].labels[0].str, "worker", "labels are copied");

    const struct pprof_label  number = {.key = "bytes", .num = 1};
    const struct pprof_label  other = {.key = "bytes", .num = 2};

    pprof_profile_sample(&p, stack, 2, true, one, &number, 1);
    pprof_profile_sample(&p, stack, 2, true, one, &other, 1);
    is_int(p.nsamples, 6, "labels with other numbers are others");

    const uintptr_t  ended[] = {0x1000, 0x2000, 0, 0x3000};

    pprof_profile_sample(&p, ended, 4, true, one, NULL, 0);
    is_int(p.nsamples, 6, "a stack ends at address 0");
    is_int(p.samples[2].values[0], 2, "and is the shorter one");

    pprof_profile_sample(&p, ended + 2, 2, true, one, NULL, 0);
    is(p.samples[6].lost, "[no stack]", "no stack is said so");

    pprof_profile_lost(&p, one, "lost_samples");
    pprof_profile_lost(&p, one, "lost_samples");
    is(p.samples[7].lost, "lost_samples", "lost samples have a name");
    is_int(p.samples[7].values[0], 2, "and are added");

    const int64_t  nothing[] = {0, 0};

    pprof_profile_lost(&p, nothing, "never_lost");
    is_int(p.nsamples, 8, "nothing lost, nothing added");

    const int64_t  most[] = {INT64_MAX, INT64_MIN};

    pprof_profile_sample(&p, stack, 1, true, most, NULL, 0);
    pprof_profile_sample(&p, stack, 1, true, most, NULL, 0);
    ok(p.samples[8].values[0] == INT64_MAX
       && p.samples[8].values[1] == INT64_MIN, "sums do not overflow");

    pprof_profile_free(&p);
    is_int(p.nsamples, 0, "a freed profile is empty");
}


static void
test_many(void)
{
    struct pprof_profile  p;
    uintptr_t             pcs[2];
    bool                  right = true;

    begin(&p);

    for (int round = 0; round < 2; round++) {
        for (uintptr_t i = 1; i <= 100000; i++) {
            pcs[0] = i * 8;
            pcs[1] = i % 100 + 1;
            pprof_profile_sample(&p, pcs, 2, true, one, NULL, 0);
        }
    }

    is_int(p.nsamples, 100000, "many stacks are told apart");

    for (size_t i = 0; i < p.nsamples; i++) {
        right = right && p.samples[i].values[1] == 20
                && p.samples[i].pcs[0] == (i + 1) * 8;
    }

    ok(right, "and found again");

    pprof_profile_free(&p);
}


static void
test_misuse(void)
{
    struct pprof_profile  p;
    struct pprof_maps     maps = {0};
    struct pprof_names    names;
    struct pprof_buf      out;

    pprof_buf_init(&out);
    pprof_names_init(&names);

    pprof_profile_init(&p);
    ok(pprof_profile_finish(&p, &maps, &names, &out) == -1 && errno == EINVAL,
       "no value type");

    begin(&p);
    pprof_profile_sample(&p, stack, 1, true, one, NULL, 0);
    pprof_profile_value(&p, "late", "count");
    ok(pprof_profile_finish(&p, &maps, &names, &out) == -1 && errno == EINVAL,
       "a value type after a sample");
    pprof_profile_free(&p);

    for (int i = 0; i <= PPROF_VALUES_MAX; i++) {
        pprof_profile_value(&p, "one too many", "count");
    }

    ok(pprof_profile_finish(&p, &maps, &names, &out) == -1 && errno == EINVAL,
       "too many value types");
    pprof_profile_free(&p);

    is_int(out.len, 0, "nothing was written");

    begin(&p);
    is_int(pprof_profile_finish(&p, &maps, &names, &out), 0,
           "a profile without samples and mappings is one");
    pprof_profile_free(&p);
    pprof_names_free(&names);
    pprof_buf_free(&out);
}


static void
check_text(const char *text, const char *expected)
{
    struct pprof_buf  b;

    pprof_buf_init(&b);
    put_text(&b, 6, text, strlen(text));
    pprof_buf_byte(&b, '\0');
    is(b.data + 2, expected, "text: %s", expected);
    pprof_buf_free(&b);
}


static void
test_text(void)
{
    check_text("plain", "plain");
    check_text("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
               "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    check_text("cut \xe2\x82", "cut ??");
    check_text("alone \x80 \xff", "alone ? ?");
    check_text("long form \xc0\xaf \xe0\x80\xaf", "long form ?? ???");
    check_text("surrogate \xed\xa0\x80", "surrogate ???");
    check_text("beyond \xf4\x90\x80\x80", "beyond ????");
}


/* Everything that allocates, once. */
static int
whole_profile(const struct pprof_maps *maps, struct pprof_buf *out)
{
    struct pprof_profile  p;
    struct pprof_names    names;
    uintptr_t             pcs[2] = {(uintptr_t) whole_profile + 1};
    int                   rc;

    begin(&p);
    pprof_names_init(&names);
    pprof_profile_default(&p, "cpu");
    pprof_profile_comment(&p, "comment");

    for (uintptr_t i = 0; i < 2000; i++) {
        pcs[1] = (uintptr_t) strlen + i * 16;
        pprof_profile_sample(&p, pcs, 2, true, one, &label, i % 2);
    }

    pprof_profile_lost(&p, one, "lost_samples");

    rc = pprof_profile_finish(&p, maps, &names, out);

    pprof_names_free(&names);

    /* a full buffer of each legacy text as well */
    for (int i = 0; i < 3 && rc == 0; i++) {
        struct pprof_buf  text;

        pprof_buf_init(&text);

        rc = i == 0 ? pprof_legacy_cpu_write(&p, 0, maps, &text)
             : i == 1 ? pprof_legacy_heap_write(&p, 0, -1, "growth", maps,
                                                &text)
             : pprof_legacy_contention_write(&p, 0, 1, maps, &text);

        pprof_buf_free(&text);

        if (rc != 0) {
            pprof_buf_free(out);
        }
    }

    pprof_profile_free(&p);

    return rc;
}


static void
test_failing(void)
{
    struct pprof_maps  maps;
    struct pprof_buf   out;
    unsigned           n, refused = 0;

    pprof_maps_load(&maps);
    pprof_buf_init(&out);

    /* it ends when a run needs fewer allocations than the one that fails */
    for (n = 1; ; n++) {
        failing_calls = 0;
        failing_at = n;
        errno = 0;

        const int  rc = whole_profile(&maps, &out);

        failing_at = 0;

        if (rc == 0 && failing_calls < n) {
            break;
        }

        if (rc == -1 && errno == ENOMEM && out.len == 0) {
            refused++;

        } else if (rc != 0 || out.failed) {
            printf("# allocation %u: %d, errno %d, %zu bytes\n", n, rc, errno,
                   out.len);
            break;
        }

        pprof_buf_free(&out);
    }

    ok(failing_calls < n, "every allocation failed once (%u)", n - 1);

    is_int(refused + failing_unreported, n - 1,
           "and was reported (%u), but for names that stay mangled", refused);
    ok(out.len > 1000 && !out.failed, "then none did");

    pprof_buf_free(&out);
    pprof_maps_free(&maps);
}


int
main(void)
{
    plan(37);

    test_samples();
    test_many();
    test_misuse();
    test_text();
    test_failing();

    return done();
}
