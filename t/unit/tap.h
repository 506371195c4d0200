/*
 * What a unit test needs to speak TAP.  Include it once, in the file that has
 * main(): plan(), then so many ok() and is(), then return done(); or no plan
 * and return done_testing().
 */

#ifndef TAP_H
#define TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>


static int  tap_planned, tap_run, tap_failed;


static inline void
plan(int n)
{
    setvbuf(stdout, NULL, _IOLBF, 0);   /* a crash shows how far it came */
    tap_planned = n;
    printf("1..%d\n", n);
}


__attribute__((format(printf, 2, 3))) static inline bool
ok(bool passed, const char *name, ...)
{
    va_list  args;

    tap_failed += !passed;
    printf("%sok %d - ", passed ? "" : "not ", ++tap_run);
    va_start(args, name);
    vprintf(name, args);
    va_end(args);
    putchar('\n');

    return passed;
}


/* Two strings are the same; NULL is only NULL's equal. */
#define is(got, expected, ...)                                               \
    do {                                                                     \
        const char  *got_ = (got), *expected_ = (expected);                  \
        if (!ok(got_ == expected_                                            \
                || (got_ && expected_ && strcmp(got_, expected_) == 0),      \
                __VA_ARGS__))                                                \
        {                                                                    \
            printf("# got '%s', expected '%s', line %d\n",                   \
                   got_ ? got_ : "(null)", expected_ ? expected_ : "(null)", \
                   __LINE__);                                                \
        }                                                                    \
    } while (0)


/* Two integers are the same. */
#define is_int(got, expected, ...)                                           \
    do {                                                                     \
        const intmax_t  got_ = (got), expected_ = (expected);                \
        if (!ok(got_ == expected_, __VA_ARGS__)) {                           \
            printf("# got %jd, expected %jd, line %d\n", got_, expected_,    \
                   __LINE__);                                                \
        }                                                                    \
    } while (0)


/* A remark that prove shows only with -v. */
__attribute__((format(printf, 1, 2), unused)) static void
note(const char *text, ...)
{
    va_list  args;

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
    printf("ok %d - %s # SKIP %s\n", ++tap_run, what, why);
    fflush(stdout);
}


static inline int
done(void)
{
    if (tap_run != tap_planned) {
        printf("# %d planned, %d run\n", tap_planned, tap_run);
    }

    return tap_failed != 0 || tap_run != tap_planned;
}


/* In place of plan() and done(), where the number is only known at the end. */
static inline int
done_testing(void)
{
    printf("1..%d\n", tap_run);
    fflush(stdout);

    return tap_failed != 0;
}


#endif
