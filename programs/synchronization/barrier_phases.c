/*
 * barrier_phases.c - a computation in steps: nobody may begin a step before all have ended the one before
 *
 * Each party has a cell of a ring, and in each phase computes it from its own and its neighbours' of the phase before. There
 * are two copies of the ring, one to read, one to write, which change their roles with every phase.
 *
 * The checker does the same computation alone, afterwards: every cell that differs is a violation.
 */
#include "stage.h"

struct strip {
	uint64_t cell[2][PARTIES_MAX];
	uint64_t phase[PARTIES_MAX]; /* phases that each party has ended */
	uint32_t arrived;
	struct crew_barrier barrier;
	struct crew_counter gate[2];
};

static uint64_t next_value(const uint64_t *cells, unsigned i, unsigned count)
{
	return __atomic_load_n(&cells[(i + count - 1) % count], __ATOMIC_RELAXED) + 3 * cells[i]
		+ 5 * __atomic_load_n(&cells[(i + 1) % count], __ATOMIC_RELAXED) + 1;
}

typedef int meet_fn(struct stage *stage, struct strip *strip, unsigned number);

static int compute(struct stage *stage, unsigned number, meet_fn *meet)
{
	struct strip *strip = stage->state;
	for (uint64_t phase = 0; phase < stage->rounds; phase++) {
		uint64_t value = next_value(strip->cell[phase % 2], number, stage->parties);
		__atomic_store_n(&strip->cell[(phase + 1) % 2][number], value, __ATOMIC_RELAXED);
		int r = meet(stage, strip, number);
		if (r < 0)
			return r;
	}
	stage_did(stage, stage->rounds);
	return 0;
}

static void inspect(struct stage *stage)
{
	const struct strip *strip = stage->state;
	uint64_t cell[2][PARTIES_MAX] = { 0 };
	for (uint64_t phase = 0; phase < stage->rounds; phase++)
		for (unsigned i = 0; i < stage->parties; i++)
			cell[(phase + 1) % 2][i] = next_value(cell[phase % 2], i, stage->parties);
	for (unsigned i = 0; i < stage->parties; i++)
		stage_saw(stage, strip->cell[stage->rounds % 2][i] != cell[stage->rounds % 2][i]);
}

/* Wrong: count who comes, and wait until all have. It works once; nobody begins to count again. */
static int meet_once(struct stage *stage, struct strip *strip, unsigned number)
{
	(void)number;
	__atomic_fetch_add(&strip->arrived, 1, __ATOMIC_ACQ_REL);
	return stage_await(stage, __atomic_load_n(&strip->arrived, __ATOMIC_ACQUIRE) >= stage->parties) ? 0 : -ETIMEDOUT;
}

static int meet_barrier(struct stage *stage, struct strip *strip, unsigned number)
{
	(void)number;
	return crew_barrier_wait(&strip->barrier, NULL, stage->deadline);
}

/* A barrier by hand: two gates. The last to arrive opens the first for all, the last to leave the second. */
static int meet_gates(struct stage *stage, struct strip *strip, unsigned number)
{
	(void)number;
	int r = 0;
	if (__atomic_add_fetch(&strip->arrived, 1, __ATOMIC_ACQ_REL) == stage->parties)
		r = crew_counter_post(&strip->gate[0], stage->parties);
	if (r == 0)
		r = crew_counter_wait(&strip->gate[0], stage->deadline);
	if (r == 0 && __atomic_sub_fetch(&strip->arrived, 1, __ATOMIC_ACQ_REL) == 0)
		r = crew_counter_post(&strip->gate[1], stage->parties);
	if (r == 0)
		r = crew_counter_wait(&strip->gate[1], stage->deadline);
	return r;
}

/* Why wait for all? A cell depends on its neighbours alone: the others may be ahead or behind. */
static int meet_neighbours(struct stage *stage, struct strip *strip, unsigned number)
{
	unsigned left = (number + stage->parties - 1) % stage->parties, right = (number + 1) % stage->parties;
	uint64_t mine = strip->phase[number] + 1;
	__atomic_store_n(&strip->phase[number], mine, __ATOMIC_RELEASE);
	bool there = stage_await(stage, __atomic_load_n(&strip->phase[left], __ATOMIC_ACQUIRE) >= mine
		&& __atomic_load_n(&strip->phase[right], __ATOMIC_ACQUIRE) >= mine);
	return there ? 0 : -ETIMEDOUT;
}

static void prepare(struct stage *stage)
{
	struct strip *strip = stage->state;
	crew_barrier_init(&strip->barrier, stage->parties, 0);
}

static int once(struct stage *stage, unsigned number) { return compute(stage, number, meet_once); }
static int by_barrier(struct stage *stage, unsigned number) { return compute(stage, number, meet_barrier); }
static int by_gates(struct stage *stage, unsigned number) { return compute(stage, number, meet_gates); }
static int by_neighbours(struct stage *stage, unsigned number) { return compute(stage, number, meet_neighbours); }

const struct problem barrier_phases = {
	.name = "barrier phases",
	.lesson = "nobody begins a phase before all have ended the last, each time again",
	.parties = 2, .rounds = 4000, .size = sizeof(struct strip), .prepare = prepare, .inspect = inspect,
	.versions = {
		{ "counted once", once, true },
		{ "barrier", by_barrier, false },
		{ "two gates", by_gates, false },
		{ "neighbours", by_neighbours, false },
	},
};
