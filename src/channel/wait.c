/*
 * wait.c - wait for the first of several things
 *
 * Each round looks at all items; if none is ready it sleeps on their words (watch.c). Descriptors, and processes by their
 * pidfds, are no words: where there is nothing else poll(2) does it all; among others they share
 * one word, which the poller thread changes (poller.c). Nothing here is shared: the words belong to the items.
 */
#include <crew/counter.h>
#include <crew/event.h>
#include <crew/lock.h>
#include <crew/process.h>
#include <crew/wait.h>
#include "base/sys.h"
#include "channel/poller.h"
#include "channel/tube.h"
#include "channel/watch.h"
#include "sync/section.h"

#define ITEMS 64u

struct wait {
	struct crew_wait_item *items;
	unsigned count;
	struct pollfd fds[ITEMS]; /* the items that are descriptors, in their order */
	unsigned fd_count;
	unsigned shared;          /* items that are something else */
	int set;                  /* of the poller; -1: none yet */
	bool thorough;            /* look for the dead, too */
	crew_time slice;          /* to sleep at a time */
};

/* A process is waited for by its pidfd: that tells of its end whoever reaps it. */
static bool is_descriptor(const struct crew_wait_item *item)
{
	return item->kind == CREW_WAIT_FD || item->kind == CREW_WAIT_PROCESS;
}

/* Count the kinds, refuse what is none. */
static int sort_items(struct wait *wait)
{
	for (unsigned i = 0; i < wait->count; i++) {
		struct crew_wait_item *item = &wait->items[i];
		item->ready = 0;
		if (item->kind == CREW_WAIT_NOTHING)
			continue;
		if (item->kind > CREW_WAIT_FD || (item->kind != CREW_WAIT_FD && !item->object))
			return -EINVAL;
		if (!is_descriptor(item)) {
			wait->shared++;
			continue;
		}
		bool process = item->kind == CREW_WAIT_PROCESS;
		int fd = process ? crew_process_fd(item->object) : item->fd;
		if (fd < 0)
			return -EBADF;
		wait->fds[wait->fd_count++] = (struct pollfd){ .fd = fd, .events = process ? POLLIN : item->events };
	}
	return wait->shared || wait->fd_count ? 0 : -EINVAL;
}

static int look_event(struct crew_event *event, struct crew__watch *ret)
{
	*ret = (struct crew__watch){ &event->word_, __atomic_load_n(&event->word_, __ATOMIC_SEQ_CST), CREW__WATCH_EVENT };
	int r = crew__check_place(event, sizeof *event);
	return r < 0 ? r : (int)(ret->seen & 1);
}

static int look_counter(struct crew_counter *counter, struct crew__watch *ret)
{
	*ret = (struct crew__watch){ &counter->value_, __atomic_load_n(&counter->value_, __ATOMIC_SEQ_CST), CREW__WATCH_COUNTER };
	int r = crew__check_place(counter, sizeof *counter);
	return r < 0 ? r : (ret->seen & 0x7fffffffu) != 0;
}

/* One item that is no descriptor: 1, 0 with watches, or an error. */
static int look(struct wait *wait, const struct crew_wait_item *item, struct crew__watch ret[2], unsigned *count)
{
	*count = 1;
	switch (item->kind) {
	case CREW_WAIT_PIPE_A:
	case CREW_WAIT_PIPE_B:
		return crew__pipe_look(item->object, item->kind == CREW_WAIT_PIPE_A ? CREW_END_A : CREW_END_B, wait->thorough,
			ret, count, &wait->slice);
	case CREW_WAIT_TUBE_WRITER:
	case CREW_WAIT_TUBE_READER:
		return crew__tube_look(item->object, item->kind == CREW_WAIT_TUBE_READER, wait->thorough, ret, count, &wait->slice);
	case CREW_WAIT_QUEUE: return crew__queue_look(item->object, ret, count);
	case CREW_WAIT_EVENT: return look_event(item->object, ret);
	case CREW_WAIT_COUNTER: return look_counter(item->object, ret);
	case CREW_WAIT_NOTHING:
	case CREW_WAIT_PROCESS:
	case CREW_WAIT_FD: break;
	}
	*count = 0;
	return 0;
}

