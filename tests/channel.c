/*
 * channel.c - queues, pipes and wait-any between processes, which may be killed
 *
 * What the promise is: a message is whole or not there; whoever waits is told of a death within CREW_NOTICE
 * (crew/lock.h); and after all of it the heap has no block more than before.
 */
#include "family.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <crew/crew.h>
#include "region/lane.h"

#define SOON (5 * CREW_NOTICE) /* on a busy machine */

enum { STORM = 200000 };

static struct shared {
	struct crew_pipe pipe, back;
	struct crew_queue queue;
	int mode;              /* what the child shall do */
	int stop;
	int told[8];           /* by the child */
	uint64_t put[8];       /* storm: how many puts of each producer have returned */
	uint8_t got[8][STORM]; /* storm: how often each message arrived */
} *s;
static void begin(void)
{
	s = family_begin(sizeof *s);
}

static void end(void)
{
	crew_pipe_fini(&s->pipe);
	crew_pipe_fini(&s->back);
	crew_queue_fini(&s->queue);
	family_end(s);
}

static struct crew_process *start_child(crew_process_fn *function, enum crew_process_method method)
{
	struct crew_process *child;
	must(crew_process_start(&child, &(struct crew_process_options){
			.function = function, .argument = s, .method = method }));
	return child;
}

static void end_child(struct crew_process *child)
{
	int r = crew_process_signal(child, SIGKILL);
	ck_assert(r == 0 || r == -ESRCH);
	must(crew_process_join(child, CREW_FOREVER, NULL));
	must(crew_process_close(child));
}

static void tell(int *where, int what)
{
	__atomic_store_n(where, what, __ATOMIC_RELEASE);
}

static int told(const int *where)
{
	return __atomic_load_n(where, __ATOMIC_ACQUIRE);
}

static void rest_in_peace(void)
{
	for (;;)
		pause();
}

/* ---- pipe ---- */

static int echo(void *argument, size_t size)
{
	struct shared *shared = argument;
	static char data[300000];
	int r;
	(void)size;
	while ((r = crew_pipe_receive(&shared->pipe, CREW_END_B, data, sizeof data, &size, CREW_FOREVER)) == 0)
		if (crew_pipe_send(&shared->pipe, CREW_END_B, data, size, CREW_FOREVER) < 0)
			return 1;
	return r == CREW_END_OF_DATA ? 0 : 2;
}

static const char *method_name(int index)
{
	static char names[2][60] = { "messages_of_any_size_come_back_from_a_zygote_child", "messages_of_any_size_come_back_from_a_forked_child" };
	return names[index];
}

TEST(messages_of_any_size_come_back, .count = 2, .label = method_name)
{
	begin();
	struct crew_process *child = start_child(echo, (enum crew_process_method)index);
	static char data[300000], back[300000];
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (char)(i * 2654435761u >> 9);
	for (size_t size = 0; size <= sizeof data; size += 1 + size / 3) {
		size_t got = 1;
		must(crew_pipe_send(&s->pipe, CREW_END_A, data, size, CREW_FOREVER));
		must(crew_pipe_receive(&s->pipe, CREW_END_A, back, sizeof back, &got, CREW_FOREVER));
		ck_assert_uint_eq(got, size);
		ck_assert_int_eq(memcmp(data, back, size), 0);
	}
	must(crew_pipe_close(&s->pipe, CREW_END_A));
	struct crew_status status;
	must(crew_process_join(child, CREW_FOREVER, &status));
	ck_assert_int_eq(status.code, 0);
	must(crew_process_close(child));
	end();
}

enum { IS_KILLED, RETURNS, EXITS, CLOSES, ENDS };

static int say_three_and_end(void *argument, size_t size)
{
	struct shared *shared = argument;
	(void)size;
	for (int i = 0; i < 3; i++)
		if (crew_pipe_send(&shared->pipe, CREW_END_B, &i, sizeof i, CREW_FOREVER) < 0)
			return 1;
	tell(&shared->told[0], 1);
	while (!told(&shared->stop))
		harness_pause();
	switch (shared->mode) {
	case IS_KILLED: raise(SIGKILL); break;
	case RETURNS: return 0;
	case EXITS: _exit(0);
	case CLOSES: tell(&shared->told[1], crew_pipe_close(&shared->pipe, CREW_END_B)); break;
	}
	rest_in_peace();
	return 0;
}

