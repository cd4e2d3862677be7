/*
 * pipe.c - two lists of messages and who is at their ends, under one guard
 *
 * State    way_[e]: messages on their way to end e; its bell rings for all who sleep over it: receivers at e, senders at
 *          the other end. owner_[e]: process at end e, 0: nobody yet. closed_[e]: 1, closed, by its owner or for a dead one.
 * Writers  all words but the bells: inside sections on guard_. owner_ and closed_ change once.
 * Moves    attach: owner 0 -> this process, in the section of its first call. send: hand -> list. receive: list -> hand.
 *          Each takes effect when its section ends.
 * Invariants
 *          1  way.count is the length of the list, way.bytes the sum of its messages with their heads.
 *          2  way.count > 1 implies way.bytes <= limit: a single message of any size always fits.
 * Order    The state of the other process is read inside the section in which the list is found empty. All that process
 *          sent, it sent in sections before its death, and no section runs while we are in ours, so
 *          impossible: to see it dead and to miss its last message.
 * Death    of a sender inside send: whole or not at all, as the section ends or not; its message is in its hand till then.
 *          of a receiver after its section: the message is in its hand: gone with it.
 *          between the commit of a section and its wake-ups: the sweep rings (sync/sweep.c).
 *          of the other process while we sleep: we sleep on the state word of its slot too, which changes when it is reaped.
 *          A child of CREW_FORK is reaped only when its starter gets to it, so there slices are short, and at the
 *          end of each the pidfd tells.
 */
#include <string.h>
#include <crew/lock.h>
#include "base/sys.h"
#include "channel/message.h"
#include "channel/peer.h"
#include "channel/pipe.h"
#include "memory/heap.h"
#include "process/process.h"
#include "sync/section.h"

#define DEFAULT_LIMIT_KIB 1024u

int crew__pipe_begin(struct crew_pipe *pipe, enum crew_pipe_end end, struct crew__lane **ret)
{
	return end != CREW_END_A && end != CREW_END_B ? -EINVAL : crew__lane_for(pipe, sizeof *pipe, ret);
}

/* The end of a section in which an owner has come or gone: all who sleep look again. */
static void leave_and_ring_both(struct crew_pipe *pipe, struct crew__lane *lane)
{
	crew__leave_and_ring_all(lane, &pipe->guard_, (uint32_t *[]){ &pipe->way_[0].bell, &pipe->way_[1].bell }, 2);
}

bool crew__pipe_is_gone(const struct crew_pipe *pipe, unsigned end)
{
	return pipe->closed_[end] || (pipe->owner_[end] && !crew__process_lives(pipe->owner_[end]));
}

int crew__pipe_enter(struct crew_pipe *pipe, enum crew_pipe_end end, uint32_t dead, struct crew__lane *lane)
{
	int r = crew__enter(&lane, &pipe->guard_, CREW_FOREVER);
	if (r == 0 && dead && pipe->owner_[!end] == dead && !pipe->closed_[!end])
		crew__set32(lane, &pipe->closed_[!end], 1);
	return r;
}

/*
 * Enter the section of one call at an end, attaching this process to it if nobody has it. 0, inside; -EPERM, -EPIPE (closed
 * here), outside. If the process at the other end is `dead`, its end is closed for it.
 */
static int enter(struct crew_pipe *pipe, enum crew_pipe_end end, uint32_t dead, struct crew__lane *lane)
{
	for (;;) {
		int r = crew__pipe_enter(pipe, end, dead, lane);
		if (r < 0)
			return r;
		if (pipe->owner_[end] == crew__family.self && !pipe->closed_[end])
			return 0;
		r = pipe->closed_[end] ? -EPIPE : pipe->owner_[end] ? -EPERM : 0;
		if (r < 0) {
			crew__leave(lane, &pipe->guard_);
			return r;
		}
		crew__set32(lane, &pipe->owner_[end], crew__family.self);
		leave_and_ring_both(pipe, lane); /* whoever sleeps at the other end has somebody to watch now */
	}
}

/* What to sleep on: the bell of a way, seen before the look; and the life of the process at the other end. */
static unsigned watch(struct crew_pipe *pipe, unsigned way, uint32_t seen, uint32_t other, struct crew__watch ret[2])
{
	ret[0] = (struct crew__watch){ &pipe->way_[way].bell, seen, CREW__WATCH_BELL };
	return 1 + crew__peer_watch(other, &ret[1]);
}

int crew__pipe_wait(struct crew_pipe *pipe, struct crew__lane *lane, unsigned way, uint32_t seen, uint32_t other,
		crew_time deadline, uint32_t *dead)
{
	struct crew__watch watches[2];
	return crew__peer_wait(lane, watches, watch(pipe, way, seen, other, watches), other, deadline, dead);
}

/* Take the first message of a way into the hand. Inside a section. */
static void shift(struct crew__lane *lane, struct crew_pipe *pipe, unsigned end)
{
	struct crew_way_ *way = &pipe->way_[end];
	crew__list_shift_mine(lane, &way->first, &way->last);
	struct crew__message *message = crew__at(lane->mine[CREW__HAND]);
	crew__set64(lane, &way->bytes, way->bytes - sizeof *message - message->size);
	crew__set32(lane, &way->count, way->count - 1);
	crew__set32(lane, &pipe->removed_[end], pipe->removed_[end] + 1);
}

