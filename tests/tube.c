/* tube.c - streams of bytes, between threads and between processes; at every instruction: tests/death_tube.c */
#include "family.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <crew/crew.h>

static struct shared {
	struct crew_tube tube, back;
	uint64_t told;
} *s;

static void begin(void)
{
	s = family_begin(sizeof *s);
}

static void end(void)
{
	crew_tube_fini(&s->tube);
	crew_tube_fini(&s->back);
	family_end(s);
}

TEST(bytes_come_out_as_they_went_in)
{
	begin();
	char data[10];
	size_t size;
	must(crew_tube_write(&s->tube, "hello, ", 7, NULL, CREW_POLL));
	must(crew_tube_write(&s->tube, "world", 5, &size, CREW_POLL));
	ck_assert_uint_eq(size, 5);
	must(crew_tube_read(&s->tube, data, sizeof data, &size, CREW_POLL));
	ck_assert_uint_eq(size, 10);
	ck_assert_int_eq(memcmp(data, "hello, wor", 10), 0);
	must_be(-ETIMEDOUT, crew_tube_read_all(&s->tube, data, 5, &size, CREW_POLL));
	ck_assert_uint_eq(size, 2);
	must_be(-ETIMEDOUT, crew_tube_read(&s->tube, data, 1, &size, CREW_POLL));
	ck_assert_uint_eq(size, 0);
	must_be(-ETIMEDOUT, crew_tube_read(&s->tube, data, 1, &size, crew_after(MS)));
	end();
}

TEST(a_full_tube_takes_what_fits_and_says_so)
{
	begin();
	s->tube.size_kib_ = 1;
	char *data = calloc(1, 4096);
	size_t size;
	must_be(-ETIMEDOUT, crew_tube_write(&s->tube, data, 4096, &size, CREW_POLL));
	ck_assert_uint_eq(size, 1024);
	must_be(-ETIMEDOUT, crew_tube_poll(&s->tube, CREW_TUBE_WRITER, CREW_POLL));
	must(crew_tube_poll(&s->tube, CREW_TUBE_READER, CREW_POLL));
	must(crew_tube_read(&s->tube, data, 1, &size, CREW_POLL));
	must(crew_tube_poll(&s->tube, CREW_TUBE_WRITER, CREW_POLL));
	s->back.size_kib_ = 3;
	must_be(-EINVAL, crew_tube_write(&s->back, data, 1, NULL, CREW_POLL));
	s->back.size_kib_ = 0;
	static struct crew_tube elsewhere;
	must_be(-EINVAL, crew_tube_write(&elsewhere, data, 1, NULL, CREW_POLL));
	free(data);
	end();
}

TEST(in_place_nothing_is_copied)
{
	begin();
	void *room;
	const void *data;
	size_t size;
	must(crew_tube_reserve(&s->tube, &room, &size, CREW_POLL));
	ck_assert_uint_eq(size, 65536);
	memcpy(room, "abcdef", 6);
	must_be(-ETIMEDOUT, crew_tube_peek(&s->tube, &data, &size, CREW_POLL));
	must(crew_tube_commit(&s->tube, 6));
	must(crew_tube_peek(&s->tube, &data, &size, CREW_POLL));
	ck_assert(size == 6 && data == room && memcmp(data, "abcdef", 6) == 0);
	must(crew_tube_consume(&s->tube, 4));
	must_be(-EINVAL, crew_tube_consume(&s->tube, 3));
	must_be(-EINVAL, crew_tube_commit(&s->tube, 65536));
	must(crew_tube_peek(&s->tube, &data, &size, CREW_POLL));
	ck_assert(size == 2 && memcmp(data, "ef", 2) == 0);
	end();
}

