/*
 * poller.h - descriptors as a futex word
 *
 * One thread per process, started on first use, waits for sets of descriptors and changes one
 * word when something in an armed set is ready. The sleeper then looks at its own set with poll(2).
 */
#ifndef CREW_CHANNEL_POLLER_H
#define CREW_CHANNEL_POLLER_H

#include <poll.h>
#include <crew/base.h>

/* A set with these descriptors, as a descriptor in *ret. -EBADF, -EMFILE, -ENOMEM, -EAGAIN. */
int crew__poller_open(const struct pollfd *fds, unsigned count, int *ret);
void crew__poller_close(int set);

/* The word; and arm a set for one ring: at once, if something in it is ready now. */
uint32_t *crew__poller_word(void);
int crew__poller_arm(int set);

/* End the thread; in the child of a fork: there is none. */
void crew__poller_stop(void);
void crew__poller_forget(void);

#endif