/* Free what is on its way to an end, one section a message. */
static void drop(struct crew_pipe *pipe, unsigned end, struct crew__lane *lane)
{
	while (crew__enter(&lane, &pipe->guard_, CREW_FOREVER) == 0) {
		bool any = pipe->way_[end].first;
		if (any)
			shift(lane, pipe, end);
		crew__leave(lane, &pipe->guard_);
		if (!any)
			return;
		crew__free_mine(lane, CREW__HAND);
	}
}

int crew__pipe_send_mine(struct crew_pipe *pipe, enum crew_pipe_end end, struct crew__lane *lane, crew_time deadline,
		struct crew__pipe_place *ret)
{
	struct crew_way_ *way = &pipe->way_[!end];
	uint64_t limit = (uint64_t)(pipe->limit_kib_ ? pipe->limit_kib_ : DEFAULT_LIMIT_KIB) << 10;
	struct crew__message *message = crew__at(lane->mine[CREW__HAND]);
	uint64_t bytes = sizeof *message + message->size;
	for (uint32_t dead = 0;;) {
		uint32_t seen = crew__bell_look(&way->bell);
		int r = enter(pipe, end, dead, lane);
		if (r < 0)
			return r;
		bool room = way->count == 0 || way->bytes + bytes <= limit;
		uint32_t other = pipe->owner_[!end];
		if (crew__pipe_is_gone(pipe, !end)) {
			r = -EPIPE;
		} else if (room) {
			*ret = (struct crew__pipe_place){ way->count, pipe->removed_[!end] };
			crew__list_append_mine(lane, &way->first, &way->last);
			crew__set64(lane, &way->bytes, way->bytes + bytes);
			crew__set32(lane, &way->count, way->count + 1);
		}
		if (r == 0 && room) {
			crew__leave_and_ring(lane, &pipe->guard_, &way->bell, UINT32_MAX);
			return 0;
		}
		crew__leave(lane, &pipe->guard_);
		if (r < 0)
			return r;
		r = crew__pipe_wait(pipe, lane, !end, seen, other, deadline, &dead);
		if (r < 0)
			return r;
	}
}

int crew_pipe_send(struct crew_pipe *pipe, enum crew_pipe_end end, const void *data, size_t size, crew_time deadline)
{
	struct crew__lane *lane;
	int r = crew__pipe_begin(pipe, end, &lane);
	if (r < 0)
		return r;
	r = crew__message_make(lane, data, size);
	if (r == 0)
		r = crew__pipe_send_mine(pipe, end, lane, deadline, &(struct crew__pipe_place){ 0 });
	crew__free_mine(lane, CREW__HAND);
	return r;
}

/* Wait for a message and enter the section: 0, inside. Otherwise outside: CREW_END_OF_DATA, -ETIMEDOUT, ... */
static int enter_filled(struct crew_pipe *pipe, enum crew_pipe_end end, struct crew__lane *lane, crew_time deadline)
{
	struct crew_way_ *way = &pipe->way_[end];
	for (uint32_t dead = 0;;) {
		uint32_t seen = crew__bell_look(&way->bell);
		int r = enter(pipe, end, dead, lane);
		if (r < 0 || way->first)
			return r;
		bool gone = crew__pipe_is_gone(pipe, !end);
		uint32_t other = pipe->owner_[!end];
		crew__leave(lane, &pipe->guard_);
		if (gone)
			return CREW_END_OF_DATA;
		r = crew__pipe_wait(pipe, lane, end, seen, other, deadline, &dead);
		if (r < 0)
			return r;
	}
}

/* What is wanted with a message that comes with a descriptor. */
enum with { REFUSE, LEAVE_BEHIND, FETCH };

/* What a message means for a receiver with so much room: 0, and *ret_fd is its descriptor here, or -1. Inside a section. */
static int look_at(const struct crew__message *message, size_t size, enum with with, int *ret_fd)
{
	if (message->size > size)
		return -EMSGSIZE;
	if (!message->descriptor || with == LEAVE_BEHIND)
		return 0;
	if (with == REFUSE)
		return -ENOMSG;
	int r = crew__process_take_fd((uint32_t)(message->sender >> 32), (int)message->descriptor - 1);
	if (r >= 0)
		*ret_fd = r;
	return r < 0 ? r : 0;
}

