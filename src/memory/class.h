/*
 * class.h - the sizes of small blocks, and how a run of them is laid out
 *
 *     small run:  [header 0][header 1] ... [header n-1] pad [block 0][block 1] ... [block n-1]
 *
 * Four sizes for each doubling: 32 ... 32768 bytes. Runs of blocks up to a page are one span, of larger ones four.
 */
#ifndef CREW_MEMORY_CLASS_H
#define CREW_MEMORY_CLASS_H

#include <stdbool.h>
#include <stdint.h>

#define SPAN_BYTES UINT64_C(65536)
#define CLASSES 41
#define OWN_CLASSES 29 /* those up to 4096 bytes: a lane may have a run of its own */

struct crew__class {
	uint32_t size;
	uint32_t count;   /* blocks in a run */
	uint32_t start;   /* of block 0, from the run's beginning */
	uint32_t run;     /* spans */
	uint32_t inverse; /* 2^32 / size, rounded up */
};
extern struct crew__class crew__classes[CLASSES];
void crew__classes_init(void);

/* The smallest class for a size (> 0), or CLASSES. Two of the first five are never chosen: 40 and 56 are rounded up to 16. */
static inline uint32_t crew__class_of(uint64_t size)
{
	if (size <= 32)
		return 0;
	if (size > 32768)
		return CLASSES;
	uint32_t last = (((uint32_t)size + 15) & ~15u) - 1; /* offset of the last byte */
	uint32_t doubling = 26 - (uint32_t)__builtin_clz(last);
	return 4 * doubling + ((last - (32u << doubling)) >> (3 + doubling)) + 1;
}

/* Which block begins at `offset` in a run of that class; false: none. */
static inline bool crew__class_index(const struct crew__class *class, uint64_t offset, uint32_t *ret)
{
	uint64_t inside = offset - class->start;
	*ret = (uint32_t)(inside * class->inverse >> 32);
	return offset >= class->start && *ret < class->count && (uint64_t)*ret * class->size == inside;
}

#endif
