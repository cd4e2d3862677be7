/*
 * queue.c - put, get, close, join: what a queue promises, on top of its ring
 *
 * State    crew_queue: how it is set up, closed_, and three bells; the messages are in the ring (ring.c).
 * Moves    put: ALLOC -> in the ring. get: out of the ring -> FREE; in one step if the message is inside its node (copied
 *          out before, which counts only if that step succeeds), else through TAKEN.
 *          close: closed_ only grows; then an end mark in the ring, behind the last message. Whoever finds closed_ set and no
 *          mark sets it. AT_ONCE: what is inside is then dropped, by the closer and by whoever comes along.
 * Invariants
 *          1  nothing is put behind the end mark.
 *          2  whoever sleeps on a bell has armed it and then found nothing; whoever brings news looks at the bell after.
 * Death    inside a call: lane->queue says where. Its nodes are seen to (queue_sweep.c), and all bells ring.
 */
#include <sched.h>
#include <string.h>
#include "base/sys.h"
#include "channel/queue.h"
#include "channel/watch.h"
#include "memory/heap.h"

#define LOOK_EVERY 4u /* turns of a spin: each look takes the cache line from whoever is about to write it */

static uint32_t closed(const struct crew_queue *queue)
{
	return __atomic_load_n(&queue->closed_, __ATOMIC_SEQ_CST);
}

void crew_queue_init(struct crew_queue *queue, uint32_t messages)
{
	*queue = (struct crew_queue){ .capacity_ = messages };
}

int crew_queue_init_sized(struct crew_queue *queue, const struct crew_queue_options *given, size_t size)
{
	struct crew_queue_options options;
	int r = crew__options(&options, sizeof options, given, size);
	if (r < 0)
		return r;
	if (options.max_attempts >= CREW__ATTEMPTS || options.dead_letters == queue || (options.memory_cap && !options.unbounded))
		return -EINVAL;
	if (options.dead_letters)
		r = crew__check_place(options.dead_letters, sizeof *queue);
	if (r < 0)
		return r;
	*queue = (struct crew_queue){ .capacity_ = options.capacity, .most_ = (uint16_t)options.max_attempts,
		.once_ = options.at_most_once, .cap_ = !options.unbounded ? 0 : options.memory_cap ? options.memory_cap : UINT64_MAX,
		.late_ = options.dead_letters ? crew__offset(options.dead_letters) : 0 };
	return 0;
}

void crew__queue_gone(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane)
{
	struct crew__claim first;
	if (__builtin_expect(__atomic_load_n(&queue->idle_, __ATOMIC_SEQ_CST) & 1, 0) && crew__ring_first(ring, &first) != 0)
		crew__ring(lane, &queue->idle_, UINT32_MAX);
	if (closed(queue)) /* those who wait because of a lease */
		crew__queue_news(lane, &queue->filled_, UINT32_MAX);
}

void crew__queue_is_back(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane)
{
	__atomic_fetch_add(&ring->back, 1, __ATOMIC_SEQ_CST);
	crew__queue_news(lane, &queue->filled_, closed(queue) ? UINT32_MAX : 1);
	if (closed(queue)) /* at once: those who join have to drop it */
		crew__queue_news(lane, &queue->idle_, UINT32_MAX);
}

int crew__queue_pause(struct crew__pause *pause, struct crew__lane *lane, struct crew__ring *ring, uint32_t *bell,
		crew_time deadline)
{
	if (deadline <= CREW_POLL)
		return -ETIMEDOUT;
	if (!pause->armed) {
		for (unsigned i = 0; i < LOOK_EVERY; i++)
			if (crew__spin(pause->turn++) && i == LOOK_EVERY - 1)
				return 0;
		uint32_t seen = crew__bell_look(bell);
		pause->armed = crew__bell_arm(bell, seen) == (seen | 1) ? seen | 1 : 0;
		return 0;
	}
	__atomic_fetch_add(&ring->sleeps, 1, __ATOMIC_RELAXED);
	int r = crew__sleep(lane, bell, pause->armed, 0, deadline);
	pause->armed = pause->turn = 0;
	return r;
}

/* ---- in ---- */

