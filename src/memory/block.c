/*
 * block.c - blocks: small ones in runs of equal size with a header each, large ones a run of their own
 *
 *     small run:  [header 0][header 1] ... [header n-1] pad [block 0][block 1] ... [block n-1]
 *
 * A header says whether a block is allocated and whose it is; that one word is the truth. The hints only
 * shorten searches. Nothing is linked through the blocks themselves.
 */
#include <string.h>
#include "base/sys.h"
#include "memory/span.h"

uint32_t crew__class_size(uint32_t class)
{
	uint32_t step = class % 4, doubling = class / 4;
	uint32_t size = (UINT32_C(32) << doubling) + (step * (UINT32_C(8) << doubling));
	return (size + 15) & ~UINT32_C(15); /* 40 and 56 become 48 and 64: two classes are the same, and never chosen */
}

uint32_t crew__class_of(uint64_t size, uint64_t alignment)
{
	for (uint32_t class = 0; class < CLASSES; class++) {
		uint32_t bytes = crew__class_size(class);
		if (bytes >= size && (alignment <= 16 || ((bytes & -bytes) >= alignment && alignment <= 4096)))
			return class;
	}
	return CLASSES;
}

uint32_t crew__class_run(uint32_t class)
{
	return crew__class_size(class) <= 4096 ? 1 : 4;
}

uint32_t crew__class_layout(uint32_t class, uint32_t *ret_count)
{
	uint32_t size = crew__class_size(class), bytes = crew__class_run(class) * (uint32_t)SPAN_BYTES;
	uint32_t natural = size & -size;
	uint32_t alignment = natural > 4096 ? 4096 : natural;
	uint32_t count = bytes / (size + 8), start;
	for (;; count--) {
		start = (count * 8 + alignment - 1) & ~(alignment - 1);
		if (start + count * size <= bytes)
			break;
	}
	*ret_count = count;
	return start;
}

static void list_remove(struct crew__lane *lane, struct crew__heap *heap, uint32_t number)
{
	struct span *span = span_at(heap, number);
	if (span->prev)
		crew__set32(lane, &span_at(heap, span->prev - 1)->next, span->next);
	else
		crew__set32(lane, &heap->first[span->class], span->next);
	if (span->next)
		crew__set32(lane, &span_at(heap, span->next - 1)->prev, span->prev);
}

static void list_add(struct crew__lane *lane, struct crew__heap *heap, uint32_t number)
{
	struct span *span = span_at(heap, number);
	uint32_t first = heap->first[span->class];
	crew__set32(lane, &span->next, first);
	crew__set32(lane, &span->prev, 0);
	if (first)
		crew__set32(lane, &span_at(heap, first - 1)->prev, number + 1);
	crew__set32(lane, &heap->first[span->class], number + 1);
}

static void account(struct crew__lane *lane, struct crew__heap *heap, uint64_t size, bool taken)
{
	crew__set64(lane, &heap->used, taken ? heap->used + size : heap->used - size);
	crew__set64(lane, &heap->blocks, taken ? heap->blocks + 1 : heap->blocks - 1);
	if (heap->used > heap->peak)
		crew__set64(lane, &heap->peak, heap->used);
}

static int take_large(struct crew__lane *lane, struct crew__heap *heap, uint64_t size, uint64_t alignment,
		uint64_t header, void **ret)
{
	uint64_t run = (size + SPAN_BYTES - 1) / SPAN_BYTES;
	uint32_t head;
	if (size > heap->limit * SPAN_BYTES)
		return -ENOMEM;
	int r = crew__span_take(lane, heap, (uint32_t)run, alignment, SPAN_LARGE, &head);
	if (r < 0)
		return r;
	crew__set64(lane, &span_at(heap, head)->owner, header);
	account(lane, heap, run * SPAN_BYTES, true);
	*ret = span_base(heap, head);
	return 0;
}

