/* map.c - the shared map, with threads and processes around it; at every instruction: tests/death_map.c */
#include "family.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <crew/crew.h>
#include "memory/map.h"

static struct shared {
	struct crew_map map;
	uint64_t told[16];
	int stop;
} *s;

static void begin(void)
{
	s = family_begin(sizeof *s);
}

static void end(void)
{
	crew_map_fini(&s->map);
	family_end(s);
}

static void put(uint64_t key, uint64_t value)
{
	must(crew_map_put(&s->map, &key, sizeof key, &value, sizeof value));
}

static int get(uint64_t key, uint64_t *ret, uint64_t *version)
{
	size_t size = 0;
	int r = crew_map_get(&s->map, &key, sizeof key, ret, sizeof *ret, &size, version);
	ck_assert(r != 0 || size == sizeof *ret);
	return r;
}

TEST(the_hash_is_siphash)
{
	uint64_t key[2] = { UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908) };
	unsigned char text[15];
	for (unsigned char i = 0; i < 15; i++)
		text[i] = i;
	ck_assert_uint_eq(crew__siphash(2, 4, key, text, sizeof text), UINT64_C(0xa129ca6149be45e5)); /* of the paper, appendix A */
}

TEST(what_was_put_is_got_until_it_is_deleted)
{
	uint64_t value, version, later;
	begin();
	must_be(-ENOENT, get(1, &value, NULL));
	for (uint64_t i = 0; i < 5000; i++)
		put(i, i * i);
	ck_assert_uint_eq(crew_map_count(&s->map), 5000);
	for (uint64_t i = 0; i < 5000; i++) {
		must(get(i, &value, NULL));
		ck_assert_uint_eq(value, i * i);
	}
	must(get(7, &value, &version));
	put(7, 8);
	must(get(7, &value, &later));
	ck_assert_uint_eq(value, 8);
	ck_assert_uint_ne(version, later);
	for (uint64_t i = 0; i < 5000; i += 2)
		must(crew_map_delete(&s->map, &i, sizeof i, 0));
	for (uint64_t i = 0; i < 5000; i++)
		must_be(i % 2 ? 0 : -ENOENT, get(i, &value, NULL));
	ck_assert_uint_eq(crew_map_count(&s->map), 2500);
	must(crew_map_clear(&s->map));
	ck_assert_uint_eq(crew_map_count(&s->map), 0);
	must_be(-ENOENT, get(1, &value, NULL));
	end();
}

TEST(keys_and_values_have_any_size)
{
	begin();
	size_t size, large = 100000;
	char *value = calloc(1, large), *back = malloc(large);
	memset(value, 'x', large);
	must(crew_map_put(&s->map, NULL, 0, NULL, 0));
	must(crew_map_get(&s->map, NULL, 0, NULL, 0, &size, NULL));
	ck_assert_uint_eq(size, 0);
	must(crew_map_put(&s->map, value, large, value, large));
	must_be(-EMSGSIZE, crew_map_get(&s->map, value, large, back, 10, &size, NULL));
	ck_assert_uint_eq(size, large);
	must(crew_map_get(&s->map, value, large, back, large, &size, NULL));
	ck_assert_int_eq(memcmp(value, back, large), 0);
	must(crew_map_put(&s->map, "a", 1, "", 0));
	must_be(-ENOENT, crew_map_get(&s->map, "b", 1, back, large, &size, NULL));
	must_be(-ENOENT, crew_map_get(&s->map, "a\0", 2, back, large, &size, NULL));
	must_be(-EINVAL, crew_map_put(&s->map, "a", (size_t)1 << 32, NULL, 0));
	static struct crew_map elsewhere;
	must_be(-EINVAL, crew_map_put(&elsewhere, "a", 1, NULL, 0));
	free(value);
	free(back);
	end();
}

TEST(a_version_says_whether_anything_has_happened)
{
	uint64_t key = 1, value = 10, version, other;
	begin();
	must(crew_map_put_if(&s->map, &key, sizeof key, &value, sizeof value, 0, &version));
	must_be(-EEXIST, crew_map_put_if(&s->map, &key, sizeof key, &value, sizeof value, 0, NULL));
	must(get(1, &value, &other));
	ck_assert_uint_eq(version, other);
	must_be(-ESTALE, crew_map_put_if(&s->map, &key, sizeof key, &value, sizeof value, version + 1, NULL));
	must(crew_map_put_if(&s->map, &key, sizeof key, &value, sizeof value, version, &other));
	must_be(-ESTALE, crew_map_delete(&s->map, &key, sizeof key, version));
	must(crew_map_delete(&s->map, &key, sizeof key, other));
	must_be(-ENOENT, crew_map_delete(&s->map, &key, sizeof key, 0));
	must_be(-ENOENT, crew_map_put_if(&s->map, &key, sizeof key, &value, sizeof value, other, NULL));
	end();
}

