/*
 * wait.c - waiting for the first of several things, with threads as lanes
 *
 * Readiness must come as fast as for the thing alone: no test here is rescued by a time slice
 * (crew_observation.healed_by_slice stays 0).
 */
#include "family.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <crew/crew.h>
#include "base/probe.h"
#include "base/sys.h"
#include "region/lane.h"

static struct shared {
	struct crew_pipe pipe;
	struct crew_pipe pipes[70];
	struct crew_queue queue, other;
	struct crew_event event, automatic;
	struct crew_counter counter;
	int result[8];
} *s;

static void begin(void)
{
	s = family_begin(sizeof *s);
	crew_event_init(&s->automatic, CREW_EVENT_AUTO);
}

static void end(void)
{
	crew_pipe_fini(&s->pipe);
	crew_queue_fini(&s->queue);
	family_end(s);
}

/* One of every kind that needs no other process, and a pipe(2) as the descriptor. */
enum { PIPE_A, PIPE_B, QUEUE, EVENT, AUTOMATIC, COUNTER, FD, KINDS };
static struct crew_wait_item items[KINDS];
static int ends[2];

static void make_items(void)
{
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	items[PIPE_A] = (struct crew_wait_item){ .kind = CREW_WAIT_PIPE_A, .object = &s->pipe };
	items[PIPE_B] = (struct crew_wait_item){ .kind = CREW_WAIT_PIPE_B, .object = &s->pipe };
	items[QUEUE] = (struct crew_wait_item){ .kind = CREW_WAIT_QUEUE, .object = &s->queue };
	items[EVENT] = (struct crew_wait_item){ .kind = CREW_WAIT_EVENT, .object = &s->event };
	items[AUTOMATIC] = (struct crew_wait_item){ .kind = CREW_WAIT_EVENT, .object = &s->automatic };
	items[COUNTER] = (struct crew_wait_item){ .kind = CREW_WAIT_COUNTER, .object = &s->counter };
	items[FD] = (struct crew_wait_item){ .kind = CREW_WAIT_FD, .fd = ends[0], .events = POLLIN };
}

static void close_items(void)
{
	close(ends[0]);
	close(ends[1]);
}

static void make_ready(int kind)
{
	switch (kind) {
	case PIPE_A: must(crew_pipe_send(&s->pipe, CREW_END_B, "x", 1, CREW_POLL)); break;
	case PIPE_B: must(crew_pipe_send(&s->pipe, CREW_END_A, "x", 1, CREW_POLL)); break;
	case QUEUE: must(crew_queue_put(&s->queue, "x", 1, CREW_POLL)); break;
	case EVENT: must(crew_event_set(&s->event)); break;
	case AUTOMATIC: must(crew_event_set(&s->automatic)); break;
	case COUNTER: must(crew_counter_post(&s->counter, 1)); break;
	case FD: ck_assert_int_eq(write(ends[1], "x", 1), 1); break;
	default: ck_abort();
	}
}

static void take_back(int kind)
{
	char x;
	switch (kind) {
	case PIPE_A: must(crew_pipe_receive(&s->pipe, CREW_END_A, &x, 1, NULL, CREW_POLL)); break;
	case PIPE_B: must(crew_pipe_receive(&s->pipe, CREW_END_B, &x, 1, NULL, CREW_POLL)); break;
	case QUEUE: must(crew_queue_get(&s->queue, &x, 1, NULL, CREW_POLL)); break;
	case EVENT: must(crew_event_clear(&s->event)); break;
	case AUTOMATIC: must(crew_event_wait(&s->automatic, CREW_POLL)); break;
	case COUNTER: must(crew_counter_wait(&s->counter, CREW_POLL)); break;
	case FD: ck_assert_int_eq(read(ends[0], &x, 1), 1); break;
	default: ck_abort();
	}
}

static void expect_ready(int count, unsigned which)
{
	for (int i = 0; i < count; i++)
		ck_assert_msg(!items[i].ready == !(which & 1u << i), "item %d: ready is %d", i, items[i].ready);
}

