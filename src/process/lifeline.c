/*
 * lifeline.c - end with whoever started us, whatever happens to either
 *
 * A member that starts children has a pipe; the write end is in its hands alone (close-on-exec, closed in
 * every child of a fork). For each child the read end is opened anew, which gives it an open file
 * description of its own, and on that it asks for a signal: SIGKILL, for its own process group. When the last
 * write end goes, because its process has ended in whatever way, the kernel sends that
 * signal to all the groups. Nobody has to run for it: neither side, nor zygote or keeper.
 * (Whoever forks the child opens it: for a new process the path through /proc costs ten times as much.)
 *
 * The description must stay open, so the read end passes through exec and fork, at a high number. A program
 * that closes descriptors it does not know cuts itself off; such a one is ended by whoever reaps its
 * starter (crew__orphans), a moment later. The same holds where /proc is missing, which the
 * second open needs.
 *
 * Death  of the starter before the child has asked for the signal: the child finds the pipe hung up and leaves.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "base/probe.h"
#include "process/internal.h"

static int lifeline[2] = { -1, -1 };

int crew__lifeline(void)
{
	if (lifeline[0] < 0) {
		int ends[2];
		int r = crew__pipe2(ends, O_CLOEXEC | O_NONBLOCK);
		if (r < 0)
			return r;
		lifeline[0] = crew__fd_raise(ends[0]);
		lifeline[1] = crew__fd_raise(ends[1]);
	}
	return lifeline[0];
}

void crew__lifeline_cut(void)
{
	crew__close(&lifeline[1]);
	crew__close(&lifeline[0]);
}

bool crew__lifeline_is_cut(int fd)
{
	struct pollfd poll = { .fd = fd };
	return crew__poll(&poll, 1, CREW_POLL) > 0;
}

int crew__lifeline_open(int fd)
{
	char path[40];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (crew__has(CREW__FEATURE_PROC))
		return crew__fd_raise(crew__open(path, O_RDONLY | O_NONBLOCK, 0));
	int same = fcntl(fd, F_DUPFD_CLOEXEC, 64);
	return same < 0 ? -errno : same;
}

int crew__lifeline_hang_on(int own)
{
	if (crew__has(CREW__FEATURE_PROC) &&
			(fcntl(own, F_SETFD, 0) < 0 || fcntl(own, F_SETSIG, SIGKILL) < 0 || fcntl(own, F_SETOWN, -getpgrp()) < 0 ||
			fcntl(own, F_SETFL, O_ASYNC | O_NONBLOCK) < 0))
		return -errno;
	return crew__lifeline_is_cut(own) ? -EOWNERDEAD : own;
}
