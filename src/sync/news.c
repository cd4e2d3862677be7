/*
 * news.c - a ring in shared memory that everybody may write to and read
 *
 * State    board->head: news told so far; number n lies in board->news[n % CREW__NEWS]. A reader's place is its own.
 * Writers  in sections on news_guard: the place beyond the last one, which no reader looks at, then head.
 * Death    inside: head is as before, and the place is written again.
 * Readers  look at head bare, as a hint, and read in a section: what they have seen is never undone.
 */
#include <string.h>
#include <crew/error.h>
#include "base/sys.h"
#include "sync/board.h"
#include "sync/news.h"

#define PATIENCE (5 * CREW_MILLISECOND) /* of who tells, with one stopped in the section */

void crew__tell(const struct crew_news *news, uint32_t *once)
{
	struct crew__lane *lane;
	struct crew__board *board = crew__board();
	if (crew__lane_self(&lane) < 0 || lane->depth || crew__enter(&lane, &board->news_guard, crew_after(PATIENCE)) < 0) {
		__atomic_fetch_add(&board->dropped, 1, __ATOMIC_RELAXED);
		return;
	}
	if (once && __atomic_load_n(once, __ATOMIC_RELAXED)) {
		crew__leave(lane, &board->news_guard);
		return;
	}
	struct crew_news *place = &board->news[board->head % CREW__NEWS];
	*place = *news;
	place->number = board->head;
	place->when = crew_now();
	crew__set64(lane, &board->head, board->head + 1);
	crew__set64(lane, &board->told[news->kind], board->told[news->kind] + 1);
	if (once)
		crew__set32(lane, once, 1);
	crew__leave_and_ring(lane, &board->news_guard, &board->news_bell, UINT32_MAX);
}

void crew_news_begin(struct crew_news_reader *reader)
{
	*reader = (struct crew_news_reader){ 0 };
	if (!crew__family.self)
		return;
	reader->next_ = __atomic_load_n(&crew__board()->head, __ATOMIC_ACQUIRE);
	reader->dropped_ = __atomic_load_n(&crew__board()->dropped, __ATOMIC_RELAXED);
}

/* Inside a section. */
static bool take(struct crew__board *board, struct crew_news_reader *reader, struct crew_news *ret)
{
	if (reader->next_ >= board->head) {
		reader->next_ = board->head;
		return false;
	}
	uint64_t dropped = __atomic_load_n(&board->dropped, __ATOMIC_RELAXED), missed = dropped - reader->dropped_;
	if (board->head - reader->next_ > CREW__NEWS - 1) {
		missed += board->head - (CREW__NEWS - 1) - reader->next_;
		reader->next_ = board->head - (CREW__NEWS - 1);
	}
	*ret = board->news[reader->next_ % CREW__NEWS];
	ret->missed = missed;
	reader->next_++;
	reader->dropped_ = dropped;
	return true;
}

int crew_news_next(struct crew_news_reader *reader, struct crew_news *ret, crew_time deadline)
{
	struct crew__lane *lane;
	if (!crew__family.self)
		return -ENOTCONN;
	struct crew__board *board = crew__board();
	int r = crew__lane_self(&lane);
	while (r == 0) {
		uint32_t seen = crew__bell_look(&board->news_bell);
		if (__atomic_load_n(&board->head, __ATOMIC_ACQUIRE) > reader->next_) {
			r = crew__enter(&lane, &board->news_guard, deadline);
			if (r < 0)
				break;
			bool taken = take(board, reader, ret);
			crew__leave(lane, &board->news_guard);
			if (taken)
				return 0;
		}
		r = crew__bell_wait(lane, &board->news_bell, seen, deadline);
	}
	return r;
}

const char *crew_news_name(uint32_t kind)
{
	static const char *const names[CREW_NEWS_KINDS] = { "nothing", "died", "ended", "lock broken", "redelivered", "healed by slice" };
	return kind < CREW_NEWS_KINDS ? names[kind] : "unknown";
}
