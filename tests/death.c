/*
 * death.c - processes killed at every instruction of an operation
 *
 * What must hold after each: the operation has taken effect as a whole or not at all, the survivors get on, and in
 * the end the heap has no block more than in the beginning.
 */
#include "family.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>
#include <crew/crew.h>
#include "channel/ring.h"
#include "death/killpoint.h"
#include "region/lane.h"
#include "sync/section.h"

#define LONG (10 * CREW_SECOND) /* a survivor that waits so long has not got on */

static struct shared {
	struct crew_queue queue;
	struct crew_pipe pipe;
	struct crew_message message; /* the victim's */
	uint32_t guard, bell, news;  /* of a section */
	int dead;                    /* the victim is; nobody need wait for it */
	int done;                    /* the sleeper has its message */
} *s;
static void begin(void)
{
	s = family_begin(sizeof *s);
}

static void end(void)
{
	crew_queue_fini(&s->queue);
	crew_pipe_fini(&s->pipe);
	family_end(s);
}

static void check_heap(uint64_t more)
{
	crew__lane_reap_all();
	struct crew__ring *ring = crew__ring_of(&s->queue);
	if (ring) /* no node is left with the dead */
		ck_assert_uint_eq(crew__nodes_in(ring, 1u << CREW__ALLOC | 1u << CREW__TAKEN), 0);
	ck_assert_uint_eq(blocks(), blocks_before + more + (ring ? crew__ring_blocks(ring) : 0));
}

/* ---- the end of a section ---- */

static uint32_t bell_before;

static void no_news(void *shared)
{
	(void)shared;
	s->news = 0;
	bell_before = s->bell;
}

static void join_in(void *shared)
{
	struct crew__lane *lane;
	(void)shared;
	do_or_exit(crew__lane_self(&lane));
}

static void tell_news(void *shared)
{
	struct crew__lane *lane;
	(void)shared;
	do_or_exit(crew__enter(&lane, &s->guard, CREW_FOREVER));
	crew__set32(lane, &s->news, 1);
	crew__leave_and_ring(lane, &s->guard, &s->bell, 1);
}

static bool news_can_be_had(void)
{
	return s->news && !(s->guard & CREW__OWNER);
}

/* Whoever enters the moment that the guard is free may free the memory, so the bell must have changed by then. */
static void watch_news(void *shared)
{
	(void)shared;
	ck_assert(!news_can_be_had() || s->bell != bell_before);
}

static void check_news(void *shared, bool completed)
{
	(void)shared;
	crew__lane_reap_all();
	ck_assert_uint_eq(s->guard & CREW__OWNER, 0);
	ck_assert(s->news || !completed);
	ck_assert(!s->news || s->bell != bell_before); /* or who is about to sleep on it would */
}

TEST(once_a_guard_is_free_its_bell_has_changed, .timeout = 300)
{
	static const struct killpoint telling = { .before = no_news, .prepare = join_in, .operation = tell_news,
		.watch = watch_news, .check = check_news };
	begin();
	if (killpoint(&telling, s) < 0)
		SKIP("ptrace is refused here");
	end();
}

/* ---- queue ---- */

static void put_number(uint32_t n)
{
	must(crew_queue_put(&s->queue, &n, sizeof n, crew_after(LONG)));
}

static uint32_t get_number(void)
{
	uint32_t n;
	must(crew_queue_get(&s->queue, &n, sizeof n, NULL, crew_after(LONG)));
	return n;
}

/* In the victim: once through everything, so that lane and symbols are there. */
static void warm_up(void *shared)
{
	uint32_t n = 0;
	struct crew_message m;
	(void)shared;
	do_or_exit(crew_queue_put(&s->queue, &n, sizeof n, CREW_FOREVER));
	do_or_exit(crew_queue_take(&s->queue, &m, CREW_FOREVER));
	do_or_exit(crew_queue_done(&s->queue, &m));
	do_or_exit(crew_queue_put(&s->queue, &n, sizeof n, CREW_FOREVER));
	do_or_exit(crew_queue_get(&s->queue, &n, sizeof n, NULL, CREW_FOREVER));
}

static void two_inside(void *shared)
{
	warm_up(shared);
	for (uint32_t n = 1; n <= 2; n++)
		do_or_exit(crew_queue_put(&s->queue, &n, sizeof n, CREW_FOREVER));
}

static void put_7(void *shared)
{
	uint32_t n = 7;
	(void)shared;
	do_or_exit(crew_queue_put(&s->queue, &n, sizeof n, CREW_FOREVER));
}

