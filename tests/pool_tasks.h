/* pool_tasks.h - what the suites pool, task and parallel share: modes, tasks, a look at memory */
#ifndef POOL_TASKS_H
#define POOL_TASKS_H

#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <crew/crew.h>

#define MS CREW_MILLISECOND
#define UNUSED __attribute__((unused))

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#endif

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#else
#define UNDER_ASAN 0
#endif

/* A test in all modes, or in those named; mode_of(index) is the one. TSan sees nothing between processes, so there not in processes. */
#define TEST_IN_ALL_MODES(name, ...) TEST_IN_MODES("threads serial processes", name, __VA_ARGS__)
#define TEST_IN_MODES(modes, name, ...) \
	static const char *name##_label(int i) { return mode_label(modes, #name, i); } \
	TEST(name, .count = 3, .label = name##_label, __VA_ARGS__)

static UNUSED const char *mode_label(const char *modes, const char *name, int i)
{
	static char label[100];
	const char *mode = (const char *[]){ "threads", "serial", "processes" }[i];
	snprintf(label, sizeof label, "%s, %s", name, mode);
	return !strstr(modes, mode) || (UNDER_TSAN && i == 2) ? NULL : label;
}
static UNUSED enum crew_pool_mode mode_of(int i)
{
	return (enum crew_pool_mode[]){ CREW_POOL_THREADS, CREW_POOL_SERIAL, CREW_POOL_PROCESSES }[i];
}

/* In shared memory, zero at first: what tasks tell the test. Tasks get it as their context. */
static struct shared {
	struct crew_event gate;   /* tasks of gated() wait for it */
	uint32_t started, count, calls;
	pid_t pid[64];
	uint32_t worker[64];
} *s;
static uint64_t blocks_before;

static UNUSED uint64_t blocks(void)
{
	struct crew_memory_stats stats;
	must(crew_memory_stats(&stats));
	return stats.blocks;
}

static UNUSED void begin(void)
{
	must(crew_init(NULL));
	must(crew_alloc_zeroed(sizeof *s, (void **)&s));
	blocks_before = blocks();
}

/* After the pools are closed: no block is left, the heap is whole. */
static UNUSED void end(void)
{
	ck_assert_uint_eq(blocks(), blocks_before);
	crew_free(s);
	must(crew_heap_check());
	crew_fini();
}

static UNUSED uint32_t look(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static UNUSED uint32_t count_one(uint32_t *word)
{
	return __atomic_add_fetch(word, 1, __ATOMIC_ACQ_REL);
}

static UNUSED struct crew_pool *open_pool(enum crew_pool_mode mode, unsigned workers)
{
	struct crew_pool *pool = NULL;
	must(crew_pool_open(&pool, &(struct crew_pool_options){ .mode = mode, .workers = workers, .context = s }));
	return pool;
}

static UNUSED crew_ticket submit(struct crew_pool *pool, crew_task_fn *function)
{
	crew_ticket ticket = 0;
	must(crew_pool_submit(pool, &(struct crew_task){ .function = function }, &ticket, CREW_FOREVER));
	return ticket;
}

static UNUSED int wait_for(struct crew_pool *pool, crew_ticket ticket, struct crew_failure *failure)
{
	return crew_pool_wait(pool, ticket, NULL, crew_after(10 * CREW_SECOND), failure);
}

/* ── tasks ── */

static UNUSED int square(const void *argument, void *result, void *context UNUSED)
{
	double x = *(const double *)argument;
	*(double *)result = x * x;
	return 0;
}

static UNUSED int nothing(const void *argument UNUSED, void *result UNUSED, void *context UNUSED)
{
	return 0;
}

static UNUSED int gated(const void *argument UNUSED, void *result UNUSED, void *context)
{
	struct shared *all = context;
	count_one(&all->started);
	return crew_event_wait(&all->gate, CREW_FOREVER);
}

static UNUSED int hang(const void *argument UNUSED, void *result UNUSED, void *context)
{
	struct shared *all = context;
	count_one(&all->started);
	while (pause() < 0)
		;
	return 0;
}

static UNUSED int crash(const void *argument UNUSED, void *result UNUSED, void *context UNUSED)
{
	signal(SIGSEGV, SIG_DFL); /* not the sanitizer's */
	raise(SIGSEGV);
	return 0;
}

/* The first time it hangs, having told its pid; then it returns its argument. */
static UNUSED int hang_once(const void *argument, void *result, void *context)
{
	struct shared *all = context;
	if (count_one(&all->started) == 1) {
		__atomic_store_n(&all->pid[0], getpid(), __ATOMIC_RELEASE);
		for (;;)
			pause();
	}
	*(double *)result = *(const double *)argument;
	return 0;
}

#endif
