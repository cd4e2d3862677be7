/*
 * do_something - independent tasks, and what to do when they misbehave
 *
 * Two faces. Without a command: a catalogue of tasks, some of them bad, each of which is run in
 * three ways, and what became of it:
 *
 *     serial    called in this very process. Cheap, and a task that crashes, hangs or exits would take
 *               all with it: those are refused.
 *     process   a process of its own for each task. It may do what it likes; starting it costs.
 *     pool      given to workers that are there already. As safe, because a worker that dies is replaced and
 *               its task run again, and much cheaper for small tasks.
 *
 * Read the table by column: the same task has the same outcome and the same value everywhere,
 * and a hang costs what the time limit says and no more. `attempts` is one plus the retries used.
 *
 * With a command: do_something [--timeout=S] [--retries=N] [--joblog=FILE] -- CMD ARGS {}
 * runs it once for each line of standard input, --workers at a time. Each job is a process,
 * by the very function that ran the catalogue in processes (do_something/job.h).
 *
 * do_something/job.c     a process under a policy: time limit, retries, chaos
 * do_something/runner.c  lines to commands, output kept together, job log
 */
#include "cli.h"
#include "do_something/job.h"
#include "do_something/runner.h"
#include "input.h"
#include "random.h"
#include "report.h"
#include "start.h"
#include "stats.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <crew/crew.h>

/* --- the catalogue --- */

struct sizes {
	uint64_t seed;
	uint64_t numbers; /* random_fill */
	uint64_t below;   /* spin: primes below it */
	crew_time nap;    /* sleep: ns */
	size_t bytes;     /* allocate */
};

/* What a task is given, the same in every mode. */
struct order {
	unsigned task;
	struct sizes sizes;
	unsigned *runs;   /* shared: how often it has been begun */
};

static struct input file; /* mapped before crew_init, so every process has it */

static int random_fill(const struct order *order, uint64_t *result)
{
	uint64_t *numbers = calloc(order->sizes.numbers, sizeof *numbers);
	if (!numbers)
		return crew_task_error(-ENOMEM, "no room for %" PRIu64 " numbers", order->sizes.numbers);
	struct rng rng = rng_of(order->sizes.seed, 0);
	for (uint64_t i = 0; i < order->sizes.numbers; i++)
		numbers[i] = rng_next(&rng);
	for (uint64_t i = order->sizes.numbers; i-- > 0;)
		*result += numbers[i];
	free(numbers);
	return 0;
}

/* Burn CPU: primes by trial division. */
static int spin(const struct order *order, uint64_t *result)
{
	for (uint64_t n = 2; n < order->sizes.below; n++) {
		uint64_t d = 2;
		while (d * d <= n && n % d)
			d++;
		*result += d * d > n;
	}
	return 0;
}

static int sleep_well(const struct order *order, uint64_t *result)
{
	struct timespec time = { 0, (long)order->sizes.nap };
	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &time, &time) == EINTR)
		;
	*result = (uint64_t)order->sizes.nap;
	return 0;
}

/* The checksum that cksum(1) prints: CRC-32 of POSIX, a byte at a time by table. */
static int hash(const struct order *order, uint64_t *result)
{
	(void)order;
	uint32_t table[256], crc = 0;
	for (uint32_t i = 0; i < 256; i++) {
		table[i] = i << 24;
		for (int bit = 0; bit < 8; bit++)
			table[i] = table[i] << 1 ^ (table[i] >> 31 ? 0x04c11db7 : 0);
	}
	for (size_t i = 0; i < file.size; i++)
		crc = crc << 8 ^ table[crc >> 24 ^ (unsigned char)file.data[i]];
	for (size_t length = file.size; length; length >>= 8)
		crc = crc << 8 ^ table[crc >> 24 ^ (length & 0xff)];
	*result = (uint32_t)~crc;
	return 0;
}

static int allocate(const struct order *order, uint64_t *result)
{
	volatile unsigned char *bytes = malloc(order->sizes.bytes);
	if (!bytes)
		return crew_task_error(-ENOMEM, "no room for %zu bytes", order->sizes.bytes);
	for (size_t at = 0; at < order->sizes.bytes; at += 4096) {
		bytes[at] = 1;
		*result += bytes[at];
	}
	free((void *)bytes);
	return 0;
}

