/* queue.h - between the files about queues */
#ifndef CREW_CHANNEL_QUEUE_H
#define CREW_CHANNEL_QUEUE_H

#include "channel/ring_walk.h"

enum { CREW__OPEN, CREW__DRAIN, CREW__AT_ONCE }; /* crew_queue.closed_ */

/*
 * How every call begins: lane->queue tells until crew__queue_leave that it is inside. So a sweep knows where to look for its
 * claims, and fini waits for it.
 */
static inline void crew__queue_leave(struct crew__lane *lane)
{
	__atomic_store_n(&lane->queue, 0, __ATOMIC_RELEASE);
}
static inline int crew__queue_enter(struct crew_queue *queue, struct crew__lane **ret_lane, struct crew__ring **ret_ring)
{
	struct crew__lane *lane;
	int r = crew__lane_for(queue, sizeof *queue, &lane);
	if (__builtin_expect(r < 0, 0))
		return r;
	__atomic_store_n(&lane->queue, crew__offset(queue), __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	*ret_lane = lane;
	*ret_ring = crew__ring_of(queue);
	if (__builtin_expect(*ret_ring == NULL, 0))
		r = crew__ring_make(queue, lane, ret_ring);
	if (__builtin_expect(r < 0, 0))
		crew__queue_leave(lane);
	return r;
}

/* Ring a bell if somebody may sleep on it. After the step that is the news. */
static inline void crew__queue_news(struct crew__lane *lane, uint32_t *bell, uint32_t count)
{
	if (__builtin_expect(__atomic_load_n(bell, __ATOMIC_SEQ_CST) & 1, 0))
		crew__ring(lane, bell, count);
}
/* A message has left for good: those who join, or wait for the end, may have to know. One is back: those who get. */
void crew__queue_gone(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane);
void crew__queue_is_back(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane);

/* Wait for news: spin, then arm the bell, then sleep; after each the caller looks again. 0, -ETIMEDOUT. */
struct crew__pause { unsigned turn; uint32_t armed; bool reaped; };
int crew__queue_pause(struct crew__pause *pause, struct crew__lane *lane, struct crew__ring *ring, uint32_t *bell,
		crew_time deadline);

/* The next message to be had, as it was seen: 0; -EAGAIN: none now; CREW_END_OF_DATA. And claim it: false, somebody was quicker. */
int crew__queue_find(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane, struct crew__claim *ret);
bool crew__queue_claim(struct crew__ring *ring, struct crew__lane *lane, struct crew__claim *claim);
/* The same, waiting: 0, the claim stands; CREW_END_OF_DATA, -ETIMEDOUT, ... */
int crew__queue_wait_found(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane,
		struct crew__pause *pause, crew_time deadline, struct crew__claim *ret);

/* In put: wait until there is room; and a copy of the data into a node of ours. */
int crew__queue_wait_room(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane, crew_time deadline);
int crew__node_fill(struct crew__lane *lane, struct crew__claim *claim, const void *data, size_t size);

/* Put a node of ours, which is ALLOC and filled. As put. */
int crew__queue_publish(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane,
		struct crew__claim *claim, crew_time deadline);

/*
 * Of a batch that is ours. Copy up to `count` messages out: how many, or -EMSGSIZE; take the first out, as a lease of
 * its own, which *claim then is: 0, or -ENOMEM. The rest goes back.
 */
int crew__batch_get(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane, struct crew__claim *claim,
		struct iovec *rooms, unsigned count);
int crew__batch_take(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane, struct crew__claim *claim);

/* Whether this lane has leases or loans of the queue; give them back. */
bool crew__lease_of(const struct crew__lane *lane, const struct crew_queue *queue);
void crew__lease_return_all(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane);

/* This layer's part of a sweep: leases and loans of the dead (queue_sweep.c). */
crew__sweep_fn crew__leases_sweep;

#endif
