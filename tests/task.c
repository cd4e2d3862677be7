/*
 * task.c - tasks: submit, wait, cancel, map, stream; in all modes of a pool
 *
 * What the death of a worker means: tests/pool.c. In threads the suite runs under TSan.
 */
#include "pool_tasks.h"

#include <stdio.h>

static void close_all(struct crew_pool *pool)
{
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

TEST_IN_ALL_MODES(a_result_comes_back)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 2);
	double x = 3, y = 0;
	crew_ticket ticket;
	must(crew_pool_submit(pool, &(struct crew_task){ .function = square, .argument = &x, .argument_size = sizeof x,
			.result_size = sizeof y }, &ticket, CREW_FOREVER));
	x = 0; /* it was copied */
	must(crew_pool_wait(pool, ticket, &y, CREW_FOREVER, NULL));
	ck_assert(y == 9);
	close_all(pool);
}

TEST_IN_ALL_MODES(a_ticket_is_spent_once)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 2);
	crew_ticket ticket = submit(pool, nothing);
	must_be(-ESRCH, wait_for(pool, ticket + 1, NULL)); /* never given */
	must_be(-ESRCH, wait_for(pool, 0, NULL));
	must_be(-ESRCH, wait_for(pool, ticket + (UINT64_C(1) << 32), NULL));
	must(wait_for(pool, ticket, NULL));
	must_be(-ESRCH, wait_for(pool, ticket, NULL));
	crew_ticket second = submit(pool, nothing); /* the same place */
	must_be(-ESRCH, wait_for(pool, ticket, NULL));
	must_be(-ESRCH, crew_pool_cancel(pool, ticket, false));
	must(wait_for(pool, second, NULL));
	close_all(pool);
}

TEST_IN_ALL_MODES(results_can_be_collected_in_any_order)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 2);
	crew_ticket tickets[200];
	for (int i = 0; i < 200; i++) {
		double x = i;
		must(crew_pool_submit(pool, &(struct crew_task){ .function = square, .argument = &x, .argument_size = sizeof x,
				.result_size = sizeof x }, &tickets[i], CREW_FOREVER));
	}
	for (int i = 199; i >= 0; i--) {
		double y = -1;
		must(crew_pool_wait(pool, tickets[i], &y, CREW_FOREVER, NULL));
		ck_assert(y == (double)i * i);
	}
	close_all(pool);
}

static int fill_with(const void *argument, void *result, void *context UNUSED)
{
	size_t size = *(const size_t *)argument;
	for (size_t i = 0; i < size; i++)
		if (((unsigned char *)result)[i] != 0)
			return -EINVAL;
	memset(result, 7, size);
	return 0;
}

static int sum_bytes(const void *argument, void *result, void *context)
{
	const unsigned char *bytes = argument;
	size_t size = *(const size_t *)context;
	for (size_t i = 0; i < size; i++)
		*(uint64_t *)result += bytes[i];
	return 0;
}

TEST_IN_ALL_MODES(large_arguments_and_results_travel)
{
	begin();
	size_t size = 10 << 20;
	struct crew_pool *pool;
	must(crew_pool_open(&pool, &(struct crew_pool_options){ .mode = mode_of(index), .workers = 2, .context = &size,
			.context_size = sizeof size }));
	unsigned char *bytes = malloc(size);
	uint64_t sum = 0;
	crew_ticket ticket;
	memset(bytes, 3, size);
	must(crew_pool_submit(pool, &(struct crew_task){ .function = sum_bytes, .argument = bytes, .argument_size = size,
			.result_size = sizeof sum }, &ticket, CREW_FOREVER));
	must(crew_pool_wait(pool, ticket, &sum, CREW_FOREVER, NULL));
	ck_assert_uint_eq(sum, 3 * size);
	for (int i = 0; i < 3; i++) { /* the block is used again: it must be zero again */
		must(crew_pool_submit(pool, &(struct crew_task){ .function = fill_with, .argument = &size,
				.argument_size = sizeof size, .result_size = size }, &ticket, CREW_FOREVER));
		must(crew_pool_wait(pool, ticket, bytes, CREW_FOREVER, NULL));
		ck_assert(bytes[0] == 7 && bytes[size - 1] == 7);
	}
	free(bytes);
	close_all(pool);
}

