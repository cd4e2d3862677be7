/*
 * queue.c - put, get, close, join: a list of messages and its figures under one guard
 *
 * State    first_, last_: messages that wait, oldest first; count_: how many. leased_: messages in lanes' leases that
 *          came from here. closed_: 0, DRAIN, AT_ONCE. Three bells: filled_ (somebody can get), drained_ (somebody can
 *          put), idle_ (nothing inside, nothing leased).
 * Writers  all words but the bells: inside sections on guard_.
 * Moves    put: hand -> list. get: list -> hand -> caller's memory, freed. Both take effect when the section ends.
 *          close: closed_ only grows. AT_ONCE makes what is inside unreachable at that moment; it is then freed
 *          one section a message, by the closer and by whoever comes along.
 * Invariants
 *          1  count_ is the length of the list; first_ = 0 if and only if last_ = 0.
 *          2  leased_ is the number of messages in all leases with message.queue = this.
 *          3  whoever sleeps on a bell has looked at the queue after looking at the bell.
 * Order    Bells change before the guard of the section with the news is free, so whoever hears the news may free the queue.
 * Death    in put before its section ends: the message is in the hand: freed.
 *          in get after its section: the message is in the hand: freed, gone with the getter.
 *          between commit and wake-up, or woken and dead before it took anything: the sweep rings (sync/sweep.c).
 *          in close AT_ONCE half-way: the next get, join or fini goes on with the freeing.
 */
#include "base/sys.h"
#include "channel/queue.h"
#include "channel/watch.h"
#include "memory/heap.h"
#include "sync/section.h"

enum { OPEN, DRAIN, AT_ONCE };
#define DEFAULT_CAPACITY 1024u

static uint32_t capacity(const struct crew_queue *queue)
{
	return queue->capacity_ ? queue->capacity_ : DEFAULT_CAPACITY;
}

void crew__rings_add(struct crew__rings *rings, uint32_t *bell, uint32_t count)
{
	rings->bell[rings->n] = bell;
	rings->count[rings->n++] = count;
}

void crew__queue_leave(struct crew_queue *queue, struct crew__lane *lane, const struct crew__rings *rings)
{
	crew__leave_and_ring_each(lane, &queue->guard_, rings->bell, rings->count, rings->n);
}

static bool is_idle(const struct crew_queue *queue)
{
	return queue->count_ == 0 && queue->leased_ == 0;
}

/* The last of all: those who join have waited for it, and if the queue is closed those who get. */
void crew__queue_add_idle(struct crew_queue *queue, struct crew__rings *rings)
{
	if (!is_idle(queue))
		return;
	crew__rings_add(rings, &queue->idle_, UINT32_MAX);
	if (queue->closed_)
		crew__rings_add(rings, &queue->filled_, UINT32_MAX);
}

void crew_queue_init(struct crew_queue *queue, uint32_t messages)
{
	*queue = (struct crew_queue){ .capacity_ = messages };
}

/* Inside a section: the oldest message leaves the list for this lane's hand. */
static void shift(struct crew__lane *lane, struct crew_queue *queue)
{
	crew__list_shift_mine(lane, &queue->first_, &queue->last_);
	crew__set32(lane, &queue->count_, queue->count_ - 1);
}

void crew__queue_drop(struct crew_queue *queue, struct crew__lane *lane)
{
	while (crew__enter(&lane, &queue->guard_, CREW_FOREVER) == 0) {
		struct crew__rings rings = { 0 };
		bool any = queue->first_;
		if (any) {
			shift(lane, queue);
			crew__queue_add_idle(queue, &rings);
		}
		crew__queue_leave(queue, lane, &rings);
		if (!any)
			break;
		crew__free_mine(lane, CREW__HAND);
	}
}

/* Append the message in the lane's hand. */
static int append(struct crew_queue *queue, struct crew__lane *lane, crew_time deadline)
{
	for (;;) {
		uint32_t seen = crew__bell_look(&queue->drained_);
		int r = crew__enter(&lane, &queue->guard_, CREW_FOREVER);
		if (r < 0)
			return r;
		bool room = queue->count_ < capacity(queue);
		if (queue->closed_) {
			r = -EPIPE;
		} else if (room) {
			crew__list_append_mine(lane, &queue->first_, &queue->last_);
			crew__set32(lane, &queue->count_, queue->count_ + 1);
			crew__set64(lane, &queue->put_total_, queue->put_total_ + 1);
		}
		if (r == 0 && room) {
			crew__leave_and_ring(lane, &queue->guard_, &queue->filled_, 1);
			return 0;
		}
		crew__leave(lane, &queue->guard_);
		if (r < 0)
			return r;
		r = crew__bell_wait(lane, &queue->drained_, seen, deadline);
		if (r < 0)
			return r;
	}
}

int crew_queue_put(struct crew_queue *queue, const void *data, size_t size, crew_time deadline)
{
	struct crew__lane *lane;
	int r = crew__lane_for(queue, sizeof *queue, &lane);
	if (r < 0)
		return r;
	r = crew__message_make(lane, data, size);
	if (r == 0)
		r = append(queue, lane, deadline);
	crew__free_mine(lane, CREW__HAND);
	return r;
}

/*
 * Inside a section: whether a get by this lane has nothing more to wait for. What others have leased may come back, so a
 * closed queue ends only when that is dealt with; whoever has leases of its own gets the end at once, to go and deal with them.
 */
