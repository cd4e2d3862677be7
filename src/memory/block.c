/*
 * block.c - allocate and free blocks: see block.h for their headers
 *
 * Free     takes effect at the CAS (or the owner's store) of the header. `freeing` names the run from before that until the run
 *          is where it belongs: who sweeps the lane sees to that.
 * Named    a block that a hand names is freed in steps, so that the sweep can tell whether it has been, also where somebody else
 *          has allocated it since:  header = MARK (ours, of no other lane) -> word |= BEING_FREED -> header 0 -> word 0.
 *          From the hand's own run nobody else allocates: there the header's state tells.
 * Large    sections alone.
 */
#include "base/sys.h"
#include "memory/desk.h"

#define RETURN_FROM (UINT64_C(1) << 20) /* bytes: freed blocks from this size on go back to the system, unless little is free */

static uint64_t mark_of(const struct crew__lane *lane)
{
	return (uint64_t)crew__lane_id(lane) << 2;
}

bool crew__block_find(const void *block, struct crew__found *ret)
{
	struct crew__heap *heap = heap_of_family();
	uint64_t offset = (uint64_t)((uintptr_t)block - (uintptr_t)crew__heap_view.data);
	uint64_t number = offset / SPAN_BYTES;
	if (number >= peek32(&heap->high))
		return false;
	ret->number = peek32(&span_at((uint32_t)number)->head);
	if (ret->number > number)
		return false;
	ret->span = span_at(ret->number);
	uint32_t kind = peek32(&ret->span->kind), class = peek32(&ret->span->class);
	if (kind == SPAN_FREE || ret->number + peek32(&ret->span->run) <= number)
		return false;
	uint64_t inside = offset - ret->number * SPAN_BYTES;
	if (kind == SPAN_LARGE) {
		ret->size = peek32(&ret->span->run) * SPAN_BYTES;
		ret->header = &ret->span->owner;
		return inside == 0;
	}
	if (class >= CLASSES || !crew__class_index(&crew__classes[class], inside, &ret->index))
		return false;
	ret->size = crew__classes[class].size;
	ret->header = &headers_of(ret->number)[ret->index];
	return true;
}

static bool is_large(const struct crew__found *at)
{
	return at->header == &at->span->owner;
}

/* ---- allocate ---- */

static int take_large(struct crew__lane *lane, struct crew__heap *heap, uint64_t size, uint64_t alignment,
		uint64_t header, uint64_t *hand, void **ret, bool *ret_fresh)
{
	uint64_t run = (size + SPAN_BYTES - 1) / SPAN_BYTES;
	uint32_t head;
	int r = crew__span_take(lane, heap, (uint32_t)run, alignment, SPAN_LARGE, &head, ret_fresh);
	if (r < 0)
		return r;
	crew__set64(lane, &span_at(head)->owner, header);
	*ret = span_base(head);
	if (hand)
		crew__set64(lane, hand, crew__offset(*ret));
	return 0;
}

static int take(struct crew__lane *lane, uint32_t class, uint64_t size, uint64_t alignment, uint64_t header, uint64_t *hand,
		void **ret, bool *ret_fresh)
{
	struct crew__heap *heap = heap_of_family();
	struct crew__bin *bin = crew__desk_bin(lane, heap, class);
	*ret = NULL;
	*ret_fresh = false;
	int r = crew__enter(&lane, &heap->guard, CREW_FOREVER);
	if (r < 0)
		return r;
	r = class < CLASSES ? crew__run_provide(lane, heap, class) :
		take_large(lane, heap, size, alignment, header, hand, ret, ret_fresh);
	if (r < 0) {
		crew__abandon(lane, &heap->guard);
		return r;
	}
	if (bin && bin->run)
		crew__run_disown(lane, heap, bin); /* it is full */
	if (bin)
		crew__run_own(lane, heap, class, desk_of(lane));
	else if (class < CLASSES)
		*ret = crew__run_take(lane, heap, class, header, hand);
	if (*ret && header != HEADER_FAMILY)
		crew__set64(lane, &lane->attempt_blocks, lane->attempt_blocks + 1);
	crew__leave(lane, &heap->guard);
	if (!*ret)
		*ret = crew__desk_take(lane, class, header, hand); /* a listed run has a free block, and now it is ours alone */
	return 0;
}

