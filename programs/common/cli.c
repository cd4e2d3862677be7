/* cli.c - see cli.h */
#include "cli.h"
#include "stop.h"

#include <crew/probe.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORKERS_MAX 4096

enum { KEY_SEED = 0x7c01, KEY_QUICK, KEY_JSON, KEY_CHAOS, KEY_BASELINE, KEY_TRACE, KEY_SERIAL };

static struct cli cli; /* what the common parser has seen so far */

static const struct argp_option options[] = {
	{ "workers", 'w', "N", 0, "Worker processes, 1 to 4096 (default: usable CPUs)", 0 },
	{ "serial", KEY_SERIAL, NULL, 0, "No workers: one process does all the work", 0 },
	{ "seed", KEY_SEED, "N", 0, "Seed of everything random (default 1)", 0 },
	{ "quick", KEY_QUICK, NULL, 0, "Small sizes", 0 },
	{ "json", KEY_JSON, NULL, 0, "Print one JSON object instead of text", 0 },
	{ "chaos", KEY_CHAOS, "RATE", 0, "SIGKILL random workers, RATE per second", 0 },
	{ "baseline", KEY_BASELINE, NULL, 0, "Run the installed rivals too and compare", 0 },
	{ "trace", KEY_TRACE, "FILE", 0, "Write a Chrome trace of the run", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'w':
		cli.workers = (unsigned)cli_parse_u64(state, "--workers", arg, 1, WORKERS_MAX);
		cli.workers_given = true;
		return 0;
	case KEY_SERIAL:
		cli.serial = true;
		return 0;
	case KEY_SEED:
		cli.seed = cli_parse_u64(state, "--seed", arg, 0, UINT64_MAX);
		return 0;
	case KEY_QUICK:
		cli.quick = true;
		return 0;
	case KEY_JSON:
		cli.json = true;
		return 0;
	case KEY_CHAOS:
		cli.chaos = cli_parse_real(state, "--chaos", arg, 0, 1000);
		return 0;
	case KEY_BASELINE:
		cli.baseline = true;
		return 0;
	case KEY_TRACE:
		if (!*arg)
			argp_error(state, "--trace: needs the name of a file");
		cli.trace = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp common = { options, parse, NULL, NULL, NULL, NULL, NULL };

const struct argp_child cli_children[] = {
	{ &common, 0, "Common to all twelve programs:", 10 },
	{ 0 }
};

static void print_version(FILE *stream, struct argp_state *state)
{
	fprintf(stream, "%s (crew) %s\n", state->name, CREW_VERSION);
}

/*
 * With a standard descriptor closed, the next file opened would take its number
 * and be written to. Fill the gap with something that refuses the wrong
 * direction, so that using it still fails as it would have.
 */
__attribute__((constructor)) static void fill_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

static void flush_at_exit(void)
{
	if (!cli_flush())
		_exit(EXIT_WRONG);
}

struct cli cli_parse(const struct argp *argp, int argc, char **argv, void *input)
{
	argp_err_exit_status = EXIT_USAGE;
	argp_program_version_hook = print_version;
	cli = (struct cli){ .seed = 1 };
	stop_install();
	atexit(flush_at_exit);
	argv[0] = program_invocation_short_name; /* in all messages: getopt takes its own from here */
	/* A little wider than argp's 79 columns: "Try `PROGRAM --help' ..." is one line for every name. */
	bool wider = !getenv("ARGP_HELP_FMT") && setenv("ARGP_HELP_FMT", "rmargin=95", 1) == 0;
	argp_parse(argp, argc, argv, 0, NULL, input);
	if (wider)
		unsetenv("ARGP_HELP_FMT");
	if (!cli.workers) {
		unsigned cpus = crew_cpus();
		cli.workers = cpus < WORKERS_MAX ? cpus : WORKERS_MAX;
	}
	return cli;
}

uint64_t cli_parse_u64(struct argp_state *state, const char *option, const char *text,
		uint64_t min, uint64_t max)
{
	uint64_t value = 0;
	bool good = *text;
	for (const char *p = text; good && *p; p++) {
		unsigned digit = (unsigned)(*p - '0');
		good = digit <= 9 && !__builtin_mul_overflow(value, 10, &value)
			&& !__builtin_add_overflow(value, digit, &value);
	}
	if (!good || value < min || value > max) {
		if (max == UINT64_MAX && min == 0)
			argp_error(state, "%s: '%s' is not a whole number below 2^64", option, text);
		else
			argp_error(state, "%s: '%s' is not a whole number from %" PRIu64 " to %" PRIu64,
				option, text, min, max);
	}
	return value;
}

double cli_parse_real(struct argp_state *state, const char *option, const char *text,
		double min, double max)
{
	char *end;
	double value = strtod(text, &end);
	if (!*text || *end || isspace((unsigned char)*text) || strpbrk(text, "xX")
			|| !isfinite(value) || value < min || value > max)
		argp_error(state, "%s: '%s' is not a number from %g to %g", option, text, min, max);
	return value;
}

/* One line, one write: lines of several processes do not mix. */
static void say(const char *prefix, const char *format, va_list args)
{
	char *text = NULL;
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	fprintf(stderr, "%s: %s%s\n", program_invocation_short_name, prefix, text ? text : "out of memory");
	free(text);
}

void cli_die_input(const char *file, uint64_t line, const char *format, ...)
{
	char *place = NULL;
	int r = line ? asprintf(&place, "%s:%" PRIu64 ": ", file, line) : asprintf(&place, "%s: ", file);
	va_list args;
	va_start(args, format);
	say(r < 0 ? "" : place, format, args);
	va_end(args);
	exit(EXIT_USAGE);
}

void cli_lack(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	say("", format, args);
	va_end(args);
	exit(EXIT_LACK);
}

void *cli_need(void *memory)
{
	if (!memory)
		cli_lack("out of memory");
	return memory;
}

void cli_note(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	say("", format, args);
	va_end(args);
}

bool cli_flush(void)
{
	static bool told;
	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return true;
	if (errno == EPIPE) {
		signal(SIGPIPE, SIG_DFL);
		raise(SIGPIPE);
	}
	if (!told)
		cli_note("cannot write to standard output: %s", errno ? strerror(errno) : "write error");
	told = true;
	return false;
}
