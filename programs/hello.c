/*
 * hello.c - N processes say hello, and what this machine offers them
 *
 *     hello                   a process per CPU says hello, in whatever order they come
 *     hello --ordered         the same, in the order of their numbers
 *     hello --workers=100     a hundred
 *     hello --doctor          what the machine offers, and what crew makes of it
 *
 * Processes that run at once finish in any order; it changes from run to run. When order
 * matters somebody has to wait, and waiting is where parallel programs go wrong: here each worker
 * sleeps on one condition until it is its turn, takes the turn, and passes it on.
 *
 * Read `greet` first: it is the whole life of a worker. All that the workers share is one `struct
 * hall` in the family's memory; a pointer to it is good in every process. Each worker leaves its name
 * there too, and that is what the program checks: everybody came, once, each a process of its own.
 *
 * --doctor measures as well: what a process costs here, and how long a wake-up takes.
 */
#include "cli.h"
#include "report.h"
#include "start.h"
#include "stats.h"
#include "text.h"

#include <crew/cluster.h>
#include <crew/crew.h>

#include <hwloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE (60 * CREW_SECOND) /* for everything that should take a moment */

/* What a worker leaves behind. */
struct guest {
	pid_t pid;
	unsigned cpu, node, visits;
};

/* What all workers share. */
struct hall {
	struct crew_lock lock;
	struct crew_condition turn_changed;
	unsigned turn; /* whose turn it is to speak, when they speak in order */
	bool ordered, quiet;
	unsigned count;
	unsigned unheard; /* workers whose words could not be written */
	struct guest *guests; /* [count] */
};

/* The argument of a worker: copied for it when it starts. */
struct invitation {
	struct hall *hall;
	unsigned number;
};

/* --- the workers ------------------------------------------------------------ */

/* Wait for our turn. Always in a loop: a wait may end for no reason, and for somebody else's turn. */
static int wait_for_turn(struct hall *hall, unsigned number)
{
	int r = crew_lock_acquire(&hall->lock, crew_after(PATIENCE));
	while (r == 0 && hall->turn != number)
		r = crew_condition_wait(&hall->turn_changed, &hall->lock, crew_after(PATIENCE));
	return r;
}

static int pass_turn(struct hall *hall)
{
	hall->turn++;
	crew_lock_release(&hall->lock);
	return crew_condition_notify(&hall->turn_changed, UINT32_MAX);
}

/* The life of a worker, from beginning to end. What it returns is its exit code. */
static int greet(void *argument, size_t size)
{
	(void)size;
	const struct invitation *invitation = argument;
	struct hall *hall = invitation->hall;
	struct guest *guest = &hall->guests[invitation->number];

	guest->pid = getpid();
	if (getcpu(&guest->cpu, &guest->node) != 0)
		guest->cpu = guest->node = 0;
	guest->visits++;

	signal(SIGPIPE, SIG_IGN); /* a reader that has gone is an error like any other: below */
	if (hall->ordered && wait_for_turn(hall, invitation->number) != 0)
		return 1;
	if (!hall->quiet)
		printf("hello from worker %u, process %d on CPU %u of node %u\n", invitation->number, (int)guest->pid,
			guest->cpu, guest->node);
	if (fflush(stdout) != 0) /* here, not at the end: before the turn passes on */
		__atomic_fetch_add(&hall->unheard, 1, __ATOMIC_RELAXED);
	if (hall->ordered && pass_turn(hall) != 0)
		return 1;
	return 0;
}

/* --- the host --------------------------------------------------------------- */