TEST(what_is_ready_is_seen_without_a_wait)
{
	begin();
	make_items();
	must_be(-ETIMEDOUT, crew_wait_any(items, KINDS, CREW_POLL));
	expect_ready(KINDS, 0);
	for (int kind = 0; kind < KINDS; kind++) {
		make_ready(kind);
		ck_assert_int_eq(crew_wait_any(items, KINDS, CREW_FOREVER), 1);
		expect_ready(KINDS, 1u << kind);
		ck_assert_int_eq(crew_wait_any(items, KINDS, CREW_POLL), 1); /* nothing is taken */
		take_back(kind);
		must_be(-ETIMEDOUT, crew_wait_any(items, KINDS, CREW_POLL));
	}
	for (int kind = 0; kind < KINDS; kind++)
		make_ready(kind);
	ck_assert_int_eq(crew_wait_any(items, KINDS, CREW_FOREVER), KINDS);
	expect_ready(KINDS, (1u << KINDS) - 1);
	ck_assert_int_eq(items[FD].ready, POLLIN);
	for (int kind = 0; kind < KINDS; kind++)
		take_back(kind);
	close_items();
	end();
}

static void *wait_for_any(void *count)
{
	return (void *)(intptr_t)crew_wait_any(items, *(unsigned *)count, CREW_FOREVER);
}

static void each_kind_wakes(unsigned count)
{
	for (int round = 0; round < 20; round++)
		for (int kind = 0; kind < (int)count; kind++) {
			pthread_t waiter = start(wait_for_any, &count);
			await(asleep() == 1);
			make_ready(kind);
			void *r;
			pthread_join(waiter, &r);
			ck_assert_int_eq((int)(intptr_t)r, 1);
			expect_ready((int)count, 1u << kind);
			take_back(kind);
		}
}

TEST(each_kind_wakes_a_sleeper)
{
	begin();
	make_items();
	each_kind_wakes(FD); /* all but the descriptor: no thread is started */
	close_items();
	end();
}

TEST(each_kind_wakes_a_sleeper_among_descriptors)
{
	begin();
	make_items();
	each_kind_wakes(KINDS);
	close_items();
	end();
}

TEST(without_futex_waitv_all_works_by_turns)
{
	setenv("CREW_DISABLE", "futex_waitv", 1);
	begin();
	ck_assert(!crew__has(CREW__FEATURE_FUTEX_WAITV));
	make_items();
	each_kind_wakes(KINDS);
	close_items();
	crew__family.region->late = 0; /* here it is the turns that find the news */
	end();
}

TEST(the_deadline_is_kept)
{
	begin();
	make_items();
	for (int count = 1; count <= KINDS; count++) {
		crew_time before = crew_now();
		must_be(-ETIMEDOUT, crew_wait_any(items, (unsigned)count, crew_after(120 * MS)));
		ck_assert_int_ge(crew_now() - before, 120 * MS);
		ck_assert_int_lt(crew_now() - before, 1000 * MS);
	}
	must_be(-ETIMEDOUT, crew_wait_any(items, KINDS, crew_now() - CREW_SECOND));
	must_be(-ETIMEDOUT, crew_wait_any(items + FD, 1, crew_after(30 * MS)));
	close_items();
	end();
}

TEST(what_is_wrong_is_told)
{
	begin();
	make_items();
	static struct crew_wait_item many[65];
	must_be(-EINVAL, crew_wait_any(many, 65, CREW_POLL));
	must_be(-EINVAL, crew_wait_any(many, 64, CREW_FOREVER)); /* nothing to wait for */
	must_be(-EINVAL, crew_wait_any(NULL, 0, CREW_FOREVER));
	many[3] = (struct crew_wait_item){ .kind = (enum crew_wait_kind)99, .object = s };
	must_be(-EINVAL, crew_wait_any(many, 4, CREW_POLL));
	many[3] = (struct crew_wait_item){ .kind = CREW_WAIT_QUEUE };
	must_be(-EINVAL, crew_wait_any(many, 4, CREW_POLL));
	many[3] = (struct crew_wait_item){ .kind = CREW_WAIT_FD, .fd = -1, .events = POLLIN };
	must_be(-EBADF, crew_wait_any(many, 4, CREW_POLL));
	int closed = dup(ends[0]);
	close(closed);
	many[3].fd = closed;
	must_be(-EBADF, crew_wait_any(many, 4, CREW_POLL));
	must(crew_event_set(&s->event));
	many[0] = items[EVENT];
	must_be(-EBADF, crew_wait_any(many, 4, CREW_POLL));
	ck_assert_int_eq(many[0].ready, 0);
	close_items();
	end();
}

