/* span.c - runs of spans: find, commit, free, give back to the system. Invariants: span.h. */
#include <fcntl.h>
#include <linux/falloc.h>
#include "base/probe.h"
#include "base/sys.h"
#include "memory/span.h"

#define TABLE_STEP 1024u /* entries committed at a time */
#define PIECE 40u        /* spans committed in one go: as many words fit an undo log */

/* Room for more entries in the table. */
static int grow_table(struct crew__lane *lane, struct crew__heap *heap)
{
	if (heap->high == heap->limit)
		return -ENOMEM;
	uint32_t to = heap->limit - heap->high > TABLE_STEP ? heap->high + TABLE_STEP : heap->limit;
	int r = crew__fallocate(crew__family.memfd, 0, (off_t)(heap->table + heap->high * sizeof(struct span)),
			(off_t)((to - heap->high) * sizeof(struct span)));
	if (r < 0)
		return r == -ENOSPC || r == -EFBIG ? -ENOMEM : r;
	crew__set32(lane, &heap->high, to);
	crew__commit(lane);
	return 0;
}

/* The first run of free spans that is long enough; grows the table as needed. */
static int find_run(struct crew__lane *lane, struct crew__heap *heap, uint32_t run, uint64_t alignment, uint32_t *ret)
{
	uint32_t length = 0;
	for (uint32_t at = heap->hint;;) {
		while (at >= heap->high) {
			int r = grow_table(lane, heap);
			if (r < 0)
				return r;
		}
		const struct span *span = span_at(heap, at);
		if (span->kind != SPAN_FREE) {
			length = 0;
			at += span->run;
			continue;
		}
		at++;
		if (length == 0 && ((uintptr_t)span_base(heap, at - 1) & (alignment - 1)) != 0)
			continue;
		if (++length == run) {
			*ret = at - run;
			return 0;
		}
	}
}

/* Pages for spans [from, to), those that have none yet. Piece by piece: what is committed stays so. */
static int commit(struct crew__lane *lane, struct crew__heap *heap, uint32_t from, uint32_t to)
{
	while (from < to) {
		if (span_at(heap, from)->committed) {
			from++;
			continue;
		}
		uint32_t end = from;
		while (end < to && end - from < PIECE && !span_at(heap, end)->committed)
			end++;
		uint64_t bytes = (end - from) * SPAN_BYTES;
		if (heap->committed + bytes > crew__family.region->memory_cap)
			return -ENOMEM;
		int r = crew__fallocate(crew__family.memfd, 0, (off_t)crew__offset(span_base(heap, from)), (off_t)bytes);
		if (r < 0)
			return r == -ENOSPC || r == -EFBIG ? -ENOMEM : r;
		for (uint32_t i = from; i < end; i++)
			crew__set32(lane, &span_at(heap, i)->committed, 1);
		crew__set64(lane, &heap->committed, heap->committed + bytes);
		crew__commit(lane);
		from = end;
	}
	return 0;
}

int crew__span_take(struct crew__lane *lane, struct crew__heap *heap, uint32_t run, uint64_t alignment,
		enum span_kind kind, uint32_t *ret)
{
	uint32_t head;
	int r = find_run(lane, heap, run, alignment, &head);
	if (r == 0)
		r = commit(lane, heap, head, head + run);
	if (r < 0)
		return r;
	struct span *span = span_at(heap, head);
	for (uint32_t i = 0; i < run; i++)
		span[i].head = head; /* bare: means nothing until the head covers them */
	crew__set32(lane, &span->run, run);
	crew__set32(lane, &span->kind, kind);
	if (head == heap->hint)
		crew__set32(lane, &heap->hint, head + run);
	*ret = head;
	return 0;
}

void crew__span_give(struct crew__lane *lane, struct crew__heap *heap, uint32_t number)
{
	crew__set32(lane, &span_at(heap, number)->kind, SPAN_FREE);
	if (number < heap->hint)
		crew__set32(lane, &heap->hint, number);
}

void crew__span_return_pages(struct crew__lane *lane, struct crew__heap *heap, uint32_t number, uint32_t run)
{
	crew__commit(lane);
	if (!crew__has(CREW__FEATURE_PUNCH_HOLE))
		return;
	for (uint32_t from = number, end; from < number + run; from = end) {
		end = number + run - from > PIECE ? from + PIECE : number + run;
		for (uint32_t i = from; i < end; i++)
			crew__set32(lane, &span_at(heap, i)->committed, 0);
		uint64_t bytes = (end - from) * SPAN_BYTES;
		crew__set64(lane, &heap->committed, heap->committed - bytes);
		crew__commit(lane);
		crew__fallocate(crew__family.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)crew__offset(span_base(heap, from)), (off_t)bytes);
	}
}
