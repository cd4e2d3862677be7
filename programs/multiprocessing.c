/*
 * multiprocessing - a tour of crew for those who know Python's multiprocessing
 *
 * The steps are in multiprocessing/, a chapter in each file, in the order of the Python manual:
 *
 *     processes.c        start, exit code, stop, family
 *     messages.c         pipes, queues, waiting for the first of several
 *     synchronization.c  lock, semaphore, condition, event, barrier
 *     sharing.c          numbers, structures, lists with pointers
 *     pools.c            map, async, streams, errors, cancel, reduce, sort
 *     deaths.c           a process is killed in the middle of things, the others go on: no twin
 *
 * Each step is one small function. Above it stands the Python that does the same; inside, crew's way; and
 * what came of it is claimed and checked.
 *
 * Three differences run through all of it. What processes share lies in crew's heap (crew_alloc), where a
 * pointer means the same to all of them: nothing is pickled, nobody serves it. Every call that can wait takes
 * a deadline. And results are return values: 0, or a negative errno.
 *
 * After the tour the same work, --jobs times --count random numbers, is done serially, by threads and by
 * processes, with equal results; --baseline lets Python do it, too.
 */
#include "cli.h"
#include "multiprocessing/tour.h"
#include "random.h"
#include "report.h"
#include "rival.h"
#include "start.h"
#include "stats.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct step *const chapters[] = {
	tour_processes, tour_messages, tour_synchronization, tour_sharing, tour_pools, tour_deaths,
};

static void tour(struct report *report)
{
	int r = crew_alloc_zeroed(sizeof *board, (void **)&board);
	if (r < 0)
		cli_lack("shared memory: %s", crew_strerror(r));
	report_say(report, "    %-37s%s\n", "crew", "Python");
	unsigned count = 0, right = 0;
	for (unsigned i = 0; i < sizeof chapters / sizeof *chapters; i++)
		for (const struct step *step = chapters[i]; step->run; step++) {
			memset(board, 0, sizeof *board);
			const char *wrong = step->run();
			count++;
			right += !wrong;
			report_say(report, "  %s %-37s%s\n", wrong ? "-" : "+", step->crew, step->python);
			report_check(report, !wrong, "%s: %s does not hold", step->crew, wrong);
		}
	report_uint(report_top(report), "steps", count);
	report_uint(report_top(report), "steps_right", right);
	crew_free(board);
}

/* --- the same work three times --- */

struct work { uint64_t seed, count; };
struct outcome { double sum; uint64_t bits; };

/*
 * One job: --count random numbers, from a stream that depends on seed and job alone.
 * Python: sum(random.random() for _ in range(count))
 */
static int job(const void *argument, void *result, void *context)
{
	const struct work *work = context;
	struct outcome *outcome = result;
	struct rng rng = rng_of(work->seed, *(const uint64_t *)argument);
	struct outcome sum = { 0 };
	for (uint64_t i = 0; i < work->count; i++) {
		double x = rng_real(&rng);
		sum.sum += x;
		sum.bits ^= (uint64_t)(x * 0x1p53);
	}
	*outcome = sum;
	return 0;
}

static double run_jobs(const struct cli *cli, enum crew_pool_mode mode, struct work *work, const uint64_t *numbers,
		struct outcome *outcomes, uint64_t jobs)
{
	double begin = stats_clock();
	if (mode == CREW_POOL_SERIAL) {
		for (uint64_t i = 0; i < jobs; i++)
			job(&numbers[i], &outcomes[i], work);
		return stats_clock() - begin;
	}
	struct crew_pool *pool = start_pool(cli, &(struct crew_pool_options){ .mode = mode,
		.context = work, .context_size = sizeof *work });
	begin = stats_clock(); /* the pool is there, as it would be in a program that has more to do */
	int r = crew_pool_map(pool, job, numbers, sizeof *numbers, outcomes, sizeof *outcomes, jobs,
		&(struct crew_map_options){ .chunk = 1 });
	double seconds = stats_clock() - begin;
	if (r < 0)
		cli_lack("the pool: %s", crew_strerror(r));
	crew_pool_close(pool, CREW_FOREVER);
	return seconds;
}

static void add_row(struct report *report, const char *mode, uint64_t jobs, double seconds, const char *language, double serial)
{
	struct json_t *row = report_row(report);
	report_str(row, "mode", mode);
	report_uint(row, "jobs", jobs);
	report_real(row, "seconds", seconds);
	report_real(row, "speedup", serial / seconds);
	report_str(row, "language", language);
}

