
/*
 * Whether bytes can be the beginning of a profile, whoever sends them: an
 * application may answer 200 to whatever it is asked, of any type.
 */


#ifndef _NGX_HTTP_DEBUG_MAGIC_H_INCLUDED_
#define _NGX_HTTP_DEBUG_MAGIC_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Returns 1 if the LEN bytes at P begin as a profile does that a profiler
 * answers with: profile.proto, with gzip or without; gperftools' CPU profile,
 * heap profile or contention; Go's trace.  What is too short to tell may be
 * one.
 */
ngx_uint_t ngx_http_debug_magic(u_char *p, size_t len);


#endif /* _NGX_HTTP_DEBUG_MAGIC_H_INCLUDED_ */
