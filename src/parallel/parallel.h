/* parallel.h - what the algorithms share: how a range is cut, and the caller's context */
#ifndef CREW_PARALLEL_PARALLEL_H
#define CREW_PARALLEL_PARALLEL_H

#include <string.h>
#include <crew/memory.h>
#include <crew/parallel.h>
#include "pool/grid.h"

#define CREW__CHUNKS 256 /* of a range whose grain is not given */

/* [begin, end) in chunks of `length`. It depends on the range and the grain alone: that makes results reproducible. */
struct crew__cut { size_t begin, end, length, count; };

static inline struct crew__cut crew__cut(size_t begin, size_t end, size_t length)
{
	return (struct crew__cut){ begin, end, length, end > begin ? (end - begin - 1) / length + 1 : 0 };
}

static inline size_t crew__cut_begin(const struct crew__cut *cut, size_t i)
{
	return cut->begin + i * cut->length;
}

static inline size_t crew__cut_end(const struct crew__cut *cut, size_t i)
{
	return i + 1 < cut->count ? crew__cut_begin(cut, i + 1) : cut->end;
}

/* The default: not more than CREW__CHUNKS chunks, none shorter than `least`. */
static inline size_t crew__cut_length(size_t count, size_t grain, size_t least)
{
	size_t length = count / CREW__CHUNKS + (count % CREW__CHUNKS != 0);
	return grain ? grain : length > least ? length : least;
}

/* One element. The constant sizes let the compiler use plain moves. */
static inline void crew__put(char *to, const char *from, size_t size)
{
	switch (size) {
	case 4: memcpy(to, from, 4); break;
	case 8: memcpy(to, from, 8); break;
	case 16: memcpy(to, from, 16); break;
	default: memcpy(to, from, size);
	}
}

/* The context for all chunks; *block is to be freed at the end. options may be NULL. */
int crew__context(const struct crew_range_options *options, void **ret, void **block);

/* Run it and tell how it failed. */
int crew__parallel_run(struct crew_pool *pool, struct crew__grid *grid, const struct crew_range_options *options);

#endif
