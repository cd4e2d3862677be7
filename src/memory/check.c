/* check.c - the heap's figures, and its invariants as a check (numbers as in span.h) */
#include <stdio.h>
#include "base/sys.h"
#include "memory/desk.h"

static uint32_t count_used(uint32_t number, bool all)
{
	const uint64_t *headers = headers_of(number);
	uint32_t used = 0;
	for (uint32_t i = 0; i < crew__classes[span_at(number)->class].count; i++) {
		uint64_t header = __atomic_load_n(&headers[i], __ATOMIC_SEQ_CST);
		used += all ? header != 0 : (header & 1) != 0;
	}
	return used;
}

static void add_up(uint32_t number, struct crew_memory_stats *sums)
{
	const struct span *span = span_at(number);
	uint32_t used = span->kind == SPAN_LARGE ? 1 : count_used(number, false);
	sums->blocks += used;
	sums->used += span->kind == SPAN_LARGE ? span->run * SPAN_BYTES : (uint64_t)used * crew__classes[span->class].size;
}

/* Nobody counts as it goes: the headers are the truth. Piece by piece, so that nobody waits long for the guard. */
int crew_memory_stats(struct crew_memory_stats *ret)
{
	enum { PIECE = 64 };
	struct crew__lane *lane;
	if (!crew__family.self)
		return -ENOTCONN;
	struct crew__heap *heap = heap_of_family();
	struct crew_memory_stats sums = { .cap = crew__family.region->memory_cap };
	uint32_t at = 0, high;
	do {
		int r = crew__enter(&lane, &heap->guard, CREW_FOREVER);
		if (r < 0)
			return r;
		at = crew__span_next(heap, at);
		for (int n = 0; n < PIECE && at < heap->high; n++) {
			add_up(at, &sums);
			at = crew__span_skip_free(heap, at + span_at(at)->run);
		}
		sums.peak = heap->peak;
		sums.committed = heap->committed;
		high = heap->high;
		crew__leave(lane, &heap->guard);
	} while (at < high);
	*ret = sums;
	return 0;
}

static bool is_being_settled(uint32_t number)
{
	const struct crew__lane *lane;
	for (uint32_t n = 1; (lane = crew__lane_at(n)); n++)
		if (peek32(&lane->freeing) == number + 1)
			return true;
	return false;
}

static bool is_listed(const struct crew__heap *heap, uint32_t number)
{
	const struct span *span = span_at(number);
	return (span->prev ? span_at(span->prev - 1)->next : heap->first[span->class]) == number + 1 &&
		(span->next ? span_at(span->next - 1)->prev : heap->last[span->class]) == number + 1;
}

/* What is wrong with a small run, or NULL. */
static const char *check_small(struct crew__heap *heap, uint32_t number)
{
	const struct span *span = span_at(number);
	if (span->class >= CLASSES || span->run != crew__classes[span->class].run)
		return "class of a small run";
	bool full = count_used(number, true) == crew__classes[span->class].count;
	if (span->place == PLACE_FULL)
		return full || is_being_settled(number) ? NULL : "5: FULL run with free blocks";
	if (span->place == PLACE_LISTED)
		return full ? "5: LISTED run without free blocks" : is_listed(heap, number) ? NULL : "5: LISTED run is not in its list";
	struct crew__lane *lane = crew__lane_at(span->place);
	uint64_t desk = lane ? __atomic_load_n(&lane->desk, __ATOMIC_ACQUIRE) : 0;
	if (!desk || span->class >= OWN_CLASSES || ((struct crew__desk *)crew__at(desk))->bin[span->class].run != number + 1)
		return "5: OWNED run that its lane does not name";
	return NULL;
}

static const char *check(struct crew__heap *heap)
{
	uint64_t committed = 0, in_runs = 0;
	uint32_t at = 0;
	for (uint32_t i = 0; i < heap->high; i++)
		committed += span_at(i)->pages == PAGES_THERE ? SPAN_BYTES : 0;
	while (at < heap->high) {
		const struct span *span = span_at(at);
		if (at <= heap->hint && heap->hint < at + (span->kind == SPAN_FREE ? 1 : span->run) && heap->hint != at)
			return "2: hint inside a run";
		if (span->kind == SPAN_FREE) {
			if (at < heap->hint)
				return "2: free span below the hint";
			at++;
			continue;
		}
		if (span->kind > SPAN_LARGE || span->run == 0 || span->run > heap->high - at)
			return "1: runs do not tile the heap";
		for (uint32_t i = 0; i < span->run; i++)
			if (span[i].head != at || span[i].pages != PAGES_THERE)
				return "3, 4: inside of a run";
		const char *wrong = span->kind == SPAN_SMALL ? check_small(heap, at) : span->owner & 1 ? NULL : "large run without owner";
		if (wrong)
			return wrong;
		in_runs += span->run * SPAN_BYTES;
		at += span->run;
	}
	return in_runs == heap->in_runs && committed == heap->committed ? NULL : "6: sums";
}

int crew_heap_check(void)
{
	struct crew__lane *lane;
	if (!crew__family.self)
		return -ENOTCONN;
	struct crew__heap *heap = heap_of_family();
	int r = crew__enter(&lane, &heap->guard, CREW_FOREVER);
	if (r < 0)
		return r;
	const char *wrong = check(heap);
	crew__leave(lane, &heap->guard);
	if (wrong)
		fprintf(stderr, "crew_heap_check: invariant broken: %s\n", wrong);
	return wrong ? -EINVAL : 0;
}
