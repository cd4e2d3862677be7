/*
 * crew/wait.h - wait for the first of several things
 *
 *     struct crew_wait_item items[] = {
 *             { .kind = CREW_WAIT_QUEUE, .object = queue },
 *             { .kind = CREW_WAIT_PROCESS, .object = child },
 *             { .kind = CREW_WAIT_FD, .fd = socket, .events = POLLIN },
 *     };
 *     int n = crew_wait_any(items, 3, deadline);       // how many are ready
 *
 * Ready means: a call on it would not sleep. Nothing is taken. Another process may be
 * quicker, so use CREW_POLL for the call that follows.
 */
#ifndef CREW_WAIT_H
#define CREW_WAIT_H

#include <crew/base.h>

CREW_BEGIN

enum crew_wait_kind {
	CREW_WAIT_NOTHING, /* skipped */
	CREW_WAIT_PIPE_A,  /* .object is a crew_pipe: end A can receive */
	CREW_WAIT_PIPE_B,
	CREW_WAIT_TUBE_WRITER, /* .object is a crew_tube: there is room; who is at that end waits */
	CREW_WAIT_TUBE_READER, /* there is data, or the end */
	CREW_WAIT_QUEUE,   /* .object is a crew_queue: a message, or closed */
	CREW_WAIT_PROCESS, /* .object is a crew_process: it has ended */
	CREW_WAIT_EVENT,   /* .object is a crew_event: it is set */
	CREW_WAIT_COUNTER, /* .object is a crew_counter: it is not 0 */
	CREW_WAIT_FD       /* .fd, .events as in poll(2) */
};

struct crew_wait_item {
	enum crew_wait_kind kind;
	void *object;
	int fd;
	short events;
	short ready; /* out: 0, or what poll(2) reported, or 1 */
};

/*
 * Wait until at least one item is ready; sets .ready of all. Returns how many are
 * ready (1 and more).
 * Errors  -ETIMEDOUT  none.
 *         -EINVAL     a kind or object is wrong, more than 64 items, or nothing to wait for.
 *         -EPERM, -EPIPE  an end of a pipe belongs to another process, is closed here.
 *         -EBADF  -EMFILE  -ENOMEM  -ENOTCONN  -EAGAIN
 * With an error all .ready are 0.
 */
CREW_API CREW_CHECKED int crew_wait_any(struct crew_wait_item *items, unsigned count, crew_time deadline);

CREW_END
#endif
