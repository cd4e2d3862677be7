/*
 * dining_philosophers.c - five at a round table, a fork between every two, and who eats needs both beside him
 *
 * The forks are locks, so no fork is ever used by two. What can go wrong is worse: everybody takes the left fork and
 * waits for the right one, for ever. The wrong version is ended by its deadline, and those who were
 * still hungry count as violations; so does a fork in two hands, for the checker marks the forks in use.
 */
#include "stage.h"

struct table {
	struct crew_lock fork[PARTIES_MAX];
	uint32_t in_use[PARTIES_MAX]; /* the checker's */
	struct crew_semaphore chairs;
};

static void eat(struct stage *stage, struct table *table, unsigned left, unsigned right)
{
	stage_saw(stage, __atomic_exchange_n(&table->in_use[left], 1, __ATOMIC_RELAXED));
	stage_saw(stage, __atomic_exchange_n(&table->in_use[right], 1, __ATOMIC_RELAXED));
	__atomic_store_n(&table->in_use[left], 0, __ATOMIC_RELAXED);
	__atomic_store_n(&table->in_use[right], 0, __ATOMIC_RELAXED);
	stage_did(stage, 1);
}

/* Take one fork, then the other; eat; put both back. */
static int dine(struct stage *stage, unsigned first, unsigned second)
{
	struct table *table = stage->state;
	int r = crew_lock_acquire(&table->fork[first], stage->deadline);
	if (r < 0)
		return r;
	bad_moment(); /* everybody has one fork now, perhaps */
	r = crew_lock_acquire(&table->fork[second], stage->deadline);
	if (r == 0) {
		eat(stage, table, first, second);
		crew_lock_release(&table->fork[second]);
	}
	crew_lock_release(&table->fork[first]);
	return r;
}

/* Wrong: all do the same, left, then right, so all may wait in a circle. */
static int left_first(struct stage *stage, unsigned number)
{
	int r = 0;
	for (uint64_t i = 0; i < stage->rounds && r == 0; i++)
		r = dine(stage, number, (number + 1) % stage->parties);
	return r;
}

/* Forks have numbers, and all take the lower one first: the last philosopher takes the right one. No circle. */
static int lower_first(struct stage *stage, unsigned number)
{
	unsigned right = (number + 1) % stage->parties;
	int r = 0;
	for (uint64_t i = 0; i < stage->rounds && r == 0; i++)
		r = dine(stage, number < right ? number : right, number < right ? right : number);
	return r;
}

/* One chair less than philosophers: somebody among those that sit has both forks. */
static int by_chairs(struct stage *stage, unsigned number)
{
	struct table *table = stage->state;
	int r = 0;
	for (uint64_t i = 0; i < stage->rounds && r == 0; i++) {
		r = crew_semaphore_acquire(&table->chairs, stage->deadline);
		if (r == 0)
			r = dine(stage, number, (number + 1) % stage->parties);
		if (r == 0)
			r = crew_semaphore_release(&table->chairs);
	}
	return r;
}

/* Never wait with a fork in the hand: if the other one is not free, put the first one back. */
static int polite(struct stage *stage, unsigned number)
{
	struct table *table = stage->state;
	unsigned right = (number + 1) % stage->parties;
	for (uint64_t meals = 0; meals < stage->rounds;) {
		int r = crew_lock_acquire(&table->fork[number], stage->deadline);
		if (r < 0)
			return r;
		r = crew_lock_acquire(&table->fork[right], CREW_POLL);
		if (r == 0) {
			eat(stage, table, number, right);
			meals++;
			crew_lock_release(&table->fork[right]);
		}
		crew_lock_release(&table->fork[number]);
		if (r == -ETIMEDOUT && crew_now() < stage->deadline)
			sched_yield(); /* let the one who has it eat */
		else if (r < 0)
			return r;
	}
	return 0;
}

static void prepare(struct stage *stage)
{
	struct table *table = stage->state;
	crew_semaphore_init(&table->chairs, stage->parties - 1);
}

static void inspect(struct stage *stage)
{
	stage_saw(stage, stage->parties * stage->rounds - stage->operations); /* meals that were not eaten */
}

const struct problem dining_philosophers = {
	.name = "dining philosophers",
	.lesson = "nobody waits in a circle: order the locks, leave one chair empty, or never wait with a lock in hand",
	.parties = 5, .rounds = 2000, .size = sizeof(struct table), .prepare = prepare, .inspect = inspect,
	.versions = {
		{ "left first", left_first, true },
		{ "lower first", lower_first, false },
		{ "chairs", by_chairs, false },
		{ "put back", polite, false },
	},
};