/* poll(2) all descriptors until the deadline and note what is ready: how many, or an error. */
static int look_fds(struct wait *wait, crew_time deadline)
{
	if (!wait->fd_count)
		return 0;
	int r = crew__poll(wait->fds, wait->fd_count, deadline);
	if (r <= 0)
		return r;
	for (unsigned i = 0, fd = 0; i < wait->count; i++) {
		if (!is_descriptor(&wait->items[i]))
			continue;
		short ready = wait->fds[fd++].revents;
		if (ready & POLLNVAL)
			return -EBADF;
		wait->items[i].ready = wait->items[i].kind == CREW_WAIT_PROCESS ? ready != 0 : ready;
	}
	return r;
}

/*
 * One look at everything: how many are ready, 0 with watches, or an error. At most 127 words can be slept on: of 64 pipes
 * all bells are, and the lives of 62 processes behind them; the other two deaths are noticed after CREW_NOTICE.
 */
static int look_all(struct wait *wait, struct crew__watch *watches, unsigned *count)
{
	struct crew__watch more[ITEMS];
	unsigned ready = 0, n = 0, n_more = 0;
	uint32_t poller = __atomic_load_n(crew__poller_word(), __ATOMIC_SEQ_CST);
	wait->slice = CREW__SLICE;
	for (unsigned i = 0; i < wait->count; i++) {
		struct crew__watch pair[2];
		unsigned of_item;
		int r = look(wait, &wait->items[i], pair, &of_item);
		if (r < 0)
			return r;
		wait->items[i].ready = (short)r;
		ready += (unsigned)r;
		if (of_item > 0)
			watches[n++] = pair[0];
		if (of_item > 1)
			more[n_more++] = pair[1];
	}
	int r = look_fds(wait, CREW_POLL);
	if (r < 0)
		return r;
	if (wait->fd_count)
		watches[n++] = (struct crew__watch){ crew__poller_word(), poller, CREW__WATCH_STATE };
	for (unsigned i = 0; i < n_more && n < CREW__WATCHES; i++)
		watches[n++] = more[i];
	*count = n;
	return (int)ready + r;
}

static int wait_shared(struct wait *wait, struct crew__lane *lane, crew_time deadline)
{
	struct crew__watch watches[CREW__WATCHES];
	for (;;) {
		unsigned count;
		int r = look_all(wait, watches, &count);
		if (r != 0)
			return r;
		if (wait->fd_count && deadline > CREW_POLL) {
			if (wait->set < 0)
				r = crew__poller_open(wait->fds, wait->fd_count, &wait->set);
			if (r == 0)
				r = crew__poller_arm(wait->set);
			if (r < 0)
				return r;
		}
		r = crew__watch_wait(lane, watches, count, wait->slice, deadline);
		/* Before it is too late, one look for dead children of CREW_FORK, which only a thorough look sees. */
		if (r < 0 && (wait->thorough || wait->slice == CREW__SLICE))
			return r;
		wait->thorough = r != 0;
	}
}

int crew_wait_any(struct crew_wait_item *items, unsigned count, crew_time deadline)
{
	struct wait wait = { .items = items, .count = count, .set = -1 };
	if (count > ITEMS)
		return -EINVAL;
	int r = sort_items(&wait);
	if (r < 0)
		return r;
	if (!wait.shared) {
		r = look_fds(&wait, deadline);
		return r == 0 ? -ETIMEDOUT : r;
	}
	struct crew__lane *lane;
	r = crew__lane_self(&lane);
	if (r == 0)
		r = wait_shared(&wait, lane, deadline);
	if (wait.set >= 0)
		crew__poller_close(wait.set);
	for (unsigned i = 0; r < 0 && i < count; i++)
		items[i].ready = 0;
	return r;
}