TEST_IN_ALL_MODES(sizes_around_the_inline_limit_travel)
{
	begin();
	size_t sizes[] = { 1, 8, 63, 64, 65, 128 };
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct crew_pool *pool;
		unsigned char bytes[128];
		uint64_t sum = 0;
		memset(bytes, 1, sizeof bytes);
		must(crew_pool_open(&pool, &(struct crew_pool_options){ .mode = mode_of(index), .workers = 1,
				.context = &sizes[i], .context_size = sizeof sizes[i] }));
		must(crew_pool_map(pool, sum_bytes, bytes, sizes[i], &sum, sizeof sum, 1, NULL));
		ck_assert_uint_eq(sum, sizes[i]);
		crew_ticket ticket;
		must(crew_pool_submit(pool, &(struct crew_task){ .function = sum_bytes, .argument = bytes,
				.argument_size = sizes[i], .result_size = sizeof sum }, &ticket, CREW_FOREVER));
		must(crew_pool_wait(pool, ticket, &sum, CREW_FOREVER, NULL));
		ck_assert_uint_eq(sum, sizes[i]);
		must(crew_pool_close(pool, CREW_FOREVER));
	}
	end();
}

/* ── errors ── */

static int fail_loudly(const void *argument UNUSED, void *result UNUSED, void *context UNUSED)
{
	return crew_task_error(-EIO, "%s: short by %d", "file", 7);
}

static int fail_silently(const void *argument UNUSED, void *result UNUSED, void *context UNUSED)
{
	return -ENOENT;
}

TEST_IN_ALL_MODES(an_error_carries_its_message)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 2);
	struct crew_failure failure;
	must_be(-EREMOTEIO, wait_for(pool, submit(pool, fail_loudly), &failure));
	ck_assert_int_eq(failure.error, -EIO);
	ck_assert_int_eq(failure.signal, 0);
	ck_assert_int_eq(failure.exit_code, -1);
	ck_assert_uint_eq(failure.attempts, 1);
	ck_assert_uint_lt(failure.worker, 2);
	ck_assert((failure.pid == getpid()) == (mode_of(index) != CREW_POOL_PROCESSES));
	ck_assert_str_eq(failure.message, "file: short by 7");
	must_be(-EREMOTEIO, wait_for(pool, submit(pool, fail_silently), &failure));
	ck_assert_int_eq(failure.error, -ENOENT);
	ck_assert_ptr_nonnull(strstr(failure.message, "no such file"));
	must(wait_for(pool, submit(pool, nothing), &failure));
	struct crew_pool_stats stats;
	crew_pool_stats(pool, &stats);
	ck_assert_uint_eq(stats.submitted, 3);
	ck_assert_uint_eq(stats.finished, 3);
	ck_assert_uint_eq(stats.failed, 2);
	ck_assert_int_eq(crew_task_error(-EIO, "outside of a task"), -EIO);
	close_all(pool);
}

static int fail_twice(const void *argument UNUSED, void *result UNUSED, void *context)
{
	struct shared *all = context;
	uint32_t call = count_one(&all->calls);
	all->worker[call] = crew_task_self()->attempt;
	return call <= 2 ? -EAGAIN : 0;
}

TEST_IN_ALL_MODES(retries_are_granted_to_errors)
{
	begin();
	struct crew_pool *pool;
	struct crew_failure failure;
	crew_ticket ticket;
	must(crew_pool_open(&pool, &(struct crew_pool_options){ .mode = mode_of(index), .workers = 2, .retries = 2,
			.context = s }));
	must(wait_for(pool, submit(pool, fail_twice), NULL));
	ck_assert_uint_eq(s->calls, 3);
	ck_assert(s->worker[1] == 1 && s->worker[2] == 2 && s->worker[3] == 3);
	s->calls = 0;
	must(crew_pool_submit(pool, &(struct crew_task){ .function = fail_twice, .retries = 1 }, &ticket, CREW_FOREVER));
	must_be(-EREMOTEIO, wait_for(pool, ticket, &failure));
	ck_assert_uint_eq(failure.attempts, 2);
	s->calls = 0;
	must(crew_pool_submit(pool, &(struct crew_task){ .function = fail_twice, .retries = -1 }, &ticket, CREW_FOREVER));
	must_be(-EREMOTEIO, wait_for(pool, ticket, &failure));
	ck_assert_uint_eq(failure.attempts, 1);
	close_all(pool);
}

