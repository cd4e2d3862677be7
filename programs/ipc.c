/*
 * ipc.c - every way for two processes to talk, compared
 *
 *     ipc                          nine mechanisms, messages of 8 bytes to 1 MiB
 *     ipc --mechanism=pipe         one of them
 *     ipc --quick --json           fewer sizes, less time; one JSON object
 *
 * Two tests for each mechanism and size:
 *
 *     ping-pong   one message goes there and comes back. Half of that time is the latency: mostly
 *                 the price of waking a sleeping process, not of moving bytes.
 *     one-way     many messages, one behind the other, until the receiver has the last.
 *                 Here moving bytes counts: how often each is copied, and how often the
 *                 kernel has to be asked.
 *
 * Every message is checked by its receiver, each byte of it. Then the other process is killed in
 * the middle of a conversation: who notices, and what becomes of the messages (ipc/kill.c)?
 *
 *     ipc --kill                   that alone
 *     ipc --pattern=NAME           several senders and receivers (ipc/pattern.c): one_to_many, many_to_one,
 *                                  many_to_many, request_response, or all of them
 *
 * How to read it: ipc/mechanism.c lists the ways; each is three small functions that open it, send
 * a message and receive one. ipc/talk.c has both sides of a conversation. What a kernel
 * mechanism cannot carry in one piece goes in parts (column parts).
 */
#include "ipc/ipc.h"
#include "ipc/talk.h"
#include "start.h"
#include "stats.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* As many messages as take about `budget` seconds. */
static struct measure measure(const struct mechanism *m, enum task task, size_t size, double budget, uint64_t *count)
{
	*count = 16;
	struct measure first = talk_measure(m, task, size, *count);
	if (first.result != 0 || first.wrong)
		return first;
	double wanted = budget / (first.seconds / 16 + 1e-9);
	*count = wanted < 16 ? 16 : wanted > 300000 ? 300000 : (uint64_t)wanted;
	return talk_measure(m, task, size, *count);
}

static void compare(struct report *report, const struct cli *cli, const char *only)
{
	static const size_t all[] = { 8, 64, 1024, 16384, 262144, 1048576 }, some[] = { 8, 4096, 1048576 };
	const size_t *sizes = cli->quick ? some : all;
	size_t count = cli->quick ? sizeof some / sizeof *some : sizeof all / sizeof *all;
	double budget = cli->quick ? 0.015 : 0.15;
	for (size_t k = 0; k < count; k++) {
		for (size_t i = 0; i < mechanism_count; i++) {
			const struct mechanism *m = &mechanisms[i];
			size_t size = sizes[k];
			if (size > m->most || (only && strcmp(only, m->name) != 0))
				continue;
			uint64_t rounds, messages;
			alarm(60); /* kernel mechanisms know no deadlines: nothing here takes a minute */
			struct measure there_and_back = measure(m, PING_PONG, size, budget, &rounds);
			struct measure one_way = measure(m, ONE_WAY, size, budget, &messages);
			alarm(0);
			if (there_and_back.result == -ENOSYS || there_and_back.result == -EMFILE ||
					there_and_back.result == -EACCES) {
				cli_note("%s is not to be had here: %s", m->name, crew_strerror(there_and_back.result));
				continue;
			}
			int r = there_and_back.result ? there_and_back.result : one_way.result;
			if (!report_check(report, r == 0, "%s, %zu bytes: %s", m->name, size, crew_strerror(r)))
				continue;
			report_check(report, there_and_back.wrong + one_way.wrong == 0, "%s, %zu bytes: %llu messages arrived damaged",
				m->name, size, (unsigned long long)(there_and_back.wrong + one_way.wrong));
			struct json_t *row = report_row(report);
			size_t part = m->part ? m->part : size;
			report_str(row, "mechanism", m->name);
			report_uint(row, "bytes", size);
			report_real(row, "latency_ns", there_and_back.seconds * 1e9 / (2 * (double)rounds));
			report_real(row, "messages_per_second", (double)messages / one_way.seconds);
			report_real(row, "bytes_per_second", (double)messages * (double)size / one_way.seconds);
			report_uint(row, "parts", (size + part - 1) / part);
		}
	}
}

/* --- the command line ------------------------------------------------------------------ */

struct own {
	const char *mechanism, *pattern;
	bool patterns, kill;
};

enum { KEY_PATTERN = 1, KEY_KILL };

static const struct argp_option options[] = {
	{ "mechanism", 'm', "NAME", 0,
		"Only this one: pipe, fifo, unix_stream, unix_seqpacket, tcp, mq, eventfd, crew_pipe, crew_queue", 0 },
	{ "pattern", KEY_PATTERN, "NAME", 0,
		"Several senders and receivers: one_to_many, many_to_one, many_to_many, request_response, all", 0 },
	{ "kill", KEY_KILL, NULL, 0, "Only what the survivor meets when the other process is killed in the middle", 0 },
	{ 0 }
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct own *own = state->input;
	switch (key) {
	case 'm':
		for (size_t i = 0; i < mechanism_count; i++)
			if (strcmp(argument, mechanisms[i].name) == 0) {
				own->mechanism = mechanisms[i].name;
				return 0;
			}
		argp_error(state, "--mechanism: there is no '%s'; see --help", argument);
		return EINVAL;
	case KEY_PATTERN:
		own->patterns = true;
		own->pattern = NULL;
		for (const char *const *p = ipc_patterns; *p; p++)
			if (strcmp(argument, *p) == 0)
				own->pattern = *p;
		if (!own->pattern && strcmp(argument, "all") != 0)
			argp_error(state, "--pattern: there is no '%s'; see --help", argument);
		return 0;
	case KEY_KILL: own->kill = true; return 0;
	case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", argument); return EINVAL;
	case ARGP_KEY_END:
		if (own->kill && own->patterns)
			argp_error(state, "--kill: takes no --pattern");
		return 0;
	default: return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = { options, parse, NULL, "Every way for two processes to talk, compared.", cli_children,
	NULL, NULL };

int main(int argc, char **argv)
{
	struct own own = { 0 };
	struct cli cli = cli_parse(&argp, argc, argv, &own);
	start_family(&cli);
	if (cli.baseline && (own.kill || own.patterns))
		cli_note("--baseline compares one-to-one messages; here it has no rival");
	if (cli.chaos > 0)
		cli_note("--chaos: the partner is killed at the end in any case");
	struct report *report = report_open(&cli);
	struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
	sigaction(SIGPIPE, &ignore, &before); /* a send to the dead shall be an error */
	double begin = stats_clock();
	if (own.kill) {
		ipc_kill(report, own.mechanism, NULL);
	} else if (own.patterns) {
		report_say(report, "Several processes talk; each message must arrive exactly once.\n\n");
		ipc_patterns_run(report, &cli, own.pattern, own.mechanism);
	} else {
		report_say(report, "Two processes talk; every byte is checked. Latency is half a round trip.\n\n");
		compare(report, &cli, own.mechanism);
		if (cli.baseline)
			ipc_rivals(report);
		report_seconds(report, stats_clock() - begin);
		report_table(report);
		json_t *deaths = json_array(); /* with --json: a member beside the rows */
		ipc_kill(report, own.mechanism, deaths);
		json_object_set_new(report_top(report), "deaths", deaths);
	}
	sigaction(SIGPIPE, &before, NULL);
	return report_finish(report);
}
