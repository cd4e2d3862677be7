/*
 * crew/pipe.h - two ends, messages both ways
 *
 * A message sent at one end is received at the other, whole, in order. All zero bytes is
 * a fresh pipe. An end belongs to the process that first uses it, or that it was
 * given to; any thread of that process may use it.
 *
 *     struct crew_pipe *p;                                  // shared
 *     crew_process_start(&child, ...);                      // will use CREW_END_B
 *     crew_pipe_give(p, CREW_END_B, child);
 *     crew_pipe_send(p, CREW_END_A, "hello", 5, deadline);
 *
 * Death. When the process at an end is gone (or has closed it), the other end receives
 * what was sent before, then CREW_END_OF_DATA; its sends return -EPIPE. A message
 * whose sender died inside send is there whole or not at all.
 *
 * A descriptor goes from process to process with crew_pipe_send_fd, once or not at all.
 */
#ifndef CREW_PIPE_H
#define CREW_PIPE_H

#include <crew/error.h>
#include <crew/process.h>

CREW_BEGIN

enum crew_pipe_end { CREW_END_A, CREW_END_B };

/* Messages on their way to one end: a list of blocks in the heap. */
struct crew_way_ {
	uint64_t first, last; /* oldest and newest message; 0: none */
	uint64_t bytes;       /* in all of them, with their heads */
	uint32_t count;
	uint32_t bell;        /* rings with every message put or taken, and at the end */
};

struct crew_pipe {
	uint32_t guard_;        /* lane inside a section on this pipe */
	uint32_t limit_kib_;    /* bytes that may wait in one direction, in KiB; 0: 1024 */
	uint32_t owner_[2];     /* process at each end; 0: nobody yet */
	uint32_t closed_[2];    /* 1: that end was closed */
	uint32_t removed_[2];   /* [e]: messages that have left way_[e], counted round 2^32 */
	struct crew_way_ way_[2]; /* [e]: messages on their way to end e */
};
static_assert(sizeof(struct crew_pipe) == 96, "shared-memory format");

/*
 * Send `size` bytes, 0 and more, as one message. Sleeps while more than the limit
 * (1 MiB) waits to be received; one message of any size always fits into an empty pipe.
 *
 * Errors  -ETIMEDOUT  nothing was sent.      -EPIPE  the other end is gone, or this one closed.
 *         -EPERM      this end belongs to another process.
 *         -EINVAL     the pipe is not in shared memory.
 *         -ENOMEM  -ENOTCONN  -EAGAIN
 */
CREW_API CREW_CHECKED int crew_pipe_send(struct crew_pipe *pipe, enum crew_pipe_end end,
		const void *data, size_t size, crew_time deadline);

/*
 * Receive one message of up to `capacity` bytes. ret_size (may be NULL) gets its size.
 *
 * Returns  0, or CREW_END_OF_DATA when the other end is gone and all was received.
 * Errors   -ETIMEDOUT  none came.
 *          -EMSGSIZE   it is larger: *ret_size tells how large, and it stays.
 *          -ENOMSG     it comes with a descriptor: it stays, for crew_pipe_receive_fd.
 *          -EPIPE      this end is closed.
 *          -EPERM  -EINVAL  -ENOTCONN  -EAGAIN
 */
CREW_API CREW_CHECKED int crew_pipe_receive(struct crew_pipe *pipe, enum crew_pipe_end end,
		void *data, size_t capacity, size_t *ret_size, crew_time deadline);

/*
 * Send a message, of any size, 0 too, and with it an open descriptor. Sleeps until the receiver has taken both: `fd` must stay open
 * so long, then it may be closed. At the deadline the message is withdrawn. If the sender dies inside, it was received or never was.
 *
 * Returns  0: it was taken.
 * Errors   -ETIMEDOUT  it was not, and will not be.    -EPIPE  the same, as the other end is gone.
 *          -EBADF      fd is not open.                 The others as crew_pipe_send.
 */
CREW_API CREW_CHECKED int crew_pipe_send_fd(struct crew_pipe *pipe, enum crew_pipe_end end, int fd,
		const void *data, size_t size, crew_time deadline);

/*
 * Receive one message as crew_pipe_receive does, and the descriptor that comes with it: *ret_fd, a new one, close-on-exec; -1 if it
 * comes without. ret_fd NULL: leave the descriptor behind, take the message.
 *
 * Errors  -EMFILE, -ENFILE, -ENOMEM  no room for one more.
 *         -EACCES  the kernel does not let this process take what the sender has: another user, seccomp, Yama, Linux before 5.6.
 *         -EBADF   the sender has closed it, or its first thread has ended.    With these the message stays.
 *         The others as crew_pipe_receive, but for -ENOMSG.
 */
CREW_API CREW_CHECKED int crew_pipe_receive_fd(struct crew_pipe *pipe, enum crew_pipe_end end, int *ret_fd,
		void *data, size_t capacity, size_t *ret_size, crew_time deadline);

/* Wait until receive would not sleep: 0 for a message or the end, else -ETIMEDOUT. Takes nothing. */
CREW_API CREW_CHECKED int crew_pipe_poll(struct crew_pipe *pipe, enum crew_pipe_end end, crew_time deadline);

/*
 * Hand an end that the calling process or nobody has to a process just started, so that its death is noticed
 * even if it never used the end. Errors: -EPERM  -EPIPE (closed)  -EINVAL  -ENOTCONN  -EAGAIN
 */
CREW_API CREW_CHECKED int crew_pipe_give(struct crew_pipe *pipe, enum crew_pipe_end end,
		const struct crew_process *process);

/* Close an end that the calling process has, or that nobody has. Twice is fine. Errors: -EPERM  -EINVAL  -ENOTCONN  -EAGAIN */
CREW_API CREW_CHECKED int crew_pipe_close(struct crew_pipe *pipe, enum crew_pipe_end end);

/* Free what is still inside and make it a fresh pipe. Nobody else may be using it. */
CREW_API void crew_pipe_fini(struct crew_pipe *pipe);

CREW_END
#endif