static int receive(struct crew_pipe *pipe, enum crew_pipe_end end, enum with with, int *ret_fd, void *data, size_t size,
		size_t *ret_size, crew_time deadline)
{
	struct crew__lane *lane;
	struct crew_way_ *way = &pipe->way_[end];
	int r = crew__pipe_begin(pipe, end, &lane);
	*ret_fd = -1;
	if (r < 0)
		return r;
	for (crew_time patience = 0;;) {
		r = enter_filled(pipe, end, lane, deadline);
		if (r != 0)
			return r;
		const struct crew__message *message = crew__at(way->first);
		uint64_t sender = message->descriptor ? message->sender : 0;
		uint32_t seen = crew__bell_look(&way->bell), other = pipe->owner_[!end];
		size_t needed = message->size;
		r = look_at(message, size, with, ret_fd);
		if (r == 0)
			break;
		crew__leave(lane, &pipe->guard_);
		if (sender && crew__pipe_withdraw_dead(pipe, end, lane, sender))
			continue;
		crew_time now = crew_now();
		if (patience == 0)
			patience = deadline < now + CREW_NOTICE ? deadline : now + CREW_NOTICE;
		if (r != -EBADF || now >= patience) {
			if (ret_size)
				*ret_size = needed;
			return r;
		}
		(void)crew__pipe_wait(pipe, lane, end, seen, other, patience, &(uint32_t){ 0 }); /* it may be about to die */
	}
	if (ret_size)
		*ret_size = ((const struct crew__message *)crew__at(way->first))->size;
	shift(lane, pipe, end);
	crew__leave_and_ring(lane, &pipe->guard_, &way->bell, UINT32_MAX);
	crew__message_consume(lane, data);
	return 0;
}

int crew_pipe_receive(struct crew_pipe *pipe, enum crew_pipe_end end, void *data, size_t size, size_t *ret_size,
		crew_time deadline)
{
	return receive(pipe, end, REFUSE, &(int){ -1 }, data, size, ret_size, deadline);
}

int crew_pipe_receive_fd(struct crew_pipe *pipe, enum crew_pipe_end end, int *ret_fd, void *data, size_t size,
		size_t *ret_size, crew_time deadline)
{
	return receive(pipe, end, ret_fd ? FETCH : LEAVE_BEHIND, ret_fd ? ret_fd : &(int){ -1 }, data, size, ret_size, deadline);
}

int crew_pipe_poll(struct crew_pipe *pipe, enum crew_pipe_end end, crew_time deadline)
{
	struct crew__lane *lane;
	int r = crew__pipe_begin(pipe, end, &lane);
	if (r < 0)
		return r;
	r = enter_filled(pipe, end, lane, deadline);
	if (r == 0)
		crew__leave(lane, &pipe->guard_);
	return r == CREW_END_OF_DATA ? 0 : r;
}

int crew__pipe_look(struct crew_pipe *pipe, enum crew_pipe_end end, bool thorough, struct crew__watch ret[2],
		unsigned *count, crew_time *slice)
{
	struct crew__lane *lane;
	int r = crew__lane_for(pipe, sizeof *pipe, &lane);
	if (r < 0)
		return r;
	struct crew_way_ *way = &pipe->way_[end];
	uint32_t seen = crew__bell_look(&way->bell);
	r = enter(pipe, end, 0, lane);
	if (r < 0)
		return r;
	bool ready = way->first || crew__pipe_is_gone(pipe, !end);
	uint32_t other = pipe->owner_[!end];
	crew__leave(lane, &pipe->guard_);
	if (!ready && *slice > crew__peer_slice(other))
		*slice = crew__peer_slice(other);
	if (!ready && other && thorough)
		ready = crew__process_ended(other);
	*count = watch(pipe, end, seen, other, ret);
	return ready;
}

int crew_pipe_give(struct crew_pipe *pipe, enum crew_pipe_end end, const struct crew_process *process)
{
	struct crew__lane *lane;
	int r = crew__pipe_begin(pipe, end, &lane);
	if (r < 0)
		return r;
	uint32_t id = crew__process_id(process);
	r = crew__enter(&lane, &pipe->guard_, CREW_FOREVER);
	if (r < 0)
		return r;
	uint32_t owner = pipe->owner_[end];
	if (pipe->closed_[end])
		r = -EPIPE;
	else if (owner && owner != crew__family.self && owner != id)
		r = -EPERM;
	else
		crew__set32(lane, &pipe->owner_[end], id);
	leave_and_ring_both(pipe, lane);
	return r;
}

int crew_pipe_close(struct crew_pipe *pipe, enum crew_pipe_end end)
{
	struct crew__lane *lane;
	int r = crew__pipe_begin(pipe, end, &lane);
	if (r < 0)
		return r;
	r = crew__enter(&lane, &pipe->guard_, CREW_FOREVER);
	if (r < 0)
		return r;
	if (pipe->owner_[end] && pipe->owner_[end] != crew__family.self)
		r = -EPERM;
	else
		crew__set32(lane, &pipe->closed_[end], 1);
	leave_and_ring_both(pipe, lane);
	return r;
}

void crew_pipe_fini(struct crew_pipe *pipe)
{
	struct crew__lane *lane;
	if (crew__pipe_begin(pipe, CREW_END_A, &lane) < 0)
		return;
	drop(pipe, CREW_END_A, lane);
	drop(pipe, CREW_END_B, lane);
	uint32_t limit = pipe->limit_kib_;
	memset(pipe, 0, sizeof *pipe);
	pipe->limit_kib_ = limit;
}
