/*
 * named.h - what suites on named regions have in common: other programs, and what they share
 *
 *     pid_t other = program(use_it, NULL);     // before crew_init here: a program of its own, with its own family
 *     must(crew_init(&here));
 *     struct shared *s = shared();
 */
#ifndef NAMED_H
#define NAMED_H

#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <crew/crew.h>
#include "region/internal.h"

static const struct crew_init_options here = { .name = "test", .region_bytes = UINT64_C(1) << 30 };

struct shared {
	struct crew_lock lock;
	struct crew_queue queue;
	struct crew_counter counter;
	uint64_t a, b;             /* equal whenever the lock is free */
	uint32_t stage, stop;
	struct shared *self;
	uint64_t put, got;         /* by all, of those who lived to say so */
};

static inline struct shared *shared(void)
{
	struct shared *s = NULL;
	return crew_root("shared", sizeof *s, (void **)&s) == 0 ? s : NULL;
}

static inline const char *path(const char *name)
{
	static char text[128];
	snprintf(text, sizeof text, "/dev/shm/crew-%u-%s", (unsigned)geteuid(), name);
	return text;
}

/* Another program, by fork: it has no family yet. It must end by _exit; nobody sees an assertion fail there. */
static inline pid_t program(void (*function)(void *), void *argument)
{
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		function(argument);
		_exit(0);
	}
	return pid;
}

static inline int ended(pid_t pid)
{
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

/* The status tells the errno. */
#define do_or_exit(call) do { int r_ = (call); if (r_ < 0) _exit(-r_); } while (0)

/* Make that region and leave it as it is, with nobody in it. */
static inline void found(void *options)
{
	do_or_exit(crew_init(options));
	if (!shared())
		_exit(8);
	crew_fini();
}

static inline void say(uint32_t *stage, uint32_t value)
{
	__atomic_store_n(stage, value, __ATOMIC_SEQ_CST);
}

static inline uint32_t look(const uint32_t *stage)
{
	return __atomic_load_n(stage, __ATOMIC_SEQ_CST);
}

/* Founders in the region, whether they live or not. */
static inline unsigned founders(void)
{
	struct crew__slot *slot;
	unsigned count = 0;
	for (uint32_t number = 1; (slot = crew__slot_at(number)); number++)
		count += slot->parent && crew__number(slot->parent) == number;
	return count;
}

static inline unsigned slots(void)
{
	struct crew__slot *slot;
	unsigned count = 0;
	for (uint32_t number = 1; (slot = crew__slot_at(number)); number++)
		count += slot->parent != 0;
	return count;
}

/* The region works, and holds nothing of anybody else. */
static inline void whole(void)
{
	struct shared *s = shared();
	ck_assert_ptr_nonnull(s);
	ck_assert_int_ge(crew_lock_acquire(&s->lock, crew_after(5 * CREW_SECOND)), 0);
	crew_lock_repaired(&s->lock);
	crew_lock_release(&s->lock);
	void *block;
	must(crew_alloc(100, &block));
	crew_free(block);
	must(crew_heap_check());
}

#endif
