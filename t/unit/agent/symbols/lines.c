/*
 * Lines: which addresses are asked about, what is understood of an answer,
 * memory that runs out.  The real pprof-lines is t/lib_lines.t's and
 * t/symbols.t's.
 */

#include "failing.h"

#include "symbols/lines.c"

#include "tap.h"


/* Lines of the addresses 0x1000, 0x2000, 0x3000 as TEXT has them. */
static int
parse(struct pprof_lines *l, const char *text)
{
    pprof_lines_free(l);

    for (uintptr_t i = 3; i > 0; i--) {
        pprof_lines_add(l, 0x1000 * i);
        pprof_lines_add(l, 0x1000 * i);
    }

    return pprof_lines_parse(l, strdup(text), strlen(text));
}


static void
test_answers(void)
{
    struct pprof_lines         l;
    const struct pprof_frame  *f;
    size_t                     n = 0;

    pprof_lines_init(&l);

    is_int(parse(&l, "s in\ns a.c\ns b.h\na 1\nf 3 1 0 2\nf 70 60 - 1\ne\n"), 1,
           "a whole answer");
    is_int(l.nentries, 3, "each address is asked about once");

    f = pprof_lines_at(&l, 0x2000, &n);

    if (!ok(f != NULL && n == 2, "two frames")) {
        return;
    }

    is(f[0].name, "in", "inlined: its name");
    is(f[0].file, "b.h", "inlined: its file");
    is_int(f[0].line, 3, "inlined: its line");
    is_int(f[0].start, 1, "inlined: where it begins");
    is(f[1].name, NULL, "the function has its symbol's name");
    is(f[1].file, "a.c", "its file");
    is_int(f[1].line, 70, "its line");

    ok(pprof_lines_at(&l, 0x1000, &n) == NULL, "one that was not answered");
    ok(pprof_lines_at(&l, 0x1500, &n) == NULL, "one that was not asked about");
    ok(pprof_lines_any(&l, 0x1500, 0x2001)
       && !pprof_lines_any(&l, 0x1000, 0x2000)
       && !pprof_lines_any(&l, 0x2001, 0x9000), "where any are");

    static const struct {
        const char  *text;
        size_t       known;
        const char  *what;
    } broken[] = {
        { "", 0, "nothing" },
        { "s a.c\na 0\nf 1 1 - 0\n", 1, "without an end" },
        { "s a.c\na 0\nf 1 1 - 0\na 1\nf 2 1 -", 1, "broken off" },
        { "s a.c\na 0\nf 1 1 - 1\ne\n", 0, "a text that was not said" },
        { "s a.c\na 0\nf 1 1 5 0\ne\n", 0, "a name that was not said" },
        { "s a.c\na 3\nf 1 1 - 0\ne\n", 0, "an address too many" },
        { "s a.c\na -1\nf 1 1 - 0\ne\n", 0, "a negative address" },
        { "s a.c\nf 1 1 - 0\ne\n", 0, "a frame of nobody" },
        { "s a.c\na 0\nf 1 1 - 0\na 0\nf 1 1 - 0\ne\n", 1, "twice" },
        { "s a.c\na 0\nf 16777216 1 - 0\ne\n", 0, "a line too far" },
        { "s a.c\na 0\nf 99999999999999999999999 1 - 0\ne\n", 0,
          "a number too long" },
        { "s a.c\na 0\nf 1 1 - 0 0\ne\n", 0, "one word too many" },
        { "s a.c\na 0\nf 1 1\ne\n", 0, "one too few" },
        { "x y\ne\n", 0, "what there is not" },
        { "\n\ne\n", 0, "empty lines" },
        { "a", 0, "one letter" },
    };

    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        const int  complete = parse(&l, broken[i].text);
        size_t     known = 0;

        for (size_t j = 0; j < l.nentries; j++) {
            known += l.entries[j].nframes != 0;
        }

        ok(complete == 0 && known == broken[i].known, "%s: %zu known",
           broken[i].what, known);
    }

    pprof_lines_free(&l);
    ok(l.entries == NULL && l.answer == NULL && l.nentries == 0,
       "nothing is left");
}


static void
test_many(void)
{
    struct pprof_lines  l;
    bool                sorted = true;

    pprof_lines_init(&l);

    for (uintptr_t round = 0; round < 2; round++) {
        for (uintptr_t i = 100000; i > 0; i--) {
            pprof_lines_add(&l, i * 16);
        }
    }

    is_int(pprof_lines_parse(&l, strdup("e\n"), 2), 1, "many addresses");

    for (size_t i = 1; i < l.nentries; i++) {
        sorted = sorted && l.entries[i - 1].addr < l.entries[i].addr;
    }

    ok(sorted && l.nentries == 100000, "each is there once, in order");
    pprof_lines_free(&l);
}


static void
add_some(struct pprof_lines *l, const struct pprof_maps *maps)
{
    for (uintptr_t i = 0; i < 3000; i++) {
        pprof_lines_add(l, maps->maps[0].start + i);
    }
}


/* Programs that are no pprof-lines. */
static void
test_others(const struct pprof_maps *maps)
{
    static const struct {
        const char  *program;
        const char  *comment;
    } others[] = {
        { "/nonexistent", "no lines: pprof-lines cannot be run: No such file "
          "or directory" },
        { "/", "no lines: pprof-lines cannot be run: Permission denied" },
        { "/bin/true", "lines of 0 of 3000 addresses: pprof-lines did not "
          "finish" },
        { "/bin/cat", "lines of 0 of 3000 addresses: pprof-lines did not "
          "finish" },
    };

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct pprof_lines            l;
        const struct pprof_lines_ask  ask = {
            .program = others[i].program, .debug_root = "/", .msec = 20000
        };

        pprof_lines_init(&l);
        add_some(&l, maps);
        pprof_lines_find(&l, maps, &ask);
        is(l.comment, others[i].comment, "%s", others[i].program);
        pprof_lines_free(&l);
    }
}


/* Each allocation fails once: there is a comment always, and no crash. */
static void
test_failing(const struct pprof_maps *maps)
{
    static const char             text[] = "s a.c\na 1\nf 7 1 - 0\ne\n";
    const struct pprof_lines_ask  ask = {
        .program = "/bin/cat", .debug_root = "/", .msec = 20000
    };

    unsigned  n, silent = 0, refused = 0;

    for (n = 1; ; n++) {
        struct pprof_lines  l;

        pprof_lines_init(&l);
        failing_calls = 0;
        failing_at = n;
        add_some(&l, maps);
        pprof_lines_find(&l, maps, &ask);
        silent += l.comment[0] == '\0';

        /* the same once more for an answer that makes sense */
        pprof_lines_free(&l);
        add_some(&l, maps);

        if (!l.failed) {
            (void) pprof_lines_parse(&l, strdup(text), sizeof(text) - 1);
        }

        refused += l.failed;

        const unsigned  calls = failing_calls;

        failing_at = 0;
        pprof_lines_free(&l);

        if (calls < n) {
            break;
        }
    }

    ok(n > 6, "every allocation failed once (%u)", n - 1);
    is_int(silent, 0, "there is a comment always");
    ok(refused > 0 && refused < n, "some of them cost the lines (%u)", refused);
}


int
main(void)
{
    struct pprof_maps  maps;

    plan(39);

    pprof_maps_load(&maps);

    test_answers();
    test_many();
    test_others(&maps);
    test_failing(&maps);

    pprof_maps_free(&maps);

    return done();
}
