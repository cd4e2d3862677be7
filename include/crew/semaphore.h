/*
 * crew/semaphore.h - permits that come back when their holder dies
 *
 * A fixed number of permits; who acquires one owns it, and only a holder may
 * release. All zero bytes is a semaphore without permits. For signals that anybody
 * may post see crew/counter.h.
 *
 * Death. The permits of a dead thread or process come back; a waiter gets one.
 */
#ifndef CREW_SEMAPHORE_H
#define CREW_SEMAPHORE_H

#include <crew/base.h>

CREW_BEGIN

struct crew_semaphore {
	uint32_t guard_;   /* lane inside a section on this semaphore */
	uint32_t free_;    /* permits that nobody holds; changed inside the section */
	uint32_t bell_;    /* changes when a permit comes back */
	uint32_t total_;
};
static_assert(sizeof(struct crew_semaphore) == 16, "shared-memory format");

/* Make a semaphore with `permits` permits, all free. */
CREW_API void crew_semaphore_init(struct crew_semaphore *semaphore, uint32_t permits);

/* Take one permit. Errors: -ETIMEDOUT  -ENOLCK (too many kinds of things held)  -ENOTCONN  -EAGAIN */
CREW_API CREW_CHECKED int crew_semaphore_acquire(struct crew_semaphore *semaphore, crew_time deadline);

/* Give one permit back. -EPERM if the calling thread holds none. */
CREW_API CREW_CHECKED int crew_semaphore_release(struct crew_semaphore *semaphore);

/* Permits free at this moment. */
CREW_API uint32_t crew_semaphore_free(const struct crew_semaphore *semaphore);

CREW_END
#endif