static bool is_at_end(const struct crew_queue *queue, const struct crew__lane *lane)
{
	return queue->closed_ == AT_ONCE ||
		(queue->closed_ && queue->count_ == 0 && (queue->leased_ == 0 || crew__lease_of(lane, queue)));
}

int crew__queue_enter_filled(struct crew_queue *queue, struct crew__lane *lane, crew_time deadline)
{
	for (bool reaped = false;;) {
		uint32_t seen = crew__bell_look(&queue->filled_);
		int r = crew__enter(&lane, &queue->guard_, CREW_FOREVER);
		if (r < 0)
			return r;
		bool end = is_at_end(queue, lane), leased = queue->leased_;
		if (queue->first_ && !end)
			return 0;
		bool drop = queue->first_;
		crew__leave(lane, &queue->guard_);
		if (drop)
			crew__queue_drop(queue, lane);
		if (end)
			return CREW_END_OF_DATA;
		r = crew__bell_wait(lane, &queue->filled_, seen, deadline);
		if (r < 0 && (reaped || !leased))
			return r;
		if (r < 0) { /* a taker may have died with what we wait for, and a poll does not sleep until that is found */
			crew__lane_reap_all();
			reaped = true;
		}
	}
}

int crew_queue_get(struct crew_queue *queue, void *data, size_t size, size_t *ret_size, crew_time deadline)
{
	struct crew__lane *lane;
	int r = crew__lane_for(queue, sizeof *queue, &lane);
	if (r < 0)
		return r;
	r = crew__queue_enter_filled(queue, lane, deadline);
	if (r != 0)
		return r;
	struct crew__message *message = crew__at(queue->first_);
	if (ret_size)
		*ret_size = message->size;
	if (message->size > size) { /* somebody else may have the room, and we the wake-up */
		crew__leave_and_ring(lane, &queue->guard_, &queue->filled_, 1);
		return -EMSGSIZE;
	}
	struct crew__rings rings = { 0 };
	shift(lane, queue);
	crew__rings_add(&rings, &queue->drained_, 1);
	crew__queue_add_idle(queue, &rings);
	crew__queue_leave(queue, lane, &rings);
	crew__message_consume(lane, data);
	return 0;
}

int crew__queue_look(struct crew_queue *queue, struct crew__watch ret[2], unsigned *count)
{
	struct crew__lane *lane;
	int r = crew__check_place(queue, sizeof *queue);
	if (r < 0)
		return r;
	ret[0] = (struct crew__watch){ &queue->filled_, crew__bell_look(&queue->filled_), CREW__WATCH_BELL_ONE };
	*count = 1;
	r = crew__enter(&lane, &queue->guard_, CREW_FOREVER);
	if (r < 0)
		return r;
	bool ready = queue->first_ || is_at_end(queue, lane);
	crew__leave(lane, &queue->guard_);
	return ready;
}

int crew_queue_join(struct crew_queue *queue, crew_time deadline)
{
	struct crew__lane *lane;
	int r = crew__lane_for(queue, sizeof *queue, &lane);
	if (r < 0)
		return r;
	while (r == 0) {
		uint32_t seen = crew__bell_look(&queue->idle_);
		r = crew__enter(&lane, &queue->guard_, CREW_FOREVER);
		if (r < 0)
			break;
		bool idle = is_idle(queue), drop = queue->closed_ == AT_ONCE && queue->first_;
		crew__leave(lane, &queue->guard_);
		if (idle)
			break;
		if (drop)
			crew__queue_drop(queue, lane);
		else
			r = crew__bell_wait(lane, &queue->idle_, seen, deadline);
	}
	return r;
}

int crew_queue_close(struct crew_queue *queue, bool drain)
{
	struct crew__lane *lane;
	int r = crew__lane_for(queue, sizeof *queue, &lane);
	if (r < 0)
		return r;
	r = crew__enter(&lane, &queue->guard_, CREW_FOREVER);
	if (r < 0)
		return r;
	uint32_t wanted = drain ? DRAIN : AT_ONCE;
	if (queue->closed_ < wanted)
		crew__set32(lane, &queue->closed_, wanted);
	crew__leave_and_ring_all(lane, &queue->guard_, (uint32_t *[]){ &queue->filled_, &queue->drained_ }, 2);
	if (!drain)
		crew__queue_drop(queue, lane);
	return 0;
}

uint32_t crew_queue_length(const struct crew_queue *queue)
{
	/* Inside a section, because outside one might count what a dying put is about to undo. */
	struct crew_queue *q = (struct crew_queue *)(uintptr_t)queue;
	struct crew__lane *lane;
	if (crew__check_place(q, sizeof *q) < 0 || crew__enter(&lane, &q->guard_, CREW_FOREVER) < 0)
		return 0;
	uint32_t length = q->closed_ == AT_ONCE ? 0 : q->count_;
	crew__leave(lane, &q->guard_);
	return length;
}

void crew_queue_fini(struct crew_queue *queue)
{
	struct crew__lane *lane;
	if (crew__lane_for(queue, sizeof *queue, &lane) < 0)
		return;
	crew__lease_return_all(queue, lane);
	if (__atomic_load_n(&queue->leased_, __ATOMIC_ACQUIRE))
		crew__lane_reap_all(); /* takers that have died unnoticed */
	crew__queue_drop(queue, lane);
	if (queue->leased_)
		crew__panic("crew_queue_fini(%p): %u messages are still leased", (void *)queue, queue->leased_);
	crew_queue_init(queue, queue->capacity_);
}
