/*
 * batch.c - many messages as one: they take one place in the ring, and one claim
 *
 *     block of the node: [count, first][size of each] [message 0] [message 1] ...      messages `first` and later are still there
 *
 * Moves    put_many: as put. get: the node is claimed, messages are copied out, `first` grows; the rest, if any, goes BACK.
 *          take: the first message moves to a node of its own, TAKEN; by the lane's undo log, as both nodes are ours.
 * Death    in get: the rest comes back; what was copied out, too, unless `first` says that it is gone with the getter.
 *          A batch of which nothing is left is never BACK: its node is FREE, or ALLOC and about to be.
 */
#include <string.h>
#include "base/sys.h"
#include "channel/queue.h"

struct batch {
	uint32_t count, first;
	uint64_t size[];
};

static uint64_t rounded(uint64_t size)
{
	return (size + 7) & ~UINT64_C(7);
}

static uint64_t front(uint64_t count)
{
	return sizeof(struct batch) + count * sizeof(uint64_t);
}

/* Where message `first` begins. */
static char *first_of(struct batch *batch, uint32_t first)
{
	char *at = (char *)batch + front(batch->count);
	for (uint32_t i = 0; i < first; i++)
		at += rounded(batch->size[i]);
	return at;
}

int crew_queue_put_many(struct crew_queue *queue, const struct iovec *messages, unsigned count, crew_time deadline)
{
	struct crew__lane *lane;
	struct crew__ring *ring;
	struct crew__claim claim;
	uint64_t bytes = front(count);
	if (count == 0 || count > CREW_QUEUE_MANY)
		return -EINVAL;
	for (unsigned i = 0; i < count; i++) {
		if (messages[i].iov_len > CREW__SIZE / CREW_QUEUE_MANY / 2)
			return -ENOMEM;
		bytes += rounded(messages[i].iov_len);
	}
	int r = crew__queue_enter(queue, &lane, &ring);
	if (r < 0)
		return r;
	r = crew__queue_wait_room(queue, ring, lane, deadline);
	if (r == 0)
		r = crew__node_claim(ring, lane, bytes, &claim);
	if (r == 0) {
		r = crew__node_room(lane, &claim, bytes);
		if (r == 0) {
			struct batch *batch = crew__at(claim.kept->block);
			char *at = (char *)batch + front(count);
			batch->count = count;
			batch->first = 0;
			for (unsigned i = 0; i < count; i++) {
				size_t size = batch->size[i] = messages[i].iov_len;
				if (size == 8)
					memcpy(at, messages[i].iov_base, 8);
				else if (size)
					memcpy(at, messages[i].iov_base, size);
				at += rounded(size);
			}
			__atomic_store_n(&claim.node->size, bytes | CREW__BATCH, __ATOMIC_RELAXED);
			r = crew__queue_publish(queue, ring, lane, &claim, deadline);
		}
		if (r < 0)
			crew__node_release(ring, lane, &claim, CREW__HAND);
	}
	crew__queue_leave(lane);
	return r;
}

/* A batch that is ours goes on without us. */
static void put_back(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane, struct crew__claim *claim)
{
	crew__header_move(claim->node, claim->header, crew__header_as(claim->header, CREW__BACK, 0));
	crew__queue_is_back(queue, ring, lane);
}

int crew__batch_get(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane, struct crew__claim *claim,
		struct iovec *rooms, unsigned count)
{
	struct batch *batch = crew__at(claim->kept->block);
	uint32_t first = batch->first;
	char *at = first_of(batch, first);
	unsigned got = 0;
	while (got < count && first < batch->count && batch->size[first] <= rooms[got].iov_len) {
		size_t size = batch->size[first];
		if (rooms[got].iov_base && size == 8)
			memcpy(rooms[got].iov_base, at, 8);
		else if (rooms[got].iov_base && size)
			memcpy(rooms[got].iov_base, at, size);
		at += rounded(size);
		rooms[got++].iov_len = size;
		first++;
	}
	if (first == batch->count) {
		crew__node_release(ring, lane, claim, CREW__HAND);
		return (int)got;
	}
	if (got == 0)
		rooms[0].iov_len = batch->size[first];
	__atomic_store_n(&batch->first, first, __ATOMIC_RELEASE);
	put_back(queue, ring, lane, claim);
	return got ? (int)got : -EMSGSIZE;
}

int crew__batch_take(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane, struct crew__claim *claim)
{
	struct batch *batch = crew__at(claim->kept->block);
	struct crew__claim one;
	uint32_t first = batch->first;
	int r = crew__node_claim(ring, lane, batch->size[first], &one);
	if (r == 0) {
		r = crew__node_fill(lane, &one, first_of(batch, first), batch->size[first]);
		if (r < 0)
			crew__node_release(ring, lane, &one, CREW__HAND);
	}
	if (r < 0) {
		put_back(queue, ring, lane, claim);
		return r;
	}
	bool last = first + 1 == batch->count;
	one.header = claim->header;
	crew__set32(lane, &batch->first, first + 1);
	if (last)
		crew__set64(lane, &claim->node->header, crew__header_as(claim->header, CREW__ALLOC, crew__lane_id(lane)));
	crew__set64(lane, &one.node->header, one.header);
	crew__commit(lane);
	if (last)
		crew__node_release(ring, lane, claim, CREW__HAND);
	else
		put_back(queue, ring, lane, claim);
	*claim = one;
	return 0;
}
