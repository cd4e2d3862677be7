/*
 * sweep.c - the mark of what a lane works on, and this layer's part of a sweep
 *
 * State    lane->channel: offset of a queue or pipe (8-aligned), its kind in bit 0; 0: none.
 * Writers  its thread; after its death the sweeper.
 * Death    the sweep wakes all who sleep on that object's bells, without changing them: whoever wakes looks again. The
 *          object may be freed by then, so nothing there is written.
 */
#include <crew/pipe.h>
#include "base/sys.h"
#include "channel/channel.h"
#include "channel/poller.h"
#include "channel/queue.h"

void crew__channel_begin(struct crew__lane *lane, const void *object, enum crew__channel_kind kind)
{
	__atomic_store_n(&lane->channel, crew__offset(object) | kind, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

void crew__channel_end(struct crew__lane *lane)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&lane->channel, 0, __ATOMIC_RELAXED);
}

static void wake_all(uint64_t channel)
{
	void *object = crew__at(channel & ~UINT64_C(1));
	if ((channel & 1) == CREW__CHANNEL_PIPE) {
		struct crew_pipe *pipe = object;
		crew__futex_wake(&pipe->way_[0].bell, UINT32_MAX);
		crew__futex_wake(&pipe->way_[1].bell, UINT32_MAX);
	} else {
		struct crew_queue *queue = object;
		crew__futex_wake(&queue->filled_, UINT32_MAX);
		crew__futex_wake(&queue->drained_, UINT32_MAX);
		crew__futex_wake(&queue->idle_, UINT32_MAX);
	}
}

static void sweep(struct crew__lane *dead, uint32_t id, bool clean)
{
	(void)id;
	(void)clean; /* leases go back also when their taker has ended in good order */
	if (dead->channel)
		wake_all(dead->channel);
	dead->channel = 0;
	crew__leases_sweep(dead);
}

int crew__channel_init(void)
{
	crew__sweep_register(sweep);
	crew__at_fork(crew__poller_forget);
	return 0;
}

void crew__channel_fini(void)
{
	crew__poller_stop();
}
