/* team.c - see team.h */
#include "team.h"
#include "cli.h"

#include <crew/error.h>
#include <crew/event.h>
#include <crew/memory.h>
#include <crew/process.h>
#include <stdio.h>
#include <stdlib.h>

struct team {
	unsigned count;
	struct crew_event *open; /* shared: all are there */
	struct member { struct crew_process *process; bool killed; } member[];
};

struct job { /* copied to the member */
	team_fn *function;
	void *shared;
	struct crew_event *open;
	unsigned number;
};

static int run(void *argument, size_t size)
{
	(void)size;
	const struct job *job = argument;
	int r = crew_event_wait(job->open, CREW_FOREVER);
	return r < 0 ? r : job->function(job->shared, job->number);
}

static void need(const char *what, int r)
{
	if (r < 0)
		cli_lack("%s: %s", what, crew_strerror(r));
}

struct team *team_start(unsigned count, const char *name, team_fn *function, void *shared)
{
	struct team *team = cli_need(calloc(1, sizeof *team + count * sizeof *team->member));
	team->count = count;
	need("crew_alloc", crew_alloc_zeroed(sizeof *team->open, (void **)&team->open));
	for (unsigned i = 0; i < count; i++) {
		struct job job = { function, shared, team->open, i };
		char title[32];
		snprintf(title, sizeof title, "%s/%u", name, i);
		need("crew_process_start", crew_process_start(&team->member[i].process,
			&(struct crew_process_options){ .function = run, .argument = &job, .argument_size = sizeof job,
				.name = title }));
	}
	need("crew_event_set", crew_event_set(team->open));
	return team;
}

void team_kill(struct team *team, unsigned number)
{
	team->member[number].killed = true;
	need("crew_process_stop", crew_process_stop(team->member[number].process, 0, NULL));
}

unsigned team_join(struct team *team, crew_time deadline)
{
	unsigned failed = 0;
	for (struct member *m = team->member; m < team->member + team->count; m++) {
		struct crew_status status;
		int r = crew_process_join(m->process, deadline, &status);
		if (r == -ETIMEDOUT)
			r = crew_process_stop(m->process, 0, &status);
		need("crew_process_join", r);
		failed += !m->killed && (status.state != CREW_EXITED || status.code != 0);
		need("crew_process_close", crew_process_close(m->process));
	}
	crew_free(team->open);
	free(team);
	return failed;
}
