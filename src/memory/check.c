/* check.c - the heap's figures, and its invariants as a check (numbers as in span.h) */
#include <stdio.h>
#include "base/sys.h"
#include "memory/span.h"

int crew_memory_stats(struct crew_memory_stats *ret)
{
	struct crew__lane *lane;
	if (!crew__family.self)
		return -ENOTCONN;
	struct crew__heap *heap = heap_of_family();
	int r = crew__enter(&lane, &heap->guard, CREW_FOREVER);
	if (r < 0)
		return r;
	*ret = (struct crew_memory_stats){ heap->used, heap->peak, heap->blocks, heap->committed,
		crew__family.region->memory_cap };
	crew__leave(lane, &heap->guard);
	return 0;
}

struct sums { uint64_t used, blocks; };

/* What is wrong with a small run, or NULL. */
static const char *check_small(struct crew__heap *heap, uint32_t number, struct sums *sums)
{
	const struct span *span = span_at(heap, number);
	if (span->class >= CLASSES || span->run != crew__class_run(span->class))
		return "class of a small run";
	uint32_t count, used = 0;
	crew__class_layout(span->class, &count);
	const uint64_t *headers = (const uint64_t *)span_base(heap, number);
	for (uint32_t i = 0; i < count; i++) {
		used += headers[i] != 0;
		if (!headers[i] && i < span->hint)
			return "free block below the hint of a small run";
	}
	if (used != span->used)
		return "used blocks of a small run";
	sums->used += (uint64_t)used * crew__class_size(span->class);
	sums->blocks += used;
	bool listed = heap->first[span->class] == number + 1 ||
		(span->prev && span_at(heap, span->prev - 1)->next == number + 1);
	if (used < count && !listed)
		return "5: small run with free blocks not in its list";
	if (used == count && heap->first[span->class] == number + 1)
		return "5: full small run in its list";
	return NULL;
}

static const char *check(struct crew__heap *heap)
{
	struct sums sums = { 0, 0 };
	uint64_t committed = 0;
	uint32_t at = 0;
	for (uint32_t i = 0; i < heap->high; i++)
		committed += span_at(heap, i)->committed ? SPAN_BYTES : 0;
	while (at < heap->high) {
		const struct span *span = span_at(heap, at);
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
			if (span[i].head != at || !span[i].committed)
				return "3, 4: inside of a run";
		const char *wrong = NULL;
		if (span->kind == SPAN_SMALL) {
			wrong = check_small(heap, at, &sums);
		} else {
			sums.used += span->run * SPAN_BYTES;
			sums.blocks++;
			wrong = span->owner ? NULL : "large run without owner";
		}
		if (wrong)
			return wrong;
		at += span->run;
	}
	if (sums.used != heap->used || sums.blocks != heap->blocks || committed != heap->committed)
		return "6: sums";
	return NULL;
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
