/*
 * ring_walk.h - the way of each message through the ring, inline: see ring.c for what holds
 */
#ifndef CREW_CHANNEL_RING_WALK_H
#define CREW_CHANNEL_RING_WALK_H

#include "channel/ring.h"

#define CREW__AHEAD 8         /* messages: to be fetched from the other's cache */
#define CREW__LOOK_EVERY 64u /* tickets: at the length, for `highest` */

static inline uint64_t crew__load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* A hint grows; if a late store makes it smaller that costs a walk, no more. */
static inline void crew__hint(uint64_t *hint, uint64_t value)
{
	if ((int64_t)(value - __atomic_load_n(hint, __ATOMIC_RELAXED)) > 0)
		__atomic_store_n(hint, value, __ATOMIC_RELEASE);
}

static inline uint64_t crew__chunk_nodes(const struct crew__ring *ring, uint32_t chunk)
{
	return UINT64_C(1) << (ring->nodes_shift + (chunk ? chunk - 1 : 0));
}

/* How many nodes there are; number `index` of them. */
static inline uint32_t crew__nodes(const struct crew__ring *ring)
{
	uint32_t chunks = 1;
	while (chunks < CREW__CHUNKS && crew__load(&ring->chunk[chunks]))
		chunks++;
	return UINT32_C(1) << (ring->nodes_shift + chunks - 1);
}

static inline void crew__node_at(struct crew__ring *ring, uint32_t index, struct crew__claim *ret)
{
	uint32_t high = index >> ring->nodes_shift;
	uint32_t chunk = high ? 32u - (uint32_t)__builtin_clz(high) : 0;
	uint64_t count = crew__chunk_nodes(ring, chunk), inside = chunk ? index - count : index;
	struct crew__node *nodes = crew__at(crew__load(&ring->chunk[chunk]));
	ret->index = index;
	ret->node = nodes + inside;
	ret->kept = (struct crew__kept *)(void *)(nodes + count) + inside;
}

/* FREE -> ALLOC(lane). For `size` bytes, if possible one that has room. 0, -ENOMEM, ... */
int crew__node_add(struct crew__ring *ring, struct crew__lane *lane, uint32_t nodes); /* as many again */
bool crew__node_claim_large(struct crew__ring *ring, struct crew__lane *lane, struct crew__claim *ret);
static inline int crew__node_claim(struct crew__ring *ring, struct crew__lane *lane, uint64_t size, struct crew__claim *ret)
{
	uint64_t mine = crew__header(CREW__ALLOC, crew__lane_id(lane), 0, 0);
	if (size > CREW__KEPT && crew__node_claim_large(ring, lane, ret))
		return 0;
	for (;;) {
		/* Messages come and go in the order of tickets, so the next node is nearly always free. */
		uint32_t nodes = crew__nodes(ring), from = (uint32_t)__atomic_load_n(&ring->tail, __ATOMIC_RELAXED);
		uint32_t other = nodes >= 64 ? nodes / 2 : 0; /* half: of a queue that has just grown one is in use, as a whole */
		for (uint32_t i = 0; i < nodes; i++) {
			crew__node_at(ring, ((from + i) & (nodes - 1)) ^ (__builtin_expect(i & 16, 0) ? other : 0), ret);
			if (__atomic_load_n(&ret->node->header, __ATOMIC_RELAXED) == 0 && crew__header_move(ret->node, 0, mine)) {
				__builtin_prefetch(ret->node + CREW__AHEAD, 1); /* the next ones, which who takes had last */
				ret->header = mine;
				return 0;
			}
		}
		int r = crew__node_add(ring, lane, nodes);
		if (r < 0)
			return r;
	}
}

/* From `ticket`, which has been put or is the next: the first that has not been put, or that is the end mark. */
static inline uint64_t crew__walk_tail(struct crew__ring *ring, uint64_t ticket, struct crew__era **ret_era, uint64_t *ret_cell)
{
	struct crew__era *era = crew__era_of(ring, ticket);
	for (;;) {
		uint64_t cell = crew__load(crew__cell(era, ticket)), lap = crew__lap(era, ticket);
		*ret_era = era;
		*ret_cell = cell;
		if (cell >> 24 < lap || cell == crew__cell_word(era, ticket, CREW__END_MARK))
			return ticket;
		if (cell == crew__cell_word(era, ticket, CREW__MORE_MARK))
			era = crew__era_next(ring, era, ticket);
		else /* what others put there came after this */
			ticket += cell >> 24 > lap ? ((cell >> 24) - lap) << crew__era_shift(era) : 1;
	}
}

/* From `ticket`, below which all have left: the first that has not left, or not come. -EAGAIN: that; or the end mark. */
static inline int crew__walk_head(struct crew__ring *ring, uint64_t ticket, struct crew__claim *ret)
{
	struct crew__era *era = crew__era_of(ring, ticket);
	for (;; ticket++) {
		uint64_t cell = crew__load(crew__cell(era, ticket)), lap = crew__lap(era, ticket);
		ret->ticket = ticket;
		ret->era = era;
		if (cell >> 24 < lap)
			return -EAGAIN;
		if (cell >> 24 > lap) { /* all up to one lap before what is there now have left */
			ticket += ((cell >> 24) - lap - 1) << crew__era_shift(era);
			continue;
		}
		if (__builtin_expect((cell & CREW__END_MARK) >= CREW__MORE_MARK, 0)) {
			if ((cell & CREW__END_MARK) == CREW__END_MARK)
				return CREW_END_OF_DATA;
			era = crew__era_next(ring, era, ticket--); /* the same ticket there */
			continue;
		}
		crew__node_at(ring, cell & CREW__END_MARK, ret);
		ret->header = crew__header_load(ret->node);
		if (crew__header_state(ret->header) == CREW__QUEUED &&
				crew__header_ticket(ret->header) == (ticket & ((UINT64_C(1) << 38) - 1)))
			return 0;
	}
}