/* Fails in its first run and not in the second, as what depends on a network does. */
static int flaky(const struct order *order, uint64_t *result)
{
	if (__atomic_load_n(order->runs, __ATOMIC_RELAXED) == 1)
		return crew_task_error(-EAGAIN, "not now");
	*result = 1;
	return 0;
}

static int fail(const struct order *order, uint64_t *result)
{
	(void)order, (void)result;
	return crew_task_error(-EIO, "this never works");
}

static int crash(const struct order *order, uint64_t *result)
{
	(void)order;
	signal(SIGSEGV, SIG_DFL); /* also where a sanitizer would like to handle it */
	char *volatile nowhere = (char *)1;
	*nowhere = 0;
	*result = 1;
	return 0;
}

static int hang(const struct order *order, uint64_t *result)
{
	(void)order, (void)result;
	while (pause() < 0) /* as it always is */
		;
	return 0;
}

static int leave(const struct order *order, uint64_t *result)
{
	(void)order, (void)result;
	_exit(7);
}

static const struct task {
	const char *name;
	int (*function)(const struct order *order, uint64_t *result);
	const char *outcome;   /* what it must come to */
	bool dangerous;        /* it would take the process that runs it with it */
	const char *what;
} tasks[] = {
	{ "random_fill", random_fill, "done",      false, "fills an array with random numbers and adds them up" },
	{ "spin",        spin,        "done",      false, "burns CPU: counts primes" },
	{ "sleep",       sleep_well,  "done",      false, "waits" },
	{ "hash",        hash,        "done",      false, "the checksum of a file, as cksum(1) has it" },
	{ "allocate",    allocate,    "done",      false, "allocates memory and touches every page" },
	{ "flaky",       flaky,       "done",      false, "fails at first; a retry helps" },
	{ "fail",        fail,        "EIO",       false, "returns an error, always" },
	{ "crash",       crash,       "SIGSEGV",   true,  "writes where nothing is" },
	{ "hang",        hang,        "timed out", true,  "never returns" },
	{ "exit",        leave,       "exit 7",    true,  "ends the process that runs it" },
};
enum { TASKS = sizeof tasks / sizeof *tasks };

/* How all modes call a task; of the type that a pool wants. */
static int do_task(const void *argument, void *result, void *context)
{
	(void)context;
	const struct order *order = argument;
	__atomic_add_fetch(order->runs, 1, __ATOMIC_RELAXED);
	*(uint64_t *)result = 0;
	return tasks[order->task].function(order, result);
}

/* --- three ways to run it --- */

/* What became of a task: in the same words, whoever ran it. */
struct outcome {
	char text[JOB_TEXT_MAX];
	unsigned attempts;
	int signal;
	uint64_t value;
	double seconds;
};

struct catalogue {
	const struct cli *cli;
	crew_time timeout;  /* for the task that hangs; what should end has TIME_ENOUGH */
	unsigned retries;
	struct sizes sizes;
	unsigned *runs;     /* shared, one for each task */
	struct outcome *outcomes;
};

#define TIME_ENOUGH (60 * CREW_SECOND)

/* Core dumps of tasks that are meant to crash are of no use. */
static const struct crew_rlimit no_core = { RLIMIT_CORE, { 0, 0 } };

static struct order order_for(const struct catalogue *catalogue, unsigned task)
{
	__atomic_store_n(&catalogue->runs[task], 0, __ATOMIC_RELAXED);
	return (struct order){ task, catalogue->sizes, &catalogue->runs[task] };
}

static crew_time timeout_for(const struct catalogue *catalogue, unsigned task)
{
	return tasks[task].function == hang ? catalogue->timeout : TIME_ENOUGH;
}

