/* queue.h - between queue.c and lease.c */
#ifndef CREW_CHANNEL_QUEUE_H
#define CREW_CHANNEL_QUEUE_H

#include <crew/queue.h>
#include "channel/message.h"

/* Check the place, find the lane, mark it (crew__channel_begin). */
int crew__queue_begin(struct crew_queue *queue, struct crew__lane **ret);

/*
 * Wait for a message and enter the section: 0, the queue's first message can be had, inside the section.
 * Otherwise outside: CREW_END_OF_DATA, -ETIMEDOUT, ...
 */
int crew__queue_enter_filled(struct crew_queue *queue, struct crew__lane *lane, crew_time deadline);

/* Whether nothing is inside and nothing leased. Inside a section. */
bool crew__queue_is_idle(const struct crew_queue *queue);

/* After a section that made the queue idle: tell those who join, and if it is closed those who get. */
void crew__queue_ring_idle(struct crew_queue *queue, struct crew__lane *lane);

/* Free all messages that wait, one section each. */
void crew__queue_drop(struct crew_queue *queue, struct crew__lane *lane);

/* Whether this lane has a lease of the queue. */
bool crew__lease_of(const struct crew__lane *lane, const struct crew_queue *queue);

/* Put all leases of this lane on the queue back. */
void crew__lease_return_all(struct crew_queue *queue, struct crew__lane *lane);

#endif
