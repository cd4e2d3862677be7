/*
 * crew/queue.h - a queue of messages between any number of processes, bounded or growing
 *
 * Any member may put, any may get; each message is of any size and goes to one of
 * them, first in, first out. All zero bytes is a queue for 1,024 messages.
 *
 *     r = crew_queue_put(q, &job, sizeof job, deadline);
 *     r = crew_queue_get(q, &job, sizeof job, &size, deadline);
 *
 * Messages taken under a lease, lent to be written in place, and many at once: crew/queue_message.h.
 *
 * Death.
 *     inside put              the message is in, whole, or it is not.
 *     inside get              the message is still there, or gone with the getter.
 *     between take and done   it comes back before all others, m.attempt one higher.
 * Nobody else is held up by any of these, nor by a process that is stopped inside a call: the queue has no
 * lock. What a dead taker had is found within CREW_NOTICE (crew/lock.h).
 */
#ifndef CREW_QUEUE_H
#define CREW_QUEUE_H

#include <crew/base.h>
#include <crew/error.h>

CREW_BEGIN

struct crew_queue {
	uint64_t ring_;      /* all that it consists of, made on first use; 0: not yet */
	uint64_t late_;      /* queue for dead letters; 0: none */
	uint32_t capacity_;  /* messages; 0: 1024. Constant after init */
	uint16_t most_;      /* attempts; 0: no end */
	uint16_t once_;      /* 1: what a dead taker had is dropped */
	uint32_t closed_;    /* 0: open, 1: drain, 2: closed at once */
	uint32_t filled_;    /* rings with a message that can be had, if somebody sleeps, and at the end */
	uint32_t drained_;   /* the same with one that leaves, and at close */
	uint32_t idle_;      /* the same when nothing is inside and nothing leased */
	uint64_t cap_;       /* bytes up to which it grows; 0: it does not */
	uint64_t spare_;
};
static_assert(sizeof(struct crew_queue) == 56, "shared-memory format");

/* Zero means the default. */
struct crew_queue_options {
	uint32_t capacity;               /* messages that fit; 1024 */
	uint32_t max_attempts;           /* what was taken so often, and its taker died each time, goes to ... (up to 254; 0: no end) */
	struct crew_queue *dead_letters; /* ... this queue, with its attempt, however full; NULL: it is dropped.
	                                    (If there is no memory for one more, it comes back once more instead) */
	bool at_most_once;               /* what a dead taker had is dropped at once */
	bool unbounded;                  /* `capacity` is how it begins: instead of waiting for room put makes it, up to ... */
	uint64_t memory_cap;             /* ... this many bytes, and then waits; 0: as long as there is memory, up to 4 million messages */
};

/*
 * The cap is reckoned when the queue grows, for messages as large as those that are then inside. It grows by doubling, and what it
 * has grown to it keeps until crew_queue_fini.
 *
 * Make an empty queue for `capacity` messages (0: 1024), or with these options. -EINVAL: one of them makes no sense.
 */
CREW_API void crew_queue_init(struct crew_queue *queue, uint32_t capacity);
CREW_API CREW_CHECKED int crew_queue_init_sized(struct crew_queue *queue, const struct crew_queue_options *options,
		size_t options_size);
static inline CREW_CHECKED int crew_queue_init_with(struct crew_queue *queue, const struct crew_queue_options *options)
{
	return crew_queue_init_sized(queue, options, sizeof *options);
}

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
 *          -ENOMEM  -ENOTCONN  -EAGAIN
 */
CREW_API CREW_CHECKED int crew_queue_get(struct crew_queue *queue, void *data, size_t capacity,
		size_t *ret_size, crew_time deadline);

/* Wait until every message that was put has been got, or taken and done. Errors: -ETIMEDOUT  -ENOTCONN */
CREW_API CREW_CHECKED int crew_queue_join(struct crew_queue *queue, crew_time deadline);

/*
 * No more puts (-EPIPE). With drain, what is inside can still be got; without, it is dropped, and leases that
 * come back are dropped too. Wakes everybody. Closing again changes drain to dropping, never back.
 */
CREW_API CREW_CHECKED int crew_queue_close(struct crew_queue *queue, bool drain);

/* Messages waiting, exact at one moment; what is just coming back may be counted late. A batch counts once. */
CREW_API uint32_t crew_queue_length(const struct crew_queue *queue);

/* Each figure is right at some moment of the call. */
struct crew_queue_stats {
	uint64_t put, taken;   /* messages that came, and that left, ever; a batch counts once */
	uint64_t redelivered;  /* came back because their taker died */
	uint64_t dead_letters; /* moved to that queue */
	uint64_t dropped;      /* because their taker died */
	uint64_t sleeps;       /* of those who put and get */
	uint32_t waiting, leased;
	uint32_t highest;      /* length, as seen each 64th put and whenever it is full */
};
CREW_API CREW_CHECKED int crew_queue_stats(const struct crew_queue *queue, struct crew_queue_stats *ret);

/*
 * Free what is inside and make it an empty open queue with the same options. Nobody else may be using it, or have leases;
 * but whoever is just about to return from a call is waited for.
 */
CREW_API void crew_queue_fini(struct crew_queue *queue);

CREW_END

#include <crew/queue_message.h>

#endif
