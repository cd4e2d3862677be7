/*
 * deaths.c - the kill matrix: somebody who holds, waits or belongs is killed or stopped; what do the others get?
 *
 * Each row is a little play of three. The victim takes something, or waits for something, and meets its fate there: SIGKILL
 * or SIGSTOP. A survivor wants the same thing; the parent does what somebody has to do (gives back, notifies, puts). The
 * survivor must get what crew promises in its headers (paragraphs "Death"), without anybody's help. Who is stopped is not
 * dead: what it holds stays its own, others wait, up to their deadlines; once it goes on, so does everything.
 *
 *     others_get  what the survivor's call returned
 *     seconds     from the fate, or from what the parent did then, until the survivor had it (none if it was in vain)
 *
 * In the end the object must be of use again. A survivor that gets anything else, or nothing, is a violation.
 */
#include "cli.h"
#include "report.h"
#include "stage.h"
#include "stats.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define PATIENCE (10 * CREW_SECOND)
#define SHORT (150 * CREW_MILLISECOND) /* how long a survivor waits for what it must not get */

struct play {
	const struct scene *scene;
	struct crew_event ready, entered; /* the survivor may come; it has come */
	struct crew_event there, go_on;   /* the victim is where it meets its fate; it may go on */
	uint32_t count;
	struct crew_lock lock;
	struct crew_rwlock rwlock;
	struct crew_semaphore semaphore;
	struct crew_counter counter;
	struct crew_condition condition;
	struct crew_event event;
	struct crew_barrier barrier;
	struct crew_queue queue;
	struct crew_pipe pipe;
	crew_time deadline; /* of all calls but the survivor's */
	crew_time patience; /* the survivor's */
	int got;            /* by the survivor, */
	crew_time got_at;   /* and when */
};

typedef int step_fn(struct play *play);

struct scene {
	const char *name;
	step_fn *prepare;  /* the parent, before the others; NULL: nothing */
	step_fn *victim;   /* up to the point where it meets its fate; or, if it `waits`, the wait itself */
	bool waits;
	step_fn *finish;   /* the victim, stopped and going on again; NULL: it is not of interest any more */
	step_fn *survivor; /* its result is what the others get */
	step_fn *act;      /* the parent, after the fate; NULL: nothing */
	step_fn *again;    /* the parent, in the end: the object is of use */
	int killed, stopped; /* what the survivor must get */
};

/* --- lock: hold it, repair it, wait for it --- */

static int take_lock(struct play *p)
{
	int r = crew_lock_acquire(&p->lock, p->deadline);
	p->count = 1;
	return r;
}

static int drop_lock(struct play *p)
{
	p->count = 2;
	crew_lock_release(&p->lock);
	return 0;
}

static int use_lock(struct play *p)
{
	int r = crew_lock_acquire(&p->lock, p->patience);
	if (r < 0)
		return r;
	if (r == CREW_OWNER_DIED) {
		if (p->count != 1)
			return -EINVAL;
		crew_lock_repaired(&p->lock);
	}
	crew_lock_release(&p->lock);
	return r;
}

/* --- rwlock --- */

static int write_rwlock(struct play *p)
{
	return crew_rwlock_write(&p->rwlock, p->deadline);
}

static int read_rwlock(struct play *p)
{
	return crew_rwlock_read(&p->rwlock, p->deadline);
}

static int drop_rwlock(struct play *p)
{
	crew_rwlock_release(&p->rwlock);
	return 0;
}

/* Readers are warned, a writer repairs. */
static int use_rwlock(struct play *p)
{
	int read = crew_rwlock_read(&p->rwlock, p->patience);
	if (read < 0)
		return read;
	crew_rwlock_release(&p->rwlock);
	int write = crew_rwlock_write(&p->rwlock, p->patience);
	if (write < 0)
		return write;
	if (write == CREW_OWNER_DIED)
		crew_rwlock_repaired(&p->rwlock);
	crew_rwlock_release(&p->rwlock);
	return read == write ? read : -EINVAL;
}

