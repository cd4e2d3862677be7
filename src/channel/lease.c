/*
 * lease.c - messages of a queue in the hands of a thread: taken and not yet done with, lent and not yet put
 *
 * State    a hold of the lane names each queue of which it has some, hold_count how many; lane->leases: of all queues. Which
 *          they are the queue's headers say: TAKEN(me), ALLOC(me).
 * Writers  all three: the lane alone.
 * Order    the hold is there before the first claim and goes after the last: the sweep looks into each queue that is held.
 * Death    with leases: the messages come back. With loans: their nodes are free (both queue_sweep.c). A hold without any: nothing.
 */
#include "channel/queue.h"

bool crew__lease_of(const struct crew__lane *lane, const struct crew_queue *queue)
{
	return lane->leases && crew__hold_find(lane, CREW__HOLD_QUEUE, queue) >= 0;
}

/* One more; the claim may follow. */
static int add(struct crew__lane *lane, const struct crew_queue *queue, struct crew__ring *ring)
{
	if (lane->leases >= CREW__LEASES)
		return -ENOLCK;
	int hold = lane->leases ? crew__hold_find(lane, CREW__HOLD_QUEUE, queue) : -1;
	if (hold < 0) {
		hold = crew__hold_add(lane, CREW__HOLD_QUEUE, queue);
		if (hold < 0)
			return hold;
		lane->hold_count[hold] = 0;
	}
	lane->hold_count[hold]++;
	__atomic_store_n(&lane->leases, lane->leases + 1, __ATOMIC_RELAXED);
	if (!__atomic_load_n(&ring->leases, __ATOMIC_RELAXED))
		__atomic_store_n(&ring->leases, 1, __ATOMIC_RELEASE);
	return 0;
}

static void subtract(struct crew__lane *lane, const struct crew_queue *queue)
{
	int hold = crew__hold_find(lane, CREW__HOLD_QUEUE, queue);
	if (hold >= 0 && --lane->hold_count[hold] == 0)
		crew__hold_drop(lane, hold);
	__atomic_store_n(&lane->leases, lane->leases - 1, __ATOMIC_RELAXED);
}

/* Inside the queue: the node, if it is in this state, and ours. */
static int enter(struct crew_queue *queue, uint32_t index, enum crew__node_state state, const void *data,
		struct crew__lane **lane, struct crew__ring **ring, struct crew__claim *ret)
{
	int r = crew__lane_for(queue, sizeof *queue, lane);
	if (r == 0)
		r = data && crew__ring_of(queue) ? crew__queue_enter(queue, lane, ring) : -EPERM;
	if (r < 0)
		return r;
	if (index < crew__nodes(*ring)) {
		crew__node_at(*ring, index, ret);
		ret->header = crew__header_load(ret->node);
		if (crew__header_state(ret->header) == state && crew__lease_of(*lane, queue) &&
				crew__header_lane(ret->header) == crew__number(crew__lane_id(*lane)) &&
				crew__node_payload(ret) == data)
			return 0;
	}
	crew__queue_leave(*lane);
	return -EPERM;
}

/*
 * A sweep makes no nodes. So whoever takes a message for the last time sees to it that the queue for dead letters has a free
 * one for each lease; if it cannot, or others use that one, the message may have to come back once more.
 */
static void provide_for_dead_letter(const struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane)
{
	const struct crew_queue *late = crew__at(queue->late_);
	struct crew__ring *there = crew__ring_of(late);
	if (!there || crew__nodes_in(there, 1u << CREW__FREE) > crew__nodes_in(ring, 1u << CREW__TAKEN))
		return;
	__atomic_store_n(&lane->queue, queue->late_, __ATOMIC_RELEASE); /* where a sweep looks for its block */
	int r = crew__node_add(there, lane, crew__nodes(there));
	__atomic_store_n(&lane->queue, crew__offset(queue), __ATOMIC_RELEASE);
	(void)r;
}

int crew_queue_take(struct crew_queue *queue, struct crew_message *ret, crew_time deadline)
{
	struct crew__lane *lane;
	struct crew__ring *ring;
	struct crew__pause pause = { 0 };
	struct crew__claim claim;
	int r = crew__queue_enter(queue, &lane, &ring);
	if (r < 0)
		return r;
	bool claimed = false;
	if (lane->leases >= CREW__LEASES)
		r = -ENOLCK;
	while (r == 0 && !claimed) {
		r = crew__queue_wait_found(queue, ring, lane, &pause, deadline, &claim);
		if (r == 0 && queue->late_ && queue->most_ && crew__header_attempt(claim.header) >= queue->most_)
			provide_for_dead_letter(queue, ring, lane);
		if (r == 0)
			r = add(lane, queue, ring);
		if (r != 0)
			break;
		claimed = crew__queue_claim(ring, lane, &claim);
		if (claimed && claim.node->size & CREW__BATCH)
			r = crew__batch_take(queue, ring, lane, &claim);
		if (!claimed || r < 0)
			subtract(lane, queue);
	}
	if (r == 0) {
		*ret = (struct crew_message){ crew__node_payload(&claim), claim.node->size & CREW__SIZE,
			crew__header_attempt(claim.header), claim.index };
		crew__queue_news(lane, &queue->drained_, 1);
	}
	crew__queue_leave(lane);
	return r;
}

