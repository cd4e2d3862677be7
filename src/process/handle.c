/*
 * handle.c - the starter's side of a process that runs: join, status, signal, close
 *
 * A joiner sleeps on the slot's state for a moment, then on the pidfd. The pidfd tells that the process has ended;
 * the slot, how. If the slot still says RUNNING after that, its reaper is about to change it, unless both helpers
 * were killed: then the pid is free already (a reaper writes ENDED first), or the parent of the zombie is
 * none of the family. In that case nobody will ever tell: CREW_ENDED_UNKNOWN.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "process/internal.h"
#include "process/process.h"

#define REAPER_TIME CREW_SECOND /* longer than a reaper ever takes that runs */

/* Its slot; NULL once the family is over. */
static struct crew__slot *slot_of(const struct crew_process *process)
{
	return process->family == crew__families ? crew__slot_get(process->id) : NULL;
}

static void tell(const struct crew__slot *slot, struct crew_status *ret)
{
	*ret = (struct crew_status){ .state = CREW_ENDED_UNKNOWN };
	if (!slot || slot->ended_code == 0)
		return;
	ret->state = slot->ended_code == CLD_EXITED ? CREW_EXITED : CREW_KILLED;
	ret->core = slot->ended_code == CLD_DUMPED;
	*(ret->state == CREW_EXITED ? &ret->code : &ret->signal) = slot->ended_status;
	ret->user = (crew_time)slot->user_ns;
	ret->system = (crew_time)slot->system_ns;
	ret->max_rss = slot->max_rss;
}

static bool has_ended(struct crew_process *process, struct crew_status *ret)
{
	struct crew__slot *slot = slot_of(process);
	if (slot)
		crew__reap_own(process);
	if (slot && __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) != CREW__SLOT_ENDED)
		return false;
	tell(slot, ret);
	return true;
}

int crew_process_join(struct crew_process *process, crew_time deadline, struct crew_status *ret)
{
	struct crew_status ignored;
	crew_time late = 0; /* once it is known to have ended: how long its reaper may take */
	if (!ret)
		ret = &ignored;
	for (;;) {
		if (has_ended(process, ret))
			return 0;
		if (!process->forked || late) {
			crew_time moment = crew_after(10 * CREW_MILLISECOND), until = late ? late : deadline;
			(void)crew__futex_wait(&slot_of(process)->state, CREW__SLOT_RUNNING, moment < until ? moment : until);
			if (has_ended(process, ret))
				return 0;
		}
		struct pollfd end = { .fd = process->pidfd, .events = POLLIN };
		int r = crew__poll(&end, 1, deadline);
		if (r < 0)
			return r;
		if (r == 0)
			return -ETIMEDOUT;
		if (!late)
			late = deadline > crew_after(REAPER_TIME) ? deadline : crew_after(REAPER_TIME);
		if ((!process->forked || process->owner != crew__family.self) && crew__is_lost(process->id, process->pidfd))
			crew__ended(process->id, NULL, NULL);
		else if (crew_now() >= late)
			return -ETIMEDOUT; /* who reaps it is stopped */
	}
}

void crew_process_status(struct crew_process *process, struct crew_status *ret)
{
	if (!has_ended(process, ret))
		*ret = (struct crew_status){ .state = CREW_RUNNING };
}

int crew_process_signal(struct crew_process *process, int signal)
{
	struct crew_status ignored;
	if (signal < 0 || signal > SIGRTMAX)
		return -EINVAL;
	struct pollfd end = { .fd = process->pidfd, .events = POLLIN };
	if (has_ended(process, &ignored) || crew__poll(&end, 1, CREW_POLL) > 0)
		return -ESRCH;
	return crew__pidfd_signal(process->pidfd, signal);
}

int crew_process_fd(const struct crew_process *process)
{
	return process->pidfd;
}

pid_t crew_process_pid(const struct crew_process *process)
{
	return process->pid;
}

const char *crew_process_name(const struct crew_process *process)
{
	return process->name;
}

uint32_t crew__process_id(const struct crew_process *process)
{
	return process->id;
}

int crew_process_close(struct crew_process *process)
{
	struct crew_status ignored;
	if (!process)
		return 0;
	bool mine = slot_of(process) && process->owner == crew__family.self; /* not in a child that has a copy of the handle */
	bool ended = has_ended(process, &ignored);
	if (mine && !ended && !process->detached)
		return -EBUSY;
	if (mine && ended)
		crew__slot_release(process->id);
	else if (mine)
		crew__disown(process->id);
	crew__close(&process->pidfd);
	free(process);
	return 0;
}
