/*
 * crew/tube.h - a stream of bytes from one writer to one reader
 *
 *     struct crew_tube *tube;                              // in shared memory; all zero bytes is a fresh tube
 *     crew_tube_write(tube, &x, sizeof x, NULL, deadline);       // a thread of one process
 *     crew_tube_read_all(tube, &x, sizeof x, NULL, deadline);    // a thread of another
 *
 * An end belongs to the thread that first uses it. Small pieces cost a few nanoseconds each; nobody makes a system call
 * unless the other one sleeps. There are no boundaries: for messages take a crew_pipe or a crew_queue.
 *
 * Death. When the thread at the other end is gone (or has closed it), reads give what was written before, then
 * CREW_END_OF_DATA; writes give -EPIPE, at the latest when the room is used up. Of a write whose thread dies inside,
 * pieces of up to half the tube's size (32 KiB) are there whole or not at all.
 */
#ifndef CREW_TUBE_H
#define CREW_TUBE_H

#include <crew/error.h>
#include <crew/process.h>

CREW_BEGIN

enum crew_tube_end { CREW_TUBE_WRITER, CREW_TUBE_READER };

/* Three cache lines, if the struct begins one: what both read and seldom anybody writes; the writer's; the reader's. */
struct crew_tube {
	uint32_t guard_;
	uint32_t size_kib_;   /* 0: 64. A power of two, to be set before the first use */
	uint32_t process_[2]; /* at each end; 0: nobody yet */
	uint32_t lane_[2];    /* its thread; 0: none yet, or closed */
	uint32_t closed_[2];
	uint64_t ring_;       /* block of the heap; 0: not used yet */
	uint64_t mask_;       /* its size - 1 */
	uint32_t bell_[2];    /* rings for who sleeps at that end */
	uint64_t spare_;
	uint64_t tail_;       /* bytes written so far; what the writer last saw of head_ */
	uint64_t head_seen_;
	uint64_t apart_[6];
	uint64_t head_;       /* bytes read so far; what the reader last saw of tail_ */
	uint64_t tail_seen_;
	uint64_t more_[6];
};
static_assert(sizeof(struct crew_tube) == 192, "shared-memory format");

/*
 * Write `size` bytes. ret (may be NULL) gets how many were written: all, with 0; fewer, with an error.
 *
 * Errors  -ETIMEDOUT  the tube was full until the deadline.
 *         -EPIPE      the reader is gone, or this end closed.
 *         -EPERM      this end belongs to another thread.
 *         -EINVAL     the tube is not in shared memory, or its size no power of two.
 *         -ENOMEM  -ENOTCONN  -EAGAIN
 */
CREW_API CREW_CHECKED int crew_tube_write(struct crew_tube *tube, const void *data, size_t size, size_t *ret, crew_time deadline);

/*
 * Read what is there, at least one byte and up to `capacity`; or exactly `size` bytes. ret (may be NULL for read_all) gets
 * how many were read: 0 with an error or the end, but for read_all, which has then read that many.
 *
 * Returns 0, or CREW_END_OF_DATA. Errors: -ETIMEDOUT; -EPIPE, this end closed; the others as above.
 */
CREW_API CREW_CHECKED int crew_tube_read(struct crew_tube *tube, void *data, size_t capacity, size_t *ret, crew_time deadline);
CREW_API CREW_CHECKED int crew_tube_read_all(struct crew_tube *tube, void *data, size_t size, size_t *ret, crew_time deadline);

/*
 * The same in place. reserve: room in the tube, at least a byte and as much as there is in one piece; fill it, and commit what
 * the reader shall see. peek: what was written, in one piece; consume gives room back. Nothing has happened
 * before commit, consume. More than was reserved, peeked: -EINVAL.
 */
CREW_API CREW_CHECKED int crew_tube_reserve(struct crew_tube *tube, void **ret, size_t *ret_size, crew_time deadline);
CREW_API CREW_CHECKED int crew_tube_commit(struct crew_tube *tube, size_t size);
CREW_API CREW_CHECKED int crew_tube_peek(struct crew_tube *tube, const void **ret, size_t *ret_size, crew_time deadline);
CREW_API CREW_CHECKED int crew_tube_consume(struct crew_tube *tube, size_t size);

/* Wait until a read (a write of one byte) would not sleep: 0, also at the end; else -ETIMEDOUT. crew_wait_any does so for many. */
CREW_API CREW_CHECKED int crew_tube_poll(struct crew_tube *tube, enum crew_tube_end end, crew_time deadline);

/*
 * Hand an end that the calling thread or nobody has to a process just started, so that its death is noticed even if it
 * never used the end; or, with NULL, to the next thread that uses it. Errors: -EPERM  -EPIPE (closed)  -EINVAL  -ENOTCONN  -EAGAIN
 */
CREW_API CREW_CHECKED int crew_tube_give(struct crew_tube *tube, enum crew_tube_end end, const struct crew_process *process);

/* Close an end that a thread of the calling process has, or nobody. Twice is fine. Errors: -EPERM  -EINVAL  -ENOTCONN  -EAGAIN */
CREW_API CREW_CHECKED int crew_tube_close(struct crew_tube *tube, enum crew_tube_end end);

/* Free what is inside and make it a fresh tube. Nobody else may be using it. */
CREW_API void crew_tube_fini(struct crew_tube *tube);

CREW_END
#endif
