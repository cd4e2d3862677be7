/*
 * map.h - between the files of the shared map
 *
 *     crew_map -> 64 shards -> table of slots -> entries
 *
 * A key's hash names its shard. Writers of a shard take turns by its guard. Readers take nothing: an entry never changes,
 * so what a slot names is whole; a table only has slots changed; each change that they see is one store, made
 * after the section that decided it (crew__leave_and_publish). What readers may still look at is retired, not freed (map_epoch.c).
 *
 * Writers     shard.table, slots: published. All else in a shard: in sections on its guard; `safe` bare, a hint.
 * Invariants  1  used = slots that name an entry; tombs = slots that say TOMB; used + tombs < 3/4 of the slots, and so
 *                a search always ends.
 *             2  a block of the map is in exactly one place: a slot (or shard.table), `fresh`, `aged`, or a hand.
 *             3  what is in `aged` was out of reach before `stamp` was the epoch.
 */
#ifndef CREW_MEMORY_MAP_H
#define CREW_MEMORY_MAP_H

#include <crew/map.h>
#include "memory/heap.h"
#include "sync/section.h"

enum { SHARDS = 64, HAND_ENTRY = 1, HAND_TABLE = 2 };
#define TOMB UINT64_C(1)

/* What entries and tables begin with: the link in a list of retired ones, and the size of the block. */
struct retired { uint64_t next, bytes; };

struct entry {
	struct retired link;
	uint64_t hash, version, value_size;
	uint32_t key_size, spare;
	/* the value follows, aligned to 16; then the key */
};
static_assert(sizeof(struct entry) % 16 == 0, "so that values are aligned");

struct table {
	struct retired link;
	uint64_t mask;
	uint64_t slots[]; /* offset of an entry | top 16 bits of its hash; 0: never used; TOMB */
};

struct shard {
	uint64_t table;       /* 0: none yet. Read by all, seldom written: on a line of its own */
	uint64_t apart[7];
	uint32_t guard;
	uint32_t used, tombs;
	uint32_t retired;     /* blocks in fresh and aged */
	uint64_t version;     /* of the last change */
	uint64_t bytes;
	uint64_t fresh, aged; /* lists of retired blocks */
	uint64_t stamp;       /* epoch when `aged` was filled */
	uint64_t safe;        /* hint: the last stamp of which it is known that nobody reads what is older */
};
static_assert(sizeof(struct shard) == 128, "two lines");

/* hash.c: SipHash-c-d of the data under a key of 128 bits. */
uint64_t crew__siphash(unsigned c, unsigned d, const uint64_t key[2], const void *data, size_t size);

/* A key, with its hash. */
struct key { const void *data; size_t size; uint64_t hash; };

static inline struct entry *entry_of(uint64_t slot)
{
	return (struct entry *)crew__at(slot & (UINT64_MAX >> 16));
}
static inline uint64_t slot_of(const struct entry *entry)
{
	return crew__offset(entry) | (entry->hash & ~(UINT64_MAX >> 16));
}
static inline void *entry_value(struct entry *entry) { return entry + 1; }
static inline void *entry_key(struct entry *entry) { return (char *)(entry + 1) + entry->value_size; }

/* map_table.c */
struct shard *crew__map_shard(const struct crew_map *map, uint64_t hash); /* NULL: the map has none yet */
struct shard *crew__map_shard_at(const struct crew_map *map, unsigned number);
int crew__map_found(struct crew_map *map, struct crew__lane *lane); /* make the shards, if there are none */
/* The slot of a key; NULL, and in *ret_place (may be NULL) where it would go. By a reader, or inside the shard's section. */
uint64_t *crew__map_find(struct table *table, const struct key *key, uint64_t *ret_word, uint64_t **ret_place);
/* Outside the section, before one more key: a larger table, or one without tombs, if that is due. */
int crew__map_grow(struct shard *shard, struct crew__lane *lane);
bool crew__map_is_full(const struct shard *shard, const struct table *table); /* no room for one more key; inside the section */
/* Inside: take what the slot names out, and leave. */
void crew__map_remove(struct shard *shard, struct crew__lane *lane, struct table *table, uint64_t *slot);

/* map_epoch.c: what readers may still look at */
uint64_t crew__read_begin(struct crew__lane *lane); /* returns what crew__read_end is to be given */
void crew__read_end(struct crew__lane *lane, uint64_t before);
void crew__retire(struct shard *shard, struct crew__lane *lane, struct retired *block); /* inside the section that puts it out of reach */
/* Outside the section. Age what is fresh, free some if many are kept; or put one that fits into the hand, to be used again. */
void crew__reclaim(struct shard *shard, struct crew__lane *lane);
bool crew__recycle(struct shard *shard, struct crew__lane *lane, uint64_t bytes);

#endif
