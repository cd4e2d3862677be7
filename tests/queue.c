/*
 * queue.c - queues, with threads as lanes
 *
 * A thread that ends with leases is dead to the others, just as a killed process: the suite runs under
 * TSan too. Between processes, and their deaths: tests/channel.c; at every instruction: tests/death.c.
 */
#include "family.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <crew/crew.h>
#include "channel/ring_walk.h"
#include "region/lane.h"

static struct shared {
	struct crew_queue queue, other;
	uint32_t seen[100000]; /* how often each number arrived */
	int result[16];
	crew_time waited[16];
} *s;
static void begin(uint32_t capacity)
{
	s = family_begin(sizeof *s);
	crew_queue_init(&s->queue, capacity);
}

static void end(void)
{
	crew_queue_fini(&s->queue);
	family_end(s);
}

/* Blocks allocated beyond those that the queue itself consists of. */
static uint64_t blocks_of_others(void)
{
	struct crew__ring *ring = crew__ring_of(&s->queue);
	return blocks() - (ring ? crew__ring_blocks(ring) : 0);
}

static struct crew_queue_stats stats(void)
{
	struct crew_queue_stats stats;
	must(crew_queue_stats(&s->queue, &stats));
	return stats;
}

static void put(uint32_t n)
{
	must(crew_queue_put(&s->queue, &n, sizeof n, CREW_FOREVER));
}

static uint32_t get(void)
{
	uint32_t n = 0;
	size_t size = 0;
	must(crew_queue_get(&s->queue, &n, sizeof n, &size, CREW_FOREVER));
	ck_assert_uint_eq(size, sizeof n);
	return n;
}

static uint32_t number(const struct crew_message *m)
{
	ck_assert_uint_eq(m->size, sizeof(uint32_t));
	return *(const uint32_t *)m->data;
}

/* ---- messages ---- */

TEST(messages_come_out_in_the_order_they_went_in)
{
	begin(0);
	for (uint32_t i = 0; i < 1000; i++)
		put(i);
	ck_assert_uint_eq(crew_queue_length(&s->queue), 1000);
	for (uint32_t i = 0; i < 1000; i++)
		ck_assert_uint_eq(get(), i);
	ck_assert_uint_eq(crew_queue_length(&s->queue), 0);
	must_be(-ETIMEDOUT, crew_queue_get(&s->queue, NULL, 0, NULL, CREW_POLL));
	end();
}

TEST(messages_keep_their_boundaries_whatever_their_size)
{
	static const size_t sizes[] = { 0, 1, 15, 16, 17, 4096, 65536, 0, 1000003 };
	static char data[1000003], back[1000003];
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (char)(i * 2654435761u >> 7);
	begin(0);
	for (int i = 0; i < 9; i++)
		must(crew_queue_put(&s->queue, data + i, sizes[i] ? sizes[i] - (size_t)i % sizes[i] : 0, CREW_POLL));
	for (int i = 0; i < 9; i++) {
		size_t size = 1, wanted = sizes[i] ? sizes[i] - (size_t)i % sizes[i] : 0;
		must(crew_queue_get(&s->queue, back, sizeof back, &size, CREW_POLL));
		ck_assert_uint_eq(size, wanted);
		ck_assert_int_eq(memcmp(back, data + i, size), 0);
	}
	end();
}

TEST(a_message_of_16_mib_arrives_whole)
{
	begin(0);
	size_t size = (size_t)16 << 20, got;
	char *data, *back;
	must(crew_alloc(size, (void **)&data));
	must(crew_alloc(size, (void **)&back));
	for (size_t i = 0; i < size; i++)
		data[i] = (char)(i ^ i >> 8 ^ i >> 16);
	must(crew_queue_put(&s->queue, data, size, CREW_FOREVER));
	must(crew_queue_get(&s->queue, back, size, &got, CREW_FOREVER));
	ck_assert_uint_eq(got, size);
	ck_assert_int_eq(memcmp(data, back, size), 0);
	crew_free(data);
	crew_free(back);
	end();
}

TEST(a_message_too_large_for_the_getter_stays)
{
	begin(0);
	must(crew_queue_put(&s->queue, "0123456789", 10, CREW_POLL));
	char text[10];
	size_t size = 0;
	must_be(-EMSGSIZE, crew_queue_get(&s->queue, text, 9, &size, CREW_POLL));
	ck_assert_uint_eq(size, 10);
	ck_assert_uint_eq(crew_queue_length(&s->queue), 1);
	must_be(-EMSGSIZE, crew_queue_get(&s->queue, NULL, 0, NULL, CREW_POLL));
	must(crew_queue_get(&s->queue, text, 10, &size, CREW_POLL));
	ck_assert_int_eq(memcmp(text, "0123456789", 10), 0);
	end();
}

static void *get_up_to_4_bytes(void *unused)
{
	(void)unused;
	uint32_t n;
	return (void *)(intptr_t)crew_queue_get(&s->queue, &n, sizeof n, NULL, CREW_FOREVER);
}

static void *get_up_to_100_bytes(void *unused)
{
	(void)unused;
	char text[100];
	return (void *)(intptr_t)crew_queue_get(&s->queue, text, sizeof text, NULL, CREW_FOREVER);
}

TEST(a_getter_with_too_little_room_passes_its_wake_up_on)
{
	begin(0);
	for (int round = 0; round < 20; round++) {
		pthread_t small = start(get_up_to_4_bytes, NULL);
		await(asleep() == 1);
		pthread_t large = start(get_up_to_100_bytes, NULL);
		await(asleep() == 2);
		must(crew_queue_put(&s->queue, "longer than 4", 13, CREW_POLL));
		void *r;
		pthread_join(large, &r);
		must((int)(intptr_t)r);
		if (round % 2) /* the small one may have been passed over, and waits on */
			put(1);
		else
			must(crew_queue_put(&s->queue, "longer than 4", 13, CREW_POLL));
		pthread_join(small, &r);
		ck_assert_int_ne((int)(intptr_t)r, -ETIMEDOUT);
		while (crew_queue_get(&s->queue, (char[100]){ 0 }, 100, NULL, CREW_POLL) == 0)
			;
	}
	ck_assert_uint_eq(crew__family.region->healed, 0);
	end();
}

