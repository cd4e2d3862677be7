/*
 * pool.c - workers that die, hang, leak and stop; what becomes of their tasks and of the pool
 */
#include "pool_tasks.h"

#include <fcntl.h>
#include <time.h>
#include "base/sys.h"
#include "pool/pool.h"
#include "sync/section.h"

static struct crew_pool *open_with(struct crew_pool_options options)
{
	struct crew_pool *pool = NULL;
	options.context = s;
	must(crew_pool_open(&pool, &options));
	return pool;
}

static struct crew_pool_stats stats_of(struct crew_pool *pool)
{
	struct crew_pool_stats stats;
	crew_pool_stats(pool, &stats);
	return stats;
}

static bool is_gone(pid_t pid)
{
	return kill(pid, 0) < 0 && errno == ESRCH;
}

/* ── a worker dies ── */

TEST(a_killed_workers_task_runs_again)
{
	begin();
	struct crew_pool *pool = open_pool(CREW_POOL_PROCESSES, 1);
	double x = 42, y = 0;
	crew_ticket ticket;
	must(crew_pool_submit(pool, &(struct crew_task){ .function = hang_once, .argument = &x, .argument_size = sizeof x,
			.result_size = sizeof y }, &ticket, CREW_FOREVER));
	await(look((uint32_t *)&s->pid[0]));
	ck_assert_int_eq(s->pid[0], crew_pool_worker_pid(pool, 0));
	ck_assert_int_eq(kill(s->pid[0], SIGKILL), 0);
	must(crew_pool_wait(pool, ticket, &y, crew_after(10 * CREW_SECOND), NULL));
	ck_assert(y == 42);
	ck_assert_int_ne(crew_pool_worker_pid(pool, 0), s->pid[0]);
	ck_assert_int_eq(crew_pool_worker_pid(pool, 1), 0);
	struct crew_pool_stats stats = stats_of(pool);
	ck_assert_uint_eq(stats.deaths, 1);
	ck_assert_uint_eq(stats.reruns, 1);
	ck_assert_uint_eq(stats.failed, 0);
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

static int count_and_crash(const void *argument, void *result UNUSED, void *context)
{
	struct shared *all = context;
	count_one(&all->calls);
	return crash(argument, NULL, NULL);
}

TEST(a_poison_task_fails_after_its_attempts)
{
	struct { int pool, task; unsigned runs; } cases[] = { { 0, 0, 3 }, { 5, 0, 5 }, { 0, 1, 1 }, { 5, -1, 1 }, { -1, 0, 1 }, { -1, 2, 2 } };
	begin();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct crew_pool *pool = open_with((struct crew_pool_options){ .workers = 2, .attempts = cases[i].pool });
		struct crew_failure failure;
		crew_ticket poison, others[50];
		double x = 3, y;
		s->calls = 0;
		for (int k = 0; k < 50; k++) {
			if (k == 20)
				must(crew_pool_submit(pool, &(struct crew_task){ .function = count_and_crash, .attempts = cases[i].task },
						&poison, CREW_FOREVER));
			must(crew_pool_submit(pool, &(struct crew_task){ .function = square, .argument = &x, .argument_size = sizeof x,
					.result_size = sizeof y }, &others[k], CREW_FOREVER));
		}
		must_be(-EOWNERDEAD, wait_for(pool, poison, &failure));
		ck_assert_uint_eq(s->calls, cases[i].runs);
		ck_assert_int_eq(failure.signal, SIGSEGV);
		ck_assert_int_eq(failure.exit_code, -1);
		ck_assert_int_eq(failure.error, 0);
		ck_assert_uint_eq(failure.attempts, cases[i].runs);
		ck_assert_uint_lt(failure.worker, 2);
		ck_assert_int_gt(failure.pid, 0);
		ck_assert_msg(strstr(failure.message, "signal 11"), "%s", failure.message);
		for (int k = 0; k < 50; k++) {
			must(crew_pool_wait(pool, others[k], &y, crew_after(10 * CREW_SECOND), NULL));
			ck_assert(y == 9);
		}
		ck_assert_uint_eq(stats_of(pool).deaths, cases[i].runs);
		must(crew_pool_close(pool, CREW_FOREVER));
	}
	end();
}

