/*
 * scribble.h - a hostile peer: bytes that say where to scribble over a region, and what to call then
 *
 * Each run has a child with a family of its own, so that nothing of it stays. Objects are in use when the scribbling
 * begins, a thread is dead with its lane unswept. The calls that follow must end: well, with an error, or with a
 * message and abort(), which is what crew does about misuse. Not by a signal of any other kind, nor after the time limit.
 *
 * Only what crew promises to check is scribbled over (SECURITY.md): the front's counts and roots, what the sweep
 * of a dead lane follows, the words of locks, semaphores, counters and events; not the heap's own tables, not the links
 * of the kernel's mutexes, nor claims, which name a living thread as well as a dead one.
 */
#ifndef SCRIBBLE_H
#define SCRIBBLE_H

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <crew/crew.h>
#include "region/lane.h"

struct scribble_shared {
	struct crew_lock lock;
	struct crew_rwlock rwlock;
	struct crew_counter counter;
	struct crew_event event;
	struct crew_semaphore semaphore;
};

struct scribble_input { const uint8_t *data; size_t size; };

static uint64_t scribble_take(struct scribble_input *input, unsigned bytes)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < bytes && input->size; i++, input->size--)
		value = value << 8 | *input->data++;
	return value;
}

static void *scribble_victim(void *argument)
{
	struct scribble_shared *s = argument;
	(void)!crew_rwlock_read(&s->rwlock, CREW_POLL);
	(void)!crew_lock_acquire(&s->lock, CREW_POLL);
	return NULL;
}

/* What the sweep of the layer sync follows: words to wake, the undo log, holds. */
static void scribble_lane(struct crew__lane *lane, struct scribble_input *input)
{
	size_t undo = offsetof(struct crew__lane, undo) / 8, at = scribble_take(input, 2) % (sizeof *lane / 8 - undo + 11);
	uint64_t value = scribble_take(input, 8);
	switch (at) {
	case 0: lane->bell = value; break;
	case 1: lane->asleep_on = value; break;
	case 2: lane->waited_on = value; break;
	case 3: case 4: lane->publish[at - 3] = value; break;
	case 5: case 6: case 7: case 8: case 9: case 10: lane->owed[at - 5] = value; break;
	default: ((uint64_t *)(void *)lane)[undo + at - 11] = value; break;
	}
}

static void scribble_once(struct scribble_shared *s, struct crew__lane *dead, struct scribble_input *input)
{
	struct crew__region *region = crew__family.region;
	switch (scribble_take(input, 1) % 6) {
	case 0: scribble_lane(dead, input); break;
	case 1: dead->undo_count = (uint32_t)scribble_take(input, 4); break;
	case 2: ((uint8_t *)s)[scribble_take(input, 2) % sizeof *s] = (uint8_t)scribble_take(input, 1); break;
	case 3: region->root[4 + scribble_take(input, 1) % 2] = scribble_take(input, 8); break;
	case 4: region->bytes = scribble_take(input, 8); break;
	case 5: region->lanes = region->slots = scribble_take(input, 8); break;
	}
}

static void scribble_call(struct scribble_shared *s, unsigned which)
{
	crew_time soon = crew_after(5 * CREW_MILLISECOND);
	void *block;
	struct crew_member members[4];
	switch (which % 12) {
	case 0: if (crew_lock_acquire(&s->lock, soon) >= 0) crew_lock_release(&s->lock); break;
	case 1: if (crew_rwlock_read(&s->rwlock, soon) >= 0) crew_rwlock_release(&s->rwlock); break;
	case 2: if (crew_rwlock_write(&s->rwlock, soon) >= 0) crew_rwlock_release(&s->rwlock); break;
	case 3: (void)!crew_counter_post(&s->counter, 1); break;
	case 4: (void)!crew_counter_wait(&s->counter, soon); break;
	case 5: (void)!crew_event_set(&s->event); break;
	case 6: (void)!crew_event_wait(&s->event, soon); break;
	case 7: (void)!crew_root("name", 8, &block); break;
	case 8: (void)!crew_root_drop("name"); break;
	case 9: crew__lane_reap_all(); break;
	case 10: (void)!crew_process_list(members, 4); break;
	case 11: (void)crew_is_shared(s); break;
	}
}

static void scribble_run(struct scribble_input input)
{
	struct scribble_shared *s;
	struct crew__lane *dead = NULL, *lane;
	pthread_t thread;
	void *block;
	if (crew_init(&(struct crew_init_options){ .region_bytes = UINT64_C(256) << 20, .threads_are_safe = true }) < 0 ||
			crew_alloc_zeroed(sizeof *s, (void **)&s) < 0 || crew_root("name", 8, &block) < 0 ||
			pthread_create(&thread, NULL, scribble_victim, s) != 0)
		_exit(0);
	pthread_join(thread, NULL);
	for (uint32_t number = 1; (lane = crew__lane_at(number)); number++)
		if (lane->state == CREW__LANE_LEFT)
			dead = lane;
	if (!dead)
		_exit(0);
	for (uint64_t n = 1 + scribble_take(&input, 1) % 8; n > 0; n--)
		scribble_once(s, dead, &input);
	for (unsigned n = 0; n < 24 && input.size; n++)
		scribble_call(s, (unsigned)scribble_take(&input, 1));
	crew__lane_reap_all();
	_exit(0);
}

/* Whether it ended as it should; what it ended with is told otherwise. */
static int scribble(const uint8_t *data, size_t size)
{
	int status = 0;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(0);
		prctl(PR_SET_DUMPABLE, 0); /* no core files */
		for (int signal = SIGHUP; signal < SIGSYS; signal++)
			(void)!sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
		alarm(10);
		scribble_run((struct scribble_input){ data, size });
	}
	while (pid > 0 && waitpid(pid, &status, 0) != pid)
		;
	if (WIFEXITED(status) || WTERMSIG(status) == SIGABRT)
		return 0;
	fprintf(stderr, "scribble: ended by signal %d\n", WTERMSIG(status));
	return status;
}

#endif