TEST_IN_ALL_MODES(bad_arguments_are_refused)
{
	begin();
	struct crew_pool *pool = NULL;
	struct crew_pool_options bad[] = { { .workers = 4097 }, { .attempts = -2 }, { .retries = -2 }, { .timeout = -2 },
		{ .mode = (enum crew_pool_mode)3 }, { .limit_count = 1 }, { .limit_count = 17 }, { .context_size = 1 }, { .chaos = -1 } };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		must_be(-EINVAL, crew_pool_open(&pool, &bad[i]));
	struct { struct crew_pool_options options; int newer; } longer = { .newer = 1 };
	must_be(-EINVAL, crew_pool_open_sized(&pool, &longer.options, sizeof longer));
	ck_assert_ptr_null(pool);
	pool = open_pool(mode_of(index), 0);
	struct crew_pool_stats stats;
	crew_pool_stats(pool, &stats);
	ck_assert_uint_eq(stats.workers, mode_of(index) == CREW_POOL_SERIAL ? 1 : crew_cpus());
	crew_ticket ticket;
	double x;
	must_be(-EINVAL, crew_pool_submit(pool, &(struct crew_task){ .argument = &x }, &ticket, CREW_FOREVER));
	must_be(-EINVAL, crew_pool_submit(pool, &(struct crew_task){ .function = nothing, .argument_size = 1 }, &ticket, CREW_FOREVER));
	must_be(-EINVAL, crew_pool_submit(NULL, &(struct crew_task){ .function = nothing }, &ticket, CREW_FOREVER));
	must_be(-EINVAL, crew_pool_map(pool, square, &x, SIZE_MAX, &x, 1, 2, NULL));
	must_be(-EINVAL, crew_pool_map(pool, NULL, &x, 1, &x, 1, 1, NULL));
	must_be(-EINVAL, crew_pool_map(pool, square, NULL, 1, &x, 1, 1, NULL));
	must_be(-ENOMEM, crew_pool_submit(pool, &(struct crew_task){ .function = nothing, .result_size = SIZE_MAX / 2 }, &ticket,
			CREW_FOREVER));
	must(crew_pool_close(NULL, CREW_FOREVER));
	crew_pool_terminate(NULL);
	crew_stream_close(NULL);
	close_all(pool);
}

TEST(without_a_family_there_is_no_pool)
{
	struct crew_pool *pool;
	must_be(-ENOTCONN, crew_pool_open(&pool, NULL));
	must_be(-ENOTCONN, crew_pool_open(&pool, &(struct crew_pool_options){ .mode = CREW_POOL_SERIAL }));
}

/* ── who am I ── */

static int tell_self(const void *argument UNUSED, void *result, void *context)
{
	const struct crew_task_self *self = crew_task_self();
	((uint64_t *)result)[0] = self->index;
	((uint64_t *)result)[1] = self->worker;
	((uint64_t *)result)[2] = self->attempt;
	((uint64_t *)result)[3] = (uint64_t)(uintptr_t)context;
	return 0;
}

TEST_IN_ALL_MODES(a_task_knows_who_it_is)
{
	begin();
	struct crew_pool *pool;
	must(crew_pool_open(&pool, &(struct crew_pool_options){ .mode = mode_of(index), .workers = 3, .context = s }));
	uint64_t told[50][4];
	ck_assert_ptr_null(crew_task_self());
	must(crew_pool_map(pool, tell_self, NULL, 0, told, sizeof told[0], 50, &(struct crew_map_options){ .chunk = 7, .first = 1000 }));
	for (uint64_t i = 0; i < 50; i++) {
		ck_assert_uint_eq(told[i][0], 1000 + i);
		ck_assert_uint_lt(told[i][1], 3);
		ck_assert_uint_eq(told[i][2], 1);
		ck_assert_uint_eq(told[i][3], (uint64_t)(uintptr_t)s); /* context_size 0: the pointer itself */
	}
	ck_assert_ptr_null(crew_task_self());
	close_all(pool);
}

static int use_my_pool(const void *argument, void *result UNUSED, void *context UNUSED)
{
	struct crew_pool *pool = *(struct crew_pool *const *)argument;
	crew_ticket ticket;
	int r = crew_pool_submit(pool, &(struct crew_task){ .function = nothing }, &ticket, CREW_FOREVER);
	int w = crew_pool_wait(pool, 1, NULL, CREW_FOREVER, NULL);
	return r == w ? r : -EIO;
}

