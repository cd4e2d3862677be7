/*
 * crew/news.h - hear of deaths in the family, and of what was done about them
 *
 *     struct crew_news_reader reader;
 *     crew_news_begin(&reader);                          // from now on
 *     ...
 *     struct crew_news news;
 *     while (crew_news_next(&reader, &news, crew_after(CREW_SECOND)) == 0)
 *         printf("%s %d\n", crew_news_name(news.kind), (int)news.pid);
 *
 * Any member may read, any number of them; each reads all. The last 511 are kept: who is slower than that is told how many
 * it has missed. A reader is private to a thread, or guarded by its users; all zero begins with the oldest that are kept.
 *
 * Nobody waits for readers. Telling costs a section (crew/lock.h, about as much as a lock) for each of these rare things.
 *
 * Death. Of a reader: nothing. Of who tells: each DIED is told once, however many have died repairing it. One of the
 * others may be lost if who saw it is killed, or meets a member stopped while it tells; the latter is counted as missed.
 */
#ifndef CREW_NEWS_H
#define CREW_NEWS_H

#include <sys/types.h>
#include <crew/base.h>

CREW_BEGIN

enum crew_news_kind {
	CREW_NEWS_NONE,
	CREW_NEWS_DIED,        /* a thread has died, and what it held was given back: .pid .tid .repaired */
	CREW_NEWS_ENDED,       /* a process has ended: .pid .code .status */
	CREW_NEWS_LOCK_BROKEN, /* .object is a lock whose owner died; the next one gets CREW_OWNER_DIED: .pid .tid */
	CREW_NEWS_REDELIVERED, /* a message goes back to the queue .object: .attempt is its next one */
	CREW_NEWS_HEALED,      /* only the end of a time slice ended a sleep on .object: must not happen */
	CREW_NEWS_KINDS
};

/* What was found with a dead thread, in .repaired. */
enum {
	CREW_REPAIRED_UNDONE = 1,  /* a section of crew/undo.h was undone */
	CREW_REPAIRED_LOCKS = 2,   /* locks were freed, not repaired */
	CREW_REPAIRED_READING = 4, /* read locks */
	CREW_REPAIRED_PERMITS = 8, /* of semaphores */
	CREW_REPAIRED_BARRIER = 16,/* it was a party: broken */
	CREW_REPAIRED_LATCH = 32   /* it owed a count: crew/latch.h */
};

struct crew_news {
	uint32_t kind;
	uint32_t repaired;
	pid_t pid, tid;
	int32_t code, status; /* CLD_EXITED and an exit code, or CLD_KILLED, CLD_DUMPED and a signal; 0: unknown */
	uint32_t attempt, spare_;
	const void *object;
	crew_time when;
	uint64_t number;      /* of all news since crew_init */
	uint64_t missed;      /* news lost to this reader just before this one */
};

struct crew_news_reader {
	uint64_t next_, dropped_;
};

/* Read from now on. */
CREW_API void crew_news_begin(struct crew_news_reader *reader);

/* Wait for the next. Errors: -ETIMEDOUT  -ENOTCONN  -EAGAIN */
CREW_API CREW_CHECKED int crew_news_next(struct crew_news_reader *reader, struct crew_news *ret, crew_time deadline);

/* "died", "lock broken" ... Never NULL. */
CREW_API const char *crew_news_name(uint32_t kind);

CREW_END
#endif