/* Start all, wait for all. Returns how many ended with exit code 0. */
static unsigned invite(struct hall *hall)
{
	struct crew_process **workers = calloc(hall->count, sizeof *workers);
	unsigned came = 0;
	if (!workers)
		cli_lack("out of memory for %u workers", hall->count);
	for (unsigned i = 0; i < hall->count; i++) {
		struct invitation invitation = { hall, i };
		char name[32];
		snprintf(name, sizeof name, "hello/%u", i);
		int r = crew_process_start(&workers[i], &(struct crew_process_options){ .function = greet,
				.argument = &invitation, .argument_size = sizeof invitation, .name = name });
		if (r < 0)
			cli_lack("worker %u of %u cannot start: %s", i, hall->count, crew_strerror(r));
	}
	for (unsigned i = 0; i < hall->count; i++) {
		struct crew_status status;
		int r = crew_process_join(workers[i], crew_after(PATIENCE), &status);
		if (r < 0)
			cli_note("worker %u: %s", i, crew_strerror(r));
		else if (status.state != CREW_EXITED || status.code != 0)
			cli_note("worker %u: %s %d", i, status.state == CREW_KILLED ? "ended by signal" : "exit code",
				status.state == CREW_KILLED ? status.signal : status.code);
		else
			came++;
		if (r == 0)
			(void)!crew_process_close(workers[i]);
	}
	free(workers);
	return came;
}

static int by_pid(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;
	return (x > y) - (x < y);
}

/* Whether everybody came once, each as a process of its own, none of them this one. */
static bool all_different(const struct hall *hall)
{
	pid_t *pids = malloc((hall->count + 1) * sizeof *pids);
	bool ok = pids != NULL;
	for (unsigned i = 0; ok && i < hall->count; i++) {
		pids[i] = hall->guests[i].pid;
		ok = hall->guests[i].visits == 1 && pids[i] != getpid();
	}
	if (ok)
		qsort(pids, hall->count, sizeof *pids, by_pid);
	for (unsigned i = 1; ok && i < hall->count; i++)
		ok = pids[i - 1] != pids[i];
	free(pids);
	return ok;
}

static void say_hello(struct report *report, const struct cli *cli, bool ordered)
{
	struct hall *hall;
	int r = crew_alloc_zeroed(sizeof *hall, (void **)&hall);
	if (r == 0)
		r = crew_array(cli->workers, sizeof *hall->guests, (void **)&hall->guests);
	if (r < 0)
		cli_lack("%s", crew_strerror(r));
	hall->count = cli->workers;
	hall->ordered = ordered;
	hall->quiet = cli->json;

	double begin = stats_clock();
	unsigned came = invite(hall);
	double seconds = stats_clock() - begin;
	report_seconds(report, seconds);

	for (unsigned i = 0; i < hall->count; i++) {
		struct json_t *row = report_row(report);
		report_uint(row, "worker", i);
		report_int(row, "pid", hall->guests[i].pid);
		report_uint(row, "cpu", hall->guests[i].cpu);
		report_uint(row, "node", hall->guests[i].node);
	}
	report_no_table(report); /* the workers have said it */
	char took[32];
	text_seconds(took, seconds);
	report_say(report, "%u workers, %s order, %s from the first start to the last end\n", came,
		ordered ? "in their" : "in no", took);
	/* What kept them from being heard is met by this process too, which then tells it. */
	report_check(report, hall->unheard == 0 || !cli_flush(), "%u workers could not be heard", hall->unheard);
	report_check(report, came == hall->count, "%u of %u workers said hello", came, hall->count);
	report_check(report, all_different(hall), "the workers are not %u different processes", hall->count);
	report_check(report, !ordered || hall->turn == hall->count, "the turn came to %u, not %u", hall->turn, hall->count);
	crew_free(hall->guests);
	crew_free(hall);
}

/* --- the doctor ------------------------------------------------------------- */

/* One finding: a row of its own, for people a line of the table. */
static void finding(struct report *report, const char *what, const char *value, const char *meaning)
{
	struct json_t *row = report_row(report);
	report_str(row, "what", what);
	report_str(row, "value", value);
	report_str(row, "meaning", meaning);
}