int crew__queue_publish(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane,
		struct crew__claim *claim, crew_time deadline)
{
	struct crew__pause pause = { 0 };
	int r;
	for (;;) {
		r = closed(queue) ? -EPIPE : crew__ring_publish(ring, claim, pause.armed || deadline <= CREW_POLL || queue->cap_);
		if (r != -EAGAIN)
			break;
		if (crew__ring_grow(queue, ring, lane) == 0)
			continue;
		r = crew__queue_pause(&pause, lane, ring, &queue->drained_, deadline);
		if (r < 0)
			break;
	}
	if (r == 0)
		crew__queue_news(lane, &queue->filled_, 1);
	return r;
}

int crew__node_fill(struct crew__lane *lane, struct crew__claim *claim, const void *data, size_t size)
{
	if (size <= CREW__INLINE) {
		uint64_t word[2] = { 0 };
		if (size == sizeof *word)
			memcpy(word, data, sizeof *word);
		else if (size)
			memcpy(word, data, size);
		__atomic_store_n(&claim->node->word[0], word[0], __ATOMIC_RELAXED); /* others may look, in vain */
		__atomic_store_n(&claim->node->word[1], word[1], __ATOMIC_RELAXED);
	} else {
		int r = crew__node_room(lane, claim, size);
		if (r < 0)
			return r;
		memcpy(crew__at(claim->kept->block), data, size);
	}
	__atomic_store_n(&claim->node->size, size, __ATOMIC_RELAXED);
	return 0;
}

/* Wait without a node while it is full: so there are hardly more nodes than messages. */
int crew__queue_wait_room(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane, crew_time deadline)
{
	struct crew__pause pause = { 0 };
	/* While we spin we wait for room for some: one at a time each would wait for the other's cache line. */
	for (uint32_t spare = 0; crew__ring_is_full(ring, pause.armed || deadline <= CREW_POLL || queue->cap_, pause.armed ? 0 : spare);) {
		if (crew__ring_grow(queue, ring, lane) == 0)
			continue;
		int r = closed(queue) ? -EPIPE : crew__queue_pause(&pause, lane, ring, &queue->drained_, deadline);
		if (r < 0)
			return r;
		spare = crew__era_capacity(crew__era_newest(ring)) / 8;
	}
	return closed(queue) ? -EPIPE : 0;
}

int crew_queue_put(struct crew_queue *queue, const void *data, size_t size, crew_time deadline)
{
	struct crew__lane *lane;
	struct crew__ring *ring;
	struct crew__claim claim;
	if (size > CREW__SIZE)
		return -ENOMEM;
	int r = crew__queue_enter(queue, &lane, &ring);
	if (r < 0)
		return r;
	r = crew__queue_wait_room(queue, ring, lane, deadline);
	if (r == 0)
		r = crew__node_claim(ring, lane, size, &claim);
	if (r == 0) {
		r = crew__node_fill(lane, &claim, data, size);
		if (r == 0)
			r = crew__queue_publish(queue, ring, lane, &claim, deadline);
		if (r < 0)
			crew__node_release(ring, lane, &claim, CREW__HAND);
	}
	crew__queue_leave(lane);
	return r;
}

/* ---- out ---- */

bool crew__queue_claim(struct crew__ring *ring, struct crew__lane *lane, struct crew__claim *claim)
{
	uint64_t mine = crew__header_as(claim->header, CREW__TAKEN, crew__lane_id(lane));
	if (!crew__header_move(claim->node, claim->header, mine)) /* (B) */
		return false;
	if (crew__header_state(claim->header) == CREW__QUEUED)
		crew__ring_left(ring, claim->ticket);
	claim->header = mine;
	return true;
}

/* Free all messages that wait. */
static void drop(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane)
{
	struct crew__claim claim;
	bool any = false;
	while (crew__ring_first_back(ring, &claim) == 0 || crew__ring_first(ring, &claim) == 0)
		if (crew__queue_claim(ring, lane, &claim)) {
			crew__node_release(ring, lane, &claim, CREW__HAND);
			any = true;
		}
	if (any) /* no news for nothing: it would wake us, too */
		crew__queue_gone(queue, ring, lane);
}

