#include "guest/capture.h"

#include "guest/allocs.h"
#include "guest/ask.h"
#include "guest/cfi.h"
#include "guest/events.h"
#include "guest/heap.h"
#include "guest/own.h"
#include "guest/routes.h"
#include "guest/sampler.h"
#include "guest/tick.h"


void
pprof_capture_child(void)
{
    pprof_own_child();
    pprof_tick_child();
    pprof_cfi_child();
    pprof_sampler_child();
    pprof_routes_child();
    pprof_ask_child();
    pprof_events_child();
    pprof_allocs_child();
    pprof_heap_child();
}
