/*
 * A unit test of ngx_module/ is a small module of its own, which runs inside
 * a real nginx at "nginx -t": what it calls is what nginx has, for there are
 * no sources of nginx to link on a machine with nginx-dev alone.
 *
 * Include it once, after the .c that is tested; then write test(), which
 * prints TAP and returns what done() or done_testing() does.
 */

#ifndef HOST_H
#define HOST_H

#include <ngx_config.h>
#include <ngx_core.h>

#include "../tap.h"


static int test(ngx_cycle_t *cycle);


static ngx_int_t
host_init_module(ngx_cycle_t *cycle)
{
    const int  rc = test(cycle);

    fflush(stdout);
    _exit(rc);
}


static ngx_core_module_t  host_module_ctx = {
    ngx_string("unit"), NULL, NULL
};

static ngx_command_t  host_commands[] = {
    ngx_null_command
};

ngx_module_t  host_module = {
    NGX_MODULE_V1,
    &host_module_ctx,
    host_commands,
    NGX_CORE_MODULE,
    NULL,
    host_init_module,
    NULL, NULL, NULL, NULL, NULL,
    NGX_MODULE_V1_PADDING
};

ngx_module_t  *ngx_modules[] = { &host_module, NULL };
char          *ngx_module_names[] = { "host_module", NULL };
char          *ngx_module_order[] = { NULL };


#endif
