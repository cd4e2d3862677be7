/*
 * death_sync.c - processes killed at every instruction of locks, semaphores, events, barriers, and of the heap
 *
 * Where somebody sleeps until the victim's operation, a thread of the test does (`sleeper`): however far the victim
 * came, the sleeper gets on, by the operation or by what the survivors do then.
 */
#include "family.h"

#include <pthread.h>
#include <unistd.h>
#include <crew/crew.h>
#include "death/killpoint.h"
#include "memory/heap.h"
#include "region/lane.h"
#include "sync/section.h"

#define SOON crew_after(8 * CREW_SECOND) /* far beyond CREW_NOTICE */

static struct shared {
	struct crew_lock lock;
	struct crew_rwlock rwlock;
	struct crew_semaphore semaphore;
	struct crew_counter counter;
	struct crew_event event;
	struct crew_condition condition;
	struct crew_barrier barrier;
	uint64_t a, b; /* equal, whenever the lock is free */
	void *block;
} *s;
static pthread_t thread;
static int slept; /* what the sleeper's call returned */

static void begin(void)
{
	s = family_begin(sizeof *s);
}

static void end(void)
{
	family_end(s);
}

/* Kill at every instruction of each in turn. */
static void kill_everywhere(const struct killpoint *points, unsigned count)
{
	begin();
	for (unsigned i = 0; i < count; i++) {
		int killed = killpoint(&points[i], s);
		if (killed < 0)
			SKIP("ptrace is refused here");
		ck_assert_int_gt(killed, 5);
	}
	end();
}

/* A lane of the test's own that sleeps on this word. */
static bool sleeps_on(const void *word)
{
	struct crew__lane *lane;
	for (uint32_t n = 1; (lane = crew__lane_at(n)); n++)
		if (__atomic_load_n(&lane->asleep_on, __ATOMIC_ACQUIRE) == crew__offset(word))
			return true;
	return false;
}

/* In the victim: wait until the test's thread sleeps there. */
static void await_sleeper(const void *word)
{
	crew_time until = crew_after(10 * CREW_SECOND);
	while (!sleeps_on(word))
		if (crew_now() > until)
			_exit(8);
}

/* ---- lock ---- */

static void warm_lock(void *shared)
{
	(void)shared;
	do_or_exit(crew_lock_acquire(&s->lock, CREW_FOREVER));
	crew_lock_release(&s->lock);
}

static void add_under_lock(void *shared)
{
	(void)shared;
	do_or_exit(crew_lock_acquire(&s->lock, CREW_FOREVER));
	__atomic_fetch_add(&s->a, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&s->b, 1, __ATOMIC_RELAXED);
	crew_lock_release(&s->lock);
}

/* The lock is to be had; if it is said to be whole, so is what it guards. */
static void check_lock(void *shared, bool completed)
{
	(void)shared;
	int r = crew_lock_acquire(&s->lock, SOON);
	ck_assert_int_ge(r, 0);
	ck_assert(r == 0 || !completed);
	if (r == 0)
		ck_assert_uint_eq(s->a, s->b);
	else
		crew_lock_repaired(&s->lock);
	s->a = s->b;
	crew_lock_release(&s->lock);
	must(crew_lock_acquire(&s->lock, CREW_POLL));
	crew_lock_release(&s->lock);
}

static void *acquire_once_held(void *unused)
{
	while (!crew_lock_is_held(&s->lock))
		;
	slept = crew_lock_acquire(&s->lock, SOON);
	if (slept >= 0)
		crew_lock_release(&s->lock);
	return unused;
}

static void start_lock_sleeper(void *shared)
{
	(void)shared;
	ck_assert_int_eq(pthread_create(&thread, NULL, acquire_once_held, NULL), 0);
}

static void hold_until_it_sleeps(void *shared)
{
	warm_lock(shared);
	do_or_exit(crew_lock_acquire(&s->lock, CREW_FOREVER));
	await_sleeper(&s->lock);
}

