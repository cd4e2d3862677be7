/* talk.h - a conversation of this process with a child, its partner */
#ifndef IPC_TALK_H
#define IPC_TALK_H

#include "mechanism.h"

/* What the child does: echo; receive; take a message, answer, wait; send or receive without end. */
enum task { PING_PONG, ONE_WAY, HOLD, SEND_ON, RECEIVE_ON };

/* What the child is told, and what it tells. In shared memory. */
struct job {
	const struct mechanism *mechanism; /* the program's own table: at the same address in the child */
	struct side side;                  /* the child's */
	enum task task;
	size_t size;
	uint64_t count;
	uint64_t number;                   /* SEND_ON, RECEIVE_ON: of the message that the child is busy with */
	int result;                        /* 0, or why the child gave up */
	uint64_t wrong;                    /* messages that were not what had been sent */
	struct crew_event done;
};

/* The parent's side of a conversation. */
struct talk {
	struct job *job;
	struct side side;
	struct crew_process *child;
};

int talk_begin(struct talk *talk, const struct mechanism *m, enum task task, size_t size, uint64_t count);

/* Returns 0 if the child ended well. */
int talk_end(struct talk *talk);

/* Message number n: its number, then a pattern. */
void message_pattern(unsigned char *data, size_t size);
void message_number(unsigned char *data, uint64_t n);
bool message_is(const unsigned char *data, const unsigned char *expected, size_t size, uint64_t n);

struct measure {
	double seconds;
	uint64_t wrong;
	int result;
};

/* One conversation of `count` messages; the time from the first send until all have arrived. */
struct measure talk_measure(const struct mechanism *m, enum task task, size_t size, uint64_t count);

#endif
