/* map.c - the shared map; see operation.h */
#include <string.h>
#include "storm/operation.h"

/* Its size depends on the number, too. */
size_t entry_make(struct entry *entry, uint32_t key, uint32_t number)
{
	size_t length = 1 + number * 7 % sizeof entry->text;
	entry->key = key;
	entry->number = number;
	for (size_t i = 0; i < length; i++)
		entry->text[i] = LETTER_BYTE(key + number, i);
	return offsetof(struct entry, text) + length;
}

bool entry_is_whole(const struct entry *entry, uint32_t key, size_t size)
{
	struct entry whole;
	return size > offsetof(struct entry, text) && size == entry_make(&whole, key, entry->number) &&
		memcmp(entry, &whole, size) == 0;
}

static int one_more(void *argument, struct crew_map_change *change)
{
	uint32_t key = *(const uint32_t *)argument;
	const struct entry *old = change->old;
	if (old && !entry_is_whole(old, key, change->old_size)) {
		wrong("map: what is changed at key %u is torn", key);
		return -ECANCELED;
	}
	change->size = entry_make(change->value, key, old ? old->number + 1 : 1);
	return CREW_MAP_STORE;
}

/* One more if nothing comes between. */
static int one_more_if(uint32_t key)
{
	struct entry entry;
	size_t size;
	uint64_t version;
	int r = crew_map_get(&world->map, &key, sizeof key, &entry, sizeof entry, &size, &version);
	if (r < 0 && r != -ENOENT)
		return r;
	size = entry_make(&entry, key, r == 0 ? entry.number + 1 : 1);
	r = crew_map_put_if(&world->map, &key, sizeof key, &entry, size, r == 0 ? version : 0, NULL);
	return r == -EEXIST ? -ESTALE : r;
}

/* Keys that are only ever counted up: no count is lost, nor made twice. */
void do_map(struct program *p)
{
	uint32_t key = draw(p, KEYS);
	struct tries *tries = &notes->key[key];
	if (draw(p, 2)) {
		bool if_same = draw(p, 3) == 0;
		__atomic_fetch_add(&tries->begun, 1, __ATOMIC_SEQ_CST);
		int r = if_same ? one_more_if(key) :
			crew_map_update(&world->map, &key, sizeof key, sizeof(struct entry), one_more, &key);
		expect("map", r, if_same ? -ESTALE : 0, 0);
		__atomic_fetch_add(r == 0 ? &tries->done : &tries->failed, 1, __ATOMIC_SEQ_CST);
		return;
	}
	struct entry entry;
	size_t size;
	uint32_t done = __atomic_load_n(&tries->done, __ATOMIC_SEQ_CST);
	int r = crew_map_get(&world->map, &key, sizeof key, &entry, sizeof entry, &size, NULL);
	uint32_t begun = __atomic_load_n(&tries->begun, __ATOMIC_SEQ_CST);
	expect("map get", r, -ENOENT, 0);
	uint32_t number = r == 0 ? entry.number : 0;
	if (r == 0 && !entry_is_whole(&entry, key, size))
		wrong("map: key %u is torn", key);
	else if (number < done || number > begun)
		wrong("map: key %u is %u, after %u changes of %u", key, number, done, begun);
}

/* Keys that come and go. */
void do_map_other(struct program *p)
{
	uint32_t key = KEYS + draw(p, 100);
	struct entry entry;
	size_t size;
	int r;
	switch (draw(p, 4)) {
	case 0:
		expect("map delete", crew_map_delete(&world->map, &key, sizeof key, 0), -ENOENT, 0);
		break;
	case 1:
		r = crew_map_get(&world->map, &key, sizeof key, &entry, sizeof entry, &size, NULL);
		if (expect("map get", r, -ENOENT, 0) && !entry_is_whole(&entry, key, size))
			wrong("map: key %u, which comes and goes, is torn", key);
		break;
	default:
		size = entry_make(&entry, key, __atomic_add_fetch(&notes->strangers, 1, __ATOMIC_SEQ_CST));
		expect("map put", crew_map_put(&world->map, &key, sizeof key, &entry, size), 0, 0);
	}
}

static int see(void *context, const void *key_data, size_t key_size, const void *value, size_t size)
{
	uint32_t key, *seen = context;
	memcpy(&key, key_data, sizeof key);
	if (key_size != sizeof key || !entry_is_whole(value, key, size))
		wrong("map: an entry is torn");
	else if (key < KEYS && (*seen >> key & 1))
		wrong("map: key %u comes twice", key);
	else if (key < KEYS)
		*seen |= 1u << key;
	return 0;
}

void do_map_each(struct program *p)
{
	uint32_t seen = 0, there = 0;
	(void)p;
	for (unsigned key = 0; key < KEYS; key++)
		there |= (__atomic_load_n(&notes->key[key].done, __ATOMIC_SEQ_CST) > 0 ? 1u : 0u) << key;
	expect("map each", crew_map_each(&world->map, see, &seen), 0, 0);
	if (there & ~seen)
		wrong("map: keys %x were not shown", there & ~seen);
}
