/*
 * crew/task.h - tasks of a pool: submit, wait, cancel, map, stream
 *
 * How to open a pool, and what the death of a worker means: crew/pool.h.
 */
#ifndef CREW_TASK_H
#define CREW_TASK_H

#include <crew/error.h>
#include <crew/pool.h>

CREW_BEGIN

struct crew_task {
	crew_task_fn *function;
	const void *argument;  /* copied before submit returns; the task must not change it */
	size_t argument_size;  /* bytes */
	size_t result_size;    /* bytes the task writes to result, zeroed before each run */
	uint64_t index;        /* what crew_task_self() reports as .index */
	int attempts;          /* 0: as the pool's */
	int retries;           /* 0: as the pool's, -1: none */
	crew_time timeout;     /* ns. 0: as the pool's, -1: none */
};

/* Why a task has no result. */
struct crew_failure {
	int error;         /* negative errno that the task returned, or -ETIMEDOUT, or 0. -EPIPE: why no worker can be started */
	int signal;        /* that ended the worker of the last attempt, or 0 */
	int exit_code;     /* with which that worker ended itself, or -1 */
	pid_t pid;         /* that worker */
	unsigned worker;   /* its number */
	unsigned attempts; /* runs used, deaths by chaos not counted */
	char message[160]; /* what crew_task_error was given, or a sentence of crew's */
};

/*
 * Hand a task to the workers, sleeping while .capacity tasks are uncollected.
 * Errors  -ETIMEDOUT  -EPIPE (closing, or no worker can be started)  -EINVAL  -ENOMEM
 *         -EPERM    another process has opened this pool.
 *         -EDEADLK  called from inside one of its tasks, which might wait for itself.
 */
CREW_API CREW_CHECKED int crew_pool_submit(struct crew_pool *pool, const struct crew_task *task,
		crew_ticket *ret, crew_time deadline);

/*
 * Collect a result: result_size bytes go to result, on success only. Any return but
 * -ETIMEDOUT spends the ticket. reterr may be NULL.
 * Errors  -ETIMEDOUT   not finished by the deadline.
 *         -EOWNERDEAD  every attempt ended with its worker's death (by .timeout too); see *reterr.
 *         -EREMOTEIO   the task returned an error; see *reterr.
 *         -ECANCELED   the task, or the pool while you waited.
 *         -EPIPE       no worker can be started any more.   -ESRCH (no such ticket)  -EPERM  -EDEADLK
 */
CREW_API CREW_CHECKED int crew_pool_wait(struct crew_pool *pool, crew_ticket ticket, void *result,
		crew_time deadline, struct crew_failure *reterr);

/*
 * Cancel a task that has not started: its ticket then waits to -ECANCELED. With force a running one too: its worker, if
 * it is a process, is killed and replaced. Errors: -EBUSY (it runs)  -EALREADY (it is finished)  -ESRCH
 */
CREW_API CREW_CHECKED int crew_pool_cancel(struct crew_pool *pool, crew_ticket ticket, bool force);

struct crew_map_options {
	size_t chunk;        /* elements per task. 0: chosen from count and workers */
	uint64_t first;      /* index of element 0, for crew_task_self() */
	struct crew_failure *failure; /* the first one, if any; may be NULL */
	size_t *failed_at;   /* the element where it happened; may be NULL */
};

/*
 * out[i] = function(in[i]) for all i, results in order; in and out are contiguous arrays anywhere (in shared
 * memory they are not copied, except in == out). A chunk ends at its first failing element; all others are run. options may be NULL.
 * Returns 0 or the error of the first failing chunk by index, as crew_pool_wait.
 */
CREW_API CREW_CHECKED int crew_pool_map(struct crew_pool *pool, crew_task_fn *function,
		const void *in, size_t in_size, void *out, size_t out_size, size_t count,
		const struct crew_map_options *options);

/* Results as they come, in any order, with a bounded number of tasks in flight. */
struct crew_stream;
struct crew_stream_options {
	struct crew_task task;   /* .function, .result_size, .attempts, ... of every task */
	/* Writes the next argument (task.argument_size bytes). Returns 0, CREW_END_OF_DATA, or < 0 to stop. In the caller. */
	int (*next)(void *argument, uint64_t index, void *source);
	void *source;
	unsigned in_flight;      /* 0: 4 per worker */
};
CREW_API CREW_CHECKED int crew_stream_open(struct crew_stream **ret, struct crew_pool *pool,
		const struct crew_stream_options *options);

/*
 * The next finished task: its index and result. A failed task is returned as crew_pool_wait does, with
 * *ret_index set; the stream goes on. An error of the source (or of submitting) is returned after the results before
 * it, once. CREW_END_OF_DATA when all are delivered. -ETIMEDOUT: none yet. One thread at a time.
 */
CREW_API CREW_CHECKED int crew_stream_next(struct crew_stream *stream, uint64_t *ret_index, void *result,
		crew_time deadline, struct crew_failure *reterr);
/* Forget it. Tasks that have not started are dropped, those that run end unseen. NULL is fine. */
CREW_API void crew_stream_close(struct crew_stream *stream);

/* Inside a task: who runs what. Outside: NULL. */
struct crew_task_self { uint64_t index; unsigned worker, attempt; };
CREW_API const struct crew_task_self *crew_task_self(void);

/* Inside a task: note a message for crew_failure and return `error`, as in return crew_task_error(-EIO, "%s: short", path); */
CREW_API int crew_task_error(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

CREW_END
#endif
