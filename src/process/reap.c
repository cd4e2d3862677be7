/*
 * reap.c - write the end of a process into its slot, once, whoever reaps it
 *
 * Reapers  of what the zygote forked: the zygote; the keeper, to whom these fall if the zygote dies.
 *          of what a member forked: that member, when it asks; the keeper if it has died.
 * Moves    waitid(WNOWAIT) -> its lanes are swept -> status, RUNNING -> ENDED at (A), wake -> its orphans -> waitid.
 * Order    A process keeps its pid until the last step, so whoever finds RUNNING after it has opened a pidfd has the
 *          right one (crew__slot_pidfd).
 *          (A) then look at the parent   against   the parent's end at (A), then look at its children: one of
 *          the two sees the other, so no slot is left behind. Both may: only one release counts.
 * Death    of a reaper before the last step: the process is a zombie still, and the next reaper repeats all.
 *          Keeper and zygote both: nobody reaps for crew; joiners notice (handle.c).
 */
#include <limits.h>
#include <crew/trace.h>
#include "process/internal.h"
#include "process/process.h"
#include "region/lane.h"

static uint32_t state_of(const struct crew__slot *slot)
{
	return __atomic_load_n(&slot->state, __ATOMIC_SEQ_CST);
}

int crew__slot_pidfd(uint32_t id)
{
	struct crew__slot *slot = crew__slot_get(id);
	if (!slot || state_of(slot) != CREW__SLOT_RUNNING)
		return -ESRCH;
	pid_t pid = slot->pid;
	int fd = crew__pidfd_open(pid);
	if (fd < 0)
		return fd;
	if (crew__slot_fits(slot, pid) && state_of(slot) == CREW__SLOT_RUNNING && crew__slot_get(id))
		return fd;
	crew__close(&fd);
	return -ESRCH;
}

bool crew__process_ended(uint32_t id)
{
	int fd = crew__slot_pidfd(id);
	struct pollfd end = { .fd = fd, .events = POLLIN };
	bool ended = fd >= 0 && crew__poll(&end, 1, CREW_POLL) > 0;
	crew__close(&fd);
	struct crew__slot *slot = crew__slot_get(id);
	if (end.fd == -ESRCH && slot && state_of(slot) == CREW__SLOT_RUNNING)
		crew__ended(id, NULL, NULL); /* no such pid: who reaped it could not tell */
	return ended || !crew__process_lives(id);
}

bool crew__process_is_forked(uint32_t id)
{
	struct crew__slot *slot = crew__slot_get(id);
	return slot && slot->forked;
}

/* The slot of a child that has just ended. adopted: it may be one whose pid a forgotten slot has, too. */
static uint32_t find(pid_t pid, bool adopted)
{
	static uint32_t hint = 1; /* processes often end in the order in which they were started */
	uint32_t high = __atomic_load_n(&crew__family.region->slots_high, __ATOMIC_ACQUIRE);
	for (uint32_t i = 1; i < high; i++) {
		uint32_t number = 1 + (hint + i - 1) % (high - 1);
		struct crew__slot *slot = crew__slot_at(number);
		if (slot->pid != pid || state_of(slot) != CREW__SLOT_RUNNING)
			continue;
		if (adopted ? !crew__slot_fits(slot, pid) : slot->forked)
			continue;
		hint = number;
		return crew__id(number, slot->generation);
	}
	return 0;
}

static uint64_t nanoseconds(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_usec * 1000;
}

void crew__ended(uint32_t id, const siginfo_t *info, const struct rusage *usage)
{
	struct crew__slot *slot = crew__slot_get(id);
	if (!slot || state_of(slot) != CREW__SLOT_RUNNING)
		return;
	crew__lane_reap_process(id);
	if (info) {
		slot->ended_code = info->si_code;
		slot->ended_status = info->si_status;
		slot->user_ns = nanoseconds(usage->ru_utime);
		slot->system_ns = nanoseconds(usage->ru_stime);
		slot->max_rss = (uint64_t)usage->ru_maxrss * 1024;
	} else if (slot->said) {
		slot->ended_code = CLD_EXITED;
		slot->ended_status = slot->said - 1;
	}
	uint32_t parent = slot->parent, has_started = slot->has_started;
	int64_t pid = slot->pid;
	if (!crew__slot_move(id, CREW__SLOT_RUNNING, CREW__SLOT_ENDED)) /* (A) */
		return;
	crew__futex_wake(&slot->state, INT_MAX);
	if (crew_trace_on())
		crew_trace_event("process", "end", pid);
	if (has_started)
		crew__orphans(id);
	if (slot->helper || __atomic_load_n(&slot->disowned, __ATOMIC_SEQ_CST) || !crew__process_lives(parent))
		crew__slot_release(id);
}