/*
 * Whether ticket t must wait until others have left. Only a thorough look goes beyond the hint: into the nodes that those
 * who take are busy with, but also past one who stopped between taking and saying so.
 */
static inline bool crew__no_room(struct crew__ring *ring, const struct crew__era *era, uint64_t ticket, bool thorough)
{
	struct crew__claim first;
	uint32_t capacity = crew__era_capacity(era);
	uint64_t length = ticket - __atomic_load_n(&ring->head_seen, __ATOMIC_RELAXED);
	if (__builtin_expect(length < capacity && ticket % CREW__LOOK_EVERY, 1))
		return false;
	uint64_t head = crew__load(&ring->head);
	if (thorough && ticket - head >= capacity) {
		crew__walk_head(ring, head, &first);
		head = first.ticket;
	}
	crew__hint(&ring->head_seen, head);
	length = ticket - head;
	if ((int64_t)length < 0) /* it is long taken */
		return false;
	crew__hint(&ring->highest, length < capacity ? length + 1 : capacity); /* a look for more room than one sees it full */
	return length >= capacity;
}

/* Whether there is room for `spare` messages and one more. */
static inline bool crew__ring_is_full(struct crew__ring *ring, bool thorough, uint32_t spare)
{
	uint64_t cell, tail = __atomic_load_n(&ring->tail, __ATOMIC_RELAXED);
	struct crew__era *era = crew__era_newest(ring);
	if (__builtin_expect(tail - __atomic_load_n(&ring->head_seen, __ATOMIC_RELAXED) < crew__era_capacity(era), 1))
		return false;
	tail = crew__walk_tail(ring, crew__load(&ring->tail), &era, &cell);
	return cell != crew__cell_word(era, tail, CREW__END_MARK) && crew__no_room(ring, era, tail + spare, thorough);
}

/* ALLOC(lane) -> in the ring: 0; -EAGAIN: full; -EPIPE: closed. */
static inline int crew__ring_publish(struct crew__ring *ring, struct crew__claim *claim, bool thorough)
{
	uint32_t number = crew__header_lane(claim->header);
	struct crew__era *era;
	for (uint64_t ticket = crew__load(&ring->tail), cell;;) {
		ticket = crew__walk_tail(ring, ticket, &era, &cell);
		if (cell == crew__cell_word(era, ticket, CREW__END_MARK))
			return -EPIPE;
		if (crew__no_room(ring, era, ticket, thorough))
			return -EAGAIN;
		claim->header = crew__header(CREW__QUEUED, number, 1, ticket);
		__atomic_store_n(&claim->node->header, claim->header, __ATOMIC_RELEASE);
		if (!__atomic_compare_exchange_n(crew__cell(era, ticket), &cell, crew__cell_word(era, ticket, claim->index),
				false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE)) /* (A) */
			continue;
		crew__hint(&ring->tail, ticket + 1);
		return 0;
	}
}

/* The node of a message that comes later, if it is there by now. */
static inline void crew__prefetch(struct crew__ring *ring, const struct crew__era *era, uint64_t ticket)
{
	struct crew__claim later;
	uint64_t cell = crew__load(crew__cell(era, ticket));
	if (cell >> 24 == crew__lap(era, ticket) && (cell & CREW__END_MARK) < CREW__MORE_MARK) {
		crew__node_at(ring, cell & CREW__END_MARK, &later);
		__builtin_prefetch(later.node, 1);
	}
}

/* The oldest message: 0, its node as seen; -EAGAIN: none; CREW_END_OF_DATA: none, and the end mark follows. */
static inline int crew__ring_first(struct crew__ring *ring, struct crew__claim *ret)
{
	uint64_t from = crew__load(&ring->head);
	int r = crew__walk_head(ring, from, ret);
	if (r == 0)
		crew__prefetch(ring, ret->era, ret->ticket + CREW__AHEAD);
	if (ret->ticket != from)
		crew__hint(&ring->head, ret->ticket);
	return r;
}

/* A message of the ring, claimed, has left it. */
static inline void crew__ring_left(struct crew__ring *ring, uint64_t ticket)
{
	crew__hint(&ring->head, ticket + 1);
}

/* The oldest that came back: 0 or -EAGAIN. */
int crew__ring_search_back(struct crew__ring *ring, uint64_t back, struct crew__claim *ret);
static inline int crew__ring_first_back(struct crew__ring *ring, struct crew__claim *ret)
{
	uint64_t back = __atomic_load_n(&ring->back, __ATOMIC_SEQ_CST);
	bool none = back == __atomic_load_n(&ring->back_seen, __ATOMIC_RELAXED);
	return __builtin_expect(none, 1) ? -EAGAIN : crew__ring_search_back(ring, back, ret);
}

#endif
