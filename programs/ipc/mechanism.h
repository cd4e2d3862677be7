/*
 * mechanism.h - a way for processes to talk, as three functions and some figures
 *
 * A side is what one process has of it: two descriptors, or places in shared memory. Sides are copied to
 * the other process as they are; its descriptors arrive under numbers that the side then has to be told.
 */
#ifndef IPC_MECHANISM_H
#define IPC_MECHANISM_H

#include <crew/crew.h>

#define PATIENCE (20 * CREW_SECOND) /* for any one message */
#define LARGEST (1u << 20)

struct side {
	int in, out;
	struct crew_pipe *pipe;
	enum crew_pipe_end end;
	struct crew_queue *queue_in, *queue_out;
	size_t part;     /* bytes that go in one piece */
	int patience_ms; /* not 0: give up after so long without progress; the descriptors are O_NONBLOCK */
};

/*
 * Functions return 0, a negative errno, or CREW_END_OF_DATA. receive: -EBADMSG is the end, and -ETIME the end of
 * patience, in the middle of a message.
 */
struct mechanism {
	const char *name;
	size_t most; /* bytes that it can carry */
	size_t part; /* of them in one piece; 0: all */
	int (*open)(struct side *mine, struct side *theirs);
	int (*send)(const struct side *side, const void *data, size_t size);
	int (*receive)(const struct side *side, void *data, size_t size);
	int (*one_way)(int ret[2]); /* to read, to write: many may use them at once, messages of 64 bytes stay whole. NULL: not so */
	bool silent; /* whoever waits is not told that the other side is gone: it is not the only one who may send */
};

extern const struct mechanism mechanisms[];
extern const size_t mechanism_count;

/* From now on calls on this side give up after that time. */
int side_set_patience(struct side *side, int ms);

/* Close the descriptors. Give pipe and queues back, once for both sides, when nobody uses them any more. */
void side_close(const struct side *side);
void side_free(const struct side *side);

#endif
