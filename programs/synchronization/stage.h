/*
 * stage.h - where a problem is played: several processes, one piece of shared memory, a checker
 *
 * A problem has versions, wrong ones and right ones. All versions of a problem do the same work; they differ in how
 * they wait for each other. The checker does not trust them: it has its own marks beside the data, and counts
 * a violation whenever something happens that must not.
 */
#ifndef STAGE_H
#define STAGE_H

#include <crew/crew.h>
#include <sched.h>

/* What the processes of one run share. */
struct stage {
	unsigned parties;
	uint64_t rounds;     /* for each party */
	crew_time deadline;  /* whoever has waited until then gives up */
	uint64_t operations; /* done by all, added by each party when it is ready */
	uint64_t violations; /* seen by the checker */
	void *state;         /* the problem's own; all zero bytes at first */
};

/* A party's life: 0, or what went wrong: a negative result of crew's. */
typedef int party_fn(struct stage *stage, unsigned number);

struct version {
	const char *name;
	party_fn *party;
	bool wrong;
};

struct problem {
	const char *name;
	const char *lesson;
	unsigned parties;  /* at least; always an even number, or this one */
	uint64_t rounds;   /* for each party, to be seen in a moment */
	size_t size;       /* bytes of state */
	void (*prepare)(struct stage *stage); /* NULL: zero is fine */
	void (*inspect)(struct stage *stage); /* what can only be seen at the end; NULL: nothing */
	struct version versions[6];
};

#define PARTIES_MAX 64u

extern const struct problem producer_consumer, readers_writers, dining_philosophers, barrier_phases, rendezvous,
	limited_resource;

static inline void stage_did(struct stage *stage, uint64_t operations)
{
	__atomic_fetch_add(&stage->operations, operations, __ATOMIC_RELAXED);
}

static inline void stage_saw(struct stage *stage, uint64_t violations)
{
	__atomic_fetch_add(&stage->violations, violations, __ATOMIC_RELAXED);
}

/*
 * Wait for a condition by looking again and again: what the versions do that have nothing better. False: too late.
 * What was seen last counts: looking once more might see it gone.
 */
#define stage_await(stage, condition) \
	({ \
		bool met_; \
		while (!(met_ = (condition)) && crew_now() < (stage)->deadline) \
			sched_yield(); \
		met_; \
	})

/* The scheduler may switch here, as anywhere. Wrong versions ask for it where it hurts, so that we need not wait long. */
static inline void bad_moment(void)
{
	sched_yield();
}

/* The deaths, and the prices beside those of others: rows of their own. */
struct report;
void show_deaths(struct report *report);
void show_rivals(struct report *report);

#endif