static int exit_with(const void *argument, void *result UNUSED, void *context UNUSED)
{
	exit(*(const int *)argument);
}

static int exit_quickly(const void *argument, void *result UNUSED, void *context UNUSED)
{
	_exit(*(const int *)argument);
}

static int end_thread(const void *argument UNUSED, void *result UNUSED, void *context UNUSED)
{
	pthread_exit(NULL);
}

TEST(a_task_that_exits_is_told_with_its_code)
{
	begin();
	struct crew_pool *pool = open_pool(CREW_POOL_PROCESSES, 1);
	struct { crew_task_fn *function; int code; } cases[] = { { exit_with, 3 }, { exit_quickly, 7 }, { exit_quickly, 0 }, { end_thread, 0 } };
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct crew_failure failure;
		crew_ticket ticket;
		if (UNDER_ASAN && cases[i].function != exit_quickly)
			continue; /* its exit handler looks for leaks, and finds Check's */
		must(crew_pool_submit(pool, &(struct crew_task){ .function = cases[i].function, .argument = &cases[i].code,
				.argument_size = sizeof(int), .attempts = -1 }, &ticket, CREW_FOREVER));
		must_be(-EOWNERDEAD, wait_for(pool, ticket, &failure));
		ck_assert_int_eq(failure.exit_code, cases[i].code);
		ck_assert_int_eq(failure.signal, 0);
		ck_assert_uint_eq(failure.attempts, 1);
	}
	must(wait_for(pool, submit(pool, nothing), NULL));
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

static int crash_at_77(const void *argument, void *result, void *context UNUSED)
{
	int i = *(const int *)argument;
	*(int *)result = i;
	return i == 77 ? crash(NULL, NULL, NULL) : 0;
}