/* A fresh run for a class, at the front of its list. */
static int new_run(struct crew__lane *lane, struct crew__heap *heap, uint32_t class)
{
	uint32_t head, count;
	crew__class_layout(class, &count);
	int r = crew__span_take(lane, heap, crew__class_run(class), 1, SPAN_SMALL, &head);
	if (r < 0)
		return r;
	memset(span_base(heap, head), 0, count * 8); /* bare: nobody reads headers of a run that is not there yet */
	struct span *span = span_at(heap, head);
	crew__set32(lane, &span->class, class);
	crew__set32(lane, &span->used, 0);
	crew__set32(lane, &span->hint, 0);
	list_add(lane, heap, head);
	return 0;
}

int crew__block_take(struct crew__lane *lane, struct crew__heap *heap, uint64_t size, uint64_t alignment,
		uint64_t header, void **ret)
{
	uint32_t class = crew__class_of(size, alignment), count;
	if (class == CLASSES)
		return take_large(lane, heap, size, alignment, header, ret);
	if (!heap->first[class]) {
		int r = new_run(lane, heap, class);
		if (r < 0)
			return r;
	}
	uint32_t number = heap->first[class] - 1, start = crew__class_layout(class, &count);
	struct span *span = span_at(heap, number);
	uint64_t *headers = (uint64_t *)span_base(heap, number);
	uint32_t i = span->hint;
	while (headers[i])
		i++;
	crew__set64(lane, &headers[i], header);
	crew__set32(lane, &span->hint, i + 1);
	crew__set32(lane, &span->used, span->used + 1);
	if (span->used == count)
		list_remove(lane, heap, number);
	account(lane, heap, crew__class_size(class), true);
	*ret = span_base(heap, number) + start + i * crew__class_size(class);
	return 0;
}

uint64_t *crew__block_header(struct crew__heap *heap, const void *block, uint64_t *ret_size, uint32_t *ret_head)
{
	uint64_t offset = (uint64_t)((const char *)block - (const char *)crew__at(heap->data));
	uint64_t number = offset / SPAN_BYTES;
	if ((const char *)block < (const char *)crew__at(heap->data) || number >= heap->high)
		return NULL;
	uint32_t head = span_at(heap, (uint32_t)number)->head, count;
	struct span *span = span_at(heap, head);
	if (head > number || span->kind == SPAN_FREE || head + span->run <= number)
		return NULL;
	*ret_head = head;
	uint64_t inside = offset - head * SPAN_BYTES;
	if (span->kind == SPAN_LARGE) {
		*ret_size = span->run * SPAN_BYTES;
		return inside == 0 ? &span->owner : NULL;
	}
	uint32_t size = crew__class_size(span->class), start = crew__class_layout(span->class, &count);
	if (inside < start || (inside - start) % size != 0 || (inside - start) / size >= count)
		return NULL;
	*ret_size = size;
	uint64_t *header = (uint64_t *)span_base(heap, head) + (inside - start) / size;
	return *header ? header : NULL;
}

const char *crew__block_give(struct crew__lane *lane, struct crew__heap *heap, void *block)
{
	uint64_t size;
	uint32_t number, count;
	uint64_t *header = crew__block_header(heap, block, &size, &number);
	if (!header)
		return "no allocated block begins there: freed twice, or never allocated";
	struct span *span = span_at(heap, number);
	account(lane, heap, size, false);
	if (span->kind == SPAN_LARGE) {
		crew__span_give(lane, heap, number);
		return NULL;
	}
	uint32_t index = (uint32_t)(header - (uint64_t *)span_base(heap, number));
	crew__class_layout(span->class, &count);
	crew__set64(lane, header, 0);
	if (index < span->hint)
		crew__set32(lane, &span->hint, index);
	if (span->used == count)
		list_add(lane, heap, number);
	crew__set32(lane, &span->used, span->used - 1);
	if (span->used == 0 && (span->next || span->prev)) { /* the last run of a class stays, ready */
		list_remove(lane, heap, number);
		crew__span_give(lane, heap, number);
	}
	return NULL;
}
