/*
 * Durations, seconds and times against what Go 1.19 printed for them.
 */

#include "../../../ngx_module/ngx_http_debug_go.c"
#include "host.h"


static const struct {
    uint64_t     ns;
    const char  *duration;
    const char  *seconds;
} golden[] = {
    { 0, "0s", "0" },
    { 1, "1ns", "1e-9" },
    { 999, "999ns", "9.99e-7" },
    { 1000, "1\xc2\xb5s", "0.000001" },
    { 1001, "1.001\xc2\xb5s", "0.000001001" },
    { 1500, "1.5\xc2\xb5s", "0.0000015" },
    { 999999, "999.999\xc2\xb5s", "0.000999999" },
    { 1000000, "1ms", "0.001" },
    { 1500000, "1.5ms", "0.0015" },
    { 4619502, "4.619502ms", "0.004619502" },
    { 78531534, "78.531534ms", "0.078531534" },
    { 89294942, "89.294942ms", "0.089294942" },
    { 999999999, "999.999999ms", "0.999999999" },
    { 1000000000, "1s", "1" },
    { 1000000001, "1.000000001s", "1.000000001" },
    { 1100000000, "1.1s", "1.1" },
    { 59999999999, "59.999999999s", "59.999999999" },
    { 60000000000, "1m0s", "60" },
    { 60000000001, "1m0.000000001s", "60.000000001" },
    { 120726762259, "2m0.726762259s", "120.726762259" },
    { 127358545583, "2m7.358545583s", "127.358545583" },
    { 1117244701274, "18m37.244701274s", "1117.244701274" },
    { 3599999999999, "59m59.999999999s", "3599.999999999" },
    { 3600000000000, "1h0m0s", "3600" },
    { 3661000000000, "1h1m1s", "3661" },
    { 86400000000000, "24h0m0s", "86400" },
    { 360000000000000, "100h0m0s", "360000" },

    /* not in the table, by the same rules */

    { 10, "10ns", "1e-8" },
    { 100, "100ns", "1e-7" },
    { 120, "120ns", "1.2e-7" },
    { 10000, "10\xc2\xb5s", "0.00001" },
    { 1230000, "1.23ms", "0.00123" },
    { 9223372036854775807, "2562047h47m16.854775807s",
      "9223372036.854775807" },
};


/* the offsets without names of zones: tzdata may not be installed */

#define MOUNTAIN   "MST7MDT,M3.2.0,M11.1.0"
#define SAO_PAULO  "<-03>3"

#define INSTANT    1529939000

static const struct {
    const char  *tz;
    uint64_t     ns;          /* after INSTANT */
    uint64_t     monotonic;
    const char  *text;
} times[] = {
    { MOUNTAIN, 607922180, 1121465433394,
      "2018-06-25 09:03:20.60792218 -0600 MDT m=+1121.465433394" },
    { MOUNTAIN, 0, 0, "2018-06-25 09:03:20 -0600 MDT m=+0.000000000" },
    { MOUNTAIN, 500000000, 512620,
      "2018-06-25 09:03:20.5 -0600 MDT m=+0.000512620" },
    { MOUNTAIN, 1, 1,
      "2018-06-25 09:03:20.000000001 -0600 MDT m=+0.000000001" },
    { SAO_PAULO, 607922180, 0,
      "2018-06-25 12:03:20.60792218 -0300 -03 m=+0.000000000" },
    { "UTC0", 607922180, 0,
      "2018-06-25 15:03:20.60792218 +0000 UTC m=+0.000000000" },
    { "IST-5:30", 0, 0, "2018-06-25 20:33:20 +0530 IST m=+0.000000000" },
    { "NST3:30", 0, 0, "2018-06-25 11:33:20 -0330 NST m=+0.000000000" },

    /* Nov 23, 2026: winter */

    { MOUNTAIN, (uint64_t) (1795469020 - INSTANT) * 1000000000 + 685553733,
      512620,
      "2026-11-23 14:23:40.685553733 -0700 MST m=+0.000512620" },

    /* a second below ten keeps its zero */

    { "UTC0", 45 * (uint64_t) 1000000000, 0,
      "2018-06-25 15:04:05 +0000 UTC m=+0.000000000" },
};


static int
test(ngx_cycle_t *cycle)
{
    size_t  i;
    u_char  text[NGX_HTTP_DEBUG_GO_LEN + 1], *end;

    for (i = 0; i < sizeof(golden) / sizeof(golden[0]); i++) {
        end = ngx_http_debug_go_duration(text, golden[i].ns);
        ok(end <= text + NGX_HTTP_DEBUG_GO_LEN, "%" PRIu64 " ns fits",
           golden[i].ns);
        *end = '\0';
        is((char *) text, golden[i].duration, "%" PRIu64 " ns: duration",
           golden[i].ns);

        end = ngx_http_debug_go_seconds(text, golden[i].ns);
        *end = '\0';
        is((char *) text, golden[i].seconds, "%" PRIu64 " ns: seconds",
           golden[i].ns);
    }

    for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        setenv("TZ", times[i].tz, 1);
        tzset();

        end = ngx_http_debug_go_time(text, (uint64_t) INSTANT * 1000000000
                                           + times[i].ns, times[i].monotonic);
        ok(end <= text + NGX_HTTP_DEBUG_GO_LEN, "time %zu fits", i);
        *end = '\0';
        is((char *) text, times[i].text, "%s + %" PRIu64, times[i].tz,
           times[i].ns);
    }

    return done_testing();
}
