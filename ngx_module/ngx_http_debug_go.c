
/*
 * Durations, seconds and times as Go prints them.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_go.h"


/* WHOLE and FRAC / 10^DIGITS, without zeros at the end. */

static u_char *
ngx_http_debug_go_decimal(u_char *p, uint64_t whole, uint64_t frac,
    ngx_uint_t digits)
{
    ngx_uint_t  i;

    p = ngx_sprintf(p, "%uL", whole);

    if (frac == 0) {
        return p;
    }

    while (frac % 10 == 0) {
        frac /= 10;
        digits--;
    }

    *p++ = '.';

    for (i = digits; i > 0; i--) {
        p[i - 1] = (u_char) (frac % 10 + '0');
        frac /= 10;
    }

    return p + digits;
}


u_char *
ngx_http_debug_go_duration(u_char *p, uint64_t ns)
{
    uint64_t  s;

    if (ns == 0) {
        return ngx_cpymem(p, "0s", 2);
    }

    if (ns < 1000) {
        return ngx_sprintf(p, "%uLns", ns);
    }

    if (ns < 1000000) {
        p = ngx_http_debug_go_decimal(p, ns / 1000, ns % 1000, 3);
        return ngx_cpymem(p, "\xc2\xb5s", 3);
    }

    if (ns < 1000000000) {
        p = ngx_http_debug_go_decimal(p, ns / 1000000, ns % 1000000, 6);
        return ngx_cpymem(p, "ms", 2);
    }

    s = ns / 1000000000;

    if (s >= 3600) {
        p = ngx_sprintf(p, "%uLh", s / 3600);
    }

    if (s >= 60) {
        p = ngx_sprintf(p, "%uLm", s / 60 % 60);
    }

    p = ngx_http_debug_go_decimal(p, s % 60, ns % 1000000000, 9);
    *p++ = 's';

    return p;
}


u_char *
ngx_http_debug_go_seconds(u_char *p, uint64_t ns)
{
    uint64_t    unit;
    ngx_uint_t  exponent;

    if (ns == 0 || ns >= 1000) {
        return ngx_http_debug_go_decimal(p, ns / 1000000000, ns % 1000000000,
                                         9);
    }

    /* below a microsecond: one digit, then the exponent */

    exponent = 9;

    for (unit = 1; unit * 10 <= ns; unit *= 10) {
        exponent--;
    }

    p = ngx_http_debug_go_decimal(p, ns / unit, ns % unit, 9 - exponent);

    return ngx_sprintf(p, "e-%ui", exponent);
}


u_char *
ngx_http_debug_go_time(u_char *p, uint64_t ns, uint64_t monotonic)
{
    u_char      sign;
    time_t      sec;
    ngx_tm_t    tm;
    ngx_int_t   offset;

    sec = ns / 1000000000;

    ngx_localtime(sec, &tm);

#if (NGX_HAVE_GMTOFF)
    offset = tm.ngx_tm_gmtoff / 60;
#else
    offset = ngx_gettimezone(tm.ngx_tm_isdst);
#endif

    sign = '+';

    if (offset < 0) {
        sign = '-';
        offset = -offset;
    }

    p = ngx_sprintf(p, "%4d-%02d-%02d %02d:%02d:",
                    tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                    tm.ngx_tm_hour, tm.ngx_tm_min);

    if (tm.ngx_tm_sec < 10) {
        *p++ = '0';
    }

    p = ngx_http_debug_go_decimal(p, tm.ngx_tm_sec, ns % 1000000000, 9);

    return ngx_sprintf(p, " %c%02i%02i %s m=+%uL.%09uL",
                       sign, offset / 60, offset % 60, tm.tm_zone,
                       monotonic / 1000000000, monotonic % 1000000000);
}
