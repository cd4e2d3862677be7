/*
 * death_map.c - processes killed at every instruction of an operation on the shared map
 *
 * What must hold after each: the key has the value from before or the one from after, whole; that does not change
 * any more; the survivors get on; and nothing is left when the map is emptied.
 */
#include "family.h"

#include <string.h>
#include <crew/crew.h>
#include "death/killpoint.h"
#include "memory/map.h"

enum { KEY = 0, KEYS = 5, OLD = 10, NEW = 20, ABSENT = 0 };

static struct shared {
	struct crew_map map;
	uint64_t keys[KEYS + 1]; /* all of one shard: five fill its first table. The first is what operations work on */
	uint64_t seen;           /* by watch: the last value of that key */
	uint64_t old, new;
} *s;

static void put_at(unsigned i, uint64_t value)
{
	uint64_t pair[2] = { value, value };
	must(crew_map_put(&s->map, &s->keys[i], sizeof *s->keys, pair, sizeof pair));
}

/* The value of a key, ABSENT if there is none. Also while a victim is stopped anywhere: a get waits for nobody. */
static uint64_t look_at(unsigned i)
{
	uint64_t pair[2];
	size_t size;
	int r = crew_map_get(&s->map, &s->keys[i], sizeof *s->keys, pair, sizeof pair, &size, NULL);
	if (r == -ENOENT)
		return ABSENT;
	must(r);
	ck_assert_uint_eq(size, sizeof pair);
	ck_assert_uint_eq(pair[0], pair[1]);
	return pair[0];
}

/* Keys of one shard; the map gets its shards, and the hash its key, with the first put. */
static void choose_keys(void)
{
	unsigned count = 0;
	struct shard *wanted = NULL;
	must(crew_map_put(&s->map, "", 0, "", 0));
	must(crew_map_delete(&s->map, "", 0, 0));
	for (uint64_t key = 1; count <= KEYS; key++) {
		struct shard *shard = crew__map_shard(&s->map, crew__siphash(1, 3, s->map.key_, &key, sizeof key));
		if (!wanted)
			wanted = shard;
		if (shard == wanted)
			s->keys[count++] = key;
	}
}

static void fresh(void *shared)
{
	(void)shared;
	choose_keys();
	for (unsigned i = 1; i < KEYS; i++)
		put_at(i, 100 + i);
	s->seen = s->old = ABSENT;
	s->new = NEW;
}

static void filled(void *shared)
{
	fresh(shared);
	put_at(KEY, OLD);
	s->seen = s->old = OLD;
}

/* So many replaced entries that the next change ages them, or (once more) frees some. */
static void worn(void *shared)
{
	filled(shared);
	for (unsigned i = 0; i < 31 + crew__family.region->lanes_high / 4; i++)
		put_at(1, 101);
}

static void worn_out(void *shared)
{
	worn(shared);
	for (unsigned i = 0; i < 16; i++)
		put_at(1, 101);
}

static void warm_up(void *shared)
{
	uint64_t pair[2] = { 1, 1 }, key = 12345;
	(void)shared;
	do_or_exit(crew_map_put(&s->map, &key, sizeof key, pair, sizeof pair));
	do_or_exit(crew_map_delete(&s->map, &key, sizeof key, 0));
}

static void put_new(void *shared)
{
	uint64_t pair[2] = { NEW, NEW };
	(void)shared;
	do_or_exit(crew_map_put(&s->map, &s->keys[KEY], sizeof *s->keys, pair, sizeof pair));
}

/* Whoever looks while the victim lives sees the old value, and from some moment on the new one. */
static void watch(void *shared)
{
	(void)shared;
	uint64_t value = look_at(KEY);
	ck_assert(value == s->new || (value == s->old && s->seen == s->old));
	s->seen = value;
	for (unsigned i = 1; i < KEYS; i++)
		ck_assert_uint_eq(look_at(i), 100 + i);
}

static void check_survivors(void)
{
	crew__lane_reap_all();
	uint64_t value = look_at(KEY);
	for (unsigned i = 1; i < KEYS; i++)
		put_at(i, 200 + i);
	put_at(KEYS, 7);
	for (unsigned i = 1; i < KEYS; i++)
		ck_assert_uint_eq(look_at(i), 200 + i);
	ck_assert_uint_eq(look_at(KEY), value); /* what the dead did has happened, or never will */
	ck_assert_uint_eq(crew_map_count(&s->map), KEYS + (value != ABSENT));
	crew_map_fini(&s->map);
	ck_assert_uint_eq(blocks(), blocks_before);
}

static void check(void *shared, bool completed)
{
	(void)shared;
	crew__lane_reap_all();
	uint64_t value = look_at(KEY);
	ck_assert(value == s->new || (value == s->old && s->seen == s->old && !completed));
	check_survivors();
}

static void kill_at_every_step(const struct killpoint *points, unsigned count)
{
	s = family_begin(sizeof *s);
	for (unsigned i = 0; i < count; i++)
		if (killpoint(&points[i], s) < 0)
			SKIP("ptrace is refused here");
	family_end(s);
}

#define EVERY_STEP(...) \
	static const struct killpoint points[] = { __VA_ARGS__ }; \
	kill_at_every_step(points, sizeof points / sizeof *points)

TEST(a_put_replaces_as_a_whole_or_not_at_all, .timeout = 300)
{
	EVERY_STEP({ .before = filled, .prepare = warm_up, .operation = put_new, .check = check, .seconds = 0.5 },
		{ .before = filled, .prepare = warm_up, .operation = put_new, .watch = watch, .check = check, .seconds = 0.5 });
}

