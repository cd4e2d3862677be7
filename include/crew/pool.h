/*
 * crew/pool.h - worker processes that run tasks
 *
 *     static int square(const void *arg, void *result, void *context)
 *     {
 *         double x = *(const double *)arg;
 *         *(double *)result = x * x;
 *         return 0;
 *     }
 *
 *     struct crew_pool *pool;
 *     int r = crew_pool_open(&pool, &(struct crew_pool_options){ .workers = 8 });
 *     double x = 3, y;
 *     crew_ticket ticket;
 *     r = crew_pool_submit(pool, &(struct crew_task){ .function = square, .argument = &x,
 *             .argument_size = sizeof x, .result_size = sizeof y }, &ticket, CREW_FOREVER);
 *     r = crew_pool_wait(pool, ticket, &y, CREW_FOREVER, NULL);
 *     crew_pool_close(pool, CREW_FOREVER);
 *
 * Workers are born from the zygote: functions are those of the program as it was at
 * crew_init. Arguments and results are copied; pointers must be into shared memory.
 * A pool is used by the process that opened it, from any of its threads.
 *
 * Death of a worker, by any signal or _exit():
 *
 *     before it starts a task   another worker takes the task.
 *     while it runs a task      the task is run again, with its argument as submitted and a
 *                               zeroed result, while its attempts last; then -EOWNERDEAD.
 *     after the task is done    the result stands.
 *
 * Each result is delivered exactly once; a task may have run more than once, unless .attempts
 * is -1. A dead worker is replaced; if none can be started or initialised any more, tasks end with
 * -EPIPE. Death of the caller: all workers are gone at once.
 */
#ifndef CREW_POOL_H
#define CREW_POOL_H

#include <crew/process.h>

CREW_BEGIN

struct crew_pool; /* opaque */
typedef uint64_t crew_ticket; /* 0 is none */

/* Runs in a worker. Returns 0, or a negative errno for the waiting caller. */
typedef int crew_task_fn(const void *argument, void *result, void *context);

enum crew_pool_mode {
	CREW_POOL_PROCESSES, /* the default */
	CREW_POOL_THREADS,   /* workers are threads of the caller: no isolation, and none can be killed (.timeout, .chaos) */
	CREW_POOL_SERIAL     /* tasks run inside submit, in the caller */
};

/* Zero means the default; -1 means none where that makes sense. */
struct crew_pool_options {
	unsigned workers;      /* 1 ... 4096. 0: crew_cpus() */
	enum crew_pool_mode mode;
	const void *context;   /* handed to every task: */
	size_t context_size;   /*   bytes to copy into shared memory; 0: the pointer itself */
	int (*initialize)(void *context); /* runs first in each worker; < 0: the worker is not used */
	unsigned capacity;     /* tickets not yet collected, up to 2^20; maps and streams have room of their own. 0: 4096 */
	int attempts;          /* runs granted to a task whose worker dies. 0: 3, -1: one, never again */
	int retries;           /* further runs granted to a task that returns an error. 0: none */
	crew_time timeout;     /* ns a task may run before its worker is killed. 0: none */
	unsigned tasks_per_worker; /* a worker is replaced after so many tasks. 0: never */
	const struct crew_rlimit *limits; /* for every worker; up to 16 */
	unsigned limit_count;
	double chaos;          /* SIGKILLs per second at random workers, for tests; not charged to tasks (attempts -1 holds) */
	uint64_t chaos_seed;
	const char *name;      /* workers are called NAME/0, NAME/1, ... NULL: "pool" */
};

CREW_API CREW_CHECKED int crew_pool_open_sized(struct crew_pool **ret,
		const struct crew_pool_options *options, size_t options_size);

/*
 * Start the workers. *ret is set on success only.
 * Errors  -EINVAL  an option is out of range, or unknown to this library.
 *         -EAGAIN  no process left for that many workers.   -ENOMEM  -EMFILE  -ENOTCONN
 *         what .initialize returned, if no worker could be initialised
 */
static inline CREW_CHECKED int crew_pool_open(struct crew_pool **ret, const struct crew_pool_options *options)
{
	return crew_pool_open_sized(ret, options, sizeof *options);
}

/* So far: tasks finished well or not, those of them that failed; runs after a death or an error; deaths of workers, chaos included. */
struct crew_pool_stats {
	unsigned workers;
	uint64_t submitted, finished, failed, reruns, deaths, chaos_kills;
};
CREW_API void crew_pool_stats(struct crew_pool *pool, struct crew_pool_stats *ret);

/* The pid of worker `index` at this moment; 0 between two lives, or without processes. */
CREW_API pid_t crew_pool_worker_pid(struct crew_pool *pool, unsigned index);

/*
 * No more tasks; finish what was submitted until the deadline, then kill the rest. Returns how
 * many tasks were not finished. The pool is gone, uncollected results are dropped; threads that wait for it get
 * -ECANCELED. Close its streams first. NULL is fine. Errors: -EPERM -EDEADLK (as crew_pool_submit)
 */
CREW_API int crew_pool_close(struct crew_pool *pool, crew_time deadline);

/* The same, but kill all workers now. Prompt with any number of tasks pending; threads end after their task. */
CREW_API void crew_pool_terminate(struct crew_pool *pool);

CREW_END
#endif
