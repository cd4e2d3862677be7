/*
 * lease.c - messages taken and not yet done with, and what becomes of them when their taker dies
 *
 * State    lane->leases: the first of the messages that this lane has taken, linked by message.next; message.queue
 *          says where each came from.
 * Writers  the list: its lane, inside sections on the guard of the queue in question; after its death the
 *          sweeper, likewise. So one list is changed under several guards, but by one thread at a time.
 * Moves    take: list of the queue -> leases. done: leases -> hand -> freed. return, death: leases -> head of the queue.
 * Invariant  a message in leases counts in leased_ of its queue: both change in one section.
 * Death    in any section: undone; the message is where it was. Between two: it is in leases, or in the hand, where
 *          "done" has put it. In a sweep: some are back and some are not; the next sweep goes on with the rest.
 */
#include "base/sys.h"
#include "channel/queue.h"
#include "memory/heap.h"

#define LEASES 64

static struct crew__message *at(uint64_t offset)
{
	return crew__at(offset);
}

bool crew__lease_of(const struct crew__lane *lane, const struct crew_queue *queue)
{
	for (uint64_t m = lane->leases; m; m = at(m)->next)
		if (at(m)->queue == crew__offset(queue))
			return true;
	return false;
}

/* The word that links a lease to the list: the list's own, or the one before. NULL: no such lease. */
static uint64_t *find(struct crew__lane *lane, const struct crew_queue *queue, const void *data)
{
	for (uint64_t *link = &lane->leases; *link; link = &at(*link)->next)
		if (crew__payload(at(*link)) == data && at(*link)->queue == crew__offset(queue))
			return link;
	return NULL;
}

int crew_queue_take(struct crew_queue *queue, struct crew_message *ret, crew_time deadline)
{
	struct crew__lane *lane;
	int r = crew__lane_for(queue, sizeof *queue, &lane);
	if (r < 0)
		return r;
	unsigned leases = 0;
	for (uint64_t m = lane->leases; m; m = at(m)->next)
		leases++;
	r = leases < LEASES ? crew__queue_enter_filled(queue, lane, deadline) : -ENOLCK;
	if (r != 0)
		return r;
	struct crew__message *message = crew__list_shift(lane, &queue->first_, &queue->last_);
	crew__set64(lane, &message->next, lane->leases);
	crew__set64(lane, &message->queue, crew__offset(queue));
	crew__set64(lane, &lane->leases, crew__offset(message));
	crew__set32(lane, &queue->count_, queue->count_ - 1);
	crew__set32(lane, &queue->leased_, queue->leased_ + 1);
	crew__leave_and_ring(lane, &queue->guard_, &queue->drained_, 1);
	*ret = (struct crew_message){ crew__payload(message), message->size, message->attempt };
	return 0;
}

/* The rest of a section: a message out of leases goes back to the head of its queue. */
static void put_back(struct crew__lane *lane, struct crew_queue *queue, struct crew__message *message)
{
	struct crew__rings rings = { 0 };
	crew__list_push(lane, &queue->first_, &queue->last_, message);
	crew__set32(lane, &queue->count_, queue->count_ + 1);
	crew__set32(lane, &queue->leased_, queue->leased_ - 1);
	crew__rings_add(&rings, &queue->filled_, queue->closed_ ? UINT32_MAX : 1);
	if (queue->closed_) /* at once: those who join have to drop it */
		crew__rings_add(&rings, &queue->idle_, UINT32_MAX);
	crew__queue_leave(queue, lane, &rings);
}

int crew_queue_done(struct crew_queue *queue, struct crew_message *message)
{
	struct crew__lane *lane;
	int r = crew__lane_for(queue, sizeof *queue, &lane);
	if (r < 0)
		return r;
	uint64_t *link = find(lane, queue, message->data);
	r = link ? crew__enter(&lane, &queue->guard_, CREW_FOREVER) : -EPERM;
	if (r < 0)
		return r;
	struct crew__rings rings = { 0 };
	crew__set64(lane, &lane->mine[CREW__HAND], *link);
	crew__set64(lane, link, at(*link)->next);
	crew__set32(lane, &queue->leased_, queue->leased_ - 1);
	crew__queue_add_idle(queue, &rings);
	crew__queue_leave(queue, lane, &rings);
	crew__free_mine(lane, CREW__HAND);
	*message = (struct crew_message){ 0 };
	return 0;
}

/* The lease behind *link goes back. */
static int give_back(struct crew_queue *queue, struct crew__lane *lane, uint64_t *link)
{
	int r = crew__enter(&lane, &queue->guard_, CREW_FOREVER);
	if (r < 0)
		return r;
	struct crew__message *message = at(*link);
	crew__set64(lane, link, message->next);
	put_back(lane, queue, message);
	return 0;
}

int crew_queue_return(struct crew_queue *queue, struct crew_message *message)
{
	struct crew__lane *lane;
	int r = crew__lane_for(queue, sizeof *queue, &lane);
	if (r < 0)
		return r;
	uint64_t *link = find(lane, queue, message->data);
	r = link ? give_back(queue, lane, link) : -EPERM;
	if (r == 0)
		*message = (struct crew_message){ 0 };
	return r;
}

void crew__lease_return_all(struct crew_queue *queue, struct crew__lane *lane)
{
	for (uint64_t *link = &lane->leases; *link;)
		if (at(*link)->queue != crew__offset(queue))
			link = &at(*link)->next;
		else if (give_back(queue, lane, link) < 0)
			return;
}

void crew__leases_sweep(struct crew__lane *dead, uint32_t id, bool clean)
{
	(void)id;
	(void)clean; /* they go back also when their taker has ended in good order */
	while (dead->leases) {
		struct crew__message *message = at(dead->leases);
		struct crew_queue *queue = crew__at(message->queue);
		struct crew__lane *lane;
		if (crew__enter(&lane, &queue->guard_, CREW_FOREVER) < 0)
			return;
		crew__set64(lane, &dead->leases, message->next);
		crew__set32(lane, &message->attempt, message->attempt + 1);
		put_back(lane, queue, message);
	}
}
