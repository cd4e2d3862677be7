/*
 * producer_consumer.c - some make things, others take them, a small buffer is between them
 *
 * Half of the parties put numbers into a ring of eight places, the other half take them out. A
 * producer has to wait while the ring is full, a consumer while it is empty, and two must never use the same place.
 *
 * The checker counts how often each number has come out: exactly once is right.
 */
#include "cli.h"
#include "stage.h"

#define PLACES 8

struct ring {
	uint32_t item[PLACES];
	uint32_t in, out, count;
	struct crew_lock lock;
	struct crew_condition not_full, not_empty;
	struct crew_counter places, items;
	struct crew_queue queue;
	uint8_t seen[PARTIES_MAX / 2 * 20000]; /* the checker's: how often number i has come out */
};

typedef int put_fn(struct stage *stage, struct ring *ring, uint32_t item);
typedef int take_fn(struct stage *stage, struct ring *ring, uint32_t *item);

/* Number k makes the items k * rounds ... (k + 1) * rounds - 1; each consumer takes as many. */
static int trade(struct stage *stage, unsigned number, put_fn *put, take_fn *take)
{
	struct ring *ring = stage->state;
	bool producer = number < stage->parties / 2;
	uint64_t done = 0;
	int r = 0;
	for (; done < stage->rounds && r == 0; done += r == 0) {
		uint32_t item = (uint32_t)(number * stage->rounds + done);
		r = producer ? put(stage, ring, item) : take(stage, ring, &item);
		if (r == 0 && !producer)
			__atomic_fetch_add(&ring->seen[item], 1, __ATOMIC_RELAXED);
	}
	stage_did(stage, producer ? 0 : done);
	return r;
}

static void inspect(struct stage *stage)
{
	const struct ring *ring = stage->state;
	for (uint64_t i = 0; i < stage->parties / 2 * stage->rounds; i++)
		stage_saw(stage, ring->seen[i] != 1);
}

/* The ring itself: whoever calls has seen to it that there is room, or something inside. */
static void ring_put(struct ring *ring, uint32_t item)
{
	ring->item[ring->in] = item;
	ring->in = (ring->in + 1) % PLACES;
	ring->count++;
}

static uint32_t ring_take(struct ring *ring)
{
	uint32_t item = ring->item[ring->out];
	ring->out = (ring->out + 1) % PLACES;
	ring->count--;
	return item;
}

/* Wrong: no lock. Two producers find the same place, and count is changed by two at once. */
static int unlocked_put(struct stage *stage, struct ring *ring, uint32_t item)
{
	if (!stage_await(stage, __atomic_load_n(&ring->count, __ATOMIC_RELAXED) < PLACES))
		return -ETIMEDOUT;
	uint32_t place = ring->in;
	bad_moment();
	ring->item[place] = item;
	ring->in = (place + 1) % PLACES;
	ring->count++;
	return 0;
}

static int unlocked_take(struct stage *stage, struct ring *ring, uint32_t *item)
{
	if (!stage_await(stage, __atomic_load_n(&ring->count, __ATOMIC_RELAXED) > 0))
		return -ETIMEDOUT;
	uint32_t place = ring->out;
	bad_moment();
	*item = ring->item[place];
	ring->out = (place + 1) % PLACES;
	ring->count--;
	return 0;
}

/*
 * A lock, and a condition for each reason to wait. `again` says whether a woken waiter tests again. It has to: between
 * the notify and its waking up somebody else may have taken the lock, and the item.
 */
static int condition_put(struct stage *stage, struct ring *ring, uint32_t item, bool again)
{
	int r = crew_lock_acquire(&ring->lock, stage->deadline);
	if (r < 0)
		return r;
	bool full = ring->count >= PLACES;
	while (r == 0 && full) {
		r = crew_condition_wait(&ring->not_full, &ring->lock, stage->deadline);
		full = again && ring->count >= PLACES;
	}
	if (r == 0) {
		ring_put(ring, item);
		r = crew_condition_notify(&ring->not_empty, 1);
	}
	crew_lock_release(&ring->lock);
	return r;
}

