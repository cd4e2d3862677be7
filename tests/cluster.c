/*
 * cluster.c - the layer cluster: who started us, and ranks that leave nothing behind
 *
 * The ranks are this very program. A launcher of a few lines of shell stands in for
 * mpirun, so that everything but the last test runs without MPI.
 */
#include "harness.h"

#include <crew/cluster.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* As a rank: argv[1] says what to do, before there is any test. */
__attribute__((constructor)) static void be_rank(int argc, char **argv)
{
	if (!getenv("CREW_CLUSTER_RUN") || argc < 3)
		return;
	const char *directory = getenv("TMPDIR");
	char path[256];
	snprintf(path, sizeof path, "%s/left-%d", directory, (int)getpid());
	close(open(path, O_CREAT | O_WRONLY, 0600)); /* what a killed rank leaves in its directory */
	if (write(STDOUT_FILENO, argv[2], strlen(argv[2])) < 0)
		_exit(99);
	if (strcmp(argv[1], "pause") == 0)
		for (;;)
			pause();
	_exit(atoi(argv[1]));
}

/* A directory with executables of these names, the only one on PATH beside the system's. */
static char bin[64];

static void bin_add(const char *name, const char *script)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%s", bin, name);
	FILE *file = fopen(path, "w");
	fprintf(file, "#!/bin/sh\n%s\n", script);
	fclose(file);
	ck_assert_int_eq(chmod(path, 0700), 0);
}

static void bin_link(const char *name, const char *target)
{
	char from[128], to[128];
	snprintf(to, sizeof to, "%s/%s", bin, target);
	snprintf(from, sizeof from, "%s/%s", bin, name);
	ck_assert_int_eq(symlink(to, from), 0);
}

