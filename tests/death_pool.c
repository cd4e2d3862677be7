/*
 * death_pool.c - workers and openers killed at every instruction of the moves of a pool
 *
 * Workers: the test holds a ledger without staff. The victim is worker 0 in it, the test is the supervisor that
 * buries it, and then worker 1, which must find all that is left to do. Openers: the victim is a process with a pool
 * of its own; whoever clears up after it finds every block.
 */
#include "harness.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <crew/crew.h>
#include "death/killpoint.h"
#include "pool/pool.h"
#include "pool/worker.h"
#include "region/lane.h"

static struct crew_pool *pool;
static struct crew__batch *batch;
static struct { struct crew__task *task; uint32_t generation; } put[2];
static uint32_t life;
static uint64_t blocks_before;

#define do_or_exit(call) do { if ((call) < 0) _exit(9); } while (0)

static uint64_t blocks(void)
{
	struct crew_memory_stats stats;
	must(crew_memory_stats(&stats));
	must(crew_heap_check());
	return stats.blocks;
}

/* ---- tasks ---- */

static int square(const void *argument, void *result, void *context)
{
	double x = *(const double *)argument;
	(void)context;
	*(double *)result = x * x;
	return 0;
}

/* Its result is a block: exactly one is there afterwards, whoever died in between. */
static int allocate(const void *argument, void *result, void *context)
{
	(void)argument;
	(void)context;
	void *extra;
	int r = crew_alloc(100, (void **)result);
	if (r == 0)
		r = crew_alloc(200, &extra);
	if (r == 0)
		crew_free(extra);
	return r;
}

static int fail_once(const void *argument, void *result, void *context)
{
	const struct crew_task_self *self = crew_task_self();
	if (self->worker == 0)
		return crew_task_error(-EIO, "in the victim");
	return square(argument, result, context);
}

/* ---- workers ---- */

static void open_ledger(bool streams)
{
	must(crew_init(NULL));
	must(crew__ledger_open(&(struct crew_pool_options){ .attempts = 1000, .retries = 1000 }, 2, &pool));
	must(crew__batch_open(pool, 8, streams, &batch));
	must(crew__worker_start(pool, 1, &life, CREW_FOREVER));
	must(crew__worker_begin(pool, 1, life, 0));
}

static void close_ledger(void)
{
	crew__ledger_free(pool);
	ck_assert_uint_eq(blocks(), 0);
	crew_fini();
}

static void put_task(int i, crew_task_fn *function, size_t argument_size)
{
	static char argument[200];
	double x = 7;
	memcpy(argument, &x, sizeof x);
	must(crew__task_put(pool, batch, &(struct crew_task){ .function = function, .argument = argument,
			.argument_size = argument_size, .result_size = sizeof x, .timeout = i ? CREW_SECOND : 0 }, NULL, 0, CREW_POLL,
			&put[i].task, &put[i].generation));
}

static void be_worker(void *shared)
{
	(void)shared;
	uint32_t mine;
	do_or_exit(crew__worker_start(pool, 0, &mine, CREW_FOREVER));
	do_or_exit(crew__worker_begin(pool, 0, mine, 0));
	(void)crew_task_self();
}

static void take_and_run(void *shared)
{
	struct crew__task *task;
	uint32_t seen;
	(void)shared;
	do_or_exit(crew__task_take(pool, 0, pool->worker[0].life, &task, &seen));
	if (task)
		do_or_exit(crew__worker_run(pool, 0, pool->worker[0].life, task));
}

/* Take what is left as worker 1, until nothing is. */
static void run_the_rest(void)
{
	struct crew__task *task;
	uint32_t seen;
	must(crew__ledger_check(pool));
	for (;;) {
		must(crew__task_take(pool, 1, life, &task, &seen));
		if (!task)
			break;
		must(crew__worker_run(pool, 1, life, task));
	}
	must(crew__ledger_check(pool));
	ck_assert_int_eq(crew__pool_unfinished(pool, CREW_FOREVER), 0);
}