static void find_features(struct report *report)
{
	struct crew_feature feature;
	for (unsigned i = 0; crew_feature(i, &feature) == 0; i++) {
		finding(report, feature.name, !feature.present ? "missing" : feature.disabled ? "switched off" : "yes",
			feature.purpose);
		report_check(report, feature.present || !feature.required, "crew needs %s: a newer kernel", feature.name);
	}
}

static void find_limits(struct report *report)
{
	struct crew_limits limits;
	char value[96], bytes[32];
	crew_limits(&limits);
	snprintf(value, sizeof value, "%u", limits.cpus);
	finding(report, "CPUs to use", value, "the default of --workers: the smallest of the next three");
	snprintf(value, sizeof value, "%u online, %u by affinity", limits.cpus_online, limits.cpus_affinity);
	finding(report, "CPUs", value, "affinity: taskset, a container's cpuset");
	snprintf(value, sizeof value, "%u", limits.cpus_quota);
	finding(report, "CPU quota", limits.cpus_quota ? value : "none", "of the cgroup, rounded up");
	text_bytes(bytes, (double)limits.memory_available);
	finding(report, "memory available", bytes, "by the kernel's estimate");
	text_bytes(bytes, (double)limits.memory_cgroup);
	finding(report, "memory in cgroup", limits.memory_cgroup == UINT64_MAX ? "no limit" : bytes, "what its limit leaves");
	struct crew_memory_stats memory;
	if (crew_memory_stats(&memory) == 0) {
		text_bytes(bytes, (double)memory.cap);
		finding(report, "shared heap", bytes, "the most that crew commits; more is -ENOMEM");
	}
	struct rlimit files, processes;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && getrlimit(RLIMIT_NPROC, &processes) == 0) {
		snprintf(value, sizeof value, "%llu, %lld", (unsigned long long)files.rlim_cur, (long long)processes.rlim_cur);
		finding(report, "descriptors, processes", value, "ulimit -n, ulimit -u (-1: none); a handle takes a descriptor");
	}
}

/* Cores, caches and nodes, by hwloc. */
static void find_topology(struct report *report)
{
	hwloc_topology_t topology;
	if (hwloc_topology_init(&topology) != 0 || hwloc_topology_load(topology) != 0) {
		finding(report, "topology", "unknown", "hwloc cannot read it");
		return;
	}
	char value[96], bytes[32];
	snprintf(value, sizeof value, "%d packages, %d cores, %d threads, %d nodes",
		hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PACKAGE), hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE),
		hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU), hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE));
	finding(report, "topology", value, "threads of one core share its units; memory of another node is farther");
	for (hwloc_obj_t cache = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PU, 0); cache; cache = cache->parent) {
		if (!hwloc_obj_type_is_dcache(cache->type))
			continue;
		text_bytes(bytes, (double)cache->attr->cache.size);
		snprintf(value, sizeof value, "%s, lines of %u B", bytes, cache->attr->cache.linesize);
		char name[32];
		snprintf(name, sizeof name, "L%u cache", cache->attr->cache.depth);
		finding(report, name, value, "of the first CPU");
	}
	hwloc_topology_destroy(topology);
}

static void find_mpi(struct report *report)
{
	char path[256];
	int open_mpi = crew_cluster_find(CREW_OPEN_MPI, path, sizeof path);
	finding(report, "Open MPI", open_mpi == 0 ? path : "none", open_mpi == 0 ? "its launcher" : "install openmpi-bin");
	int mpich = crew_cluster_find(CREW_MPICH, path, sizeof path);
	finding(report, "MPICH", mpich == 0 ? path : "none", mpich == 0 ? "its launcher" : "install mpich");
}

static int nothing(void *argument, size_t size)
{
	(void)argument;
	(void)size;
	return 0;
}

/* Two events on which two processes take turns. */
struct court {
	struct crew_event there, back;
	unsigned rounds;
};

