/*
 * child.c - what a new process does before its function or program
 *
 * Moves   own group (or session) -> descriptors raised -> lifeline -> the rest of the record -> 0, 1, 2, 3 ... ->
 *         all others closed -> directory, nice, CPUs, limits -> pid into the slot, STARTING -> RUNNING -> answer
 *         with a pidfd of itself -> function, or exec.
 *
 * Death   before RUNNING   nothing of it is left; the starter sees the answer socket end and tries again.
 *         after RUNNING    whoever reaps it writes its end into the slot.
 *         of the starter   the lifeline is cut: it leaves at that step, later the kernel ends it. Its slot may be
 *                          somebody else's by then: both changes are CASes that name its own life of the slot.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <crew/trace.h>
#include "base/trace.h"
#include "process/internal.h"
#include "region/lane.h"

static void answer(int socket, int error, int pidfd)
{
	struct crew__answer a = { error, getpid() };
	(void)crew__send(socket, &a, sizeof a, &pidfd, pidfd >= 0, 0); /* fails when nobody listens any more */
}

static int system_result(int r)
{
	return r < 0 ? -errno : 0;
}

/* All descriptors to where nothing below is in their way. The starter's own numbers stay open for a function that it forked. */
static int raise_all(const struct crew__start *start, int *fds)
{
	if (start->forked)
		close(start->near_end);
	for (int i = 0; i < CREW__FD_COUNT; i++) {
		if (!(start->descriptors & 1u << i))
			continue;
		int from = fds[i];
		fds[i] = crew__fd_raise(start->forked && i >= CREW__FD_IN ? fcntl(from, F_DUPFD_CLOEXEC, 0) : from);
		if (fds[i] < 19)
			return fds[i] < 0 ? -errno : -EMFILE;
	}
	crew__family.memfd = crew__fd_raise(crew__family.memfd);
	return 0;
}

/* The body, from the starter. */
static int receive_body(const struct crew__start *start, int socket, const char **ret)
{
	static char small[4096] __attribute__((aligned(64))); /* spares the first use of malloc */
	void *body = start->body_size > sizeof small ? crew__malloc_aligned(64, start->body_size) : small;
	if (!body)
		return -ENOMEM;
	for (uint64_t have = 0; have < start->body_size;) {
		unsigned none = 0;
		ssize_t r = crew__receive(socket, (char *)body + have, start->body_size - have, NULL, &none);
		if (r <= 0)
			return r < 0 ? (int)r : -EPIPE;
		have += (uint64_t)r;
	}
	*ret = body;
	return 0;
}

/* Handed descriptors to their numbers; returns the first number after them. */
static int place(const struct crew__start *start, const int *fds)
{
	int to = 3;
	for (int i = CREW__FD_IN; i < CREW__FD_COUNT; i++) {
		int from = fds[i];
		bool handed = start->descriptors & 1u << i;
		if (!handed && i == CREW__FD_IN && start->forked) { /* the zygote's is /dev/null already */
			from = crew__fd_raise(crew__open("/dev/null", O_RDONLY, 0));
			if (from < 0)
				return from;
			handed = true;
		}
		if (!handed)
			continue;
		if (dup2(from, i < CREW__FD_MORE ? i - CREW__FD_IN : to++) < 0)
			return -errno;
		close(from);
	}
	return to;
}

/* The zygote's children are born with its descriptors; a forked function keeps its starter's. `from`: leave what is below it. */
static void close_rest(const struct crew__start *start, int socket, int lifeline, int from)
{
	int keep[] = { crew__family.memfd, crew__requests, crew__trace_fd(), lifeline, socket };
	if (!start->forked || !start->function)
		crew__close_others((unsigned)from, keep, sizeof keep / sizeof *keep, start->forked);
}

static int set_nice(int wanted)
{
	errno = 0;
	if (getpriority(PRIO_PROCESS, 0) == wanted && errno == 0)
		return 0;
	return system_result(setpriority(PRIO_PROCESS, 0, wanted));
}

static int set_limits(const struct crew__start *start, const char *body)
{
	for (uint32_t i = 0; i < start->limit_count; i++) {
		struct crew_rlimit limit;
		memcpy(&limit, body + start->limits + i * sizeof limit, sizeof limit);
		if (limit.resource == RLIMIT_AS && start->function) {
			/* The region is address space, too: a limit below its size would only break malloc. */
			uint64_t region = crew__family.region->bytes;
			if (limit.limit.rlim_cur < RLIM_INFINITY - region)
				limit.limit.rlim_cur += region;
			if (limit.limit.rlim_max < RLIM_INFINITY - region)
				limit.limit.rlim_max += region;
		}
		int r = crew__setrlimit(limit.resource, &limit.limit);
		if (r < 0)
			return r;
	}
	return 0;
}

