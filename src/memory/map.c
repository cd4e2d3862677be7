/*
 * map.c - the public calls
 *
 * A put: an entry is made in the hand; one section decides that it takes the place of what is there, which is retired; the
 * store in the slot makes both seen. A get: between two stores in its own lane it walks a table and copies.
 *
 * Death    of a writer before its section ends: nothing has happened, the entry is freed from its hand. After: the store in the
 *          slot is made by the sweep, before anybody else can enter the shard. Of a reader: see map_epoch.c.
 *          in crew_map_fini: each step is one section that moves one block into the hand; the next call goes on.
 */
#include <string.h>
#include "base/sys.h"
#include "memory/map.h"

static struct key make_key(const struct crew_map *map, const void *data, size_t size)
{
	return (struct key){ data, size, crew__siphash(1, 3, map->key_, data, size) };
}

static struct table *table_of(const struct shard *shard)
{
	uint64_t table = __atomic_load_n(&shard->table, __ATOMIC_SEQ_CST);
	return table ? crew__at(table) : NULL;
}

/* The entry of a key, for a reader; NULL: there is none. */
static struct entry *look(const struct crew_map *map, const void *data, size_t size)
{
	uint64_t word;
	if (!crew__map_shard_at(map, 0))
		return NULL;
	struct key key = make_key(map, data, size);
	struct table *table = table_of(crew__map_shard(map, key.hash));
	return crew__map_find(table, &key, &word, NULL) ? entry_of(word) : NULL;
}

int crew_map_get(struct crew_map *map, const void *key, size_t key_size, void *value, size_t capacity, size_t *ret_size,
		uint64_t *ret_version)
{
	struct crew__lane *lane;
	int r = crew__lane_for(map, sizeof *map, &lane);
	if (r < 0)
		return r;
	uint64_t before = crew__read_begin(lane);
	struct entry *entry = look(map, key, key_size);
	if (!entry) {
		r = -ENOENT;
	} else {
		if (ret_size)
			*ret_size = entry->value_size;
		if (ret_version)
			*ret_version = entry->version;
		if (entry->value_size > capacity)
			r = -EMSGSIZE;
		else if (entry->value_size)
			memcpy(value, entry_value(entry), entry->value_size);
	}
	crew__read_end(lane, before);
	return r;
}

/* An entry in the hand with room for a value of that size, and the key not yet in it: the value may still shrink. */
static int make_entry(struct crew_map *map, struct crew__lane *lane, const void *key, size_t key_size, size_t size,
		struct entry **ret)
{
	void *block;
	size_t bytes;
	if (key_size > UINT32_MAX || lane->mine[HAND_ENTRY])
		return key_size > UINT32_MAX ? -EINVAL : -EDEADLK; /* inside the function of an update */
	if (__builtin_add_overflow(sizeof **ret + key_size, size, &bytes))
		return -ENOMEM;
	struct shard *shard = crew__map_shard_at(map, 0) ? crew__map_shard(map, make_key(map, key, key_size).hash) : NULL;
	int r = 0;
	if (shard && crew__recycle(shard, lane, bytes)) {
		block = crew__at(lane->mine[HAND_ENTRY]);
		bytes = ((struct retired *)block)->bytes;
	} else {
		r = crew__alloc_mine(lane, HAND_ENTRY, bytes, &block);
	}
	if (r == 0) {
		*ret = block;
		**ret = (struct entry){ .link.bytes = bytes, .key_size = (uint32_t)key_size, .value_size = size };
	}
	return r;
}

#define SMALL 1024u /* bytes that may be copied inside a section */

/* What a change demands of the entry that is there: any, or 0 none, or that version. */
#define ANY UINT64_MAX

static int demand(const struct entry *entry, uint64_t version)
{
	if (version == ANY)
		return 0;
	if (!entry)
		return version == 0 ? 0 : -ENOENT;
	return version == 0 ? -EEXIST : entry->version == version ? 0 : -ESTALE;
}