static void bury(void)
{
	struct crew__life past;
	must(crew__worker_end(pool, 0, &(struct crew__death){ .signal = SIGKILL, .exit_code = -1 }, crew_after(5 * CREW_SECOND), &past));
	crew__lane_reap_all(); /* what its attempt had allocated */
	run_the_rest();
}

static void put_two_squares(void *shared)
{
	(void)shared;
	put_task(0, square, 8);
	put_task(1, square, 200);
}

static void check_two_squares(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	bury();
	for (int i = 0; i < 2; i++) {
		double y = 0;
		must(crew__task_collect(pool, put[i].task, put[i].generation, &y, CREW_POLL, NULL, NULL));
		ck_assert(y == 49);
	}
	ck_assert_uint_eq(blocks(), blocks_before);
}

static void put_two_failing(void *shared)
{
	(void)shared;
	put_task(0, fail_once, 8);
	put_task(1, fail_once, 200);
}

static void run_once(void *shared) /* fail_once would go round for ever in the victim */
{
	struct crew__task *task, *next;
	uint32_t seen;
	(void)shared;
	do_or_exit(crew__task_take(pool, 0, pool->worker[0].life, &task, &seen));
	do_or_exit(crew__task_finish(pool, 0, pool->worker[0].life, task, -EIO, false, &next));
}

static void put_two_allocating(void *shared)
{
	(void)shared;
	put_task(0, allocate, 8);
	put_task(1, allocate, 8);
}

static void check_two_blocks(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	bury();
	ck_assert_uint_eq(blocks(), blocks_before + 2);
	for (int i = 0; i < 2; i++) {
		void *block = NULL;
		must(crew__task_collect(pool, put[i].task, put[i].generation, &block, CREW_POLL, NULL, NULL));
		crew_free(block);
	}
	ck_assert_uint_eq(blocks(), blocks_before);
}

static void kill_workers(const struct killpoint *points, unsigned count)
{
	open_ledger(false);
	put_two_squares(NULL); /* once, so that there is room for tasks */
	run_the_rest();
	double y;
	for (int i = 0; i < 2; i++)
		must(crew__task_collect(pool, put[i].task, put[i].generation, &y, CREW_POLL, NULL, NULL));
	blocks_before = blocks();
	for (unsigned i = 0; i < count; i++) {
		int killed = killpoint(&points[i], NULL);
		if (killed < 0)
			SKIP("ptrace is refused here");
		ck_assert_int_gt(killed, 5);
	}
	close_ledger();
}

TEST(a_killed_workers_tasks_are_run_once_more_or_done, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .before = put_two_squares, .prepare = be_worker, .operation = take_and_run, .check = check_two_squares },
		{ .before = put_two_failing, .prepare = be_worker, .operation = run_once, .check = check_two_squares },
	};
	kill_workers(points, 2);
}

TEST(a_result_and_its_blocks_stand_together, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .before = put_two_allocating, .prepare = be_worker, .operation = take_and_run, .check = check_two_blocks },
	};
	kill_workers(points, 1);
}

static void go_idle(void *shared)
{
	be_worker(shared);
	take_and_run(shared); /* nothing there: on the idle list */
}

static void check_idle(void *shared, bool completed)
{
	put_two_squares(shared); /* may wake the dead one */
	check_two_squares(shared, completed);
}

TEST(a_killed_idle_worker_is_missed_by_nobody, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .prepare = be_worker, .operation = take_and_run, .check = check_idle },
		{ .prepare = go_idle, .operation = take_and_run, .check = check_idle },
		{ .operation = be_worker, .check = check_idle },
	};
	kill_workers(points, 3);
}

/* A stream's tasks; its batch may be dropped while they run: then whoever ends the last one frees it. */
static void open_stream(void *shared)
{
	(void)shared;
	must(crew__batch_open(pool, 8, true, &batch));
	put_task(0, square, 200);
	put_task(1, square, 8);
}

static void take_then_be_dropped(void *shared)
{
	struct crew__task *task;
	uint32_t seen;
	be_worker(shared);
	do_or_exit(crew__task_take(pool, 0, pool->worker[0].life, &task, &seen));
	crew__batch_drop(pool, batch);
}