int crew__block_take(struct crew__lane *lane, uint32_t class, uint64_t size, uint64_t alignment, uint64_t header, uint64_t *hand,
		void **ret, bool *ret_fresh)
{
	if (size > heap_of_family()->limit * SPAN_BYTES)
		return -ENOMEM;
	int r = take(lane, class, size, alignment, header, hand, ret, ret_fresh);
	if (r == -ENOMEM) {
		crew__heap_gather(lane);
		r = take(lane, class, size, alignment, header, hand, ret, ret_fresh);
	}
	return r;
}

/* ---- free ---- */

/* Whether no other block of a listed run seems to be allocated. Before ours is freed: afterwards the run may go. */
static bool seems_last(const struct crew__found *at)
{
	struct span *span = at->span;
	uint32_t class = span->class, count = crew__classes[class].count, witness = peek32(&span->witness);
	const struct crew__heap *heap = heap_of_family();
	if (peek32(&span->place) != PLACE_LISTED || peek32(&heap->first[class]) == peek32(&heap->last[class]))
		return false; /* the only one stays */
	const uint64_t *headers = headers_of(at->number);
	if (witness != at->index && witness < count && !is_free(&headers[witness]))
		return false;
	for (uint32_t k = 1, i = at->index; k < count; k++) {
		i = i + 1 < count ? i + 1 : 0;
		if (!is_free(&headers[i])) {
			__atomic_store_n(&span->witness, i, __ATOMIC_RELAXED);
			return false;
		}
	}
	return true;
}