/* Inside a section: put the entry in the hand into the slot, where `old` may be, and leave. */
static void place(struct shard *shard, struct crew__lane *lane, struct entry *entry, uint64_t *slot, struct entry *old)
{
	uint64_t bytes = shard->bytes + entry->key_size + entry->value_size;
	entry->version = shard->version + 1;
	crew__set64(lane, &shard->version, entry->version);
	if (old) {
		bytes -= old->key_size + old->value_size;
		crew__retire(shard, lane, &old->link);
	} else {
		crew__set32(lane, &shard->used, shard->used + 1);
		if (*slot == TOMB)
			crew__set32(lane, &shard->tombs, shard->tombs - 1);
	}
	crew__set64(lane, &shard->bytes, bytes);
	crew__set64(lane, &lane->mine[HAND_ENTRY], 0);
	crew__leave_and_publish(lane, &shard->guard, slot, slot_of(entry));
}

/* Put the entry in the hand into the map, if what is there is as demanded; it is still in the hand if not. */
static int insert(struct crew_map *map, struct crew__lane *lane, struct entry *entry, uint64_t version, uint64_t *ret_version)
{
	int r;
	if (!crew__map_shard_at(map, 0) && (r = crew__map_found(map, lane)) < 0)
		return r;
	struct key key = make_key(map, entry_key(entry), entry->key_size);
	struct shard *shard = crew__map_shard(map, key.hash);
	entry->hash = key.hash;
	for (;;) {
		uint64_t word = 0, *free_slot;
		r = crew__enter(&lane, &shard->guard, CREW_FOREVER);
		if (r < 0)
			return r;
		struct table *table = table_of(shard);
		uint64_t *slot = crew__map_find(table, &key, &word, &free_slot);
		struct entry *old = slot ? entry_of(word) : NULL;
		r = demand(old, version);
		if (r == 0 && (old || !crew__map_is_full(shard, table))) {
			if (ret_version)
				*ret_version = shard->version + 1;
			place(shard, lane, entry, old ? slot : free_slot, old);
			crew__reclaim(shard, lane);
			return 0;
		}
		crew__leave(lane, &shard->guard);
		if (r == 0)
			r = crew__map_grow(shard, lane);
		if (r < 0)
			return r;
	}
}

/*
 * The common put: a small value, and a retired block of the shard that it fits into. One section does it all, the copy too. If that
 * is undone, the block is retired again: its link has not been touched. 1: not to be done so, nothing has happened.
 */
static int put_at_once(struct crew_map *map, struct crew__lane *lane, const struct key *key, const void *value, size_t size,
		uint64_t version, uint64_t *ret_version)
{
	struct shard *shard = crew__map_shard(map, key->hash);
	uint64_t stamp = __atomic_load_n(&shard->stamp, __ATOMIC_ACQUIRE), word = 0, *free_slot;
	if (lane->mine[HAND_ENTRY] || !__atomic_load_n(&shard->aged, __ATOMIC_RELAXED) ||
			__atomic_load_n(&shard->safe, __ATOMIC_ACQUIRE) != stamp)
		return 1;
	int r = crew__enter(&lane, &shard->guard, CREW_FOREVER);
	if (r < 0)
		return r;
	struct table *table = table_of(shard);
	uint64_t *slot = crew__map_find(table, key, &word, &free_slot), bytes = sizeof(struct entry) + key->size + size;
	struct entry *old = slot ? entry_of(word) : NULL, *entry = shard->aged ? crew__at(shard->aged) : NULL;
	r = demand(old, version);
	if (r == 0 && (!entry || shard->stamp != stamp || entry->link.bytes < bytes || (!old && crew__map_is_full(shard, table))))
		r = 1;
	if (r != 0) {
		crew__leave(lane, &shard->guard);
		return r;
	}
	crew__set64(lane, &shard->aged, entry->link.next);
	crew__set32(lane, &shard->retired, shard->retired - 1);
	entry->hash = key->hash;
	entry->value_size = size;
	entry->key_size = (uint32_t)key->size;
	if (size)
		memcpy(entry_value(entry), value, size);
	if (key->size)
		memcpy(entry_key(entry), key->data, key->size);
	if (ret_version)
		*ret_version = shard->version + 1;
	place(shard, lane, entry, old ? slot : free_slot, old);
	crew__reclaim(shard, lane);
	return 0;
}

