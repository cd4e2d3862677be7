/*
 * alloc.c - the public calls, and what the layers above ask for
 *
 * Death    A block in a lane's hand (lane->mine) is named there before or as it is allocated, and freed by the sweep; a block of a
 *          running attempt carries the attempt's number (attempt.c).
 */
#include <string.h>
#include "base/sys.h"
#include "memory/desk.h"

enum { REALLOC_HAND = 6 };

struct crew__heap_view crew__heap_view;

static uint32_t class_for(uint64_t size, uint64_t alignment)
{
	uint32_t class = crew__class_of(size);
	if (alignment > 4096)
		return CLASSES;
	while (alignment > 16 && class < CLASSES && (crew__classes[class].size & -crew__classes[class].size) < alignment)
		class++;
	return class;
}

static int take(struct crew__lane *lane, size_t size, size_t alignment, uint64_t header, uint64_t *hand, void **ret, bool *ret_fresh)
{
	uint32_t class = class_for(size ? size : 1, alignment);
	*ret_fresh = false;
	void *block = class < OWN_CLASSES ? crew__desk_take(lane, class, header, hand) : NULL;
	if (!block) {
		int r = crew__block_take(lane, class, size ? size : 1, alignment, header, hand, &block, ret_fresh);
		if (r < 0)
			return r;
	}
	*ret = block;
	return 0;
}

static int allocate(size_t size, size_t alignment, void **ret, bool *ret_fresh)
{
	struct crew__lane *lane;
	int r = crew__lane_self(&lane);
	return r < 0 ? r : take(lane, size, alignment, header_of_attempt(lane->attempt), NULL, ret, ret_fresh);
}

static int allocate_zeroed(size_t size, size_t alignment, void **ret)
{
	bool fresh;
	int r = allocate(size, alignment, ret, &fresh);
	if (r == 0 && !fresh)
		memset(*ret, 0, size);
	return r;
}

int crew_alloc(size_t size, void **ret)
{
	bool fresh;
	return allocate(size, 16, ret, &fresh);
}

int crew_alloc_aligned(size_t size, size_t alignment, void **ret)
{
	bool fresh;
	if (alignment == 0 || (alignment & (alignment - 1)) || alignment > (size_t)1 << 30)
		return -EINVAL;
	return allocate(size, alignment, ret, &fresh);
}

int crew_alloc_zeroed(size_t size, void **ret)
{
	return allocate_zeroed(size, 16, ret);
}

int crew_array(size_t count, size_t size, void **ret)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes))
		return -ENOMEM;
	return allocate_zeroed(bytes, 64, ret);
}

void crew_free(void *pointer)
{
	if (!pointer)
		return;
	struct crew__lane *lane;
	int r = crew__lane_self(&lane);
	if (r < 0)
		crew__panic("crew_free(%p): %s", pointer, r == -ENOTCONN ? "not a member of a family" : crew_strerror(r));
	const char *wrong = crew__block_give(lane, pointer);
	if (wrong)
		crew__panic("crew_free(%p): %s", pointer, wrong);
}

/* The new block's owner: an attempt that is over has left its blocks to the family. */
static uint64_t heir_of(const struct crew__lane *lane, uint64_t header)
{
	return lane->attempt && header == header_of_attempt(lane->attempt) ? header : HEADER_FAMILY;
}

/*
 * The new block is in our hand while it is filled; one section puts it into *ret and the old one into the hand; then that is
 * freed. Whenever we die, one of them is in *ret, and the sweep frees the other.
 */
static int move(struct crew__lane *lane, void *pointer, const struct crew__found *at, size_t size, uint64_t header, void **ret)
{
	void *block;
	bool fresh;
	struct crew__heap *heap = heap_of_family();
	uint64_t *hand = &lane->mine[REALLOC_HAND];
	int r = take(lane, size, 16, heir_of(lane, header), hand, &block, &fresh);
	if (r < 0)
		return r;
	memcpy(block, pointer, size < at->size ? size : at->size);
	r = crew__enter(&lane, &heap->guard, CREW_FOREVER);
	if (r < 0) {
		crew__block_give_named(lane, hand);
		return r;
	}
	if (crew__in_region(ret, sizeof *ret))
		crew__set64(lane, (uint64_t *)(void *)ret, (uint64_t)(uintptr_t)block);
	else
		*ret = block;
	crew__set64(lane, hand, crew__offset(pointer));
	crew__leave(lane, &heap->guard);
	crew__block_give_named(lane, hand);
	return 0;
}

