/* talk.c - see talk.h; partner() is the child */
#include "talk.h"
#include "stats.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>


void message_pattern(unsigned char *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (unsigned char)(i * 131 + i / 251);
}

void message_number(unsigned char *data, uint64_t n)
{
	memcpy(data, &n, sizeof n);
}

bool message_is(const unsigned char *data, const unsigned char *expected, size_t size, uint64_t n)
{
	return memcmp(data, &n, sizeof n) == 0 && memcmp(data + sizeof n, expected + sizeof n, size - sizeof n) == 0;
}

/* The child, if it is to be killed: where it stands in job->number. */
static int to_be_killed(struct job *job, unsigned char *expected, unsigned char *data)
{
	const struct mechanism *m = job->mechanism;
	int r = 0;
	if (job->task == HOLD) { /* take a message, answer one, and wait for the end */
		struct crew_message message;
		r = job->side.queue_in ? crew_queue_take(job->side.queue_in, &message, crew_after(PATIENCE))
				       : m->receive(&job->side, data, job->size);
		if (r == 0)
			r = m->send(&job->side, expected, job->size);
		return r == 0 ? crew_event_wait(&job->done, CREW_FOREVER) != 0 : 1;
	}
	for (uint64_t n = 1; r == 0; n++) {
		__atomic_store_n(&job->number, n, __ATOMIC_RELEASE);
		message_number(expected, n);
		r = job->task == SEND_ON ? m->send(&job->side, expected, job->size) : m->receive(&job->side, data, job->size);
	}
	return 1;
}

/* The child: receives, checks, and for ping-pong sends back. Exit code 0 unless a call failed. */
static int partner(void *argument, size_t argument_size)
{
	(void)argument_size;
	struct job *job = *(struct job **)argument;
	const struct mechanism *m = job->mechanism;
	unsigned char *expected = malloc(job->size), *data = calloc(1, job->size);
	if (!expected || !data)
		return 1;
	message_pattern(expected, job->size);
	signal(SIGPIPE, SIG_IGN);
	if (job->task > ONE_WAY)
		return to_be_killed(job, expected, data);
	int r = 0;
	for (uint64_t n = 1; r == 0 && n <= job->count; n++) {
		r = m->receive(&job->side, data, job->size);
		job->wrong += r == 0 && !message_is(data, expected, job->size, n);
		if (r == 0 && job->task == PING_PONG)
			r = m->send(&job->side, data, job->size);
	}
	job->result = r;
	free(expected);
	free(data);
	return crew_event_set(&job->done) != 0 || r != 0;
}

int talk_begin(struct talk *talk, const struct mechanism *m, enum task task, size_t size, uint64_t count)
{
	struct side mine = { .in = -1, .out = -1, .part = m->part ? m->part : LARGEST }, theirs = mine;
	int r = crew_alloc_zeroed(sizeof *talk->job, (void **)&talk->job);
	if (r == 0)
		r = m->open(&mine, &theirs);
	if (r < 0) {
		crew_free(talk->job);
		return r;
	}
	talk->side = mine;
	*talk->job = (struct job){ .mechanism = m, .side = theirs, .task = task, .size = size, .count = count };
	/* The child gets its descriptors at 3 and 4, and nothing else that is open here. */
	int descriptors[2] = { theirs.in, theirs.out };
	if (theirs.in >= 0) {
		talk->job->side.in = 3;
		talk->job->side.out = 4;
	}
	r = crew_process_start(&talk->child, &(struct crew_process_options){ .function = partner, .argument = &talk->job,
			.argument_size = sizeof talk->job, .descriptors = descriptors,
			.descriptor_count = theirs.in >= 0 ? 2 : 0, .name = "partner" });
	side_close(&theirs); /* else we would keep the child's ends open, and never see the end of file */
	if (r == 0 && mine.pipe)
		r = crew_pipe_give(mine.pipe, CREW_END_B, talk->child);
	return r;
}

int talk_end(struct talk *talk)
{
	struct crew_status status = { 0 };
	int r = crew_process_join(talk->child, crew_after(PATIENCE), &status);
	if (r < 0)
		r = crew_process_stop(talk->child, 0, &status);
	if (r == 0 && (status.state != CREW_EXITED || status.code != 0))
		r = talk->job->result ? talk->job->result : -ECHILD;
	(void)!crew_process_close(talk->child);
	side_close(&talk->side);
	side_free(&talk->side);
	crew_free(talk->job);
	return r;
}

struct measure talk_measure(const struct mechanism *m, enum task task, size_t size, uint64_t count)
{
	static unsigned char expected[LARGEST], data[LARGEST], back[LARGEST];
	struct measure measure = { 0 };
	struct talk talk = { 0 };
	message_pattern(expected, size);
	message_pattern(data, size);
	memset(back, 0, size);
	measure.result = talk_begin(&talk, m, task, size, count);
	if (measure.result < 0)
		return measure;
	int r = 0;
	double begin = stats_clock();
	for (uint64_t n = 1; r == 0 && n <= count; n++) {
		message_number(data, n);
		r = m->send(&talk.side, data, size);
		if (r == 0 && task == PING_PONG) {
			r = m->receive(&talk.side, back, size);
			measure.wrong += r == 0 && !message_is(back, expected, size, n);
		}
	}
	if (r == 0)
		r = crew_event_wait(&talk.job->done, crew_after(PATIENCE));
	measure.seconds = stats_clock() - begin;
	measure.wrong += talk.job->wrong;
	int ended = talk_end(&talk);
	measure.result = r ? r : ended;
	return measure;
}
