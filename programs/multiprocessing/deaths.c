/*
 * deaths.c - somebody dies, the others go on
 *
 * These have no twin. The Python above each step is what one would write; what it does then was seen with CPython
 * 3.13 and is open there for years.
 */
#include "tour.h"

#include <signal.h>
#include <string.h>

/* with lock: os.kill(os.getpid(), SIGKILL) -- all others wait for the lock for ever (python/cpython#88304) */
static int dies_with_the_lock(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	if (crew_lock_acquire(&b->lock, SOON) == 0) {
		b->array[0] = 1; /* half of a change */
		raise(SIGKILL);
	}
	return 1;
}

static const char *step_lock_owner_dies(void)
{
	claim(exitcode(start(dies_with_the_lock)) == -SIGKILL);
	claim(crew_lock_acquire(&board->lock, SOON) == CREW_OWNER_DIED); /* held, and we are told */
	board->array[1] = board->array[0];
	crew_lock_repaired(&board->lock);
	crew_lock_release(&board->lock);
	claim(crew_lock_acquire(&board->lock, SOON) == 0);
	crew_lock_release(&board->lock);
	return NULL;
}

/* item = q.get(); os.kill(os.getpid(), SIGKILL) -- the item is lost; inside get, the queue too (python/cpython#87971) */
static int dies_with_a_message(void *argument, size_t size)
{
	(void)size;
	struct crew_message message;
	if (crew_queue_take(&((struct board *)argument)->queue, &message, SOON) == 0)
		raise(SIGKILL);
	return 1;
}

static const char *step_consumer_dies(void)
{
	struct crew_message message;
	claim(crew_queue_put(&board->queue, "work", 4, SOON) == 0);
	claim(exitcode(start(dies_with_a_message)) == -SIGKILL);
	claim(crew_queue_take(&board->queue, &message, SOON) == 0); /* it comes back */
	claim(message.size == 4 && memcmp(message.data, "work", 4) == 0 && message.attempt == 2);
	claim(crew_queue_done(&board->queue, &message) == 0);
	crew_queue_fini(&board->queue);
	return NULL;
}

/* pool.map(f, items), f kills its process once -- map never returns (python/cpython#96062) */
static int dies_at_first(const void *argument, void *result, void *context)
{
	if (__atomic_add_fetch(&((struct board *)context)->value, 1, __ATOMIC_SEQ_CST) == 1)
		raise(SIGKILL);
	return square(argument, result, context);
}

static const char *step_worker_dies(void)
{
	int64_t in[100], out[100];
	for (int64_t i = 0; i < 100; i++)
		in[i] = i;
	struct crew_pool *pool = pool_of(&(struct crew_pool_options){ .workers = 2, .context = board });
	claim(crew_pool_map(pool, dies_at_first, in, sizeof *in, out, sizeof *out, 100, NULL) == 0);
	for (int64_t i = 0; i < 100; i++)
		claim(out[i] == i * i);
	struct crew_pool_stats stats;
	crew_pool_stats(pool, &stats);
	claim(stats.deaths == 1 && stats.reruns >= 1);
	claim(crew_pool_close(pool, SOON) == 0);
	return NULL;
}

/* r.get(timeout=0.05) gives up, but the task goes on and keeps its worker; here only that worker ends */
static const char *step_task_hangs(void)
{
	int64_t y;
	crew_ticket hanging, good;
	struct crew_failure failure;
	struct crew_pool *pool = pool_of(&(struct crew_pool_options){ .workers = 1, .context = board });
	struct crew_task task = { .function = hangs, .timeout = 50 * CREW_MILLISECOND, .attempts = -1 };
	struct crew_task next = squaring(&(int64_t){ 9 });
	claim(crew_pool_submit(pool, &task, &hanging, SOON) == 0);
	claim(crew_pool_submit(pool, &next, &good, SOON) == 0);
	claim(crew_pool_wait(pool, hanging, NULL, SOON, &failure) == -EOWNERDEAD && failure.error == -ETIMEDOUT);
	claim(crew_pool_wait(pool, good, &y, SOON, NULL) == 0 && y == 81); /* by a new worker */
	claim(crew_pool_close(pool, SOON) == 0);
	return NULL;
}

const struct step tour_deaths[] = {
	{ "the owner of a lock is killed",      "hangs",                                   step_lock_owner_dies },
	{ "the reader of a queue is killed",    "hangs, or the message is lost",           step_consumer_dies },
	{ "a worker is killed in the middle",   "Pool.map() hangs",                        step_worker_dies },
	{ "a task hangs",                       "no time limit for a task",                step_task_hangs },
	{ 0 }
};
