/*
 * What a service is made of, for server.c, which has to look into its own at
 * fork() and exit().
 *
 * Owner: pprof_service_open(); see agent/agent.h.
 */

#ifndef PPROF_FRONT_SERVICE_H
#define PPROF_FRONT_SERVICE_H

#include <pthread.h>

#include "agent/agent.h"
#include "front/listen.h"
#include "front/request.h"


struct pprof_loop;

struct pprof_service {
    struct pprof_target  *target;
    struct pprof_listen   listen;
    struct pprof_policy   policy;
    struct pprof_loop    *loop;
    pthread_t             thread;
};

#endif
