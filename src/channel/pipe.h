/* pipe.h - what the files of a pipe have in common: pipe.c, pipe_descriptor.c */
#ifndef CREW_CHANNEL_PIPE_H
#define CREW_CHANNEL_PIPE_H

#include <crew/pipe.h>
#include "channel/message.h"

/* Check pipe and end, and find this thread's lane. */
int crew__pipe_begin(struct crew_pipe *pipe, enum crew_pipe_end end, struct crew__lane **ret);

/* Enter a section on the pipe. If the process at the end opposite to `end` is `dead` (0: not known), that end is closed for it. */
int crew__pipe_enter(struct crew_pipe *pipe, enum crew_pipe_end end, uint32_t dead, struct crew__lane *lane);

/* Whether the process at that end has closed it or is no more. Inside a section. */
bool crew__pipe_is_gone(const struct crew_pipe *pipe, unsigned end);

/* Sleep on the bell of a way, `seen` before the look, and on the life of `other`, as crew__peer_wait. */
int crew__pipe_wait(struct crew_pipe *pipe, struct crew__lane *lane, unsigned way, uint32_t seen, uint32_t other,
		crew_time deadline, uint32_t *dead);

/* Where in a way a message was put: how many were before it, and how many had left the way by then. */
struct crew__pipe_place { uint32_t before, removed; };

/* Send the message in the lane's hand, as crew_pipe_send. */
int crew__pipe_send_mine(struct crew_pipe *pipe, enum crew_pipe_end end, struct crew__lane *lane, crew_time deadline,
		struct crew__pipe_place *ret);

/* The message with a descriptor that this sender has on its way to an end; NULL: none any more. *ret_before: the one before it. Inside a section. */
struct crew__message *crew__pipe_find(const struct crew_way_ *way, uint64_t sender, struct crew__message **ret_before);

/* End the section by taking that message into the hand, then free it. before: as found. */
void crew__pipe_remove(struct crew_pipe *pipe, unsigned end, struct crew__lane *lane, struct crew__message *message,
		struct crew__message *before);

/* If the sender of a message with a descriptor is dead, see to it that this message is gone: true. Outside of sections. */
bool crew__pipe_withdraw_dead(struct crew_pipe *pipe, unsigned end, struct crew__lane *lane, uint64_t sender);

#endif