/* Serial: call it. Nobody could end a call that hangs, so only what is sure to return is called. */
static void run_serial(struct catalogue *catalogue)
{
	for (unsigned i = 0; i < TASKS; i++) {
		struct outcome *outcome = &catalogue->outcomes[i];
		if (tasks[i].dangerous) {
			strcpy(outcome->text, "refused");
			continue;
		}
		struct order order = order_for(catalogue, i);
		double begin = stats_clock();
		int r;
		do
			r = do_task(&order, &outcome->value, NULL);
		while (r < 0 && *order.runs <= catalogue->retries);
		outcome->seconds = stats_clock() - begin;
		outcome->attempts = *order.runs;
		strcpy(outcome->text, r < 0 ? crew_errname(r) : "done");
	}
}

/*
 * Processes: an exit code has 8 bits, so value and error come back through shared memory, where an
 * address is good in parent and child.
 */
struct errand {
	struct order order;
	uint64_t value;
	int error;
};

static int errand_main(void *argument, size_t size)
{
	(void)size;
	struct errand *errand = *(struct errand **)argument;
	errand->error = do_task(&errand->order, &errand->value, NULL);
	return errand->error < 0;
}

struct errands {
	struct catalogue *catalogue;
	struct errand *errand; /* TASKS of them, shared */
	unsigned next;         /* the next task that nobody has taken */
};

static void errands_work(struct lane *lane, void *context)
{
	struct errands *errands = context;
	struct catalogue *catalogue = errands->catalogue;
	unsigned i;
	while ((i = __atomic_fetch_add(&errands->next, 1, __ATOMIC_RELAXED)) < TASKS) {
		struct errand *errand = &errands->errand[i];
		struct outcome *outcome = &catalogue->outcomes[i];
		errand->order = order_for(catalogue, i);
		struct job_result result;
		double begin = stats_clock();
		job_run(lane, &(struct crew_process_options){ .function = errand_main, .argument = &errand,
				.argument_size = sizeof errand, .name = tasks[i].name, .limits = &no_core, .limit_count = 1 },
			&(struct policy){ timeout_for(catalogue, i), catalogue->retries }, &result);
		outcome->seconds = stats_clock() - begin;
		outcome->attempts = *errand->order.runs;
		outcome->signal = result.signal;
		outcome->value = errand->value;
		job_text(&result, outcome->text);
		if (result.ending == JOB_EXIT && errand->error < 0) /* the task returned it */
			strcpy(outcome->text, crew_errname(errand->error));
	}
}

static void run_processes(struct catalogue *catalogue)
{
	struct errands errands = { .catalogue = catalogue };
	int r = crew_array(TASKS, sizeof *errands.errand, (void **)&errands.errand);
	if (r < 0)
		cli_lack("shared memory: %s", crew_strerror(r));
	crowd_run(&(struct crowd_options){ .lanes = catalogue->cli->workers, .chaos = catalogue->cli->chaos,
		.seed = catalogue->cli->seed }, errands_work, &errands);
	crew_free(errands.errand);
}

/* The pool: submit all, then wait for each. Time limits, retries and new workers are its business. */
static void run_pool(struct catalogue *catalogue)
{
	struct crew_pool *pool = start_pool(catalogue->cli, &(struct crew_pool_options){
		.attempts = catalogue->retries ? (int)catalogue->retries + 1 : -1, .retries = (int)catalogue->retries,
		.limits = &no_core, .limit_count = 1 });
	crew_ticket tickets[TASKS];
	double begin = stats_clock();
	for (unsigned i = 0; i < TASKS; i++) {
		struct order order = order_for(catalogue, i);
		int r = crew_pool_submit(pool, &(struct crew_task){ .function = do_task, .argument = &order,
			.argument_size = sizeof order, .result_size = sizeof(uint64_t),
			.timeout = timeout_for(catalogue, i) }, &tickets[i], CREW_FOREVER);
		if (r < 0)
			cli_lack("cannot submit a task: %s", crew_strerror(r));
	}
	for (unsigned i = 0; i < TASKS; i++) {
		struct outcome *outcome = &catalogue->outcomes[i];
		struct crew_failure failure = { 0 };
		int r = crew_pool_wait(pool, tickets[i], &outcome->value, CREW_FOREVER, &failure);
		outcome->seconds = stats_clock() - begin;
		outcome->attempts = __atomic_load_n(&catalogue->runs[i], __ATOMIC_RELAXED);
		outcome->signal = failure.signal;
		job_text(&(struct job_result){ .signal = failure.signal, .code = failure.exit_code,
			.ending = r == 0 ? JOB_DONE : failure.error == -ETIMEDOUT ? JOB_TIMED_OUT
				: failure.signal ? JOB_SIGNAL : JOB_EXIT }, outcome->text);
		if (r == -EREMOTEIO)
			strcpy(outcome->text, crew_errname(failure.error));
	}
	crew_pool_close(pool, CREW_FOREVER);
}