/* Free a small block that may be in anybody's run, in the name of `of`; false if its header is not (any more) `from`. */
static bool free_small(struct crew__lane *of, const struct crew__found *at, uint64_t from)
{
	bool last = seems_last(at), settled = true;
	__atomic_store_n(&of->freeing, at->number + 1, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	bool done = __atomic_compare_exchange_n(at->header, &from, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	if (done && (last || __atomic_load_n(&at->span->place, __ATOMIC_SEQ_CST) == PLACE_FULL))
		settled = crew__run_settle(of, at->index) == 0;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (settled)
		__atomic_store_n(&of->freeing, 0, __ATOMIC_RELEASE);
	return done;
}

/* Inside a section, which this may commit. */
static void give_run(struct crew__lane *lane, struct crew__heap *heap, uint32_t number)
{
	uint32_t run = span_at(number)->run;
	crew__span_give(lane, heap, number);
	if (run * SPAN_BYTES >= RETURN_FROM)
		crew__span_return_pages(lane, heap, number, run);
}

/* Free what begins at `block` and is a run of its own; also a word that names it becomes 0. */
static const char *give_large(void *block, uint64_t *word)
{
	struct crew__lane *lane;
	struct crew__found at;
	struct crew__heap *heap = heap_of_family();
	int r = crew__enter(&lane, &heap->guard, CREW_FOREVER);
	if (r < 0)
		return word && crew__sweep_deadline(CREW_FOREVER) == CREW_POLL ? NULL : crew_strerror(r); /* the word stays for a later sweep */
	bool there = crew__block_find(block, &at) && is_large(&at);
	if (there) {
		if (word)
			crew__set64(lane, word, 0);
		give_run(lane, heap, at.number);
	}
	crew__leave(lane, &heap->guard);
	return there ? NULL : "no allocated block begins there: freed twice";
}

const char *crew__block_give(struct crew__lane *lane, void *block)
{
	struct crew__found at;
	struct crew__desk *desk = desk_of(lane);
	bool own = crew__desk_find(desk, block, &at);
	uint64_t header = own || crew__block_find(block, &at) ? __atomic_load_n(at.header, __ATOMIC_RELAXED) : 0;
	if (!(header & 1))
		return "no allocated block begins there: freed twice, or never allocated";
	if (own)
		crew__desk_give(desk, &at);
	else if (is_large(&at))
		return give_large(block, NULL);
	else if (!free_small(lane, &at, header))
		return "freed twice, at the same time";
	if (lane->attempt && header == header_of_attempt(lane->attempt))
		__atomic_store_n(&lane->attempt_blocks, lane->attempt_blocks - 1, __ATOMIC_RELAXED);
	return NULL;
}

static void give_named(struct crew__lane *of, uint64_t *word)
{
	uint64_t named = __atomic_load_n(word, __ATOMIC_ACQUIRE);
	struct crew__lane *self;
	struct crew__found at;
	if (!named || crew__lane_self(&self) < 0)
		return;
	void *block = crew__at(named & ~BEING_FREED);
	bool found = crew__block_find(block, &at);
	if (found && is_large(&at) && !(named & BEING_FREED)) {
		const char *wrong = give_large(block, word);
		if (wrong)
			crew__panic("block %p in a hand: %s", block, wrong);
		return;
	}
	uint64_t header = found ? __atomic_load_n(at.header, __ATOMIC_ACQUIRE) : 0, mark = mark_of(of);
	if (header && of == self && crew__desk_find(desk_of(of), block, &at)) {
		crew__desk_give(desk_of(of), &at);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		__atomic_store_n(word, 0, __ATOMIC_RELEASE);
		return;
	}
	if (header && !(named & BEING_FREED)) {
		__atomic_store_n(at.header, mark, __ATOMIC_RELAXED);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		__atomic_store_n(word, named | BEING_FREED, __ATOMIC_RELAXED);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		header = mark;
	}
	if (header == mark)
		free_small(of, &at, mark);
	else if (of == self)
		crew__panic("block %p in a hand: freed twice", block);
	if (of != self && __atomic_load_n(&of->freeing, __ATOMIC_RELAXED))
		return; /* not settled: with the word, for a later sweep */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(word, 0, __ATOMIC_RELEASE);
}

void crew__block_give_named(struct crew__lane *of, uint64_t *word)
{
	bool own = of == crew__mine.lane; /* not to be left for others, also during a sweep */
	enum crew__pace was = own ? crew__sweep_pace(CREW__NO_SWEEP) : CREW__NO_SWEEP;
	give_named(of, word);
	if (own)
		crew__sweep_pace(was);
}

/* ---- many ---- */

/* Free the blocks of one run. Inside a section, which this commits. */
static void give_all_in(struct crew__lane *lane, struct crew__lane *of, struct crew__heap *heap, uint32_t number, uint64_t header)
{
	struct span *span = span_at(number);
	if (span->kind == SPAN_LARGE) {
		if (span->owner == header)
			give_run(lane, heap, number);
		return;
	}
	if (span->attempt < header >> 1)
		return;
	__atomic_store_n(&of->freeing, number + 1, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	uint64_t *headers = headers_of(number);
	for (uint32_t i = 0; i < crew__classes[span->class].count; i++) {
		uint64_t from = header;
		__atomic_compare_exchange_n(&headers[i], &from, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	}
	crew__run_place(lane, heap, number, 0);
	crew__commit(lane);
	__atomic_store_n(&of->freeing, 0, __ATOMIC_RELEASE);
}

bool crew__block_give_all(struct crew__lane *of, uint64_t attempt)
{
	enum { PIECE = 256 }; /* runs looked at in one section */
	struct crew__heap *heap = heap_of_family();
	struct crew__lane *lane;
	/* Between two sections others may change the heap here, but no block of this attempt comes or moves: the search goes on. */
	for (uint32_t at = 0; at < peek32(&heap->high);) {
		if (crew__enter(&lane, &heap->guard, CREW_FOREVER) < 0)
			return false;
		at = crew__span_next(heap, at);
		for (int n = 0; n < PIECE && at < heap->high; n++) {
			uint32_t end = at + span_at(at)->run;
			give_all_in(lane, of, heap, at, header_of_attempt(attempt));
			crew__commit(lane);
			at = crew__span_skip_free(heap, end);
		}
		crew__leave(lane, &heap->guard);
	}
	return true;
}

void crew__heap_gather(struct crew__lane *lane)
{
	struct crew__heap *heap = heap_of_family();
	crew__lane_reap_all();
	if (crew__enter(&lane, &heap->guard, CREW_FOREVER) < 0)
		return;
	struct crew__desk *desk = desk_of(lane);
	for (uint32_t class = 0; class < CLASSES; class++) {
		if (desk && class < OWN_CLASSES && desk->bin[class].run) {
			crew__run_disown(lane, heap, &desk->bin[class]);
			crew__commit(lane);
		}
		for (uint32_t next, at = heap->first[class]; at; at = next) {
			next = span_at(at - 1)->next;
			crew__run_drop(lane, heap, at - 1);
			crew__commit(lane);
		}
	}
	crew__span_trim(lane, heap, 0);
	crew__leave(lane, &heap->guard);
}
