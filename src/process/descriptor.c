/* descriptor.c - pass, move and close descriptors */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/probe.h"
#include "process/internal.h"
#include "process/process.h"

#define CROWD 24 /* more than ever travel at once */
static_assert(CREW__FD_COUNT <= CROWD, "all of a start's descriptors in one message");

int crew__send(int socket, const void *data, size_t size, const int *fds, unsigned count, int flags)
{
	union { struct cmsghdr head; char bytes[CMSG_SPACE(CROWD * sizeof(int))]; } control;
	struct iovec part = { (void *)(uintptr_t)data, size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	if (count) {
		memset(&control, 0, sizeof control);
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.head), fds, count * sizeof(int));
	}
	ssize_t r = crew__sendmsg(socket, &message, flags);
	return r < 0 ? (int)r : 0;
}

ssize_t crew__receive(int socket, void *data, size_t size, int *fds, unsigned *count)
{
	union { struct cmsghdr head; char bytes[CMSG_SPACE(CROWD * sizeof(int))]; } control;
	struct iovec part = { data, size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	ssize_t r;
	do /* a peer that left without reading all resets the connection once; what it sent comes after that */
		r = crew__recvmsg(socket, &message, 0);
	while (r == -ECONNRESET);
	unsigned room = *count;
	*count = 0;
	if (r < 0)
		return r;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (*count < room)
				fds[(*count)++] = fd;
			else
				close(fd);
		}
	}
	return r;
}

int crew__process_take_fd(uint32_t id, int fd)
{
	int process = crew__slot_pidfd(id);
	int r = process < 0 ? process : crew__pidfd_getfd(process, fd);
	crew__close(&process);
	return r == -ESRCH ? -EBADF : r == -EPERM || r == -ENOSYS ? -EACCES : r;
}

void crew__close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4u
#endif

static void close_span(unsigned from, unsigned to, bool at_exec)
{
	if (from > to)
		return;
	if (crew__has(CREW__FEATURE_CLOSE_RANGE) &&
			syscall(SYS_close_range, from, to, at_exec ? CLOSE_RANGE_CLOEXEC : 0) == 0)
		return;
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		limit.rlim_cur = 1 << 20;
	for (unsigned fd = from; fd <= to && fd < limit.rlim_cur; fd++) {
		if (at_exec)
			fcntl((int)fd, F_SETFD, FD_CLOEXEC);
		else
			close((int)fd);
	}
}

static int ascending(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

void crew__close_others(unsigned from, int *keep, unsigned count, bool at_exec)
{
	qsort(keep, count, sizeof *keep, ascending);
	for (unsigned i = 0; i < count; i++) {
		if (keep[i] < (int)from)
			continue;
		if (keep[i] > (int)from)
			close_span(from, (unsigned)keep[i] - 1, at_exec);
		from = (unsigned)keep[i] + 1;
	}
	close_span(from, ~0u, at_exec);
}
