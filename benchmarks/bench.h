/*
 * bench.h - a measure: crew and its rivals doing the same thing
 *
 * A measure is a table entry in one of the files here; bench.c runs all of them, crew and rivals in turn
 * (A B A B), and prints the medians. Every function below does the thing many times, for about
 * 20 ms, and returns the seconds that one took. A new subject is a file, a line in meson.build, and its list below.
 *
 *     const struct measure bench_lock[] = {
 *             { "lock: free", crew, { { "pthread mutex, shared", rival, .most = 0.9 } } },
 *             { 0 } };
 */
#ifndef BENCH_H
#define BENCH_H

#include <crew/crew.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rival {
	const char *name;
	double (*run)(void);
	const char *program; /* that must be in PATH, and the package that brings it; NULL: none */
	const char *package; /* without run and program: not built in, as this package was missing */
	double most;         /* to reach: crew's time is at most so many times this rival's; 0: nothing set */
};

struct measure {
	const char *name;
	double (*crew)(void);
	struct rival rivals[6]; /* those with a name */
	bool two;               /* needs two CPUs */
};

/* One list per subject, ended by an entry without a name. */
extern const struct measure bench_lock[], bench_sync[], bench_heap[], bench_start[], bench_message[], bench_queue[], bench_pool[],
	bench_stream[], bench_map[];

/* End the benchmark with a message if the call did not return 0. */
#define must(call) bench_must(call, #call)
void bench_must(int result, const char *call);

/*
 * Two processes, each on a CPU of its own, start together: this one calls `here`, a new one `there`, with `shared` (in shared
 * memory) and their number, 0 and 1. Seconds until both have returned.
 */
double bench_two(void (*here)(void *shared, unsigned number), void (*there)(void *shared, unsigned number), void *shared);

/* The seconds that a script beside these sources prints: its name and arguments. */
double bench_python(const char *command);

/* Put the calling thread on the nth CPU that this process may use. */
void bench_pin(unsigned nth);

/* Zeroed shared memory on a cache line of its own; never freed. */
void *bench_shared(size_t size);

/* Seconds since `from`, for each of n. */
static inline double per_one(crew_time from, unsigned n)
{
	return (double)(crew_now() - from) / 1e9 / n;
}

#ifdef __cplusplus
}
#endif

#endif
