/* start.c - see start.h */
#include "start.h"

#include <crew/error.h>
#include <crew/init.h>
#include <crew/trace.h>
#include <stdlib.h>
#include <sys/resource.h>

/* A worker takes a descriptor or two here: make room for as many as were asked for, where the hard limit allows. */
static void allow_descriptors(unsigned workers)
{
	struct rlimit limit;
	rlim_t wanted = 2 * (rlim_t)workers + 256;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

void start_family(const struct cli *cli)
{
	allow_descriptors(cli->workers);
	int r = cli->trace ? crew_trace_open(cli->trace) : 0;
	if (r < 0)
		cli_die_input(cli->trace, 0, "cannot write the trace: %s", crew_strerror(r));
	atexit(crew_trace_close);
	r = crew_init(NULL);
	if (r < 0)
		cli_lack("crew_init: %s", crew_strerror(r));
	atexit(crew_fini);
}

struct crew_pool *start_pool(const struct cli *cli, const struct crew_pool_options *given)
{
	struct crew_pool_options options = *given;
	if (!options.workers)
		options.workers = cli->workers;
	if (cli->serial)
		options.mode = CREW_POOL_SERIAL;
	if (!options.mode && options.chaos <= 0) {
		options.chaos = cli->chaos;
		options.chaos_seed = cli->seed;
	}
	struct crew_pool *pool = NULL;
	int r = crew_pool_open(&pool, &options);
	if (r < 0)
		cli_lack("a pool of %u workers: %s", options.workers, crew_strerror(r));
	return pool;
}

void start_require(int r, const struct crew_failure *failure)
{
	if (r >= 0)
		return;
	bool task = failure && (r == -EREMOTEIO || r == -EOWNERDEAD);
	cli_lack("%s%s%s", crew_strerror(r), task ? ": " : "", task ? failure->message : "");
}
