/*
 * ledger.h - the shared truth of a pool: its tasks, its workers, and who runs what
 *
 *     pool ──► worker[0 ... workers)       one record for each number, whoever lives in it
 *       │
 *       ├──► batches ──► tasks               a batch is the tasks of one submitter: all tickets
 *       │                                   of the pool, one crew_pool_map, one stream
 *       ├──► ready: tasks to be run, oldest first, of all batches
 *       └──► idle: workers that sleep, the last one first
 *
 * All of it lies in the region and is changed in sections of one guard (sync/section.h), by the
 * opener's threads and the workers alike; see move.c for the moves and what death leaves.
 */
#ifndef CREW_POOL_LEDGER_H
#define CREW_POOL_LEDGER_H

#include <crew/task.h>
#include "region/lane.h"

#define CREW__INLINE 64u /* bytes of argument or result that need no block of their own */

enum crew__task_state { CREW__TASK_FREE, CREW__TASK_READY, CREW__TASK_RUNNING, CREW__TASK_DONE };

/* Links, states and counts are set in sections and so undone; all else is payload, written by whom `state` names. */
struct crew__task {
	uint32_t state;
	uint32_t generation;   /* changes when it becomes FREE */
	uint64_t next, previous; /* offsets, in the one list it is in: ready, finished, free */
	uint64_t batch;
	uint32_t number;       /* in its batch */
	uint32_t bell;         /* rings when it is DONE */
	uint32_t orphan;       /* nobody will collect it: free it once it is DONE */
	uint32_t worker;       /* RUNNING: number of the worker */
	uint32_t starts;       /* runs begun, */
	uint32_t deaths;       /*   ended by a death that counts, */
	uint32_t errors;       /*   ended by an error */

	/* The submitter's, before READY. */
	crew_task_fn *function;
	uint64_t argument_block, result_block; /* offsets; 0: inline */
	size_t argument_size, result_size;
	uint64_t index;
	int32_t attempts;      /* -1: never again */
	int32_t retries;
	crew_time timeout;     /* 0: none */

	/* The worker's while RUNNING; of whoever makes it DONE. */
	int32_t outcome;       /* DONE: what crew_pool_wait returns */
	int32_t error, signal, exit_code;
	pid_t pid;
	uint32_t used;         /* attempts that count */
	uint64_t element;      /* of a chunk: where the error was */
	char message[160];

	_Alignas(16) unsigned char argument[CREW__INLINE];
	unsigned char result[CREW__INLINE];
};

/* Room for tasks is made when it is first needed: segment k holds 64 << k of them, whose numbers follow those of k - 1. */
#define CREW__SEGMENT 64u
#define CREW__SEGMENTS 15

struct crew__batch {
	uint64_t next;         /* in pool->batches */
	uint32_t limit;        /* the most tasks that are not FREE */
	uint32_t fresh;        /* numbers from here on have never been used */
	uint32_t live;         /* tasks that are not FREE */
	uint32_t dropped;      /* its submitter has gone: whoever makes live 0 frees it */
	uint64_t free;         /* FREE tasks that have been used */
	uint32_t streams;      /* DONE tasks go to the finished list, in the order of their end */
	uint32_t room;         /* bell: a task has become FREE */
	uint64_t finished_first, finished_last;
	uint32_t finished;     /* bell: the finished list has grown */
	uint32_t spare;
	uint64_t segment[CREW__SEGMENTS]; /* offsets of blocks; 0: not made yet */
};

/* Why the opener kills a worker: from then on nothing that it does counts. */
enum crew__doom { CREW__DOOM_NONE, CREW__DOOM_TIMEOUT, CREW__DOOM_CANCEL };

enum crew__worker_state {
	CREW__WORKER_NONE,    /* between two lives */
	CREW__WORKER_STARTING,
	CREW__WORKER_READY,   /* initialised */
	CREW__WORKER_FAILED,  /* its initialiser failed; it leaves */
	CREW__WORKER_LEAVING  /* it has run its share of tasks, or the pool closes */
};

