/* tour.c - see tour.h */
#include "tour.h"
#include "cli.h"

#include <inttypes.h>
#include <unistd.h>

struct board *board;

struct crew_process *start(crew_process_fn *function)
{
	struct crew_process *child = NULL;
	int r = crew_process_start(&child, &(struct crew_process_options){ .function = function, .argument = board });
	if (r < 0)
		cli_lack("cannot start a process: %s", crew_strerror(r));
	return child;
}

int exitcode(struct crew_process *child)
{
	struct crew_status status;
	int r = crew_process_join(child, SOON, &status), code = -1000;
	if (r < 0)
		r = crew_process_stop(child, 0, NULL);
	else
		code = status.state == CREW_EXITED ? status.code : -status.signal;
	return r < 0 || crew_process_close(child) < 0 ? -1000 : code;
}

struct crew_pool *pool_of(const struct crew_pool_options *options)
{
	struct crew_pool *pool = NULL;
	int r = crew_pool_open(&pool, options);
	if (r < 0)
		cli_lack("cannot open a pool: %s", crew_strerror(r));
	return pool;
}

int sleeps(void *argument, size_t size)
{
	(void)argument, (void)size;
	while (pause() < 0) /* as it always is */
		;
	return 0;
}

int square(const void *argument, void *result, void *context)
{
	(void)context;
	int64_t x = *(const int64_t *)argument;
	if (x < 0)
		return crew_task_error(-EDOM, "%" PRIi64 " is negative", x);
	*(int64_t *)result = x * x;
	return 0;
}

struct crew_task squaring(const int64_t *x)
{
	return (struct crew_task){ .function = square, .argument = x, .argument_size = sizeof *x, .result_size = sizeof *x };
}

int hangs(const void *argument, void *result, void *context)
{
	(void)argument, (void)result;
	int r = crew_event_set(&((struct board *)context)->event);
	return r < 0 ? r : crew_event_wait(&((struct board *)context)->other_event, CREW_FOREVER);
}
