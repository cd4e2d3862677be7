/*
 * pipe.c - pipes, with threads of one process at both ends
 *
 * Between processes, and their deaths: tests/channel.c; at every instruction: tests/death.c.
 */
#include "family.h"

#include <pthread.h>
#include <string.h>
#include <crew/crew.h>
#include "region/lane.h"

static struct shared {
	struct crew_pipe pipe;
	uint32_t told[8];
} *s;
static void begin(void)
{
	s = family_begin(sizeof *s);
}

static void end(void)
{
	crew_pipe_fini(&s->pipe);
	family_end(s);
}

static int send_text(enum crew_pipe_end at, const char *text, crew_time deadline)
{
	return crew_pipe_send(&s->pipe, at, text, strlen(text), deadline);
}

static void expect(enum crew_pipe_end at, const char *text)
{
	char data[100];
	size_t size = 0;
	must(crew_pipe_receive(&s->pipe, at, data, sizeof data, &size, CREW_FOREVER));
	ck_assert_uint_eq(size, strlen(text));
	ck_assert_int_eq(memcmp(data, text, size), 0);
}

TEST(messages_go_both_ways_in_order)
{
	begin();
	must(send_text(CREW_END_A, "one", CREW_POLL));
	must(send_text(CREW_END_B, "uno", CREW_POLL));
	must(send_text(CREW_END_A, "two", CREW_POLL));
	must(send_text(CREW_END_B, "due", CREW_POLL));
	expect(CREW_END_B, "one");
	expect(CREW_END_A, "uno");
	expect(CREW_END_A, "due");
	expect(CREW_END_B, "two");
	end();
}

TEST(messages_keep_their_boundaries_and_empty_ones_count)
{
	begin();
	must(send_text(CREW_END_A, "", CREW_POLL));
	must(send_text(CREW_END_A, "abc", CREW_POLL));
	must(send_text(CREW_END_A, "", CREW_POLL));
	must(crew_pipe_poll(&s->pipe, CREW_END_B, CREW_POLL));
	expect(CREW_END_B, "");
	expect(CREW_END_B, "abc");
	must(crew_pipe_poll(&s->pipe, CREW_END_B, CREW_POLL));
	must(crew_pipe_receive(&s->pipe, CREW_END_B, NULL, 0, NULL, CREW_POLL));
	must_be(-ETIMEDOUT, crew_pipe_poll(&s->pipe, CREW_END_B, CREW_POLL));
	end();
}

TEST(a_message_of_16_mib_fits_into_an_empty_pipe)
{
	begin();
	size_t size = (size_t)16 << 20, got;
	char *data, *back;
	must(crew_alloc(size, (void **)&data));
	must(crew_alloc(size, (void **)&back));
	for (size_t i = 0; i < size; i++)
		data[i] = (char)(i ^ i >> 8 ^ i >> 16);
	must(crew_pipe_send(&s->pipe, CREW_END_B, data, size, CREW_POLL));
	must_be(-ETIMEDOUT, send_text(CREW_END_B, "no room", CREW_POLL));
	must(crew_pipe_receive(&s->pipe, CREW_END_A, back, size, &got, CREW_POLL));
	ck_assert_uint_eq(got, size);
	ck_assert_int_eq(memcmp(data, back, size), 0);
	must(send_text(CREW_END_B, "room", CREW_POLL));
	expect(CREW_END_A, "room");
	crew_free(data);
	crew_free(back);
	end();
}

TEST(a_message_too_large_for_the_receiver_stays)
{
	begin();
	char data[10];
	size_t size = 0;
	must(send_text(CREW_END_A, "0123456789", CREW_POLL));
	must_be(-EMSGSIZE, crew_pipe_receive(&s->pipe, CREW_END_B, data, 9, &size, CREW_POLL));
	ck_assert_uint_eq(size, 10);
	must(crew_pipe_poll(&s->pipe, CREW_END_B, CREW_POLL));
	must(crew_pipe_receive(&s->pipe, CREW_END_B, data, 10, &size, CREW_POLL));
	end();
}

static void *send_in_two_goes(void *unused)
{
	(void)unused;
	must(send_text(CREW_END_A, "a", CREW_FOREVER));
	must(send_text(CREW_END_A, "b", CREW_FOREVER));
	expect(CREW_END_A, "on");
	must(send_text(CREW_END_A, "cd", CREW_FOREVER));
	return NULL;
}