static int go_to(int directory)
{
	int r = system_result(fchdir(directory));
	close(directory);
	return r;
}

static int set_attributes(const struct crew__start *start, const char *body)
{
	int r = set_nice(start->nice);
	if (r == 0 && start->cpus_size)
		r = system_result(sched_setaffinity(0, start->cpus_size, (const void *)(body + start->cpus)));
	if (r == 0)
		r = set_limits(start, body);
	return r;
}

/* The zygote has default dispositions; a child of fork has its parent's. The mask goes last: from then on signals come. */
static void set_signals(bool forked)
{
	sigset_t none;
	for (int signal = 1; forked && signal <= SIGRTMAX; signal++)
		if (signal < 32 || signal >= SIGRTMIN) /* those between are glibc's own */
			sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static char **strings(const char *body, uint64_t offset, uint32_t count)
{
	char **vector = crew__malloc((count + 1u) * sizeof *vector);
	const char *at = body + offset;
	for (uint32_t i = 0; vector && i < count; i++) {
		vector[i] = (char *)(uintptr_t)at;
		at += strlen(at) + 1;
	}
	if (vector)
		vector[count] = NULL;
	return vector;
}

/* Become a member: pid, then RUNNING, then what needs no order. */
static int enter_slot(const struct crew__start *start)
{
	if (!crew__slot_register(start->slot, start->parent, getpid()) ||
			!crew__slot_move(start->slot, CREW__SLOT_STARTING, CREW__SLOT_RUNNING))
		return -ECANCELED; /* the starter is gone, and the slot given up */
	struct crew__slot *slot = crew__slot_get(start->slot);
	slot->born[0] = start->born;
	slot->born[1] = crew__boottime();
	prctl(PR_SET_NAME, slot->name);
	crew__become(start->detached ? 0 : start->slot);
	return 0;
}

static void run(const struct crew__start *start, const char *body) __attribute__((noreturn));
static void run(const struct crew__start *start, const char *body)
{
	void *argument = start->argument_size ? (void *)(uintptr_t)(body + start->argument) : start->pointer;
	struct crew__slot *slot = crew__slot_get(start->slot);
	char name[32];
	snprintf(name, sizeof name, "%s", slot->name);
	if (start->detached) { /* from here on it is a program of its own */
		crew__close(&crew__requests);
		crew__region_forget();
	}
	crew_trace_begin("process", name);
	int code = start->function(argument, start->argument_size) & 255;
	crew_trace_end("process", name);
	fflush(NULL);
	crew__lane_leave();
	if (!start->detached)
		__atomic_store_n(&slot->said, code + 1, __ATOMIC_RELEASE);
	_exit(code);
}

void crew__child(const struct crew__start *start, int *fds, const char *body)
{
	int lifeline = -1;
	char **argv = NULL, **env = NULL;
	int r = start->detached ? system_result(setsid()) : system_result(setpgid(0, 0));
	if (r >= 0)
		r = raise_all(start, fds);
	int socket = fds[CREW__FD_ANSWER];
	if (r >= 0 && start->descriptors & 1u << CREW__FD_LIFELINE)
		r = lifeline = crew__lifeline_hang_on(fds[CREW__FD_LIFELINE]);
	if (r >= 0 && !body && start->body_size)
		r = receive_body(start, socket, &body);
	if (r >= 0)
		r = go_to(fds[CREW__FD_DIRECTORY]);
	if (r >= 0)
		r = place(start, fds);
	if (r >= 0) {
		close_rest(start, socket, lifeline, r);
		r = set_attributes(start, body);
	}
	if (r >= 0 && start->argc && !(argv = strings(body, start->argv, start->argc)))
		r = -ENOMEM;
	if (r >= 0 && start->own_env && !(env = strings(body, start->env, start->envc)))
		r = -ENOMEM;
	int pidfd = -1;
	if (r >= 0)
		r = pidfd = crew__pidfd_open(getpid());
	if (r >= 0)
		r = enter_slot(start);
	if (r < 0) {
		answer(socket, r, -1);
		_exit(127);
	}
	if (env)
		environ = env;
	set_signals(start->forked);
	answer(socket, 0, pidfd);
	close(pidfd);
	if (start->function) {
		close(socket);
		run(start, body);
	}
	execvp(argv[0], argv);
	answer(socket, -errno, -1); /* the second answer: it did not become the program */
	_exit(127);
}
