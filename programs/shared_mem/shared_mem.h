/* shared_mem.h - what the parts of the program share: each shows one thing, and adds rows and checks to the report */
#ifndef SHARED_MEM_H
#define SHARED_MEM_H

#include "report.h"
#include "team.h"

#include <crew/crew.h>

#define LINE 64                       /* bytes of a cache line */
#define RACE_SECONDS 5.0              /* the longest we wait for a race to show */
#define PATIENCE (60 * CREW_SECOND)   /* for anything that should take a moment */

extern struct report *report;
extern struct cli cli;

void show_counters(uint64_t all_rounds);
void show_arrays(size_t bytes);
void show_tree(uint64_t nodes);
void show_map(uint64_t records, uint64_t operations);
void show_copies(size_t total);
void show_crashes(double seconds);
void show_named(uint64_t visits);

/* --meet, --forget: the whole program. Return its exit status. */
int meet(const char *name, uint64_t visits);
int forget(const char *name);

/* Ends the program with status 3 if a call failed. */
void must(const char *what, int r);

/* Zeroed shared memory, aligned to a cache line. */
void *shared(size_t count, size_t size);

struct json_t *row(const char *name, uint64_t bytes, double seconds);

/* When a member of a team worked, on the clock that all processes share. */
struct span {
	_Alignas(LINE) double begin, end;
};
double span_of_all(const struct span *spans, unsigned count);

/* Join a team; a member that failed is a wrong answer. */
void join(struct team *team, const char *what);

#endif