/*
 * What others have leased may come back, so a closed queue ends only when that is dealt with; whoever has leases of its own
 * gets the end at once, to go and deal with them.
 */
int crew__queue_find(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane, struct crew__claim *ret)
{
	for (;;) {
		uint32_t how = closed(queue);
		if (__builtin_expect(how == CREW__AT_ONCE, 0)) {
			drop(queue, ring, lane);
			return CREW_END_OF_DATA;
		}
		if (crew__ring_first_back(ring, ret) == 0)
			return 0;
		int r = crew__ring_first(ring, ret);
		if (r == 0 || (r == -EAGAIN && !how))
			return r;
		if (r == -EAGAIN) /* whoever closed it has not come so far */
			crew__ring_mark_end(ring);
		else if (crew__lease_of(lane, queue))
			return CREW_END_OF_DATA;
		else
			return crew__nodes_in(ring, 1u << CREW__TAKEN | 1u << CREW__BACK) ? -EAGAIN : CREW_END_OF_DATA;
	}
}

int crew__queue_wait_found(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane,
		struct crew__pause *pause, crew_time deadline, struct crew__claim *ret)
{
	for (;;) {
		int r = crew__queue_find(queue, ring, lane, ret);
		if (r != -EAGAIN)
			return r;
		r = crew__queue_pause(pause, lane, ring, &queue->filled_, deadline);
		if (r == 0)
			continue;
		if (pause->reaped || !__atomic_load_n(&ring->leases, __ATOMIC_RELAXED) ||
				!crew__nodes_in(ring, 1u << CREW__TAKEN))
			return r;
		crew__lane_reap_all(); /* a taker may have died with what we wait for, and a poll does not sleep until that is found */
		pause->reaped = true;
	}
}

/* A message inside its node: copied out, and in one step out of the ring and FREE. */
static bool get_inline(struct crew__ring *ring, const struct crew__claim *claim, void *data, size_t size)
{
	uint64_t word[2] = { __atomic_load_n(&claim->node->word[0], __ATOMIC_RELAXED),
		__atomic_load_n(&claim->node->word[1], __ATOMIC_RELAXED) };
	if (!crew__header_move(claim->node, claim->header, 0)) /* (B) */
		return false;
	if (crew__header_state(claim->header) == CREW__QUEUED)
		crew__ring_left(ring, claim->ticket);
	if (data && size == sizeof *word)
		memcpy(data, word, sizeof *word);
	else if (data && size)
		memcpy(data, word, size);
	return true;
}

/* Copy out one message or, of a batch, up to `count` that fit: how many; 0: somebody was quicker. -EMSGSIZE. */
static int get_found(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane, struct crew__claim *claim,
		struct iovec *rooms, unsigned count)
{
	uint64_t size = __atomic_load_n(&claim->node->size, __ATOMIC_RELAXED), bytes = size & CREW__SIZE;
	if (size & CREW__BATCH)
		return crew__queue_claim(ring, lane, claim) ? crew__batch_get(queue, ring, lane, claim, rooms, count) : 0;
	if (bytes > rooms->iov_len) {
		if (crew__header_load(claim->node) != claim->header)
			return 0;
		rooms->iov_len = bytes;
		return -EMSGSIZE;
	}
	if (size <= CREW__INLINE) {
		if (!get_inline(ring, claim, rooms->iov_base, bytes))
			return 0;
	} else {
		if (!crew__queue_claim(ring, lane, claim))
			return 0;
		if (rooms->iov_base && bytes)
			memcpy(rooms->iov_base, crew__node_payload(claim), bytes);
		crew__node_release(ring, lane, claim, CREW__HAND);
	}
	rooms->iov_len = bytes;
	return 1;
}

