/* map_walk.c - the calls that go through a whole map */
#include <string.h>
#include "base/sys.h"
#include "memory/map.h"

/* A table that is replaced while we walk it stays as it was at that moment: each key that is there all the while is in it once. */
static int each_of(struct shard *shard, crew_map_each_fn *function, void *context)
{
	uint64_t at = __atomic_load_n(&shard->table, __ATOMIC_SEQ_CST);
	struct table *table = at ? crew__at(at) : NULL;
	int r = 0;
	for (uint64_t i = 0; table && r == 0 && i <= table->mask; i++) {
		uint64_t word = __atomic_load_n(&table->slots[i], __ATOMIC_SEQ_CST);
		if (word <= TOMB)
			continue;
		struct entry *entry = entry_of(word);
		r = function(context, entry_key(entry), entry->key_size, entry_value(entry), entry->value_size);
	}
	return r;
}

int crew_map_each(struct crew_map *map, crew_map_each_fn *function, void *context)
{
	struct crew__lane *lane;
	int r = crew__lane_for(map, sizeof *map, &lane);
	for (unsigned i = 0; r == 0 && i < SHARDS && crew__map_shard_at(map, i); i++) {
		uint64_t before = crew__read_begin(lane);
		r = each_of(crew__map_shard_at(map, i), function, context);
		crew__read_end(lane, before);
	}
	return r;
}

static uint64_t load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

uint64_t crew_map_count(const struct crew_map *map)
{
	uint64_t count = 0;
	if (crew__check_place(map, sizeof *map) == 0)
		for (unsigned i = 0; i < SHARDS && crew__map_shard_at(map, i); i++)
			count += __atomic_load_n(&crew__map_shard_at(map, i)->used, __ATOMIC_RELAXED);
	return count;
}

int crew_map_stats(const struct crew_map *map, struct crew_map_stats *ret)
{
	struct crew__lane *lane;
	int r = crew__lane_for(map, sizeof *map, &lane);
	if (r < 0)
		return r;
	*ret = (struct crew_map_stats){ .count = crew_map_count(map) };
	uint64_t before = crew__read_begin(lane);
	for (unsigned i = 0; i < SHARDS && crew__map_shard_at(map, i); i++) {
		const struct shard *shard = crew__map_shard_at(map, i);
		uint64_t table = __atomic_load_n(&shard->table, __ATOMIC_SEQ_CST);
		ret->slots += table ? ((const struct table *)crew__at(table))->mask + 1 : 0;
		ret->bytes += load(&shard->bytes);
		ret->changes += load(&shard->version);
		ret->retired += __atomic_load_n(&shard->retired, __ATOMIC_RELAXED);
	}
	crew__read_end(lane, before);
	return 0;
}

/* Take the first entry at or after *index out; false: there is none. */
static bool remove_next(struct shard *shard, struct crew__lane *lane, uint64_t *index)
{
	if (crew__enter(&lane, &shard->guard, CREW_FOREVER) < 0)
		return false;
	struct table *table = shard->table ? crew__at(shard->table) : NULL;
	for (; table && *index <= table->mask; ++*index)
		if (table->slots[*index] > TOMB) {
			crew__map_remove(shard, lane, table, &table->slots[*index]);
			crew__reclaim(shard, lane);
			return true;
		}
	crew__leave(lane, &shard->guard);
	return false;
}

int crew_map_clear(struct crew_map *map)
{
	struct crew__lane *lane;
	int r = crew__lane_for(map, sizeof *map, &lane);
	for (unsigned i = 0; r == 0 && i < SHARDS && crew__map_shard_at(map, i); i++) {
		uint64_t index = 0;
		while (remove_next(crew__map_shard_at(map, i), lane, &index))
			;
	}
	return r;
}

/* Free the block that *place names, and make it name `next`, in one section: killed at any moment, the next call goes on. */
static bool free_at(uint32_t *guard, struct crew__lane *lane, uint64_t *place, uint64_t next)
{
	if (crew__enter(&lane, guard, CREW_FOREVER) < 0)
		return false;
	uint64_t block = *place & (UINT64_MAX >> 16);
	crew__set64(lane, place, next);
	crew__set64(lane, &lane->mine[HAND_ENTRY], block);
	crew__leave(lane, guard);
	crew__free_mine(lane, HAND_ENTRY);
	return true;
}

static void free_list(struct shard *shard, struct crew__lane *lane, uint64_t *first)
{
	while (*first && free_at(&shard->guard, lane, first, ((struct retired *)crew__at(*first))->next))
		;
}

static void free_shard(struct shard *shard, struct crew__lane *lane)
{
	struct table *table = shard->table ? crew__at(shard->table) : NULL;
	for (uint64_t i = 0; table && i <= table->mask; i++)
		if (table->slots[i] > TOMB)
			free_at(&shard->guard, lane, &table->slots[i], TOMB);
	if (table)
		free_at(&shard->guard, lane, &shard->table, 0);
	free_list(shard, lane, &shard->fresh);
	free_list(shard, lane, &shard->aged);
}

void crew_map_fini(struct crew_map *map)
{
	struct crew__lane *lane;
	if (crew__lane_for(map, sizeof *map, &lane) < 0)
		return;
	for (unsigned i = 0; i < SHARDS && map->shards_; i++)
		free_shard(crew__map_shard_at(map, i), lane);
	if (map->shards_)
		free_at(&map->guard_, lane, &map->shards_, 0);
	memset(map, 0, sizeof *map);
}