TEST(a_thread_that_holds_64_locks_can_still_put_and_get)
{
	begin(0);
	struct crew_lock *locks;
	must(crew_array(64, sizeof *locks, (void **)&locks));
	for (int i = 0; i < 64; i++)
		must(crew_lock_acquire(&locks[i], CREW_FOREVER));
	put(1);
	ck_assert_uint_eq(get(), 1);
	for (int i = 0; i < 64; i++)
		crew_lock_release(&locks[i]);
	crew_free(locks);
	end();
}

TEST(what_is_no_member_or_not_shared_is_told_so)
{
	struct crew_queue here = { 0 };
	must_be(-ENOTCONN, crew_queue_put(&here, NULL, 0, CREW_POLL));
	must_be(-ENOTCONN, crew_queue_get(&here, NULL, 0, NULL, CREW_POLL));
	begin(0);
	must_be(-EINVAL, crew_queue_put(&here, NULL, 0, CREW_POLL));
	must_be(-EINVAL, crew_queue_close(&here, true));
	ck_assert_uint_eq(crew_queue_length(&here), 0);
	end();
}

TEST(a_message_that_no_memory_can_hold_is_refused)
{
	begin(0);
	char byte = 0;
	must_be(-ENOMEM, crew_queue_put(&s->queue, &byte, SIZE_MAX, CREW_POLL));
	must_be(-ENOMEM, crew_queue_put(&s->queue, &byte, (size_t)1 << 60, CREW_POLL));
	ck_assert_uint_eq(crew_queue_length(&s->queue), 0);
	put(1); /* and the queue goes on */
	ck_assert_uint_eq(crew_queue_length(&s->queue), 1);
	ck_assert_uint_eq(get(), 1);
	end();
}

/* A plain array tells the truth. */
TEST(random_calls_do_what_an_array_does, .count = 4)
{
	begin(7);
	struct { uint32_t id; bool leased; struct crew_message m; } model[64];
	unsigned waiting = 0, leased = 0; /* leased ones live at the top end of model[] */
	unsigned back = 0;                /* of the waiting the first so many, by their ids */
	uint32_t next = 1, x = 12345u + (uint32_t)index;
	for (int i = 0; i < 20000; i++) {
		x = x * 1664525 + 1013904223;
		unsigned op = x >> 28;
		if (op < 7) {
			int r = crew_queue_put(&s->queue, &next, sizeof next, CREW_POLL);
			must_be(waiting - back < 7 ? 0 : -ETIMEDOUT, r);
			if (r == 0)
				model[waiting++].id = next++;
		} else if (op < 10) {
			uint32_t id = 0;
			int r = crew_queue_get(&s->queue, &id, sizeof id, NULL, CREW_POLL);
			must_be(waiting ? 0 : -ETIMEDOUT, r);
			if (r == 0) {
				ck_assert_uint_eq(id, model[0].id);
				memmove(model, model + 1, --waiting * sizeof *model);
				back -= back > 0;
			}
		} else if (op < 13 && leased < 16) {
			struct crew_message m;
			int r = crew_queue_take(&s->queue, &m, CREW_POLL);
			must_be(waiting ? 0 : -ETIMEDOUT, r);
			if (r == 0) {
				ck_assert_uint_eq(number(&m), model[0].id);
				memmove(model, model + 1, --waiting * sizeof *model);
				back -= back > 0;
				model[63 - leased++].m = m;
			}
		} else if (leased) {
			unsigned which = 63 - (x >> 8) % leased;
			uint32_t id = number(&model[which].m);
			if (op == 13 && waiting < 40) {
				must(crew_queue_return(&s->queue, &model[which].m));
				unsigned at = 0;
				while (at < back && model[at].id < id)
					at++;
				memmove(model + at + 1, model + at, (waiting++ - at) * sizeof *model);
				model[at].id = id;
				back++;
			} else {
				must(crew_queue_done(&s->queue, &model[which].m));
			}
			model[which] = model[64 - leased--];
		}
		ck_assert_uint_eq(crew_queue_length(&s->queue), waiting);
		ck_assert_uint_eq(stats().leased, leased);
	}
	end();
}

/* ---- capacity and deadlines ---- */

TEST(a_full_queue_makes_putters_wait_until_the_deadline)
{
	begin(2);
	put(1);
	put(2);
	uint32_t n = 3;
	must_be(-ETIMEDOUT, crew_queue_put(&s->queue, &n, sizeof n, CREW_POLL));
	crew_time before = crew_now();
	must_be(-ETIMEDOUT, crew_queue_put(&s->queue, &n, sizeof n, crew_after(50 * MS)));
	crew_time waited = crew_now() - before;
	ck_assert_int_ge(waited, 50 * MS);
	ck_assert_int_lt(waited, 1000 * MS);
	ck_assert_uint_eq(get(), 1);
	put(3);
	ck_assert_uint_eq(get(), 2);
	ck_assert_uint_eq(get(), 3);
	end();
}

TEST(an_empty_queue_makes_getters_wait_until_the_deadline)
{
	begin(0);
	uint32_t n;
	must_be(-ETIMEDOUT, crew_queue_get(&s->queue, &n, sizeof n, NULL, CREW_POLL));
	must_be(-ETIMEDOUT, crew_queue_get(&s->queue, &n, sizeof n, NULL, crew_now() - CREW_SECOND));
	crew_time before = crew_now();
	must_be(-ETIMEDOUT, crew_queue_get(&s->queue, &n, sizeof n, NULL, crew_after(150 * MS)));
	crew_time waited = crew_now() - before;
	ck_assert_int_ge(waited, 150 * MS);
	ck_assert_int_lt(waited, 1000 * MS);
	end();
}

