/*
 * rendezvous.c - two meet: neither goes on before the other has come
 *
 * Parties are paired. In each round both leave a mark, meet, and look at the other's mark, which must be of this
 * round, or of the next if the other one was quicker after they had met.
 */
#include "stage.h"

struct pair {
	uint64_t mark[2]; /* rounds that each has begun: the checker's */
	struct crew_counter came[2];
	struct crew_barrier barrier;
	struct crew_pipe pipe;
};

typedef int meet_fn(struct stage *stage, struct pair *pair, unsigned side);

static int keep_appointments(struct stage *stage, unsigned number, meet_fn *meet)
{
	struct pair *pair = (struct pair *)stage->state + number / 2;
	unsigned side = number % 2;
	for (uint64_t round = 1; round <= stage->rounds; round++) {
		__atomic_store_n(&pair->mark[side], round, __ATOMIC_RELEASE);
		int r = meet(stage, pair, side);
		if (r < 0)
			return r;
		uint64_t other = __atomic_load_n(&pair->mark[!side], __ATOMIC_ACQUIRE);
		stage_saw(stage, other != round && other != round + 1);
	}
	stage_did(stage, stage->rounds);
	return 0;
}

/* Wrong: both tell that they have come, but only one of them waits to hear it. */
static int meet_lopsided(struct stage *stage, struct pair *pair, unsigned side)
{
	int r = crew_counter_post(&pair->came[side], 1);
	if (r == 0 && side == 0)
		r = crew_counter_wait(&pair->came[!side], stage->deadline);
	return r;
}

/* Tell first, then wait. The other way round both would wait for ever. */
static int meet_counters(struct stage *stage, struct pair *pair, unsigned side)
{
	int r = crew_counter_post(&pair->came[side], 1);
	return r < 0 ? r : crew_counter_wait(&pair->came[!side], stage->deadline);
}

static int meet_barrier(struct stage *stage, struct pair *pair, unsigned side)
{
	(void)side;
	return crew_barrier_wait(&pair->barrier, NULL, stage->deadline);
}

/* With a message from each to the other: then they have something to say, too. */
static int meet_pipe(struct stage *stage, struct pair *pair, unsigned side)
{
	enum crew_pipe_end end = side == 0 ? CREW_END_A : CREW_END_B;
	uint64_t mine = pair->mark[side], other;
	int r = crew_pipe_send(&pair->pipe, end, &mine, sizeof mine, stage->deadline);
	if (r == 0)
		r = crew_pipe_receive(&pair->pipe, end, &other, sizeof other, NULL, stage->deadline);
	stage_saw(stage, r == 0 && other != mine);
	return r == CREW_END_OF_DATA ? -EPIPE : r;
}

static void prepare(struct stage *stage)
{
	struct pair *pairs = stage->state;
	for (unsigned i = 0; i < stage->parties / 2; i++)
		crew_barrier_init(&pairs[i].barrier, 2, 0);
}

static void inspect(struct stage *stage)
{
	struct pair *pairs = stage->state;
	for (unsigned i = 0; i < stage->parties / 2; i++)
		crew_pipe_fini(&pairs[i].pipe);
}

static int lopsided(struct stage *stage, unsigned number) { return keep_appointments(stage, number, meet_lopsided); }
static int by_counters(struct stage *stage, unsigned number) { return keep_appointments(stage, number, meet_counters); }
static int by_barrier(struct stage *stage, unsigned number) { return keep_appointments(stage, number, meet_barrier); }
static int by_pipe(struct stage *stage, unsigned number) { return keep_appointments(stage, number, meet_pipe); }

const struct problem rendezvous = {
	.name = "rendezvous",
	.lesson = "neither goes on before the other has come: tell first, then wait",
	.parties = 2, .rounds = 4000, .size = PARTIES_MAX / 2 * sizeof(struct pair), .prepare = prepare,
	.inspect = inspect,
	.versions = {
		{ "one waits", lopsided, true },
		{ "counters", by_counters, false },
		{ "barrier", by_barrier, false },
		{ "pipe", by_pipe, false },
	},
};