TEST(map_tells_which_element_killed_its_worker)
{
	begin();
	struct crew_pool *pool = open_pool(CREW_POOL_PROCESSES, 2);
	int in[200], out[200];
	for (int i = 0; i < 200; i++)
		in[i] = i;
	struct crew_failure failure;
	size_t at = 0;
	must_be(-EOWNERDEAD, crew_pool_map(pool, crash_at_77, in, sizeof *in, out, sizeof *out, 200,
			&(struct crew_map_options){ .chunk = 10, .failure = &failure, .failed_at = &at }));
	ck_assert_uint_eq(at, 77);
	ck_assert_int_eq(failure.signal, SIGSEGV);
	ck_assert(out[0] == 0 && out[69] == 69 && out[80] == 80 && out[199] == 199);
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

TEST(killed_idle_workers_are_replaced)
{
	begin();
	struct crew_pool *pool = open_pool(CREW_POOL_PROCESSES, 2);
	for (int i = 0; i < 6; i++) {
		pid_t pid[2] = { crew_pool_worker_pid(pool, 0), crew_pool_worker_pid(pool, 1) };
		for (int k = 0; k < 2; k++)
			if (pid[k])
				kill(pid[k], SIGKILL);
		must(wait_for(pool, submit(pool, nothing), NULL));
	}
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

/* ── time-outs, cancel ── */

TEST(a_time_out_kills_that_worker_alone)
{
	begin();
	struct crew_pool *pool = open_pool(CREW_POOL_PROCESSES, 2);
	crew_ticket other = submit(pool, gated), late;
	await(look(&s->started) == 1);
	pid_t pids[2] = { crew_pool_worker_pid(pool, 0), crew_pool_worker_pid(pool, 1) };
	struct crew_failure failure;
	crew_time start = crew_now();
	must(crew_pool_submit(pool, &(struct crew_task){ .function = hang, .timeout = 50 * MS, .attempts = 2 }, &late, CREW_FOREVER));
	must_be(-EOWNERDEAD, wait_for(pool, late, &failure));
	crew_time took = crew_now() - start;
	ck_assert_int_ge(took, 100 * MS);
	ck_assert_int_lt(took, 5000 * MS);
	ck_assert_int_eq(failure.error, -ETIMEDOUT);
	ck_assert_int_eq(failure.signal, SIGKILL);
	ck_assert_uint_eq(failure.attempts, 2);
	ck_assert_msg(strstr(failure.message, "longer than 0.05 s"), "%s", failure.message);
	int same = (pids[0] == crew_pool_worker_pid(pool, 0)) + (pids[1] == crew_pool_worker_pid(pool, 1));
	ck_assert_int_eq(same, 1);
	must(crew_event_set(&s->gate));
	must(wait_for(pool, other, NULL));
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

static int fork_and_hang(const void *argument UNUSED, void *result UNUSED, void *context)
{
	struct shared *all = context;
	pid_t pid = fork();
	if (pid > 0)
		__atomic_store_n(&all->pid[0], pid, __ATOMIC_RELEASE);
	return hang(NULL, NULL, all);
}

TEST(what_a_task_has_forked_is_killed_with_it)
{
	begin();
	struct crew_pool *pool = open_with((struct crew_pool_options){ .workers = 1, .timeout = 50 * MS, .attempts = -1 });
	must_be(-EOWNERDEAD, wait_for(pool, submit(pool, fork_and_hang), NULL));
	await(is_gone(s->pid[0]));
	submit(pool, fork_and_hang);
	pid_t before = s->pid[0];
	await(look((uint32_t *)&s->pid[0]) != (uint32_t)before);
	crew_pool_terminate(pool);
	await(is_gone(s->pid[0]));
	end();
}

static int stop_myself(const void *argument UNUSED, void *result UNUSED, void *context UNUSED)
{
	raise(SIGSTOP);
	return 0;
}

TEST(a_stopped_worker_is_killed_by_the_time_out)
{
	begin();
	struct crew_pool *pool = open_with((struct crew_pool_options){ .workers = 2, .timeout = 50 * MS, .attempts = -1 });
	struct crew_failure failure;
	must_be(-EOWNERDEAD, wait_for(pool, submit(pool, stop_myself), &failure));
	ck_assert_int_eq(failure.error, -ETIMEDOUT);
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

static int stop_in_a_section(const void *argument, void *result UNUSED, void *context UNUSED)
{
	struct crew_pool *pool = *(struct crew_pool *const *)argument;
	struct crew__lane *lane;
	if (crew__enter(&lane, &pool->guard, CREW_FOREVER) == 0)
		raise(SIGSTOP);
	return 0;
}

TEST(a_worker_stopped_with_the_guard_in_hand_is_killed_by_the_time_out)
{
	begin();
	struct crew_pool *pool = open_with((struct crew_pool_options){ .workers = 2, .timeout = 50 * MS, .attempts = -1 });
	struct crew_failure failure;
	crew_ticket ticket;
	must(crew_pool_submit(pool, &(struct crew_task){ .function = stop_in_a_section, .argument = &pool,
			.argument_size = sizeof pool }, &ticket, CREW_FOREVER));
	must_be(-EOWNERDEAD, wait_for(pool, ticket, &failure));
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

TEST(many_time_outs_of_different_length_are_kept)
{
	begin();
	struct crew_pool *pool = open_with((struct crew_pool_options){ .workers = 3, .attempts = -1 });
	crew_ticket tickets[12];
	for (int i = 0; i < 12; i++)
		must(crew_pool_submit(pool, &(struct crew_task){ .function = i % 2 ? hang : nothing,
				.timeout = (12 - i) * 10 * MS }, &tickets[i], CREW_FOREVER));
	for (int i = 0; i < 12; i++)
		must_be(i % 2 ? -EOWNERDEAD : 0, wait_for(pool, tickets[i], NULL));
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

TEST(a_running_task_can_be_cancelled_by_force)
{
	begin();
	struct crew_pool *pool = open_pool(CREW_POOL_PROCESSES, 2);
	crew_ticket ticket = submit(pool, hang), other = submit(pool, gated);
	await(look(&s->started) == 2);
	must_be(-EBUSY, crew_pool_cancel(pool, ticket, false));
	must(crew_pool_cancel(pool, ticket, true));
	must_be(-ECANCELED, wait_for(pool, ticket, NULL));
	must(crew_event_set(&s->gate));
	must(wait_for(pool, other, NULL));
	ck_assert_uint_eq(stats_of(pool).reruns, 0);
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

/* ── close, terminate ── */

TEST(close_with_a_deadline_tells_what_was_not_finished)
{
	begin();
	struct crew_pool *pool = open_pool(CREW_POOL_PROCESSES, 2);
	for (int i = 0; i < 10; i++)
		submit(pool, hang);
	await(look(&s->started) == 2);
	pid_t pid = crew_pool_worker_pid(pool, 1);
	crew_time start = crew_now();
	must_be(10, crew_pool_close(pool, crew_after(50 * MS)));
	ck_assert_int_ge(crew_now() - start, 50 * MS);
	await(is_gone(pid)); /* its reaper may need a moment to free the pid */
	end();
}

TEST(terminate_is_prompt_with_ten_thousand_pending)
{
	begin();
	struct crew_pool *pool = open_with((struct crew_pool_options){ .workers = 2, .capacity = 10000 });
	unsigned char argument[200] = { 0 };
	for (int i = 0; i < 10000; i++) {
		crew_ticket ticket;
		must(crew_pool_submit(pool, &(struct crew_task){ .function = hang, .argument = argument, .argument_size = sizeof argument,
				.result_size = 100 }, &ticket, CREW_FOREVER));
	}
	crew_time start = crew_now();
	crew_pool_terminate(pool);
	ck_assert_int_lt(crew_now() - start, 2 * CREW_SECOND);
	end();
}

static int say(const void *argument UNUSED, void *result UNUSED, void *context UNUSED)
{
	fputs("said once\n", stdout); /* to a file, so it stays in the buffer */
	return 0;
}

TEST(what_workers_have_printed_is_there_after_close)
{
	char text[200] = "";
	int file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), before = dup(STDOUT_FILENO);
	dup2(file, STDOUT_FILENO); /* the family's stdout is that of crew_init */
	begin();
	struct crew_pool *pool = open_pool(CREW_POOL_PROCESSES, 1);
	for (int i = 0; i < 3; i++)
		must(wait_for(pool, submit(pool, say), NULL));
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
	dup2(before, STDOUT_FILENO);
	ck_assert_int_gt(pread(file, text, sizeof text - 1, 0), 0);
	ck_assert_str_eq(text, "said once\nsaid once\nsaid once\n");
	close(file);
	close(before);
}

/* ── initialisers ── */

static int initialize(void *context)
{
	struct shared *all = context;
	count_one(&all->calls);
	return 0;
}

TEST(the_initializer_runs_in_each_life)
{
	begin();
	struct crew_pool *pool = open_with((struct crew_pool_options){ .workers = 3, .initialize = initialize });
	await(look(&s->calls) == 3);
	must_be(-EOWNERDEAD, wait_for(pool, submit(pool, crash), NULL)); /* three deaths */
	await(look(&s->calls) == 6);
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

static int initialize_badly(void *context)
{
	struct shared *all = context;
	count_one(&all->calls);
	return -EACCES;
}

static int initialize_deadly(void *context UNUSED)
{
	return crash(NULL, NULL, NULL);
}

TEST(an_initializer_that_always_fails_fails_open, .count = 3)
{
	begin();
	struct crew_pool *pool = NULL;
	struct crew_pool_options options = { .workers = 2, .context = s,
		.initialize = index == 2 ? initialize_deadly : initialize_badly, .mode = index == 1 ? CREW_POOL_THREADS : CREW_POOL_PROCESSES };
	must_be(index == 2 ? -EOWNERDEAD : -EACCES, crew_pool_open(&pool, &options));
	ck_assert_ptr_null(pool);
	ck_assert_uint_lt(s->calls, 10); /* not looped */
	options.mode = CREW_POOL_SERIAL;
	options.initialize = initialize_badly;
	must_be(-EACCES, crew_pool_open(&pool, &options));
	end();
}

static int initialize_once(void *context)
{
	struct shared *all = context;
	return count_one(&all->calls) == 1 ? 0 : -EACCES;
}

TEST(one_worker_that_can_be_initialised_is_enough)
{
	begin();
	struct crew_pool *pool = open_with((struct crew_pool_options){ .workers = 3, .initialize = initialize_once });
	for (int i = 0; i < 10; i++)
		must(wait_for(pool, submit(pool, nothing), NULL));
	/* That one dies: then nobody can work any more, and the pool says so. */
	crew_ticket ticket = submit(pool, crash), pending = submit(pool, nothing);
	struct crew_failure failure;
	must_be(-EPIPE, wait_for(pool, ticket, &failure));
	ck_assert_int_eq(failure.error, -EACCES);
	must_be(-EPIPE, wait_for(pool, pending, NULL));
	must_be(-EPIPE, crew_pool_submit(pool, &(struct crew_task){ .function = nothing }, &ticket, CREW_FOREVER));
	double x = 0, y;
	must_be(-EPIPE, crew_pool_map(pool, square, &x, sizeof x, &y, sizeof y, 1, NULL));
	ck_assert_uint_lt(s->calls, 40);
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

/* ── workers come and go ── */

static int tell_pid(const void *argument UNUSED, void *result, void *context UNUSED)
{
	*(pid_t *)result = getpid();
	return 0;
}

TEST(a_worker_is_replaced_after_its_share_of_tasks)
{
	begin();
	struct crew_pool *pool = open_with((struct crew_pool_options){ .workers = 2, .tasks_per_worker = 5 });
	pid_t pids[100];
	must(crew_pool_map(pool, tell_pid, NULL, 0, pids, sizeof *pids, 100, &(struct crew_map_options){ .chunk = 1 }));
	for (int i = 0; i < 100; i++) {
		int same = 0;
		for (int k = 0; k < 100; k++)
			same += pids[i] == pids[k];
		ck_assert_int_le(same, 5);
	}
	ck_assert_uint_eq(stats_of(pool).deaths, 0); /* they left */
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

TEST(two_hundred_workers_work, .timeout = 60)
{
	begin();
	struct crew_pool *pool = open_pool(CREW_POOL_PROCESSES, 200);
	double in[2000], out[2000];
	for (int i = 0; i < 2000; i++)
		in[i] = i;
	must(crew_pool_map(pool, square, in, sizeof *in, out, sizeof *out, 2000, &(struct crew_map_options){ .chunk = 1 }));
	for (int i = 0; i < 2000; i++)
		ck_assert(out[i] == in[i] * in[i]);
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

TEST(a_fork_that_fails_takes_the_others_back)
{
	/* Uses of fork by the zygote's line until then: two for the keeper, one for the zygote. */
	setenv("CREW_FAULT", "fork:8:EAGAIN", 1);
	begin();
	struct crew_pool *pool = NULL;
	must_be(-EAGAIN, crew_pool_open(&pool, &(struct crew_pool_options){ .workers = 8 }));
	ck_assert_ptr_null(pool);
	struct crew_member members[8];
	await(crew_process_list(members, 8) == 3); /* this one, keeper, zygote */
	pool = open_pool(CREW_POOL_PROCESSES, 8);
	must(wait_for(pool, submit(pool, nothing), NULL));
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

TEST(a_fork_that_fails_later_is_tried_again)
{
	setenv("CREW_FAULT", "fork:6:EAGAIN", 1);
	begin();
	struct crew_pool *pool = open_pool(CREW_POOL_PROCESSES, 2);
	must_be(-EOWNERDEAD, wait_for(pool, submit(pool, crash), NULL)); /* three replacements, the first of which fails */
	must(wait_for(pool, submit(pool, nothing), NULL));
	await(crew_pool_worker_pid(pool, 0) && crew_pool_worker_pid(pool, 1));
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

static crew_time cpu_of(pid_t pid)
{
	clockid_t clock;
	struct timespec used;
	ck_assert_int_eq(clock_getcpuclockid(pid, &clock), 0);
	ck_assert_int_eq(clock_gettime(clock, &used), 0);
	return used.tv_sec * CREW_SECOND + used.tv_nsec;
}

TEST(an_idle_pool_uses_no_cpu)
{
	begin();
	struct crew_pool *pool = open_pool(CREW_POOL_PROCESSES, 2);
	must(wait_for(pool, submit(pool, nothing), NULL));
	harness_pause();
	pid_t pids[3] = { getpid(), crew_pool_worker_pid(pool, 0), crew_pool_worker_pid(pool, 1) };
	crew_time used = 0;
	for (int i = 0; i < 3; i++)
		used -= cpu_of(pids[i]);
	nanosleep(&(struct timespec){ .tv_nsec = 500 * MS }, NULL);
	for (int i = 0; i < 3; i++)
		used += cpu_of(pids[i]);
	ck_assert_msg(used < 20 * MS, "%.1f ms of CPU in 500 ms", (double)used / 1e6);
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

/* ── memory of attempts ── */

static int allocate(const void *argument, void *result, void *context)
{
	struct shared *all = context;
	void *block = NULL, *kept = NULL;
	if (crew_alloc(1000, &block) < 0 || crew_alloc(100, &kept) < 0)
		return -ENOMEM;
	crew_publish(kept);
	*(void **)result = block;
	switch (*(const int *)argument) {
	case 1: return -EIO;
	case 2: return count_one(&all->calls) == 1 ? crash(NULL, NULL, NULL) : 0;
	default: return 0;
	}
}

TEST(blocks_of_a_failed_attempt_are_freed)
{
	begin();
	struct crew_pool *pool = open_pool(CREW_POOL_PROCESSES, 1);
	must(wait_for(pool, submit(pool, nothing), NULL)); /* so that the pool has made room for tasks */
	int outcome[] = { 0, -EREMOTEIO, 0 };
	int left[] = { 2, 1, 3 }; /* what was published stays: of the dead attempt, too */
	for (int how = 0; how < 3; how++) {
		uint64_t before = blocks();
		crew_ticket ticket;
		void *block;
		must(crew_pool_submit(pool, &(struct crew_task){ .function = allocate, .argument = &how, .argument_size = sizeof how,
				.result_size = sizeof block }, &ticket, CREW_FOREVER));
		must_be(outcome[how], crew_pool_wait(pool, ticket, &block, CREW_FOREVER, NULL));
		ck_assert_uint_eq(blocks() - before, (uint64_t)left[how]);
		if (outcome[how] == 0) {
			memset(block, 1, 1000);
			crew_free(block);
		}
		blocks_before += (uint64_t)left[how] - (outcome[how] == 0);
	}
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

/* ── the opener dies, nested pools ── */

static int open_and_hang(const void *argument UNUSED, void *result UNUSED, void *context)
{
	struct shared *all = context;
	struct crew_pool *pool;
	if (count_one(&all->calls) > 1)
		return 0;
	int r = crew_pool_open(&pool, &(struct crew_pool_options){ .workers = 3, .context = all });
	if (r < 0)
		return r;
	unsigned char large[1000] = { 0 };
	for (int i = 0; i < 20; i++) {
		crew_ticket ticket;
		r = crew_pool_submit(pool, &(struct crew_task){ .function = i % 2 ? hang : nothing, .argument = large,
				.argument_size = sizeof large, .result_size = 500 }, &ticket, CREW_FOREVER);
		if (r < 0)
			return r;
	}
	for (unsigned i = 0; i < 3; i++)
		all->pid[i + 1] = crew_pool_worker_pid(pool, i);
	__atomic_store_n(&all->pid[0], getpid(), __ATOMIC_RELEASE);
	return hang(NULL, NULL, all);
}

TEST(workers_are_gone_when_their_opener_is_killed)
{
	begin();
	struct crew_pool *pool = open_pool(CREW_POOL_PROCESSES, 2);
	crew_ticket ticket = submit(pool, open_and_hang);
	await(look((uint32_t *)&s->pid[0]) && look(&s->started) >= 3);
	crew_time start = crew_now();
	ck_assert_int_eq(kill(s->pid[0], SIGKILL), 0);
	for (int i = 0; i < 4; i++)
		await(is_gone(s->pid[i]));
	ck_assert_int_lt(crew_now() - start, CREW_SECOND);
	must(wait_for(pool, ticket, NULL));
	must(crew_pool_close(pool, CREW_FOREVER)); /* frees what the dead opener left */
	end();
}

/* ── chaos ── */

TEST(under_chaos_each_result_comes_once, .timeout = 120)
{
	begin();
	struct crew_pool *pool = open_with((struct crew_pool_options){ .workers = 4, .chaos = 50, .chaos_seed = 1 });
	size_t count = 20000;
	double *in = malloc(count * sizeof *in), *out = malloc(count * sizeof *out);
	for (size_t i = 0; i < count; i++)
		in[i] = (double)i;
	crew_time until = crew_after(2 * CREW_SECOND);
	do { /* until there have been some kills */
		memset(out, 0xff, count * sizeof *out);
		must(crew_pool_map(pool, square, in, sizeof *in, out, sizeof *out, count, &(struct crew_map_options){ .chunk = 1 }));
		size_t wrong = 0;
		for (size_t i = 0; i < count; i++)
			wrong += out[i] != in[i] * in[i];
		ck_assert_uint_eq(wrong, 0);
	} while (crew_now() < until || stats_of(pool).chaos_kills < 5);
	struct crew_pool_stats stats = stats_of(pool);
	ck_assert_uint_eq(stats.submitted, stats.finished);
	ck_assert_uint_eq(stats.failed, 0);
	ck_assert_uint_eq(stats.deaths, stats.chaos_kills);
	free(in);
	free(out);
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

static int sleep_a_little(const void *argument UNUSED, void *result UNUSED, void *context UNUSED)
{
	nanosleep(&(struct timespec){ .tv_nsec = 2 * MS }, NULL);
	return 0;
}

TEST(chaos_is_not_charged)
{
	begin();
	struct crew_pool *pool = open_with((struct crew_pool_options){ .workers = 2, .chaos = 200, .attempts = 1 });
	must(crew_pool_map(pool, sleep_a_little, NULL, 0, NULL, 0, 400, &(struct crew_map_options){ .chunk = 1 }));
	struct crew_failure failure;
	must_be(-EOWNERDEAD, wait_for(pool, submit(pool, crash), &failure)); /* its own death is */
	ck_assert_int_eq(failure.signal, SIGSEGV);
	ck_assert_uint_gt(stats_of(pool).reruns, 0);
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

TEST(a_rate_near_zero_kills_nobody)
{
	begin();
	struct crew_pool *pool = open_with((struct crew_pool_options){ .workers = 2, .chaos = 1e-300 });
	must(crew_pool_map(pool, sleep_a_little, NULL, 0, NULL, 0, 20, &(struct crew_map_options){ .chunk = 1 }));
	ck_assert_uint_eq(stats_of(pool).deaths, 0);
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

static int allocate_and_free(const void *argument, void *result, void *context UNUSED)
{
	void *blocks[20];
	for (int i = 0; i < 20; i++)
		if (crew_alloc((size_t)(i + 1) * 50, &blocks[i]) < 0)
			return -ENOMEM;
	for (int i = 1; i < 20; i++)
		crew_free(blocks[i]);
	*(void **)result = blocks[0];
	return *(const int *)argument;
}

TEST(nothing_leaks_under_chaos, .timeout = 120)
{
	begin();
	struct crew_pool *pool = open_with((struct crew_pool_options){ .workers = 3, .chaos = 100, .chaos_seed = 7 });
	crew_time until = crew_after(2 * CREW_SECOND);
	int arguments[500] = { 0 };
	void *results[500];
	while (crew_now() < until || stats_of(pool).chaos_kills < 5) {
		must(crew_pool_map(pool, allocate_and_free, arguments, sizeof *arguments, results, sizeof *results, 500,
				&(struct crew_map_options){ .chunk = 1 }));
		for (int i = 0; i < 500; i++)
			crew_free(results[i]); /* exactly one block for each result */
	}
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

static int nested_sum(const void *argument, void *result, void *context UNUSED)
{
	struct crew_pool *pool;
	int r = crew_pool_open(&pool, &(struct crew_pool_options){ .workers = 2 });
	if (r < 0)
		return r;
	double in[50], out[50], sum = 0;
	for (int i = 0; i < 50; i++)
		in[i] = i + *(const int *)argument;
	r = crew_pool_map(pool, square, in, sizeof *in, out, sizeof *out, 50, &(struct crew_map_options){ .chunk = 5 });
	for (int i = 0; i < 50; i++)
		sum += out[i];
	*(double *)result = sum;
	int closed = crew_pool_close(pool, CREW_FOREVER);
	return r < 0 ? r : closed;
}

TEST(nested_pools_survive_chaos, .timeout = 120)
{
	begin();
	struct crew_pool *pool = open_with((struct crew_pool_options){ .workers = 2, .chaos = 10, .chaos_seed = 3 });
	int in[40];
	double out[40];
	for (int i = 0; i < 40; i++)
		in[i] = i;
	struct crew_failure failure;
	crew_time until = crew_after(2 * CREW_SECOND);
	do {
		int r = crew_pool_map(pool, nested_sum, in, sizeof *in, out, sizeof *out, 40,
				&(struct crew_map_options){ .chunk = 1, .failure = &failure });
		ck_assert_msg(r == 0, "%s: %s", crew_errname(r), failure.message);
		for (int i = 0; i < 40; i++) {
			double sum = 0;
			for (int k = 0; k < 50; k++)
				sum += (double)(k + i) * (k + i);
			ck_assert(out[i] == sum);
		}
	} while (crew_now() < until || stats_of(pool).chaos_kills < 3);
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

/* A storm from outside: charged to the tasks, so they have many attempts. */
TEST(a_storm_of_kills_loses_nothing, .timeout = 120)
{
	begin();
	struct crew_pool *pool = open_with((struct crew_pool_options){ .workers = 3, .attempts = 1000 });
	crew_time until = crew_after(2 * CREW_SECOND);
	crew_ticket tickets[64] = { 0 };
	double x[64], y;
	uint64_t kills = 0, random = 88172645463325252u;
	for (uint64_t i = 0; crew_now() < until || kills < 10; i++) {
		int k = (int)(i % 64);
		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		if (tickets[k]) {
			must(crew_pool_wait(pool, tickets[k], &y, crew_after(20 * CREW_SECOND), NULL));
			ck_assert(y == x[k] * x[k]);
		}
		x[k] = (double)i;
		must(crew_pool_submit(pool, &(struct crew_task){ .function = square, .argument = &x[k], .argument_size = sizeof x[k],
				.result_size = sizeof y }, &tickets[k], CREW_FOREVER));
		if (random % 500 == 0) {
			pid_t pid = crew_pool_worker_pid(pool, (unsigned)(random >> 32) % 3);
			if (pid > 0) /* a recycled pid is none of ours within that time */
				kills += kill(pid, SIGKILL) == 0;
		}
	}
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}