TEST(a_put_that_grows_the_table_is_finished_or_undone, .timeout = 300)
{
	EVERY_STEP({ .before = fresh, .prepare = warm_up, .operation = put_new, .check = check, .seconds = 0.5 },
		{ .before = fresh, .prepare = warm_up, .operation = put_new, .watch = watch, .check = check, .seconds = 0.5 });
}

TEST(blocks_being_freed_are_not_lost, .timeout = 300)
{
	EVERY_STEP({ .before = worn, .prepare = warm_up, .operation = put_new, .check = check, .seconds = 0.5 },
		{ .before = worn_out, .prepare = warm_up, .operation = put_new, .check = check, .seconds = 0.5 });
}

/* ---- the first put of all ---- */

static void nothing(void *shared)
{
	(void)shared;
	memset(&s->map, 0, sizeof s->map);
}

static void put_first(void *shared)
{
	(void)shared;
	do_or_exit(crew_map_put(&s->map, "k", 1, "v", 1));
}

static void join_in(void *shared)
{
	void *block;
	(void)shared;
	do_or_exit(crew_alloc(8, &block));
	crew_free(block);
}

static void check_first(void *shared, bool completed)
{
	char value[1];
	(void)shared;
	crew__lane_reap_all();
	int r = crew_map_get(&s->map, "k", 1, value, 1, NULL, NULL);
	ck_assert(r == 0 ? value[0] == 'v' : r == -ENOENT && !completed);
	must(crew_map_put(&s->map, "k", 1, "w", 1));
	must(crew_map_get(&s->map, "k", 1, value, 1, NULL, NULL));
	ck_assert_int_eq(value[0], 'w');
	crew_map_fini(&s->map);
	ck_assert_uint_eq(blocks(), blocks_before);
}

TEST(the_first_put_makes_a_map_or_leaves_none, .timeout = 300)
{
	EVERY_STEP({ .before = nothing, .prepare = join_in, .operation = put_first, .check = check_first, .seconds = 0.7 });
}

/* ---- delete, update, get, each, clear, fini ---- */

static void filled_to_delete(void *shared)
{
	filled(shared);
	s->new = ABSENT;
}

static void delete_it(void *shared)
{
	(void)shared;
	do_or_exit(crew_map_delete(&s->map, &s->keys[KEY], sizeof *s->keys, 0));
}

TEST(a_delete_takes_out_one_key_or_none, .timeout = 300)
{
	EVERY_STEP({ .before = filled_to_delete, .prepare = warm_up, .operation = delete_it, .check = check, .seconds = 0.5 },
		{ .before = filled_to_delete, .prepare = warm_up, .operation = delete_it, .watch = watch, .check = check, .seconds = 0.5 });
}

static int to_new(void *context, struct crew_map_change *change)
{
	uint64_t *pair = change->value;
	(void)context;
	pair[0] += NEW - OLD;
	pair[1] += NEW - OLD;
	return change->size == 16 ? CREW_MAP_STORE : -EINVAL;
}

static void update_it(void *shared)
{
	(void)shared;
	do_or_exit(crew_map_update(&s->map, &s->keys[KEY], sizeof *s->keys, 16, to_new, NULL));
}

TEST(an_update_happens_once_or_never, .timeout = 300)
{
	EVERY_STEP({ .before = filled, .prepare = warm_up, .operation = update_it, .check = check, .seconds = 0.7 });
}

static void unchanged(void *shared)
{
	filled(shared);
	s->new = OLD;
}

static void get_it(void *shared)
{
	uint64_t pair[2];
	(void)shared;
	do_or_exit(crew_map_get(&s->map, &s->keys[KEY], sizeof *s->keys, pair, sizeof pair, NULL, NULL));
}

/* A dead reader is not waited for: what is replaced now is freed in the end. */
static void check_freed(void *shared, bool completed)
{
	struct crew_map_stats stats;
	(void)shared;
	(void)completed;
	for (unsigned i = 0; i < 120; i++)
		put_at(KEY, OLD);
	must(crew_map_stats(&s->map, &stats));
	ck_assert_uint_lt(stats.retired, 100);
	check_survivors();
}

TEST(a_dead_reader_is_in_nobodys_way, .timeout = 300)
{
	EVERY_STEP({ .before = unchanged, .prepare = warm_up, .operation = get_it, .check = check_freed, .seconds = 0.5 });
}

static void empty_it(void *shared)
{
	(void)shared;
	crew_map_fini(&s->map);
}

static void check_emptied(void *shared, bool completed)
{
	(void)shared;
	crew__lane_reap_all();
	if (!completed)
		crew_map_fini(&s->map);
	ck_assert_uint_eq(blocks(), blocks_before);
	memset(&s->map, 0, sizeof s->map);
}

TEST(a_fini_half_done_is_finished_by_the_next, .timeout = 300)
{
	EVERY_STEP({ .before = worn_out, .prepare = warm_up, .operation = empty_it, .check = check_emptied, .seconds = 0.5 });
}

static void clear_it(void *shared)
{
	(void)shared;
	do_or_exit(crew_map_clear(&s->map));
}

static void check_cleared(void *shared, bool completed)
{
	(void)shared;
	crew__lane_reap_all();
	uint64_t left = crew_map_count(&s->map);
	ck_assert_uint_le(left, completed ? 0 : KEYS);
	for (unsigned i = 1; i < KEYS; i++)
		put_at(i, 100 + i);
	check_survivors();
}

TEST(a_clear_takes_out_some_or_all, .timeout = 300)
{
	EVERY_STEP({ .before = filled, .prepare = warm_up, .operation = clear_it, .check = check_cleared, .seconds = 0.5 });
}