int crew_queue_done(struct crew_queue *queue, struct crew_message *message)
{
	struct crew__lane *lane;
	struct crew__ring *ring;
	struct crew__claim claim;
	int r = enter(queue, message->node_, CREW__TAKEN, message->data, &lane, &ring, &claim);
	if (r < 0)
		return r;
	crew__node_release(ring, lane, &claim, CREW__HAND);
	subtract(lane, queue);
	crew__queue_gone(queue, ring, lane);
	crew__queue_leave(lane);
	*message = (struct crew_message){ 0 };
	return 0;
}

static void give_back(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane, struct crew__claim *claim)
{
	crew__header_move(claim->node, claim->header, crew__header_as(claim->header, CREW__BACK, 0));
	subtract(lane, queue);
	crew__queue_is_back(queue, ring, lane);
}

int crew_queue_return(struct crew_queue *queue, struct crew_message *message)
{
	struct crew__lane *lane;
	struct crew__ring *ring;
	struct crew__claim claim;
	int r = enter(queue, message->node_, CREW__TAKEN, message->data, &lane, &ring, &claim);
	if (r < 0)
		return r;
	give_back(queue, ring, lane, &claim);
	crew__queue_leave(lane);
	*message = (struct crew_message){ 0 };
	return 0;
}

void crew__lease_return_all(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane)
{
	uint32_t nodes = crew__nodes(ring);
	for (uint32_t i = 0; i < nodes && crew__lease_of(lane, queue); i++) {
		struct crew__claim claim;
		crew__node_at(ring, i, &claim);
		claim.header = crew__header_load(claim.node);
		if (crew__header_lane(claim.header) != crew__number(crew__lane_id(lane)))
			continue;
		if (crew__header_state(claim.header) == CREW__TAKEN) {
			give_back(queue, ring, lane, &claim);
		} else if (crew__header_state(claim.header) == CREW__ALLOC) {
			crew__node_release(ring, lane, &claim, CREW__HAND);
			subtract(lane, queue);
		}
	}
}

/* ---- loans ---- */

int crew_queue_loan(struct crew_queue *queue, size_t size, struct crew_loan *ret)
{
	struct crew__lane *lane;
	struct crew__ring *ring;
	struct crew__claim claim;
	if (size > CREW__SIZE)
		return -ENOMEM;
	int r = crew__queue_enter(queue, &lane, &ring);
	if (r < 0)
		return r;
	r = add(lane, queue, ring);
	if (r == 0) {
		r = crew__node_claim(ring, lane, size, &claim);
		if (r == 0) {
			/* In a block however small: those who look into nodes, in vain, are not to read what its thread writes. */
			r = crew__node_room(lane, &claim, size ? size : 1);
			__atomic_store_n(&claim.node->size, size | CREW__IN_BLOCK, __ATOMIC_RELAXED);
			if (r < 0)
				crew__node_release(ring, lane, &claim, CREW__HAND);
		}
		if (r < 0)
			subtract(lane, queue);
	}
	crew__queue_leave(lane);
	if (r == 0)
		*ret = (struct crew_loan){ crew__node_payload(&claim), size, claim.index };
	return r;
}

int crew_queue_publish(struct crew_queue *queue, struct crew_loan *loan, crew_time deadline)
{
	struct crew__lane *lane;
	struct crew__ring *ring;
	struct crew__claim claim;
	int r = enter(queue, loan->node_, CREW__ALLOC, loan->data, &lane, &ring, &claim);
	if (r < 0)
		return r;
	if (loan->size > (claim.node->size & CREW__SIZE)) {
		crew__queue_leave(lane);
		return -EINVAL;
	}
	__atomic_store_n(&claim.node->size, loan->size | CREW__IN_BLOCK, __ATOMIC_RELAXED);
	r = crew__queue_publish(queue, ring, lane, &claim, deadline);
	if (r == 0) {
		subtract(lane, queue);
		*loan = (struct crew_loan){ 0 };
	} else { /* it remains a loan */
		__atomic_store_n(&claim.node->header, crew__header(CREW__ALLOC, crew__header_lane(claim.header), 0, 0),
			__ATOMIC_RELEASE);
	}
	crew__queue_leave(lane);
	return r;
}

int crew_queue_drop_loan(struct crew_queue *queue, struct crew_loan *loan)
{
	struct crew__lane *lane;
	struct crew__ring *ring;
	struct crew__claim claim;
	int r = enter(queue, loan->node_, CREW__ALLOC, loan->data, &lane, &ring, &claim);
	if (r < 0)
		return r;
	crew__node_release(ring, lane, &claim, CREW__HAND);
	subtract(lane, queue);
	crew__queue_leave(lane);
	*loan = (struct crew_loan){ 0 };
	return 0;
}
