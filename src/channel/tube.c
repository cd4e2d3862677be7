/*
 * tube.c - a ring of bytes, one writer, one reader; one store each way
 *
 * State    head_ <= tail_ <= head_ + size: bytes read and written so far; what is between them is in the ring.
 *          process_[e], lane_[e]: whose end e is. bell_[e]: armed while that thread sleeps, or is about to.
 * Writers  tail_, head_seen_: the writer. head_, tail_seen_: the reader. bell_[e]: the thread at e arms it, the other one
 *          rings it. All else: in sections on guard_.
 * Moves    write: bytes into free room, then tail_ (A): a piece is there for the reader, whole. read: bytes out, then head_ (B).
 *          Then the other one is woken if its bell is armed.
 * Order    The sleeper (1) arms its bell, (2) membarrier, (3) looks at tail_ (or head_), (4) sleeps on the bell. The other (A)
 *          stores tail_, (C) looks at the bell, with nothing but program order in between: the membarrier is a fence in
 *          all processes that have joined, so (3) sees (A), or (C) sees (1). impossible: asleep, with data and no ring.
 *          Where the kernel refuses it, sleeps are short instead.
 *          Gone is decided before data is looked at once more: all that the dead wrote, it wrote before.
 * Death    of the writer before (A): nothing of that piece is there. Between (A) and (C): the reader watches its life, too.
 *          while attaching: undone, the ring is freed from its hand.
 * Source   Lamport's queue (1983), with each side's own copy of the other's index, as in FastForward and its successors.
 */
#include <string.h>
#include <crew/lock.h>
#include <crew/tube.h>
#include "base/sys.h"
#include "channel/peer.h"
#include "channel/tube.h"
#include "memory/heap.h"
#include "process/process.h"

enum { W = CREW_TUBE_WRITER, R = CREW_TUBE_READER, HAND_RING = 0 };
#define DEFAULT_KIB 64u
#define MOST_KIB (UINT32_C(1) << 20)
#define NO_BARRIER_SLICE CREW_MILLISECOND
#define NO_BARRIER 1u /* in spare_: the membarrier is refused to one of the two */

static uint64_t load(const uint64_t *index)
{
	return __atomic_load_n(index, __ATOMIC_ACQUIRE);
}

static inline bool is_closed(const struct crew_tube *tube, unsigned end)
{
	return __atomic_load_n(&tube->closed_[end], __ATOMIC_ACQUIRE);
}

static void leave_and_ring_both(struct crew_tube *tube, struct crew__lane *lane)
{
	crew__leave_and_ring_all(lane, &tube->guard_, (uint32_t *[]){ &tube->bell_[W], &tube->bell_[R] }, 2);
}

/* The ring of a fresh tube, in the hand; 0 also if there is one. */
static int make_ring(struct crew_tube *tube, struct crew__lane *lane, uint64_t *ret_size)
{
	void *block;
	uint32_t kib = tube->size_kib_ ? tube->size_kib_ : DEFAULT_KIB;
	*ret_size = (uint64_t)kib << 10;
	if ((kib & (kib - 1)) || kib > MOST_KIB)
		return -EINVAL;
	return __atomic_load_n(&tube->ring_, __ATOMIC_ACQUIRE) ? 0 : crew__alloc_mine(lane, HAND_RING, *ret_size, &block);
}

/* Make an end this thread's, if it is nobody's. */
static int attach(struct crew_tube *tube, unsigned end, struct crew__lane *lane)
{
	uint64_t size;
	int r = make_ring(tube, lane, &size);
	if (r < 0)
		return r;
	bool refused = crew__membarrier(true) < 0;
	r = crew__enter(&lane, &tube->guard_, CREW_FOREVER);
	if (r == 0) {
		uint32_t process = tube->process_[end];
		r = tube->closed_[end] ? -EPIPE : tube->lane_[end] || (process && process != crew__family.self) ? -EPERM : 0;
		if (r == 0) {
			if (!tube->ring_) {
				crew__set64(lane, &tube->ring_, lane->mine[HAND_RING]);
				crew__set64(lane, &tube->mask_, size - 1);
				crew__set64(lane, &lane->mine[HAND_RING], 0);
			}
			if (refused)
				crew__set64(lane, &tube->spare_, NO_BARRIER);
			crew__set32(lane, &tube->process_[end], crew__family.self);
			crew__set32(lane, &tube->lane_[end], crew__lane_id(lane));
		}
		leave_and_ring_both(tube, lane); /* whoever sleeps at the other end has somebody to watch now */
	}
	crew__free_mine(lane, HAND_RING);
	return r;
}

