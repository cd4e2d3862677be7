/*
 * message.h - a message of a pipe on its way: one block of the heap, in one list
 *
 *     hand of its sender -> list of the pipe -> hand of its receiver (or of who withdraws it) -> freed
 *
 * Each arrow is one section, so a message is in exactly one place whenever somebody dies; and each
 * place says what becomes of it then: freed from a hand, left in a list.
 */
#ifndef CREW_CHANNEL_MESSAGE_H
#define CREW_CHANNEL_MESSAGE_H

#include "sync/section.h"

struct crew__message {
	uint64_t next;       /* in the list it is in */
	uint64_t size;       /* bytes of payload, which follows */
	uint64_t sender;     /* with a descriptor: process id << 32 | lane id of who waits until it is taken */
	uint64_t descriptor; /* what its sender has open, plus one; 0: none */
};
static_assert(sizeof(struct crew__message) == 32, "the payload is aligned to 16 bytes, as the block is");

/* The hand of a lane (lane->mine[]) that this layer uses. */
enum { CREW__HAND = 0 };

static inline void *crew__payload(struct crew__message *message)
{
	return message + 1;
}

/* A message with a copy of the data, in the lane's hand. 0; -ENOMEM and what else crew__alloc_mine says. */
int crew__message_make(struct crew__lane *lane, const void *data, size_t size);

/* Copy the payload of the message in the lane's hand out, and free it. */
void crew__message_consume(struct crew__lane *lane, void *data);

/* Inside a section. From the hand to the end of a list; first of a list to the hand. */
void crew__list_append_mine(struct crew__lane *lane, uint64_t *first, uint64_t *last);
void crew__list_shift_mine(struct crew__lane *lane, uint64_t *first, uint64_t *last);

#endif
