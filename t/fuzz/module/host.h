/*
 * A fuzz driver of ngx_module/ is a module of its own inside "nginx -t", as a
 * unit test is (unit/module/host.h).  It replays the directory $NGX_REPLAY,
 * or, built with libFuzzer, runs that with the arguments $NGX_FUZZ.
 *
 * Include it once, after the .c that is tested; then write fuzz().
 */

#ifndef FUZZ_HOST_H
#define FUZZ_HOST_H

#include "module/host.h"

#define main  replay_main
#include "../replay/main.c"
#undef main


int LLVMFuzzerRunDriver(int *argc, char ***argv,
    int (*callback)(const uint8_t *data, size_t size)) __attribute__((weak));

static void fuzz(ngx_pool_t *pool, const u_char *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(1024, ngx_cycle->log);

    if (pool == NULL) {
        abort();
    }

    fuzz(pool, data, size);

    ngx_destroy_pool(pool);

    return 0;
}


static int
test(ngx_cycle_t *cycle)
{
    int    argc = 1;
    char  *args, *word, *list[64] = { "fuzz" }, **argv = list;

    ngx_cycle = cycle;

    /* bad input is what this is about: not one line for each */
    cycle->log->log_level = NGX_LOG_EMERG;

    args = getenv("NGX_FUZZ");

    if (args == NULL) {
        list[1] = getenv("NGX_REPLAY");
        return replay_main(2, list);
    }

    args = strdup(args);

    for (word = strtok(args, " \n"); word && argc < 63;
         word = strtok(NULL, " \n"))
    {
        list[argc++] = word;
    }

    return LLVMFuzzerRunDriver ? LLVMFuzzerRunDriver(&argc, &argv,
                                                     LLVMFuzzerTestOneInput)
                               : 2;
}

#endif
