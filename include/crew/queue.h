/*
 * crew/queue.h - a bounded queue of messages between any number of processes
 *
 * Any member may put, any may get; each message is of any size and goes to one of
 * them, first in, first out. All zero bytes is a queue for 1,024 messages.
 *
 *     r = crew_queue_put(q, &job, sizeof job, deadline);
 *
 *     struct crew_message m;                           // the careful way to take it
 *     r = crew_queue_take(q, &m, deadline);            // a lease: read m.data in place
 *     ...
 *     crew_queue_done(q, &m);                          // now it is gone for good
 *
 * Death.
 *     inside put              the message is in, whole, or it is not.
 *     inside get, or after    the message is gone with the getter.
 *     between take and done   it comes back at the head, m.attempt one higher.
 * Nobody else is held up by any of these. What a dead taker had is found within CREW_NOTICE (crew/lock.h).
 */
#ifndef CREW_QUEUE_H
#define CREW_QUEUE_H

#include <crew/base.h>
#include <crew/error.h>

CREW_BEGIN

struct crew_queue {
	uint32_t guard_;    /* lane inside a section on this queue */
	uint32_t capacity_; /* messages; 0: 1024. Constant after init */
	uint64_t first_;    /* oldest message, a block in the heap; 0: none */
	uint64_t last_;
	uint32_t count_;    /* messages waiting */
	uint32_t leased_;   /* taken, not yet done */
	uint32_t closed_;   /* 0: open, 1: drain, 2: closed at once */
	uint32_t filled_;   /* rings with every message that becomes available, and at the end */
	uint32_t drained_;  /* rings with every message that leaves, and at close */
	uint32_t idle_;     /* rings when nothing is inside and nothing leased */
	uint64_t put_total_; /* messages ever put: for statistics */
};
static_assert(sizeof(struct crew_queue) == 56, "shared-memory format");

/* Make an empty queue for `capacity` messages (0: 1024). */
CREW_API void crew_queue_init(struct crew_queue *queue, uint32_t capacity);

/*
 * Put a message of `size` bytes (0 and more), sleeping while the queue is full.
 * Errors  -ETIMEDOUT  not put.     -EPIPE  closed.     -EINVAL  the queue is not in shared memory.
 *         -ENOMEM  -ENOTCONN  -EAGAIN
 */
CREW_API CREW_CHECKED int crew_queue_put(struct crew_queue *queue, const void *data, size_t size,
		crew_time deadline);

/*
 * Get a message of up to `capacity` bytes; ret_size may be NULL.
 * Returns  0, or CREW_END_OF_DATA when the queue is closed and drained. What others have leased may come back, so it
 *          is drained only when that is done, too; whoever has a lease of it gets the end without waiting for others.
 * Errors   -ETIMEDOUT  none came.   -EMSGSIZE  larger: *ret_size tells how large, and it stays.
 *          -ENOTCONN  -EAGAIN
 */
CREW_API CREW_CHECKED int crew_queue_get(struct crew_queue *queue, void *data, size_t capacity,
		size_t *ret_size, crew_time deadline);

/* A message under a lease. */
struct crew_message {
	const void *data; /* in shared memory, readable until done */
	size_t size;      /* bytes */
	uint32_t attempt; /* 1; more if a former taker died */
};

/* Take a message without removing it for good. Returns and errors as get, and -ENOLCK: 64 leases held. */
CREW_API CREW_CHECKED int crew_queue_take(struct crew_queue *queue, struct crew_message *ret, crew_time deadline);

/* The message is dealt with. By the thread that took it; -EPERM otherwise. */
CREW_API CREW_CHECKED int crew_queue_done(struct crew_queue *queue, struct crew_message *message);

/* Put a message taken back at the head, for somebody else. By the thread that took it. */
CREW_API CREW_CHECKED int crew_queue_return(struct crew_queue *queue, struct crew_message *message);

/* Wait until every message that was put has been got, or taken and done. Errors: -ETIMEDOUT  -ENOTCONN */
CREW_API CREW_CHECKED int crew_queue_join(struct crew_queue *queue, crew_time deadline);

/*
 * No more puts (-EPIPE). With drain, what is inside can still be got; without, it is dropped, and leases that
 * come back are dropped too. Wakes everybody. Closing again changes drain to dropping, never back.
 */
CREW_API CREW_CHECKED int crew_queue_close(struct crew_queue *queue, bool drain);

/* Messages waiting, exact at one moment. */
CREW_API uint32_t crew_queue_length(const struct crew_queue *queue);

/* Free what is inside and make it an empty open queue of the same capacity. Nobody else may be using it, or have leases. */
CREW_API void crew_queue_fini(struct crew_queue *queue);

CREW_END
#endif
