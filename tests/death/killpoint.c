/* killpoint.c - see killpoint.h */
#include "killpoint.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <crew/crew.h>

enum { WAY_MAX = 200000 }; /* instructions; more is a loop that does not end */

struct victim {
	const struct killpoint *point;
	void *shared;
	struct crew_process *process;
	pid_t pid;
};

static int be_victim(void *argument, size_t size)
{
	const struct victim *victim = argument;
	(void)size;
	if (victim->point->prepare)
		victim->point->prepare(victim->shared);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		return 1;
	raise(SIGSTOP);
	victim->point->operation(victim->shared);
	raise(SIGSTOP);
	return 0;
}

/* Wait until the victim stops. The signal that it stopped with; 0 if it has ended. */
static int wait_stop(const struct victim *victim)
{
	siginfo_t info = { 0 };
	int r;
	do
		r = waitid(P_PID, (id_t)victim->pid, &info, WSTOPPED | WEXITED | WNOWAIT | __WALL);
	while (r < 0 && errno == EINTR);
	if (r < 0 || info.si_code != CLD_TRAPPED)
		return 0;
	/* Take the news of the stop; that of an end is crew's to take. */
	waitid(P_PID, (id_t)victim->pid, &info, WSTOPPED | __WALL);
	return info.si_status;
}

static int start(struct victim *victim)
{
	if (victim->point->before)
		victim->point->before(victim->shared);
	int r = crew_process_start(&victim->process, &(struct crew_process_options){
			.function = be_victim, .argument = victim, .method = CREW_FORK });
	ck_assert_msg(r == 0, "no victim: %s", crew_strerror(r));
	victim->pid = crew_process_pid(victim->process);
	if (wait_stop(victim) == SIGSTOP)
		return 0;
	ck_assert_int_eq(crew_process_join(victim->process, CREW_FOREVER, NULL), 0);
	ck_assert_int_eq(crew_process_close(victim->process), 0);
	return -EPERM;
}

static void bury(const struct victim *victim)
{
	ck_assert_int_eq(crew_process_join(victim->process, CREW_FOREVER, NULL), 0);
	ck_assert_int_eq(crew_process_close(victim->process), 0);
}

/* Kill it where it is stopped and look at what it left: buried first, or still a zombie that nobody has swept. */
static void finish(const struct victim *victim, bool completed, bool buried)
{
	siginfo_t info;
	kill(victim->pid, SIGKILL);
	waitid(P_PID, (id_t)victim->pid, &info, WEXITED | WNOWAIT | __WALL);
	if (buried)
		bury(victim);
	victim->point->check(victim->shared, completed);
	if (!buried)
		bury(victim);
}

static uint64_t where(const struct victim *victim)
{
#if defined(__x86_64__)
	errno = 0;
	return (uint64_t)ptrace(PTRACE_PEEKUSER, victim->pid, offsetof(struct user, regs.rip), NULL);
#else
	(void)victim;
	return 0;
#endif
}

static bool step(const struct victim *victim)
{
	return ptrace(PTRACE_SINGLESTEP, victim->pid, NULL, NULL) == 0 && wait_stop(victim) == SIGTRAP;
}

/* Step through the whole operation: way[i] is the address of instruction i. */
static int record(struct victim *victim, uint64_t *way)
{
	int r = start(victim), count = 0;
	if (r < 0)
		return r;
	do {
		ck_assert_msg(count < WAY_MAX, "the operation does not end");
		way[count++] = where(victim);
		if (victim->point->watch)
			victim->point->watch(victim->shared);
	} while (step(victim));
	finish(victim, true, true);
	return count;
}

static bool set_breakpoint(const struct victim *victim, uint64_t address)
{
#if defined(__x86_64__)
	return ptrace(PTRACE_POKEUSER, victim->pid, offsetof(struct user, u_debugreg[0]), address) == 0 &&
		ptrace(PTRACE_POKEUSER, victim->pid, offsetof(struct user, u_debugreg[7]), 1L) == 0;
#else
	(void)victim;
	(void)address;
	return false;
#endif
}

/* Go on until instruction number `index` is the next; false if the operation has ended, as it went another way this time. */
static bool go_to(const struct victim *victim, const uint64_t *way, int index)
{
	int times = 0;
	for (int i = 1; i <= index; i++)
		times += way[i] == way[index];
	if (index == 0)
		return true;
	if (!set_breakpoint(victim, way[index])) {
		for (int i = 0; i < index; i++)
			if (!step(victim))
				return false;
		return true;
	}
	while (times-- > 0)
		if (ptrace(PTRACE_CONT, victim->pid, NULL, NULL) < 0 || wait_stop(victim) != SIGTRAP)
			return false;
	return true;
}

static int common_divisor(int a, int b)
{
	return b ? common_divisor(b, a % b) : a;
}

int killpoint(const struct killpoint *point, void *shared)
{
	struct victim victim = { .point = point, .shared = shared };
	static uint64_t way[WAY_MAX];
	int count = record(&victim, way), killed = 0;
	if (count < 0)
		return count;
	crew_time limit = (crew_time)((point->seconds > 0 ? point->seconds : 1.5) * (double)CREW_SECOND);
	crew_time until = getenv("CREW_TEST_LONG") ? CREW_FOREVER : crew_after(limit);
	/* A stride near the golden section, without a common divisor with count, visits all, evenly at any time. */
	int stride = 1 + count * 618 / 1000;
	while (common_divisor(stride, count) > 1)
		stride++;
	for (int at = (int)(crew_now() % count); killed < count && crew_now() < until; killed++) {
		ck_assert_int_eq(start(&victim), 0);
		bool there = go_to(&victim, way, at);
		finish(&victim, !there, killed % 8 != 0);
		at = (int)(((int64_t)at + stride) % count);
	}
	return killed;
}