/* As CPython's TestPoll.test_dont_merge: what poll has seen is one message, though others have come. */
TEST(messages_are_never_merged_however_often_one_polls)
{
	begin();
	must_be(-ETIMEDOUT, crew_pipe_poll(&s->pipe, CREW_END_B, CREW_POLL));
	pthread_t other = start(send_in_two_goes, NULL);
	must(crew_pipe_poll(&s->pipe, CREW_END_B, CREW_FOREVER));
	expect(CREW_END_B, "a");
	must(crew_pipe_poll(&s->pipe, CREW_END_B, CREW_FOREVER));
	expect(CREW_END_B, "b");
	must(send_text(CREW_END_B, "on", CREW_POLL));
	must(crew_pipe_poll(&s->pipe, CREW_END_B, CREW_FOREVER));
	must(crew_pipe_poll(&s->pipe, CREW_END_B, CREW_FOREVER));
	expect(CREW_END_B, "cd");
	must_be(-ETIMEDOUT, crew_pipe_poll(&s->pipe, CREW_END_B, CREW_POLL));
	pthread_join(other, NULL);
	end();
}

TEST(poll_takes_nothing)
{
	begin();
	must(send_text(CREW_END_A, "hello", CREW_POLL));
	for (int i = 0; i < 3; i++)
		must(crew_pipe_poll(&s->pipe, CREW_END_B, crew_after(CREW_SECOND)));
	expect(CREW_END_B, "hello");
	crew_time before = crew_now();
	must_be(-ETIMEDOUT, crew_pipe_poll(&s->pipe, CREW_END_B, crew_after(30 * MS)));
	ck_assert_int_ge(crew_now() - before, 30 * MS);
	must_be(-ETIMEDOUT, crew_pipe_poll(&s->pipe, CREW_END_B, crew_now() - CREW_SECOND));
	end();
}

TEST(what_waits_is_bounded_and_room_wakes_the_sender)
{
	begin();
	static char data[64 << 10];
	unsigned sent = 0;
	while (crew_pipe_send(&s->pipe, CREW_END_A, data, sizeof data, CREW_POLL) == 0)
		sent++;
	ck_assert_uint_eq(sent, 15); /* with its head the 16th is beyond 1 MiB */
	crew_time before = crew_now();
	must_be(-ETIMEDOUT, crew_pipe_send(&s->pipe, CREW_END_A, data, sizeof data, crew_after(30 * MS)));
	ck_assert_int_ge(crew_now() - before, 30 * MS);
	must(crew_pipe_receive(&s->pipe, CREW_END_B, data, sizeof data, NULL, CREW_POLL));
	must(crew_pipe_send(&s->pipe, CREW_END_A, data, sizeof data, CREW_POLL));
	end();
}

enum { ROUNDS = 3000 };

static void *echo(void *unused)
{
	(void)unused;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint32_t n;
		must(crew_pipe_receive(&s->pipe, CREW_END_B, &n, sizeof n, NULL, CREW_FOREVER));
		n = ~n;
		must(crew_pipe_send(&s->pipe, CREW_END_B, &n, sizeof n, CREW_FOREVER));
	}
	return NULL;
}

TEST(two_threads_play_ping_pong, .timeout = 60)
{
	begin();
	pthread_t other = start(echo, NULL);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint32_t n = i;
		must(crew_pipe_send(&s->pipe, CREW_END_A, &n, sizeof n, CREW_FOREVER));
		must(crew_pipe_receive(&s->pipe, CREW_END_A, &n, sizeof n, NULL, CREW_FOREVER));
		ck_assert_uint_eq(n, ~i);
	}
	pthread_join(other, NULL);
	end();
}

static void *pour(void *unused)
{
	(void)unused;
	static char data[40000];
	for (uint32_t i = 0; i < ROUNDS; i++) {
		memcpy(data, &i, sizeof i);
		must(crew_pipe_send(&s->pipe, CREW_END_A, data, sizeof i + i * 7 % (sizeof data - sizeof i), CREW_FOREVER));
	}
	must(crew_pipe_close(&s->pipe, CREW_END_A));
	return NULL;
}