static const char *end_name(int index)
{
	static const char *const how[] = { "is_killed", "returns", "exits", "closes" };
	static char name[100];
	snprintf(name, sizeof name, "what_was_sent_is_received_and_then_the_end_when_the_%s_child_%s",
		index / ENDS ? "forked" : "zygote", how[index % ENDS]);
	return name;
}

static void *stop_when_asleep(void *unused)
{
	(void)unused;
	await(asleep() >= 1);
	tell(&s->stop, 1);
	return NULL;
}

TEST(the_end_of_a_pipe, .count = 2 * ENDS, .label = end_name)
{
	begin();
	s->mode = index % ENDS;
	must_be(-ETIMEDOUT, crew_pipe_poll(&s->pipe, CREW_END_A, CREW_POLL));
	struct crew_process *child = start_child(say_three_and_end, (enum crew_process_method)(index / ENDS));
	await(told(&s->told[0]));
	for (int i = 0, n; i < 3; i++) {
		must(crew_pipe_receive(&s->pipe, CREW_END_A, &n, sizeof n, NULL, CREW_FOREVER));
		ck_assert_int_eq(n, i);
	}
	pthread_t stopper;
	pthread_create(&stopper, NULL, stop_when_asleep, NULL);
	crew_time before = crew_now();
	must_be(CREW_END_OF_DATA, crew_pipe_receive(&s->pipe, CREW_END_A, NULL, 0, NULL, CREW_FOREVER));
	ck_assert_int_lt(crew_now() - before, SOON);
	must_be(-EPIPE, crew_pipe_send(&s->pipe, CREW_END_A, "x", 1, CREW_FOREVER));
	must(crew_pipe_poll(&s->pipe, CREW_END_A, CREW_POLL));
	pthread_join(stopper, NULL);
	end_child(child);
	end();
}

TEST(what_a_killed_process_sent_is_there_after_it_is_buried, .count = 2)
{
	begin();
	struct crew_process *child = start_child(say_three_and_end, (enum crew_process_method)index);
	await(told(&s->told[0]));
	end_child(child);
	for (int i = 0, n; i < 3; i++) {
		must(crew_pipe_poll(&s->pipe, CREW_END_A, CREW_POLL));
		must(crew_pipe_receive(&s->pipe, CREW_END_A, &n, sizeof n, NULL, CREW_POLL));
		ck_assert_int_eq(n, i);
	}
	must_be(CREW_END_OF_DATA, crew_pipe_receive(&s->pipe, CREW_END_A, NULL, 0, NULL, CREW_POLL));
	end();
}

static int never_receive(void *argument, size_t size)
{
	struct shared *shared = argument;
	(void)size;
	if (crew_pipe_poll(&shared->pipe, CREW_END_B, CREW_FOREVER) < 0)
		return 1;
	tell(&shared->told[0], 1);
	while (!told(&shared->stop))
		harness_pause();
	raise(SIGKILL);
	return 0;
}

TEST(a_sender_that_waits_for_room_is_told_of_the_death, .count = 2)
{
	begin();
	struct crew_process *child = start_child(never_receive, (enum crew_process_method)index);
	static char data[600 << 10];
	must(crew_pipe_send(&s->pipe, CREW_END_A, data, sizeof data, CREW_FOREVER));
	await(told(&s->told[0]));
	pthread_t stopper;
	pthread_create(&stopper, NULL, stop_when_asleep, NULL);
	must_be(-EPIPE, crew_pipe_send(&s->pipe, CREW_END_A, data, sizeof data, CREW_FOREVER));
	pthread_join(stopper, NULL);
	end_child(child);
	end();
}

