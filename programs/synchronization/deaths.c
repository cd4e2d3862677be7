/*
 * deaths.c - one of three is killed with SIGKILL; what do the other two see?
 *
 * Each row is a little play. The victim takes something, or begins to wait, says that it has, and is killed there. The
 * two survivors must then get what crew promises in its headers (paragraphs "Death"), without anybody's help. `seconds`
 * is the time from the kill until both have ended; a survivor that gets anything else, or nothing
 * for ten seconds, is a violation.
 */
#include "cli.h"
#include "report.h"
#include "stage.h"
#include "stats.h"
#include "team.h"

#include <inttypes.h>
#include <stdlib.h>

#define PATIENCE (10 * CREW_SECOND)

enum { VICTIM, FIRST, SECOND, CAST };

struct play {
	const struct scene *scene;
	struct crew_event ready;  /* the victim is where it will die */
	struct crew_event dead;   /* it has been killed */
	struct crew_event never;
	uint32_t count;           /* of what the scene counts */
	struct crew_lock lock;
	struct crew_rwlock rwlock;
	struct crew_semaphore semaphore;
	struct crew_counter counter;
	struct crew_condition condition;
	struct crew_barrier barrier;
	struct crew_queue queue;
	struct crew_pipe pipe;
	crew_time deadline;
};

struct scene {
	const char *name;
	bool (*prepare)(struct play *play);                  /* by the parent, before the others; NULL: nothing */
	int (*victim)(struct play *play);                    /* up to the point where it dies, or waits */
	bool (*survivor)(struct play *play, unsigned number); /* whether all was as promised */
	bool together; /* survivors begin at once, not when the victim is ready */
};

/* --- the scenes --- */

/* A lock, a word behind it that is 1 while the work is half done, and a repair. */
static int hold_lock(struct play *p)
{
	int r = crew_lock_acquire(&p->lock, p->deadline);
	p->count = 1;
	return r;
}

static bool repair_once(struct play *p, unsigned number)
{
	(void)number;
	int r = crew_lock_acquire(&p->lock, p->deadline);
	if (r < 0)
		return false;
	bool right = r == CREW_OWNER_DIED ? p->count == 1 : p->count == 2; /* the first of us repairs */
	if (r == CREW_OWNER_DIED) {
		p->count = 2;
		crew_lock_repaired(&p->lock);
	}
	crew_lock_release(&p->lock);
	return right;
}

static int hold_writer(struct play *p)
{
	return crew_rwlock_write(&p->rwlock, p->deadline);
}

/* Readers go on, warned; a writer repairs. */
static bool read_after_writer(struct play *p, unsigned number)
{
	int r = number == FIRST ? crew_rwlock_read(&p->rwlock, p->deadline) : crew_rwlock_write(&p->rwlock, p->deadline);
	if (r < 0)
		return false;
	if (number == SECOND && r == CREW_OWNER_DIED)
		crew_rwlock_repaired(&p->rwlock);
	crew_rwlock_release(&p->rwlock);
	return number == FIRST || r == CREW_OWNER_DIED;
}

static int hold_reader(struct play *p)
{
	return crew_rwlock_read(&p->rwlock, p->deadline);
}

static bool write_after_reader(struct play *p, unsigned number)
{
	(void)number;
	if (crew_rwlock_write(&p->rwlock, p->deadline) != 0)
		return false;
	crew_rwlock_release(&p->rwlock);
	return true;
}

static bool one_permit(struct play *p)
{
	crew_semaphore_init(&p->semaphore, 1);
	return true;
}

static int hold_permit(struct play *p)
{
	return crew_semaphore_acquire(&p->semaphore, p->deadline);
}

static bool take_permit(struct play *p, unsigned number)
{
	(void)number;
	return crew_semaphore_acquire(&p->semaphore, p->deadline) == 0 && crew_semaphore_release(&p->semaphore) == 0;
}

static bool three_parties(struct play *p)
{
	crew_barrier_init(&p->barrier, CAST);
	return true;
}

/* One phase together; in the second one the victim does not come any more. */
static int meet_once(struct play *p)
{
	return crew_barrier_wait(&p->barrier, NULL, p->deadline);
}

static bool barrier_breaks(struct play *p, unsigned number)
{
	(void)number;
	return crew_barrier_wait(&p->barrier, NULL, p->deadline) == 0
		&& crew_barrier_wait(&p->barrier, NULL, p->deadline) == -ECANCELED;
}

/*
 * Two wait for the count to be raised, and one of them is killed; the third raises it and wakes one. The dead must not take
 * the wake-up with it. The victim has the lock until it waits, so who has the lock after it knows that it does.
 */
static int wait_condition(struct play *p)
{
	int r = crew_lock_acquire(&p->lock, p->deadline);
	if (r == 0)
		r = crew_counter_post(&p->counter, 1);
	while (r == 0)
		r = crew_condition_wait(&p->condition, &p->lock, CREW_FOREVER);
	return r;
}

