/*
 * attempt.c - blocks that belong to one attempt at a task until it ends well
 *
 * A block allocated inside an attempt carries its number in its header. When the attempt ends well nothing is done: the
 * number is never used again, so the block is the family's. When it fails or dies, all blocks with that number
 * are freed, each in a section of its own, so this may be interrupted and repeated.
 */
#include "base/sys.h"
#include "memory/span.h"

void crew__attempt_begin(struct crew__lane *lane)
{
	lane->attempt_blocks = 0;
	uint64_t attempt = __atomic_add_fetch(&heap_of_family()->attempts, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&lane->attempt, attempt, __ATOMIC_RELAXED); /* looked at bare by who searches an empty lane */
}

/* The next block at or after (*number, *index) whose header is `header`; NULL at the end. Inside a section. */
static void *find(struct crew__heap *heap, uint64_t header, uint32_t *number, uint32_t *index)
{
	while (*number < heap->high) {
		struct span *span = span_at(heap, *number);
		uint32_t count, start;
		switch ((enum span_kind)span->kind) {
		case SPAN_FREE:
			++*number;
			*index = 0;
			continue;
		case SPAN_LARGE:
			if (span->owner == header)
				return span_base(heap, *number);
			break;
		case SPAN_SMALL:
			start = crew__class_layout(span->class, &count);
			for (; *index < count; ++*index)
				if (((uint64_t *)span_base(heap, *number))[*index] == header)
					return span_base(heap, *number) + start + *index * crew__class_size(span->class);
			break;
		}
		*number += span->run;
		*index = 0;
	}
	return NULL;
}

void crew__attempt_end(struct crew__lane *of, bool keep)
{
	struct crew__heap *heap = heap_of_family();
	uint64_t header = 2 * of->attempt + 1;
	bool search = of->attempt && !keep && of->attempt_blocks;
	uint32_t number = 0, index = 0;
	/* Between two sections others may change the heap here, but no block of this attempt comes or moves: the search goes on. */
	while (search) {
		struct crew__lane *lane;
		if (crew__enter(&lane, &heap->guard, CREW_FOREVER) < 0)
			return;
		void *block = find(heap, header, &number, &index);
		search = block != NULL;
		if (block)
			crew__block_give(lane, heap, block);
		crew__leave(lane, &heap->guard);
	}
	__atomic_store_n(&of->attempt, 0, __ATOMIC_RELEASE);
}

void crew_publish(void *pointer)
{
	struct crew__lane *lane;
	if (!pointer || !crew__family.self || crew__lane_self(&lane) < 0 || !lane->attempt)
		return;
	struct crew__heap *heap = heap_of_family();
	if (crew__enter(&lane, &heap->guard, CREW_FOREVER) < 0)
		return;
	uint64_t size;
	uint32_t head;
	uint64_t *header = crew__block_header(heap, pointer, &size, &head);
	if (header)
		crew__set64(lane, header, HEADER_FAMILY);
	crew__leave(lane, &heap->guard);
	if (!header)
		crew__panic("crew_publish(%p): no allocated block begins there", pointer);
}