static void release_lock(void *shared)
{
	(void)shared;
	crew_lock_release(&s->lock);
}

static void check_lock_sleeper(void *shared, bool completed)
{
	pthread_join(thread, NULL);
	ck_assert_int_ge(slept, 0);
	check_lock(shared, completed);
}

TEST(a_lock_is_free_whole_or_said_to_be_broken, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .prepare = warm_lock, .operation = add_under_lock, .check = check_lock },
		{ .before = start_lock_sleeper, .prepare = hold_until_it_sleeps, .operation = release_lock,
			.check = check_lock_sleeper },
	};
	kill_everywhere(points, 2);
}

/* ---- rwlock ---- */

static void warm_rwlock(void *shared)
{
	(void)shared;
	do_or_exit(crew_rwlock_read(&s->rwlock, CREW_FOREVER));
	crew_rwlock_release(&s->rwlock);
	do_or_exit(crew_rwlock_write(&s->rwlock, CREW_FOREVER));
	crew_rwlock_release(&s->rwlock);
}

static void read_once(void *shared)
{
	(void)shared;
	do_or_exit(crew_rwlock_read(&s->rwlock, CREW_FOREVER));
	crew_rwlock_release(&s->rwlock);
}

static void write_once(void *shared)
{
	(void)shared;
	do_or_exit(crew_rwlock_write(&s->rwlock, CREW_FOREVER));
	__atomic_fetch_add(&s->a, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&s->b, 1, __ATOMIC_RELAXED);
	crew_rwlock_release(&s->rwlock);
}

static void check_read(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	must(crew_rwlock_write(&s->rwlock, SOON));
	crew_rwlock_release(&s->rwlock);
}

static void check_write(void *shared, bool completed)
{
	(void)shared;
	int r = crew_rwlock_read(&s->rwlock, SOON);
	ck_assert_int_ge(r, 0);
	ck_assert(r == 0 || !completed);
	if (r == 0)
		ck_assert_uint_eq(s->a, s->b);
	crew_rwlock_release(&s->rwlock);
	/* One that died on its way in or out has touched nothing: a reader may pass while writers are still warned. */
	int w = crew_rwlock_write(&s->rwlock, SOON);
	ck_assert_int_ge(w, r);
	ck_assert(w == 0 || !completed);
	if (w)
		crew_rwlock_repaired(&s->rwlock);
	s->a = s->b;
	crew_rwlock_release(&s->rwlock);
}

TEST(a_rwlock_forgets_dead_readers_and_tells_of_dead_writers, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .prepare = warm_rwlock, .operation = read_once, .check = check_read },
		{ .prepare = warm_rwlock, .operation = write_once, .check = check_write },
	};
	kill_everywhere(points, 2);
}

/* ---- semaphore, counter ---- */

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

static void take_and_give(void *shared)
{
	(void)shared;
	do_or_exit(crew_semaphore_acquire(&s->semaphore, CREW_FOREVER));
	do_or_exit(crew_semaphore_acquire(&s->semaphore, CREW_FOREVER));
	do_or_exit(crew_semaphore_release(&s->semaphore));
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
	slept = crew_semaphore_acquire(&s->semaphore, SOON);
	if (slept == 0)
		slept = crew_semaphore_release(&s->semaphore);
	return unused;
}

static void one_permit(void *shared)
{
	(void)shared;
	crew_semaphore_init(&s->semaphore, 1);
}

static void take_it(void *shared)
{
	warm_semaphore(shared);
	do_or_exit(crew_semaphore_acquire(&s->semaphore, CREW_FOREVER));
}

static void give(void *shared)
{
	(void)shared;
	do_or_exit(crew_semaphore_release(&s->semaphore));
}

static void check_one_permit(void *shared, bool completed)
{
	(void)completed;
	acquire_permit(shared);
	must(slept);
	ck_assert_uint_eq(crew_semaphore_free(&s->semaphore), 1);
}