/* Waits for the first only: how many, CREW_END_OF_DATA in *ret_end, or an error. */
static inline int get(struct crew_queue *queue, struct iovec *rooms, unsigned count, int *ret_end, crew_time deadline)
{
	struct crew__lane *lane;
	struct crew__ring *ring;
	struct crew__pause pause = { 0 };
	struct crew__claim claim;
	unsigned got = 0;
	int r = crew__queue_enter(queue, &lane, &ring);
	if (r < 0)
		return r;
	while (got < count) {
		r = got ? crew__queue_find(queue, ring, lane, &claim) :
			crew__queue_wait_found(queue, ring, lane, &pause, deadline, &claim);
		if (r != 0)
			break;
		r = get_found(queue, ring, lane, &claim, rooms + got, count - got);
		if (r < 0)
			break;
		got += (unsigned)r;
	}
	*ret_end = r == CREW_END_OF_DATA && got == 0;
	if (got) {
		crew__queue_news(lane, &queue->drained_, got);
		crew__queue_gone(queue, ring, lane);
	} else if (r == -EMSGSIZE) { /* somebody else may have the room, and we the wake-up */
		crew__queue_news(lane, &queue->filled_, 1);
	}
	crew__queue_leave(lane);
	return got ? (int)got : r;
}

int crew_queue_get(struct crew_queue *queue, void *data, size_t size, size_t *ret_size, crew_time deadline)
{
	struct iovec room = { data, size };
	int end, r = get(queue, &room, 1, &end, deadline);
	if (ret_size && ((r == 1 && !end) || r == -EMSGSIZE))
		*ret_size = room.iov_len;
	return r < 0 ? r : end ? CREW_END_OF_DATA : 0;
}

int crew_queue_get_many(struct crew_queue *queue, struct iovec *rooms, unsigned count, unsigned *ret_count, crew_time deadline)
{
	if (count == 0)
		return -EINVAL;
	int end, r = get(queue, rooms, count, &end, deadline);
	*ret_count = r < 0 || end ? 0 : (unsigned)r;
	return r < 0 ? r : end ? CREW_END_OF_DATA : 0;
}

/* ---- all of it ---- */

int crew__queue_look(struct crew_queue *queue, struct crew__watch ret[2], unsigned *count)
{
	struct crew__lane *lane;
	struct crew__ring *ring;
	struct crew__claim claim;
	int r = crew__queue_enter(queue, &lane, &ring);
	if (r < 0)
		return r;
	uint32_t seen = crew__bell_look(&queue->filled_);
	r = crew__queue_find(queue, ring, lane, &claim);
	if (r == -EAGAIN) { /* armed before the look that counts */
		seen = crew__bell_arm(&queue->filled_, seen);
		r = crew__queue_find(queue, ring, lane, &claim);
	}
	ret[0] = (struct crew__watch){ &queue->filled_, seen, CREW__WATCH_BELL_ONE };
	*count = 1;
	crew__queue_leave(lane);
	return r == -EAGAIN ? 0 : 1;
}

/* Nothing in the ring, and then nothing that had left it and may come back. */
static bool is_idle(struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane)
{
	struct crew__claim claim;
	if (closed(queue) == CREW__AT_ONCE)
		drop(queue, ring, lane);
	return crew__ring_first(ring, &claim) != 0 && crew__nodes_in(ring, 1u << CREW__TAKEN | 1u << CREW__BACK) == 0;
}

int crew_queue_join(struct crew_queue *queue, crew_time deadline)
{
	struct crew__lane *lane;
	struct crew__ring *ring;
	struct crew__pause pause = { 0 };
	int r = crew__queue_enter(queue, &lane, &ring);
	if (r < 0)
		return r;
	while (r == 0 && !is_idle(queue, ring, lane))
		r = crew__queue_pause(&pause, lane, ring, &queue->idle_, deadline);
	crew__queue_leave(lane);
	return r;
}

int crew_queue_close(struct crew_queue *queue, bool drain)
{
	struct crew__lane *lane;
	struct crew__ring *ring;
	int r = crew__queue_enter(queue, &lane, &ring);
	if (r < 0)
		return r;
	uint32_t wanted = drain ? CREW__DRAIN : CREW__AT_ONCE, was = closed(queue);
	while (was < wanted && !__atomic_compare_exchange_n(&queue->closed_, &was, wanted, false, __ATOMIC_SEQ_CST,
			__ATOMIC_RELAXED))
		;
	crew__ring_mark_end(ring);
	if (!drain)
		drop(queue, ring, lane);
	crew__ring(lane, &queue->filled_, UINT32_MAX);
	crew__ring(lane, &queue->drained_, UINT32_MAX);
	crew__ring(lane, &queue->idle_, UINT32_MAX);
	crew__queue_leave(lane);
	return 0;
}