/* --- what is right --- */

static uint64_t count_primes(uint64_t below)
{
	uint64_t primes = 0;
	bool *composite = calloc(below, sizeof *composite);
	if (!composite)
		cli_lack("out of memory");
	for (uint64_t n = 2; n < below; n++) {
		primes += !composite[n];
		for (uint64_t multiple = n * n; multiple < below; multiple += n)
			composite[multiple] = true;
	}
	free(composite);
	return primes;
}

static uint32_t checksum_by_bits(const char *data, size_t size)
{
	uint32_t crc = 0;
	for (size_t i = 0, length = size; i < size || length; i++) {
		unsigned byte = i < size ? (unsigned char)data[i] : length & 0xff;
		length >>= i < size ? 0 : 8;
		for (unsigned mask = 0x80; mask; mask >>= 1)
			crc = crc << 1 ^ (crc >> 31 != !!(byte & mask) ? 0x04c11db7 : 0);
	}
	return ~crc;
}

/* The value of each task, found in another way. */
static void expect(const struct sizes *sizes, uint64_t values[TASKS])
{
	struct rng rng = rng_of(sizes->seed, 0);
	for (unsigned i = 0; i < TASKS; i++) {
		int (*function)(const struct order *, uint64_t *) = tasks[i].function;
		for (uint64_t n = function == random_fill ? sizes->numbers : 0; n; n--)
			values[i] += rng_next(&rng);
		if (function == spin)
			values[i] = count_primes(sizes->below);
		else if (function == sleep_well)
			values[i] = (uint64_t)sizes->nap;
		else if (function == hash)
			values[i] = checksum_by_bits(file.data, file.size);
		else if (function == allocate)
			values[i] = sizes->bytes / 4096;
		else if (function == flaky)
			values[i] = 1;
	}
}

/* The outcome it must have, the value, and as many attempts as the policy grants; more, if chaos ended some. */
static void check(const struct catalogue *catalogue, struct report *report, const char *mode, unsigned task,
		const struct outcome *outcome, uint64_t value)
{
	const char *name = tasks[task].name, *text = tasks[task].outcome;
	unsigned most = catalogue->retries + 1, attempts = 1;
	if (strcmp(text, "done") != 0)
		attempts = most;
	if (tasks[task].function == flaky) {
		attempts = most < 2 ? most : 2;
		if (outcome->attempts < 2)
			text = "EAGAIN", value = 0;
	}
	if (strcmp(mode, "serial") == 0 && tasks[task].dangerous)
		text = "refused", attempts = 0;
	report_check(report, strcmp(outcome->text, text) == 0, "%s, %s: '%s', not '%s'", name, mode, outcome->text, text);
	report_check(report, outcome->value == value, "%s, %s: %" PRIu64 ", not %" PRIu64, name, mode, outcome->value, value);
	report_check(report, outcome->attempts == attempts || (catalogue->cli->chaos > 0 && outcome->attempts > attempts),
		"%s, %s: %u attempts, not %u", name, mode, outcome->attempts, attempts);
}

