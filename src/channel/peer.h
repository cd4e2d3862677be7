/* peer.h - the process at the other end of something: its life as a word to sleep on */
#ifndef CREW_CHANNEL_PEER_H
#define CREW_CHANNEL_PEER_H

#include "channel/watch.h"

/* What changes when that process (id, or 0: nobody yet) is reaped, as a watch: how many, 0 or 1. */
unsigned crew__peer_watch(uint32_t process, struct crew__watch *ret);

/* How long to sleep at a time: a child of CREW_FORK is reaped only when its starter gets to it, so its pidfd is looked at. */
crew_time crew__peer_slice(uint32_t process);

/*
 * Sleep on watches until there is news, as crew__watch_wait; *dead becomes the process if that turns out to have ended, which
 * is to be looked at once more even when the deadline has passed.
 */
int crew__peer_wait(struct crew__lane *lane, const struct crew__watch *watches, unsigned count, uint32_t process,
		crew_time deadline, uint32_t *dead);

#endif
