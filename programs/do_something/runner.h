/*
 * runner.h - run a command once for every line of standard input
 */
#ifndef RUNNER_H
#define RUNNER_H

#include "job.h"
#include "report.h"

struct runner_options {
	char *const *command; /* its words; "{}" in them stands for the line */
	struct policy policy;
	const char *joblog;   /* file, or NULL */
	bool gather;          /* put the output of the jobs into the report's rows, not on stdout */
};

/* Before crew_init: refuse a program that is not there, and a job log that cannot be written. Exit 2. */
void runner_check(const struct runner_options *options);

/* Run them all; the report gets a status, the number of failed jobs (101: more than 100). */
void runner_run(const struct runner_options *options, const struct cli *cli, struct report *report);

#endif
