/*
 * latch.c - once and latch, with threads as lanes; killed at every instruction: tests/death_undo.c
 */
#include "family.h"

#include <unistd.h>
#include <crew/crew.h>

static struct shared {
	struct crew_once once;
	struct crew_latch latch;
	uint32_t runs, again, inside;
	uint64_t value;
} *s;

#define LONG crew_after(10 * CREW_SECOND)

static int set_value(void *argument, bool again)
{
	ck_assert_uint_eq(__atomic_fetch_add(&s->inside, 1, __ATOMIC_RELAXED), 0);
	s->runs++;
	s->again += again;
	s->value = 42;
	harness_pause();
	__atomic_fetch_sub(&s->inside, 1, __ATOMIC_RELAXED);
	return argument ? *(int *)argument : 0;
}

static void *call_once(void *unused)
{
	must(crew_once(&s->once, set_value, NULL, LONG));
	ck_assert(crew_once_is_done(&s->once));
	ck_assert_uint_eq(s->value, 42);
	return unused;
}

TEST(it_runs_exactly_once)
{
	pthread_t thread[6];
	s = family_begin(sizeof *s);
	struct crew_once private = { 0 };
	must_be(-EINVAL, crew_once(&private, set_value, NULL, CREW_POLL));
	for (int i = 0; i < 6; i++)
		thread[i] = start(call_once, NULL);
	for (int i = 0; i < 6; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(s->runs, 1);
	ck_assert_uint_eq(s->again, 0);
	family_end(s);
}

TEST(a_run_that_fails_leaves_it_to_the_next)
{
	s = family_begin(sizeof *s);
	int error = -ENOSPC;
	must_be(-ENOSPC, crew_once(&s->once, set_value, &error, LONG));
	ck_assert(!crew_once_is_done(&s->once));
	must(crew_once(&s->once, set_value, NULL, LONG));
	must(crew_once(&s->once, set_value, &error, LONG));
	ck_assert_uint_eq(s->runs, 2);
	ck_assert_uint_eq(s->again, 0);
	family_end(s);
}

static int call_itself(void *unused, bool again)
{
	(void)again;
	return crew_once(&s->once, call_itself, unused, LONG);
}

static int end_inside(void *unused, bool again)
{
	(void)unused;
	(void)again;
	__atomic_fetch_add(&s->runs, 1, __ATOMIC_RELAXED);
	pthread_exit(NULL);
}

static void *call_and_end(void *unused)
{
	return crew_once(&s->once, end_inside, unused, LONG) ? unused : NULL;
}

TEST(a_dead_runners_work_is_done_again)
{
	s = family_begin(sizeof *s);
	must_be(-EDEADLK, crew_once(&s->once, call_itself, NULL, LONG));
	run(call_and_end, NULL);
	must(crew_once(&s->once, set_value, NULL, LONG));
	ck_assert_uint_eq(s->runs, 2);
	ck_assert_uint_eq(s->again, 1);
	family_end(s);
}

/* ---- latch ---- */

static void *wait_for_latch(void *ret)
{
	*(int *)ret = crew_latch_wait(&s->latch, LONG);
	return NULL;
}

static void *count_two(void *unused)
{
	must(crew_latch_down(&s->latch, 1));
	must(crew_latch_down(&s->latch, 1));
	return unused;
}

TEST(a_latch_opens_with_the_last_count)
{
	int result[3];
	pthread_t thread[3];
	s = family_begin(sizeof *s);
	must(crew_latch_wait(&s->latch, CREW_POLL)); /* zero: open */
	must_be(-EINVAL, crew_latch_down(&s->latch, 1));
	must_be(-EINVAL, crew_latch_owe(&s->latch));
	crew_latch_init(&s->latch, 5);
	must_be(-ETIMEDOUT, crew_latch_wait(&s->latch, CREW_POLL));
	must_be(-ETIMEDOUT, crew_latch_wait(&s->latch, crew_after(MS)));
	for (int i = 0; i < 3; i++)
		thread[i] = start(wait_for_latch, &result[i]);
	await(asleep() == 3);
	run(count_two, NULL);
	run(count_two, NULL);
	ck_assert_uint_eq(crew_latch_count(&s->latch), 1);
	must_be(-EINVAL, crew_latch_down(&s->latch, 2));
	must(crew_latch_down(&s->latch, 1));
	for (int i = 0; i < 3; i++) {
		pthread_join(thread[i], NULL);
		must(result[i]);
	}
	family_end(s);
}

static void *owe_two_and_pay_one(void *unused)
{
	must(crew_latch_owe(&s->latch));
	must(crew_latch_owe(&s->latch));
	must(crew_latch_down(&s->latch, 1));
	return unused;
}

static void *owe_and_pay(void *unused)
{
	must(crew_latch_owe(&s->latch));
	must(crew_latch_down(&s->latch, 1));
	return unused;
}

TEST(what_a_dead_thread_owed_is_counted_and_told)
{
	int result;
	s = family_begin(sizeof *s);
	crew_latch_init(&s->latch, 3);
	pthread_t thread = start(wait_for_latch, &result);
	await(asleep() == 1);
	run(owe_and_pay, NULL);
	crew__lane_reap_all();
	ck_assert_uint_eq(crew_latch_count(&s->latch), 2);
	run(owe_two_and_pay_one, NULL);
	pthread_join(thread, NULL);
	must_be(CREW_OWNER_DIED, result);
	crew_latch_init(&s->latch, 1);
	run(owe_and_pay, NULL);
	must(crew_latch_wait(&s->latch, LONG));
	family_end(s);
}
