/*
 * shared_mem - memory that several processes have at the same address: what it is good for, and what it costs
 *
 *     counters   one number that all raise: lost without protection, slow with a lock, faster with an atomic
 *                instruction, fastest with a number each; but not if these numbers share a cache line
 *     arrays     shared memory is memory: reading and writing it costs what private memory costs
 *     a tree     one process builds it with ordinary pointers, the others walk it; also when its builder has been killed half-way
 *     a map      YCSB A, B and C on small records; with --chaos workers are killed, and no change is lost
 *     copies     64 KiB ... 16 MiB go to another process through a pipe(2), through a crew_pipe, and not at all: it
 *                is given the pointer
 *     crashes    processes are killed while they allocate, free and update; what they shared stays whole
 *
 *     strangers  programs that were not started by one another meet in a region with a name; one is killed
 *
 * Every row is checked: counts, sums, the order of the tree, the heap's own invariants. `bytes` is what was read or
 * written, so bytes_per_second compares the ways to do the same; operation_ns is the time of one, as one process sees it.
 */
#include "shared_mem/shared_mem.h"
#include "start.h"

struct report *report;
struct cli cli;

void must(const char *what, int r)
{
	if (r < 0)
		cli_lack("%s: %s", what, crew_strerror(r));
}

void *shared(size_t count, size_t size)
{
	void *memory;
	must("crew_array", crew_array(count, size, &memory));
	return memory;
}

struct json_t *row(const char *name, uint64_t bytes, double seconds)
{
	struct json_t *row = report_row(report);
	report_str(row, "case", name);
	report_uint(row, "bytes", bytes);
	report_real(row, "seconds", seconds);
	report_real(row, "bytes_per_second", (double)bytes / seconds);
	return row;
}

double span_of_all(const struct span *spans, unsigned count)
{
	double begin = spans[0].begin, end = spans[0].end;
	for (unsigned i = 1; i < count; i++) {
		begin = spans[i].begin < begin ? spans[i].begin : begin;
		end = spans[i].end > end ? spans[i].end : end;
	}
	return end - begin;
}

void join(struct team *team, const char *what)
{
	unsigned failed = team_join(team, crew_after(PATIENCE));
	report_check(report, failed == 0, "%s: %u processes failed", what, failed);
}

/* --- what is shared, and what is not --- */

static int global; /* every process has its own */

static int raise_both(void *memory, unsigned number)
{
	(void)number;
	++*(int *)memory;
	global++;
	return 0;
}

static void show_sharing(void)
{
	int *word = shared(1, sizeof *word);
	join(team_start(1, "child", raise_both, word), "sharing");
	report_say(report, "A child has raised two numbers. The parent sees %d where memory is shared, %d in a global variable\n\n",
		*word, global);
	report_check(report, *word == 1 && global == 0, "sharing: %d in shared memory, %d in a global variable", *word, global);
	crew_free(word);
}

/* --- the whole --- */

struct own {
	const char *meet, *forget;
	uint64_t visits;
};

enum { KEY_MEET = 1, KEY_FORGET, KEY_VISITS };

static const struct argp_option options[] = {
	{ "meet", KEY_MEET, "NAME", 0, "Only write in the guest book of that name, which all programs of this user share", 0 },
	{ "visits", KEY_VISITS, "N", 0, "With --meet: so many entries (default 1)", 0 },
	{ "forget", KEY_FORGET, "NAME", 0, "Only take the name of a guest book away; it goes with the last program that has it", 0 },
	{ 0 }
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct own *own = state->input;
	switch (key) {
	case KEY_MEET: own->meet = argument; return 0;
	case KEY_FORGET: own->forget = argument; return 0;
	case KEY_VISITS: own->visits = cli_parse_u64(state, "--visits", argument, 1, UINT32_MAX); return 0;
	case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", argument); return EINVAL;
	case ARGP_KEY_END:
		if (own->meet && own->forget)
			argp_error(state, "--forget: takes no --meet");
		if (own->visits && !own->meet)
			argp_error(state, "--visits: says how often to --meet");
		return 0;
	default: return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = { options, parse, NULL, "Shared memory: counters and what protects them, arrays, a tree with "
	"pointers, a map, copying against sharing, what a crash leaves behind, and strangers who meet.", cli_children, NULL, NULL };

int main(int argc, char **argv)
{
	struct own own = { 0 };
	cli = cli_parse(&argp, argc, argv, &own);
	if (own.meet)
		return meet(own.meet, own.visits ? own.visits : 1);
	if (own.forget)
		return forget(own.forget);
	if (cli.serial) {
		cli_note("--serial: one worker, where one is enough");
		cli.workers = 1;
		cli.serial = false;
	}
	start_family(&cli);
	report = report_open(&cli);
	show_sharing();
	show_counters(cli.quick ? 2000000 : 8000000);
	show_arrays(cli.quick ? 8 << 20 : 64 << 20);
	show_tree(cli.quick ? 20000 : 200000);
	show_map(cli.quick ? 2000 : 20000, cli.quick ? 100000 : 1000000);
	show_copies(cli.quick ? 4 << 20 : 64 << 20);
	show_crashes(cli.quick ? 0.2 : 0.5);
	show_named(cli.quick ? 2000 : 20000);
	return report_finish(report);
}