struct crew__worker {
	uint32_t life;         /* changed when this life is known to be over */
	uint32_t state;
	pid_t pid;             /* 0: between two lives, or a thread */
	uint32_t doom;
	uint64_t task;         /* offset of the task it runs, 0: none. Says the same as state and worker of that task */
	crew_time deadline;    /* of that task, 0: none */
	uint32_t ran;          /* tasks of this life */
	int32_t error;         /* FAILED: what the initialiser returned */
	uint32_t idle;         /* 1: on the idle list */
	uint32_t next_idle;    /* number + 1, 0: the last */
	uint32_t bell;         /* rings when there is work for it, or it shall leave */
} __attribute__((aligned(64)));

enum crew__phase {
	CREW__POOL_OPEN,
	CREW__POOL_CLOSING,    /* no more tasks; those submitted are finished */
	CREW__POOL_LEAVING,    /* workers leave */
	CREW__POOL_OVER        /* whoever waits goes away with -ECANCELED */
};

struct crew__staff;

struct crew_pool {
	uint32_t guard;
	uint32_t phase;
	int32_t broken;        /* not 0: no worker can be started, and why */
	uint32_t idle;         /* first idle worker: number + 1 */
	uint64_t ready_first, ready_last;
	uint64_t unfinished;   /* READY or RUNNING tasks, */
	uint64_t timed;        /*   those of them with a time-out */
	uint64_t submitted, finished, failed, reruns, deaths, chaos_kills;
	uint32_t news;         /* bell for the opener: unfinished is 0, a worker is ready or failed, a user has gone */

	/* Constant after open. */
	_Alignas(64) uint64_t next; /* in the list of all pools; guarded by that list's guard */
	uint32_t opener;       /* process id; changed when another process clears up after it */
	uint32_t workers;
	enum crew_pool_mode mode;
	int32_t attempts, retries;
	crew_time timeout;
	uint32_t tasks_per_worker;
	void *context;
	uint64_t context_block;
	int (*initialize)(void *context);

	/* The opener's. */
	uint64_t batches;
	uint64_t tickets;      /* the batch of all tickets */
	uint32_t users;        /* of its threads that are in a call */
	struct crew__staff *staff;

	struct crew__worker worker[];
};

static inline struct crew__task *crew__task_at(uint64_t offset)
{
	return offset ? (struct crew__task *)crew__at(offset) : NULL;
}

static inline struct crew__batch *crew__batch_at(uint64_t offset)
{
	return offset ? (struct crew__batch *)crew__at(offset) : NULL;
}

static inline struct crew__batch *crew__batch_of(const struct crew__task *task)
{
	return crew__batch_at(task->batch);
}

/* The task with that number, which has been used. */
static inline struct crew__task *crew__task_number(const struct crew__batch *batch, uint32_t number)
{
	uint32_t k = 31u - (uint32_t)__builtin_clz(number / CREW__SEGMENT + 1);
	return crew__task_at(__atomic_load_n(&batch->segment[k], __ATOMIC_ACQUIRE)) + (number - CREW__SEGMENT * ((1u << k) - 1));
}

/* The time-out that holds for a task to be put; 0: none. */
static inline crew_time crew__timeout_of(const struct crew_pool *pool, const struct crew_task *task)
{
	return task->timeout < 0 ? 0 : task->timeout ? task->timeout : pool->timeout;
}

/* ── batches ── */

int crew__batch_open(struct crew_pool *pool, uint32_t limit, bool streams, struct crew__batch **ret);

/* Its READY tasks are not run, its RUNNING ones run to their end; nobody collects any of them. */
void crew__batch_drop(struct crew_pool *pool, struct crew__batch *batch);

/* ── the submitter's moves ── */

/*
 * FREE -> READY. The argument is task->argument followed by body_size bytes of `body`. Sleeps while no task of the
 * batch is FREE. Errors: -ETIMEDOUT -EPIPE -ENOMEM.
 */
int crew__task_put(struct crew_pool *pool, struct crew__batch *batch, const struct crew_task *task, const void *body,
		size_t body_size, crew_time deadline, struct crew__task **ret, uint32_t *ret_generation);

/*
 * DONE -> FREE. Returns its outcome; the result only if that is 0, *failure only if not. Before that: -ETIMEDOUT;
 * -ESRCH: that generation is over; -ECANCELED: the pool is.
 */
int crew__task_collect(struct crew_pool *pool, struct crew__task *task, uint32_t generation, void *result,
		crew_time deadline, struct crew_failure *failure, uint64_t *element);