TEST(all_permits_come_back, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .before = three_permits, .prepare = warm_semaphore, .operation = take_and_give, .check = check_permits },
		{ .before = one_permit, .prepare = take_it, .operation = give,
			.check = check_one_permit },
	};
	kill_everywhere(points, 2);
}

static void one_unit(void *shared)
{
	(void)shared;
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

static void check_posted(void *shared, bool completed)
{
	(void)shared;
	uint32_t value = crew_counter_value(&s->counter);
	ck_assert(value == 2 || (value == 1 && !completed));
}

static void check_taken(void *shared, bool completed)
{
	(void)shared;
	uint32_t value = crew_counter_value(&s->counter);
	ck_assert(value == 0 || (value == 1 && !completed));
}

TEST(a_unit_is_there_or_not_taken_or_not, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .before = one_unit, .prepare = warm_counter, .operation = post_one, .check = check_posted },
		{ .before = one_unit, .prepare = warm_counter, .operation = wait_for_one, .check = check_taken },
	};
	kill_everywhere(points, 2);
}

/* ---- event, condition, barrier: a thread sleeps until the victim's operation ---- */

static void *wait_for_event(void *unused)
{
	slept = crew_event_wait(&s->event, SOON);
	return unused;
}

static void clear_event_and_sleeper(void *shared)
{
	(void)shared;
	must(crew_event_clear(&s->event));
	ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_event, NULL), 0);
}

static void await_event_sleeper(void *shared)
{
	(void)shared;
	do_or_exit(crew_event_clear(&s->event));
	await_sleeper(&s->event.word_);
}

static void set_event(void *shared)
{
	(void)shared;
	do_or_exit(crew_event_set(&s->event));
}

static void check_event(void *shared, bool completed)
{
	(void)shared;
	bool set = crew_event_is_set(&s->event);
	ck_assert(set || !completed);
	crew__lane_reap_all(); /* wakes whom the dead owed it */
	if (!set)
		must(crew_event_set(&s->event));
	crew_time before = crew_now();
	pthread_join(thread, NULL);
	must(slept);
	ck_assert_int_lt(crew_now() - before, CREW_SECOND);
}

TEST(whoever_waits_for_an_event_gets_through, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .before = clear_event_and_sleeper, .prepare = await_event_sleeper, .operation = set_event, .check = check_event },
	};
	kill_everywhere(points, 1);
}

static void *wait_for_change(void *unused)
{
	int r = crew_lock_acquire(&s->lock, SOON);
	while (r >= 0 && __atomic_load_n(&s->a, __ATOMIC_ACQUIRE) == 0) {
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
	s->a = 0;
	ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_change, NULL), 0);
}

static void await_change_sleeper(void *shared)
{
	warm_lock(shared);
	await_sleeper(&s->condition.sequence_);
}

static void change_and_notify(void *shared)
{
	(void)shared;
	do_or_exit(crew_lock_acquire(&s->lock, CREW_FOREVER));
	__atomic_store_n(&s->a, 1, __ATOMIC_RELEASE);
	crew_lock_release(&s->lock);
	do_or_exit(crew_condition_notify(&s->condition, 1));
}

/* Before its notify a dead notifier owes nobody anything: so the test notifies, too. */
static void check_condition(void *shared, bool completed)
{
	(void)shared;
	int r = crew_lock_acquire(&s->lock, SOON);
	ck_assert_int_ge(r, 0);
	ck_assert(s->a == 1 || !completed);
	if (r == CREW_OWNER_DIED)
		crew_lock_repaired(&s->lock);
	__atomic_store_n(&s->a, 1, __ATOMIC_RELEASE);
	crew_lock_release(&s->lock);
	if (!completed)
		must(crew_condition_notify(&s->condition, 1));
	pthread_join(thread, NULL);
	ck_assert_int_ge(slept, 0);
}

