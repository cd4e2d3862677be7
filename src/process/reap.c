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
 * Death    of a reaper before the last step: the process is a zombie still, and the next reaper repeats all; what it
 *          left of the steps between is done by the reaper's reaper, as the slots in question then have a parent that
 *          lives no more, and that is all that crew__orphans looks for.
 *          Keeper and zygote both: nobody reaps for crew; joiners notice (crew__is_lost).
 */
#include <limits.h>
#include <crew/trace.h>
#include "process/internal.h"
#include "process/process.h"
#include "region/lane.h"
#include "sync/news.h"

static uint32_t state_of(const struct crew__slot *slot)
{
	return __atomic_load_n(&slot->state, __ATOMIC_SEQ_CST);
}

int crew__slot_pidfd(uint32_t id)
{
	struct crew__slot *slot = crew__slot_get(id);
	if (!slot || state_of(slot) != CREW__SLOT_RUNNING)
		return -ESRCH;
	pid_t pid = crew__slot_pid(slot);
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
		if (!slot)
			break;
		if (crew__slot_pid(slot) != pid || state_of(slot) != CREW__SLOT_RUNNING || slot->program != crew__family.program)
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
	uint32_t parent = slot->parent;
	bool had_slots = slot->has_started || slot->helper;
	int64_t pid = crew__slot_pid(slot);
	int32_t code = slot->ended_code, status = slot->ended_status;
	if (!crew__slot_move(id, CREW__SLOT_RUNNING, CREW__SLOT_ENDED)) /* (A) */
		return;
	crew__futex_wake(&slot->state, INT_MAX);
	crew__tell(&(struct crew_news){ .kind = CREW_NEWS_ENDED, .pid = (pid_t)pid, .code = code, .status = status }, NULL);
	if (crew_trace_on())
		crew_trace_event("process", "end", pid);
	if (had_slots)
		crew__orphans();
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
			reap_forked(P_PID, (id_t)crew__slot_pid(slot), crew__id(number, slot->generation));
}

/* Whether the process `parent` of a zombie is one that reaps it: a helper, or who forked it. */
static bool reaps(pid_t parent, const struct crew__slot *child)
{
	struct crew__slot *slot;
	for (uint32_t number = 1; (slot = crew__slot_at(number)); number++)
		if (crew__slot_pid(slot) == parent && state_of(slot) == CREW__SLOT_RUNNING && slot->program == child->program)
			return slot->helper || (child->forked && number == crew__number(child->parent));
	return false;
}

bool crew__is_lost(uint32_t id, int pidfd)
{
	struct crew__slot *slot = crew__slot_get(id);
	struct crew__stat stat;
	bool freed = crew__pidfd_signal(pidfd, 0) < 0; /* look at the slot after that: a reaper writes first */
	if (!slot || state_of(slot) != CREW__SLOT_RUNNING)
		return false;
	return freed || (crew__stat(crew__slot_pid(slot), &stat) && !reaps(stat.parent, slot));
}

/* It runs on without its starter: it has closed its lifeline, or is about to end. Whether its slot may have changed. */
static bool end_orphan(uint32_t id, struct crew__slot *slot)
{
	int fd = crew__slot_pidfd(id);
	struct pollfd end = { .fd = fd, .events = POLLIN };
	bool lost = fd == -ESRCH;
	if (fd >= 0) {
		struct crew__stat stat;
		bool nobodys = crew__stat(crew__slot_pid(slot), &stat) && !reaps(stat.parent, slot);
		if (!slot->detached)
			crew__pidfd_kill_group(fd);
		lost = nobodys && crew__poll(&end, 1, crew_after(slot->detached ? 0 : 100 * CREW_MILLISECOND)) > 0;
	}
	crew__close(&fd);
	if (lost && state_of(slot) == CREW__SLOT_RUNNING)
		crew__ended(id, NULL, NULL);
	return lost;
}

void crew__orphans(void)
{
	static _Thread_local bool busy; /* further up in this call already: it will see to that, too */
	struct crew__slot *slot;
	if (busy)
		return;
	busy = true;
	for (bool again = true; again;) {
		again = false;
		for (uint32_t number = 1; (slot = crew__slot_at(number)); number++) {
			uint32_t parent = __atomic_load_n(&slot->parent, __ATOMIC_ACQUIRE), state = state_of(slot);
			uint32_t id = crew__id(number, __atomic_load_n(&slot->generation, __ATOMIC_ACQUIRE));
			if (parent == 0 || crew__process_lives(parent) || crew__number(parent) == number)
				continue; /* the last: a founder, see program.c */
			if (state == CREW__SLOT_RUNNING) {
				again |= !slot->helper && end_orphan(id, slot);
			} else {
				crew__slot_abandon(number, parent);
				again |= state != CREW__SLOT_FREE; /* now those that it had are nobody's, too */
			}
		}
	}
	busy = false;
}

static bool is_left(uint32_t number, const struct crew__slot *slot)
{
	return number != crew__number(crew__family.self) && number != crew__number(crew__family.program) &&
		slot->program == crew__family.program && !slot->detached && state_of(slot) == CREW__SLOT_RUNNING;
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