static int condition_take(struct stage *stage, struct ring *ring, uint32_t *item, bool again)
{
	int r = crew_lock_acquire(&ring->lock, stage->deadline);
	if (r < 0)
		return r;
	bool empty = ring->count == 0;
	while (r == 0 && empty) {
		r = crew_condition_wait(&ring->not_empty, &ring->lock, stage->deadline);
		empty = again && ring->count == 0;
	}
	if (r == 0) {
		*item = ring_take(ring);
		r = crew_condition_notify(&ring->not_full, 1);
	}
	crew_lock_release(&ring->lock);
	return r;
}

static int if_put(struct stage *stage, struct ring *ring, uint32_t item)
{
	return condition_put(stage, ring, item, false);
}

static int if_take(struct stage *stage, struct ring *ring, uint32_t *item)
{
	return condition_take(stage, ring, item, false);
}

static int while_put(struct stage *stage, struct ring *ring, uint32_t item)
{
	return condition_put(stage, ring, item, true);
}

static int while_take(struct stage *stage, struct ring *ring, uint32_t *item)
{
	return condition_take(stage, ring, item, true);
}

/* Dijkstra's way: one counter of free places, one of items; what is waited for is counted, and the lock is short. */
static int counter_put(struct stage *stage, struct ring *ring, uint32_t item)
{
	int r = crew_counter_wait(&ring->places, stage->deadline);
	if (r == 0)
		r = crew_lock_acquire(&ring->lock, stage->deadline);
	if (r < 0)
		return r;
	ring_put(ring, item);
	crew_lock_release(&ring->lock);
	return crew_counter_post(&ring->items, 1);
}

static int counter_take(struct stage *stage, struct ring *ring, uint32_t *item)
{
	int r = crew_counter_wait(&ring->items, stage->deadline);
	if (r == 0)
		r = crew_lock_acquire(&ring->lock, stage->deadline);
	if (r < 0)
		return r;
	*item = ring_take(ring);
	crew_lock_release(&ring->lock);
	return crew_counter_post(&ring->places, 1);
}

/* Or somebody has done it before. */
static int queue_put(struct stage *stage, struct ring *ring, uint32_t item)
{
	return crew_queue_put(&ring->queue, &item, sizeof item, stage->deadline);
}

static int queue_take(struct stage *stage, struct ring *ring, uint32_t *item)
{
	return crew_queue_get(&ring->queue, item, sizeof *item, NULL, stage->deadline);
}

static void prepare(struct stage *stage)
{
	struct ring *ring = stage->state;
	crew_queue_init(&ring->queue, PLACES);
	int r = crew_counter_post(&ring->places, PLACES);
	if (r < 0)
		cli_lack("crew_counter_post: %s", crew_strerror(r));
}

static int unlocked(struct stage *stage, unsigned number) { return trade(stage, number, unlocked_put, unlocked_take); }
static int by_if(struct stage *stage, unsigned number) { return trade(stage, number, if_put, if_take); }
static int by_while(struct stage *stage, unsigned number) { return trade(stage, number, while_put, while_take); }
static int by_counter(struct stage *stage, unsigned number) { return trade(stage, number, counter_put, counter_take); }
static int by_queue(struct stage *stage, unsigned number) { return trade(stage, number, queue_put, queue_take); }

const struct problem producer_consumer = {
	.name = "producer-consumer",
	.lesson = "every item comes out once: wait while the ring is full or empty, and test again when woken",
	.parties = 4, .rounds = 20000, .size = sizeof(struct ring), .prepare = prepare, .inspect = inspect,
	.versions = {
		{ "no lock", unlocked, true },
		{ "condition, if", by_if, true },
		{ "condition, while", by_while, false },
		{ "counters", by_counter, false },
		{ "queue", by_queue, false },
	},
};