TEST(no_notify_is_swallowed, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .before = no_change_and_sleeper, .prepare = await_change_sleeper, .operation = change_and_notify,
			.check = check_condition },
	};
	kill_everywhere(points, 1);
}

static void *meet(void *unused)
{
	slept = crew_barrier_wait(&s->barrier, NULL, SOON);
	return unused;
}

static void fresh_barrier_and_sleeper(void *shared)
{
	(void)shared;
	crew_barrier_init(&s->barrier, 2);
	ck_assert_int_eq(pthread_create(&thread, NULL, meet, NULL), 0);
}

static void await_party(void *shared)
{
	(void)shared;
	do_or_exit(crew_event_set(&s->event)); /* so that it has its lane */
	await_sleeper(&s->barrier.bell_);
}

static void arrive(void *shared)
{
	(void)shared;
	do_or_exit(crew_barrier_wait(&s->barrier, NULL, CREW_FOREVER));
}

static void check_barrier(void *shared, bool completed)
{
	(void)shared;
	crew__lane_reap_all();
	if (crew_barrier_waiting(&s->barrier) == 1 && !crew_barrier_is_broken(&s->barrier)) {
		ck_assert(!completed); /* it died before it was a party: somebody else may still come */
		must(crew_barrier_wait(&s->barrier, NULL, SOON));
		must(crew_barrier_leave(&s->barrier));
	}
	pthread_join(thread, NULL);
	ck_assert_msg(slept == 0 || (slept == -ECANCELED && !completed), "%s", crew_errname(slept));
}

TEST(whoever_waits_at_a_barrier_meets_the_others_or_hears_that_it_broke, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .before = fresh_barrier_and_sleeper, .prepare = await_party, .operation = arrive, .check = check_barrier },
	};
	kill_everywhere(points, 1);
}

/* ---- heap ---- */

static struct crew__lane *my_lane(void)
{
	struct crew__lane *lane;
	do_or_exit(crew__lane_self(&lane));
	return lane;
}

static void warm_heap(void *shared)
{
	void *p;
	(void)shared;
	do_or_exit(crew_alloc(100, &p));
	crew_free(p);
	crew__attempt_begin(my_lane()); /* what is allocated from here on dies with the victim */
}

static void alloc_small(void *shared)
{
	void *p;
	(void)shared;
	do_or_exit(crew_alloc(100, &p));
	do_or_exit(crew_alloc(5000, &p));
}

static void alloc_and_free_large(void *shared)
{
	void *p;
	(void)shared;
	do_or_exit(crew_alloc_aligned(200000, 65536, &p));
	crew_free(p);
}

static void alloc_in_hand(void *shared)
{
	void *p;
	(void)shared;
	do_or_exit(crew__alloc_mine(my_lane(), 0, 300, &p));
}

static void check_no_block(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	crew__lane_reap_all();
	ck_assert_uint_eq(blocks(), blocks_before);
}

static void a_block(void *shared)
{
	(void)shared;
	must(crew_alloc(100, &s->block));
}

static void free_it(void *shared)
{
	(void)shared;
	crew_free(s->block);
}

static void check_freed(void *shared, bool completed)
{
	(void)shared;
	crew__lane_reap_all();
	uint64_t now = blocks();
	ck_assert(now == blocks_before || (now == blocks_before + 1 && !completed));
	if (now != blocks_before)
		crew_free(s->block);
}

TEST(the_heap_is_as_before_or_after, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .prepare = warm_heap, .operation = alloc_small, .check = check_no_block },
		{ .prepare = warm_heap, .operation = alloc_and_free_large, .check = check_no_block },
		{ .prepare = warm_heap, .operation = alloc_in_hand, .check = check_no_block },
		{ .before = a_block, .prepare = warm_heap, .operation = free_it, .check = check_freed },
	};
	kill_everywhere(points, 4);
}