static void bin_make(const char *path)
{
	strcpy(bin, "/tmp/crew-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(bin));
	char value[256];
	snprintf(value, sizeof value, "%s%s", bin, path);
	setenv("PATH", value, 1);
}

static void bin_remove(void)
{
	char command[128];
	snprintf(command, sizeof command, "/bin/rm -r %s", bin);
	ck_assert_int_eq(system(command), 0);
}

/* "-n N PROGRAM ARGS": each rank in a session of its own, out of reach of a group's signal. */
#define START_RANKS "export OMPI_COMM_WORLD_SIZE=$2; n=$2; shift 2\n" \
	"while [ $n -gt 0 ]; do n=$((n - 1)); setsid \"$@\" & pids=\"$pids $!\"; done\n" \
	"for p in $pids; do wait $p; r=$?; [ $r = 0 ] || code=$r; done; exit ${code:-0}"
#define BE_RANK "export OMPI_COMM_WORLD_SIZE=$2; shift 2; exec \"$@\""

static void launcher(const char *script)
{
	unsetenv("CREW_CLUSTER_RUN");
	bin_make(":/usr/bin:/bin");
	bin_add("mpirun.openmpi", script);
}

/* Run ranks that print `text`, into *printed. */
static int run(unsigned ranks, const char *what, const char *text, crew_time deadline,
		struct crew_status *status, char printed[static 64])
{
	int out[2];
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	const char *argv[] = { "cluster", what, text, NULL };
	int r = crew_cluster_run(&(struct crew_cluster_options){ .mpi = CREW_OPEN_MPI, .ranks = ranks,
		.argv = argv, .out = out[1] + 1 }, deadline, status);
	close(out[1]);
	ssize_t n = read(out[0], printed, 63);
	printed[n > 0 ? n : 0] = 0;
	close(out[0]);
	return r;
}

TEST(where_we_stand_is_read_from_what_each_launcher_sets)
{
	struct crew_cluster here;
	clearenv();
	crew_cluster_where(&here);
	ck_assert(here.launcher == CREW_ALONE && here.size == 1 && here.rank == 0);

	setenv("SLURM_NTASKS", "8", 1); /* an allocation alone starts nothing */
	crew_cluster_where(&here);
	ck_assert(here.launcher == CREW_ALONE && here.size == 1);

	setenv("SLURM_STEP_NUM_TASKS", "3", 1);
	setenv("SLURM_PROCID", "2", 1);
	crew_cluster_where(&here);
	ck_assert(here.launcher == CREW_BY_SLURM && here.size == 3 && here.rank == 2);

	setenv("PMI_SIZE", "5", 1); /* srun --mpi=pmi2 sets these too */
	setenv("PMI_RANK", "4", 1);
	crew_cluster_where(&here);
	ck_assert(here.launcher == CREW_BY_SLURM && here.size == 3);
	setenv("MPI_LOCALNRANKS", "5", 1); /* and hydra itself may have come by srun */
	crew_cluster_where(&here);
	ck_assert(here.launcher == CREW_BY_HYDRA && here.size == 5 && here.rank == 4);

	setenv("OMPI_COMM_WORLD_SIZE", "7", 1);
	setenv("OMPI_COMM_WORLD_RANK", "6", 1);
	crew_cluster_where(&here);
	ck_assert(here.launcher == CREW_BY_OPEN_MPI && here.size == 7 && here.rank == 6);

	setenv("OMPI_COMM_WORLD_SIZE", "rubbish", 1);
	crew_cluster_where(&here);
	ck_assert(here.launcher == CREW_BY_HYDRA);
}

TEST(worlds_of_one_are_told_with_the_right_command)
{
	char message[512];
	clearenv();
	must(crew_cluster_check(CREW_OPEN_MPI, 1, message, sizeof message));
	setenv("MPI_LOCALNRANKS", "4", 1);
	setenv("PMI_SIZE", "4", 1);
	must(crew_cluster_check(CREW_MPICH, 4, message, sizeof message));
	must_be(-EPROTO, crew_cluster_check(CREW_OPEN_MPI, 1, message, sizeof message));
	ck_assert_ptr_nonnull(strstr(message, "mpiexec"));
	ck_assert_ptr_nonnull(strstr(message, "'mpirun.openmpi -n 4 "));
	must_be(-EPROTO, crew_cluster_check(CREW_MPICH, 1, message, 16));
	ck_assert_uint_eq(strlen(message), 15);
}

TEST(a_launcher_of_another_mpi_is_not_taken)
{
	char path[256], expected[128];
	bin_make("");
	must_be(-ENOENT, crew_cluster_find(CREW_OPEN_MPI, path, sizeof path));
	bin_add("mpiexec.hydra", "");
	bin_link("mpirun", "mpiexec.hydra");
	must_be(-ENOENT, crew_cluster_find(CREW_OPEN_MPI, path, sizeof path));
	bin_add("orterun", "");
	bin_link("mpiexec", "orterun");
	must(crew_cluster_find(CREW_OPEN_MPI, path, sizeof path));
	snprintf(expected, sizeof expected, "%s/mpiexec", bin);
	ck_assert_str_eq(path, expected);
	bin_add("mpirun.openmpi", "");
	must(crew_cluster_find(CREW_OPEN_MPI, path, sizeof path));
	snprintf(expected, sizeof expected, "%s/mpirun.openmpi", bin);
	ck_assert_str_eq(path, expected);
	must_be(-ENAMETOOLONG, crew_cluster_find(CREW_OPEN_MPI, path, strlen(expected)));
	must_be(-EINVAL, crew_cluster_find((enum crew_mpi)0, path, sizeof path));
	bin_remove();
}

TEST(ranks_print_and_end_as_they_would_alone)
{
	struct crew_status status;
	char printed[64];
	launcher(START_RANKS);
	must(run(3, "0", "x", CREW_FOREVER, &status, printed));
	ck_assert_str_eq(printed, "xxx");
	ck_assert(status.state == CREW_EXITED && status.code == 0);
	must(run(0, "3", "yo", CREW_FOREVER, &status, printed));
	ck_assert_str_eq(printed, "yoyo");
	ck_assert(status.state == CREW_EXITED && status.code == 3);
	bin_add("mpirun.openmpi", "kill -9 $$");
	must(run(1, "0", "", CREW_FOREVER, &status, printed));
	ck_assert(status.state == CREW_KILLED && status.signal == SIGKILL);
	bin_remove();
}

TEST(wrong_use_is_refused)
{
	struct crew_status status;
	char printed[64];
	launcher(START_RANKS);
	must_be(-EINVAL, run(4097, "0", "", CREW_FOREVER, &status, printed));
	must_be(-EINVAL, crew_cluster_run(&(struct crew_cluster_options){ .mpi = CREW_OPEN_MPI }, CREW_FOREVER, &status));
	setenv("CREW_CLUSTER_RUN", "1", 1); /* a rank that sees no launcher: would start itself for ever */
	must_be(-ELOOP, run(1, "0", "", CREW_FOREVER, &status, printed));
	bin_remove();
}

TEST(the_deadline_ends_the_ranks)
{
	struct crew_status status;
	char printed[64];
	launcher(START_RANKS);
	must_be(-ETIMEDOUT, run(3, "pause", "", crew_after(300 * CREW_MILLISECOND), &status, printed));
	bin_remove();
}

static volatile sig_atomic_t caught;

static void on_signal(int signal)
{
	caught = signal;
}

TEST(a_signal_waits_until_all_is_gone, .count = 3)
{
	const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct crew_status status;
	char printed[64];
	launcher(START_RANKS);
	signal(signals[index], on_signal);
	pid_t self = getpid(), sender = fork();
	if (sender == 0)
		for (;;) { /* one may come too early */
			usleep(200000);
			kill(self, signals[index]);
		}
	must_be(-EINTR, run(2, "pause", "", crew_after(10 * CREW_SECOND), &status, printed));
	ck_assert_int_eq(caught, signals[index]);
	kill(sender, SIGKILL);
	ck_assert_int_eq(waitpid(sender, NULL, 0), sender);
	bin_remove();
}

TEST(a_full_output_ends_the_ranks)
{
	struct crew_status status;
	const char *argv[] = { "cluster", "pause", "text", NULL };
	launcher(START_RANKS);
	int full = open("/dev/full", O_WRONLY);
	must_be(-ENOSPC, crew_cluster_run(&(struct crew_cluster_options){ .mpi = CREW_OPEN_MPI, .argv = argv,
		.out = full + 1 }, CREW_FOREVER, &status));
	close(full);
	bin_remove();
}

/* Reap whatever falls to us until nothing is left: all of it ends by itself. */
static void reap_all(void)
{
	while (waitpid(-1, NULL, 0) > 0)
		;
}

TEST(the_death_of_the_caller_leaves_nothing, .count = 6)
{
	launcher(START_RANKS);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t caller = fork();
	if (caller == 0) {
		struct crew_status status;
		char printed[64];
		(void)!run(3, "pause", "", CREW_FOREVER, &status, printed);
		_exit(0);
	}
	usleep((useconds_t)(1000 << (2 * index))); /* 1 ms … 1 s: in every phase of the start */
	kill(caller, SIGKILL);
	reap_all();
	bin_remove();
}

/* The child of `parent` with this name; 0: none yet. */
static pid_t child_named(pid_t parent, const char *name)
{
	char path[64], found[32];
	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
	FILE *children = fopen(path, "re");
	int child, match = 0;
	while (children && !match && fscanf(children, "%d", &child) == 1) {
		snprintf(path, sizeof path, "/proc/%d/comm", child);
		FILE *comm = fopen(path, "re");
		if (comm && fscanf(comm, "%31s", found) == 1 && strcmp(found, name) == 0)
			match = child;
		if (comm)
			fclose(comm);
	}
	if (children)
		fclose(children);
	return match;
}

TEST(the_death_of_the_watcher_is_noticed, .count = 3)
{
	struct crew_status status;
	char printed[64];
	launcher(BE_RANK);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t self = getpid(), killer = fork();
	if (killer == 0) {
		pid_t watcher;
		while (!(watcher = child_named(self, "crew-watcher")))
			harness_pause();
		usleep((useconds_t)index * 150000); /* before, while and after the ranks start */
		kill(watcher, SIGKILL);
		_exit(0);
	}
	must_be(-ECHILD, run(1, "pause", "", crew_after(10 * CREW_SECOND), &status, printed));
	reap_all();
	bin_remove();
}

TEST(a_real_mpirun_runs_the_ranks)
{
	struct crew_status status;
	char printed[64], path[256];
	unsetenv("CREW_CLUSTER_RUN");
	if (crew_cluster_find(CREW_OPEN_MPI, path, sizeof path) < 0)
		SKIP("no mpirun of Open MPI; apt-get install openmpi-bin");
	int r = run(3, "0", "x", crew_after(15 * CREW_SECOND), &status, printed);
	if (r == -ENETDOWN || r == -ENOMEM)
		SKIP("%s", crew_strerror(r));
	must(r);
	ck_assert_str_eq(printed, "xxx");
	ck_assert(status.state == CREW_EXITED && status.code == 0);
}
