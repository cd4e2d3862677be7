/*
 * map_table.c - shards, and the table of slots in each
 *
 * Open addressing, linear probing. A slot that has been used never becomes empty while the table lives, unless the one
 * behind it is empty; so a reader that walks on finds every key that was there before it began and still is. A table
 * never grows: another takes its place by one store, and whoever still walks the old one sees what was
 * there at that moment. Slots of a table that has been replaced change no more.
 */
#include <string.h>
#include <sys/random.h>
#include "base/sys.h"
#include "memory/map.h"

struct shard *crew__map_shard_at(const struct crew_map *map, unsigned number)
{
	uint64_t block = __atomic_load_n(&map->shards_, __ATOMIC_ACQUIRE);
	return block ? (struct shard *)crew__at((block + 127) & ~UINT64_C(127)) + number : NULL;
}

struct shard *crew__map_shard(const struct crew_map *map, uint64_t hash)
{
	return crew__map_shard_at(map, (unsigned)(hash >> 40) % SHARDS);
}

int crew__map_found(struct crew_map *map, struct crew__lane *lane)
{
	void *block;
	uint64_t key[2];
	size_t size = (SHARDS + 1) * sizeof(struct shard);
	int r = crew__alloc_mine(lane, HAND_TABLE, size, &block);
	if (r < 0)
		return r;
	memset(block, 0, size);
	if (getrandom(key, sizeof key, GRND_NONBLOCK) != sizeof key) { /* early in a boot: then the clock and an address */
		key[0] = (uint64_t)crew_now();
		key[1] = (uintptr_t)&key;
	}
	r = crew__enter(&lane, &map->guard_, CREW_FOREVER);
	if (r == 0 && !map->shards_) {
		crew__set64(lane, &map->key_[0], key[0]);
		crew__set64(lane, &map->key_[1], key[1]);
		crew__set64(lane, &lane->mine[HAND_TABLE], 0);
		crew__leave_and_publish(lane, &map->guard_, &map->shards_, crew__offset(block));
	} else if (r == 0) {
		crew__leave(lane, &map->guard_);
	}
	crew__free_mine(lane, HAND_TABLE);
	return r;
}

static bool is_key(uint64_t word, const struct key *key)
{
	if (word == TOMB || (word ^ key->hash) >> 48)
		return false;
	struct entry *entry = entry_of(word);
	return entry->hash == key->hash && entry->key_size == key->size &&
		(key->size == 0 || memcmp(entry_key(entry), key->data, key->size) == 0);
}

uint64_t *crew__map_find(struct table *table, const struct key *key, uint64_t *ret_word, uint64_t **ret_place)
{
	uint64_t *place = NULL;
	for (uint64_t i = key->hash; table; i++) {
		uint64_t *slot = &table->slots[i & table->mask], word = __atomic_load_n(slot, __ATOMIC_SEQ_CST);
		if (word && is_key(word, key)) {
			*ret_word = word;
			return slot;
		}
		if (word <= TOMB && !place)
			place = slot;
		if (!word)
			break;
	}
	if (ret_place)
		*ret_place = place;
	return NULL;
}

static bool fits(uint64_t slots, uint64_t used)
{
	return used < slots - slots / 4;
}

bool crew__map_is_full(const struct shard *shard, const struct table *table)
{
	return !table || !fits(table->mask + 1, (uint64_t)shard->used + shard->tombs + 1);
}

/* All entries of the old table into the new one, which nobody sees yet. */
static void move_all(const struct table *old, struct table *table)
{
	for (uint64_t i = 0; i <= old->mask; i++) {
		uint64_t word = old->slots[i];
		if (word <= TOMB)
			continue;
		uint64_t j = entry_of(word)->hash;
		while (table->slots[j & table->mask])
			j++;
		table->slots[j & table->mask] = word;
	}
}

int crew__map_grow(struct shard *shard, struct crew__lane *lane)
{
	void *block;
	uint64_t slots = 8, used = __atomic_load_n(&shard->used, __ATOMIC_RELAXED);
	while (slots < 2 * (used + 1))
		slots *= 2;
	size_t size = sizeof(struct table) + slots * sizeof(uint64_t);
	int r = crew__alloc_mine(lane, HAND_TABLE, size, &block);
	if (r < 0)
		return r;
	struct table *table = block;
	memset(table, 0, size);
	table->mask = slots - 1;
	table->link.bytes = size;
	r = crew__enter(&lane, &shard->guard, CREW_FOREVER);
	if (r == 0) {
		struct table *old = shard->table ? crew__at(shard->table) : NULL;
		if (crew__map_is_full(shard, old) && fits(slots, (uint64_t)shard->used + 1)) {
			if (old) {
				move_all(old, table);
				crew__retire(shard, lane, &old->link);
			}
			crew__set32(lane, &shard->tombs, 0);
			crew__set64(lane, &lane->mine[HAND_TABLE], 0);
			crew__leave_and_publish(lane, &shard->guard, &shard->table, crew__offset(table));
		} else {
			crew__leave(lane, &shard->guard); /* somebody was quicker */
		}
	}
	crew__free_mine(lane, HAND_TABLE);
	return r;
}

void crew__map_remove(struct shard *shard, struct crew__lane *lane, struct table *table, uint64_t *slot)
{
	struct entry *entry = entry_of(*slot);
	bool last = table->slots[((uint64_t)(slot - table->slots) + 1) & table->mask] == 0;
	crew__set32(lane, &shard->used, shard->used - 1);
	if (!last)
		crew__set32(lane, &shard->tombs, shard->tombs + 1);
	crew__set64(lane, &shard->version, shard->version + 1);
	crew__set64(lane, &shard->bytes, shard->bytes - entry->key_size - entry->value_size);
	crew__retire(shard, lane, &entry->link);
	crew__leave_and_publish(lane, &shard->guard, slot, last ? 0 : TOMB);
}