/* How every call at an end begins. */
static inline int begin(struct crew_tube *tube, unsigned end, struct crew__lane **ret)
{
	int r = crew__lane_for(tube, sizeof *tube, ret);
	if (__builtin_expect(r == 0 && __atomic_load_n(&tube->lane_[end], __ATOMIC_RELAXED) == crew__lane_id(*ret), 1))
		return 0;
	return r < 0 ? r : attach(tube, end, *ret);
}

static char *ring_of(const struct crew_tube *tube)
{
	return crew__at(tube->ring_);
}

/* Bytes that this end can write, or read, now. At least `least`, or as of this moment. */
static inline uint64_t available(struct crew_tube *tube, unsigned end, uint64_t least)
{
	if (end == W) {
		uint64_t tail = tube->tail_, size = tube->mask_ + 1;
		if (size - (tail - tube->head_seen_) < least)
			tube->head_seen_ = load(&tube->head_);
		return size - (tail - tube->head_seen_);
	}
	if (tube->tail_seen_ - tube->head_ < least)
		tube->tail_seen_ = load(&tube->tail_);
	return tube->tail_seen_ - tube->head_;
}

/* (C) */
static inline void wake(struct crew_tube *tube, unsigned end, struct crew__lane *lane)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (__builtin_expect(__atomic_load_n(&tube->bell_[end], __ATOMIC_RELAXED) & CREW__ARMED, 0))
		crew__ring(lane, &tube->bell_[end], UINT32_MAX);
}

static inline void publish(struct crew_tube *tube, unsigned end, uint64_t size, struct crew__lane *lane)
{
	uint64_t *index = end == W ? &tube->tail_ : &tube->head_;
	__atomic_store_n(index, *index + size, __ATOMIC_RELEASE); /* (A), (B) */
	wake(tube, !end, lane);
}

/* Whether nobody is at an end any more. `dead`: its process, if that is known to have ended. */
static bool is_gone(struct crew_tube *tube, unsigned end, uint32_t dead)
{
	uint32_t process = __atomic_load_n(&tube->process_[end], __ATOMIC_ACQUIRE), of = __atomic_load_n(&tube->lane_[end], __ATOMIC_ACQUIRE);
	if (is_closed(tube, end))
		return true;
	return (process && (process == dead || !crew__process_lives(process))) || (of && crew__lane_reap(of));
}

/* Make sure that the next change rings, to sleep, then look: whether there is enough, or nobody left. `seen` is for the sleep. */
static bool look(struct crew_tube *tube, unsigned end, uint64_t least, bool sleep, uint32_t dead, uint32_t *seen, bool *gone,
		bool *safe)
{
	*safe = true;
	*seen = crew__bell_look(&tube->bell_[end]);
	if (sleep) {
		*seen = crew__bell_arm(&tube->bell_[end], *seen); /* (1) */
		*safe = crew__membarrier(false) == 0 && !__atomic_load_n(&tube->spare_, __ATOMIC_RELAXED); /* (2) */
	}
	*gone = is_gone(tube, !end, dead);
	return available(tube, end, least) >= least || *gone; /* (3) */
}

/* Wait until this end can write, or read, so many bytes: 0; CREW_END_OF_DATA or -EPIPE: it never will; -ETIMEDOUT. */
static int wait_for(struct crew_tube *tube, unsigned end, uint64_t least, struct crew__lane *lane, crew_time deadline)
{
	for (uint32_t dead = 0;;) {
		uint32_t seen;
		bool gone, safe;
		for (unsigned turn = 0; deadline > CREW_POLL && crew__spin(turn); turn++)
			if (available(tube, end, least) >= least)
				return 0;
		if (look(tube, end, least, deadline > CREW_POLL, dead, &seen, &gone, &safe)) {
			if (available(tube, end, least) >= least && (end == R || !gone))
				return 0;
			return end == R ? CREW_END_OF_DATA : -EPIPE;
		}
		uint32_t other = __atomic_load_n(&tube->process_[!end], __ATOMIC_ACQUIRE);
		struct crew__watch watches[2] = { { &tube->bell_[end], seen, CREW__WATCH_BELL } };
		unsigned count = 1 + crew__peer_watch(other, &watches[1]);
		crew_time until = safe || deadline <= CREW_POLL ? deadline : crew_after(NO_BARRIER_SLICE);
		int r = crew__peer_wait(lane, watches, count, other, until < deadline ? until : deadline, &dead);
		if (r < 0 && (r != -ETIMEDOUT || until >= deadline || crew_now() >= deadline))
			return r;
	}
}