static int do_nothing(void *argument, size_t size)
{
	(void)argument;
	(void)size;
	rest_in_peace();
	return 0;
}

TEST(an_end_given_away_ends_even_if_it_was_never_used)
{
	begin();
	struct crew_process *child = start_child(do_nothing, CREW_ZYGOTE);
	must_be(-ETIMEDOUT, crew_pipe_poll(&s->pipe, CREW_END_A, CREW_POLL)); /* nobody at the other end yet: not the end */
	must(crew_pipe_give(&s->pipe, CREW_END_B, child));
	must(crew_pipe_give(&s->pipe, CREW_END_B, child));
	must_be(-EPERM, crew_pipe_send(&s->pipe, CREW_END_B, "x", 1, CREW_POLL));
	must_be(-EPERM, crew_pipe_close(&s->pipe, CREW_END_B));
	must(crew_pipe_send(&s->pipe, CREW_END_A, "x", 1, CREW_POLL));
	must(crew_process_signal(child, SIGKILL));
	must_be(CREW_END_OF_DATA, crew_pipe_receive(&s->pipe, CREW_END_A, NULL, 0, NULL, CREW_FOREVER));
	end_child(child);
	end();
}

static void *give_b(void *child)
{
	await(asleep() == 1);
	must(crew_pipe_give(&s->pipe, CREW_END_B, child));
	await(asleep() == 1);
	must(crew_process_signal(child, SIGKILL));
	return NULL;
}

TEST(whoever_sleeps_learns_of_a_new_owner_and_of_its_death)
{
	begin();
	struct crew_process *child = start_child(do_nothing, CREW_ZYGOTE);
	pthread_t giver;
	pthread_create(&giver, NULL, give_b, child);
	must_be(CREW_END_OF_DATA, crew_pipe_receive(&s->pipe, CREW_END_A, NULL, 0, NULL, CREW_FOREVER));
	pthread_join(giver, NULL);
	end_child(child);
	end();
}

static int try_others_end(void *argument, size_t size)
{
	struct shared *shared = argument;
	(void)size;
	shared->told[1] = crew_pipe_send(&shared->pipe, CREW_END_A, "x", 1, CREW_POLL);
	shared->told[2] = crew_pipe_receive(&shared->pipe, CREW_END_A, NULL, 0, NULL, CREW_POLL);
	shared->told[3] = crew_pipe_poll(&shared->pipe, CREW_END_A, CREW_POLL);
	shared->told[4] = crew_pipe_close(&shared->pipe, CREW_END_A);
	struct crew_wait_item item = { .kind = CREW_WAIT_PIPE_A, .object = &shared->pipe };
	shared->told[5] = crew_wait_any(&item, 1, CREW_POLL);
	return 0;
}

TEST(an_end_belongs_to_one_process)
{
	begin();
	must_be(-ETIMEDOUT, crew_pipe_poll(&s->pipe, CREW_END_A, CREW_POLL));
	struct crew_process *child = start_child(try_others_end, CREW_ZYGOTE);
	must(crew_process_join(child, CREW_FOREVER, NULL));
	for (int i = 1; i <= 5; i++)
		must_be(-EPERM, s->told[i]);
	must(crew_process_close(child));
	end();
}

/* ---- wait-any ---- */

TEST(a_process_that_ends_wakes_wait_any, .count = 2)
{
	begin();
	for (int among = 0; among < 2; among++) {
		s->stop = s->told[0] = 0;
		s->mode = IS_KILLED;
		struct crew_process *child = start_child(say_three_and_end, (enum crew_process_method)index);
		struct crew_wait_item items[] = { { .kind = CREW_WAIT_PROCESS, .object = child },
			{ .kind = CREW_WAIT_QUEUE, .object = &s->queue } };
		unsigned count = among ? 2 : 1;
		must_be(-ETIMEDOUT, crew_wait_any(items, count, crew_after(MS)));
		tell(&s->stop, 1);
		crew_time before = crew_now();
		ck_assert_int_eq(crew_wait_any(items, count, CREW_FOREVER), 1);
		ck_assert_int_lt(crew_now() - before, SOON);
		ck_assert_int_eq(items[0].ready, 1);
		struct crew_status status;
		must(crew_process_join(child, CREW_POLL, &status));
		ck_assert_int_eq(status.signal, SIGKILL);
		must(crew_process_close(child));
		crew_pipe_fini(&s->pipe);
		crew_pipe_fini(&s->back);
	}
	end();
}

