#!/usr/bin/perl

# What runs in a signal handler must not reach for the C library: a call that
# allocates or locks there hangs the program that is profiled, some day.

use warnings;
use strict;

use Test::More;

my $objects = ($ENV{DEBUG_BUILD} || 'build') . '/profiler/guest';

plan(skip_all => 'the library is not built') unless -e "$objects/tick.o";

# the compiler itself emits calls of the mem* functions
my %common = map { $_ => 1 } qw/
	memcpy memcmp memset memmove clock_gettime
	_GLOBAL_OFFSET_TABLE_ __stack_chk_fail __tls_get_addr
/;

# and what each may use of this room
my %own = (
	'stackmap' => [qw/ mmap munmap /],	# _create and _free only
	'unwind' => [qw/ pprof_bounds pprof_cfi_look pprof_cfi_shared /],
	'cfi_look' => [qw/ _dl_find_object pprof_cfi_rows_begin
		pprof_cfi_rows_one /],
	'sites' => [qw/ pprof_own_mapped /],
	'live' => [qw/ pprof_own_mapped /],
	'growth' => [qw/ __ehdr_start etext pprof_heap_draw pprof_heap_site
		pprof_heap_weigh pprof_own_here pprof_own_mapped pprof_sites_add
		pprof_sites_get /],
	'tick' => [qw/ pprof_unwind_context pprof_stackmap_add
		pprof_newborn_row pprof_routes_sample mmap /],

	# the key is made by the serving thread, and set where a thread begins;
	# the serving thread reads the clocks
	'newborn' => [qw/ pprof_thread_clock pprof_tick_shared pprof_timer_create
		pprof_timer_delete pthread_key_create pthread_setspecific /],

	# pure
	'mark' => [qw/ memchr /],

	# _begin, _end and the sums of a profile are the serving thread's
	'routes' => [qw/ mmap munmap pprof_mark_keep pprof_mark_look
		pprof_signal_quiesce pprof_stackmap_read pprof_tick_shared
		pprof_unwind_sealed /],

	'io' => [qw/ dlsym pprof_routes_came pprof_routes_forget
		pprof_routes_hook pprof_routes_now pprof_routes_reading
		pprof_routes_waited pprof_routes_waiting
		pprof_routes_writing /],

	# _rate, _clear and what they need run on the serving thread
	'events' => [qw/ nanosleep pprof_cfi_refresh pprof_own_here
		pprof_stackmap_add pprof_stackmap_more pprof_stackmap_read
		pprof_stackmap_lost pprof_stackmap_create
		pprof_stackmap_free pprof_unwind_here pprof_unwind_init /],
	'allocs' => [qw/ nanosleep pprof_cfi_refresh pprof_own_here
		pprof_stackmap_add pprof_stackmap_read pprof_stackmap_lost
		pprof_stackmap_create pprof_stackmap_free pprof_unwind_here
		pprof_unwind_init /],

	# _begin runs in a constructor; division is the compiler's; getauxval() looks at what the kernel gave
	'heap' => [qw/ __divti3 __udivti3 malloc free getauxval pprof_live_add
		pprof_live_hashes pprof_live_take pprof_malloc_next
		pprof_own_here pprof_sites_add pprof_sites_get
		pprof_growth_freed pprof_growth_sampled
		pprof_unwind_guess pprof_unwind_handled pprof_unwind_thin /],
	'malloc' => [qw/ abort dlclose dlopen dlsym pprof_allocator_begin
		pprof_allocator_pass pprof_growth_begin pprof_heap_add
		pprof_mappings_begin
		pprof_heap_begin pprof_heap_due pprof_heap_left
		pprof_heap_remove pprof_heap_resume pprof_heap_return
		pprof_heap_suspend pprof_heap_take pprof_live_guard
		pprof_live_hashes /],

	# and libc's own functions behind those that are interposed
	'locks' => [qw/ dlsym dlvsym pprof_events_clock pprof_events_hook
		pprof_events_released pprof_events_releasing
		pprof_events_waited
		pprof_events_wanted pprof_routes_locking pprof_routes_now
		pprof_routes_quick pprof_routes_waited pprof_routes_waiting
		__libc_single_threaded
		__pthread_mutex_lock __pthread_mutex_unlock
		__pthread_rwlock_rdlock __pthread_rwlock_wrlock
		__pthread_rwlock_unlock /],
	'create' => [qw/ dlsym pprof_events_created pprof_events_hook
		pprof_growth_map pprof_growth_on pprof_unwind_sealed
		pthread_attr_getstack
		pprof_newborn_begin pprof_newborn_wanted pprof_own_here
		pprof_mask_believes pprof_mask_inherit /],
	'mappings' => [qw/ dlsym __errno_location pprof_growth_break
		pprof_growth_map pprof_growth_return pprof_growth_take /],

	# the allocator's own functions are found by dlsym()
	'allocator' => [qw/ dladdr dlsym __errno_location
		pprof_command_forking pprof_heap_handled pprof_heap_resume
		pprof_heap_suspend pprof_heap_sums pprof_malloc_detour
		pprof_own_here /],
	'mask' => [qw/ dlsym sigismember sigdelset sigaddset sigaction
		__libc_current_sigrtmax pprof_signal_is_ours /],
);

foreach my $object (sort keys %own) {
	SKIP: {

	# these two are no part of the archive
	skip "$object.o is not built", 1 unless -e "$objects/$object.o";

	my %allowed = (%common, map { $_ => 1 } @{ $own{$object} });

	open my $nm, '-|', 'nm', '-u', "$objects/$object.o"
		or die "cannot run nm: $!";
	my @names = map { /\bU ([^\s@]+)/ ? $1 : () } <$nm>;
	close $nm or die "nm failed";

	is(join(' ', grep { !$allowed{$_} } @names), '',
		"$object.o: nothing but what a handler may call");

	}
}

# this room's own list of threads is asked in handlers, too; the rest of its
# file is for the serving thread

SKIP: {
	my $code = `objdump -dr $objects/own.o 2>&1`;
	skip 'no objdump', 2 if $? != 0;

	my ($here) = $code =~ /^\w+ <pprof_own_here>:\n(.*?)^\n/ms;
	my ($enter) = $code =~ /^\w+ <pprof_own_enter>:\n(.*?)^\n/ms;
	my $call = qr/R_\w+_(?:PLT32|CALL26|JUMP26)/;

	like($enter, $call, 'calls are found');
	unlike($here, $call, 'pprof_own_here() calls nothing');
}

done_testing();