static void run_catalogue(struct catalogue *catalogue, struct report *report)
{
	static const struct { const char *name; void (*run)(struct catalogue *); } modes[] = {
		{ "serial", run_serial }, { "process", run_processes }, { "pool", run_pool },
	};
	enum { MODES = sizeof modes / sizeof *modes };
	int r = crew_array(TASKS, sizeof *catalogue->runs, (void **)&catalogue->runs);
	if (r < 0)
		cli_lack("shared memory: %s", crew_strerror(r));
	report_say(report, "Tasks, good and bad; what hangs is ended after %.3g s, what fails is tried %u times.\n",
		(double)catalogue->timeout * 1e-9, catalogue->retries + 1);
	for (unsigned i = 0; i < TASKS; i++)
		report_say(report, "  %-12s %s\n", tasks[i].name, tasks[i].what);
	report_say(report, "\n");

	unsigned count = catalogue->cli->serial ? 1 : MODES;
	struct outcome outcomes[MODES][TASKS] = { 0 };
	double begin = stats_clock();
	for (unsigned mode = 0; mode < count; mode++) {
		catalogue->outcomes = outcomes[mode];
		modes[mode].run(catalogue);
	}
	report_seconds(report, stats_clock() - begin);
	crew_free(catalogue->runs);

	uint64_t values[TASKS] = { 0 };
	expect(&catalogue->sizes, values);
	for (unsigned mode = 0; mode < count; mode++)
		for (unsigned i = 0; i < TASKS; i++) {
			const struct outcome *outcome = &outcomes[mode][i];
			struct json_t *row = report_row(report);
			report_str(row, "task", tasks[i].name);
			report_str(row, "mode", modes[mode].name);
			report_str(row, "outcome", outcome->text);
			report_uint(row, "attempts", outcome->attempts);
			report_int(row, "signal", outcome->signal);
			report_real(row, "seconds", outcome->seconds);
			report_uint(row, "value", outcome->value);
			check(catalogue, report, modes[mode].name, i, outcome, values[i]);
		}
	report_table(report);
	report_say(report, "\nRefused: a crash, a hang or an exit in the caller's own process is the end of everything.\n"
		"On the pool all tasks are submitted at once; seconds count from there.\n");
}

/* --- the rivals: how many jobs a second --- */

static double run_command(const char *command)
{
	double begin = stats_clock();
	struct crew_process *process;
	struct crew_status status = { 0 };
	int r = crew_process_start(&process, &(struct crew_process_options){
		.argv = (const char *const[]){ "sh", "-c", command, NULL } });
	if (r < 0)
		cli_lack("cannot start sh: %s", crew_strerror(r));
	r = crew_process_join(process, CREW_FOREVER, &status);
	double seconds = stats_clock() - begin;
	r = crew_process_close(process);
	return r == 0 && status.state == CREW_EXITED && status.code == 0 ? seconds : -1;
}

static void run_baseline(const struct cli *cli, struct report *report)
{
	enum { ROUNDS = 3 };
	unsigned jobs = cli->quick ? 200 : 1000;
	char self[4096], commands[3][4300];
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	self[length > 0 ? length : 0] = 0;
	snprintf(commands[0], sizeof *commands, "seq %u | '%s' --workers=%u -- true", jobs, self, cli->workers);
	snprintf(commands[1], sizeof *commands, "seq %u | xargs -P %u -n 1 true", jobs, cli->workers);
	snprintf(commands[2], sizeof *commands, "command -v parallel >/dev/null && seq %u | parallel -j %u true",
		jobs, cli->workers);
	static const char *const names[] = { "crew", "xargs", "GNU parallel" };
	double seconds[3][ROUNDS];
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < 3; i++)
			seconds[i][round] = round && seconds[i][0] < 0 ? -1 : run_command(commands[i]);
	report_say(report, "\n%u jobs of true, %u at a time:\n", jobs, cli->workers);
	for (unsigned i = 0; i < 3; i++) {
		if (seconds[i][0] < 0) {
			cli_note("%s is not installed, or does not work", names[i]);
			continue;
		}
		double ratio = stats_ratio(seconds[0], seconds[i], ROUNDS), median = stats_median(seconds[i], ROUNDS);
		struct json_t *row = report_row(report);
		report_str(row, "task", "true");
		report_str(row, "mode", names[i]);
		report_str(row, "outcome", "done");
		report_uint(row, "attempts", 1);
		report_int(row, "signal", 0);
		report_real(row, "seconds", median);
		report_uint(row, "jobs", jobs);
		report_real(row, "jobs_per_second", jobs / median);
		report_real(row, "ratio", ratio);
	}
}

/* --- the command line --- */

struct own {
	double timeout;  /* negative, like retries: not given */
	int retries;
	const char *joblog, *file;
	char *const *command;
};