TEST(who_has_closed_is_told_and_the_other_reads_on_to_the_end)
{
	begin();
	char data[4];
	size_t size;
	must(crew_tube_write(&s->tube, "abc", 3, NULL, CREW_POLL));
	must(crew_tube_close(&s->tube, CREW_TUBE_WRITER));
	must(crew_tube_close(&s->tube, CREW_TUBE_WRITER));
	must_be(-EPIPE, crew_tube_write(&s->tube, "d", 1, NULL, CREW_POLL));
	must_be(CREW_END_OF_DATA, crew_tube_read_all(&s->tube, data, 4, &size, CREW_FOREVER));
	ck_assert_uint_eq(size, 3);
	must_be(CREW_END_OF_DATA, crew_tube_read(&s->tube, data, 4, &size, CREW_FOREVER));
	must(crew_tube_poll(&s->tube, CREW_TUBE_READER, CREW_POLL));
	must(crew_tube_write(&s->back, "abc", 3, NULL, CREW_POLL));
	must(crew_tube_close(&s->back, CREW_TUBE_READER));
	must_be(-EPIPE, crew_tube_write(&s->back, "d", 1, NULL, CREW_POLL));
	must(crew_tube_poll(&s->back, CREW_TUBE_WRITER, CREW_POLL));
	end();
}

static void *write_in_vain(void *argument)
{
	int r = crew_tube_write(&s->tube, "x", 1, NULL, CREW_POLL);
	return argument ? (void *)(intptr_t)r : NULL;
}

TEST(an_end_belongs_to_one_thread_until_given_away)
{
	void *result;
	begin();
	must(crew_tube_write(&s->tube, "a", 1, NULL, CREW_POLL));
	pthread_join(start(write_in_vain, s), &result);
	ck_assert_int_eq((int)(intptr_t)result, -EPERM);
	must(crew_tube_give(&s->tube, CREW_TUBE_WRITER, NULL));
	pthread_join(start(write_in_vain, s), &result);
	ck_assert_int_eq((int)(intptr_t)result, 0);
	end();
}

enum { COUNT = 200000 };

static void *write_numbers(void *argument)
{
	for (uint64_t i = 0; i < COUNT;) {
		uint64_t some[7];
		unsigned n = 0;
		for (; n < 1 + i % 7 && i + n < COUNT; n++)
			some[n] = i + n;
		must(crew_tube_write(&s->tube, some, n * sizeof *some, NULL, CREW_FOREVER));
		i += n;
	}
	must(crew_tube_close(&s->tube, CREW_TUBE_WRITER));
	return argument;
}

TEST(threads_stream_through_a_small_tube, .timeout = 60)
{
	begin();
	s->tube.size_kib_ = 1;
	pthread_t writer = start(write_numbers, NULL);
	uint64_t number, i = 0;
	size_t size;
	int r;
	while ((r = crew_tube_read_all(&s->tube, &number, sizeof number, &size, CREW_FOREVER)) == 0)
		ck_assert_uint_eq(number, i++);
	ck_assert_int_eq(r, CREW_END_OF_DATA);
	ck_assert_uint_eq(i, COUNT);
	pthread_join(writer, NULL);
	end();
}

/* ---- one that sleeps ---- */

static void *read_one(void *argument)
{
	(void)argument;
	char byte;
	size_t size;
	return (void *)(intptr_t)crew_tube_read(&s->tube, &byte, 1, &size, CREW_FOREVER);
}

static void *wait_then_read(void *argument)
{
	struct crew_wait_item items[] = { { .kind = CREW_WAIT_TUBE_READER, .object = &s->tube },
		{ .kind = CREW_WAIT_TUBE_READER, .object = &s->back } };
	int r = crew_wait_any(items, 2, CREW_FOREVER);
	return r != 1 || !items[0].ready || items[1].ready ? (void *)(intptr_t)-1 : read_one(argument);
}

TEST(a_sleeping_reader_is_woken_by_a_byte_and_by_the_end)
{
	void *result;
	begin();
	for (int round = 0; round < 3; round++) {
		pthread_t reader = start(round == 1 ? wait_then_read : read_one, NULL);
		await(asleep() == 1);
		if (round < 2)
			must(crew_tube_write(&s->tube, "x", 1, NULL, CREW_POLL));
		else
			must(crew_tube_close(&s->tube, CREW_TUBE_WRITER));
		pthread_join(reader, &result);
		ck_assert_int_eq((int)(intptr_t)result, round < 2 ? 0 : CREW_END_OF_DATA);
		if (round < 2) { /* the next reader is another thread */
			crew__lane_reap_all();
			__atomic_store_n(&s->tube.lane_[CREW_TUBE_READER], 0, __ATOMIC_SEQ_CST);
			__atomic_store_n(&s->back.lane_[CREW_TUBE_READER], 0, __ATOMIC_SEQ_CST);
		}
	}
	end();
}