static void *put_7(void *unused)
{
	(void)unused;
	uint32_t n = 7;
	return (void *)(intptr_t)crew_queue_put(&s->queue, &n, sizeof n, CREW_FOREVER);
}

enum { HURRIED = 2000 };

static void *put_slowly(void *unused)
{
	for (uint32_t i = 0; i < HURRIED; i++) {
		put(i);
		sched_yield();
	}
	return unused;
}

TEST(a_timed_out_get_takes_nothing)
{
	begin(4);
	pthread_t thread = start(put_slowly, NULL);
	unsigned timeouts = 0;
	for (uint32_t next = 0, n; next < HURRIED;) {
		int r = crew_queue_get(&s->queue, &n, sizeof n, NULL, crew_after(next % 3 * 5 * CREW_MICROSECOND));
		if (r == 0)
			ck_assert_uint_eq(n, next++);
		else
			must_be(-ETIMEDOUT, r);
		timeouts += r != 0;
	}
	pthread_join(thread, NULL);
	must_be(-ETIMEDOUT, crew_queue_get(&s->queue, NULL, 0, NULL, CREW_POLL));
	ck_assert_uint_gt(timeouts, 0);
	end();
}

static void *get_one(void *unused)
{
	(void)unused;
	uint32_t n = 0;
	int r = crew_queue_get(&s->queue, &n, sizeof n, NULL, CREW_FOREVER);
	return (void *)(intptr_t)(r < 0 ? r : r > 0 ? 1000000 + r : (int)n);
}

TEST(a_get_lets_one_sleeping_putter_go_on)
{
	begin(1);
	put(1);
	pthread_t a = start(put_7, NULL), b = start(put_7, NULL);
	await(asleep() == 2);
	ck_assert_uint_eq(get(), 1);
	await(asleep() == 1);
	ck_assert_uint_eq(get(), 7);
	ck_assert_uint_eq(get(), 7);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	ck_assert_uint_eq(crew__family.region->healed, 0);
	end();
}

/* ---- many ---- */

enum { LANES = 4, EACH = 5000 };

static void *produce(void *first)
{
	for (uint32_t i = 0; i < EACH; i++)
		put((uint32_t)(uintptr_t)first + i);
	return NULL;
}

static void *consume(void *unused)
{
	(void)unused;
	uint32_t n, last[LANES] = { 0 };
	while (crew_queue_get(&s->queue, &n, sizeof n, NULL, CREW_FOREVER) == 0) {
		__atomic_fetch_add(&s->seen[n], 1, __ATOMIC_RELAXED);
		ck_assert_uint_ge(n % EACH, last[n / EACH]); /* messages of one producer stay in their order */
		last[n / EACH] = n % EACH;
	}
	return NULL;
}

static void *take_and_do(void *unused)
{
	(void)unused;
	struct crew_message m;
	while (crew_queue_take(&s->queue, &m, CREW_FOREVER) == 0) {
		__atomic_fetch_add(&s->seen[number(&m)], 1, __ATOMIC_RELAXED);
		must(crew_queue_done(&s->queue, &m));
	}
	return NULL;
}

static void storm(void *(*consumer)(void *))
{
	pthread_t producers[LANES], consumers[LANES];
	for (uintptr_t i = 0; i < LANES; i++) {
		consumers[i] = start(consumer, NULL);
		producers[i] = start(produce, (void *)(i * EACH));
	}
	for (int i = 0; i < LANES; i++)
		pthread_join(producers[i], NULL);
	must(crew_queue_join(&s->queue, CREW_FOREVER));
	must(crew_queue_close(&s->queue, true));
	for (int i = 0; i < LANES; i++)
		pthread_join(consumers[i], NULL);
	for (int i = 0; i < LANES * EACH; i++)
		ck_assert_uint_eq(s->seen[i], 1);
	ck_assert_uint_eq(crew__family.region->healed, 0);
}

TEST(each_message_of_four_producers_reaches_one_of_four_consumers_once, .timeout = 60)
{
	begin(16);
	storm(consume);
	end();
}

TEST(each_message_is_leased_by_one_of_four_takers_once, .timeout = 60)
{
	begin(16);
	storm(take_and_do);
	end();
}

/* ---- leases ---- */

TEST(take_leaves_the_message_in_place_until_done)
{
	begin(0);
	put(1);
	put(2);
	struct crew_message m, n;
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	ck_assert_uint_eq(number(&m), 1);
	ck_assert_uint_eq(m.attempt, 1);
	ck_assert_uint_eq((uintptr_t)m.data % 16, 0);
	must(crew_queue_take(&s->queue, &n, CREW_POLL));
	must_be(-ETIMEDOUT, crew_queue_join(&s->queue, crew_after(20 * MS)));
	must(crew_queue_done(&s->queue, &m));
	ck_assert_ptr_null(m.data);
	must_be(-EPERM, crew_queue_done(&s->queue, &m));
	must_be(-EPERM, crew_queue_return(&s->queue, &m));
	must_be(-EPERM, crew_queue_done(&s->other, &n));
	must(crew_queue_done(&s->queue, &n));
	must(crew_queue_join(&s->queue, CREW_POLL));
	end();
}

TEST(a_returned_message_is_the_next_to_be_taken)
{
	begin(0);
	put(1);
	put(2);
	struct crew_message m;
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	must(crew_queue_return(&s->queue, &m));
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	ck_assert_uint_eq(number(&m), 1);
	ck_assert_uint_eq(m.attempt, 1);
	must(crew_queue_done(&s->queue, &m));
	ck_assert_uint_eq(get(), 2);
	end();
}