static int write_once(struct play *p)
{
	int r = crew_rwlock_write(&p->rwlock, p->patience);
	if (r >= 0)
		crew_rwlock_release(&p->rwlock);
	return r;
}

/* --- semaphore --- */

static int one_permit(struct play *p)
{
	crew_semaphore_init(&p->semaphore, 1);
	return 0;
}

static int take_permit(struct play *p)
{
	return crew_semaphore_acquire(&p->semaphore, p->deadline);
}

static int take_only_permit(struct play *p)
{
	one_permit(p);
	return take_permit(p);
}

static int give_permit(struct play *p)
{
	return crew_semaphore_release(&p->semaphore);
}

static int use_permit(struct play *p)
{
	int r = crew_semaphore_acquire(&p->semaphore, p->patience);
	return r < 0 ? r : crew_semaphore_release(&p->semaphore);
}

/* --- counter, event, condition: a wake-up is not lost with who was to get it --- */

static int wait_unit(struct play *p)
{
	return crew_counter_wait(&p->counter, p->patience);
}

static int post_unit(struct play *p)
{
	return crew_counter_post(&p->counter, 1);
}

static int one_for_one(struct play *p)
{
	crew_event_init(&p->event, CREW_EVENT_AUTO);
	return 0;
}

static int wait_event(struct play *p)
{
	return crew_event_wait(&p->event, p->patience);
}

static int set_event(struct play *p)
{
	return crew_event_set(&p->event);
}

static int wait_condition(struct play *p)
{
	int r = crew_lock_acquire(&p->lock, p->patience);
	while (r == 0 && p->count == 0)
		r = crew_condition_wait(&p->condition, &p->lock, p->patience);
	if (r != 0)
		return r;
	p->count--;
	crew_lock_release(&p->lock);
	return 0;
}

static int notify_one(struct play *p)
{
	int r = crew_lock_acquire(&p->lock, p->deadline);
	if (r < 0)
		return r;
	p->count++;
	crew_lock_release(&p->lock);
	return crew_condition_notify(&p->condition, 1);
}

/* --- barrier of two: the victim and the survivor have met once; or of three --- */

static int two_parties(struct play *p)
{
	crew_barrier_init(&p->barrier, 2, 0);
	return 0;
}

static int three_parties(struct play *p)
{
	crew_barrier_init(&p->barrier, 3, 0);
	return 0;
}

static int arrive(struct play *p)
{
	return crew_barrier_wait(&p->barrier, NULL, p->patience);
}

static int meet_once(struct play *p)
{
	int r = crew_event_set(&p->ready); /* the survivor comes now */
	return r < 0 ? r : crew_barrier_wait(&p->barrier, NULL, p->deadline);
}

static int meet_twice(struct play *p)
{
	int r = crew_barrier_wait(&p->barrier, NULL, p->deadline);
	return r < 0 ? r : crew_barrier_wait(&p->barrier, NULL, p->patience);
}

static int leave_barrier(struct play *p)
{
	return crew_barrier_leave(&p->barrier);
}

static int reset_barrier(struct play *p)
{
	int r = crew_barrier_reset(&p->barrier);
	return r < 0 ? r : crew_barrier_is_broken(&p->barrier) ? -EINVAL : 0;
}

/* --- queue, pipe --- */

static int one_message(struct play *p)
{
	return crew_queue_put(&p->queue, "work", 4, p->deadline);
}

static int take_message(struct play *p)
{
	struct crew_message message;
	return crew_queue_take(&p->queue, &message, p->deadline);
}

static int take_again(struct play *p)
{
	struct crew_message message;
	int r = crew_queue_take(&p->queue, &message, p->patience);
	if (r != 0)
		return r;
	return message.attempt == 2 ? crew_queue_done(&p->queue, &message) : -EINVAL;
}

static int get_message(struct play *p)
{
	char word[8];
	return crew_queue_get(&p->queue, word, sizeof word, NULL, p->patience);
}

static int put_and_get(struct play *p)
{
	int r = one_message(p);
	return r < 0 ? r : get_message(p);
}