static void *fill(void *argument)
{
	static const char data[3000];
	return argument ? NULL : (void *)(intptr_t)crew_tube_write(&s->tube, data, sizeof data, NULL, CREW_FOREVER);
}

TEST(a_sleeping_writer_is_woken_by_room_and_by_the_end)
{
	void *result;
	char data[2000];
	begin();
	s->tube.size_kib_ = 1;
	pthread_t writer = start(fill, NULL);
	await(asleep() == 1);
	must(crew_tube_read_all(&s->tube, data, 1500, NULL, CREW_FOREVER));
	await(asleep() == 1);
	must(crew_tube_close(&s->tube, CREW_TUBE_READER));
	pthread_join(writer, &result);
	ck_assert_int_eq((int)(intptr_t)result, -EPIPE);
	end();
}

static void *write_and_go(void *argument)
{
	must(crew_tube_write(&s->tube, "ab", 2, NULL, CREW_POLL));
	return argument;
}

TEST(a_thread_that_ends_leaves_its_end)
{
	char data[4];
	size_t size;
	begin();
	run(write_and_go, NULL);
	must_be(CREW_END_OF_DATA, crew_tube_read_all(&s->tube, data, 4, &size, CREW_FOREVER));
	ck_assert_uint_eq(size, 2);
	end();
}

/* ---- processes ---- */

static int echo(void *argument, size_t size)
{
	struct shared *shared = *(struct shared **)argument;
	char data[5000];
	(void)size;
	for (;;) {
		size_t got;
		int r = crew_tube_read(&shared->tube, data, sizeof data, &got, CREW_FOREVER);
		if (r != 0)
			return r != CREW_END_OF_DATA;
		if (crew_tube_write(&shared->back, data, got, NULL, CREW_FOREVER) != 0)
			return 2;
	}
}

static struct crew_process *start_echo(void)
{
	struct crew_process *process;
	must(crew_process_start(&process, &(struct crew_process_options){
		.function = echo, .argument = &s, .argument_size = sizeof s }));
	must(crew_tube_give(&s->tube, CREW_TUBE_READER, process));
	must(crew_tube_give(&s->back, CREW_TUBE_WRITER, process));
	return process;
}

TEST(processes_echo_a_million_bytes)
{
	enum { BYTES = 1000000, PIECE = 20000 };
	begin();
	struct crew_process *process = start_echo();
	struct crew_status status;
	char *out = malloc(BYTES), *in = malloc(BYTES);
	for (unsigned i = 0; i < BYTES; i++)
		out[i] = (char)(i * 7 + i / 1000);
	for (unsigned i = 0; i < BYTES; i += PIECE) {
		must(crew_tube_write(&s->tube, out + i, PIECE, NULL, CREW_FOREVER));
		must(crew_tube_read_all(&s->back, in + i, PIECE, NULL, CREW_FOREVER));
	}
	ck_assert_int_eq(memcmp(out, in, BYTES), 0);
	must(crew_tube_close(&s->tube, CREW_TUBE_WRITER));
	must(crew_process_join(process, CREW_FOREVER, &status));
	ck_assert(status.state == CREW_EXITED && status.code == 0);
	must_be(CREW_END_OF_DATA, crew_tube_read_all(&s->back, in, 1, NULL, CREW_FOREVER));
	must(crew_process_close(process));
	free(out);
	free(in);
	end();
}

TEST(a_process_killed_at_the_other_end_is_noticed_asleep_and_awake)
{
	begin();
	char data[2] = "";
	struct crew_process *process = start_echo();
	must(crew_tube_write(&s->tube, "a", 1, NULL, CREW_FOREVER));
	must(crew_tube_read_all(&s->back, data, 1, NULL, CREW_FOREVER));
	must(crew_process_signal(process, SIGKILL));
	must_be(CREW_END_OF_DATA, crew_tube_read_all(&s->back, data, 1, NULL, CREW_FOREVER));
	static char much[200000];
	must_be(-EPIPE, crew_tube_write(&s->tube, much, sizeof much, NULL, CREW_FOREVER));
	must(crew_process_join(process, CREW_FOREVER, NULL));
	must(crew_process_close(process));
	end();
}