TEST(a_thread_has_at_most_64_leases)
{
	begin(0);
	struct crew_message m[65];
	for (uint32_t i = 0; i < 65; i++)
		put(i);
	for (int i = 0; i < 64; i++)
		must(crew_queue_take(&s->queue, &m[i], CREW_POLL));
	must_be(-ENOLCK, crew_queue_take(&s->queue, &m[64], CREW_POLL));
	for (int i = 0; i < 64; i += 2) /* from the middle of the list too */
		must(crew_queue_done(&s->queue, &m[i]));
	for (int i = 63; i > 0; i -= 2)
		must(crew_queue_done(&s->queue, &m[i]));
	ck_assert_uint_eq(get(), 64);
	end();
}

static void *take_three_and_end(void *unused)
{
	(void)unused;
	struct crew_message m;
	for (int i = 0; i < 3; i++)
		must(crew_queue_take(&s->queue, &m, CREW_POLL));
	return NULL;
}

static void *done_by_another(void *message)
{
	return (void *)(intptr_t)crew_queue_done(&s->queue, message);
}

TEST(only_the_thread_that_took_a_message_is_done_with_it)
{
	begin(0);
	put(1);
	struct crew_message m;
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	void *r;
	pthread_join(start(done_by_another, &m), &r);
	must_be(-EPERM, (int)(intptr_t)r);
	must(crew_queue_done(&s->queue, &m));
	end();
}

TEST(leases_of_a_thread_that_ended_come_back_at_the_head)
{
	begin(0);
	for (uint32_t i = 1; i <= 4; i++)
		put(i);
	run(take_three_and_end, NULL);
	uint32_t got[4], sum = 0;
	for (int i = 0; i < 4; i++) {
		struct crew_message m;
		/* Until the dead is found the head of the queue is message 4. */
		if (i == 0)
			crew__lane_reap_all();
		must(crew_queue_take(&s->queue, &m, CREW_FOREVER));
		got[i] = number(&m);
		sum += got[i];
		ck_assert_uint_eq(m.attempt, got[i] == 4 ? 1 : 2);
		must(crew_queue_done(&s->queue, &m));
	}
	ck_assert_uint_eq(got[3], 4);
	ck_assert_uint_eq(sum, 10);
	end();
}

TEST(a_poll_finds_what_a_dead_taker_had)
{
	begin(0);
	for (uint32_t i = 1; i <= 3; i++)
		put(i);
	run(take_three_and_end, NULL);
	for (int i = 0; i < 3; i++)
		must(crew_queue_get(&s->queue, (uint32_t[1]){ 0 }, 4, NULL, CREW_POLL));
	must_be(-ETIMEDOUT, crew_queue_get(&s->queue, NULL, 0, NULL, CREW_POLL));
	end();
}

static void *hold_one_until_told(void *unused)
{
	(void)unused;
	struct crew_message m;
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	__atomic_store_n(&s->result[0], 1, __ATOMIC_RELEASE);
	await(__atomic_load_n(&s->result[1], __ATOMIC_ACQUIRE));
	if (s->result[2])
		must(crew_queue_done(&s->queue, &m));
	return NULL;
}

/* done: 1, the taker finishes; 0, it ends with the lease. */
static void closed_with_a_lease(int done)
{
	begin(0);
	put(5);
	s->result[2] = done;
	pthread_t taker = start(hold_one_until_told, NULL);
	await(__atomic_load_n(&s->result[0], __ATOMIC_ACQUIRE));
	must(crew_queue_close(&s->queue, true));
	pthread_t getter = start(get_one, NULL);
	await(asleep() == 1);
	__atomic_store_n(&s->result[1], 1, __ATOMIC_RELEASE);
	void *r;
	pthread_join(taker, NULL);
	pthread_join(getter, &r);
	ck_assert_int_eq((int)(intptr_t)r, done ? 1000000 + CREW_END_OF_DATA : 5);
	end();
}

TEST(a_closed_queue_ends_when_the_last_lease_is_done)
{
	closed_with_a_lease(1);
}

TEST(a_closed_queue_still_gives_what_a_dead_taker_had)
{
	closed_with_a_lease(0);
}

TEST(whoever_has_a_lease_itself_gets_the_end_at_once)
{
	begin(0);
	put(1);
	struct crew_message m, n;
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	must(crew_queue_close(&s->queue, true));
	must_be(CREW_END_OF_DATA, crew_queue_take(&s->queue, &n, CREW_FOREVER));
	must(crew_queue_done(&s->queue, &m));
	must_be(CREW_END_OF_DATA, crew_queue_take(&s->queue, &n, CREW_FOREVER));
	end();
}

/* ---- join and close ---- */

static void *join_it(void *unused)
{
	(void)unused;
	return (void *)(intptr_t)crew_queue_join(&s->queue, CREW_FOREVER);
}

TEST(join_waits_for_the_last_done)
{
	begin(0);
	must(crew_queue_join(&s->queue, CREW_POLL));
	put(1);
	put(2);
	struct crew_message m;
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	pthread_t joiner = start(join_it, NULL);
	await(asleep() == 1);
	ck_assert_uint_eq(get(), 2);
	must_be(-ETIMEDOUT, crew_queue_join(&s->queue, CREW_POLL));
	must(crew_queue_done(&s->queue, &m));
	void *r;
	pthread_join(joiner, &r);
	must((int)(intptr_t)r);
	ck_assert_uint_eq(crew__family.region->healed, 0);
	end();
}