static int add_one(void *context, struct crew_map_change *change)
{
	uint64_t *value = change->value;
	++*(unsigned *)context;
	*value = change->size ? *value + 1 : 1;
	change->size = sizeof *value;
	return CREW_MAP_STORE;
}

static int refuse(void *context, struct crew_map_change *change)
{
	(void)change;
	return *(int *)context;
}

static int change_inside(void *context, struct crew_map_change *change)
{
	(void)change;
	*(int *)context = crew_map_put(&s->map, "x", 1, "x", 1);
	return CREW_MAP_DELETE;
}

TEST(an_update_is_a_function_of_what_is_there)
{
	begin();
	unsigned calls = 0;
	uint64_t key = 3, value;
	for (int i = 0; i < 3; i++)
		must(crew_map_update(&s->map, &key, sizeof key, sizeof value, add_one, &calls));
	ck_assert_uint_eq(calls, 3);
	must(get(3, &value, NULL));
	ck_assert_uint_eq(value, 3);
	int answer = -ENOENT;
	must_be(-ENOENT, crew_map_update(&s->map, &key, sizeof key, sizeof value, refuse, &answer));
	answer = 77;
	must_be(77, crew_map_update(&s->map, &key, sizeof key, sizeof value, refuse, &answer));
	must(crew_map_update(&s->map, &key, sizeof key, sizeof value, change_inside, &answer));
	ck_assert_int_eq(answer, -EDEADLK);
	must_be(-ENOENT, get(3, &value, NULL));
	ck_assert_uint_eq(crew_map_count(&s->map), 0);
	end();
}

struct walk { uint64_t count, sum; };

static int sum_up(void *context, const void *key, size_t key_size, const void *value, size_t size)
{
	struct walk *walk = context;
	ck_assert(key_size == 8 && size == 8);
	ck_assert_uint_eq((uintptr_t)value % 16, 0);
	(void)key;
	walk->count++;
	walk->sum += *(const uint64_t *)value;
	return walk->count == 100 ? 5 : 0;
}

/* Deletes what it is shown, and makes the map grow: what was there is shown all the same. */
static int turn_over(void *context, const void *key, size_t key_size, const void *value, size_t size)
{
	(void)size;
	uint64_t old = *(const uint64_t *)value;
	if (old >= 1000000)
		return 0;
	++*(unsigned *)context;
	for (uint64_t i = 0; i < 5; i++)
		put(1000000 + old * 5 + i, 1000000);
	return crew_map_delete(&s->map, key, key_size, 0);
}

TEST(each_shows_every_key_that_stays)
{
	struct walk walk = { 0, 0 };
	unsigned seen = 0;
	begin();
	must(crew_map_each(&s->map, sum_up, &walk));
	for (uint64_t i = 0; i < 99; i++)
		put(i, i);
	must(crew_map_each(&s->map, sum_up, &walk));
	ck_assert_uint_eq(walk.sum, 98 * 99 / 2);
	must_be(5, crew_map_each(&s->map, sum_up, &walk));
	must(crew_map_each(&s->map, turn_over, &seen));
	ck_assert_uint_eq(seen, 99);
	end();
}

enum { ROUNDS = 4000, HOT = 5 };

static void *count_up(void *argument)
{
	unsigned calls = 0;
	for (uint64_t i = 0; i < ROUNDS; i++) {
		uint64_t key = i % HOT;
		must(crew_map_update(&s->map, &key, sizeof key, sizeof key, add_one, &calls));
	}
	return argument;
}

/* Values are pairs whose halves agree, in two sizes: a torn one would be seen. */
static void *write_pairs(void *argument)
{
	uint64_t me = (uint64_t)(uintptr_t)argument, value[20];
	for (uint64_t i = 0; i < ROUNDS; i++) {
		uint64_t key = 100 + i % 50, n = i % 3 ? 2 : 20;
		for (unsigned j = 0; j < n; j++)
			value[j] = me * ROUNDS + i;
		if (i % 7 == 6)
			(void)!crew_map_delete(&s->map, &key, sizeof key, 0);
		else
			must(crew_map_put(&s->map, &key, sizeof key, value, n * sizeof *value));
	}
	return argument;
}

static void *read_pairs(void *argument)
{
	uint64_t value[20], key = 0;
	for (; !__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE); key++) {
		size_t size;
		uint64_t at = 100 + key % 50;
		int r = crew_map_get(&s->map, &at, sizeof at, value, sizeof value, &size, NULL);
		if (r == -ENOENT)
			continue;
		must(r);
		ck_assert(size == 16 || size == 160);
		for (unsigned j = 1; j < size / 8; j++)
			ck_assert_uint_eq(value[j], value[0]);
	}
	return argument;
}