TEST_IN_ALL_MODES(a_task_cannot_wait_for_its_own_pool)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 1);
	struct crew_failure failure;
	crew_ticket ticket;
	must(crew_pool_submit(pool, &(struct crew_task){ .function = use_my_pool, .argument = &pool, .argument_size = sizeof pool },
			&ticket, CREW_FOREVER));
	must_be(-EREMOTEIO, wait_for(pool, ticket, &failure));
	ck_assert_int_eq(failure.error, -EDEADLK);
	close_all(pool);
}

/* Opens a pool of its own, of the mode it is given, and lets it count. */
static int nest(const void *argument, void *result, void *context UNUSED)
{
	struct crew_pool *pool;
	double in[20], out[20];
	for (int i = 0; i < 20; i++)
		in[i] = i;
	int r = crew_pool_open(&pool, &(struct crew_pool_options){ .mode = *(const enum crew_pool_mode *)argument, .workers = 2 });
	if (r < 0)
		return r;
	r = crew_pool_map(pool, square, in, sizeof *in, out, sizeof *out, 20, &(struct crew_map_options){ .chunk = 3 });
	for (int i = 0; i < 20; i++)
		*(double *)result += out[i];
	int closed = crew_pool_close(pool, CREW_FOREVER);
	return r < 0 ? r : closed;
}

TEST_IN_ALL_MODES(a_task_may_open_a_pool_of_its_own)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 2);
	double sums[6];
	enum crew_pool_mode modes[6];
	for (int i = 0; i < 6; i++)
		modes[i] = UNDER_TSAN ? mode_of(i % 2) : mode_of(i % 3);
	struct crew_failure failure;
	int r = crew_pool_map(pool, nest, modes, sizeof *modes, sums, sizeof *sums, 6,
			&(struct crew_map_options){ .chunk = 1, .failure = &failure });
	ck_assert_msg(r == 0, "%s: %s", crew_errname(r), failure.message);
	for (int i = 0; i < 6; i++)
		ck_assert(sums[i] == 2470);
	close_all(pool);
}

/* ── waiting ── */

TEST_IN_MODES("threads processes", waiting_can_time_out_and_go_on)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 1);
	crew_ticket ticket = submit(pool, gated);
	must_be(-ETIMEDOUT, crew_pool_wait(pool, ticket, NULL, CREW_POLL, NULL));
	crew_time start = crew_now();
	must_be(-ETIMEDOUT, crew_pool_wait(pool, ticket, NULL, crew_after(30 * MS), NULL));
	ck_assert_int_ge(crew_now() - start, 30 * MS);
	must(crew_event_set(&s->gate));
	must(wait_for(pool, ticket, NULL));
	close_all(pool);
}

static struct { struct crew_pool *pool; crew_ticket ticket; int result[2]; } both;

static void *wait_too(void *argument)
{
	int *result = argument;
	*result = crew_pool_wait(both.pool, both.ticket, NULL, CREW_FOREVER, NULL);
	return NULL;
}

TEST_IN_MODES("threads processes", of_two_who_wait_one_gets_it)
{
	begin();
	both.pool = open_pool(mode_of(index), 1);
	both.ticket = submit(both.pool, gated);
	pthread_t threads[2];
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, wait_too, &both.result[i]);
	harness_pause();
	must(crew_event_set(&s->gate));
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(both.result[0] + both.result[1], -ESRCH);
	ck_assert(both.result[0] == 0 || both.result[1] == 0);
	close_all(both.pool);
}

static void *submit_one(void *argument)
{
	crew_ticket *ticket = argument;
	if (crew_pool_submit(both.pool, &(struct crew_task){ .function = nothing }, ticket, CREW_FOREVER) < 0)
		*ticket = 0;
	return NULL;
}

