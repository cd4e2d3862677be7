/*
 * watch.h - words that change when something becomes ready, and the sleep on several of them
 *
 * A look at an object answers "ready", or fills in watches: a word each, and its value from before the look.
 * crew__watch_wait then returns at once if one has changed meanwhile, so no news is slept through.
 */
#ifndef CREW_CHANNEL_WATCH_H
#define CREW_CHANNEL_WATCH_H

#include <crew/pipe.h>
#include <crew/queue.h>
#include "sync/section.h"

enum crew__watch_kind {
	CREW__WATCH_BELL,      /* a bell whose ring wakes all */
	CREW__WATCH_BELL_ONE,  /* a bell whose ring wakes one, who then takes something: a watcher passes the wake-up on */
	CREW__WATCH_STATE,     /* a plain futex word: state of a process, or the poller's word */
	CREW__WATCH_EVENT,     /* crew_event.word_ */
	CREW__WATCH_COUNTER    /* crew_counter.value_; a post wakes as many as it has units, so passed on too */
};

struct crew__watch {
	uint32_t *word;
	uint32_t seen;
	enum crew__watch_kind kind;
};

#define CREW__WATCHES 127u /* what futex_waitv takes, less one */

/*
 * Sleep until a word has changed, `slice` ns at most. 0: look again (also for no reason); CREW__SLICE_OVER: the same, and for
 * the dead as well; -ETIMEDOUT: at the deadline. Dead lanes have been swept by then.
 */
enum { CREW__SLICE_OVER = 1 };
int crew__watch_wait(struct crew__lane *lane, const struct crew__watch *watches, unsigned count, crew_time slice,
		crew_time deadline);

/*
 * Would a get / a receive at that end return at once? 1: yes. 0: no; *count watches (up to 2) tell when to look again,
 * the object's own first. Negative: an error of that call. thorough: make sure that the other process lives. The slice
 * to sleep for is lowered where a death may have to be looked for.
 */
int crew__queue_look(struct crew_queue *queue, struct crew__watch ret[2], unsigned *count);
int crew__pipe_look(struct crew_pipe *pipe, enum crew_pipe_end end, bool thorough, struct crew__watch ret[2],
		unsigned *count, crew_time *slice);

#endif