TEST(a_drained_queue_gives_what_is_inside_and_then_the_end)
{
	begin(0);
	put(1);
	put(2);
	must(crew_queue_close(&s->queue, true));
	uint32_t n = 3;
	must_be(-EPIPE, crew_queue_put(&s->queue, &n, sizeof n, CREW_FOREVER));
	ck_assert_uint_eq(get(), 1);
	ck_assert_uint_eq(crew_queue_length(&s->queue), 1);
	ck_assert_uint_eq(get(), 2);
	for (int i = 0; i < 3; i++)
		must_be(CREW_END_OF_DATA, crew_queue_get(&s->queue, &n, sizeof n, NULL, CREW_FOREVER));
	must(crew_queue_close(&s->queue, true));
	must(crew_queue_close(&s->queue, false));
	end();
}

TEST(a_queue_closed_at_once_drops_what_is_inside)
{
	begin(2000);
	for (uint32_t i = 0; i < 2000; i++)
		put(i);
	struct crew_message m;
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	must(crew_queue_close(&s->queue, false));
	ck_assert_uint_eq(crew_queue_length(&s->queue), 0);
	ck_assert_uint_eq(stats().leased, 1);
	ck_assert_uint_eq(blocks_of_others(), blocks_before);
	must_be(CREW_END_OF_DATA, crew_queue_get(&s->queue, NULL, 0, NULL, CREW_FOREVER));
	must_be(-ETIMEDOUT, crew_queue_join(&s->queue, CREW_POLL));
	ck_assert_uint_eq(number(&m), 0); /* readable until done */
	must(crew_queue_done(&s->queue, &m));
	must(crew_queue_join(&s->queue, CREW_POLL));
	end();
}

TEST(what_comes_back_to_a_queue_closed_at_once_is_dropped)
{
	begin(0);
	for (uint32_t i = 0; i < 3; i++)
		put(i);
	run(take_three_and_end, NULL);
	must(crew_queue_close(&s->queue, false));
	must(crew_queue_join(&s->queue, CREW_FOREVER));
	ck_assert_uint_eq(stats().leased, 0);
	ck_assert_uint_eq(blocks_of_others(), blocks_before);
	end();
}

static void close_wakes(bool drain)
{
	begin(1);
	put(1);
	pthread_t putters[2] = { start(put_7, NULL), start(put_7, NULL) }, joiner = start(join_it, NULL);
	await(asleep() == 3);
	must(crew_queue_close(&s->queue, drain));
	void *r;
	for (int i = 0; i < 2; i++) {
		pthread_join(putters[i], &r);
		must_be(-EPIPE, (int)(intptr_t)r);
	}
	if (drain)
		ck_assert_uint_eq(get(), 1);
	pthread_join(joiner, &r);
	must((int)(intptr_t)r);
	crew_queue_fini(&s->queue);

	pthread_t getters[3] = { start(get_one, NULL), start(get_one, NULL), start(get_one, NULL) };
	await(asleep() == 3);
	must(crew_queue_close(&s->queue, drain));
	for (int i = 0; i < 3; i++) {
		pthread_join(getters[i], &r);
		ck_assert_int_eq((int)(intptr_t)r, 1000000 + CREW_END_OF_DATA);
	}
	ck_assert_uint_eq(crew__family.region->healed, 0);
	end();
}

TEST(close_with_drain_wakes_everybody)
{
	close_wakes(true);
}

TEST(close_at_once_wakes_everybody)
{
	close_wakes(false);
}

TEST(a_finished_queue_is_fresh_and_keeps_its_capacity)
{
	begin(3);
	put(1);
	put(2);
	struct crew_message m;
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	must(crew_queue_close(&s->queue, true));
	crew_queue_fini(&s->queue);
	ck_assert_uint_eq(blocks(), blocks_before);
	for (uint32_t i = 0; i < 3; i++)
		put(i);
	must_be(-ETIMEDOUT, crew_queue_put(&s->queue, NULL, 0, CREW_POLL));
	ck_assert_uint_eq(get(), 0);
	end();
}

/* ---- in place, and many at once ---- */

TEST(a_loan_is_put_where_it_was_written)
{
	begin(2);
	struct crew_loan loan, other;
	must(crew_queue_loan(&s->queue, 1 << 20, &loan));
	ck_assert_uint_eq((uintptr_t)loan.data % 16, 0);
	memset(loan.data, 7, 1 << 20);
	const void *written = loan.data;
	other = loan;
	must(crew_queue_publish(&s->queue, &loan, CREW_POLL));
	ck_assert_ptr_null(loan.data);
	must_be(-EPERM, crew_queue_publish(&s->queue, &other, CREW_POLL));
	must_be(-EPERM, crew_queue_drop_loan(&s->queue, &other));
	struct crew_message m;
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	ck_assert_ptr_eq(m.data, written);
	ck_assert_uint_eq(m.size, 1 << 20);
	must(crew_queue_done(&s->queue, &m));

	must(crew_queue_loan(&s->queue, 8, &loan));
	memcpy(loan.data, "12345678", 8);
	loan.size = 9;
	must_be(-EINVAL, crew_queue_publish(&s->queue, &loan, CREW_POLL));
	loan.size = 3;
	must(crew_queue_publish(&s->queue, &loan, CREW_POLL));
	char text[8];
	size_t size;
	must(crew_queue_get(&s->queue, text, 3, &size, CREW_POLL));
	ck_assert_uint_eq(size, 3);
	ck_assert_int_eq(memcmp(text, "123", 3), 0);
	must(crew_queue_loan(&s->queue, 100, &loan));
	must(crew_queue_drop_loan(&s->queue, &loan));
	must(crew_queue_join(&s->queue, CREW_POLL));
	end();
}

