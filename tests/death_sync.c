/* death_sync.c - processes killed at every instruction of semaphore, counter, event, condition, barrier */
#include "death/rows.h"

static struct shared {
	struct crew_lock lock;
	struct crew_semaphore semaphore;
	struct crew_counter counter;
	struct crew_event event;
	struct crew_condition condition;
	struct crew_barrier barrier;
	uint64_t change;
} *s;

static void begin(void)
{
	s = family_begin(sizeof *s);
}

static void end(void)
{
	family_end(s);
}

/* ---- semaphore ---- */

static void three_permits(void *shared)
{
	(void)shared;
	crew_semaphore_init(&s->semaphore, 3);
}

static void warm_semaphore(void *shared)
{
	(void)shared;
	do_or_exit(crew_semaphore_acquire(&s->semaphore, CREW_FOREVER));
	do_or_exit(crew_semaphore_release(&s->semaphore));
}

static void take_two_give_one(void *shared)
{
	(void)shared;
	do_or_exit(crew_semaphore_acquire(&s->semaphore, CREW_FOREVER));
	do_or_exit(crew_semaphore_acquire(&s->semaphore, CREW_FOREVER));
	do_or_exit(crew_semaphore_release(&s->semaphore));
}

static void others_permit(void *shared, int order)
{
	(void)shared;
	must(crew_semaphore_acquire(&s->semaphore, SOON));
	if (order == 1 && crew_semaphore_acquire(&s->semaphore, CREW_POLL) == 0)
		must(crew_semaphore_release(&s->semaphore));
	must(crew_semaphore_release(&s->semaphore));
}

static void check_permits(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	for (int i = 0; i < 3; i++)
		must(crew_semaphore_acquire(&s->semaphore, SOON));
	must_be(-ETIMEDOUT, crew_semaphore_acquire(&s->semaphore, CREW_POLL));
	for (int i = 0; i < 3; i++)
		must(crew_semaphore_release(&s->semaphore));
}

static void *acquire_permit(void *unused)
{
	await(crew_semaphore_free(&s->semaphore) == 0);
	slept = crew_semaphore_acquire(&s->semaphore, SOON);
	if (slept == 0)
		slept = crew_semaphore_release(&s->semaphore);
	return unused;
}

static void one_permit_and_sleeper(void *shared)
{
	(void)shared;
	crew_semaphore_init(&s->semaphore, 1);
	start_sleeper(acquire_permit);
}

static void take_it(void *shared)
{
	(void)shared;
	do_or_exit(crew_semaphore_acquire(&s->semaphore, CREW_FOREVER));
	await_sleeper();
}

static void give(void *shared)
{
	(void)shared;
	do_or_exit(crew_semaphore_release(&s->semaphore));
}

static void check_one_permit(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	must(end_sleeper());
	sweep_all();
	ck_assert_uint_eq(crew_semaphore_free(&s->semaphore), 1);
}

/* ---- counter ---- */

static uint32_t more; /* units that others have posted */

static void one_unit(void *shared)
{
	(void)shared;
	more = 0;
	s->counter = (struct crew_counter){ 0 };
	must(crew_counter_post(&s->counter, 1));
}

static void warm_counter(void *shared)
{
	(void)shared;
	do_or_exit(crew_counter_wait(&s->counter, CREW_FOREVER));
	do_or_exit(crew_counter_post(&s->counter, 1));
}

static void post_one(void *shared)
{
	(void)shared;
	do_or_exit(crew_counter_post(&s->counter, 1));
}

static void wait_for_one(void *shared)
{
	(void)shared;
	do_or_exit(crew_counter_wait(&s->counter, CREW_FOREVER));
}

static void others_count(void *shared, int order)
{
	(void)shared;
	if (order == 0) {
		must(crew_counter_post(&s->counter, 2));
		must(crew_counter_wait(&s->counter, SOON));
		more = 1;
	} else if (crew_counter_wait(&s->counter, CREW_POLL) == 0) {
		must(crew_counter_post(&s->counter, 1));
	}
}

static void check_posted(void *shared, bool completed)
{
	(void)shared;
	uint32_t value = crew_counter_value(&s->counter) - more;
	ck_assert(value == 2 || (value == 1 && !completed));
}

static void check_taken(void *shared, bool completed)
{
	(void)shared;
	uint32_t value = crew_counter_value(&s->counter) - more;
	ck_assert(value == 0 || (value == 1 && !completed));
}

static void *wait_for_unit(void *unused)
{
	__atomic_store_n(&slept, crew_counter_wait(&s->counter, SOON), __ATOMIC_RELEASE);
	return unused;
}

static void no_unit_and_sleeper(void *shared)
{
	(void)shared;
	s->counter = (struct crew_counter){ 0 };
	slept = 1;
	start_sleeper(wait_for_unit);
}

