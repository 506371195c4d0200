/* The least a unit test needs to speak TAP.  Included once, by its one .c. */

#ifndef PPROF_UNIT_TAP_H
#define PPROF_UNIT_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>


static int tap_count, tap_failed;


/* Prints one line of TAP.  Returns GOOD, so that a test can stop early. */
__attribute__((format(printf, 2, 3), unused)) static bool
ok(bool good, const char *name, ...)
{
    va_list args;

    printf("%sok %d - ", good ? "" : "not ", ++tap_count);
    va_start(args, name);
    vprintf(name, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);

    tap_failed += !good;

    return good;
}


/* A remark that prove shows only with -v. */
__attribute__((format(printf, 1, 2), unused)) static void
note(const char *text, ...)
{
    va_list args;

    fputs("# ", stdout);
    va_start(args, text);
    vprintf(text, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}


/* Counts as passed: WHAT cannot be tested here, and WHY. */
__attribute__((unused)) static void
skip(const char *what, const char *why)
{
    printf("ok %d - %s # SKIP %s\n", ++tap_count, what, why);
    fflush(stdout);
}


/* The plan, and main()'s result. */
__attribute__((unused)) static int
done_testing(void)
{
    printf("1..%d\n", tap_count);
    fflush(stdout);

    return tap_failed != 0;
}

#endif