TEST(a_loan_that_cannot_be_put_now_remains)
{
	begin(1);
	struct crew_loan loan;
	put(1);
	must(crew_queue_loan(&s->queue, 4, &loan));
	*(uint32_t *)loan.data = 2;
	must_be(-ETIMEDOUT, crew_queue_publish(&s->queue, &loan, CREW_POLL));
	ck_assert_uint_eq(get(), 1);
	must(crew_queue_publish(&s->queue, &loan, CREW_POLL));
	ck_assert_uint_eq(get(), 2);
	must(crew_queue_loan(&s->queue, 4, &loan));
	must(crew_queue_close(&s->queue, true));
	must_be(-EPIPE, crew_queue_publish(&s->queue, &loan, CREW_POLL));
	must(crew_queue_drop_loan(&s->queue, &loan));
	must_be(CREW_END_OF_DATA, crew_queue_get(&s->queue, NULL, 0, NULL, CREW_POLL));
	end();
}

static void *borrow_and_end(void *unused)
{
	struct crew_loan loan;
	(void)unused;
	for (int i = 0; i < 3; i++)
		must(crew_queue_loan(&s->queue, 100000, &loan));
	return NULL;
}

TEST(loans_of_a_thread_that_ended_are_gone)
{
	begin(0);
	run(borrow_and_end, NULL);
	crew__lane_reap_all();
	ck_assert_uint_eq(crew__nodes_in(crew__ring_of(&s->queue), 1u << CREW__ALLOC), 0);
	ck_assert_uint_eq(blocks_of_others(), blocks_before);
	must(crew_queue_join(&s->queue, CREW_POLL));
	end();
}

static void put_batch(uint32_t first, unsigned count)
{
	uint32_t number[64];
	struct iovec messages[64];
	for (unsigned i = 0; i < count; i++) {
		number[i] = first + i;
		messages[i] = (struct iovec){ &number[i], sizeof number[i] };
	}
	must(crew_queue_put_many(&s->queue, messages, count, CREW_FOREVER));
}

/* Up to `most` at once, and how many they were; they follow each other from `first` on. */
static unsigned get_batch(uint32_t first, unsigned most)
{
	uint32_t number[64];
	struct iovec rooms[64];
	unsigned got;
	for (unsigned i = 0; i < most; i++)
		rooms[i] = (struct iovec){ &number[i], sizeof number[i] };
	must(crew_queue_get_many(&s->queue, rooms, most, &got, CREW_POLL));
	for (unsigned i = 0; i < got; i++) {
		ck_assert_uint_eq(rooms[i].iov_len, sizeof number[i]);
		ck_assert_uint_eq(number[i], first + i);
	}
	return got;
}

TEST(many_are_put_and_got_at_once_in_their_order)
{
	begin(3);
	put_batch(0, 16);
	ck_assert_uint_eq(get_batch(0, 16), 16);
	put_batch(0, 16); /* one place for all of them */
	put(16);
	put_batch(17, 1);
	must_be(-ETIMEDOUT, crew_queue_put(&s->queue, NULL, 0, CREW_POLL));
	ck_assert_uint_eq(get_batch(0, 5), 5); /* the rest stays, before the others */
	ck_assert_uint_eq(get(), 5);
	struct crew_message m, n;
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	ck_assert_uint_eq(number(&m), 6);
	must(crew_queue_take(&s->queue, &n, CREW_POLL));
	ck_assert_uint_eq(number(&n), 7);
	must(crew_queue_return(&s->queue, &m));
	must(crew_queue_done(&s->queue, &n));
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	ck_assert_uint_eq(m.attempt, 1);
	must(crew_queue_return(&s->queue, &m));
	uint32_t sum = 0;
	while (crew_queue_length(&s->queue))
		sum += get();
	ck_assert_uint_eq(sum, 17 * 18 / 2 - 0 - 1 - 2 - 3 - 4 - 5 - 7);
	must(crew_queue_join(&s->queue, CREW_POLL));
	end();
}

TEST(the_last_of_a_batch_can_be_taken_and_what_does_not_fit_stays)
{
	begin(0);
	struct iovec two[2] = { { (char[]){ "a" }, 1 }, { (char[]){ "0123456789012345678901234567" }, 28 } };
	unsigned got = 7;
	must(crew_queue_put_many(&s->queue, two, 2, CREW_POLL));
	char text[2][4];
	struct iovec rooms[2] = { { text[0], 4 }, { text[1], 4 } };
	must(crew_queue_get_many(&s->queue, rooms, 2, &got, CREW_POLL));
	ck_assert_uint_eq(got, 1);
	ck_assert_uint_eq(rooms[0].iov_len, 1);
	rooms[0].iov_len = 4;
	must_be(-EMSGSIZE, crew_queue_get_many(&s->queue, rooms, 2, &got, CREW_POLL));
	ck_assert_uint_eq(got, 0);
	ck_assert_uint_eq(rooms[0].iov_len, 28);
	size_t size;
	must_be(-EMSGSIZE, crew_queue_get(&s->queue, text, 4, &size, CREW_POLL));
	ck_assert_uint_eq(size, 28);
	struct crew_message m;
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	ck_assert_int_eq(memcmp(m.data, "0123456789012345678901234567", 28), 0);
	must(crew_queue_done(&s->queue, &m));
	must(crew_queue_join(&s->queue, CREW_POLL));
	must_be(-EINVAL, crew_queue_put_many(&s->queue, two, 0, CREW_POLL));
	must_be(-EINVAL, crew_queue_put_many(&s->queue, two, CREW_QUEUE_MANY + 1, CREW_POLL));
	must_be(-EINVAL, crew_queue_get_many(&s->queue, rooms, 0, &got, CREW_POLL));
	must_be(-ETIMEDOUT, crew_queue_get_many(&s->queue, rooms, 1, &got, CREW_POLL));
	end();
}

/* ---- options and figures ---- */

TEST(what_a_dead_taker_had_is_dropped_where_it_is_wanted_at_most_once)
{
	begin(0);
	must(crew_queue_init_with(&s->queue, &(struct crew_queue_options){ .at_most_once = true }));
	for (uint32_t i = 0; i < 4; i++)
		put(i);
	run(take_three_and_end, NULL);
	crew__lane_reap_all();
	ck_assert_uint_eq(get(), 3);
	must(crew_queue_join(&s->queue, CREW_POLL));
	ck_assert_uint_eq(stats().dropped, 3);
	ck_assert_uint_eq(stats().redelivered, 0);
	end();
}