static inline void copy_in(struct crew_tube *tube, const char *data, uint64_t size)
{
	uint64_t at = tube->tail_ & tube->mask_, first = tube->mask_ + 1 - at;
	char *ring = ring_of(tube);
	if (__builtin_expect(size == 8 && first >= 8, 1)) {
		memcpy(ring + at, data, 8);
		return;
	}
	if (first > size)
		first = size;
	memcpy(ring + at, data, first);
	memcpy(ring, data + first, size - first);
}

static inline void copy_out(struct crew_tube *tube, char *data, uint64_t size)
{
	uint64_t at = tube->head_ & tube->mask_, first = tube->mask_ + 1 - at;
	const char *ring = ring_of(tube);
	if (__builtin_expect(size == 8 && first >= 8, 1)) {
		memcpy(data, ring + at, 8);
		return;
	}
	if (first > size)
		first = size;
	memcpy(data, ring + at, first);
	memcpy(data + first, ring, size - first);
}

int crew_tube_write(struct crew_tube *tube, const void *data, size_t size, size_t *ret, crew_time deadline)
{
	struct crew__lane *lane;
	size_t done = 0;
	int r = begin(tube, W, &lane);
	while (r == 0 && done < size) {
		uint64_t half = (tube->mask_ + 1) / 2, piece = size - done < half ? size - done : half;
		if (__builtin_expect(is_closed(tube, R), 0))
			r = -EPIPE;
		else if (__builtin_expect(available(tube, W, piece) < piece, 0))
			r = wait_for(tube, W, piece, lane, deadline);
		if (r < 0)
			break;
		copy_in(tube, (const char *)data + done, piece);
		publish(tube, W, piece, lane);
		done += piece;
	}
	if (ret)
		*ret = done;
	return r;
}

int crew_tube_read(struct crew_tube *tube, void *data, size_t capacity, size_t *ret, crew_time deadline)
{
	struct crew__lane *lane;
	*ret = 0;
	int r = begin(tube, R, &lane);
	if (r == 0 && capacity > 0 && available(tube, R, 1) < 1)
		r = wait_for(tube, R, 1, lane, deadline);
	if (r != 0 || capacity == 0)
		return r;
	uint64_t size = available(tube, R, capacity);
	if (size > capacity)
		size = capacity;
	copy_out(tube, data, size);
	publish(tube, R, size, lane);
	*ret = size;
	return 0;
}

int crew_tube_read_all(struct crew_tube *tube, void *data, size_t size, size_t *ret, crew_time deadline)
{
	struct crew__lane *lane;
	size_t done = 0;
	int r = begin(tube, R, &lane);
	while (r == 0 && done < size) {
		uint64_t there = available(tube, R, size - done);
		if (__builtin_expect(there == 0, 0)) {
			r = wait_for(tube, R, 1, lane, deadline);
			continue;
		}
		if (there > size - done)
			there = size - done;
		copy_out(tube, (char *)data + done, there);
		publish(tube, R, there, lane);
		done += there;
	}
	if (ret)
		*ret = done;
	return r;
}

/* What an end has in one piece, at least a byte. */
static int in_place(struct crew_tube *tube, unsigned end, void **ret, size_t *ret_size, crew_time deadline)
{
	struct crew__lane *lane;
	int r = begin(tube, end, &lane);
	if (r == 0 && available(tube, end, 1) < 1)
		r = wait_for(tube, end, 1, lane, deadline);
	else if (r == 0 && end == W && is_closed(tube, R))
		r = -EPIPE;
	if (r != 0)
		return r;
	uint64_t at = (end == W ? tube->tail_ : tube->head_) & tube->mask_;
	uint64_t size = available(tube, end, UINT64_MAX), piece = tube->mask_ + 1 - at;
	*ret = ring_of(tube) + at;
	*ret_size = size < piece ? size : piece;
	return 0;
}

static int move_on(struct crew_tube *tube, unsigned end, size_t size)
{
	struct crew__lane *lane;
	int r = begin(tube, end, &lane);
	if (r == 0 && size > available(tube, end, size))
		r = -EINVAL;
	if (r == 0 && size)
		publish(tube, end, size, lane);
	return r;
}

int crew_tube_reserve(struct crew_tube *tube, void **ret, size_t *ret_size, crew_time deadline)
{
	return in_place(tube, W, ret, ret_size, deadline);
}