static bool wake_one(struct play *p, unsigned number)
{
	int r = number == FIRST ? crew_counter_wait(&p->counter, p->deadline) : crew_event_wait(&p->dead, p->deadline);
	if (r == 0)
		r = crew_lock_acquire(&p->lock, p->deadline);
	if (r < 0)
		return false;
	if (number == FIRST) {
		r = crew_event_set(&p->ready);
	} else {
		p->count = 1;
		r = crew_condition_notify(&p->condition, 1);
	}
	while (r == 0 && p->count == 0)
		r = crew_condition_wait(&p->condition, &p->lock, p->deadline);
	crew_lock_release(&p->lock);
	return r == 0;
}

static int wait_counter(struct play *p)
{
	int r = crew_event_set(&p->ready);
	return r < 0 ? r : crew_counter_wait(&p->counter, CREW_FOREVER);
}

/* Two units are posted after the death, for two survivors. */
static bool wait_units(struct play *p, unsigned number)
{
	if (number == FIRST && (crew_event_wait(&p->dead, p->deadline) != 0 || crew_counter_post(&p->counter, 2) != 0))
		return false;
	return crew_counter_wait(&p->counter, p->deadline) == 0;
}

static bool one_message(struct play *p)
{
	return crew_queue_put(&p->queue, "work", 4, CREW_POLL) == 0;
}

static int take_message(struct play *p)
{
	struct crew_message message;
	return crew_queue_take(&p->queue, &message, p->deadline);
}

/* One survivor gets the message again; the other waits until it has been dealt with. */
static bool take_again(struct play *p, unsigned number)
{
	struct crew_message message;
	if (number == SECOND)
		return crew_queue_join(&p->queue, p->deadline) == 0;
	return crew_queue_take(&p->queue, &message, p->deadline) == 0 && message.attempt == 2
		&& crew_queue_done(&p->queue, &message) == 0;
}

static int send_message(struct play *p)
{
	return crew_pipe_send(&p->pipe, CREW_END_A, "last words", 10, p->deadline);
}

/* What was sent arrives, then the end. */
static bool hear_end(struct play *p, unsigned number)
{
	char words[16];
	size_t size;
	if (number == SECOND)
		return true;
	return crew_pipe_receive(&p->pipe, CREW_END_B, words, sizeof words, &size, p->deadline) == 0 && size == 10
		&& crew_pipe_receive(&p->pipe, CREW_END_B, words, sizeof words, &size, p->deadline) == CREW_END_OF_DATA;
}

static const struct scene scenes[] = {
	{ "holds a lock", NULL, hold_lock, repair_once, false },
	{ "writes under a rwlock", NULL, hold_writer, read_after_writer, false },
	{ "reads under a rwlock", NULL, hold_reader, write_after_reader, false },
	{ "holds the only permit", one_permit, hold_permit, take_permit, false },
	{ "is missing at a barrier", three_parties, meet_once, barrier_breaks, true },
	{ "waits for a condition", NULL, wait_condition, wake_one, true },
	{ "waits for a counter", NULL, wait_counter, wait_units, false },
	{ "has taken a message", one_message, take_message, take_again, false },
	{ "is one end of a pipe", NULL, send_message, hear_end, false },
};

/* --- the stage --- */

static int act(void *shared, unsigned number)
{
	struct play *p = shared;
	if (number == VICTIM) {
		int r = p->scene->victim(p);
		if (r == 0)
			r = crew_event_set(&p->ready);
		return r < 0 ? r : crew_event_wait(&p->never, CREW_FOREVER);
	}
	if (!p->scene->together && crew_event_wait(&p->ready, p->deadline) != 0)
		return 1;
	return !p->scene->survivor(p, number);
}

void show_deaths(struct report *report)
{
	for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
		struct play *play;
		int r = crew_alloc_zeroed(sizeof *play, (void **)&play);
		if (r < 0)
			cli_lack("crew_alloc: %s", crew_strerror(r));
		play->scene = &scenes[i];
		play->deadline = crew_after(PATIENCE);
		bool ready = !play->scene->prepare || play->scene->prepare(play);
		struct team *team = team_start(CAST, "cast", act, play);
		ready = ready && crew_event_wait(&play->ready, play->deadline) == 0;
		double begin = stats_clock();
		team_kill(team, VICTIM);
		ready = crew_event_set(&play->dead) == 0 && ready;
		unsigned failed = team_join(team, play->deadline + CREW_SECOND);

		struct json_t *row = report_row(report);
		report_str(row, "problem", "death");
		report_str(row, "version", play->scene->name);
		report_uint(row, "operations", CAST - 1 - failed);
		report_uint(row, "violations", failed);
		report_real(row, "seconds", stats_clock() - begin);
		report_check(report, ready && failed == 0, "death: who %s dies, and %u of 2 survivors saw something else",
			play->scene->name, failed);
		crew_queue_fini(&play->queue);
		crew_pipe_fini(&play->pipe);
		crew_free(play);
	}
}