static void *take_one_and_end(void *unused)
{
	struct crew_message m;
	(void)unused;
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	return NULL;
}

TEST(after_max_attempts_a_message_goes_to_the_dead_letters, .count = 2)
{
	begin(0);
	must_be(-EINVAL, crew_queue_init_with(&s->queue, &(struct crew_queue_options){ .max_attempts = 255 }));
	must_be(-EINVAL, crew_queue_init_with(&s->queue, &(struct crew_queue_options){ .dead_letters = &s->queue }));
	must(crew_queue_init_with(&s->queue, &(struct crew_queue_options){ .max_attempts = 2, .dead_letters = &s->other }));
	char text[100000] = "a letter";
	size_t size = index ? sizeof text : 9;
	must(crew_queue_put(&s->queue, text, size, CREW_POLL));
	for (uint32_t attempt = 1; attempt <= 2; attempt++) {
		ck_assert_uint_eq(crew_queue_length(&s->other), 0);
		run(take_one_and_end, NULL);
		crew__lane_reap_all();
	}
	ck_assert_uint_eq(crew_queue_length(&s->queue), 0);
	must(crew_queue_join(&s->queue, CREW_POLL));
	struct crew_message m;
	must(crew_queue_take(&s->other, &m, CREW_POLL));
	ck_assert_uint_eq(m.attempt, 2);
	ck_assert_uint_eq(m.size, size);
	ck_assert_str_eq(m.data, "a letter");
	must(crew_queue_done(&s->other, &m));
	must(crew_queue_join(&s->other, CREW_POLL));
	ck_assert_uint_eq(stats().dead_letters, 1);
	ck_assert_uint_eq(stats().redelivered, 1);
	crew_queue_fini(&s->other);
	end();
}

TEST(dead_letters_find_room_however_full_it_is)
{
	begin(0);
	crew_queue_init(&s->other, 16); /* as many nodes */
	must(crew_queue_init_with(&s->queue, &(struct crew_queue_options){ .max_attempts = 1, .dead_letters = &s->other }));
	for (uint32_t i = 0; i < 16; i++)
		must(crew_queue_put(&s->other, &i, sizeof i, CREW_POLL));
	for (uint32_t i = 1; i <= 20; i++) {
		put(i);
		run(take_one_and_end, NULL);
		crew__lane_reap_all();
		ck_assert_uint_eq(stats().dead_letters, i);
		ck_assert_uint_eq(crew_queue_length(&s->other), 16 + i);
	}
	crew_queue_fini(&s->other);
	end();
}

TEST(the_figures_of_a_queue)
{
	begin(10);
	struct crew_message m;
	ck_assert_uint_eq(stats().put, 0);
	for (uint32_t i = 0; i < 10; i++)
		put(i);
	must_be(-ETIMEDOUT, crew_queue_put(&s->queue, NULL, 0, CREW_POLL));
	get();
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	struct crew_queue_stats now = stats();
	ck_assert_uint_eq(now.put, 10);
	ck_assert_uint_eq(now.taken, 2);
	ck_assert_uint_eq(now.waiting, 8);
	ck_assert_uint_eq(now.leased, 1);
	ck_assert_uint_eq(now.highest, 10);
	must(crew_queue_done(&s->queue, &m));
	ck_assert_uint_eq(stats().leased, 0);
	end();
}

/* ---- growth ---- */

static void begin_growing(uint32_t capacity, uint64_t cap)
{
	begin(0);
	must(crew_queue_init_with(&s->queue,
		&(struct crew_queue_options){ .capacity = capacity, .unbounded = true, .memory_cap = cap }));
}

TEST(an_unbounded_queue_grows_and_keeps_the_order)
{
	begin_growing(3, 0);
	must_be(-EINVAL, crew_queue_init_with(&s->other, &(struct crew_queue_options){ .memory_cap = 1 }));
	uint32_t in = 0, out = 0;
	for (unsigned round = 0; round < 200; round++) { /* the further it goes the more is inside */
		for (unsigned i = 0; i < 100; i++)
			put(in++);
		for (unsigned i = 0; i < 50; i++)
			ck_assert_uint_eq(get(), out++);
		ck_assert_uint_eq(crew_queue_length(&s->queue), in - out);
	}
	ck_assert_uint_eq(stats().put, in);
	ck_assert_uint_ge(stats().highest, in - out);
	while (out < in)
		ck_assert_uint_eq(get(), out++);
	ck_assert_uint_eq(crew_queue_length(&s->queue), 0);
	must(crew_queue_join(&s->queue, CREW_POLL));
	for (unsigned i = 0; i < 30000; i++) { /* around the new cells */
		put(i);
		ck_assert_uint_eq(get(), i);
	}
	end();
}

/* With large messages the cap counts these; when some have left there is room again. */
TEST(it_grows_up_to_its_cap_and_then_waits, .count = 2)
{
	begin_growing(4, 1 << 18);
	static char bytes[3000];
	size_t size = index ? sizeof bytes : 8;
	unsigned count = 0;
	int r;
	while ((r = crew_queue_put(&s->queue, bytes, size, CREW_POLL)) == 0)
		ck_assert_uint_lt(++count, 10000);
	must_be(-ETIMEDOUT, r);
	ck_assert_uint_gt(count, index ? 30 : 1000);
	ck_assert_uint_le(crew_usable_size(crew__at(crew__ring_of(&s->queue)->block)) + count * size, 1 << 18);
	must_be(-ETIMEDOUT, crew_queue_put(&s->queue, bytes, size, crew_after(5 * CREW_MILLISECOND)));
	must(crew_queue_get(&s->queue, bytes, sizeof bytes, NULL, CREW_POLL));
	must(crew_queue_put(&s->queue, bytes, size, CREW_POLL));
	must_be(-ETIMEDOUT, crew_queue_put(&s->queue, bytes, size, CREW_POLL));
	ck_assert_uint_eq(crew_queue_length(&s->queue), count);
	end();
}

