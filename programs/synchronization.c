/*
 * synchronization - six classical problems of waiting for each other, wrong and right
 *
 *     producer-consumer     a small buffer between some who make and some who take
 *     readers-writers       many may read at once, a writer must be alone
 *     dining philosophers   everybody needs two things that the neighbours need, too
 *     barrier phases        nobody begins a step before all have ended the last
 *     rendezvous            neither goes on before the other has come
 *     limited resource      never more inside than there are places
 *
 * Each is a file in synchronization/, with one way or two that look right and are wrong, and some that are right. All
 * versions of a problem do the same work, each in processes of its own, and a checker beside the data counts
 *
 *     violations   what must not happen, and happened: items lost, records half read, meals not eaten, ...
 *
 * A wrong version is repeated until the checker has caught it, at most 5 seconds. (It may be luckier than that: then the
 * row says not_observed. That is the trouble with such mistakes.) A right version has no violation, ever.
 *
 * The last table kills or stops whoever holds, waits or belongs, and shows what the others get, and how soon (deaths.c). With
 * --baseline there is another one: what a lock, a permit, a phase cost here, with pthread and with CPython (rivals.c).
 */
#include "report.h"
#include "start.h"
#include "stats.h"
#include "synchronization/stage.h"
#include "team.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define WRONG_SECONDS 5.0                     /* the longest we look for a mistake */
#define WRONG_PATIENCE (CREW_SECOND / 4)      /* a wrong version that hangs is ended after this */
#define RIGHT_PATIENCE (60 * CREW_SECOND)     /* a right one that hangs is a failure */

static const struct problem *const problems[] = {
	&producer_consumer, &readers_writers, &dining_philosophers, &barrier_phases, &rendezvous, &limited_resource,
};
enum { PROBLEMS = sizeof problems / sizeof *problems };

static const char *const names[PROBLEMS] = { /* as on the command line */
	"producers", "readers", "philosophers", "phases", "rendezvous", "resource",
};

struct own {
	bool wanted[PROBLEMS], deaths, chosen;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct own *own = state->input;
	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	own->chosen = true;
	for (int i = 0; i < PROBLEMS; i++)
		if (strcmp(arg, names[i]) == 0)
			return own->wanted[i] = true, 0;
	if (strcmp(arg, "deaths") == 0)
		return own->deaths = true, 0;
	argp_error(state, "'%s' is none of producers, readers, philosophers, phases, rendezvous, resource, deaths", arg);
	return EINVAL;
}

static const struct argp argp = { NULL, parse, "[PROBLEM...]",
	"Classical problems of synchronisation, each with wrong and right versions and a checker that tells them apart, and what "
	"becomes of the others when one is killed. PROBLEM: producers, readers, philosophers, phases, rendezvous, resource, "
	"deaths (default: all).", cli_children, NULL, NULL };

/* What a party is given: shared memory. */
struct run {
	struct stage stage;
	party_fn *party;
};

static int live(void *shared, unsigned number)
{
	struct run *run = shared;
	return run->party(&run->stage, number) < 0;
}

/* One run of one version; returns how many parties gave up. */
static unsigned play(const struct problem *problem, const struct version *version, unsigned parties, uint64_t rounds,
		struct stage *ret)
{
	struct run *run;
	void *state;
	int r = crew_alloc_zeroed(sizeof *run, (void **)&run);
	if (r == 0)
		r = crew_array(1, problem->size, &state);
	if (r < 0)
		cli_lack("crew_alloc: %s", crew_strerror(r));
	run->party = version->party;
	struct stage *stage = &run->stage;
	*stage = (struct stage){ .parties = parties, .rounds = rounds, .state = state };
	stage->deadline = crew_after(version->wrong ? WRONG_PATIENCE : RIGHT_PATIENCE);
	if (problem->prepare)
		problem->prepare(stage);
	unsigned failed = team_join(team_start(parties, "party", live, run), stage->deadline + CREW_SECOND);
	if (problem->inspect)
		problem->inspect(stage);
	*ret = *stage;
	crew_free(state);
	crew_free(run);
	return failed;
}

static void show(struct report *report, const struct problem *problem, const struct version *version, unsigned parties,
		uint64_t rounds)
{
	uint64_t operations = 0, violations = 0;
	unsigned failed;
	double begin = stats_clock(), seconds;
	do {
		struct stage stage;
		failed = play(problem, version, parties, rounds, &stage);
		operations += stage.operations;
		violations += stage.violations;
		seconds = stats_clock() - begin;
	} while (version->wrong && violations == 0 && seconds < WRONG_SECONDS);

	struct json_t *row = report_row(report);
	report_str(row, "problem", problem->name);
	report_str(row, "version", version->name);
	report_bool(row, "wrong", version->wrong);
	report_uint(row, "operations", operations);
	report_uint(row, "violations", violations);
	report_real(row, "seconds", seconds);
	if (version->wrong && violations == 0)
		report_bool(row, "not_observed", true);
	if (!version->wrong) {
		report_check(report, failed == 0, "%s, %s: %u of %u parties gave up", problem->name, version->name, failed,
			parties);
		report_check(report, violations == 0, "%s, %s: %" PRIu64 " violations", problem->name, version->name,
			violations);
	}
}

int main(int argc, char **argv)
{
	struct own own = { .chosen = false };
	struct cli cli = cli_parse(&argp, argc, argv, &own);
	if (cli.serial)
		cli_note("--serial has no meaning here: one alone has nobody to wait for");
	if (cli.chaos > 0)
		cli_note("--chaos has no meaning here: the deaths are shown one by one");
	start_family(&cli);
	struct report *report = report_open(&cli);
	for (int i = 0; i < PROBLEMS; i++) {
		const struct problem *problem = problems[i];
		if (own.chosen && !own.wanted[i])
			continue;
		unsigned parties = cli.workers / 2 * 2;
		if (parties < problem->parties)
			parties = problem->parties;
		if (parties > PARTIES_MAX)
			parties = PARTIES_MAX;
		report_say(report, "%s, %u processes: %s\n", problem->name, parties, problem->lesson);
		for (const struct version *version = problem->versions; version->name; version++)
			show(report, problem, version, parties, cli.quick ? problem->rounds / 8 : problem->rounds);
		report_table(report);
		report_say(report, "\n");
	}
	if (!own.chosen || own.deaths) {
		report_say(report, "death, 3 processes: one is killed or stopped where it hurts, the others get what is promised\n");
		show_deaths(report);
	}
	if (cli.baseline) {
		report_table(report);
		report_say(report, "\nprice, 2 processes: crew beside pthread and CPython; the ratios say how many times as long they take\n");
		show_rivals(report);
	}
	return report_finish(report);
}