static void join_and_await_sleeper(void *shared)
{
	struct crew__lane *lane;
	(void)shared;
	do_or_exit(crew__lane_self(&lane));
	await_sleeper();
}

/* Whoever sleeps where the unit has come gets it at once; else it sleeps on, and gets the test's. */
static void check_counter_sleeper(void *shared, bool completed)
{
	(void)shared;
	sweep_all(); /* wakes whom the dead owed it; also for nothing */
	await(crew_counter_value(&s->counter) || asleep() == 1 || __atomic_load_n(&slept, __ATOMIC_ACQUIRE) != 1);
	if (crew_counter_value(&s->counter) == 0 && asleep() == 1) {
		ck_assert(!completed);
		must(crew_counter_post(&s->counter, 1));
	}
	must(end_sleeper());
	ck_assert_uint_eq(crew_counter_value(&s->counter), 0);
}

/* ---- event ---- */

static void *wait_for_event(void *unused)
{
	slept = crew_event_wait(&s->event, SOON);
	return unused;
}

static void manual_event_and_sleeper(void *shared)
{
	(void)shared;
	crew_event_init(&s->event, 0);
	start_sleeper(wait_for_event);
}

static void automatic_event_and_sleeper(void *shared)
{
	(void)shared;
	crew_event_init(&s->event, CREW_EVENT_AUTO);
	start_sleeper(wait_for_event);
}

static void set_event(void *shared)
{
	(void)shared;
	do_or_exit(crew_event_set(&s->event));
}

static void check_manual_event(void *shared, bool completed)
{
	(void)shared;
	bool set = crew_event_is_set(&s->event);
	ck_assert(set || !completed);
	sweep_all(); /* wakes whom the dead owed it */
	if (!set)
		must(crew_event_set(&s->event));
	must(end_sleeper());
	ck_assert(crew_event_is_set(&s->event));
}

static void check_automatic_event(void *shared, bool completed)
{
	(void)shared;
	sweep_all();
	if (!crew_event_is_set(&s->event) && asleep() == 1) {
		ck_assert(!completed);
		must(crew_event_set(&s->event));
	}
	must(end_sleeper());
	ck_assert(!crew_event_is_set(&s->event));
}

static void automatic_event_set(void *shared)
{
	(void)shared;
	crew_event_init(&s->event, CREW_EVENT_AUTO);
	must(crew_event_set(&s->event));
}

static void warm_event(void *shared)
{
	(void)shared;
	do_or_exit(crew_event_set(&s->event));
}

static void pass(void *shared)
{
	(void)shared;
	do_or_exit(crew_event_wait(&s->event, CREW_FOREVER));
}

static void others_pass(void *shared, int order)
{
	(void)shared;
	int r = crew_event_wait(&s->event, order == 0 ? CREW_POLL : crew_after(CREW_MILLISECOND));
	ck_assert(r == 0 || r == -ETIMEDOUT);
	if (r == 0)
		must(crew_event_set(&s->event));
}

static void check_passed(void *shared, bool completed)
{
	(void)shared;
	int r = crew_event_wait(&s->event, CREW_POLL);
	ck_assert(r == -ETIMEDOUT || (r == 0 && !completed));
	must_be(-ETIMEDOUT, crew_event_wait(&s->event, CREW_POLL));
}

/* ---- condition ---- */

static void *wait_for_change(void *unused)
{
	int r = crew_lock_acquire(&s->lock, SOON);
	while (r >= 0 && __atomic_load_n(&s->change, __ATOMIC_ACQUIRE) == 0) {
		if (r == CREW_OWNER_DIED)
			crew_lock_repaired(&s->lock);
		r = crew_condition_wait(&s->condition, &s->lock, SOON);
	}
	slept = r;
	if (r >= 0)
		crew_lock_release(&s->lock);
	return unused;
}

static void no_change_and_sleeper(void *shared)
{
	(void)shared;
	s->change = 0;
	start_sleeper(wait_for_change);
}

static void change_and_notify(void *shared)
{
	(void)shared;
	do_or_exit(crew_lock_acquire(&s->lock, CREW_FOREVER));
	__atomic_store_n(&s->change, 1, __ATOMIC_RELEASE);
	crew_lock_release(&s->lock);
	do_or_exit(crew_condition_notify(&s->condition, 1));
}

/* Before its notify a dead notifier owes nobody anything: so the test notifies, too. */
static void check_condition(void *shared, bool completed)
{
	(void)shared;
	int r = crew_lock_acquire(&s->lock, SOON);
	ck_assert_int_ge(r, 0);
	ck_assert(s->change == 1 || !completed);
	if (r == CREW_OWNER_DIED)
		crew_lock_repaired(&s->lock);
	__atomic_store_n(&s->change, 1, __ATOMIC_RELEASE);
	crew_lock_release(&s->lock);
	if (!completed)
		must(crew_condition_notify(&s->condition, 1));
	ck_assert_int_ge(end_sleeper(), 0);
}