static int return_balls(void *argument, size_t size)
{
	(void)size;
	struct court *court = *(struct court **)argument;
	for (unsigned i = 0; i < court->rounds; i++)
		if (crew_event_wait(&court->there, crew_after(PATIENCE)) != 0 || crew_event_set(&court->back) != 0)
			return 1;
	return 0;
}

static void measure(struct report *report)
{
	enum { STARTS = 15, ROUNDS = 200 };
	double starts[STARTS];
	char text[32];
	for (int i = 0; i < STARTS; i++) {
		struct crew_process *process;
		double begin = stats_clock();
		int r = crew_process_start(&process, &(struct crew_process_options){ .function = nothing });
		if (r == 0)
			r = crew_process_join(process, crew_after(PATIENCE), NULL);
		starts[i] = stats_clock() - begin;
		if (!report_check(report, r == 0, "starting a process: %s", crew_strerror(r)))
			return;
		(void)!crew_process_close(process);
	}
	text_seconds(text, stats_median(starts, STARTS));
	finding(report, "a process", text, "from start to joined, by the zygote; median of 15");

	struct court *court;
	struct crew_process *partner;
	int r = crew_alloc_zeroed(sizeof *court, (void **)&court);
	if (r < 0)
		cli_lack("%s", crew_strerror(r));
	court->rounds = ROUNDS;
	crew_event_init(&court->there, CREW_EVENT_AUTO);
	crew_event_init(&court->back, CREW_EVENT_AUTO);
	r = crew_process_start(&partner, &(struct crew_process_options){ .function = return_balls, .argument = &court,
			.argument_size = sizeof court });
	if (!report_check(report, r == 0, "starting a process: %s", crew_strerror(r)))
		return;
	double begin = stats_clock();
	for (int i = 0; r == 0 && i < ROUNDS; i++) {
		r = crew_event_set(&court->there);
		if (r == 0)
			r = crew_event_wait(&court->back, crew_after(PATIENCE));
	}
	double each = (stats_clock() - begin) / (2 * ROUNDS);
	struct crew_status status;
	if (r == 0)
		r = crew_process_join(partner, crew_after(PATIENCE), &status);
	report_check(report, r == 0 && status.state == CREW_EXITED && status.code == 0, "passing an event to and fro: %s",
		crew_strerror(r));
	(void)!crew_process_stop(partner, 0, NULL);
	(void)!crew_process_close(partner);
	crew_free(court);
	text_seconds(text, each);
	finding(report, "a wake-up", text, "from one process setting an event to another being through; mean");
}

static void examine(struct report *report)
{
	report_say(report, "What this machine offers, and what crew makes of it (CREW_DISABLE=name,... switches a feature off):\n\n");
	find_features(report);
	find_limits(report);
	find_topology(report);
	find_mpi(report);
	measure(report);
}

/* --- the command line ------------------------------------------------------- */

struct own {
	bool ordered, doctor;
};

static const struct argp_option options[] = {
	{ "ordered", 'o', NULL, 0, "Workers speak in the order of their numbers", 0 },
	{ "doctor", 'd', NULL, 0, "Say what this machine offers and what crew will use", 0 },
	{ 0 }
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct own *own = state->input;
	switch (key) {
	case 'o': own->ordered = true; return 0;
	case 'd': own->doctor = true; return 0;
	case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", argument); return EINVAL;
	default: return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = { options, parse, NULL,
	"N processes say hello, ordered or racing; or --doctor tells what this machine offers.", cli_children, NULL, NULL };

int main(int argc, char **argv)
{
	struct own own = { 0 };
	struct cli cli = cli_parse(&argp, argc, argv, &own);
	start_family(&cli);
	if (cli.chaos > 0)
		cli_note("--chaos has nothing to kill here: a worker that only says hello is gone before");
	struct report *report = report_open(&cli);
	if (own.doctor)
		examine(report);
	else
		say_hello(report, &cli, own.ordered);
	return report_finish(report);
}