/* Leases, what came back, and the end of old cells. */
TEST(leases_and_the_close_know_nothing_of_growth, .count = 2)
{
	begin_growing(2, 0);
	struct crew_message held[3];
	for (uint32_t i = 0; i < 3; i++)
		put(i);
	for (uint32_t i = 0; i < 3; i++)
		must(crew_queue_take(&s->queue, &held[i], CREW_POLL));
	for (uint32_t i = 3; i < 100; i++)
		put(i);
	must(crew_queue_return(&s->queue, &held[1]));
	must(crew_queue_return(&s->queue, &held[0]));
	ck_assert_uint_eq(get(), 0);
	ck_assert_uint_eq(get(), 1);
	ck_assert_uint_eq(get(), 3);
	run(take_one_and_end, NULL); /* 4 comes back */
	crew__lane_reap_all();
	must(crew_queue_close(&s->queue, index));
	must_be(-EPIPE, crew_queue_put(&s->queue, NULL, 0, CREW_POLL));
	must(crew_queue_done(&s->queue, &held[2]));
	for (uint32_t i = 4; index && i < 100; i++)
		ck_assert_uint_eq(get(), i);
	uint32_t none;
	must_be(CREW_END_OF_DATA, crew_queue_get(&s->queue, &none, sizeof none, NULL, CREW_POLL));
	must(crew_queue_join(&s->queue, CREW_POLL));
	end();
}

enum { GROWERS = 3, FROM_EACH = 3000 };
static uint32_t reached[GROWERS];

static void *put_many_numbers(void *which)
{
	uint32_t base = (uint32_t)(uintptr_t)which << 16;
	for (uint32_t i = 0; i < FROM_EACH; i++)
		put(base | i);
	return NULL;
}

static void *get_some_numbers(void *unused)
{
	uint32_t last[GROWERS] = { 0 }, n;
	while (crew_queue_get(&s->queue, &n, sizeof n, NULL, CREW_FOREVER) == 0) {
		ck_assert_uint_gt((n & 0xffff) + 1, last[n >> 16]); /* each sender's in order */
		last[n >> 16] = (n & 0xffff) + 1;
		__atomic_fetch_add(&reached[n >> 16], 1, __ATOMIC_RELAXED);
	}
	return unused;
}

TEST(it_grows_while_many_put_and_get)
{
	for (unsigned round = 0; round < 5; round++) {
		pthread_t senders[GROWERS], getters[2];
		if (round == 0)
			begin_growing(1, 0);
		memset(reached, 0, sizeof reached);
		for (uintptr_t i = 0; i < GROWERS; i++)
			ck_assert_int_eq(pthread_create(&senders[i], NULL, put_many_numbers, (void *)i), 0);
		for (unsigned i = 0; i < 2; i++)
			ck_assert_int_eq(pthread_create(&getters[i], NULL, get_some_numbers, NULL), 0);
		for (unsigned i = 0; i < GROWERS; i++)
			pthread_join(senders[i], NULL);
		must(crew_queue_close(&s->queue, true));
		for (unsigned i = 0; i < 2; i++)
			pthread_join(getters[i], NULL);
		for (unsigned i = 0; i < GROWERS; i++)
			ck_assert_uint_eq(reached[i], FROM_EACH);
		crew_queue_fini(&s->queue);
	}
	end();
}

/* Large blocks for loans are not given back each time. */
TEST(a_loan_gets_the_block_of_the_last_one)
{
	begin(0);
	struct crew_loan loan;
	struct crew_message m;
	void *first = NULL;
	for (unsigned i = 0; i < 20; i++) {
		must(crew_queue_loan(&s->queue, 1 << 20, &loan));
		ck_assert(i == 0 || loan.data == first);
		first = loan.data;
		must(crew_queue_publish(&s->queue, &loan, CREW_POLL));
		put(i); /* small ones use other nodes */
		must(crew_queue_take(&s->queue, &m, CREW_POLL));
		must(crew_queue_done(&s->queue, &m));
		ck_assert_uint_eq(get(), i);
	}
	struct crew_loan many[CREW__LARGE + 4];
	uint64_t before = blocks();
	for (unsigned i = 0; i < CREW__LARGE + 4; i++)
		must(crew_queue_loan(&s->queue, 100000, &many[i]));
	for (unsigned i = 0; i < CREW__LARGE + 4; i++)
		must(crew_queue_drop_loan(&s->queue, &many[i]));
	ck_assert_uint_eq(blocks(), before + CREW__LARGE - 1);
	must(crew_queue_loan(&s->queue, CREW__KEPT_LARGE + 1, &loan)); /* nor are they kept however large */
	must(crew_queue_drop_loan(&s->queue, &loan));
	ck_assert_uint_eq(blocks(), before + CREW__LARGE - 2);
	end();
}

TEST(a_small_ring_goes_round_many_times_with_leases_in_between)
{
	begin(3);
	struct crew_message held[40];
	for (uint32_t i = 0; i < 40; i++) { /* more leases than the first nodes */
		put(i);
		must(crew_queue_take(&s->queue, &held[i], CREW_POLL));
	}
	for (uint32_t i = 0; i < 10000; i++) {
		put(i);
		ck_assert_uint_eq(get(), i);
	}
	for (uint32_t i = 0; i < 40; i++) {
		ck_assert_uint_eq(number(&held[i]), i);
		must(crew_queue_done(&s->queue, &held[i]));
	}
	end();
}