/* ---- barrier ---- */

static void *meet(void *unused)
{
	slept = crew_barrier_wait(&s->barrier, NULL, SOON);
	return unused;
}

static void fresh_barrier_and_sleeper(void *shared)
{
	(void)shared;
	crew_barrier_init(&s->barrier, 2, 0);
	start_sleeper(meet);
}

static void fresh_shrinking_barrier_and_sleeper(void *shared)
{
	(void)shared;
	crew__lane_reap_all(); /* the last sleeper has ended as a party, too: not of the new one */
	crew_barrier_init(&s->barrier, 2, CREW_BARRIER_SHRINK);
	start_sleeper(meet);
}

static void arrive(void *shared)
{
	(void)shared;
	do_or_exit(crew_barrier_wait(&s->barrier, NULL, CREW_FOREVER));
}

static void check_barrier(void *shared, bool completed)
{
	(void)shared;
	sweep_all();
	if (crew_barrier_waiting(&s->barrier) == 1 && !crew_barrier_is_broken(&s->barrier)) {
		ck_assert(!completed); /* it died before it was a party: somebody else may still come */
		must(crew_barrier_wait(&s->barrier, NULL, SOON));
		must(crew_barrier_leave(&s->barrier));
	}
	end_sleeper();
	ck_assert_msg(slept == 0 || (slept == -ECANCELED && !completed), "%s", crew_errname(slept));
}

static void check_shrinking_barrier(void *shared, bool completed)
{
	check_barrier(shared, completed);
	must(slept);
	ck_assert(!crew_barrier_is_broken(&s->barrier));
}

static void abort_it(void *shared)
{
	(void)shared;
	do_or_exit(crew_barrier_abort(&s->barrier));
}

static void others_look(void *shared, int order)
{
	(void)shared;
	if (order == 1)
		must(crew_barrier_abort(&s->barrier));
}

static void check_aborted(void *shared, bool completed)
{
	(void)shared;
	ck_assert(crew_barrier_is_broken(&s->barrier) || !completed);
	sweep_all();
	if (!crew_barrier_is_broken(&s->barrier))
		must(crew_barrier_abort(&s->barrier));
	must_be(-ECANCELED, end_sleeper());
	must_be(-ECANCELED, crew_barrier_wait(&s->barrier, NULL, SOON));
	must(crew_barrier_reset(&s->barrier));
	must_be(-ETIMEDOUT, crew_barrier_wait(&s->barrier, NULL, CREW_POLL));
	must(crew_barrier_leave(&s->barrier));
}

static const struct killpoint operations[] = {
	{ "semaphore_acquire_and_release", .before = three_permits, .prepare = warm_semaphore, .operation = take_two_give_one,
		.others = others_permit, .check = check_permits },
	{ "semaphore_release_to_a_sleeper", .before = one_permit_and_sleeper, .prepare = take_it, .operation = give,
		.check = check_one_permit },
	{ "counter_post", .before = one_unit, .prepare = warm_counter, .operation = post_one, .others = others_count,
		.lock_free = true, .check = check_posted },
	{ "counter_wait", .before = one_unit, .prepare = warm_counter, .operation = wait_for_one, .others = others_count,
		.lock_free = true, .check = check_taken },
	{ "counter_post_to_a_sleeper", .before = no_unit_and_sleeper, .prepare = join_and_await_sleeper, .operation = post_one,
		.check = check_counter_sleeper },
	{ "event_set_for_a_sleeper", .before = manual_event_and_sleeper, .prepare = join_and_await_sleeper, .operation = set_event,
		.check = check_manual_event },
	{ "event_set_automatic_for_a_sleeper", .before = automatic_event_and_sleeper, .prepare = join_and_await_sleeper,
		.operation = set_event, .check = check_automatic_event },
	{ "event_wait_automatic", .before = automatic_event_set, .prepare = warm_event, .operation = pass, .others = others_pass,
		.lock_free = true, .check = check_passed },
	{ "condition_notify", .before = no_change_and_sleeper, .prepare = join_and_await_sleeper, .operation = change_and_notify,
		.check = check_condition },
	{ "barrier_wait", .before = fresh_barrier_and_sleeper, .prepare = join_and_await_sleeper, .operation = arrive,
		.check = check_barrier },
	{ "barrier_wait, shrinking", .before = fresh_shrinking_barrier_and_sleeper, .prepare = join_and_await_sleeper,
		.operation = arrive, .check = check_shrinking_barrier },
	{ "barrier_abort", .before = fresh_barrier_and_sleeper, .prepare = join_and_await_sleeper, .operation = abort_it,
		.others = others_look, .check = check_aborted },
};
KILL_EVERYWHERE(operations, begin, s, end)