static int send_message(struct play *p)
{
	return crew_pipe_send(&p->pipe, CREW_END_A, "last words", 10, p->deadline);
}

/* What was sent arrives; then? */
static int hear_end(struct play *p)
{
	char words[16];
	size_t size;
	int r = crew_pipe_receive(&p->pipe, CREW_END_B, words, sizeof words, &size, p->deadline);
	return r != 0 ? r : crew_pipe_receive(&p->pipe, CREW_END_B, words, sizeof words, &size, p->patience);
}

static int nothing(struct play *p)
{
	(void)p;
	return 0;
}

static const struct scene scenes[] = {
	{ "holder of a lock", NULL, take_lock, false, drop_lock, use_lock, NULL, use_lock, CREW_OWNER_DIED, -ETIMEDOUT },
	{ "waiter for a lock", take_lock, use_lock, true, NULL, use_lock, drop_lock, use_lock, 0, 0 },
	{ "writer of a rwlock", NULL, write_rwlock, false, drop_rwlock, use_rwlock, NULL, write_once, CREW_OWNER_DIED, -ETIMEDOUT },
	{ "reader of a rwlock", NULL, read_rwlock, false, drop_rwlock, write_once, NULL, write_once, 0, -ETIMEDOUT },
	{ "holder of a permit", one_permit, take_permit, false, give_permit, use_permit, NULL, use_permit, 0, -ETIMEDOUT },
	{ "waiter for a permit", take_only_permit, use_permit, true, NULL, use_permit, give_permit, use_permit, 0, 0 },
	{ "waiter for a counter", NULL, wait_unit, true, NULL, wait_unit, post_unit, post_unit, 0, 0 },
	{ "waiter for an event", one_for_one, wait_event, true, NULL, wait_event, set_event, set_event, 0, 0 },
	{ "waiter for a condition", NULL, wait_condition, true, NULL, wait_condition, notify_one, notify_one, 0, 0 },
	{ "party that is missing", two_parties, meet_once, false, leave_barrier, meet_twice, NULL, reset_barrier, -ECANCELED,
		-ETIMEDOUT },
	{ "party that has arrived", three_parties, arrive, true, NULL, arrive, NULL, reset_barrier, -ECANCELED, -ETIMEDOUT },
	{ "taker of a message", one_message, take_message, false, NULL, take_again, NULL, put_and_get, 0, -ETIMEDOUT },
	{ "getter at a queue", NULL, get_message, true, NULL, get_message, one_message, one_message, 0, 0 },
	{ "end of a pipe", NULL, send_message, false, NULL, hear_end, NULL, nothing, CREW_END_OF_DATA, -ETIMEDOUT },
};

/* --- the stage --- */

static int play_victim(void *argument, size_t size)
{
	(void)size;
	struct play *p = *(struct play **)argument;
	int r = p->scene->waits ? crew_event_set(&p->ready) : 0;
	if (r == 0)
		r = p->scene->victim(p);
	if (r >= 0 && !p->scene->waits)
		r = crew_event_set(&p->ready);
	if (r >= 0)
		r = crew_event_set(&p->there);
	if (r >= 0)
		r = crew_event_wait(&p->go_on, CREW_FOREVER);
	if (r >= 0 && p->scene->finish)
		r = p->scene->finish(p);
	return r != 0;
}

static int play_survivor(void *argument, size_t size)
{
	(void)size;
	struct play *p = *(struct play **)argument;
	int r = crew_event_set(&p->entered);
	p->got = r < 0 ? r : p->scene->survivor(p);
	p->got_at = crew_now();
	return 0;
}

static bool start(struct crew_process **process, crew_process_fn *function, struct play *play)
{
	int r = crew_process_start(process, &(struct crew_process_options){ .function = function, .argument = &play,
		.argument_size = sizeof play, .name = function == play_victim ? "victim" : "survivor" });
	if (r < 0)
		cli_lack("crew_process_start: %s", crew_strerror(r));
	return true;
}

