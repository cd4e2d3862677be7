/*
 * programs.c - what all twelve programs promise alike: command line, output, ends
 *
 * One table says what is special about each; every claim below is tested on every
 * row. Answers of single programs are tested in suites of their own.
 */
#include "harness.h"
#include "program.h"

#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

static const struct program {
	const char *name;
	const char *quick; /* arguments for a short run */
	const char *busy;  /* for one of many seconds, to be ended by a signal; NULL: it has none */
	const char *keys;  /* that every row of --json has */
	const char *input; /* arguments that name an input file %s, or NULL */
	const char *cut;   /* such a file, cut off */
} programs[] = {
	{ "bank", "--quick", "", "strategy transfers seconds transfers_per_second missing_cents bad_audits",
		"--replay %s", "transaction,account,date,kind,amount\n1,2,1993-01-01,cre" },
	{ "data_parallelism", CREW_SOURCE "/tests/data/measurements.txt", "--generate=10000000000 /dev/null", "name min mean max count", "%s", "Hamburg;12.3\nOslo;1" },
	{ "do_something", "--quick", "-- sleep <<END\n60\n60\nEND", "task mode outcome attempts signal seconds", NULL, NULL },
	{ "fibonacci", "10 1000", "--naive 47 48", "n digits seconds", NULL, NULL },
	{ "hello", "", NULL, "worker pid cpu node", NULL, NULL },
	{ "ipc", "--quick", "", "mechanism bytes latency_ns messages_per_second bytes_per_second", NULL, NULL },
	{ "mpi", "--quick", "", "test ranks bytes seconds verified", NULL, NULL },
	{ "multiprocessing", "--quick", "--count=100000000 --jobs=100", "mode jobs seconds", NULL, NULL },
	{ "parallelization", "--quick", "", "kernel workers seconds speedup efficiency serial_fraction", NULL, NULL },
	{ "process_creation", "--quick", "", "method parent_mib microseconds", NULL, NULL },
	{ "shared_mem", "--quick", "", "case bytes seconds bytes_per_second", NULL, NULL },
	{ "synchronization", "--quick", "", "problem version operations violations seconds", NULL, NULL },
};
enum { PROGRAMS = sizeof programs / sizeof *programs };

