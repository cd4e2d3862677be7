/*
 * crew/observe.h - look at a live family, change nothing
 */
#ifndef CREW_OBSERVE_H
#define CREW_OBSERVE_H

#include <stdio.h>
#include <crew/memory.h>
#include <crew/news.h>
#include <crew/process.h>
#include <crew/region.h>

CREW_BEGIN

/* Figures of the family at one moment; each is exact, together they are approximate. */
struct crew_observation {
	unsigned processes;       /* living members, helpers included */
	unsigned lanes;           /* threads that have used shared objects and live */
	unsigned locks_held;      /* by all of them */
	unsigned sleepers;        /* threads asleep on a shared object */
	uint64_t deaths;          /* lanes found dead and repaired, since crew_init */
	uint64_t healed_by_slice; /* sleeps that only a time slice ended: 0 unless a wake-up was lost */
	uint64_t news[CREW_NEWS_KINDS]; /* told of each kind: crew/news.h */
	uint64_t news_dropped;    /* and not told */
	struct crew_memory_stats memory;
	char name[CREW_NAME_MAX + 1]; /* of the region; "": it has none */
	unsigned programs;        /* in the region: 1 if it has no name */
};

CREW_API CREW_CHECKED int crew_observe(struct crew_observation *ret);

/* The same for people: a line per process with its threads, what they hold and wait for, then memory, then who
 * waits for whom (crew/deadlock.h). */
CREW_API CREW_CHECKED int crew_observe_print(FILE *stream);

CREW_END
#endif
