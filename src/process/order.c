/*
 * order.c - the starter's side of a start: have it done, and hear how it went
 *
 * The new process answers on a socket. Its far end is held by nobody but those who may still bring the
 * process about: it travels to the zygote inside the request and from there to the child. So the end of
 * file without an answer proves that nobody will, and the same start may be tried again.
 *
 * Death  of the zygote, request unread    the request stays in the socket, which the keeper holds too;
 *                                          the next zygote reads it.
 *        of the zygote, request read      no child: end of file, tried again. A child: it answers.
 *        of the child before the answer   end of file; if its slot says that it ran, it has been started.
 *        of keeper and zygote both        the request socket breaks: -EPIPE.
 *        of the starter                   its lifeline is cut, its claim is given up by whoever reaps it.
 */
#include <stdio.h>
#include <unistd.h>
#include "process/internal.h"

enum { TRIES = 5, CHUNK = 32 * 1024 };

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int request(const struct crew__start *start, const int *fds)
{
	int travelling[CREW__FD_COUNT];
	unsigned count = 0;
	for (int i = 0; i < CREW__FD_COUNT; i++)
		if (start->descriptors & 1u << i)
			travelling[count++] = fds[i];
	return crew__send(crew__requests, start, sizeof *start, travelling, count, MSG_DONTWAIT);
}

/* Fork it, or ask the zygote to, while no other thread forks. *child: its pid, if forked here. */
static int set_off_held(struct crew__start *start, int *fds, const char *body, pid_t *child)
{
	int ends[2], r = 0;
	if (!start->detached)
		r = fds[CREW__FD_LIFELINE] = crew__lifeline();
	if (r >= 0)
		r = crew__socketpair(SOCK_SEQPACKET, ends);
	if (r < 0)
		return r;
	fds[CREW__FD_ANSWER] = ends[1];
	start->near_end = ends[0];
	if (start->forked)
		r = *child = crew__birth(start, fds, body);
	else
		r = request(start, fds);
	close(ends[1]);
	if (r >= 0)
		return ends[0];
	close(ends[0]);
	return r;
}

/* The near end of the answer socket. */
static int set_off(struct crew__start *start, int *fds, const char *body, pid_t *child)
{
	crew_time patience = crew_after(CREW_SECOND);
	for (;;) {
		crew__forks_hold();
		int r = set_off_held(start, fds, body, child);
		crew__forks_allow();
		if (r == -ECONNRESET)
			r = -EPIPE; /* a first word on the helpers' death, when requests were lying there unread */
		if (r == -ETOOMANYREFS) /* 'ulimit -n' counts what this user has on its way, too: until others are served */
			r = crew_now() < patience ? crew__poll(NULL, 0, crew_after(CREW_MILLISECOND)) : -EAGAIN;
		else if (r == -EAGAIN && !start->forked) /* the queue is full */
			r = crew__poll(&(struct pollfd){ .fd = crew__requests, .events = POLLOUT }, 1, CREW_FOREVER);
		else
			return r;
		if (r < 0)
			return r;
	}
}

/* Whatever keeps us from sending all of it, the child must not wait for more. */
static void send_body(int socket, const struct crew__start *start, const char *body)
{
	int r = 0;
	for (uint64_t at = 0; r == 0 && at < start->body_size; at += CHUNK)
		r = crew__send(socket, body + at, smaller(start->body_size - at, CHUNK), NULL, 0, 0);
	if (r < 0)
		shutdown(socket, SHUT_WR);
}

/* It has run, but we have no pidfd from it: one of our own or, if it has ended, something else that polls readable. */
static int find_again(struct crew_process *process)
{
	struct crew__slot *slot = crew__slot_get(process->id);
	process->pid = crew__slot_pid(slot);
	process->pidfd = crew__slot_pidfd(process->id);
	if (process->pidfd == -ESRCH)
		process->pidfd = crew__eventfd(1, 0);
	return process->pidfd < 0 ? -EMFILE : 0;
}

/* 0: it runs; -EPIPE: nobody is there to bring it about; or what went wrong. */
static int hear(int socket, const struct crew__start *start, struct crew_process *process)
{
	struct crew__answer answer;
	unsigned count = 1;
	ssize_t r = crew__receive(socket, &answer, sizeof answer, &process->pidfd, &count);
	if (r <= 0) {
		struct crew__slot *slot = crew__slot_get(start->slot);
		if (__atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) == CREW__SLOT_STARTING)
			return r < 0 ? (int)r : -EPIPE;
		return find_again(process);
	}
	if (answer.error)
		return answer.error;
	process->pid = answer.pid;
	if (process->pidfd < 0) { /* our table of descriptors was full a moment ago */
		int found = find_again(process);
		if (found < 0)
			return found;
	}
	if (start->function)
		return 0;
	count = 0;
	r = crew__receive(socket, &answer, sizeof answer, NULL, &count);
	return r > 0 ? answer.error : 0; /* end of file: exec has closed it */
}

/* It did not start, or not as it should: what there is of it ends, and nobody will ask for its status. */
static void give_up(const struct crew__start *start, struct crew_process *process, pid_t child)
{
	struct crew__slot *slot = crew__slot_get(start->slot);
	uint32_t state = __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
	bool member = state != CREW__SLOT_STARTING;
	if (process->pidfd >= 0)
		(void)crew__pidfd_signal(process->pidfd, SIGKILL);
	else if (child > 0 || state == CREW__SLOT_RUNNING) /* of one that has ended the pid may be another's */
		kill(child > 0 ? child : crew__slot_pid(slot), SIGKILL);
	if (child > 0) {
		siginfo_t info;
		(void)crew__waitid(P_PID, (id_t)child, &info, WEXITED, NULL);
		if (member)
			crew__ended(start->slot, NULL, NULL);
	} else if (member) {
		crew__disown(start->slot);
	}
	crew__close(&process->pidfd);
	if (!member)
		__atomic_store_n(&slot->pid, 0, __ATOMIC_RELEASE); /* of one that did not live; the next may register */
}

int crew__order(struct crew__start *start, int *fds, const char *body, struct crew_process *process)
{
	start->descriptors = 1u << CREW__FD_ANSWER | (start->detached ? 0 : 1u << CREW__FD_LIFELINE);
	for (int i = CREW__FD_DIRECTORY; i < CREW__FD_COUNT; i++)
		start->descriptors |= fds[i] >= 0 ? 1u << i : 0;
	if (start->forked) {
		crew__reap_disowned();
		fflush(NULL); /* or what is in the buffers now would come out twice */
	}
	for (int try = 0; try < TRIES; try++) {
		pid_t child = 0;
		int socket = set_off(start, fds, body, &child);
		if (socket < 0)
			return socket;
		if (!start->forked)
			send_body(socket, start, body);
		int r = hear(socket, start, process);
		close(socket);
		if (r == 0)
			return 0;
		give_up(start, process, child);
		if (r != -EPIPE)
			return r;
	}
	return -EAGAIN;
}