static int put(struct crew_map *map, const void *key, size_t key_size, const void *value, size_t size, uint64_t version,
		uint64_t *ret_version)
{
	struct crew__lane *lane;
	struct entry *entry = NULL;
	int r = crew__lane_for(map, sizeof *map, &lane);
	if (r == 0 && key_size <= SMALL && size <= SMALL && crew__map_shard_at(map, 0)) {
		struct key hashed = make_key(map, key, key_size);
		r = put_at_once(map, lane, &hashed, value, size, version, ret_version);
		if (r <= 0)
			return r;
		r = 0;
	}
	if (r == 0)
		r = make_entry(map, lane, key, key_size, size, &entry);
	if (r < 0)
		return r;
	if (size)
		memcpy(entry_value(entry), value, size);
	if (key_size)
		memcpy(entry_key(entry), key, key_size);
	r = insert(map, lane, entry, version, ret_version);
	crew__free_mine(lane, HAND_ENTRY);
	return r;
}

int crew_map_put(struct crew_map *map, const void *key, size_t key_size, const void *value, size_t size)
{
	return put(map, key, key_size, value, size, ANY, NULL);
}

int crew_map_put_if(struct crew_map *map, const void *key, size_t key_size, const void *value, size_t size, uint64_t version,
		uint64_t *ret_version)
{
	return put(map, key, key_size, value, size, version, ret_version);
}

int crew_map_delete(struct crew_map *map, const void *data, size_t size, uint64_t version)
{
	struct crew__lane *lane;
	int r = crew__lane_for(map, sizeof *map, &lane);
	if (r < 0)
		return r;
	if (!crew__map_shard_at(map, 0))
		return -ENOENT;
	if (lane->mine[HAND_ENTRY])
		return -EDEADLK;
	struct key key = make_key(map, data, size);
	struct shard *shard = crew__map_shard(map, key.hash);
	r = crew__enter(&lane, &shard->guard, CREW_FOREVER);
	if (r < 0)
		return r;
	uint64_t word;
	struct table *table = table_of(shard);
	uint64_t *slot = crew__map_find(table, &key, &word, NULL);
	r = !slot ? -ENOENT : demand(entry_of(word), version ? version : ANY);
	if (r < 0) {
		crew__leave(lane, &shard->guard);
		return r;
	}
	crew__map_remove(shard, lane, table, slot);
	crew__reclaim(shard, lane);
	return 0;
}

/* Let the function say what becomes of the value. `entry`: in the hand, with room for `capacity`. *ret_version: of what it saw. */
static int ask(struct crew_map *map, const void *key, size_t key_size, struct entry *entry, size_t capacity,
		crew_map_change_fn *function, void *context, uint64_t *ret_version)
{
	struct entry *old = look(map, key, key_size);
	struct crew_map_change change = { .value = entry_value(entry), .capacity = capacity };
	*ret_version = old ? old->version : 0;
	if (old) {
		change.old = entry_value(old);
		change.old_size = old->value_size;
		if (old->value_size <= capacity) {
			change.size = old->value_size;
			memcpy(change.value, change.old, change.size);
		}
	}
	int r = function(context, &change);
	if (r != CREW_MAP_STORE)
		return r;
	if (change.size > capacity)
		return -EMSGSIZE;
	entry->value_size = change.size;
	if (key_size)
		memcpy(entry_key(entry), key, key_size);
	return CREW_MAP_STORE;
}

/* One try of an update. *again: another change came between. */
static int try_update(struct crew_map *map, struct crew__lane *lane, const void *key, size_t key_size, size_t capacity,
		crew_map_change_fn *function, void *context, bool *again)
{
	struct entry *entry = NULL;
	uint64_t version;
	int r = make_entry(map, lane, key, key_size, capacity, &entry);
	if (r < 0)
		return r;
	uint64_t before = crew__read_begin(lane);
	r = ask(map, key, key_size, entry, capacity, function, context, &version);
	crew__read_end(lane, before);
	if (r == CREW_MAP_STORE) {
		r = insert(map, lane, entry, version, NULL);
		*again = r == -ESTALE || r == -EEXIST || r == -ENOENT;
	}
	crew__free_mine(lane, HAND_ENTRY);
	if (r == CREW_MAP_DELETE) {
		r = version ? crew_map_delete(map, key, key_size, version) : 0;
		*again = r == -ESTALE || r == -ENOENT;
	}
	return r;
}

int crew_map_update(struct crew_map *map, const void *key, size_t key_size, size_t capacity, crew_map_change_fn *function,
		void *context)
{
	struct crew__lane *lane;
	bool again;
	int r = crew__lane_for(map, sizeof *map, &lane);
	if (r < 0)
		return r;
	do {
		again = false;
		r = try_update(map, lane, key, key_size, capacity, function, context, &again);
	} while (again);
	return r;
}
