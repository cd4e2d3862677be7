/*
 * crew/queue_message.h - messages of a queue in place: leases, loans, and many at once
 *
 *     struct crew_message m;                           // the careful way to take it
 *     r = crew_queue_take(q, &m, deadline);            // a lease: read m.data in place
 *     ...
 *     crew_queue_done(q, &m);                          // now it is gone for good
 *
 *     struct crew_loan loan;                           // the quick way to put what is large
 *     r = crew_queue_loan(q, 1 << 20, &loan);          // write to loan.data
 *     ...
 *     r = crew_queue_publish(q, &loan, deadline);      // as a put, without a copy
 *
 *     struct iovec jobs[16] = { ... };
 *     r = crew_queue_put_many(q, jobs, 16, deadline);  // one step, all or none
 *
 * Leases and loans belong to the thread that has them: 64 at most. When it ends, in any way, leases go back and
 * loans are gone.
 */
#ifndef CREW_QUEUE_MESSAGE_H
#define CREW_QUEUE_MESSAGE_H

#include <sys/uio.h>
#include <crew/queue.h>

CREW_BEGIN

/* A message under a lease. */
struct crew_message {
	const void *data; /* in shared memory, readable until done */
	size_t size;      /* bytes */
	uint32_t attempt; /* 1; more if a former taker died (255: or more) */
	uint32_t node_;
};

/* Take a message without removing it for good. Returns and errors as get, and -ENOLCK: 64 leases and loans held. */
CREW_API CREW_CHECKED int crew_queue_take(struct crew_queue *queue, struct crew_message *ret, crew_time deadline);

/* The message is dealt with. By the thread that took it; -EPERM otherwise. */
CREW_API CREW_CHECKED int crew_queue_done(struct crew_queue *queue, struct crew_message *message);

/* Put a message taken back, for somebody else: it goes before those never taken, in the order in which they were put. */
CREW_API CREW_CHECKED int crew_queue_return(struct crew_queue *queue, struct crew_message *message);

/* Room for a message, to be written by its thread until it is published or dropped. */
struct crew_loan {
	void *data;    /* in shared memory, aligned to 16 bytes; the content is undefined */
	size_t size;
	uint32_t node_;
};

/* Borrow room for `size` bytes. Never sleeps. Errors: -ENOMEM  -ENOLCK  -EINVAL  -ENOTCONN  -EAGAIN */
CREW_API CREW_CHECKED int crew_queue_loan(struct crew_queue *queue, size_t size, struct crew_loan *ret);

/* Put it; loan->size may have been made smaller. Errors as put, and the loan remains; -EPERM: not this thread's. */
CREW_API CREW_CHECKED int crew_queue_publish(struct crew_queue *queue, struct crew_loan *loan, crew_time deadline);

/* Give it back unused. -EPERM: not this thread's. */
CREW_API CREW_CHECKED int crew_queue_drop_loan(struct crew_queue *queue, struct crew_loan *loan);

/*
 * Many messages in one step, all or none. They take one place of the queue and stay in their order; who gets fewer leaves the
 * rest to come before all others. 1 to CREW_QUEUE_MANY. Errors as put, and -EINVAL: too many, or none.
 */
#define CREW_QUEUE_MANY 1024u
CREW_API CREW_CHECKED int crew_queue_put_many(struct crew_queue *queue, const struct iovec *messages, unsigned count,
		crew_time deadline);

/*
 * Get up to `count` messages: waits for the first, then takes what is there and fits. rooms[i].iov_len is how much fits,
 * then how large it was. Returns and errors as get; after -EMSGSIZE rooms[0].iov_len tells how large.
 */
CREW_API CREW_CHECKED int crew_queue_get_many(struct crew_queue *queue, struct iovec *rooms, unsigned count,
		unsigned *ret_count, crew_time deadline);

CREW_END
#endif