static void run_taken(void *shared)
{
	(void)shared;
	do_or_exit(crew__worker_run(pool, 0, pool->worker[0].life, crew__task_at(pool->worker[0].task)));
}

static void check_dropped(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	bury();
	for (struct crew__batch *b = crew__batch_at(pool->batches), *next; b; b = next) { /* left by a death while freeing it */
		next = crew__batch_at(b->next);
		if (b->dropped)
			crew__batch_drop(pool, b);
	}
	ck_assert_uint_eq(blocks(), blocks_before);
}

static void check_stream(void *shared, bool completed)
{
	struct crew__task *task;
	bury();
	for (int i = 0; i < 2; i++) {
		double y = 0;
		task = crew__task_finished(pool, batch);
		ck_assert_ptr_nonnull(task);
		must(crew__task_collect(pool, task, task->generation, &y, CREW_POLL, NULL, NULL));
		ck_assert(y == 49);
	}
	ck_assert_ptr_null(crew__task_finished(pool, batch));
	crew__batch_drop(pool, batch);
	check_dropped(shared, completed);
}

TEST(streams_lose_nothing_and_leave_nothing, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .before = open_stream, .prepare = be_worker, .operation = take_and_run, .check = check_stream },
		{ .before = open_stream, .prepare = take_then_be_dropped, .operation = run_taken, .check = check_dropped },
	};
	kill_workers(points, 2);
}

/* ---- openers ---- */

static int next_number(void *argument, uint64_t index, void *source)
{
	(void)source;
	*(double *)argument = (double)index;
	return index < 3 ? 0 : CREW_END_OF_DATA;
}

static void use_serially(void *shared)
{
	struct crew_pool *mine;
	struct crew_stream *stream;
	char argument[200] = { 0 };
	double in[4] = { 0 }, out[4], y;
	crew_ticket ticket;
	(void)shared;
	do_or_exit(crew_pool_open(&mine, &(struct crew_pool_options){ .mode = CREW_POOL_SERIAL, .context = argument,
			.context_size = sizeof argument }));
	do_or_exit(crew_pool_submit(mine, &(struct crew_task){ .function = square, .argument = argument,
			.argument_size = sizeof argument, .result_size = 100 }, &ticket, CREW_FOREVER));
	char result[100];
	do_or_exit(crew_pool_wait(mine, ticket, result, CREW_FOREVER, NULL));
	do_or_exit(crew_pool_map(mine, square, in, sizeof *in, out, sizeof *out, 4, &(struct crew_map_options){ .chunk = 2 }));
	do_or_exit(crew_stream_open(&stream, mine, &(struct crew_stream_options){ .task = { .function = square,
			.argument_size = sizeof y, .result_size = sizeof y }, .next = next_number, .in_flight = 2 }));
	do_or_exit(crew_stream_next(stream, NULL, &y, CREW_FOREVER, NULL));
	crew_stream_close(stream);
	do_or_exit(crew_pool_submit(mine, &(struct crew_task){ .function = square, .argument = argument,
			.argument_size = sizeof argument, .result_size = 100 }, &ticket, CREW_FOREVER));
	do_or_exit(crew_pool_close(mine, CREW_FOREVER));
}

static void check_cleared(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	crew__lane_reap_all();
	crew__ledger_clear(CREW_POLL);
	/* A victim that is not yet reaped still lives, for crew: then the next one that is clears up after both. */
	ck_assert_uint_le(blocks(), 20);
}

TEST(what_a_killed_opener_leaves_is_found, .timeout = 300)
{
#ifdef __SANITIZE_ADDRESS__
	SKIP("under ASan a pool is opened in more instructions than can be walked");
#endif
	static const struct killpoint points[] = { { .prepare = use_serially, .operation = use_serially, .check = check_cleared,
		.seconds = 1 } };
	must(crew_init(NULL));
	int killed = killpoint(&points[0], NULL);
	if (killed < 0)
		SKIP("ptrace is refused here");
	ck_assert_int_gt(killed, 5);
	crew__ledger_clear(CREW_POLL);
	ck_assert_uint_eq(blocks(), 0);
	crew_fini();
}