TEST_IN_ALL_MODES(capacity_holds_the_submitter_back)
{
	begin();
	crew_ticket tickets[4], fifth = 0;
	must(crew_pool_open(&both.pool, &(struct crew_pool_options){ .mode = mode_of(index), .workers = 1, .capacity = 4 }));
	for (int i = 0; i < 4; i++)
		tickets[i] = submit(both.pool, nothing);
	struct crew_task task = { .function = nothing };
	must_be(-ETIMEDOUT, crew_pool_submit(both.pool, &task, &fifth, CREW_POLL));
	must_be(-ETIMEDOUT, crew_pool_submit(both.pool, &task, &fifth, crew_after(20 * MS)));
	double in[64], out[64]; /* a map has room of its own */
	for (int i = 0; i < 64; i++)
		in[i] = i;
	must(crew_pool_map(both.pool, square, in, sizeof *in, out, sizeof *out, 64, &(struct crew_map_options){ .chunk = 1 }));
	if (mode_of(index) != CREW_POOL_SERIAL) {
		pthread_t thread;
		pthread_create(&thread, NULL, submit_one, &fifth);
		harness_pause();
		must(wait_for(both.pool, tickets[0], NULL)); /* makes room */
		pthread_join(thread, NULL);
		must(wait_for(both.pool, fifth, NULL));
	} else {
		must(wait_for(both.pool, tickets[0], NULL));
	}
	for (int i = 1; i < 4; i++)
		must(wait_for(both.pool, tickets[i], NULL));
	close_all(both.pool);
}

static void *many(void *argument)
{
	struct crew_pool *pool = argument;
	for (int i = 0; i < 300; i++) {
		double x = i, y = -1;
		crew_ticket ticket;
		if (crew_pool_submit(pool, &(struct crew_task){ .function = square, .argument = &x, .argument_size = sizeof x,
				.result_size = sizeof y }, &ticket, CREW_FOREVER) < 0 ||
				crew_pool_wait(pool, ticket, &y, CREW_FOREVER, NULL) < 0 || y != x * x)
			return NULL;
	}
	double in[100], out[100];
	for (int i = 0; i < 100; i++)
		in[i] = i;
	for (int k = 0; k < 5; k++)
		if (crew_pool_map(pool, square, in, sizeof *in, out, sizeof *out, 100, &(struct crew_map_options){ .chunk = 3 }) < 0)
			return NULL;
	return pool;
}

TEST_IN_ALL_MODES(all_threads_of_the_opener_may_use_it)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 2);
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, many, pool);
	for (int i = 0; i < 4; i++) {
		void *good;
		pthread_join(threads[i], &good);
		ck_assert_ptr_eq(good, pool);
	}
	close_all(pool);
}

/* ── cancel ── */

TEST_IN_MODES("threads processes", what_has_not_started_can_be_cancelled)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 1);
	crew_ticket running = submit(pool, gated), second = submit(pool, nothing), third = submit(pool, nothing),
		fourth = submit(pool, nothing);
	await(look(&s->started) == 1);
	must_be(-EBUSY, crew_pool_cancel(pool, running, false));
	must(crew_pool_cancel(pool, third, false)); /* from the middle, */
	must(crew_pool_cancel(pool, second, false)); /* from the front */
	must_be(-EALREADY, crew_pool_cancel(pool, second, true));
	must_be(-ECANCELED, wait_for(pool, second, NULL));
	must_be(-ESRCH, crew_pool_cancel(pool, second, false));
	must(crew_event_set(&s->gate));
	must(wait_for(pool, running, NULL));
	must(wait_for(pool, fourth, NULL));
	must_be(-ECANCELED, wait_for(pool, third, NULL));
	close_all(pool);
}

/* ── map ── */

static void check_map(struct crew_pool *pool, double *in, double *out, size_t count, size_t chunk)
{
	double *wanted = malloc((count + 1) * sizeof *wanted);
	for (size_t i = 0; i < count; i++) {
		in[i] = (double)i + 0.5;
		wanted[i] = in[i] * in[i];
		if (out != in)
			out[i] = -1;
	}
	must(crew_pool_map(pool, square, in, sizeof *in, out, sizeof *out, count, &(struct crew_map_options){ .chunk = chunk }));
	ck_assert_msg(memcmp(out, wanted, count * sizeof *out) == 0, "%zu elements in chunks of %zu", count, chunk);
	free(wanted);
}

