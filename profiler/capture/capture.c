#include <stddef.h>

#include "capture/capture.h"
#include "capture/cfi.h"
#include "capture/events.h"
#include "capture/own.h"
#include "capture/sampler.h"
#include "capture/threads.h"


void
pprof_capture_child(void)
{
    pprof_own_child();
    pprof_cfi_child();
    pprof_sampler_child();
    pprof_threads_child();
    pprof_events_child();
}


void
pprof_capture_clear(void)
{
    pprof_sampler_stop(NULL, NULL, NULL);
    pprof_events_clear();
    pprof_cfi_clear();
}