int crew_realloc(void *pointer, size_t size, void **ret)
{
	struct crew__lane *lane;
	struct crew__found at;
	if (!pointer)
		return crew_alloc(size, ret);
	int r = crew__lane_self(&lane);
	if (r < 0)
		return r;
	uint64_t header = crew__block_find(pointer, &at) ? __atomic_load_n(at.header, __ATOMIC_RELAXED) : 0;
	if (!(header & 1))
		crew__panic("crew_realloc(%p): no allocated block begins there", pointer);
	bool fits = size <= at.size, wasteful = fits && at.size > 64 && size < at.size / 2;
	r = fits && !wasteful ? 0 : move(lane, pointer, &at, size, header, ret);
	if (fits && (r < 0 || !wasteful)) {
		*ret = pointer;
		return 0;
	}
	return r;
}

size_t crew_usable_size(const void *pointer)
{
	struct crew__found at;
	if (!pointer || !crew__family.region || !crew__block_find(pointer, &at) || !(__atomic_load_n(at.header, __ATOMIC_RELAXED) & 1))
		return 0;
	return at.size;
}

bool crew_is_shared(const void *pointer)
{
	return crew__in_region(pointer, 1);
}

int crew__alloc_mine(struct crew__lane *lane, unsigned hand, size_t size, void **ret)
{
	bool fresh;
	if (lane->mine[hand])
		crew__panic("hand %u is not empty", hand);
	return take(lane, size, 16, HEADER_FAMILY, &lane->mine[hand], ret, &fresh);
}

void crew__free_mine(struct crew__lane *lane, unsigned hand)
{
	crew__block_give_named(lane, &lane->mine[hand]);
}

/* Hands before runs: a hand may name a block of its own run that is not there yet, and stays free only as long as the run is its own. */
static void sweep(struct crew__lane *dead, uint32_t id, bool clean)
{
	(void)id;
	(void)clean;
	struct crew__lane *self;
	if (crew__lane_self(&self) < 0)
		return;
	if (crew__run_settle(dead, 0) < 0)
		return;
	__atomic_store_n(&dead->freeing, 0, __ATOMIC_RELEASE);
	for (unsigned hand = 0; hand < sizeof dead->mine / sizeof dead->mine[0]; hand++) {
		crew__block_give_named(dead, &dead->mine[hand]);
		if (dead->freeing || dead->mine[hand])
			return; /* somebody is stopped in a section */
	}
	crew__desk_close(dead);
	crew__attempt_died(dead);
	struct crew__heap *heap = heap_of_family();
	if (__atomic_load_n(&heap->keep, __ATOMIC_RELAXED) && crew__enter(&self, &heap->guard, CREW_FOREVER) == 0) {
		crew__span_ebb(self, heap);
		crew__leave(self, &heap->guard);
	}
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

static void look_at_heap(void)
{
	struct crew__heap *heap = crew__at(crew__family.region->heap);
	struct crew__heap where = geometry();
	crew__heap_view = (struct crew__heap_view){ heap, crew__at(where.table), crew__at(where.data) };
	crew__classes_init();
}

int crew__heap_create(void)
{
	static_assert(sizeof(struct crew__heap) <= CREW__PAGE, "the first page of the heap");
	static_assert(sizeof(struct span) == 64, "a line each");
	int r = crew__fallocate(crew__family.memfd, 0, (off_t)crew__family.region->heap, (off_t)CREW__PAGE);
	if (r < 0)
		return r == -ENOSPC ? -ENOMEM : r;
	*(struct crew__heap *)crew__at(crew__family.region->heap) = geometry();
	look_at_heap();
	crew__sweep_register(sweep);
	return 0;
}

int crew__heap_attach(void)
{
	struct crew__heap expected = geometry();
	look_at_heap();
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