TEST_IN_ALL_MODES(map_keeps_the_order)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 2);
	double *shared_in, *shared_out, in[1000], out[1000];
	must(crew_array(1000, sizeof(double), (void **)&shared_in));
	must(crew_array(1000, sizeof(double), (void **)&shared_out));
	size_t chunks[] = { 0, 1, 2, 7, 10, 333, 999, 1000, 1001, SIZE_MAX }, counts[] = { 0, 1, 2, 99, 1000 };
	for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
		for (size_t n = 0; n < sizeof counts / sizeof *counts; n++) {
			check_map(pool, in, out, counts[n], chunks[c]);
			check_map(pool, shared_in, shared_out, counts[n], chunks[c]);
			check_map(pool, in, shared_out, counts[n], chunks[c]);
			check_map(pool, shared_in, out, counts[n], chunks[c]);
			check_map(pool, in, in, counts[n], chunks[c]);
			check_map(pool, shared_in, shared_in, counts[n], chunks[c]);
		}
	}
	must(crew_pool_map(pool, square, NULL, sizeof(double), NULL, sizeof(double), 0, NULL));
	crew_free(shared_in);
	crew_free(shared_out);
	close_all(pool);
}

TEST_IN_ALL_MODES(a_hundred_thousand_tiny_tasks_come_back, .timeout = 120)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 2);
	size_t count = UNDER_TSAN ? 10000 : 100000;
	double *in = malloc(count * sizeof *in), *out = malloc(count * sizeof *out);
	check_map(pool, in, out, count, 1);
	free(in);
	free(out);
	close_all(pool);
}

static int fail_at_multiples_of_100(const void *argument, void *result, void *context)
{
	struct shared *all = context;
	int i = *(const int *)argument;
	count_one(&all->calls);
	*(int *)result = i;
	return i > 0 && i % 100 == 0 ? crew_task_error(-ERANGE, "element %d", i) : 0;
}

TEST_IN_ALL_MODES(map_tells_the_first_failure_and_runs_the_rest)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 2);
	int in[1000], out[1000];
	for (int i = 0; i < 1000; i++)
		in[i] = i;
	struct crew_failure failure;
	size_t at = 0;
	must_be(-EREMOTEIO, crew_pool_map(pool, fail_at_multiples_of_100, in, sizeof *in, out, sizeof *out, 1000,
			&(struct crew_map_options){ .chunk = 7, .failure = &failure, .failed_at = &at }));
	ck_assert_uint_eq(at, 100);
	ck_assert_int_eq(failure.error, -ERANGE);
	ck_assert_str_eq(failure.message, "element 100");
	ck_assert_uint_ge(s->calls, 1000 - 9 * 7); /* what followed in the failing chunks was not run */
	ck_assert_int_eq(out[999], 999);
	close_all(pool);
}

/* ── streams ── */

struct source { uint64_t length, asked, delivered, most; int error; uint64_t error_at; };

static int next_number(void *argument, uint64_t index, void *from)
{
	struct source *source = from;
	if (source->error && index == source->error_at)
		return source->error;
	if (index == source->length)
		return CREW_END_OF_DATA;
	*(double *)argument = (double)index;
	source->asked++;
	if (source->asked - source->delivered > source->most)
		source->most = source->asked - source->delivered;
	return 0;
}

static struct crew_stream *open_stream(struct crew_pool *pool, struct source *source, crew_task_fn *function, unsigned in_flight)
{
	struct crew_stream *stream = NULL;
	must(crew_stream_open(&stream, pool, &(struct crew_stream_options){ .task = { .function = function,
			.argument_size = sizeof(double), .result_size = sizeof(double) }, .next = next_number, .source = source,
			.in_flight = in_flight }));
	return stream;
}

TEST_IN_ALL_MODES(a_stream_delivers_each_result_once)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 2);
	struct source source = { .length = 2000 };
	struct crew_stream *stream = open_stream(pool, &source, square, 10);
	unsigned char seen[2000] = { 0 };
	uint64_t i;
	double y;
	int r;
	while ((r = crew_stream_next(stream, &i, &y, CREW_FOREVER, NULL)) == 0) {
		source.delivered++;
		ck_assert_uint_lt(i, 2000);
		ck_assert(y == (double)i * (double)i);
		ck_assert_uint_eq(seen[i]++, 0);
	}
	must_be(CREW_END_OF_DATA, r);
	must_be(CREW_END_OF_DATA, crew_stream_next(stream, &i, &y, CREW_FOREVER, NULL));
	ck_assert_uint_eq(source.delivered, 2000);
	ck_assert_uint_le(source.most, 11); /* the one in the caller's hands counts as delivered only now */
	crew_stream_close(stream);
	close_all(pool);
}

