/* queue.h - between queue.c and lease.c */
#ifndef CREW_CHANNEL_QUEUE_H
#define CREW_CHANNEL_QUEUE_H

#include <crew/queue.h>
#include "channel/message.h"

/*
 * Wait for a message and enter the section: 0, the queue's first message can be had, inside the section.
 * Otherwise outside: CREW_END_OF_DATA, -ETIMEDOUT, ...
 */
int crew__queue_enter_filled(struct crew_queue *queue, struct crew__lane *lane, crew_time deadline);

/* The bells that a section rings as it ends: all at once, before its guard is free (crew__leave_and_ring_each). */
struct crew__rings {
	unsigned n;
	uint32_t *bell[3];
	uint32_t count[3];
};
void crew__rings_add(struct crew__rings *rings, uint32_t *bell, uint32_t count);

/* At the end of a section in which something has left the queue for good. */
void crew__queue_add_idle(struct crew_queue *queue, struct crew__rings *rings);
void crew__queue_leave(struct crew_queue *queue, struct crew__lane *lane, const struct crew__rings *rings);

/* Free all messages that wait, one section each. */
void crew__queue_drop(struct crew_queue *queue, struct crew__lane *lane);

/* Whether this lane has a lease of the queue. */
bool crew__lease_of(const struct crew__lane *lane, const struct crew_queue *queue);

/* Put all leases of this lane on the queue back. */
void crew__lease_return_all(struct crew_queue *queue, struct crew__lane *lane);

#endif