TEST(threads_see_whole_values_and_lose_no_update, .timeout = 60)
{
	pthread_t writers[4], reader;
	begin();
	reader = start(read_pairs, NULL);
	for (unsigned i = 0; i < 4; i++)
		writers[i] = start(i < 2 ? count_up : write_pairs, (void *)(uintptr_t)i);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(writers[i], NULL);
	__atomic_store_n(&s->stop, 1, __ATOMIC_RELEASE);
	pthread_join(reader, NULL);
	for (uint64_t i = 0; i < HOT; i++) {
		uint64_t value;
		must(get(i, &value, NULL));
		ck_assert_uint_eq(value, 2 * ROUNDS / HOT);
	}
	end();
}

TEST(what_is_replaced_is_freed_while_the_map_is_in_use)
{
	begin();
	struct crew_map_stats stats;
	for (uint64_t i = 0; i < 20000; i++)
		put(i % 10, i);
	must(crew_map_stats(&s->map, &stats));
	ck_assert_uint_eq(stats.count, 10);
	ck_assert_uint_eq(stats.bytes, 160);
	ck_assert_uint_eq(stats.changes, 20000);
	ck_assert_uint_lt(stats.retired, 2000);
	ck_assert_uint_lt(blocks(), blocks_before + 3000);
	end();
}

/* ---- processes, and their deaths ---- */

struct order { struct shared *shared; uint64_t seed; };

static int storm(void *argument, size_t size)
{
	const struct order *order = argument;
	(void)size;
	s = order->shared;
	unsigned calls = 0;
	for (uint64_t n = order->seed;; n = n * UINT64_C(6364136223846793005) + 1442695040888963407) {
		uint64_t key = (n >> 33) % 300, value[6];
		for (unsigned i = 0; i < 6; i++)
			value[i] = n;
		switch ((n >> 60) % 4) {
		case 0: do_or_exit(crew_map_put(&s->map, &key, sizeof key, value, sizeof value)); break;
		case 1: (void)!crew_map_delete(&s->map, &key, sizeof key, 0); break;
		case 2:
			key += 1000;
			do_or_exit(crew_map_update(&s->map, &key, sizeof key, 8, add_one, &calls));
			break;
		default: (void)!crew_map_get(&s->map, &key, sizeof key, value, sizeof value, NULL, NULL);
		}
	}
	return 0;
}

static int is_whole(void *context, const void *key, size_t key_size, const void *value, size_t size)
{
	(void)key_size;
	const uint64_t *words = value;
	++*(unsigned *)context;
	if (*(const uint64_t *)key >= 1000)
		return size != 8;
	for (unsigned i = 1; i < 6; i++)
		if (words[i] != words[0])
			return 1;
	return size != 48;
}

TEST(a_storm_of_kills_leaves_every_entry_whole, .timeout = 120)
{
	enum { PROCESSES = 4 };
	struct crew_process *process[PROCESSES];
	begin();
	crew_time until = crew_after(getenv("CREW_TEST_LONG") ? 20 * CREW_SECOND : CREW_SECOND / 2);
	struct order order = { s, (uint64_t)crew_now() };
	uint64_t kills = 0;
	struct crew_process_options options = { .function = storm, .argument = &order, .argument_size = sizeof order };
	for (unsigned i = 0; i < PROCESSES; i++, order.seed++)
		must(crew_process_start(&process[i], &options));
	for (; crew_now() < until; kills++) {
		unsigned i = (unsigned)(order.seed * 7 % PROCESSES);
		struct crew_status status;
		crew_time pause = crew_after((crew_time)(order.seed % 5) * CREW_MILLISECOND);
		do
			put(5000, order.seed);
		while (crew_now() < pause);
		must(crew_process_signal(process[i], SIGKILL));
		must(crew_process_join(process[i], CREW_FOREVER, &status));
		ck_assert_int_eq(status.state, CREW_KILLED);
		must(crew_process_close(process[i]));
		order.seed++;
		must(crew_process_start(&process[i], &options));
		uint64_t value;
		must(get(5000, &value, NULL));
		must(crew_map_delete(&s->map, &(uint64_t){ 5000 }, 8, 0));
		unsigned seen = 0;
		must(crew_map_each(&s->map, is_whole, &seen));
		put(5000, order.seed);
		must(crew_map_delete(&s->map, &(uint64_t){ 5000 }, 8, 0));
	}
	for (unsigned i = 0; i < PROCESSES; i++) {
		must(crew_process_signal(process[i], SIGKILL));
		must(crew_process_join(process[i], CREW_FOREVER, NULL));
		must(crew_process_close(process[i]));
	}
	ck_assert_uint_gt(kills, 0);
	unsigned seen = 0;
	must(crew_map_each(&s->map, is_whole, &seen));
	ck_assert_uint_eq(seen, crew_map_count(&s->map));
	end();
}
