/*
 * staff.h - who runs the tasks of a pool: the opener's private side
 *
 * PROCESSES: a supervisor thread starts, watches and replaces worker processes (supervisor.c). THREADS: threads of the
 * opener. SERIAL: whoever submits, one at a time.
 */
#ifndef CREW_POOL_STAFF_H
#define CREW_POOL_STAFF_H

#include <pthread.h>
#include "pool/ledger.h"

struct crew__supervisor;
struct crew__thread;

struct crew__staff {
	pthread_mutex_t serial;              /* SERIAL: held by who runs a task */
	struct crew__thread *threads;        /* THREADS */
	unsigned thread_count;
	struct crew__supervisor *supervisor; /* PROCESSES */
};

/* Start them and wait until one can work. Errors as crew_pool_open. */
int crew__staff_open(struct crew_pool *pool, const struct crew_pool_options *options);

/* End them. kill: now, where they are processes; else each after its task. None is left; free: when no user is left. */
void crew__staff_close(struct crew_pool *pool, bool kill);
void crew__staff_free(struct crew_pool *pool);

/* A task with this time-out (0: none) is about to be put, has been put; a worker has been doomed: see to it. */
void crew__staff_expect(struct crew_pool *pool, crew_time timeout);
void crew__staff_hurry(struct crew_pool *pool, crew_time timeout);
void crew__staff_tell(struct crew_pool *pool);

/* SERIAL: whoever submits holds this around submitting, and runs what is ready before it lets go. */
void crew__serial_enter(struct crew_pool *pool);
void crew__serial_leave(struct crew_pool *pool);

/* supervisor.c */
int crew__supervisor_open(struct crew__supervisor **ret, struct crew_pool *pool, const struct crew_pool_options *options);
void crew__supervisor_close(struct crew__supervisor *supervisor, bool kill);
void crew__supervisor_free(struct crew__supervisor *supervisor);
void crew__supervisor_tell(struct crew__supervisor *supervisor);
void crew__supervisor_expect(struct crew__supervisor *supervisor, crew_time timeout);
void crew__supervisor_hurry(struct crew__supervisor *supervisor, crew_time timeout);
int crew__supervisor_state(struct crew__supervisor *supervisor); /* 1: all were started once; < 0: none can work; 0: not known yet */

/* A thread of crew's: all signals blocked, `stack` bytes (0: the default). */
int crew__thread_start(pthread_t *ret, size_t stack, void *(*run)(void *), void *argument);

#endif