TEST(skipped_items_are_skipped)
{
	begin();
	make_items();
	items[PIPE_A].kind = items[EVENT].kind = CREW_WAIT_NOTHING;
	make_ready(EVENT);
	must_be(-ETIMEDOUT, crew_wait_any(items, KINDS, CREW_POLL));
	make_ready(FD);
	ck_assert_int_eq(crew_wait_any(items, KINDS, CREW_FOREVER), 1);
	expect_ready(KINDS, 1u << FD);
	close_items();
	end();
}

TEST(the_end_of_a_pipe_and_of_a_queue_are_ready)
{
	begin();
	make_items();
	must(crew_pipe_close(&s->pipe, CREW_END_A));
	must(crew_queue_close(&s->queue, true));
	ck_assert_int_eq(crew_wait_any(items + PIPE_B, 2, CREW_FOREVER), 2);
	must_be(CREW_END_OF_DATA, crew_pipe_receive(&s->pipe, CREW_END_B, NULL, 0, NULL, CREW_POLL));
	must_be(CREW_END_OF_DATA, crew_queue_get(&s->queue, NULL, 0, NULL, CREW_POLL));
	close_items();
	end();
}

TEST(descriptors_report_what_poll_reports)
{
	begin();
	make_items();
	int pair[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	struct crew_wait_item w[4] = {
		{ .kind = CREW_WAIT_FD, .fd = pair[0], .events = POLLIN },
		{ .kind = CREW_WAIT_FD, .fd = pair[0], .events = POLLOUT },
		{ .kind = CREW_WAIT_FD, .fd = ends[0], .events = POLLIN },
		{ .kind = CREW_WAIT_QUEUE, .object = &s->queue },
	};
	ck_assert_int_eq(crew_wait_any(w, 4, CREW_FOREVER), 1);
	ck_assert_int_eq(w[1].ready, POLLOUT);
	char full[65536] = { 0 };
	while (send(pair[0], full, sizeof full, MSG_DONTWAIT) > 0)
		;
	must_be(-ETIMEDOUT, crew_wait_any(w, 4, crew_after(10 * MS))); /* the same descriptor twice, in the poller too */
	close(pair[1]);
	ck_assert_int_eq(crew_wait_any(w, 4, CREW_FOREVER), 2);
	ck_assert(w[0].ready & POLLHUP);
	close(ends[1]);
	ck_assert_int_eq(crew_wait_any(w + 2, 2, CREW_FOREVER), 1);
	ck_assert_int_eq(w[2].ready, POLLHUP);
	close(pair[0]);
	close(ends[0]);
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	w[2] = (struct crew_wait_item){ .kind = CREW_WAIT_FD, .fd = file, .events = POLLIN };
	ck_assert_int_eq(crew_wait_any(w + 2, 2, CREW_FOREVER), 1); /* a plain file always is */
	w[2].events = 0;
	must_be(-ETIMEDOUT, crew_wait_any(w + 2, 2, crew_after(10 * MS)));
	close(file);
	end();
}

TEST(sixty_four_pipes_can_be_waited_for)
{
	begin();
	struct crew_wait_item many[64];
	for (int i = 0; i < 64; i++) {
		many[i] = (struct crew_wait_item){ .kind = CREW_WAIT_PIPE_A, .object = &s->pipes[i] };
		must_be(-ETIMEDOUT, crew_pipe_poll(&s->pipes[i], CREW_END_B, CREW_POLL)); /* both ends have an owner */
	}
	must_be(-ETIMEDOUT, crew_wait_any(many, 64, crew_after(20 * MS)));
	must(crew_pipe_send(&s->pipes[63], CREW_END_B, "x", 1, CREW_POLL));
	ck_assert_int_eq(crew_wait_any(many, 64, CREW_FOREVER), 1);
	ck_assert_int_eq(many[63].ready, 1);
	crew_pipe_fini(&s->pipes[63]);
	end();
}

/* ---- others who wait ---- */

static void *take_one(void *kind)
{
	char x;
	switch ((int)(intptr_t)kind) {
	case QUEUE: return (void *)(intptr_t)crew_queue_get(&s->queue, &x, 1, NULL, CREW_FOREVER);
	case AUTOMATIC: return (void *)(intptr_t)crew_event_wait(&s->automatic, CREW_FOREVER);
	default: return (void *)(intptr_t)crew_counter_wait(&s->counter, CREW_FOREVER);
	}
}

static void *wait_with_own_items(void *unused)
{
	(void)unused;
	struct crew_wait_item own[FD];
	memcpy(own, items, sizeof own);
	return (void *)(intptr_t)crew_wait_any(own, FD, CREW_FOREVER);
}

TEST(a_wake_up_that_is_not_used_is_passed_on)
{
	begin();
	make_items();
	static const int kinds[] = { QUEUE, AUTOMATIC, COUNTER };
	for (int round = 0; round < 30; round++)
		for (int i = 0; i < 3; i++) {
			pthread_t waiters[2], taker;
			for (int w = 0; w < 2; w++) {
				waiters[w] = start(wait_with_own_items, NULL);
				await(asleep() == (unsigned)w + 1);
			}
			taker = start(take_one, (void *)(intptr_t)kinds[i]);
			await(asleep() == 3);
			make_ready(kinds[i]); /* for one: but the waiters do not take it */
			void *r;
			pthread_join(taker, &r);
			must((int)(intptr_t)r);
			make_ready(kinds[i]); /* they may have been too late to see the first */
			for (int w = 0; w < 2; w++)
				pthread_join(waiters[w], NULL);
			take_back(kinds[i]);
		}
	close_items();
	end();
}

static void *pump_descriptor(void *unused)
{
	(void)unused;
	for (int i = 0; i < 2000; i++) {
		char x;
		int r = crew_wait_any(items, KINDS, CREW_FOREVER);
		if (r < 1)
			return (void *)(intptr_t)(r ? r : -1);
		for (int k = 0; k < KINDS; k++)
			if (items[k].ready && k == FD)
				ck_assert_int_eq(read(ends[0], &x, 1), 1);
			else if (items[k].ready)
				must(crew_queue_get(&s->queue, &x, 1, NULL, CREW_POLL));
	}
	return NULL;
}

TEST(queue_and_descriptor_in_turns_lose_nothing, .timeout = 60)
{
	begin();
	make_items();
	pthread_t pump = start(pump_descriptor, NULL);
	for (int i = 0; i < 1000; i++) {
		make_ready(FD);
		make_ready(QUEUE);
		if (i % 3 == 0)
			await(crew_queue_length(&s->queue) == 0);
	}
	await(crew_queue_length(&s->queue) == 0);
	make_ready(FD); /* rounds that saw both at once are made up for */
	for (int i = 0; i < 1000; i++)
		make_ready(FD);
	void *r;
	pthread_join(pump, &r);
	must((int)(intptr_t)r);
	close_items();
	end();
}

TEST(a_forked_child_and_a_new_family_start_without_the_poller)
{
	begin();
	make_items();
	must_be(-ETIMEDOUT, crew_wait_any(items, KINDS, crew_after(MS)));
	pid_t pid = fork();
	if (pid == 0) {
		struct pollfd none;
		int r = crew_wait_any(items, KINDS, crew_after(MS));
		_exit(r == -ENOTCONN && poll(&none, 0, 0) == 0 ? 0 : 1);
	}
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	must_be(-ETIMEDOUT, crew_wait_any(items, KINDS, crew_after(MS)));
	close_items();
	end();
	/* In a forked process TSan runs another thread of its own from the first pthread_create on. */
	must(crew_init(NULL));
	must(crew_alloc_zeroed(sizeof *s, (void **)&s));
	make_items();
	must_be(-ETIMEDOUT, crew_wait_any(items, KINDS, crew_after(MS)));
	close_items();
	end();
}
