/*
 * crew/map.h - bytes to bytes, for all processes of the family
 *
 *     struct crew_map *users;                         // in shared memory; all zero bytes is an empty map
 *     crew_map_put(users, "ada", 3, &ada, sizeof ada);
 *     r = crew_map_get(users, "ada", 3, &ada, sizeof ada, &size, NULL);
 *
 * Any process may read and write at any time. Readers write nothing that they share and wait for nobody; writers of
 * different keys seldom meet. It grows by itself. Keys and values are copied in and out, in one piece.
 *
 * Each change of a key gives it a new version, a number that this key never has again. A version that was
 * read makes a change that happens only if nothing has happened meanwhile (crew_map_put_if); crew_map_update
 * makes it a loop around a function.
 *
 * Death. A process may die inside any call: the others see the old value or the new one, whole, and get on. Nothing
 * leaks. What a process has put stays when it dies. One that is stopped (SIGSTOP) inside a get holds nobody up, but
 * entries replaced meanwhile are freed only when it goes on; inside a put it holds up writers of 1 key in 64.
 */
#ifndef CREW_MAP_H
#define CREW_MAP_H

#include <crew/base.h>
#include <crew/error.h>

CREW_BEGIN

struct crew_map {
	uint32_t guard_;
	uint32_t spare_;
	uint64_t shards_;  /* block of the heap; 0: nothing was ever put */
	uint64_t key_[2];  /* of the hash: random, so that nobody can choose keys that collide */
	uint64_t more_[4];
};
static_assert(sizeof(struct crew_map) == 64, "shared-memory format");

/*
 * Copy a key's value out. ret_size, ret_version may be NULL. With capacity 0 it only tells.
 *
 * Errors  -ENOENT    no such key.
 *         -EMSGSIZE  larger than `capacity`: *ret_size tells how large; *ret_version is set too.
 *         -EINVAL    the map is not in shared memory.   -ENOTCONN  not a member.   -EAGAIN  no lane left.
 */
CREW_API CREW_CHECKED int crew_map_get(struct crew_map *map, const void *key, size_t key_size,
		void *value, size_t capacity, size_t *ret_size, uint64_t *ret_version);

/* Put a value in, whatever was there. Errors: -ENOMEM, nothing is changed; -EINVAL, also keys of 4 GiB; -ENOTCONN; -EAGAIN. */
CREW_API CREW_CHECKED int crew_map_put(struct crew_map *map, const void *key, size_t key_size,
		const void *value, size_t size);

/*
 * The same if the key is not there (version 0), or still has that version. ret_version, if not NULL, gets the new one.
 * Errors also  -EEXIST  version 0, and it is there.   -ENOENT  it is gone.   -ESTALE  it has another version.
 */
CREW_API CREW_CHECKED int crew_map_put_if(struct crew_map *map, const void *key, size_t key_size,
		const void *value, size_t size, uint64_t version, uint64_t *ret_version);

/* Take a key out; with a version other than 0, only if it still has that. Errors: -ENOENT, -ESTALE, and those of get. */
CREW_API CREW_CHECKED int crew_map_delete(struct crew_map *map, const void *key, size_t key_size, uint64_t version);

/* What crew_map_update shows its function: the value as it is, and room for the new one, which begins as a copy if it fits. */
struct crew_map_change {
	const void *old;   /* NULL: no such key */
	size_t old_size;
	void *value;
	size_t capacity;
	size_t size;       /* of the new value; to begin with old_size, or 0 where that did not fit */
};
/* What the function returns; anything else: keep all as it is, and return that. */
enum { CREW_MAP_STORE = 0, CREW_MAP_DELETE = 3 };
typedef int crew_map_change_fn(void *context, struct crew_map_change *change);

/*
 * Change a value by a function of what it is, as one step: if another change comes between, the function is called
 * again, so it should do nothing else. It may read maps, not change them. A new value has up to `capacity` bytes.
 * Errors: those of put; what the function returns; -EMSGSIZE, change->size was beyond capacity.
 */
CREW_API CREW_CHECKED int crew_map_update(struct crew_map *map, const void *key, size_t key_size, size_t capacity,
		crew_map_change_fn *function, void *context);

/*
 * Call the function for each entry, in no order, until it returns something else than 0, which is then returned. What
 * it is shown lies in the map itself and is good until it returns. A key that is there all the while comes once, with a
 * value that it had meanwhile; one that comes or goes, comes or not (twice, if it is taken out and put in again). The
 * function may do anything, also change this map; nothing that is replaced meanwhile is freed until the end.
 */
typedef int crew_map_each_fn(void *context, const void *key, size_t key_size, const void *value, size_t size);
CREW_API CREW_CHECKED int crew_map_each(struct crew_map *map, crew_map_each_fn *function, void *context);

/* How many keys there are: exact while nobody changes it. 0 also where there is no map. */
CREW_API uint64_t crew_map_count(const struct crew_map *map);

/* Figures, as of about now. */
struct crew_map_stats {
	uint64_t count;    /* keys */
	uint64_t bytes;    /* in keys and values */
	uint64_t changes;  /* puts and deletes so far */
	uint64_t slots;    /* in the tables */
	uint64_t retired;  /* replaced, and not yet freed because somebody may still be reading them */
};
CREW_API CREW_CHECKED int crew_map_stats(const struct crew_map *map, struct crew_map_stats *ret);

/* Take all keys out, one after the other. */
CREW_API CREW_CHECKED int crew_map_clear(struct crew_map *map);

/* Free everything; an empty map is left. Nobody else may be using it. If the caller dies inside, call it again. */
CREW_API void crew_map_fini(struct crew_map *map);

CREW_END
#endif
