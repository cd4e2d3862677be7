/*
 * pipe_descriptor.c - descriptors that go with messages
 *
 * Idea     The sender keeps the descriptor open and waits until its message is taken. The receiver fetches it from the sender's process
 *          (pidfd_getfd(2)) inside the section that takes the message, so nowhere in between is a descriptor that nobody has.
 * State    message.descriptor, message.sender. A thread waits for one message at a time, so its lane id names the message.
 * Death    of the receiver in that section: the message is back in its list; what was fetched is gone with its process.
 *          of the receiver after it: as with any message, the sender has been told that it was taken.
 *          of the sender while the message is in the list: it is fetched as long as the process still has it; after that whoever comes
 *          to the message takes it out (crew__pipe_withdraw_dead). Lanes are marked dead before descriptors are closed
 *          (do_exit), but those of a process not all at once: so who finds a descriptor gone and the sender's lane alive looks again
 *          for CREW_NOTICE before it says -EBADF (receive in pipe.c).
 */
#include <fcntl.h>
#include "channel/pipe.h"
#include "memory/heap.h"

struct crew__message *crew__pipe_find(const struct crew_way_ *way, uint64_t sender, struct crew__message **ret_before)
{
	*ret_before = NULL;
	for (uint64_t at = way->first; at; at = (*ret_before)->next) {
		struct crew__message *message = crew__at(at);
		if (message->descriptor && message->sender == sender)
			return message;
		*ret_before = message;
	}
	return NULL;
}

void crew__pipe_remove(struct crew_pipe *pipe, unsigned end, struct crew__lane *lane, struct crew__message *message,
		struct crew__message *before)
{
	struct crew_way_ *way = &pipe->way_[end];
	crew__set64(lane, before ? &before->next : &way->first, message->next);
	if (!message->next)
		crew__set64(lane, &way->last, before ? crew__offset(before) : 0);
	crew__set64(lane, &way->bytes, way->bytes - sizeof *message - message->size);
	crew__set32(lane, &way->count, way->count - 1);
	crew__set32(lane, &pipe->removed_[end], pipe->removed_[end] + 1);
	crew__set64(lane, &lane->mine[CREW__HAND], crew__offset(message));
	crew__leave_and_ring(lane, &pipe->guard_, &way->bell, UINT32_MAX);
	crew__free_mine(lane, CREW__HAND);
}

bool crew__pipe_withdraw_dead(struct crew_pipe *pipe, unsigned end, struct crew__lane *lane, uint64_t sender)
{
	if (!crew__lane_reap((uint32_t)sender) || crew__enter(&lane, &pipe->guard_, CREW_FOREVER) < 0)
		return false;
	struct crew__message *before, *message = crew__pipe_find(&pipe->way_[end], sender, &before);
	if (message)
		crew__pipe_remove(pipe, end, lane, message, before);
	else
		crew__leave(lane, &pipe->guard_);
	return true;
}

/* Wait until the message has left its way. Otherwise it is withdrawn. */
static int await_taken(struct crew_pipe *pipe, enum crew_pipe_end end, struct crew__lane *lane, uint64_t sender,
		struct crew__pipe_place place, crew_time deadline)
{
	struct crew_way_ *way = &pipe->way_[!end];
	int wrong = 0;
	for (uint32_t dead = 0;;) {
		uint32_t seen = crew__bell_look(&way->bell);
		int r = crew__pipe_enter(pipe, end, dead, lane);
		if (r < 0)
			return r;
		if (wrong == 0 && crew__pipe_is_gone(pipe, !end))
			wrong = -EPIPE;
		/* Those before it leave first, so as long as no more than they have left there is no need to search. */
		bool there = pipe->removed_[!end] - place.removed <= place.before;
		struct crew__message *before, *message = NULL;
		if (!there || wrong < 0)
			message = crew__pipe_find(way, sender, &before);
		if (message && wrong < 0) {
			crew__pipe_remove(pipe, !end, lane, message, before);
			return wrong;
		}
		uint32_t other = pipe->owner_[!end];
		crew__leave(lane, &pipe->guard_);
		if (!there && !message)
			return 0;
		r = crew__pipe_wait(pipe, lane, !end, seen, other, deadline, &dead);
		if (r < 0)
			wrong = r;
	}
}

int crew_pipe_send_fd(struct crew_pipe *pipe, enum crew_pipe_end end, int fd, const void *data, size_t size,
		crew_time deadline)
{
	struct crew__lane *lane;
	struct crew__pipe_place place;
	int r = crew__pipe_begin(pipe, end, &lane);
	if (r < 0)
		return r;
	if (fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	r = crew__message_make(lane, data, size);
	if (r < 0)
		return r;
	uint64_t sender = (uint64_t)crew__family.self << 32 | crew__lane_id(lane);
	struct crew__message *message = crew__at(lane->mine[CREW__HAND]);
	message->sender = sender;
	message->descriptor = (uint64_t)fd + 1;
	r = crew__pipe_send_mine(pipe, end, lane, deadline, &place);
	crew__free_mine(lane, CREW__HAND);
	return r < 0 ? r : await_taken(pipe, end, lane, sender, place, deadline);
}
