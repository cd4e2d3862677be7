/* span.c - runs of spans: find, commit, free, give back to the system. Invariants: span.h. */
#include <fcntl.h>
#include <linux/falloc.h>
#include "base/probe.h"
#include "base/sys.h"
#include "memory/span.h"

#define TABLE_STEP 1024u /* entries committed at a time */
#define PIECE 40u        /* spans committed in one go: as many words fit an undo log */

static uint64_t free_pages(const struct crew__heap *heap)
{
	return heap->committed - heap->in_runs;
}

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
		const struct span *span = span_at(at);
		if (span->kind != SPAN_FREE) {
			length = 0;
			at += span->run;
			continue;
		}
		at++;
		if (length == 0 && ((uintptr_t)span_base(at - 1) & (alignment - 1)) != 0)
			continue;
		if (++length == run) {
			*ret = at - run;
			return 0;
		}
	}
}

/* Pages for spans [from, to), those that have none yet. Piece by piece: what is committed stays so. */
static int commit(struct crew__lane *lane, struct crew__heap *heap, uint32_t from, uint32_t to, bool *ret_fresh)
{
	*ret_fresh = true;
	while (from < to) {
		if (span_at(from)->pages != PAGES_NONE)
			*ret_fresh = false;
		if (span_at(from)->pages == PAGES_THERE) {
			from++;
			continue;
		}
		uint32_t end = from + 1;
		while (end < to && end - from < PIECE && span_at(end)->pages == span_at(from)->pages)
			end++;
		uint64_t bytes = (end - from) * SPAN_BYTES;
		if (heap->committed + bytes > crew__family.region->memory_cap)
			return -ENOMEM;
		int r = crew__fallocate(crew__family.memfd, 0, (off_t)crew__offset(span_base(from)), (off_t)bytes);
		if (r < 0)
			return r == -ENOSPC || r == -EFBIG ? -ENOMEM : r;
		for (uint32_t i = from; i < end; i++)
			crew__set32(lane, &span_at(i)->pages, PAGES_THERE);
		crew__set64(lane, &heap->committed, heap->committed + bytes);
		crew__commit(lane);
		from = end;
	}
	return 0;
}

/* After spans were taken, for which so many bytes had to be committed: did they go back too early? */
static void regret(struct crew__lane *lane, struct crew__heap *heap, uint64_t bytes)
{
	if (bytes && heap->returned) {
		crew_time now = crew_now();
		uint64_t more = bytes < heap->returned ? bytes : heap->returned, keep = crew__span_kept(heap) + more;
		if (now - heap->since < TIDE)
			crew__set64(lane, &heap->keep, keep < KEEP_MOST ? keep : KEEP_MOST);
		crew__set64(lane, &heap->returned, heap->returned - more);
		crew__set64(lane, (uint64_t *)&heap->since, (uint64_t)now);
	}
	if (free_pages(heap) < heap->low)
		crew__set64(lane, &heap->low, free_pages(heap));
}

int crew__span_take(struct crew__lane *lane, struct crew__heap *heap, uint32_t run, uint64_t alignment,
		enum span_kind kind, uint32_t *ret, bool *ret_fresh)
{
	uint32_t head;
	uint64_t before = heap->committed;
	int r = find_run(lane, heap, run, alignment, &head);
	if (r == 0)
		r = commit(lane, heap, head, head + run, ret_fresh);
	if (r < 0)
		return r;
	struct span *span = span_at(head);
	for (uint32_t i = 0; i < run; i++)
		__atomic_store_n(&span[i].head, head, __ATOMIC_RELAXED); /* bare: means nothing until the head covers them */
	crew__set32(lane, &span->run, run);
	crew__set32(lane, &span->kind, kind);
	if (head == heap->hint)
		crew__set32(lane, &heap->hint, head + run);
	crew__set64(lane, &heap->in_runs, heap->in_runs + run * SPAN_BYTES);
	if (heap->in_runs > heap->peak)
		crew__set64(lane, &heap->peak, heap->in_runs);
	regret(lane, heap, heap->committed - before);
	*ret = head;
	return 0;
}