/* A test for every program, or for those that have a value in that column; its name is PROGRAM_CLAIM. */
#define EACH(claim, ...) EACH_WITH(name, claim, __VA_ARGS__)
#define EACH_WITH(column, claim, ...) \
	static const char *claim##_label(int i) { return programs[i].column ? label(i, #claim) : NULL; } \
	TEST(claim, .count = PROGRAMS, .label = claim##_label, __VA_ARGS__)

static const char *label(int i, const char *claim)
{
	static char text[128];
	snprintf(text, sizeof text, "%s_%s", programs[i].name, claim);
	return text;
}

/* mpi is built where there is an MPI; all others always. */
#define NEED(index) \
	const struct program *p = &programs[index]; \
	if (strcmp(p->name, "mpi") == 0 && access(CREW_BUILD "/programs/mpi", X_OK) < 0) \
		SKIP("no MPI was found when crew was built")

/* PROGRAM ARGUMENTS; its orphans come to us, to be counted. */
static struct program_run start(const struct program *p, const char *arguments, ...)
{
	char line[2048];
	va_list args;
	va_start(args, arguments);
	vsnprintf(line, sizeof line, arguments, args);
	va_end(args);
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	return program_start("exec %s %s", p->name, line);
}

/* Nobody of its processes is left once it has ended. */
static void check_all_gone(void)
{
	crew_time until = crew_after(harness_grace());
	while (waitpid(-1, NULL, WNOHANG) >= 0) {
		ck_assert_msg(crew_now() < until, "processes are left after the end");
		harness_pause();
	}
}

static int lines(const char *text)
{
	int count = 0;
	for (; *text; text++)
		count += *text == '\n';
	return count;
}

#define check_status(run, wanted) \
	ck_assert_msg((run).status == (wanted), "exit status %d, not %d; stderr: %s", (run).status, wanted, (run).err)

/* Wrong usage: one line that says what, argp's line that says where to look, status 2, nothing else. */
static void check_usage(const struct program *p, const char *arguments, const char *named)
{
	struct program_run run = start(p, "%s", arguments);
	program_finish(&run);
	check_status(run, 2);
	const char *hint = strchr(run.err, '\n'); /* argp breaks it where the name is long */
	ck_assert_msg(hint && strncmp(hint, "\nTry `", 6) == 0 && lines(hint) <= 3, "%s: %s", arguments, run.err);
	ck_assert_msg(strstr(run.err, named), "does not name %s: %s", named, run.err);
	ck_assert_str_eq(run.out, "");
	program_forget(&run);
	check_all_gone();
}

EACH(helps)
{
	NEED(index);
	struct program_run run = start(p, "--help");
	program_finish(&run);
	check_status(run, 0);
	ck_assert_str_eq(run.err, "");
	ck_assert_ptr_nonnull(strstr(run.out, "Usage: "));
	ck_assert_ptr_nonnull(strstr(run.out, "--workers=N"));
	program_forget(&run);
}

EACH(tells_its_version)
{
	NEED(index);
	char wanted[128];
	snprintf(wanted, sizeof wanted, "%s (crew) %s\n", p->name, CREW_VERSION);
	struct program_run run = start(p, "--version");
	program_finish(&run);
	check_status(run, 0);
	ck_assert_str_eq(run.err, "");
	ck_assert_str_eq(run.out, wanted);
	program_forget(&run);
}

EACH(refuses_wrong_usage)
{
	NEED(index);
	check_usage(p, "--no-such-option", "--no-such-option");
	check_usage(p, "--workers=0", "--workers");
	check_usage(p, "--workers=4097", "--workers");
	check_usage(p, "--workers=99999999999999999999", "--workers");
	check_usage(p, "--workers=abc", "abc");
	check_usage(p, "--workers=", "--workers");
	check_usage(p, "--seed=-1", "--seed");
	check_usage(p, "--chaos=nan", "--chaos");
}

EACH(answers, .timeout = 60)
{
	NEED(index);
	struct program_run run = start(p, "%s", p->quick);
	program_finish(&run);
	check_status(run, 0);
	ck_assert_str_ne(run.out, "");
	program_forget(&run);
	check_all_gone();
}

EACH(answers_in_json, .timeout = 60)
{
	NEED(index);
	struct program_run run = start(p, "--json --workers=2 %s", p->quick);
	program_finish(&run);
	check_status(run, 0);
	json_error_t error;
	json_t *top = json_loads(run.out, JSON_REJECT_DUPLICATES, &error), *row;
	ck_assert_msg(top, "not one JSON object: %s in %.200s", error.text, run.out);
	ck_assert_pstr_eq(json_string_value(json_object_get(top, "program")), p->name);
	ck_assert_pstr_eq(json_string_value(json_object_get(top, "version")), CREW_VERSION);
	ck_assert_int_eq(json_integer_value(json_object_get(top, "workers")), 2);
	ck_assert(json_is_number(json_object_get(top, "seconds")));
	ck_assert(json_is_true(json_object_get(top, "verified")));
	const json_t *rows = json_object_get(top, "rows");
	ck_assert_int_gt((int)json_array_size(rows), 0);
	size_t i;
	json_array_foreach(rows, i, row) {
		char keys[256];
		snprintf(keys, sizeof keys, "%s", p->keys);
		for (char *key = strtok(keys, " "); key; key = strtok(NULL, " "))
			ck_assert_msg(json_object_get(row, key), "row %zu has no %s", i, key);
	}
	json_decref(top);
	program_forget(&run);
	check_all_gone();
}

EACH(notices_a_full_disk, .timeout = 60)
{
	NEED(index);
	struct program_run run = start(p, "%s >/dev/full", p->quick);
	program_finish(&run);
	check_status(run, 1);
	ck_assert_msg(lines(run.err) == 1 && strstr(run.err, "standard output"), "%s", run.err);
	program_forget(&run);
	check_all_gone();
}

EACH(ends_quietly_with_its_reader, .timeout = 60)
{
	NEED(index);
	int ends[2];
	ck_assert_int_eq(pipe(ends), 0);
	close(ends[0]);
	struct program_run run = start(p, "%s >&%d", p->quick, ends[1]);
	close(ends[1]);
	program_finish(&run);
	check_status(run, 128 + SIGPIPE);
	ck_assert_str_eq(run.err, "");
	program_forget(&run);
	check_all_gone();
}

/* How many processes are below us, at any depth. */
static int count_below(pid_t above)
{
	int count = 0;
	DIR *proc = opendir("/proc");
	ck_assert_ptr_nonnull(proc);
	for (struct dirent *entry; (entry = readdir(proc));) {
		char path[300], text[512] = "", state;
		snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
		int fd = open(path, O_RDONLY | O_CLOEXEC), parent;
		if (fd < 0)
			continue;
		ssize_t size = read(fd, text, sizeof text - 1);
		close(fd);
		const char *end = size > 0 ? strrchr(text, ')') : NULL;
		if (end && sscanf(end + 1, " %c %d", &state, &parent) == 2 && parent == above)
			count += 1 + count_below((pid_t)atoi(text));
	}
	closedir(proc);
	return count;
}

static bool has_ended(pid_t pid)
{
	siginfo_t info = { 0 };
	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid;
}

/* A busy run in which the program, crew's helpers and at least one more process are there. */
static struct program_run start_busy(const struct program *p)
{
	struct program_run run = start(p, "--workers=2 %s", p->busy);
	await(has_ended(run.pid) || count_below(getpid()) >= 4);
	ck_assert_msg(!has_ended(run.pid), "'%s %s' ended by itself", p->name, p->busy);
	return run;
}

static void check_stopped_by(const struct program *p, int sig)
{
	struct program_run run = start_busy(p);
	ck_assert_int_eq(kill(run.pid, sig), 0);
	program_finish(&run);
	check_status(run, 128 + sig);
	ck_assert_msg(lines(run.err) == 1, "%s", run.err);
	program_forget(&run);
	check_all_gone();
}

EACH_WITH(busy, stops_at_sigint)
{
	NEED(index);
	check_stopped_by(p, SIGINT);
}

EACH_WITH(busy, stops_at_sigterm)
{
	NEED(index);
	check_stopped_by(p, SIGTERM);
}

EACH_WITH(busy, takes_all_along_when_killed)
{
	NEED(index);
	struct program_run run = start_busy(p);
	ck_assert_int_eq(kill(run.pid, SIGKILL), 0);
	program_finish(&run);
	check_status(run, 128 + SIGKILL);
	program_forget(&run);
	check_all_gone();
}

/* At any moment, that is: also while it starts. */
EACH_WITH(busy, leaves_nothing_whenever_killed, .timeout = 60)
{
	NEED(index);
	for (int milliseconds = 0; milliseconds < 40; milliseconds += 3) {
		struct program_run run = start(p, "--workers=2 %s", p->busy);
		for (int i = 0; i < milliseconds; i++)
			harness_pause();
		ck_assert_int_eq(kill(run.pid, SIGKILL), 0);
			program_finish(&run);
		program_forget(&run);
		check_all_gone();
	}
}

/* Bad input: one line that names the file, status 2, nothing on stdout. */
static void check_refused(const struct program *p, const char *file)
{
	struct program_run run = start(p, p->input, file);
	program_finish(&run);
	check_status(run, 2);
	ck_assert_msg(lines(run.err) == 1 && strstr(run.err, file), "%s: %s", file, run.err);
	ck_assert_str_eq(run.out, "");
	program_forget(&run);
	check_all_gone();
}

EACH_WITH(input, refuses_bad_input, .timeout = 60)
{
	NEED(index);
	char binary[4096];
	for (size_t i = 0; i < sizeof binary; i++)
		binary[i] = (char)(i * 7 + i / 256);
	const char *dir = program_directory();
	check_refused(p, "/no/such/file");
	check_refused(p, dir);
	check_refused(p, "/proc/self/mem"); /* opens, but reads and maps are errors */
	check_refused(p, program_file(dir, "empty", "", 0));
	check_refused(p, program_file(dir, "cut", p->cut, strlen(p->cut)));
	check_refused(p, program_file(dir, "binary", binary, sizeof binary));
	const char *secret = program_file(dir, "secret", p->cut, strlen(p->cut));
	ck_assert_int_eq(chmod(secret, 0), 0);
	check_refused(p, secret);
	program_remove(dir);
}
