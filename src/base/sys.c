/* sys.c - the system calls behind crew's table of faults; see sys.h */
#include <fcntl.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "base/sys.h"

/* What every wrapper does: an injected fault, or the call, errno turned into the result. */
#define CALL(name, type, expression)                     \
	do {                                             \
		int fault = crew__fault(CREW__CALL_##name); \
		if (fault)                               \
			return (type)fault;              \
		type result = (type)(expression);        \
		return result < 0 ? (type)-errno : result; \
	} while (0)

int crew__memfd_create(const char *name, unsigned flags)
{
	CALL(memfd_create, int, memfd_create(name, flags));
}

int crew__ftruncate(int fd, off_t size)
{
	CALL(ftruncate, int, ftruncate(fd, size));
}

int crew__fallocate(int fd, int mode, off_t offset, off_t size)
{
	int r = crew__fault(CREW__CALL_fallocate);
	if (r == 0)
		do
			r = fallocate(fd, mode, offset, size) < 0 ? -errno : 0;
		while (r == -EINTR);
	return r == -ENOSPC || r == -EFBIG ? -ENOMEM : r; /* in a file that is memory they mean the same */
}

int crew__mmap_at(uint64_t address, size_t size, int protection, int flags, int fd, off_t offset, void **ret)
{
	int fault = crew__fault(CREW__CALL_mmap);
	if (fault)
		return fault;
	void *wanted = (void *)(uintptr_t)address;
	void *p = mmap(wanted, size, protection, flags | (wanted ? MAP_FIXED_NOREPLACE : 0), fd, offset);
	if (p == MAP_FAILED)
		return errno == EEXIST || (wanted && errno == EINVAL) ? -EADDRINUSE : -errno;
	if (wanted && p != wanted) { /* the kernel does not know the flag, or a sanitizer wants the place */
		munmap(p, size);
		return -EADDRINUSE;
	}
	*ret = p;
	return 0;
}

int crew__mmap(size_t size, int protection, int flags, int fd, off_t offset, void **ret)
{
	return crew__mmap_at(0, size, protection, flags, fd, offset, ret);
}

pid_t crew__fork(void)
{
	CALL(fork, pid_t, fork());
}

int crew__pidfd_open(pid_t pid)
{
	CALL(pidfd_open, int, syscall(SYS_pidfd_open, pid, 0));
}

int crew__pidfd_getfd(int pidfd, int fd)
{
	CALL(pidfd_getfd, int, syscall(SYS_pidfd_getfd, pidfd, fd, 0));
}

int crew__pidfd_signal(int pidfd, int signal)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int crew__pidfd_kill_group(int pidfd)
{
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 4 /* PIDFD_SIGNAL_PROCESS_GROUP */);
	return crew__pidfd_signal(pidfd, SIGKILL);
}

int crew__pipe2(int ret[2], int flags)
{
	CALL(pipe2, int, pipe2(ret, flags));
}

int crew__socketpair(int type, int ret[2])
{
	CALL(socketpair, int, socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ret));
}

ssize_t crew__sendmsg(int fd, const struct msghdr *message, int flags)
{
	int fault = crew__fault(CREW__CALL_sendmsg);
	if (fault)
		return fault;
	for (;;) {
		ssize_t sent = sendmsg(fd, message, flags | MSG_NOSIGNAL);
		if (sent >= 0 || errno != EINTR)
			return sent < 0 ? -errno : sent;
	}
}

ssize_t crew__recvmsg(int fd, struct msghdr *message, int flags)
{
	int fault = crew__fault(CREW__CALL_recvmsg);
	if (fault)
		return fault;
	for (;;) {
		ssize_t got = recvmsg(fd, message, flags | MSG_CMSG_CLOEXEC);
		if (got >= 0 || errno != EINTR)
			return got < 0 ? -errno : got;
	}
}

int crew__poll(struct pollfd *fds, nfds_t count, crew_time deadline)
{
	int fault = crew__fault(CREW__CALL_poll);
	if (fault)
		return fault;
	for (;;) {
		struct timespec left = { 0, 0 };
		if (deadline != CREW_FOREVER) {
			crew_time length = deadline <= CREW_POLL ? 0 : deadline - crew_now();
			if (length > 0)
				left = (struct timespec){ length / CREW_SECOND, length % CREW_SECOND };
		}
		int ready = ppoll(fds, count, deadline == CREW_FOREVER ? NULL : &left, NULL);
		if (ready >= 0 || errno != EINTR)
			return ready < 0 ? -errno : ready;
	}
}

int crew__open(const char *path, int flags, mode_t mode)
{
	CALL(open, int, open(path, flags | O_CLOEXEC, mode));
}

int crew__eventfd(unsigned value, int flags)
{
	CALL(eventfd, int, eventfd(value, flags | EFD_CLOEXEC));
}

int crew__signalfd(const sigset_t *signals)
{
	CALL(signalfd, int, signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

int crew__epoll_create(void)
{
	CALL(epoll, int, epoll_create1(EPOLL_CLOEXEC));
}

int crew__epoll_ctl(int epoll, int operation, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events };
	CALL(epoll, int, epoll_ctl(epoll, operation, fd, &event));
}

void *crew__malloc(size_t size)
{
	return crew__fault(CREW__CALL_malloc) ? NULL : malloc(size);
}

void *crew__calloc(size_t count, size_t size)
{
	return crew__fault(CREW__CALL_malloc) ? NULL : calloc(count, size);
}

void *crew__malloc_aligned(size_t alignment, size_t size)
{
	return crew__fault(CREW__CALL_malloc) ? NULL : aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
}

int crew__membarrier(bool join)
{
	CALL(membarrier, int, syscall(SYS_membarrier,
		join ? MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED : MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0));
}

int crew__setrlimit(int resource, const struct rlimit *limit)
{
	CALL(setrlimit, int, setrlimit((__rlimit_resource_t)resource, limit));
}

int crew__waitid(idtype_t type, id_t id, siginfo_t *ret, int options, struct rusage *usage)
{
	int fault = crew__fault(CREW__CALL_waitid);
	if (fault)
		return fault;
	ret->si_pid = 0;
	while (syscall(SYS_waitid, type, id, ret, options, usage) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int crew__fd_raise(int fd)
{
	if (fd < 0 || fd >= 64)
		return fd;
	int high = crew__fault(CREW__CALL_dup) ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 64);
	if (high < 0) /* a low 'ulimit -n': 3 ... 18 are what children may be handed */
		high = crew__fault(CREW__CALL_dup) ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 19);
	if (high < 0)
		return fd;
	close(fd);
	return high;
}