int crew_tube_commit(struct crew_tube *tube, size_t size)
{
	return move_on(tube, W, size);
}

int crew_tube_peek(struct crew_tube *tube, const void **ret, size_t *ret_size, crew_time deadline)
{
	void *at;
	int r = in_place(tube, R, &at, ret_size, deadline);
	if (r == 0)
		*ret = at;
	return r;
}

int crew_tube_consume(struct crew_tube *tube, size_t size)
{
	return move_on(tube, R, size);
}

int crew_tube_poll(struct crew_tube *tube, enum crew_tube_end end, crew_time deadline)
{
	struct crew__lane *lane;
	if (end != CREW_TUBE_WRITER && end != CREW_TUBE_READER)
		return -EINVAL;
	int r = begin(tube, end, &lane);
	if (r == 0 && available(tube, end, 1) < 1)
		r = wait_for(tube, end, 1, lane, deadline);
	return r == CREW_END_OF_DATA || (r == -EPIPE && !is_closed(tube, end)) ? 0 : r;
}

int crew__tube_look(struct crew_tube *tube, unsigned end, bool thorough, struct crew__watch ret[2], unsigned *count,
		crew_time *slice)
{
	struct crew__lane *lane;
	uint32_t seen;
	bool gone, safe;
	int r = begin(tube, end, &lane);
	if (r < 0)
		return r;
	if (available(tube, end, 1) >= 1 || look(tube, end, 1, true, 0, &seen, &gone, &safe))
		return 1;
	uint32_t other = __atomic_load_n(&tube->process_[!end], __ATOMIC_ACQUIRE);
	crew_time most = safe ? crew__peer_slice(other) : NO_BARRIER_SLICE;
	if (*slice > most)
		*slice = most;
	ret[0] = (struct crew__watch){ &tube->bell_[end], seen, CREW__WATCH_BELL };
	*count = 1 + crew__peer_watch(other, &ret[1]);
	return thorough && other && crew__process_ended(other);
}

/* Enter the section of a call that only the holder's process, or anybody while there is none, or it is `also`, may make. 0, inside. */
static int enter_as_owner(struct crew_tube *tube, unsigned end, uint32_t also, struct crew__lane **ret)
{
	if (end > R)
		return -EINVAL;
	int r = crew__lane_for(tube, sizeof *tube, ret);
	if (r == 0)
		r = crew__enter(ret, &tube->guard_, CREW_FOREVER);
	uint32_t process = r == 0 ? tube->process_[end] : 0;
	if (process && process != crew__family.self && process != also) {
		crew__leave(*ret, &tube->guard_);
		r = -EPERM;
	}
	return r;
}

int crew_tube_give(struct crew_tube *tube, enum crew_tube_end end, const struct crew_process *process)
{
	struct crew__lane *lane;
	uint32_t id = process ? crew__process_id(process) : 0;
	int r = enter_as_owner(tube, end, id, &lane);
	if (r < 0)
		return r;
	if (tube->closed_[end]) {
		r = -EPIPE;
	} else if (id && tube->process_[end] == id) {
		r = 0; /* it was quicker, and has it */
	} else if (tube->lane_[end] && tube->lane_[end] != crew__lane_id(lane)) {
		r = -EPERM;
	} else {
		crew__set32(lane, &tube->process_[end], id);
		crew__set32(lane, &tube->lane_[end], 0);
	}
	leave_and_ring_both(tube, lane);
	return r;
}

int crew_tube_close(struct crew_tube *tube, enum crew_tube_end end)
{
	struct crew__lane *lane;
	int r = enter_as_owner(tube, end, 0, &lane);
	if (r < 0)
		return r;
	crew__set32(lane, &tube->closed_[end], 1);
	crew__set32(lane, &tube->lane_[end], 0); /* so that the next call here asks */
	leave_and_ring_both(tube, lane);
	return 0;
}

void crew_tube_fini(struct crew_tube *tube)
{
	struct crew__lane *lane;
	if (crew__lane_for(tube, sizeof *tube, &lane) < 0 || crew__enter(&lane, &tube->guard_, CREW_FOREVER) < 0)
		return;
	crew__set64(lane, &lane->mine[HAND_RING], tube->ring_);
	crew__set64(lane, &tube->ring_, 0);
	crew__leave(lane, &tube->guard_);
	crew__free_mine(lane, HAND_RING);
	uint32_t size = tube->size_kib_;
	memset(tube, 0, sizeof *tube);
	tube->size_kib_ = size;
}