TEST(a_stream_of_messages_arrives_whole_and_ends_with_close, .timeout = 60)
{
	begin();
	static char data[40000];
	pthread_t other = start(pour, NULL);
	uint32_t count = 0, n;
	size_t size;
	int r;
	while ((r = crew_pipe_receive(&s->pipe, CREW_END_B, data, sizeof data, &size, CREW_FOREVER)) == 0) {
		memcpy(&n, data, sizeof n);
		ck_assert_uint_eq(n, count);
		ck_assert_uint_eq(size, sizeof n + n * 7 % (sizeof data - sizeof n));
		count++;
	}
	must_be(CREW_END_OF_DATA, r);
	ck_assert_uint_eq(count, ROUNDS);
	pthread_join(other, NULL);
	end();
}

/* ---- close ---- */

TEST(close_lets_the_other_end_receive_what_was_sent_and_then_the_end)
{
	begin();
	must(send_text(CREW_END_A, "last words", CREW_POLL));
	must(send_text(CREW_END_B, "never heard", CREW_POLL));
	must(crew_pipe_close(&s->pipe, CREW_END_A));
	must(crew_pipe_close(&s->pipe, CREW_END_A));
	must_be(-EPIPE, send_text(CREW_END_B, "hello?", CREW_FOREVER));
	must_be(-EPIPE, send_text(CREW_END_A, "from the grave", CREW_FOREVER));
	must_be(-EPIPE, crew_pipe_receive(&s->pipe, CREW_END_A, NULL, 0, NULL, CREW_FOREVER));
	must(crew_pipe_poll(&s->pipe, CREW_END_B, CREW_FOREVER));
	expect(CREW_END_B, "last words");
	must(crew_pipe_poll(&s->pipe, CREW_END_B, CREW_FOREVER));
	for (int i = 0; i < 2; i++)
		must_be(CREW_END_OF_DATA, crew_pipe_receive(&s->pipe, CREW_END_B, NULL, 0, NULL, CREW_FOREVER));
	end();
}

static void *receive_at(void *at)
{
	char data[10];
	return (void *)(intptr_t)crew_pipe_receive(&s->pipe, (enum crew_pipe_end)(uintptr_t)at, data, sizeof data, NULL,
		CREW_FOREVER);
}

static void *send_much_from_a(void *unused)
{
	(void)unused;
	static char data[700 << 10];
	int r;
	do
		r = crew_pipe_send(&s->pipe, CREW_END_A, data, sizeof data, CREW_FOREVER);
	while (r == 0);
	return (void *)(intptr_t)r;
}

TEST(close_wakes_whoever_sleeps_at_either_end)
{
	begin();
	pthread_t threads[3] = { start(receive_at, (void *)CREW_END_A), start(receive_at, (void *)CREW_END_A),
		start(send_much_from_a, NULL) };
	await(asleep() == 3);
	must(crew_pipe_close(&s->pipe, CREW_END_B));
	static const int wanted[] = { CREW_END_OF_DATA, CREW_END_OF_DATA, -EPIPE };
	for (int i = 0; i < 3; i++) {
		void *r;
		pthread_join(threads[i], &r);
		must_be(wanted[i], (int)(intptr_t)r);
	}
	crew_pipe_fini(&s->pipe);

	pthread_t own = start(receive_at, (void *)CREW_END_A);
	await(asleep() == 1);
	must(crew_pipe_close(&s->pipe, CREW_END_A));
	void *r;
	pthread_join(own, &r);
	must_be(-EPIPE, (int)(intptr_t)r);
	end();
}

TEST(a_finished_pipe_is_fresh)
{
	begin();
	must(send_text(CREW_END_A, "x", CREW_POLL));
	must(crew_pipe_close(&s->pipe, CREW_END_A));
	crew_pipe_fini(&s->pipe);
	ck_assert_uint_eq(blocks(), blocks_before);
	must(send_text(CREW_END_A, "y", CREW_POLL));
	expect(CREW_END_B, "y");
	end();
}

TEST(what_is_wrong_is_told)
{
	struct crew_pipe here = { 0 };
	must_be(-ENOTCONN, crew_pipe_send(&here, CREW_END_A, "", 0, CREW_POLL));
	begin();
	must_be(-EINVAL, crew_pipe_send(&here, CREW_END_A, "", 0, CREW_POLL));
	must_be(-EINVAL, crew_pipe_send(&s->pipe, (enum crew_pipe_end)2, "", 0, CREW_POLL));
	must_be(-EINVAL, crew_pipe_poll(&s->pipe, (enum crew_pipe_end)-1, CREW_POLL));
	must_be(-ENOMEM, crew_pipe_send(&s->pipe, CREW_END_A, "", (size_t)1 << 60, CREW_POLL));
	end();
}
