/* pool.c - to have a small task done by two workers, one task per number */
#include "bench.h"

#include <stdlib.h>

enum { TASKS = 5000 };

static int square(const void *argument, void *result, void *context)
{
	(void)context;
	double x = *(const double *)argument;
	*(double *)result = x * x;
	return 0;
}

static double crew(void)
{
	static double in[TASKS], out[TASKS];
	struct crew_pool *pool;
	for (unsigned i = 0; i < TASKS; i++)
		in[i] = i;
	must(crew_pool_open(&pool, &(struct crew_pool_options){ .workers = 2 }));
	crew_time from = crew_now();
	must(crew_pool_map(pool, square, in, sizeof *in, out, sizeof *out, TASKS,
		&(struct crew_map_options){ .chunk = 1 }));
	double seconds = per_one(from, TASKS);
	must(crew_pool_close(pool, CREW_FOREVER));
	must(out[TASKS - 1] == (TASKS - 1.0) * (TASKS - 1.0) ? 0 : -EBADMSG);
	return seconds;
}

static double python(void)
{
	return bench_python("pool.py");
}

const struct measure bench_pool[] = {
	{ "pool: map, a task per number", crew, {
		{ "Python multiprocessing.Pool.map", python, "python3", "python3" } } },
	{ 0 }
};
