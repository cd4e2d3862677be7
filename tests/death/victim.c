/* victim.c - see victim.h */
#include "death/victim.h"

#include <check.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <crew/crew.h>
#include "death/memory.h"
#include "harness.h"

enum { WAY_MAX = 200000 }; /* instructions; more is a loop that does not end */

static int be_victim(void *argument, size_t size)
{
	const struct victim *victim = argument;
	(void)size;
	if (victim->prepare)
		victim->prepare(victim->shared);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		return 1;
	raise(SIGSTOP);
	victim->operation(victim->shared);
	raise(SIGSTOP);
	return 0;
}

/* Wait until it stops: the signal that it stopped with; 0 if it has ended; -1: with WNOHANG, neither. */
static int wait_stop(const struct victim *victim, int options)
{
	siginfo_t info = { 0 };
	int r;
	do
		r = waitid(P_PID, (id_t)victim->pid, &info, WSTOPPED | WEXITED | WNOWAIT | __WALL | options);
	while (r < 0 && errno == EINTR);
	if (r == 0 && info.si_pid == 0)
		return -1;
	if (r < 0 || info.si_code != CLD_TRAPPED)
		return 0;
	/* Take the news of the stop; that of an end is crew's to take. */
	waitid(P_PID, (id_t)victim->pid, &info, WSTOPPED | __WALL);
	return info.si_status;
}

/* Who leads and who is led take turns: on one processor, that is nearly twice as fast. */
static void stay_here(bool stay)
{
	static cpu_set_t all;
	if (stay) {
		cpu_set_t here;
		CPU_ZERO(&here);
		CPU_SET((size_t)sched_getcpu(), &here);
		if (!CPU_COUNT(&all))
			sched_getaffinity(0, sizeof all, &all);
		sched_setaffinity(0, sizeof here, &here);
	} else if (CPU_COUNT(&all)) {
		sched_setaffinity(0, sizeof all, &all);
	}
}

int victim_start(struct victim *victim)
{
	stay_here(true);
	int r = crew_process_start(&victim->process, &(struct crew_process_options){
			.function = be_victim, .argument = victim, .method = CREW_FORK });
	ck_assert_msg(r == 0, "no victim: %s", crew_strerror(r));
	victim->pid = crew_process_pid(victim->process);
	if (wait_stop(victim, 0) == SIGSTOP) {
		ptrace(PTRACE_SETOPTIONS, victim->pid, NULL, PTRACE_O_EXITKILL); /* nor does it outlive the test */
		return 0;
	}
	victim_bury(victim);
	stay_here(false);
	return -EPERM;
}

void victim_kill(const struct victim *victim)
{
	siginfo_t info;
	kill(victim->pid, SIGKILL);
	waitid(P_PID, (id_t)victim->pid, &info, WEXITED | WNOWAIT | __WALL);
	stay_here(false);
}

void victim_bury(struct victim *victim)
{
	ck_assert_int_eq(crew_process_join(victim->process, CREW_FOREVER, NULL), 0);
	ck_assert_int_eq(crew_process_close(victim->process), 0);
}

/* ---- by x86's registers, or without ---- */

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

/* 0: none. */
static bool set_breakpoint(const struct victim *victim, uint64_t address)
{
#if defined(__x86_64__)
	return ptrace(PTRACE_POKEUSER, victim->pid, offsetof(struct user, u_debugreg[7]), 0L) == 0 &&
		ptrace(PTRACE_POKEUSER, victim->pid, offsetof(struct user, u_debugreg[0]), address) == 0 &&
		(!address || ptrace(PTRACE_POKEUSER, victim->pid, offsetof(struct user, u_debugreg[7]), 1L) == 0);
#else
	(void)victim;
	(void)address;
	return false;
#endif
}

/* The code at this place, which victims have from the test's process. */
static const unsigned char *code(uint64_t address)
{
	return (const unsigned char *)(uintptr_t)address;
}

static bool is_system_call(uint64_t address)
{
#if defined(__x86_64__)
	return code(address)[0] == 0x0f && code(address)[1] == 0x05;
#else
	(void)address;
	return true;
#endif
}

/* Whether it is a repeated string instruction, which is stepped once for each turn, but met once by a breakpoint. */
static bool is_repeated(uint64_t address)
{
#if defined(__x86_64__)
	const unsigned char *c = code(address);
	if (*c == 0x66)
		c++;
	if (*c != 0xf2 && *c != 0xf3)
		return false;
	c++;
	if ((*c & 0xf0) == 0x40)
		c++;
	return (*c >= 0xa4 && *c <= 0xa7) || (*c >= 0xaa && *c <= 0xaf);
#else
	(void)address;
	return false;
#endif
}

/* ---- the way ---- */

static bool step(const struct victim *victim)
{
	return ptrace(PTRACE_SINGLESTEP, victim->pid, NULL, NULL) == 0 && wait_stop(victim, 0) == SIGTRAP;
}

void victim_record(struct victim *victim, struct way *way, void (*watch)(void *shared))
{
	*way = (struct way){ .at = malloc(WAY_MAX * sizeof *way->at), .class = malloc(WAY_MAX * sizeof *way->class) };
	ck_assert(way->at && way->class);
	bool called = true;
	memory_changed();
	do {
		ck_assert_msg(way->count < WAY_MAX, "the operation does not end");
		uint64_t at = where(victim);
		if (memory_changed() || called)
			way->class[way->classes++] = way->count;
		called = is_system_call(at);
		way->at[way->count++] = at;
		if (watch)
			watch(victim->shared);
	} while (step(victim));
	way->at = realloc(way->at, (size_t)way->count * sizeof *way->at);
	way->class = realloc(way->class, (size_t)way->classes * sizeof *way->class);
	ck_assert(way->at && way->class);
}

void way_free(struct way *way)
{
	free(way->at);
	free(way->class);
	*way = (struct way){ 0 };
}

bool victim_go_to(struct victim *victim, const struct way *way, int index)
{
	if (index == 0)
		return true;
	int first = index; /* of a repeated instruction's turns, the first */
	while (first > 0 && way->at[first - 1] == way->at[index] && is_repeated(way->at[index]))
		first--;
	int times = 0;
	for (int i = 1; i <= first; i++)
		times += way->at[i] == way->at[index] && !(way->at[i - 1] == way->at[i] && is_repeated(way->at[i]));
	int steps = index - first;
	if (first > 0 && set_breakpoint(victim, way->at[index])) {
		while (times-- > 0)
			if (ptrace(PTRACE_CONT, victim->pid, NULL, NULL) < 0 || wait_stop(victim, 0) != SIGTRAP)
				return false;
		set_breakpoint(victim, 0);
	} else {
		steps = index;
	}
	while (steps-- > 0)
		if (!step(victim))
			return false;
	ck_assert_msg(where(victim) == way->at[index], "led to instruction %#lx, not %#lx", (unsigned long)where(victim),
		(unsigned long)way->at[index]);
	return true;
}

bool victim_go_on(struct victim *victim)
{
	crew_time until = crew_after(10 * CREW_SECOND);
	if (ptrace(PTRACE_CONT, victim->pid, NULL, NULL) < 0)
		return false;
	for (unsigned turn = 0; crew_now() < until; turn++) {
		int stop = wait_stop(victim, WNOHANG);
		if (stop >= 0)
			return stop == SIGSTOP;
		if (turn < 1000)
			sched_yield();
		else
			harness_pause();
	}
	return false;
}