/* Sleep until it is DONE. Errors: -ETIMEDOUT -ECANCELED (the pool is over). */
int crew__task_await(struct crew_pool *pool, struct crew__task *task, uint32_t generation, crew_time deadline);

/* The first on the list of finished tasks of a batch; NULL: none. It stays DONE, for crew__task_collect. */
struct crew__task *crew__task_finished(struct crew_pool *pool, struct crew__batch *batch);

/*
 * READY -> DONE with -ECANCELED. With force, RUNNING: its worker is doomed; returns 1 and the caller tells the
 * staff. Errors: -EBUSY -EALREADY -ESRCH.
 */
int crew__task_cancel(struct crew_pool *pool, struct crew__task *task, uint32_t generation, bool force);

/* ── the worker's moves. -EPIPE: it has nothing to do here any more ── */

/* STARTING -> READY, or FAILED with what the initialiser returned. */
int crew__worker_begin(struct crew_pool *pool, unsigned number, uint32_t life, int error);

/* READY -> RUNNING. *ret is NULL when nothing is ready: the worker is on the idle list then; sleep on its bell at `*seen`. */
int crew__task_take(struct crew_pool *pool, unsigned number, uint32_t life, struct crew__task **ret, uint32_t *seen);

/*
 * RUNNING -> DONE, or READY again after an error. ends_attempt: what this thread has allocated stays, in the same step.
 * In the same step, too: the next task is taken, if one is ready.
 */
int crew__task_finish(struct crew_pool *pool, unsigned number, uint32_t life, struct crew__task *task, int error,
		bool ends_attempt, struct crew__task **ret_next);

/* ── the supervisor's moves: -ETIMEDOUT if the guard was not free by the deadline ── */

int crew__worker_start(struct crew_pool *pool, unsigned number, uint32_t *ret_life, crew_time deadline);

/* Doom the worker if the task that it runs is over its time. Returns 1 if so. */
int crew__worker_overdue(struct crew_pool *pool, unsigned number, crew_time now, crew_time deadline);

/* How a life ended. A chaos kill counts for nothing if it was that kill which ended it. */
struct crew__death {
	int signal, exit_code; /* exit_code -1: by a signal, or unknown */
	bool chaos;            /* such a kill was sent */
};
/* What a worker was at when its life ended. */
struct crew__life {
	enum crew__worker_state state;
	bool idle;             /* it has run nothing, and was running nothing */
	int error;             /* FAILED: what the initialiser returned */
};
/* Its task is READY again, or DONE. */
int crew__worker_end(struct crew_pool *pool, unsigned number, const struct crew__death *death, crew_time deadline,
		struct crew__life *ret);

/* No worker can be started, because of `error`: every task ends with -EPIPE, now and later. */
int crew__pool_break(struct crew_pool *pool, int error, crew_time deadline);

/* ── the opener's moves ── */

/* Sections are not needed to read one word. */
static inline uint32_t crew__peek32(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline uint64_t crew__peek64(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

/* To that phase, if it is a later one; sleepers who are concerned wake up. Needs no guard. */
void crew__pool_advance(struct crew_pool *pool, enum crew__phase phase);

/* READY and RUNNING tasks. -ETIMEDOUT: the guard was not free. */
int64_t crew__pool_unfinished(struct crew_pool *pool, crew_time deadline);

/* Wake all who wait for a task, for room, or for a stream. */
void crew__pool_wake_users(struct crew_pool *pool, crew_time deadline);

/* Make the ledger of a pool, without batches, and enter it into the list of all pools. */
int crew__ledger_open(const struct crew_pool_options *options, unsigned workers, struct crew_pool **ret);

/* Give everything back. No worker lives, no user is in a call. */
void crew__ledger_free(struct crew_pool *pool);

/*
 * Ledgers whose openers are dead, freed once none of their workers lives; with a deadline, workers that are about
 * to die (by their lifeline) are waited for.
 */
void crew__ledger_clear(crew_time deadline);

/* 0, or -EINVAL after a line that says which invariant of move.c does not hold. */
int crew__ledger_check(struct crew_pool *pool);

/* Some pool opened by this process that is still open; NULL: none. */
struct crew_pool *crew__ledger_mine(void);

#endif
