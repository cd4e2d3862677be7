/*
 * sys.h - the system calls that can fail, behind one table, so that tests can make them fail
 *
 * Each wrapper returns what the call returns, or a negative errno; it repeats the call
 * on EINTR where that is right. crew__fault_set (or CREW_FAULT=call:nth:errno in the environment)
 * makes the nth use of a call fail, in this process and those forked from it later.
 */
#ifndef CREW_BASE_SYS_H
#define CREW_BASE_SYS_H

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <crew/base.h>
#include <crew/error.h>

/* Built with TSan: it runs threads of its own, another one after fork, and its shadow costs four times the address space. */
#if defined(__SANITIZE_THREAD__)
#define CREW__TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CREW__TSAN 1
#endif
#endif
#ifndef CREW__TSAN
#define CREW__TSAN 0
#endif

/* One list of the calls: their names for CREW_FAULT. */
#define CREW__CALLS(X) \
	X(memfd_create) X(ftruncate) X(fallocate) X(mmap) X(fork) X(pidfd_open) X(pidfd_getfd) X(pipe2) X(socketpair) \
	X(sendmsg) X(recvmsg) X(poll) X(open) X(futex_wait) X(futex_wake) X(waitid) X(setrlimit) X(dup) \
	X(eventfd) X(signalfd) X(epoll) X(pthread_create) X(membarrier) X(malloc)

enum crew__call {
#define X(name) CREW__CALL_##name,
	CREW__CALLS(X)
#undef X
	CREW__CALL_COUNT
};

/* The nth next use (1: the very next) of `call` fails with `error` (positive errno); `times` uses in a row; nth 0: never. */
void crew__fault_set(enum crew__call call, unsigned nth, int error, unsigned times);

/* How often it has failed by that, in this process. */
unsigned crew__fault_struck(enum crew__call call);

/* From "fork:1:EAGAIN,mmap:3:ENOMEM". Returns 0 or -EINVAL. */
int crew__fault_parse(const char *text);

/* 0, or the negative errno with which this use of the call shall fail. */
int crew__fault(enum crew__call call);

int crew__memfd_create(const char *name, unsigned flags);
int crew__ftruncate(int fd, off_t size);
/* -ENOMEM also where fallocate(2) says ENOSPC. */
int crew__fallocate(int fd, int mode, off_t offset, off_t size);
int crew__mmap(size_t size, int protection, int flags, int fd, off_t offset, void **ret);
/* The same at just that address (0: anywhere); -EADDRINUSE if something else is there. */
int crew__mmap_at(uint64_t address, size_t size, int protection, int flags, int fd, off_t offset, void **ret);
pid_t crew__fork(void);
int crew__pidfd_open(pid_t pid);
int crew__pidfd_getfd(int pidfd, int fd); /* close-on-exec; -EBADF or -ESRCH where that process has no such descriptor */
int crew__pidfd_signal(int pidfd, int signal);
int crew__pidfd_kill_group(int pidfd); /* SIGKILL to the process and, from Linux 6.9 on, to the group that it leads */
int crew__pipe2(int ret[2], int flags);
int crew__socketpair(int type, int ret[2]); /* AF_UNIX, close-on-exec */
ssize_t crew__sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t crew__recvmsg(int fd, struct msghdr *message, int flags);
int crew__poll(struct pollfd *fds, nfds_t count, crew_time deadline); /* as poll(2); 0 at the deadline */
int crew__open(const char *path, int flags, mode_t mode);
/* The same open file at 64 or above, out of the way of standard streams and of what children are handed; close-on-exec. Errors pass through. */
int crew__fd_raise(int fd);
int crew__eventfd(unsigned value, int flags);  /* close-on-exec, as all of these */
int crew__signalfd(const sigset_t *signals);   /* non-blocking */
int crew__epoll_create(void);
int crew__epoll_ctl(int epoll, int operation, int fd, uint32_t events);
/* Make this process hear of the others' barriers (join), or be one to all that hear: then a store of theirs is seen here, or a
 * store made here before is seen by them after it. 0, or a negative errno. */
int crew__membarrier(bool join);
int crew__setrlimit(int resource, const struct rlimit *limit);
/* waitid(2) with resource usage; 0, or a negative errno. ret->si_pid is 0 with WNOHANG and nothing to report. */
int crew__waitid(idtype_t type, id_t id, siginfo_t *ret, int options, struct rusage *usage);

/* Private memory, as malloc(3): NULL when there is none. */
void *crew__malloc(size_t size);
void *crew__calloc(size_t count, size_t size);
void *crew__malloc_aligned(size_t alignment, size_t size);

/* Sleep while *word is `expected`, until the deadline. 0 (woken, or it differs, or a signal), -ETIMEDOUT. Words are shared between processes. */
int crew__futex_wait(const uint32_t *word, uint32_t expected, crew_time deadline);
/* Wake up to `count` sleepers; how many there were to wake. */
uint32_t crew__futex_wake(uint32_t *word, uint32_t count);
/* Sleep while every words[i] is expected[i] (up to 127). As futex_wait; -ENOSYS where the kernel lacks futex_waitv. */
int crew__futex_wait_any(const uint32_t *const *words, const uint32_t *expected, unsigned count, crew_time deadline);

/* Print one line "crew: ..." on stderr with write(2) and abort. For misuse that cannot be returned. */
void crew__panic(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* One turn of a spin loop; false once `turn` has reached the limit (0 on a single CPU). */
bool crew__spin(unsigned turn);

/* Open the shape of options structs of an older or newer caller: copies what both know; -EINVAL if the unknown tail is not zero. */
int crew__options(void *ret, size_t size, const void *options, size_t options_size);

#endif
