/*
 * crew/event.h - a flag that processes can wait for
 *
 * All zero bytes is an event that is not set and stays set once it is (manual reset).
 * With CREW_EVENT_AUTO one waiter is let through and the event is clear again.
 *
 * Death. set and clear happen or they do not; a waiter that dies takes
 * nothing with it but, with CREW_EVENT_AUTO, the one pass that it had already taken.
 */
#ifndef CREW_EVENT_H
#define CREW_EVENT_H

#include <crew/base.h>

CREW_BEGIN

struct crew_event {
	uint32_t word_;  /* bit 0: set; bit 1: somebody may sleep on it */
	uint32_t flags_; /* set by crew_event_init, then constant */
};
static_assert(sizeof(struct crew_event) == 8, "shared-memory format");

enum { CREW_EVENT_AUTO = 1 };

/* Make a clear event with flags (0 or CREW_EVENT_AUTO). Zeroed memory needs no call. */
CREW_API void crew_event_init(struct crew_event *event, unsigned flags);

/* Set or clear the event; doing it twice changes nothing. Errors: -ENOTCONN  -EAGAIN */
CREW_API CREW_CHECKED int crew_event_set(struct crew_event *event);
CREW_API CREW_CHECKED int crew_event_clear(struct crew_event *event);

/* Wait until it is set. Errors: -ETIMEDOUT  -ENOTCONN  -EAGAIN */
CREW_API CREW_CHECKED int crew_event_wait(struct crew_event *event, crew_time deadline);

/* Whether it is set at this moment. */
CREW_API bool crew_event_is_set(const struct crew_event *event);

CREW_END
#endif
