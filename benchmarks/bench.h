/*
 * bench.h - a measure: crew and its rivals doing the same thing
 *
 * A measure is a table entry in one of the files here; bench.c runs all of them, crew and rivals in turn
 * (A B A B), and prints the medians. Every function below does the thing many times, for about
 * 20 ms, and returns the seconds that one took.
 */
#ifndef BENCH_H
#define BENCH_H

#include <crew/crew.h>

struct rival {
	const char *name;
	double (*run)(void);
	const char *program; /* that must be in PATH, and the package that brings it; NULL: none */
	const char *package;
};

struct measure {
	const char *name;
	double (*crew)(void);
	struct rival rivals[4]; /* those with a name */
};

/* One list per subject, ended by an entry without a name. */
extern const struct measure bench_lock[], bench_heap[], bench_start[], bench_message[], bench_pool[];

/* End the benchmark with a message if the call did not return 0. */
#define must(call) bench_must(call, #call)
void bench_must(int result, const char *call);

/* Seconds since `from`, for each of n. */
static inline double per_one(crew_time from, unsigned n)
{
	return (double)(crew_now() - from) / 1e9 / n;
}

#endif