enum { KEY_TIMEOUT = 1000, KEY_RETRIES, KEY_JOBLOG, KEY_FILE };

static const struct argp_option options[] = {
	{ "timeout", KEY_TIMEOUT, "S", 0, "End a job (of the catalogue: the task that hangs) after S seconds, with all that it has started", 0 },
	{ "retries", KEY_RETRIES, "N", 0, "Run what fails up to N times more", 0 },
	{ "joblog", KEY_JOBLOG, "FILE", 0, "A line for each job, in GNU parallel's columns", 0 },
	{ "file", KEY_FILE, "FILE", 0, "What the task 'hash' reads (default: this program)", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct own *own = state->input;
	switch (key) {
	case KEY_TIMEOUT:
		own->timeout = cli_parse_real(state, "--timeout", arg, 0, 1e9);
		return 0;
	case KEY_RETRIES:
		own->retries = (int)cli_parse_u64(state, "--retries", arg, 0, 1000000);
		return 0;
	case KEY_JOBLOG:
		own->joblog = arg;
		return 0;
	case KEY_FILE:
		own->file = arg;
		return 0;
	case ARGP_KEY_ARG: /* all the rest at once, as ARGP_KEY_ARGS */
		if (!state->quoted)
			argp_error(state, "'%s': a command comes after --", arg);
		return ARGP_ERR_UNKNOWN;
	case ARGP_KEY_ARGS:
		own->command = state->argv + state->next;
		if (!**own->command)
			argp_error(state, "the name of the command is empty");
		return 0;
	case ARGP_KEY_END:
		if (!own->command && state->quoted)
			argp_error(state, "there is no command after --");
		if (!own->command && own->joblog)
			argp_error(state, "--joblog: needs a command, after --");
		if (!own->command && own->timeout == 0)
			argp_error(state, "--timeout: one of the tasks hangs; give more than 0 seconds");
		if (own->command && own->file)
			argp_error(state, "--file: is for the catalogue, without a command");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = { options, parse, "[-- CMD ARGS {}]",
	"Independent tasks, and what to do when they misbehave: a catalogue of them, run serially, as processes and on a pool.\v"
	"With a command, runs it once for each line of standard input, --workers at a time. In its words {} stands "
	"for the line; without any {} the line is the last word. There is no shell in between. Empty lines are "
	"skipped. What a job prints is kept together and passed on when it has ended; with --json it is in the "
	"object. What a job leaves running ends with it. Exit status: the number of failed jobs, 101 for more than 100.",
	cli_children, NULL, NULL };

int main(int argc, char **argv)
{
	struct own own = { .timeout = -1, .retries = -1 };
	struct cli cli = cli_parse(&argp, argc, argv, &own);
	if (own.command) {
		struct runner_options runner = { .command = own.command, .joblog = own.joblog, .gather = cli.json,
			.policy = { own.timeout > 0 ? (crew_time)(own.timeout * 1e9) : 0,
				own.retries > 0 ? (unsigned)own.retries : 0 } };
		runner_check(&runner);
		if (cli.baseline)
			cli_note("--baseline: means nothing with a command");
		start_family(&cli);
		struct report *report = report_open(&cli);
		runner_run(&runner, &cli, report);
		return report_finish(report);
	}
	file = input_map(own.file ? own.file : "/proc/self/exe");
	start_family(&cli);
	struct report *report = report_open(&cli);
	struct catalogue catalogue = { .cli = &cli,
		.timeout = own.timeout > 0 ? (crew_time)(own.timeout * 1e9)
			: (cli.quick ? 250 : 500) * CREW_MILLISECOND,
		.retries = own.retries >= 0 ? (unsigned)own.retries : cli.quick ? 1 : 2,
		.sizes = { .seed = cli.seed, .numbers = cli.quick ? 100000 : 2000000,
			.below = cli.quick ? 100000 : 1000000, .nap = 50 * CREW_MILLISECOND,
			.bytes = (cli.quick ? 16u : 256u) << 20 } };
	run_catalogue(&catalogue, report);
	if (cli.baseline)
		run_baseline(&cli, report);
	return report_finish(report);
}
