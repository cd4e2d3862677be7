/*
 * message.c - make a message, move it from place to place, consume it
 *
 * State    A list is a word `first` and a word `last`, both 0 when empty, linked by message.next.
 * Writers  a message in a hand: that lane alone. In a list: inside sections on the guard of that list.
 * Death    crew__message_make: the block is in the hand from the moment it exists; the sweep frees it.
 *          crew__message_consume: the message is in the hand; the sweep frees it, it is gone with the receiver.
 */
#include <string.h>
#include <crew/error.h>
#include "channel/message.h"
#include "memory/heap.h"

static struct crew__message *at(uint64_t offset)
{
	return crew__at(offset);
}

int crew__message_make(struct crew__lane *lane, const void *data, size_t size)
{
	void *block;
	if (size > SIZE_MAX - sizeof(struct crew__message))
		return -ENOMEM;
	int r = crew__alloc_mine(lane, CREW__HAND, sizeof(struct crew__message) + size, &block);
	if (r < 0)
		return r;
	struct crew__message *message = block;
	*message = (struct crew__message){ .size = size };
	if (size)
		memcpy(crew__payload(message), data, size);
	return 0;
}

void crew__message_consume(struct crew__lane *lane, void *data)
{
	struct crew__message *message = at(lane->mine[CREW__HAND]);
	if (data && message->size)
		memcpy(data, crew__payload(message), message->size);
	crew__free_mine(lane, CREW__HAND);
}

void crew__list_append_mine(struct crew__lane *lane, uint64_t *first, uint64_t *last)
{
	uint64_t message = lane->mine[CREW__HAND];
	crew__set64(lane, *last ? &at(*last)->next : first, message);
	crew__set64(lane, last, message);
	crew__set64(lane, &lane->mine[CREW__HAND], 0);
}

void crew__list_shift_mine(struct crew__lane *lane, uint64_t *first, uint64_t *last)
{
	const struct crew__message *message = at(*first);
	crew__set64(lane, &lane->mine[CREW__HAND], *first);
	crew__set64(lane, first, message->next);
	if (!message->next)
		crew__set64(lane, last, 0);
}
