/*
 * crew.c - crew_init and crew_fini: put the layers together
 *
 * Stands above all layers; each is asked in their order, and undone in the reverse.
 */
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <crew/crew.h>
#include "base/probe.h"
#include "base/sys.h"
#include "channel/channel.h"
#include "memory/heap.h"
#include "pool/pool.h"
#include "process/process.h"
#include "sync/sync.h"

/* Threads of this process, as /proc counts them; 1 where it cannot be read. */
static unsigned count_threads(void)
{
	DIR *tasks = opendir("/proc/self/task");
	if (!tasks)
		return 1;
	unsigned count = 0;
	for (struct dirent *entry; (entry = readdir(tasks));)
		count += entry->d_name[0] != '.';
	closedir(tasks);
	return count;
}

/* A thread just joined may be counted for a moment longer, so give it that moment. */
static bool other_threads_run(void)
{
	crew_time until = crew_after(20 * CREW_MILLISECOND);
	while (count_threads() > (CREW__TSAN ? 3 : 1)) {
		if (crew_now() >= until)
			return true;
		sched_yield();
	}
	return false;
}

/* What programs in one named region must agree on: a hash over the version and the sizes of what lies there. */
static uint32_t layout(void)
{
	static const size_t sizes[] = { sizeof(struct crew__slot), sizeof(struct crew__lane), offsetof(struct crew__lane, hold),
		sizeof(struct crew_lock), sizeof(struct crew_rwlock), sizeof(struct crew_semaphore), sizeof(struct crew_counter),
		sizeof(struct crew_condition), sizeof(struct crew_event), sizeof(struct crew_barrier), sizeof(struct crew_queue),
		sizeof(struct crew_pipe), sizeof(struct crew_map), sizeof(struct crew__region) };
	const char *version = crew_version();
	uint32_t hash = 2166136261u; /* FNV-1a */
	for (size_t i = 0; version[i]; i++)
		hash = (hash ^ (unsigned char)version[i]) * 16777619u;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
		hash = (hash ^ (uint32_t)sizes[i]) * 16777619u;
	return hash;
}

/* The region, and the layers that live in it. */
static int build(const struct crew_init_options *options, bool *created)
{
	*created = true;
	const struct crew__naming naming = { options->name, options->must_exist, options->must_be_new, layout(),
		options->region_bytes, options->memory_cap };
	int r = options->name ? crew__region_open(&naming, created) :
		crew__region_create(options->region_bytes, options->memory_cap);
	if (r < 0)
		return r;
	crew__sync_init();
	r = *created ? crew__heap_create() : crew__heap_attach();
	if (r == 0)
		r = crew__channel_init();
	if (r == 0 && !*created) {
		crew__census(true);
		crew__region_admit();
	}
	if (r == 0)
		r = crew__zygote_start();
	if (r < 0)
		crew__region_forget();
	return r;
}

static void take_down(void)
{
	crew__zygote_stop();
	crew__region_forget();
}

int crew_init_sized(const struct crew_init_options *given, size_t size)
{
	struct crew_init_options options;
	int r = crew__options(&options, sizeof options, given, size);
	if (r < 0)
		return r;
	if (crew__family.region)
		return crew__family.self ? -EALREADY : -EBUSY; /* a child of the program's own fork has the mapping, but no part in it */
	if (!options.threads_are_safe && other_threads_run())
		return -EBUSY;
	const char *faults = getenv("CREW_FAULT");
	if (faults && crew__fault_parse(faults) < 0)
		return -EINVAL;
	if (!crew__has(CREW__FEATURE_MEMFD) || !crew__has(CREW__FEATURE_PIDFD) || !crew__has(CREW__FEATURE_ROBUST))
		return -ENOSYS;

	for (;;) {
		bool created;
		r = build(&options, &created);
		if (r < 0 || !options.name || !created)
			return r;
		r = crew__region_publish();
		if (r < 0)
			take_down();
		if (r != -EEXIST || options.must_be_new)
			return r;
		/* Another program has been faster: attach to its region. */
	}
}

void crew_fini(void)
{
	if (!crew__family.founder)
		return;
	crew__pool_fini();
	crew__channel_fini();
	take_down();
}

bool crew_is_member(void)
{
	return crew__family.self != 0;
}