void crew__span_give(struct crew__lane *lane, struct crew__heap *heap, uint32_t number)
{
	crew__set32(lane, &span_at(number)->kind, SPAN_FREE);
	crew__set64(lane, &heap->in_runs, heap->in_runs - span_at(number)->run * SPAN_BYTES);
	if (number < heap->hint)
		crew__set32(lane, &heap->hint, number);
}

/* Free spans [from, to), all with pages. Piece by piece, as above. */
static void punch(struct crew__lane *lane, struct crew__heap *heap, uint32_t from, uint32_t to)
{
	for (uint32_t end; from < to; from = end) {
		end = to - from > PIECE ? from + PIECE : to;
		for (uint32_t i = from; i < end; i++)
			crew__set32(lane, &span_at(i)->pages, PAGES_GOING);
		uint64_t bytes = (end - from) * SPAN_BYTES;
		crew__set64(lane, &heap->committed, heap->committed - bytes);
		crew__commit(lane);
		int r = crew__fallocate(crew__family.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)crew__offset(span_base(from)), (off_t)bytes);
		for (uint32_t i = from; r == 0 && i < end; i++)
			crew__set32(lane, &span_at(i)->pages, PAGES_NONE);
		crew__commit(lane);
	}
}

static void begin_tide(struct crew__lane *lane, struct crew__heap *heap)
{
	crew__set64(lane, &heap->returned, 0);
	crew__set64(lane, &heap->low, free_pages(heap));
	crew__set64(lane, (uint64_t *)&heap->since, (uint64_t)crew_now());
}

void crew__span_return_pages(struct crew__lane *lane, struct crew__heap *heap, uint32_t number, uint32_t run)
{
	crew__span_ebb(lane, heap);
	if (!crew__has(CREW__FEATURE_PUNCH_HOLE) || free_pages(heap) <= crew__span_kept(heap))
		return;
	uint64_t bytes = heap->returned + run * SPAN_BYTES;
	if (crew_now() - heap->since >= TIDE) {
		begin_tide(lane, heap);
		bytes = run * SPAN_BYTES;
	}
	crew__set64(lane, &heap->returned, bytes < KEEP_MOST ? bytes : KEEP_MOST);
	crew__commit(lane);
	punch(lane, heap, number, number + run);
}

void crew__span_ebb(struct crew__lane *lane, struct crew__heap *heap)
{
	if (heap->keep <= KEEP || crew_now() - heap->since < TIDE)
		return;
	crew__set64(lane, &heap->keep, heap->keep > heap->low ? heap->keep - heap->low : 0);
	begin_tide(lane, heap);
	crew__commit(lane);
	crew__span_trim(lane, heap, crew__span_kept(heap));
}

void crew__span_trim(struct crew__lane *lane, struct crew__heap *heap, uint64_t keep)
{
	if (!crew__has(CREW__FEATURE_PUNCH_HOLE) || free_pages(heap) <= 2 * keep)
		return;
	crew__commit(lane);
	uint64_t there = 0;
	for (uint32_t at = heap->hint; at < heap->high;) {
		const struct span *span = span_at(at);
		if (span->kind != SPAN_FREE) {
			at += span->run;
			continue;
		}
		uint32_t end = at + 1;
		if (span->pages == PAGES_THERE && (there += SPAN_BYTES) > keep) { /* the first ones are the next to be used */
			while (end < heap->high && span_at(end)->kind == SPAN_FREE && span_at(end)->pages == PAGES_THERE)
				end++;
			punch(lane, heap, at, end);
		}
		at = end;
	}
}

uint32_t crew__span_skip_free(const struct crew__heap *heap, uint32_t from)
{
	while (from < heap->high && span_at(from)->kind == SPAN_FREE)
		from++;
	return from;
}

uint32_t crew__span_next(const struct crew__heap *heap, uint32_t from)
{
	uint32_t at = 0; /* the heap may have changed since `from` was found, so it may be inside a run now */
	while (at < from && at < heap->high)
		at += span_at(at)->kind == SPAN_FREE ? 1 : span_at(at)->run;
	return crew__span_skip_free(heap, at);
}

/* An entry inside a run may say anything but that it is its own head. */
bool crew__span_is_small(const struct crew__heap *heap, uint32_t number)
{
	return number < heap->high && span_at(number)->kind == SPAN_SMALL && span_at(number)->head == number;
}