/* The queue was empty, or had 1 and 2 inside; now there may be a 7 behind. */
static void check_put(void *shared, bool completed)
{
	(void)shared;
	put_number(8);
	uint32_t length = crew_queue_length(&s->queue), sevens = 0;
	for (uint32_t i = 0; i < length; i++) {
		uint32_t n = get_number();
		sevens += n == 7;
		ck_assert(n == 7 || n == 8 || n == i + 1);
		if (i == length - 1)
			ck_assert_uint_eq(n, 8);
	}
	ck_assert_uint_le(sevens, 1);
	ck_assert(sevens || !completed);
	must(crew_queue_join(&s->queue, crew_after(LONG)));
	check_heap(0);
}

TEST(a_put_is_whole_or_not_at_all, .timeout = 300)
{
	static const struct killpoint empty = { .prepare = warm_up, .operation = put_7, .check = check_put };
	static const struct killpoint filled = { .prepare = two_inside, .operation = put_7, .check = check_put };
	begin();
	if (killpoint(&empty, s) < 0)
		SKIP("ptrace is refused here");
	ck_assert_int_gt(killpoint(&filled, s), 0);
	end();
}

/* Of 1, 2 inside 1 may be gone, or be there again at the attempt that is told; the order is right, and others get on. */
static void check_first(bool may_be_there, bool may_be_gone, uint32_t least_attempt)
{
	crew__lane_reap_all();
	put_number(3);
	for (uint32_t wanted = 1; wanted <= 3; wanted++) {
		struct crew_message m;
		must(crew_queue_take(&s->queue, &m, crew_after(LONG)));
		uint32_t n = *(const uint32_t *)m.data, attempt = m.attempt;
		must(crew_queue_done(&s->queue, &m));
		if (wanted == 1 && n == 2 && may_be_gone)
			wanted = 2;
		ck_assert_uint_eq(n, wanted);
		ck_assert(n != 1 || may_be_there);
		ck_assert_uint_ge(attempt, n == 1 ? least_attempt : 1);
		ck_assert_uint_le(attempt, n == 1 ? 2 : 1);
	}
	ck_assert_uint_eq(crew_queue_length(&s->queue), 0);
	must(crew_queue_join(&s->queue, crew_after(LONG)));
	check_heap(0);
}

static void get_one(void *shared)
{
	uint32_t n;
	(void)shared;
	do_or_exit(crew_queue_get(&s->queue, &n, sizeof n, NULL, CREW_FOREVER));
}

static void check_get(void *shared, bool completed)
{
	(void)shared;
	check_first(!completed, true, 1);
}

TEST(a_get_takes_one_message_or_none, .timeout = 300)
{
	static const struct killpoint point = { .prepare = two_inside, .operation = get_one, .check = check_get };
	begin();
	if (killpoint(&point, s) < 0)
		SKIP("ptrace is refused here");
	end();
}

static void take_one(void *shared)
{
	(void)shared;
	do_or_exit(crew_queue_take(&s->queue, &s->message, CREW_FOREVER));
}

static void check_take(void *shared, bool completed)
{
	(void)shared;
	check_first(true, false, completed ? 2 : 1);
}

static void take_and_done(void *shared)
{
	take_one(shared);
	do_or_exit(crew_queue_done(&s->queue, &s->message));
}

static void check_take_and_done(void *shared, bool completed)
{
	(void)shared;
	check_first(!completed, true, 1);
}

TEST(a_message_taken_comes_back_until_it_is_done, .timeout = 300)
{
	static const struct killpoint take = { .prepare = two_inside, .operation = take_one, .check = check_take };
	static const struct killpoint both = { .prepare = two_inside, .operation = take_and_done, .check = check_take_and_done };
	begin();
	if (killpoint(&take, s) < 0)
		SKIP("ptrace is refused here");
	ck_assert_int_gt(killpoint(&both, s), 0);
	end();
}

static void close_at_once(void *shared)
{
	(void)shared;
	do_or_exit(crew_queue_close(&s->queue, false));
}

static void check_close(void *shared, bool completed)
{
	(void)shared;
	crew__lane_reap_all();
	struct crew_message m;
	int r = crew_queue_take(&s->queue, &m, CREW_POLL);
	ck_assert(r == CREW_END_OF_DATA || (r == 0 && !completed));
	if (r == 0) {
		ck_assert_uint_eq(*(const uint32_t *)m.data, 1);
		must(crew_queue_done(&s->queue, &m));
		ck_assert_uint_eq(get_number(), 2);
	} else {
		ck_assert_uint_eq(crew_queue_length(&s->queue), 0);
		must(crew_queue_join(&s->queue, crew_after(LONG)));
	}
	check_heap(0);
	crew_queue_fini(&s->queue);
}

