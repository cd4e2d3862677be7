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

/* ... or is made in one that is known to be free. */
static void ready(void *shared)
{
	worn(shared);
	struct shard *shard = crew__map_shard(&s->map, crew__siphash(1, 3, s->map.key_, &s->keys[KEY], sizeof *s->keys));
	for (unsigned i = 0; i < 200 && !(shard->aged && shard->safe == shard->stamp); i++)
		put_at(1, 101);
	ck_assert(shard->aged && shard->safe == shard->stamp);
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

/* What others do in the meantime. A get waits for nobody; a put waits for who stands still in a section of that shard. */
static void read_and_write(void *shared, int order)
{
	(void)shared;
	for (int i = 0; i < 2; i++) {
		if (i == order)
			put_at(1, 101);
		else
			ck_assert_uint_eq(look_at(2), 102);
	}
}

static void read_only(void *shared, int order)
{
	(void)shared;
	(void)order;
	uint64_t value = look_at(KEY);
	ck_assert(value == s->new || value == s->old);
	ck_assert_uint_eq(look_at(2), 102);
}

/* ---- the first put of all ---- */

/* The heap is made ready for blocks of the sizes that will be wanted: to set up runs for them is another story, and a long one. */
static void nothing(void *shared)
{
	static const size_t sizes[] = { (SHARDS + 1) * sizeof(struct shard), sizeof(struct table) + 64, sizeof(struct entry) + 2 };
	(void)shared;
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		void *block;
		must(crew_alloc(sizes[i], &block));
		crew_free(block);
	}
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

#define ON_FILLED .before = filled, .prepare = warm_up

static const struct killpoint operations[] = {
	{ "a put takes the place of what was there, as a whole or not at all", ON_FILLED, .operation = put_new,
		.others = read_and_write, .check = check },
	{ "a put stopped anywhere is in no reader's way", ON_FILLED, .operation = put_new, .watch = watch, .others = read_only,
		.lock_free = true, .check = check },
	{ "a put that makes the table grow", .before = fresh, .prepare = warm_up, .operation = put_new, .others = read_and_write,
		.check = check },
	{ "a put that makes the table grow is in no reader's way", .before = fresh, .prepare = warm_up, .operation = put_new,
		.watch = watch, .others = read_only, .lock_free = true, .check = check },
	{ "a put that ages what is retired", .before = worn, .prepare = warm_up, .operation = put_new, .others = read_and_write,
		.check = check },
	{ "a put that frees what is retired", .before = worn_out, .prepare = warm_up, .operation = put_new, .others = read_and_write,
		.check = check },
	{ "a put into a block used before", .before = ready, .prepare = warm_up, .operation = put_new, .others = read_and_write,
		.check = check },
	{ "a delete", .before = filled_to_delete, .prepare = warm_up, .operation = delete_it, .others = read_and_write, .check = check },
	{ "an update happens once or never", ON_FILLED, .operation = update_it, .others = read_and_write, .check = check },
	{ "a get: the dead is in nobody's way", .before = unchanged, .prepare = warm_up, .operation = get_it, .others = read_and_write,
		.lock_free = true, .check = check_freed },
	{ "a fini half done is finished by the next", .before = worn_out, .prepare = warm_up, .operation = empty_it,
		.check = check_emptied },
	{ "a clear takes out some or all", ON_FILLED, .operation = clear_it, .check = check_cleared },
};

static void begin(void)
{
	s = family_begin(sizeof *s);
}

static void end(void)
{
	family_end(s);
}

KILL_EVERYWHERE(operations, begin, s, end)

/* Not a row: it zeroes 8 KiB, which takes long to step through, so on a busy machine few of its points are killed at. */
TEST(the_first_put_makes_a_map_or_leaves_none, .timeout = 600)
{
	static const struct killpoint first = { "the first put", .before = nothing, .prepare = join_in, .operation = put_first,
		.check = check_first, .seconds = 1 };
	begin();
	if (killpoint(&first, s) < 0)
		SKIP("ptrace is refused here");
	end();
}