/* Until the process is in that state: S sleeps, T is stopped. Not for longer than patience; a process that has ended is in none. */
static bool await_state(const struct crew_process *process, char state)
{
	char path[32], line[256];
	snprintf(path, sizeof path, "/proc/%d/stat", (int)crew_process_pid(process));
	for (crew_time end = crew_after(PATIENCE); crew_now() < end; sched_yield()) {
		FILE *file = fopen(path, "re");
		const char *name_end = file && fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
		if (file)
			fclose(file);
		if (!name_end || name_end[2] == 'Z')
			return false;
		if (name_end[2] == state)
			return true;
	}
	return false;
}

/* The victim goes on and finishes; or there is nothing to finish, or it is dead. Whether that went as it should. */
static bool end_victim(struct play *p, struct crew_process *victim, bool stopped)
{
	struct crew_status status = { 0 };
	bool finishes = stopped && p->scene->finish;
	int r = 0;
	if (finishes) {
		r = crew_event_set(&p->go_on);
		if (r == 0)
			r = crew_process_signal(victim, SIGCONT);
		if (r == 0)
			r = crew_process_join(victim, p->deadline, &status);
	}
	(void)!crew_process_stop(victim, 0, NULL);
	(void)!crew_process_close(victim);
	return !finishes || (r == 0 && status.state == CREW_EXITED && status.code == 0);
}

static void perform(struct report *report, const struct scene *scene, bool stopped)
{
	struct play *p;
	struct crew_process *victim, *survivor;
	int r = crew_alloc_zeroed(sizeof *p, (void **)&p), wanted = stopped ? scene->stopped : scene->killed;
	if (r < 0)
		cli_lack("crew_alloc: %s", crew_strerror(r));
	p->scene = scene;
	p->deadline = crew_after(PATIENCE);
	p->patience = p->deadline;
	bool good = !scene->prepare || scene->prepare(p) >= 0;
	good = start(&victim, play_victim, p) && crew_event_wait(&p->ready, p->deadline) == 0 && good;
	if (scene->waits)
		good = await_state(victim, 'S') && good;
	if (wanted == -ETIMEDOUT)
		p->patience = crew_after(SHORT);
	good = start(&survivor, play_survivor, p) && crew_event_wait(&p->entered, p->deadline) == 0 && good;
	if (!scene->waits)
		good = crew_event_wait(&p->there, p->deadline) == 0 && good;
	await_state(survivor, 'S'); /* or it has got something already */

	r = crew_process_signal(victim, stopped ? SIGSTOP : SIGKILL);
	good = r == 0 && (!stopped || await_state(victim, 'T')) && good;
	crew_time begin = crew_now();
	if (scene->act)
		good = scene->act(p) >= 0 && good;
	r = crew_process_join(survivor, p->deadline, NULL);
	if (r < 0)
		r = crew_process_stop(survivor, 0, NULL);
	(void)!crew_process_close(survivor);
	int got = r < 0 || !p->got_at ? -ETIMEDOUT : p->got;
	good = end_victim(p, victim, stopped) && good;
	p->patience = p->deadline = crew_after(PATIENCE);
	good = scene->again(p) >= 0 && good;
	bool right = good && got == wanted;

	char name[64];
	snprintf(name, sizeof name, "%s, %s", scene->name, stopped ? "stopped" : "killed");
	struct json_t *row = report_row(report);
	report_str(row, "problem", "death");
	report_str(row, "version", name);
	report_str(row, "others_get", got == 0 ? "it" : crew_errname(got));
	report_uint(row, "operations", 1);
	report_uint(row, "violations", !right);
	report_real(row, "seconds", got == -ETIMEDOUT ? NAN : p->got_at > begin ? (double)(p->got_at - begin) / 1e9 : 0);
	report_check(report, right, "death: %s: the others got %s instead of %s%s", name, crew_errname(got), crew_errname(wanted),
		good ? "" : ", and something else went wrong");
	crew_queue_fini(&p->queue);
	crew_pipe_fini(&p->pipe);
	crew_free(p);
}

void show_deaths(struct report *report)
{
	for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++)
		for (int stopped = 0; stopped < 2; stopped++)
			perform(report, &scenes[i], stopped);
}
