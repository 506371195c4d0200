#include "agent/agent.h"

#include <errno.h>
#include <stdlib.h>

#include "front/loop.h"
#include "front/service.h"
#include "kinds/life.h"


static void *
serve(void *arg)
{
    struct pprof_service *s = arg;

    pprof_kinds_enter();
    pprof_listen_sweep(&s->listen);
    pprof_kinds_leave();

    return pprof_loop_run(s->loop);
}


static void
free_service(struct pprof_service *s)
{
    pprof_listen_close(&s->listen);
    pprof_loop_free(s->loop);
    free(s);
}


struct pprof_service *
pprof_service_open(struct pprof_target *target, const char *listen,
    const struct pprof_options *options)
{
    const mode_t mode = options == NULL ? 0 : options->socket_mode;
    struct pprof_service *s = calloc(1, sizeof(struct pprof_service));
    int error;

    if (s == NULL) {
        return NULL;
    }

    s->listen.fd = -1;
    s->target = target;

    if (pprof_policy_init(&s->policy, options) == -1
        || pprof_listen_parse(&s->listen, listen, target->pid) == -1)
    {
        goto failed;
    }

    /* who sees the socket may ask for what is recorded from now on */
    s->policy.target = target;
    pprof_kinds_prepare(target);

    if (pprof_listen_open(&s->listen, mode) == -1) {
        goto failed;
    }

    s->loop = pprof_loop_create(s->listen.fd, &s->policy);

    if (s->loop == NULL) {
        goto failed;
    }

    error = pprof_loop_thread(&s->thread, serve, s);

    if (error != 0) {
        errno = error;
        goto failed;
    }

    return s;

failed:

    error = errno;
    free_service(s);
    errno = error;

    return NULL;
}


void
pprof_service_ended(struct pprof_service *s)
{
    pprof_loop_ended(s->loop);
}


void
pprof_service_close(struct pprof_service *s)
{
    struct pprof_target *const target = s->target;

    pprof_loop_stop(s->loop);
    pthread_join(s->thread, NULL);
    free_service(s);
    pprof_kinds_release(target);
}


bool
pprof_service_lingers(const struct pprof_service *s)
{
    return s->listen.addr.ss_family == AF_UNIX;
}


size_t
pprof_service_address(const struct pprof_service *s, char *buf, size_t size)
{
    return pprof_listen_print(&s->listen, buf, size);
}