TEST(the_death_at_the_other_end_of_a_pipe_wakes_wait_any, .count = 2)
{
	begin();
	s->mode = IS_KILLED;
	struct crew_process *child = start_child(say_three_and_end, (enum crew_process_method)index);
	struct crew_wait_item items[] = { { .kind = CREW_WAIT_PIPE_A, .object = &s->pipe },
		{ .kind = CREW_WAIT_QUEUE, .object = &s->queue } };
	for (int i = 0, n; i < 3; i++) {
		ck_assert_int_eq(crew_wait_any(items, 2, CREW_FOREVER), 1);
		must(crew_pipe_receive(&s->pipe, CREW_END_A, &n, sizeof n, NULL, CREW_POLL));
	}
	must_be(-ETIMEDOUT, crew_wait_any(items, 2, crew_after(MS)));
	tell(&s->stop, 1);
	ck_assert_int_eq(crew_wait_any(items, 2, CREW_FOREVER), 1);
	ck_assert_int_eq(items[0].ready, 1);
	must_be(CREW_END_OF_DATA, crew_pipe_receive(&s->pipe, CREW_END_A, NULL, 0, NULL, CREW_POLL));
	end_child(child);
	end();
}

/* ---- queue ---- */

static int take_and_die(void *argument, size_t size)
{
	struct shared *shared = argument;
	struct crew_message m[3];
	(void)size;
	for (int i = 0; i < 3; i++)
		if (crew_queue_take(&shared->queue, &m[i], CREW_FOREVER) < 0)
			return 1;
	if (crew_queue_done(&shared->queue, &m[1]) < 0)
		return 1;
	tell(&shared->told[0], 1);
	rest_in_peace();
	return 0;
}

TEST(what_a_killed_process_had_taken_comes_back, .count = 2)
{
	begin();
	for (int i = 0; i < 4; i++)
		must(crew_queue_put(&s->queue, &i, sizeof i, CREW_POLL));
	struct crew_process *child = start_child(take_and_die, (enum crew_process_method)index);
	await(told(&s->told[0]));
	ck_assert_uint_eq(crew_queue_length(&s->queue), 1);
	must_be(-ETIMEDOUT, crew_queue_join(&s->queue, CREW_POLL));
	must(crew_process_signal(child, SIGKILL));
	unsigned seen = 0;
	int first = -1;
	for (int i = 0; i < 3; i++) {
		struct crew_message m;
		if (i == 0)
			await(crew_queue_length(&s->queue) == 3 || (crew__lane_reap_all(), false));
		must(crew_queue_take(&s->queue, &m, CREW_FOREVER));
		int n = *(const int *)m.data;
		first = first < 0 ? n : first;
		ck_assert_uint_eq(m.attempt, n == 3 ? 1 : 2);
		seen |= 1u << n;
		must(crew_queue_done(&s->queue, &m));
	}
	ck_assert_uint_eq(seen, 1 << 0 | 1 << 2 | 1 << 3);
	ck_assert_int_ne(first, 3); /* at the head */
	must(crew_queue_join(&s->queue, CREW_POLL));
	end_child(child);
	end();
}

TEST(a_sleeping_taker_gets_what_a_killed_process_had, .count = 2)
{
	begin();
	for (int i = 0; i < 3; i++)
		must(crew_queue_put(&s->queue, &i, sizeof i, CREW_POLL));
	struct crew_process *child = start_child(take_and_die, (enum crew_process_method)index);
	await(told(&s->told[0]));
	must(crew_process_signal(child, SIGKILL));
	crew_time before = crew_now();
	struct crew_message m;
	for (int i = 0; i < 2; i++) {
		must(crew_queue_take(&s->queue, &m, CREW_FOREVER));
		must(crew_queue_done(&s->queue, &m));
	}
	ck_assert_int_lt(crew_now() - before, SOON);
	must(crew_queue_join(&s->queue, CREW_POLL));
	end_child(child);
	end();
}