TEST(a_close_at_once_half_done_is_finished_by_others, .timeout = 300)
{
	static const struct killpoint point = { .prepare = two_inside, .operation = close_at_once, .check = check_close };
	begin();
	if (killpoint(&point, s) < 0)
		SKIP("ptrace is refused here");
	end();
}

/* ---- others sleep ---- */

static bool is_set(const int *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static pthread_t sleeper, putter;

static void *sleep_in_get(void *before)
{
	/* Behind the victim, if that is to sleep too. */
	await(!before || asleep() >= 1 || is_set(&s->dead));
	uintptr_t got = get_number();
	__atomic_store_n(&s->done, 1, __ATOMIC_RELEASE);
	return (void *)got;
}

static void start_sleeper(void *shared)
{
	(void)shared;
	s->dead = s->done = 0;
	ck_assert_int_eq(pthread_create(&sleeper, NULL, sleep_in_get, NULL), 0);
	await(asleep() == 1);
}

/* With a 7 in the queue the sleeper has it, without a slice having to end; else it sleeps on, and gets the 8. */
static void check_sleeper(void *shared, bool completed)
{
	(void)shared;
	void *got;
	__atomic_store_n(&s->dead, 1, __ATOMIC_RELEASE);
	crew__lane_reap_all();
	bool there = crew_queue_length(&s->queue) > 0;
	if (there)
		await(crew_queue_length(&s->queue) == 0);
	put_number(8);
	pthread_join(sleeper, &got);
	ck_assert((uintptr_t)got == 7 || ((uintptr_t)got == 8 && !there && !completed));
	if ((uintptr_t)got == 7)
		ck_assert_uint_eq(get_number(), 8);
	ck_assert_uint_le(crew__family.region->healed, 2); /* a slice may end just as the wake-up comes */
	check_heap(0);
}

static void join_quietly(void *shared)
{
	(void)shared;
	do_or_exit(crew_queue_length(&s->queue) ? -1 : 0);
}

TEST(a_wake_up_that_the_dead_owed_is_made_up_for, .timeout = 300)
{
	static const struct killpoint point = { .before = start_sleeper, .prepare = join_quietly, .operation = put_7,
		.check = check_sleeper, .single = true };
	begin();
	if (killpoint(&point, s) < 0)
		SKIP("ptrace is refused here");
	end();
}

static void *put_when_two_sleep(void *unused)
{
	(void)unused;
	await(asleep() >= 2 || is_set(&s->dead));
	put_number(7);
	await(is_set(&s->done) || is_set(&s->dead));
	if (!is_set(&s->dead)) /* for once it was the other who came first: one more for the victim */
		put_number(9);
	return NULL;
}

/* The victim sleeps first, so the one wake-up of the put goes to it, nearly always. */
static void start_sleeper_and_putter(void *shared)
{
	static int behind;
	(void)shared;
	s->dead = s->done = 0;
	ck_assert_int_eq(pthread_create(&sleeper, NULL, sleep_in_get, &behind), 0);
	ck_assert_int_eq(pthread_create(&putter, NULL, put_when_two_sleep, NULL), 0);
}

static void check_second_sleeper(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	__atomic_store_n(&s->dead, 1, __ATOMIC_RELEASE);
	pthread_join(putter, NULL);
	crew__lane_reap_all();
	await(is_set(&s->done) || crew_queue_length(&s->queue) == 0);
	put_number(8);
	pthread_join(sleeper, NULL);
	while (crew_queue_length(&s->queue) > 0)
		get_number();
	ck_assert_uint_le(crew__family.region->healed, 2); /* a slice may end just as the wake-up comes */
	check_heap(0);
}

TEST(a_wake_up_that_the_dead_was_given_goes_to_another, .timeout = 300)
{
	static const struct killpoint point = { .before = start_sleeper_and_putter, .prepare = join_quietly,
		.operation = get_one, .check = check_second_sleeper, .single = true, .seconds = 4 };
	begin();
	if (killpoint(&point, s) < 0)
		SKIP("ptrace is refused here");
	end();
}

/* ---- the sweeper is killed ---- */

static void *take_two_and_end(void *unused)
{
	struct crew_message m;
	(void)unused;
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	return NULL;
}

/* Leases of a dead thread, whose lane comes before the victim's. */
static void leave_leases(void *shared)
{
	pthread_t thread;
	(void)shared;
	for (uint32_t n = 1; n <= 3; n++)
		put_number(n);
	ck_assert_int_eq(pthread_create(&thread, NULL, take_two_and_end, NULL), 0);
	pthread_join(thread, NULL);
}

static void join_family(void *shared)
{
	(void)shared;
	do_or_exit(crew_queue_length(&s->queue) == 1 ? 0 : -1);
}

static void sweep(void *shared)
{
	(void)shared;
	crew__lane_reap_all();
}

static void check_sweep(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	crew__lane_reap_all();
	crew__lane_reap_all(); /* the first may have met the dead while another still swept */
	unsigned seen = 0;
	for (int i = 0; i < 3; i++) {
		struct crew_message m;
		must(crew_queue_take(&s->queue, &m, crew_after(LONG)));
		uint32_t n = *(const uint32_t *)m.data;
		seen |= 1u << n;
		ck_assert_uint_eq(m.attempt, n == 3 ? 1 : 2);
		must(crew_queue_done(&s->queue, &m));
	}
	ck_assert_uint_eq(seen, 14);
	must(crew_queue_join(&s->queue, CREW_POLL));
	check_heap(0);
}

TEST(a_sweep_that_dies_is_finished_by_the_next, .timeout = 300)
{
	static const struct killpoint point = { .before = leave_leases, .prepare = join_family, .operation = sweep,
		.check = check_sweep, .seconds = 3 };
	begin();
	if (killpoint(&point, s) < 0)
		SKIP("ptrace is refused here");
	end();
}

/* ---- pipe ---- */

static void greet(void *shared)
{
	(void)shared;
	do_or_exit(crew_pipe_send(&s->pipe, CREW_END_B, "hi", 2, CREW_FOREVER));
}

static void send_one(void *shared)
{
	(void)shared;
	do_or_exit(crew_pipe_send(&s->pipe, CREW_END_B, "whole", 5, CREW_FOREVER));
}

static void check_send(void *shared, bool completed)
{
	(void)shared;
	char text[10];
	size_t size;
	must(crew_pipe_receive(&s->pipe, CREW_END_A, text, sizeof text, &size, crew_after(LONG)));
	ck_assert_uint_eq(size, 2);
	int r = crew_pipe_receive(&s->pipe, CREW_END_A, text, sizeof text, &size, crew_after(LONG));
	if (r == 0) {
		ck_assert_uint_eq(size, 5);
		ck_assert_int_eq(memcmp(text, "whole", 5), 0);
		r = crew_pipe_receive(&s->pipe, CREW_END_A, text, sizeof text, &size, crew_after(LONG));
	} else {
		ck_assert(!completed);
	}
	must_be(CREW_END_OF_DATA, r);
	must_be(-EPIPE, crew_pipe_send(&s->pipe, CREW_END_A, "x", 1, CREW_POLL));
	check_heap(0);
	crew_pipe_fini(&s->pipe);
}

static void send_two(void *shared)
{
	(void)shared;
	must(crew_pipe_send(&s->pipe, CREW_END_A, "one", 3, CREW_POLL));
	must(crew_pipe_send(&s->pipe, CREW_END_A, "two", 3, CREW_POLL));
}

static void receive_one(void *shared)
{
	char text[10];
	(void)shared;
	do_or_exit(crew_pipe_receive(&s->pipe, CREW_END_B, text, sizeof text, NULL, CREW_FOREVER));
}

static void check_receive(void *shared, bool completed)
{
	(void)shared;
	must_be(CREW_END_OF_DATA, crew_pipe_receive(&s->pipe, CREW_END_A, NULL, 0, NULL, crew_after(LONG)));
	must_be(-EPIPE, crew_pipe_send(&s->pipe, CREW_END_A, "x", 1, CREW_POLL));
	ck_assert_uint_ge(s->pipe.way_[CREW_END_B].count, 1);
	ck_assert_uint_le(s->pipe.way_[CREW_END_B].count, completed ? 1 : 2);
	check_heap(s->pipe.way_[CREW_END_B].count);
	crew_pipe_fini(&s->pipe);
	check_heap(0);
}

static void attach(void *shared)
{
	(void)shared;
	do_or_exit(crew_pipe_poll(&s->pipe, CREW_END_B, CREW_POLL));
}

TEST(a_message_through_a_pipe_is_whole_or_not_at_all, .timeout = 300)
{
	static const struct killpoint send = { .prepare = greet, .operation = send_one, .check = check_send };
	static const struct killpoint receive = { .before = send_two, .prepare = attach, .operation = receive_one,
		.check = check_receive };
	begin();
	if (killpoint(&send, s) < 0)
		SKIP("ptrace is refused here");
	ck_assert_int_gt(killpoint(&receive, s), 0);
	end();
}
