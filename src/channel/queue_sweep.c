/*
 * queue_sweep.c - what becomes of a dead lane's nodes, in the queue it was inside of and in those that it had leases of
 *
 *     ALLOC                      -> FREE
 *     QUEUED, not in its cell    -> FREE       put has not taken effect; its cell is looked at before its header
 *     QUEUED, in its cell        stays         put has taken effect; the name says nothing any more
 *     TAKEN                      -> BACK, attempt + 1; or FREE; or to the queue for dead letters
 *
 * Each is one CAS from a header that names the dead, so a sweep may die anywhere and be repeated. The attempt is in the
 * same word, so it counts each death once.
 *
 * A dead letter moves in one entry of the sweeper's undo log: the node there, BACK, and the node here, FREE. Both are
 * nobody else's meanwhile; lane->queue_late makes sure that those who sleep there are woken.
 * Bells ring in any case: the dead may have owed it.
 */
#include "channel/queue.h"
#include "memory/heap.h"
#include "sync/news.h"

enum { SWEEP_HAND = 3 }; /* the sweeper may be inside a call of its own, with something in the other */

static void ring_all(struct crew_queue *queue, struct crew__lane *self)
{
	crew__queue_news(self, &queue->filled_, UINT32_MAX);
	crew__queue_news(self, &queue->drained_, UINT32_MAX);
	crew__queue_news(self, &queue->idle_, UINT32_MAX);
}

/* Those who get may be asleep without having heard of what is BACK there. */
static void tell(uint64_t offset, struct crew__lane *self)
{
	struct crew_queue *queue = crew__at(offset);
	struct crew__ring *ring = crew__ring_of(queue);
	if (ring) {
		__atomic_fetch_add(&ring->back, 1, __ATOMIC_SEQ_CST);
		ring_all(queue, self);
	}
}

/* A node of the queue for dead letters; none is made for this, the taker has provided one (lease.c). */
static bool claim_late(struct crew__ring *ring, struct crew__lane *self, struct crew__claim *ret)
{
	uint64_t mine = crew__header(CREW__ALLOC, crew__lane_id(self), 0, 0);
	uint32_t nodes = crew__nodes(ring);
	for (uint32_t i = 0; i < nodes; i++) {
		crew__node_at(ring, i, ret);
		if (crew__header_load(ret->node) == 0 && crew__header_move(ret->node, 0, mine))
			return true;
	}
	return false;
}

/* False: there is no room for it there. */
static bool move_late(struct crew_queue *queue, struct crew__ring *from, struct crew__lane *self, struct crew__claim *claim)
{
	struct crew_queue *late = crew__at(queue->late_);
	struct crew__ring *ring = crew__ring_of(late);
	struct crew__claim there;
	if (!ring)
		return false;
	__atomic_store_n(&self->queue_late, queue->late_, __ATOMIC_RELEASE);
	bool found = claim_late(ring, self, &there);
	if (found) {
		crew__set64(self, &there.node->size, claim->node->size);
		crew__set64(self, &there.node->word[0], claim->node->word[0]);
		crew__set64(self, &there.node->word[1], claim->node->word[1]);
		struct crew__kept kept = *there.kept; /* each has the other's block */
		crew__set64(self, &there.kept->bytes, claim->kept->bytes);
		crew__set64(self, &there.kept->block, claim->kept->block);
		crew__set64(self, &claim->kept->bytes, kept.bytes);
		crew__set64(self, &claim->kept->block, kept.block);
		crew__set64(self, &claim->node->header, 0);
		crew__set64(self, &there.node->header, crew__header_as(claim->header, CREW__BACK, 0));
		crew__commit(self);
		__atomic_fetch_add(&from->dead_letters, 1, __ATOMIC_RELAXED);
		tell(queue->late_, self);
	}
	__atomic_store_n(&self->queue_late, 0, __ATOMIC_RELEASE);
	return found;
}

static void sweep_taken(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *self, struct crew__claim *claim)
{
	uint32_t attempt = crew__header_attempt(claim->header);
	bool last = queue->most_ && attempt >= queue->most_;
	if (last && queue->late_ && move_late(queue, ring, self, claim))
		return;
	if (queue->once_ || (last && !queue->late_)) {
		__atomic_fetch_add(&ring->dropped, 1, __ATOMIC_RELAXED);
		crew__node_release(ring, self, claim, SWEEP_HAND);
		return;
	}
	uint64_t back = crew__header(CREW__BACK, 0, attempt < CREW__ATTEMPTS ? attempt + 1 : attempt,
		crew__header_ticket(claim->header));
	if (!crew__header_move(claim->node, claim->header, back))
		return;
	__atomic_fetch_add(&ring->redelivered, 1, __ATOMIC_RELAXED);
	crew__tell(&(struct crew_news){ .kind = CREW_NEWS_REDELIVERED, .object = queue, .attempt = attempt + 1 }, NULL);
}