/* A storm: producers and takers, killed at random and replaced. A message: who put it, and which one. */

struct note { uint32_t who, which; };

static int produce(void *argument, size_t size)
{
	struct shared *shared = argument;
	uint32_t who = (uint32_t)__atomic_fetch_add(&shared->told[0], 1, __ATOMIC_RELAXED) % 4;
	(void)size;
	while (!told(&shared->stop)) {
		/* The former life of this producer may have died inside a put that took effect: never the same number again. */
		struct note note = { who, (uint32_t)__atomic_fetch_add(&shared->put[4 + who], 1, __ATOMIC_RELAXED) };
		if (note.which >= STORM || crew_queue_put(&shared->queue, &note, sizeof note, CREW_FOREVER) < 0)
			break;
		__atomic_store_n(&shared->got[4 + who][note.which], 1, __ATOMIC_RELEASE); /* this put has returned */
	}
	return 0;
}

static int consume(void *argument, size_t size)
{
	struct shared *shared = argument;
	struct crew_message m;
	(void)size;
	while (crew_queue_take(&shared->queue, &m, CREW_FOREVER) == 0) {
		const struct note *note = m.data;
		/* Until done, a death makes it come back, so only then it counts; noted first, twice if it was attempt 2. */
		__atomic_fetch_add(&shared->got[note->who][note->which], m.attempt == 1 ? 1 : 16, __ATOMIC_RELAXED);
		if (crew_queue_done(&shared->queue, &m) < 0)
			return 1;
	}
	return 0;
}

TEST(in_a_storm_of_kills_every_message_arrives, .timeout = 60)
{
	begin();
	crew_queue_init(&s->queue, 32);
	struct crew_process *workers[6];
	for (int i = 0; i < 6; i++)
		workers[i] = start_child(i < 4 ? produce : consume, CREW_ZYGOTE);
	unsigned x = (unsigned)getpid(), kills = 0;
	crew_time until = crew_after((getenv("CREW_TEST_LONG") ? 20 : 3) * CREW_SECOND);
	while (crew_now() < until) {
		x = x * 1664525 + 1013904223;
		usleep(x >> 20 & 0xfff);
		int victim = (int)(x >> 8 & 0xff) % 6;
		end_child(workers[victim]);
		workers[victim] = start_child(victim < 4 ? produce : consume, CREW_ZYGOTE);
		kills++;
	}
	tell(&s->stop, 1);
	for (int i = 0; i < 4; i++) {
		must(crew_process_join(workers[i], CREW_FOREVER, NULL));
		must(crew_process_close(workers[i]));
	}
	must(crew_queue_close(&s->queue, true));
	for (int i = 4; i < 6; i++) {
		struct crew_status status;
		must(crew_process_join(workers[i], CREW_FOREVER, &status));
		ck_assert_int_eq(status.code, 0);
		must(crew_process_close(workers[i]));
	}
	must(crew_queue_join(&s->queue, CREW_POLL));
	uint64_t arrived = 0, returned = 0;
	for (int who = 0; who < 4; who++)
		for (int i = 0; i < STORM; i++) {
			int got = s->got[who][i], put = s->got[4 + who][i];
			ck_assert_msg(got || !put, "message %d of %d was put, and is lost", i, who);
			ck_assert_msg((got & 15) <= 1, "message %d of %d came %d times as the first attempt", i, who, got & 15);
			arrived += got != 0;
			returned += put != 0;
		}
	ck_assert_uint_gt(returned, 0);
	ck_assert_uint_ge(arrived, returned);
	ck_assert_uint_gt(kills, 20);
	ck_assert_uint_eq(crew__family.region->healed, 0);
	end();
}
