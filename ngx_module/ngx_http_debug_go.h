
/*
 * Durations, seconds and times as Go prints them.
 *
 * Source: Go's time.Duration.String(), time.Time.String(), and
 * encoding/json's float encoder.  Golden values from Go are in the tests.
 *
 * Each writes to P, at most NGX_HTTP_DEBUG_GO_LEN bytes, and returns the end.
 */


#ifndef _NGX_HTTP_DEBUG_GO_H_INCLUDED_
#define _NGX_HTTP_DEBUG_GO_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_DEBUG_GO_LEN  128


/* "1.5ms", "18m37.244701274s" */
u_char *ngx_http_debug_go_duration(u_char *p, uint64_t ns);

/*
 * The number of seconds, as the shortest decimal that is exact:
 * "120.726762259", "9.99e-7".
 */
u_char *ngx_http_debug_go_seconds(u_char *p, uint64_t ns);

/*
 * "2018-06-25 09:03:20.60792218 -0600 MDT m=+1121.465433394": NS since the
 * epoch in local time, MONOTONIC ns since the start.
 */
u_char *ngx_http_debug_go_time(u_char *p, uint64_t ns, uint64_t monotonic);


#endif /* _NGX_HTTP_DEBUG_GO_H_INCLUDED_ */
