/*
 * board.h - what everybody in the family may read: names of objects, notices
 *
 * Sits behind the region's first page. Written in sections, each on its own guard; read without.
 */
#ifndef CREW_SYNC_BOARD_H
#define CREW_SYNC_BOARD_H

#include <crew/news.h>
#include "sync/section.h"

#define CREW__NAMES 64
#define CREW__NEWS 512
#define CREW__WOKEN 1024

struct crew__name {
	uint64_t first, each; /* offset of the first object; bytes from one to the next */
	uint64_t count;       /* 0: no name here. Set last, cleared first */
	uint64_t text[4];     /* a string */
	uint64_t spare;
};

struct crew__board {
	uint32_t names_guard;
	uint32_t news_guard, news_bell;
	uint32_t spare;
	uint64_t head;                  /* news told so far */
	uint64_t dropped;               /* not told: no lane, or somebody stopped in the section */
	uint64_t told[CREW_NEWS_KINDS]; /* of each kind */
	struct crew__name name[CREW__NAMES];
	struct crew_news news[CREW__NEWS];
	uint32_t woken[CREW__WOKEN];    /* wake-ups given, by the address of the word: see bell.c */
};
static_assert(sizeof(struct crew__board) <= CREW__BOARD, "the room that the region leaves");

static inline struct crew__board *crew__board(void)
{
	return (struct crew__board *)crew__at(crew__family.region->board);
}

/* "account[3]", or the address where no name was given. */
void crew__name_of(const void *object, char *ret, size_t size);

#endif
