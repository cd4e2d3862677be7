/*
 * cli.h - the command line that the twelve programs share, and their ways to end
 *
 * A program describes its own options with argp and takes the common ones as a
 * child. This is how all of them begin:
 *
 *     static const struct argp argp = {
 *             options, parse, "FILE", "What it does.", cli_children };
 *
 *     int main(int argc, char **argv)
 *     {
 *             struct own own = { .skew = 0 };
 *             struct cli cli = cli_parse(&argp, argc, argv, &own);
 *             struct input input = input_map(own.file);  // before crew_init: workers have it too
 *             int r = crew_init(NULL);
 *             if (r < 0)
 *                     cli_lack("crew_init: %s", crew_strerror(r));
 *             struct report *report = report_open(&cli);
 *             ...
 *             return report_finish(report);
 *     }
 *
 * Exit status: 0 the answer is right, 1 it is wrong, 2 bad usage or bad input,
 * 3 the machine lacks something. SIGINT and SIGTERM end the program by that
 * signal (stop.h).
 */
#ifndef CLI_H
#define CLI_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

enum { EXIT_WRONG = 1, EXIT_USAGE = 2, EXIT_LACK = 3 };

struct cli {
	unsigned workers;    /* 1...4096; the usable CPUs unless given */
	bool workers_given;  /* whether --workers was on the command line */
	bool serial;         /* no workers: the calling process does the work */
	bool quick;          /* small sizes */
	bool json;           /* stdout is one JSON object */
	bool baseline;       /* run the installed rivals too */
	uint64_t seed;       /* same seed, same answer; 1 unless given */
	double chaos;        /* workers to kill per second; 0: none */
	const char *trace;   /* file for a Chrome trace, or NULL */
};

/* The common options, for the .children of a program's argp. */
extern const struct argp_child cli_children[];

/*
 * Parse the whole command line; `input` goes to the program's own parser. Does
 * not return on --help, --version (status 0) and wrong usage (status 2). Also
 * installs the handlers of stop.h and makes sure that at exit an unwritten
 * stdout is noticed.
 */
struct cli cli_parse(const struct argp *argp, int argc, char **argv, void *input);

/*
 * The number that the whole of `text` spells, in min…max; anything else is wrong
 * usage, told in one line that names the option and the range. u64 takes decimal
 * digits alone; real takes what strtod(3) takes but white space, hex, inf, nan.
 */
uint64_t cli_parse_u64(struct argp_state *state, const char *option, const char *text,
		uint64_t min, uint64_t max);
double cli_parse_real(struct argp_state *state, const char *option, const char *text,
		double min, double max);

/* "PROGRAM: file:line: reason", exit 2. Line 0: the file as a whole. */
_Noreturn void cli_die_input(const char *file, uint64_t line, const char *format, ...)
		__attribute__((format(printf, 3, 4)));

/* "PROGRAM: reason", exit 3. Say what to install or set. */
_Noreturn void cli_lack(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What an allocation returned, if it is not NULL; else the end, as by cli_lack(). */
void *cli_need(void *memory);

/* "PROGRAM: text" on stderr, also under --json. */
void cli_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Flush stdout. False, after a line on stderr, if what was printed could not be
 * written. If the reader of the pipe is gone, ends by SIGPIPE, silently.
 */
bool cli_flush(void);

#endif
