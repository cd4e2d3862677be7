/*
 * desk.c - a lane gets a desk, searches its runs, and is swept: see desk.h
 */
#include "base/sys.h"
#include "memory/desk.h"

uint32_t crew__desk_search(struct crew__bin *bin, const uint64_t *headers, uint32_t count)
{
	while (bin->count) {
		uint32_t i = bin->recent[--bin->count];
		if (is_free(&headers[i]))
			return i;
	}
	uint32_t i = bin->cursor;
	for (uint32_t turns = 0; turns < 2; turns++, i = 0)
		for (; i < count; i++)
			if (is_free(&headers[i])) {
				bin->cursor = (uint16_t)(i + 1);
				return i;
			}
	return count;
}

/* For a lane that has shown that it allocates. Without one the heap works too. */
static void open_desk(struct crew__lane *lane, struct crew__heap *heap)
{
	uint32_t class = crew__class_of(sizeof(struct crew__desk));
	if (crew__enter(&lane, &heap->guard, CREW_FOREVER) < 0)
		return;
	if (crew__run_provide(lane, heap, class) == 0) {
		struct crew__desk *desk = crew__run_take(lane, heap, class, HEADER_DESK, NULL);
		*desk = (struct crew__desk){ .lane = crew__number(crew__lane_id(lane)) };
		crew__set64(lane, &lane->desk, crew__offset(desk));
	}
	crew__leave(lane, &heap->guard);
}

struct crew__bin *crew__desk_bin(struct crew__lane *lane, struct crew__heap *heap, uint32_t class)
{
	enum { ENOUGH = 8 };
	if (class >= OWN_CLASSES)
		return NULL;
	if (!lane->desk) {
		if (++lane->slow_allocs <= ENOUGH)
			return NULL;
		open_desk(lane, heap);
	}
	struct crew__bin *bin = lane->desk ? &desk_of(lane)->bin[class] : NULL;
	if (!bin || (bin->slow < ENOUGH && ++bin->slow < ENOUGH))
		return NULL;
	return bin;
}

void crew__desk_close(struct crew__lane *dead)
{
	struct crew__lane *lane;
	struct crew__heap *heap = heap_of_family();
	struct crew__desk *desk = dead->desk & BEING_FREED ? NULL : desk_of(dead);
	for (uint32_t class = 0; desk && class < OWN_CLASSES; class++) {
		if (!desk->bin[class].run)
			continue;
		if (crew__enter(&lane, &heap->guard, CREW_FOREVER) < 0)
			return;
		crew__run_disown(lane, heap, &desk->bin[class]);
		crew__leave(lane, &heap->guard);
	}
	crew__block_give_named(dead, &dead->desk);
}