static const char python[] =
	"import random, sys, time\n"
	"from multiprocessing import Pool\n"
	"from multiprocessing.pool import ThreadPool\n"
	"jobs, count, workers = map(int, sys.argv[1:])\n"
	"def job(i):\n"
	"    r = random.Random(i).random\n"
	"    return sum(r() for _ in range(count))\n"
	"def timed(name, f):\n"
	"    begin = time.perf_counter(); f(); print(name, time.perf_counter() - begin)\n"
	"timed('serial', lambda: [job(i) for i in range(jobs)])\n"
	"with ThreadPool(workers) as pool: timed('threads', lambda: pool.map(job, range(jobs), 1))\n"
	"with Pool(workers) as pool: timed('processes', lambda: pool.map(job, range(jobs), 1))\n";

static void compare(const struct cli *cli, struct report *report, uint64_t jobs, uint64_t count)
{
	static const struct { const char *name; enum crew_pool_mode mode; } modes[] = {
		{ "serial", CREW_POOL_SERIAL }, { "threads", CREW_POOL_THREADS }, { "processes", CREW_POOL_PROCESSES },
	};
	struct work work = { cli->seed, count };
	uint64_t *numbers = calloc(jobs, sizeof *numbers);
	struct outcome *serial = calloc(jobs, sizeof *serial), *outcomes = calloc(jobs, sizeof *outcomes);
	if (!numbers || !serial || !outcomes)
		cli_lack("out of memory for %" PRIu64 " jobs", jobs);
	for (uint64_t i = 0; i < jobs; i++)
		numbers[i] = i;
	report_say(report, "\n%" PRIu64 " jobs of %" PRIu64 " random numbers:\n\n", jobs, count);
	double seconds[3], all = 0;
	for (unsigned i = 0; i < (cli->serial ? 1 : 3); i++) {
		seconds[i] = run_jobs(cli, modes[i].mode, &work, numbers, i ? outcomes : serial, jobs);
		all += seconds[i];
		add_row(report, modes[i].name, jobs, seconds[i], "C", seconds[0]);
		if (i)
			report_check(report, memcmp(serial, outcomes, jobs * sizeof *serial) == 0, "%s: other results than serially", modes[i].name);
	}
	report_seconds(report, all);
	/* The mean of n uniform numbers is 1/2, give or take 1/sqrt(12 n). */
	double sum = 0, n = (double)jobs * (double)count;
	for (uint64_t i = 0; i < jobs; i++)
		sum += serial[i].sum;
	report_check(report, fabs(sum / n - 0.5) < 6 / sqrt(12 * n), "the numbers are not uniform: mean %.6f", sum / n);

	if (cli->baseline) {
		char arguments[3][24];
		snprintf(arguments[0], sizeof *arguments, "%" PRIu64, jobs);
		snprintf(arguments[1], sizeof *arguments, "%" PRIu64, count);
		snprintf(arguments[2], sizeof *arguments, "%u", cli->workers);
		char *text = rival_run((const char *const[]){ "python3", "-c", python, arguments[0], arguments[1], arguments[2], NULL });
		char *rest = text, name[32];
		double time, first = 0;
		for (char *line; (line = strsep(&rest, "\n"));)
			if (sscanf(line, "%31s %lf", name, &time) == 2)
				add_row(report, name, jobs, time, "Python", first = first > 0 ? first : time);
		free(text);
	}
	free(numbers);
	free(serial);
	free(outcomes);
}

/* --- the command line --- */

struct own { uint64_t jobs, count; };

enum { KEY_JOBS = 1000, KEY_COUNT };

static const struct argp_option options[] = {
	{ "jobs", KEY_JOBS, "N", 0, "Jobs in the comparison (default 16, with --quick 8)", 0 },
	{ "count", KEY_COUNT, "N", 0, "Random numbers in each job (default 5000000, with --quick 2000000)", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct own *own = state->input;
	switch (key) {
	case KEY_JOBS:
		own->jobs = cli_parse_u64(state, "--jobs", arg, 1, 1000000);
		return 0;
	case KEY_COUNT:
		own->count = cli_parse_u64(state, "--count", arg, 1, UINT64_C(1000000000000));
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s': there are no arguments, only options", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = { options, parse, NULL,
	"A tour of crew beside Python's multiprocessing, then the same work serially, in threads and in processes.",
	cli_children, NULL, NULL };

int main(int argc, char **argv)
{
	struct own own = { 0 };
	struct cli cli = cli_parse(&argp, argc, argv, &own);
	start_family(&cli);
	struct report *report = report_open(&cli);
	tour(report);
	compare(&cli, report, own.jobs ? own.jobs : cli.quick ? 8 : 16,
		own.count ? own.count : cli.quick ? 2000000 : 5000000);
	return report_finish(report);
}
