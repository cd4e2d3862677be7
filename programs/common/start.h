/*
 * start.h - the family and its pool, as the common options want them
 *
 *     struct cli cli = cli_parse(&argp, argc, argv, &own);
 *     struct input input = input_map(own.file);
 *     start_family(&cli);
 *     struct crew_pool *pool = start_pool(&cli, &(struct crew_pool_options){ .context = &context,
 *             .context_size = sizeof context });
 *
 * Each ends the program, in one line, with status 2 or 3 if it cannot be done.
 */
#ifndef START_H
#define START_H

#include "cli.h"

#include <crew/task.h>

/* Open the trace of --trace, then crew_init(); at exit both are closed. */
void start_family(const struct cli *cli);

/* A pool; --workers, --serial, --chaos and --seed fill the options that are still zero. */
struct crew_pool *start_pool(const struct cli *cli, const struct crew_pool_options *options);

/*
 * Where the program cannot go on without what it asked crew for: nothing if r is 0, else one line and
 * status 3. `failure` says which task died of what; may be NULL.
 */
void start_require(int r, const struct crew_failure *failure);

#endif