void crew__disown(uint32_t id)
{
	struct crew__slot *slot = crew__slot_get(id);
	if (!slot)
		return;
	__atomic_store_n(&slot->disowned, 1, __ATOMIC_SEQ_CST);
	if (state_of(slot) == CREW__SLOT_ENDED)
		crew__slot_release(id);
}

pid_t crew__reap_any(bool adopted)
{
	siginfo_t info;
	struct rusage usage;
	int r = crew__waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT, &usage);
	if (r < 0)
		return r;
	pid_t pid = info.si_pid;
	if (pid) {
		uint32_t id = find(pid, adopted);
		if (id)
			crew__ended(id, &info, &usage);
		while (crew__waitid(P_PID, (id_t)pid, &info, WEXITED, NULL) < 0 && waitid(P_PID, (id_t)pid, &info, WEXITED) < 0)
			;
	}
	return pid;
}

/* A child that this process has forked, if it has ended. */
static void reap_forked(idtype_t type, id_t child, uint32_t id)
{
	siginfo_t info;
	struct rusage usage;
	int r = crew__waitid(type, child, &info, WEXITED | WNOHANG | WNOWAIT, &usage);
	if (r == 0 && info.si_pid) {
		crew__ended(id, &info, &usage);
		(void)crew__waitid(type, child, &info, WEXITED | WNOHANG, NULL);
	} else if (r == -ECHILD) {
		crew__ended(id, NULL, NULL); /* SIGCHLD is ignored, or somebody has waited for any child */
	}
}

void crew__reap_own(struct crew_process *process)
{
	if (process->forked && process->owner == crew__family.self)
		reap_forked(P_PIDFD, (id_t)process->pidfd, process->id);
}

void crew__reap_disowned(void)
{
	struct crew__slot *slot;
	for (uint32_t number = 1; (slot = crew__slot_at(number)); number++)
		if (slot->forked && slot->disowned && slot->parent == crew__family.self && state_of(slot) == CREW__SLOT_RUNNING)
			reap_forked(P_PID, (id_t)slot->pid, crew__id(number, slot->generation));
}

/* The lifelines have ended them, unless they closed theirs. */
void crew__orphans(uint32_t dead_parent)
{
	struct crew__slot *slot;
	crew__slots_abandon(dead_parent);
	for (uint32_t number = 1; (slot = crew__slot_at(number)); number++) {
		if (slot->parent != dead_parent || state_of(slot) != CREW__SLOT_RUNNING || slot->detached || slot->helper)
			continue;
		int fd = crew__slot_pidfd(crew__id(number, slot->generation));
		if (fd >= 0)
			crew__pidfd_kill_group(fd);
		crew__close(&fd);
	}
}

static bool is_left(uint32_t number, const struct crew__slot *slot)
{
	return number != crew__number(crew__family.self) && number != crew__number(crew__family.region->founder) &&
		!slot->detached && state_of(slot) == CREW__SLOT_RUNNING;
}

void crew__end_members(crew_time deadline)
{
	struct crew__slot *slot;
	for (int round = 0; round < 2; round++) { /* kill all, then wait for each */
		for (uint32_t number = 1; (slot = crew__slot_at(number)); number++) {
			int fd = is_left(number, slot) ? crew__slot_pidfd(crew__id(number, slot->generation)) : -1;
			struct pollfd end = { .fd = fd, .events = POLLIN };
			siginfo_t info;
			if (fd < 0)
				continue;
			if (round == 0 && !slot->helper)
				crew__pidfd_kill_group(fd);
			if (round == 1 && crew__poll(&end, 1, deadline) <= 0) { /* a helper that somebody has stopped */
				crew__pidfd_kill_group(fd);
				(void)crew__poll(&end, 1, crew_after(CREW_SECOND));
			}
			if (round == 1)
				(void)crew__waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG, NULL); /* if it is a child of ours */
			crew__close(&fd);
		}
	}
}
