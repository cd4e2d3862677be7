/*
 * stream.c - tasks pulled from a source, results in the order of their end, a bounded number in flight
 *
 * A stream is a batch whose finished tasks are put on a list. The source is asked from inside crew_stream_next, in
 * the caller's thread, and only when there is room: nothing runs ahead of who reads.
 */
#include <stdlib.h>
#include <string.h>
#include "base/sys.h"
#include "pool/pool.h"
#include "sync/section.h"

#define MOST_IN_FLIGHT (1u << 20)

struct crew_stream {
	struct crew_pool *pool;
	struct crew__batch *batch;
	struct crew_stream_options options;
	uint64_t index;      /* of the next argument */
	unsigned in_flight;  /* tasks put and not yet returned */
	int ended;           /* the source: 0, CREW_END_OF_DATA or its error, which is told once, after the last result */
	void *argument;
};

int crew_stream_open(struct crew_stream **ret, struct crew_pool *pool, const struct crew_stream_options *options)
{
	if (!options || !options->next || !options->task.function || options->in_flight > MOST_IN_FLIGHT)
		return -EINVAL;
	int r = crew__pool_use(pool);
	if (r < 0)
		return r;
	struct crew_stream *stream = crew__calloc(1, sizeof *stream);
	void *argument = crew__calloc(1, options->task.argument_size + 1);
	if (stream && argument) {
		*stream = (struct crew_stream){ .pool = pool, .options = *options, .argument = argument };
		if (!options->in_flight)
			stream->options.in_flight = 4 * pool->workers;
		stream->options.task.argument = argument;
		r = crew__batch_open(pool, stream->options.in_flight, true, &stream->batch);
	} else {
		r = -ENOMEM;
	}
	if (r == 0) {
		*ret = stream;
	} else {
		free(stream);
		free(argument);
	}
	crew__pool_done(pool);
	return r;
}

/* Ask the source until enough is in flight. */
static void fill(struct crew_stream *stream)
{
	struct crew_task *task = &stream->options.task;
	struct crew__task *put;
	uint32_t generation;
	while (!stream->ended && stream->in_flight < stream->options.in_flight) {
		memset(stream->argument, 0, task->argument_size);
		task->index = stream->index;
		int r = stream->options.next(stream->argument, stream->index, stream->options.source);
		if (r == 0)
			r = crew__pool_put(stream->pool, stream->batch, task, NULL, 0, CREW_FOREVER, &put, &generation);
		if (r != 0) {
			stream->ended = r;
			return;
		}
		stream->index++;
		stream->in_flight++;
	}
}

static int next(struct crew_stream *stream, uint64_t *ret_index, void *result, crew_time deadline, struct crew_failure *reterr)
{
	struct crew_pool *pool = stream->pool;
	struct crew__lane *lane;
	int r = crew__lane_self(&lane);
	while (r == 0) {
		uint32_t seen = crew__bell_look(&stream->batch->finished);
		bool over = crew__peek32(&pool->phase) == CREW__POOL_OVER;
		fill(stream);
		struct crew__task *task = crew__task_finished(pool, stream->batch);
		if (task) {
			*ret_index = task->index;
			r = crew__task_collect(pool, task, task->generation, result, deadline, reterr, NULL);
			stream->in_flight--;
			fill(stream); /* the workers go on while the caller looks at this result */
			return r;
		}
		if (stream->in_flight == 0) {
			r = stream->ended;
			stream->ended = CREW_END_OF_DATA;
			return r;
		}
		r = over ? -ECANCELED : crew__bell_wait(lane, &stream->batch->finished, seen, deadline);
	}
	return r;
}

int crew_stream_next(struct crew_stream *stream, uint64_t *ret_index, void *result, crew_time deadline,
		struct crew_failure *reterr)
{
	int r = crew__pool_use(stream->pool);
	if (r < 0)
		return r;
	struct crew_pool *pool = stream->pool;
	uint64_t index;
	r = next(stream, ret_index ? ret_index : &index, result, deadline, reterr);
	crew__pool_done(pool);
	return r;
}

void crew_stream_close(struct crew_stream *stream)
{
	if (!stream)
		return;
	if (crew__pool_use(stream->pool) == 0) {
		crew__batch_drop(stream->pool, stream->batch);
		crew__pool_done(stream->pool);
	}
	free(stream->argument);
	free(stream);
}