TEST_IN_ALL_MODES(an_empty_stream_ends_at_once)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 2);
	struct source source = { .length = 0 };
	struct crew_stream *stream = open_stream(pool, &source, square, 0);
	must_be(CREW_END_OF_DATA, crew_stream_next(stream, NULL, NULL, CREW_FOREVER, NULL));
	crew_stream_close(stream);
	must_be(-EINVAL, crew_stream_open(&stream, pool, NULL));
	close_all(pool);
}

TEST_IN_ALL_MODES(an_error_of_the_source_comes_after_what_it_gave)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 2);
	for (uint64_t at = 0; at < 60; at += 29) {
		struct source source = { .length = 100, .error = -EPROTO, .error_at = at };
		struct crew_stream *stream = open_stream(pool, &source, square, 4);
		uint64_t i, got = 0;
		double y;
		int r;
		while ((r = crew_stream_next(stream, &i, &y, CREW_FOREVER, NULL)) == 0)
			got++;
		must_be(-EPROTO, r);
		ck_assert_uint_eq(got, at);
		must_be(CREW_END_OF_DATA, crew_stream_next(stream, &i, &y, CREW_FOREVER, NULL));
		crew_stream_close(stream);
	}
	must(wait_for(pool, submit(pool, nothing), NULL));
	close_all(pool);
}

static int fail_odd(const void *argument, void *result UNUSED, void *context UNUSED)
{
	int i = (int)*(const double *)argument;
	return i % 2 ? crew_task_error(-EBADMSG, "%d", i) : 0;
}

TEST_IN_ALL_MODES(a_failed_task_does_not_end_the_stream)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 2);
	struct source source = { .length = 40 };
	struct crew_stream *stream = open_stream(pool, &source, fail_odd, 5);
	uint64_t i, failed = 0;
	struct crew_failure failure;
	int r;
	while ((r = crew_stream_next(stream, &i, NULL, CREW_FOREVER, &failure)) != CREW_END_OF_DATA) {
		ck_assert_int_eq(r, i % 2 ? -EREMOTEIO : 0);
		if (r < 0) {
			ck_assert_uint_eq((uint64_t)atoi(failure.message), i);
			failed++;
		}
	}
	ck_assert_uint_eq(failed, 20);
	crew_stream_close(stream);
	close_all(pool);
}

TEST_IN_MODES("threads processes", a_stream_can_be_closed_in_the_middle)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 2);
	struct source source = { .length = 1000 };
	struct crew_stream *stream = open_stream(pool, &source, gated, 8);
	must_be(-ETIMEDOUT, crew_stream_next(stream, NULL, NULL, crew_after(10 * MS), NULL));
	await(look(&s->started) == 2);
	crew_stream_close(stream); /* two run, six wait: neither is anybody's any more */
	must(crew_event_set(&s->gate));
	must(wait_for(pool, submit(pool, nothing), NULL));
	close_all(pool);
}

/* ── close ── */

TEST_IN_ALL_MODES(close_finishes_what_was_submitted)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 2);
	for (int i = 0; i < 500; i++)
		submit(pool, nothing);
	close_all(pool); /* results not collected are dropped */
}

static void *close_later(void *pool)
{
	await(look(&s->started) == 1);
	int *r = malloc(sizeof *r);
	*r = crew_pool_close(pool, crew_after(20 * MS));
	return r;
}

TEST_IN_MODES("processes", close_at_its_deadline_sends_those_away_who_wait)
{
	begin();
	struct crew_pool *pool = open_pool(mode_of(index), 1);
	crew_ticket running = submit(pool, gated);
	for (int i = 0; i < 9; i++)
		submit(pool, nothing);
	pthread_t thread;
	void *closed;
	pthread_create(&thread, NULL, close_later, pool);
	must_be(-ECANCELED, crew_pool_wait(pool, running, NULL, CREW_FOREVER, NULL));
	pthread_join(thread, &closed);
	ck_assert_int_eq(*(int *)closed, 10);
	free(closed);
	end();
}

TEST_IN_ALL_MODES(crew_fini_ends_pools_that_are_open)
{
	must(crew_init(NULL));
	struct crew_pool *pool = open_pool(mode_of(index), 2);
	for (int i = 0; i < 10; i++)
		submit(pool, nothing);
	crew_fini();
}
