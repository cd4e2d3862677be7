/*
 * crew/once.h - something that is done exactly once in the whole family
 *
 *     static int fill(void *table, bool again);
 *
 *     r = crew_once(&t->filled, fill, t, CREW_FOREVER);     // in whoever comes
 *
 * The first caller runs the function, the others wait for it. All zero bytes is a fresh one.
 *
 * Death. If the one who runs it dies, the next runs it, from the beginning, with again = true: what the dead had done
 * so far is there. Once it has returned 0 it is never run again, whoever dies.
 */
#ifndef CREW_ONCE_H
#define CREW_ONCE_H

#include <crew/lock.h>

CREW_BEGIN

struct crew_once {
	struct crew_lock lock_; /* held by who runs it */
	uint32_t done_;
	uint32_t spare_[3];
};
static_assert(sizeof(struct crew_once) == 32, "shared-memory format");

/*
 * Returns 0: it has been done, by this call or before. Else what the function returned, if it was negative: it has not
 * been done, and the next caller runs it, with again = false.
 * Errors  -ETIMEDOUT  another still runs it.   -EDEADLK  called from inside the function.
 *         -EINVAL  -ENOLCK  -ENOTCONN  -EAGAIN
 */
CREW_API CREW_CHECKED int crew_once(struct crew_once *once, int (*function)(void *argument, bool again), void *argument,
		crew_time deadline);

/* Whether it has been done; if so, all that it stored is visible. */
CREW_API bool crew_once_is_done(const struct crew_once *once);

CREW_END
#endif