uint32_t crew_queue_length(const struct crew_queue *queue)
{
	struct crew__ring *ring = crew__check_place(queue, sizeof *queue) < 0 ? NULL : crew__ring_of(queue);
	struct crew__claim back;
	if (!ring || closed(queue) == CREW__AT_ONCE)
		return 0;
	uint32_t length = crew__ring_length(ring);
	return crew__ring_first_back(ring, &back) == 0 ? length + crew__nodes_in(ring, 1u << CREW__BACK) : length;
}

int crew_queue_stats(const struct crew_queue *queue, struct crew_queue_stats *ret)
{
	int r = crew__check_place(queue, sizeof *queue);
	struct crew__ring *ring = r < 0 ? NULL : crew__ring_of(queue);
	*ret = (struct crew_queue_stats){ 0 };
	if (!ring)
		return r;
	struct crew__claim first;
	crew__ring_first(ring, &first);
	ret->taken = first.ticket;
	ret->put = first.ticket + crew__ring_length(ring);
	ret->waiting = crew_queue_length(queue);
	ret->leased = crew__nodes_in(ring, 1u << CREW__TAKEN);
	ret->redelivered = __atomic_load_n(&ring->redelivered, __ATOMIC_RELAXED);
	ret->dead_letters = __atomic_load_n(&ring->dead_letters, __ATOMIC_RELAXED);
	ret->dropped = __atomic_load_n(&ring->dropped, __ATOMIC_RELAXED);
	ret->sleeps = __atomic_load_n(&ring->sleeps, __ATOMIC_RELAXED);
	ret->highest = (uint32_t)__atomic_load_n(&ring->highest, __ATOMIC_RELAXED);
	if (ret->highest < ret->waiting)
		ret->highest = ret->waiting;
	return 0;
}

/* Others that have done what they came for, and still write to the queue: its bells, its hints. */
static void wait_for_others(const struct crew_queue *queue, const struct crew__lane *self)
{
	struct crew__lane *lane;
	for (uint32_t number = 1; (lane = crew__lane_at(number)); number++)
		while (lane != self && __atomic_load_n(&lane->queue, __ATOMIC_SEQ_CST) == crew__offset(queue) &&
				!__atomic_load_n(&lane->asleep_on, __ATOMIC_SEQ_CST) && !crew__lane_reap(crew__lane_id(lane)))
			sched_yield();
}

void crew_queue_fini(struct crew_queue *queue)
{
	struct crew__lane *lane;
	if (crew__lane_for(queue, sizeof *queue, &lane) < 0)
		return;
	wait_for_others(queue, lane);
	struct crew__ring *ring = crew__ring_of(queue);
	struct crew_queue fresh = { .capacity_ = queue->capacity_, .late_ = queue->late_, .most_ = queue->most_, .once_ = queue->once_,
		.cap_ = queue->cap_ };
	if (ring) {
		crew__lease_return_all(queue, ring, lane);
		if (crew__nodes_in(ring, 1u << CREW__TAKEN))
			crew__lane_reap_all(); /* takers that have died unnoticed */
		uint32_t leased = crew__nodes_in(ring, 1u << CREW__TAKEN), nodes = crew__nodes(ring);
		if (leased)
			crew__panic("crew_queue_fini(%p): %u messages are still leased", (void *)queue, leased);
		for (uint32_t i = 0; i < nodes; i++) {
			struct crew__claim claim;
			crew__node_at(ring, i, &claim);
			crew__block_give_up(lane, &claim.kept->block, CREW__HAND);
		}
		for (unsigned i = CREW__ERAS; i-- > 1;)
			crew__block_give_up(lane, &ring->era[i].block, CREW__HAND);
		for (unsigned i = CREW__CHUNKS; i-- > 1;)
			crew__block_give_up(lane, &ring->chunk[i], CREW__HAND);
		crew__set64(lane, &lane->mine[CREW__HAND], ring->block);
		crew__set64(lane, &queue->ring_, 0);
		crew__commit(lane);
		crew__free_mine(lane, CREW__HAND);
	}
	*queue = fresh;
}
