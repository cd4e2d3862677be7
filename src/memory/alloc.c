/*
 * alloc.c - the public calls: one section on the heap's guard each
 *
 * Death    inside a section: undone. A block in a lane's hand (lane->mine) is named there in the section that allocates it
 *          and freed by the sweep; a block of a running attempt carries the attempt's number (attempt.c).
 */
#include <string.h>
#include "base/sys.h"
#include "memory/span.h"

#define RETURN_FROM (UINT64_C(1) << 20) /* bytes: freed blocks from this size on go back to the system, */
#define KEEP (UINT64_C(16) << 20)       /*        unless no more than this is free: it will be wanted again */

static int take(size_t size, size_t alignment, int hand, struct crew__lane *in, void **ret)
{
	struct crew__lane *lane = in;
	if (!crew__family.self)
		return -ENOTCONN;
	struct crew__heap *heap = heap_of_family();
	int r = crew__enter(&lane, &heap->guard, CREW_FOREVER);
	if (r < 0)
		return r;
	void *block = NULL;
	bool counted = hand < 0 && lane->attempt;
	r = crew__block_take(lane, heap, size ? size : 1, alignment,
			counted ? 2 * lane->attempt + 1 : HEADER_FAMILY, &block);
	if (r < 0) {
		crew__abandon(lane, &heap->guard);
		return r;
	}
	if (hand >= 0)
		crew__set64(lane, &lane->mine[hand], crew__offset(block));
	if (counted)
		crew__set64(lane, &lane->attempt_blocks, lane->attempt_blocks + 1);
	crew__leave(lane, &heap->guard);
	*ret = block;
	return 0;
}

/* Free a block inside a section already entered; leaves it. */
static const char *give(struct crew__lane *lane, struct crew__heap *heap, void *block)
{
	uint64_t size = 0;
	uint32_t head = 0;
	crew__block_header(heap, block, &size, &head);
	const char *wrong = crew__block_give(lane, heap, block);
	if (!wrong && size >= RETURN_FROM && heap->committed - heap->used > KEEP)
		crew__span_return_pages(lane, heap, head, (uint32_t)(size / SPAN_BYTES));
	crew__leave(lane, &heap->guard);
	return wrong;
}

int crew_alloc(size_t size, void **ret)
{
	return take(size, 16, -1, NULL, ret);
}

int crew_alloc_aligned(size_t size, size_t alignment, void **ret)
{
	if (alignment == 0 || (alignment & (alignment - 1)) || alignment > (size_t)1 << 30)
		return -EINVAL;
	return take(size, alignment, -1, NULL, ret);
}

int crew_alloc_zeroed(size_t size, void **ret)
{
	int r = crew_alloc(size, ret);
	if (r == 0)
		memset(*ret, 0, size);
	return r;
}

int crew_array(size_t count, size_t size, void **ret)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes))
		return -ENOMEM;
	int r = crew_alloc_aligned(bytes, 64, ret);
	if (r == 0)
		memset(*ret, 0, bytes);
	return r;
}

void crew_free(void *pointer)
{
	if (!pointer)
		return;
	struct crew__lane *lane;
	if (!crew__family.self)
		crew__panic("crew_free(%p): not a member of a family", pointer);
	struct crew__heap *heap = heap_of_family();
	int r = crew__enter(&lane, &heap->guard, CREW_FOREVER);
	if (r < 0)
		crew__panic("crew_free(%p): %s", pointer, crew_strerror(r));
	const char *wrong = give(lane, heap, pointer);
	if (wrong)
		crew__panic("crew_free(%p): %s", pointer, wrong);
}

size_t crew_usable_size(const void *pointer)
{
	uint64_t size = 0;
	uint32_t head;
	if (!pointer || !crew__family.region || !crew__block_header(heap_of_family(), pointer, &size, &head))
		return 0;
	return size;
}

bool crew_is_shared(const void *pointer)
{
	return crew__in_region(pointer, 1);
}

int crew__alloc_mine(struct crew__lane *lane, unsigned hand, size_t size, void **ret)
{
	if (lane->mine[hand])
		crew__panic("hand %u is not empty", hand);
	return take(size, 16, (int)hand, lane, ret);
}

/* Free what a hand of `of` names and empty the hand, in one section. */
static void free_hand(struct crew__lane *of, unsigned hand)
{
	struct crew__lane *lane;
	struct crew__heap *heap = heap_of_family();
	if (!of->mine[hand] || crew__enter(&lane, &heap->guard, CREW_FOREVER) < 0)
		return;
	void *block = crew__at(of->mine[hand]);
	crew__set64(lane, &of->mine[hand], 0);
	const char *wrong = give(lane, heap, block);
	if (wrong)
		crew__panic("block %p in hand %u: %s", block, hand, wrong);
}

void crew__free_mine(struct crew__lane *lane, unsigned hand)
{
	free_hand(lane, hand);
}

static void sweep(struct crew__lane *dead, uint32_t id, bool clean)
{
	(void)id;
	(void)clean;
	for (unsigned hand = 0; hand < sizeof dead->mine / sizeof dead->mine[0]; hand++)
		free_hand(dead, hand);
	crew__attempt_end(dead, false);
}

/* Where the parts of the heap are, by the size of the region alone. */
static struct crew__heap geometry(void)
{
	struct crew__region *region = crew__family.region;
	uint64_t room = region->bytes - region->heap;
	uint32_t spans = (uint32_t)(room / (SPAN_BYTES + sizeof(struct span)));
	uint64_t data = region->heap + CREW__PAGE + spans * sizeof(struct span);
	data += -((uintptr_t)region + data) & 0x1fffff; /* 2 MiB by address */
	return (struct crew__heap){ .table = region->heap + CREW__PAGE, .data = data,
		.limit = (uint32_t)((region->bytes - data) / SPAN_BYTES) };
}

int crew__heap_create(void)
{
	static_assert(sizeof(struct crew__heap) <= CREW__PAGE, "the first page of the heap");
	int r = crew__fallocate(crew__family.memfd, 0, (off_t)crew__family.region->heap, (off_t)CREW__PAGE);
	if (r < 0)
		return r == -ENOSPC ? -ENOMEM : r;
	*heap_of_family() = geometry();
	crew__sweep_register(sweep);
	return 0;
}

int crew__heap_attach(void)
{
	struct crew__heap expected = geometry();
	int r = crew__fallocate(crew__family.memfd, 0, (off_t)crew__family.region->heap, (off_t)CREW__PAGE);
	const struct crew__heap *heap = heap_of_family();
	if (r == 0 && (heap->table != expected.table || heap->data != expected.data || heap->limit != expected.limit ||
			heap->high > heap->limit))
		r = -EBADMSG;
	if (r == 0)
		r = crew__fallocate(crew__family.memfd, 0, (off_t)heap->table, (off_t)((heap->high ? heap->high : 1) * sizeof(struct span)));
	crew__sweep_register(sweep);
	return r == -ENOSPC ? -ENOMEM : r;
}