/* Whether the cell of its ticket names the node. A header has 38 bits of the ticket, and it is not far from the others'. */
static bool is_in_cell(struct crew__ring *ring, const struct crew__claim *claim)
{
	uint64_t tail = crew__load(&ring->tail);
	uint64_t ticket = tail + (uint64_t)((int64_t)((crew__header_ticket(claim->header) - tail) << 26) >> 26);
	const struct crew__era *era = crew__era_of(ring, ticket);
	return __atomic_load_n(crew__cell(era, ticket), __ATOMIC_SEQ_CST) == crew__cell_word(era, ticket, claim->index);
}

static void sweep_queue(uint64_t offset, uint32_t number, struct crew__lane *self)
{
	struct crew_queue *queue = crew__inside(offset, sizeof *queue);
	struct crew__ring *ring = queue ? crew__ring_of(queue) : NULL;
	if (!ring || !crew__in_region(ring, sizeof *ring))
		return;
	uint32_t nodes = crew__nodes(ring);
	for (uint32_t i = 0; i < nodes; i++) {
		struct crew__claim claim;
		crew__node_at(ring, i, &claim);
		claim.header = crew__header_load(claim.node);
		if (crew__header_lane(claim.header) != number)
			continue;
		bool in_cell = is_in_cell(ring, &claim);
		switch (crew__header_state(claim.header)) {
		case CREW__ALLOC:
			crew__node_release(ring, self, &claim, SWEEP_HAND);
			break;
		case CREW__QUEUED: /* if it was not published it still is what it was, and stays so: its lane is dead */
			if (!in_cell && crew__header_load(claim.node) == claim.header)
				crew__node_release(ring, self, &claim, SWEEP_HAND);
			break;
		case CREW__TAKEN:
			sweep_taken(queue, ring, self, &claim);
			break;
		case CREW__FREE:
		case CREW__BACK:
			break;
		}
	}
	tell(offset, self);
}

/* A block on its way into a queue: it has arrived, or it is freed. */
static void sweep_block(struct crew__lane *dead, struct crew__lane *self)
{
	uint64_t block = __atomic_load_n(&dead->queue_block, __ATOMIC_ACQUIRE);
	if (!block)
		return;
	struct crew_queue *queue = crew__inside(dead->queue, sizeof *queue);
	struct crew__ring *ring = queue ? crew__ring_of(queue) : NULL;
	if (ring && !crew__in_region(ring, sizeof *ring))
		ring = NULL;
	bool arrived = ring && ring->block == block;
	for (unsigned i = 0; ring && i < CREW__CHUNKS; i++)
		arrived |= __atomic_load_n(&ring->chunk[i], __ATOMIC_ACQUIRE) == block;
	for (unsigned i = 1; ring && i < CREW__ERAS; i++)
		arrived |= __atomic_load_n(&ring->era[i].block, __ATOMIC_ACQUIRE) == block;
	if (arrived)
		__atomic_store_n(&dead->queue_block, 0, __ATOMIC_RELEASE);
	else
		crew__block_give_up(self, &dead->queue_block, SWEEP_HAND);
}

void crew__leases_sweep(struct crew__lane *dead, uint32_t id, bool clean)
{
	struct crew__lane *self;
	uint32_t number = crew__number(id);
	(void)clean; /* leases go back also when their taker has ended in good order */
	if (crew__lane_self(&self) < 0)
		return;
	if (self->mine[SWEEP_HAND]) /* we are sweeping another one: this one is left for the next */
		return;
	sweep_block(dead, self);
	if (dead->queue)
		sweep_queue(dead->queue, number, self);
	if (dead->queue_late)
		sweep_queue(dead->queue_late, number, self);
	for (int i = 0; i < CREW__HOLDS; i++) {
		uint64_t hold = __atomic_load_n(&dead->hold[i], __ATOMIC_ACQUIRE);
		if (!hold || crew__hold_kind(hold) != CREW__HOLD_QUEUE)
			continue;
		sweep_queue(crew__offset(crew__hold_object(hold)), number, self);
		crew__hold_drop(dead, i);
	}
	__atomic_store_n(&dead->queue_late, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&dead->queue, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&dead->leases, 0, __ATOMIC_RELEASE);
}
