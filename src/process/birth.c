/*
 * birth.c - fork, and what must not leak while somebody forks
 *
 * A start holds both ends of a socket for a moment and learns of a death by the end of file on one. If another
 * thread forked in that moment its child would hold the far end too, and the end of file would
 * never come. So forks are held off for that moment: ours by the lock, the program's own by
 * the at-fork handlers. (vfork and posix_spawn do not run these; they end in exec, which closes.)
 *
 * In a child: the lifeline's write end is the parent's alone, so it goes. The request socket stays in crew's own
 * children, which are members; the program's own children have no use for it.
 */
#include <pthread.h>
#include <string.h>
#include "process/internal.h"

int crew__requests = -1;

static pthread_mutex_t forks = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local bool held; /* by this thread, so that a fork now is crew's own */

void crew__forks_hold(void)
{
	pthread_mutex_lock(&forks);
	held = true;
}

void crew__forks_allow(void)
{
	held = false;
	pthread_mutex_unlock(&forks);
}

static void before_fork(void)
{
	if (!held)
		pthread_mutex_lock(&forks);
}

static void after_fork_in_parent(void)
{
	if (!held)
		pthread_mutex_unlock(&forks);
}

static void after_fork_in_child(void)
{
	pthread_mutex_init(&forks, NULL);
	crew__lifeline_cut(); /* our copies: the parent's stay */
	if (!held)
		crew__close(&crew__requests);
	held = false;
}

void crew__birth_init(void)
{
	static bool registered;
	if (!registered)
		pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
	registered = true;
}

pid_t crew__birth(struct crew__start *start, const int *fds, const char *body)
{
	int lifeline = -1;
	if (start->descriptors & 1u << CREW__FD_LIFELINE && (lifeline = crew__lifeline_open(fds[CREW__FD_LIFELINE])) < 0)
		return lifeline;
	/* No signal may run a handler of the parent's in the child. */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	start->born = crew__boottime();
	pid_t pid = crew__fork();
	if (pid == 0) {
		int own[CREW__FD_COUNT];
		memcpy(own, fds, sizeof own);
		own[CREW__FD_LIFELINE] = lifeline;
		crew__child(start, own, body);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	crew__close(&lifeline);
	return pid;
}
