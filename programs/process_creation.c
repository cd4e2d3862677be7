/*
 * process_creation - every way to make a process, what it costs, and what becomes of it
 *
 * Three parts, to be read in this order:
 *
 *   work      squares and cubes, each computed by a child: with fork(2) and a pipe, as by hand, and with
 *             crew_process_start and shared memory
 *   lessons   what a child inherits and what it does not; how its end is told; zombies and orphans.
 *             Each lesson is a claim that is checked
 *   costs     microseconds from start to reaped, by seven methods, from a parent that has touched
 *             nothing, 100 MiB and 1 GiB
 *
 * How to read the costs: fork and clone3 copy the page tables, so they grow with the parent: at 1 GiB
 * they are hundreds of times slower than at nothing. vfork and posix_spawn borrow the parent's memory
 * until exec, so they stay flat, but a vfork child can do next to nothing, and exec has its own price. crew's
 * zygote is a small process from which all others are forked, so it is flat and runs any function.
 * A pool's worker is there already: a task costs a round trip.
 */
#include "cli.h"
#include "report.h"
#include "rival.h"
#include "start.h"
#include "stats.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <crew/crew.h>

static struct report *report;

/* A system call that only fails when the machine is at its limits. */
static int must(int result, const char *what)
{
	if (result < 0)
		cli_lack("%s: %s", what, strerror(errno));
	return result;
}

/* The same for a call of crew's. */
static int must_crew(int result, const char *what)
{
	if (result < 0)
		cli_lack("%s: %s", what, crew_strerror(result));
	return result;
}

/* --- work: squares and cubes --- */

static uint64_t power(uint64_t n, unsigned exponent)
{
	uint64_t result = n;
	while (--exponent)
		result *= n;
	return result;
}

/* By hand: the child inherits everything by fork and sends its numbers through a pipe. Python: os.fork(), os.pipe(). */
static void powers_by_fork(uint64_t count, unsigned exponent, uint64_t *ret)
{
	int ends[2];
	must(pipe2(ends, O_CLOEXEC), "pipe2");
	fflush(NULL); /* or what waits in the buffers would be printed by both */
	pid_t pid = must(fork(), "fork");
	if (pid == 0) {
		FILE *out = fdopen(ends[1], "w");
		for (uint64_t n = 1; n <= count && out; n++) {
			uint64_t value = power(n, exponent);
			fwrite(&value, sizeof value, 1, out);
		}
		_exit(!out || fflush(out) != 0); /* not exit: atexit handlers are the parent's */
	}
	close(ends[1]); /* or the end of file would never come */
	FILE *in = fdopen(ends[0], "r");
	uint64_t got = in ? fread(ret, sizeof *ret, count, in) : 0;
	int status;
	must(waitpid(pid, &status, 0), "waitpid");
	if (in)
		fclose(in);
	report_check(report, got == count && status == 0, "fork: %" PRIu64 " of %" PRIu64 " numbers came, status %d",
		got, count, status);
}

/* By crew: the child is born from the zygote and writes where the parent can read. Python: Process(target=..., args=...). */
struct powers { uint64_t count; unsigned exponent; uint64_t *ret; };

static int powers_child(void *argument, size_t size)
{
	(void)size;
	const struct powers *powers = argument;
	for (uint64_t n = 1; n <= powers->count; n++)
		powers->ret[n - 1] = power(n, powers->exponent);
	return 0;
}

static struct crew_process *powers_by_crew(uint64_t count, unsigned exponent, uint64_t **ret)
{
	struct crew_process *child;
	must_crew(crew_array(count, sizeof **ret, (void **)ret), "crew_array");
	struct powers powers = { count, exponent, *ret };
	must_crew(crew_process_start(&child, &(struct crew_process_options){ .function = powers_child,
		.argument = &powers, .argument_size = sizeof powers, .name = exponent == 2 ? "squares" : "cubes" }),
		"crew_process_start");
	return child;
}

static void join(struct crew_process *child, struct crew_status *status)
{
	must_crew(crew_process_join(child, CREW_FOREVER, status), "crew_process_join");
	must_crew(crew_process_close(child), "crew_process_close");
}

/* Differences of neighbours: n^2 - (n-1)^2 = 2n - 1, n^3 - (n-1)^3 = 3n(n-1) + 1. */
static bool powers_are_right(const uint64_t *values, uint64_t count, unsigned exponent)
{
	uint64_t before = 0;
	for (uint64_t n = 1; n <= count; before = values[n - 1], n++)
		if (values[n - 1] - before != (exponent == 2 ? 2 * n - 1 : 3 * n * (n - 1) + 1))
			return false;
	return true;
}

static void do_work(uint64_t count)
{
	uint64_t *by_fork = calloc(count, sizeof *by_fork), *by_crew[2];
	if (!by_fork)
		cli_lack("out of memory");
	struct crew_process *child[2]; /* both at once */
	for (unsigned i = 0; i < 2; i++)
		child[i] = powers_by_crew(count, i + 2, &by_crew[i]);
	for (unsigned i = 0; i < 2; i++) {
		const char *name = i ? "cubes" : "squares";
		struct crew_status status;
		pid_t pid = crew_process_pid(child[i]);
		join(child[i], &status);
		powers_by_fork(count, i + 2, by_fork);
		report_check(report, status.state == CREW_EXITED && status.code == 0, "%s: the child did not end well", name);
		report_check(report, powers_are_right(by_crew[i], count, i + 2), "%s are wrong", name);
		report_check(report, memcmp(by_fork, by_crew[i], count * sizeof *by_fork) == 0, "%s: the two ways differ", name);
		report_say(report, "%-8s by process %d:", name, (int)pid);
		for (uint64_t n = 0; n < count && n < 10; n++)
			report_say(report, " %" PRIu64, by_crew[i][n]);
		report_say(report, "%s\n", count > 10 ? " ..." : "");
		crew_free(by_crew[i]);
	}
	free(by_fork);
}

/* --- lessons --- */

static void lesson(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void lesson(bool ok, const char *format, ...)
{
	char *text = NULL;
	va_list args;
	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		cli_lack("out of memory");
	va_end(args);
	report_say(report, "  %s %s\n", ok ? "+" : "-", text);
	report_check(report, ok, "lesson: %s", text);
	free(text);
}

static int exits_42(void *argument, size_t size)
{
	(void)argument, (void)size;
	return 42;
}

static int kills_itself(void *argument, size_t size)
{
	(void)argument, (void)size;
	raise(SIGTERM);
	return 0;
}

/* Python: Process.exitcode, negative for a signal. */
static void lesson_status(void)
{
	int status;
	pid_t pid = must(fork(), "fork");
	if (pid == 0)
		_exit(42);
	must(waitpid(pid, &status, 0), "waitpid");
	lesson(WIFEXITED(status) && WEXITSTATUS(status) == 42, "an exit code comes back in 8 bits of the wait status: %d",
		WEXITSTATUS(status));
	struct crew_process *child;
	struct crew_status end[2];
	static crew_process_fn *const functions[] = { exits_42, kills_itself };
	for (unsigned i = 0; i < 2; i++) {
		must_crew(crew_process_start(&child, &(struct crew_process_options){ .function = functions[i] }), "crew_process_start");
		join(child, &end[i]);
	}
	lesson(end[0].state == CREW_EXITED && end[0].code == 42 && end[1].state == CREW_KILLED && end[1].signal == SIGTERM,
		"with crew: exited with code %d, killed by signal %d", end[0].code, end[1].signal);
}

/* The state letter of a process in /proc; 0: there is none. */
static char state_of(pid_t pid)
{
	char path[32], text[512] = "";
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "re");
	size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
	if (file)
		fclose(file);
	const char *name_end = memrchr(text, ')', n);
	return name_end ? name_end[2] : 0;
}

static void lesson_zombie(void)
{
	siginfo_t info;
	pid_t pid = must(fork(), "fork");
	if (pid == 0)
		_exit(0);
	must(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), "waitid"); /* wait, but leave it */
	char ended = state_of(pid);
	must(waitid(P_PID, (id_t)pid, &info, WEXITED), "waitid");
	lesson(ended == 'Z' && state_of(pid) == 0, "ended and not waited for is a zombie (state %c); waited for, it is gone", ended);
}

/* With fork an orphan goes on, and belongs to the nearest subreaper; here that is made to be this process. */
static void lesson_orphan(void)
{
	int ends[2], subreaper = 0;
	pid_t told[2] = { 0 }; /* by the grandchild: its own pid and that of its new parent */
	must(pipe2(ends, O_CLOEXEC), "pipe2");
	prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
	must(prctl(PR_SET_CHILD_SUBREAPER, 1), "prctl");
	pid_t pid = must(fork(), "fork");
	if (pid == 0) {
		pid_t parent = getpid();
		if (fork() == 0) {
			/* Ask for a signal, then look: the parent may have ended before the question. */
			sigset_t end;
			int signal;
			sigemptyset(&end);
			sigaddset(&end, SIGUSR1);
			sigprocmask(SIG_BLOCK, &end, NULL);
			prctl(PR_SET_PDEATHSIG, SIGUSR1);
			if (getppid() == parent)
				sigwait(&end, &signal);
			pid_t message[] = { getpid(), getppid() };
			_exit(write(ends[1], message, sizeof message) != sizeof message);
		}
		_exit(0);
	}
	close(ends[1]);
	must(waitpid(pid, NULL, 0), "waitpid");
	bool came = read(ends[0], told, sizeof told) == sizeof told;
	close(ends[0]);
	if (came)
		must(waitpid(told[0], NULL, 0), "waitpid");
	prctl(PR_SET_CHILD_SUBREAPER, (unsigned long)subreaper);
	lesson(came && told[1] == getpid(), "an orphan of fork goes on, as the child of a subreaper (%d) or of init", (int)told[1]);
}

/* With crew a child ends with who started it: the pipe that it holds comes to its end. */
static int orphan(void *argument, size_t size)
{
	(void)argument, (void)size;
	if (write(3, "x", 1) == 1)
		pause();
	return 0;
}

static int leaves_an_orphan(void *argument, size_t size)
{
	(void)argument, (void)size;
	struct crew_process *child;
	int r = crew_process_start(&child, &(struct crew_process_options){ .function = orphan,
		.descriptors = &(int){ 3 }, .descriptor_count = 1 });
	return r < 0;
}

static void lesson_no_orphan(void)
{
	int ends[2];
	char byte;
	struct crew_process *child;
	struct crew_status status;
	must(pipe2(ends, O_CLOEXEC), "pipe2");
	must_crew(crew_process_start(&child, &(struct crew_process_options){ .function = leaves_an_orphan,
		.descriptors = &ends[1], .descriptor_count = 1 }), "crew_process_start");
	close(ends[1]);
	join(child, &status);
	struct pollfd end = { .fd = ends[0], .events = POLLIN };
	while (poll(&end, 1, 10000) > 0 && read(ends[0], &byte, 1) == 1)
		;
	lesson(status.code == 0 && end.revents & POLLHUP, "with crew there are no orphans: a child ends with who started it");
	close(ends[0]);
}

/* Memory: fork copies on write; crew's heap is shared. */
static void lesson_memory(void)
{
	volatile int *mine = calloc(1, sizeof *mine), *ours = NULL;
	if (!mine)
		cli_lack("out of memory");
	must_crew(crew_alloc_zeroed(sizeof *ours, (void **)&ours), "crew_alloc");
	pid_t pid = must(fork(), "fork");
	if (pid == 0) {
		*mine = *ours = 1;
		_exit(0);
	}
	must(waitpid(pid, NULL, 0), "waitpid");
	lesson(*mine == 0 && *ours == 1, "what a forked child writes to malloc memory is its own copy; shared memory is shared");
	free((void *)mine);
	crew_free((void *)ours);
}

/* Which of these a program sees that is started: bit 0, the open descriptor; bit 1, the one with O_CLOEXEC; bit 2, the variable. */
static void lesson_inheritance(void)
{
	char script[256];
	int kept = must(open("/dev/null", O_RDONLY), "/dev/null"), closed = must(open("/dev/null", O_RDONLY | O_CLOEXEC), "/dev/null");
	snprintf(script, sizeof script, "n=0; [ -e /proc/self/fd/%d ] && n=$((n + 1)); [ -e /proc/self/fd/%d ] && n=$((n + 2)); "
		"[ \"$CREW_LESSON\" ] && n=$((n + 4)); exit $n", kept, closed);
	const char *const argv[] = { "sh", "-c", script, NULL }, *const env[] = { "CREW_LESSON=1", "PATH=/usr/bin:/bin", NULL };
	setenv("CREW_LESSON", "1", 1);
	pid_t pid;
	int status = -1;
	if (posix_spawnp(&pid, "sh", NULL, NULL, (char *const *)argv, environ) == 0)
		must(waitpid(pid, &status, 0), "waitpid");
	lesson(WIFEXITED(status) && WEXITSTATUS(status) == 5, "exec keeps open descriptors, unless O_CLOEXEC, and the environment");
	struct crew_process *child;
	struct crew_status end[2];
	for (unsigned i = 0; i < 2; i++) {
		must_crew(crew_process_start(&child, &(struct crew_process_options){ .argv = argv, .env = i ? env : NULL }),
			"crew_process_start");
		join(child, &end[i]);
	}
	unsetenv("CREW_LESSON");
	lesson(end[0].code == 0 && end[1].code == 4, "crew hands over the descriptors and variables that are named, no others");
	close(kept);
	close(closed);
}

/* --- costs --- */

struct lab {
	unsigned *ran;           /* shared: children that have run */
	struct crew_pool *pool;
};

/* Each returns 0 when a child has run and been reaped, else a negative errno. */
static int reap(pid_t pid)
{
	int status;
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -errno;
	return status == 0 ? 0 : -ECHILD;
}

static void run(unsigned *ran)
{
	__atomic_add_fetch(ran, 1, __ATOMIC_RELAXED);
}

static int by_fork(struct lab *lab)
{
	pid_t pid = fork();
	if (pid == 0) {
		run(lab->ran);
		_exit(0);
	}
	return reap(pid);
}

/* The child has the parent's memory and stack; the parent sleeps until it ends or executes. */
static int by_vfork(struct lab *lab)
{
	pid_t pid = vfork();
	if (pid == 0) {
		run(lab->ran);
		_exit(0);
	}
	return reap(pid);
}

static int by_posix_spawn(struct lab *lab)
{
	pid_t pid;
	int r = posix_spawnp(&pid, "true", NULL, NULL, (char *[]){ (char[]){ "true" }, NULL }, environ);
	if (r == 0 && (r = -reap(pid)) == 0)
		run(lab->ran); /* another program cannot do so itself */
	return -r;
}

/* As fork, but nothing of the C library knows; and a pidfd comes back, which names this process and no later one. */
static int by_clone3(struct lab *lab)
{
	int pidfd = -1;
	struct clone_args args = { .flags = CLONE_PIDFD, .pidfd = (uintptr_t)&pidfd, .exit_signal = SIGCHLD };
	long pid = syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0) {
		run(lab->ran);
		syscall(SYS_exit_group, 0);
	}
	siginfo_t info;
	int r = pid < 0 || waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 ? -errno : info.si_status ? -ECHILD : 0;
	if (pid > 0)
		close(pidfd);
	return r;
}

static int zygote_child(void *argument, size_t size)
{
	(void)size;
	run(*(unsigned **)argument);
	return 0;
}

static int by_zygote(struct lab *lab)
{
	struct crew_process *child;
	struct crew_status status;
	int r = crew_process_start(&child, &(struct crew_process_options){ .function = zygote_child,
		.argument = &lab->ran, .argument_size = sizeof lab->ran });
	if (r == 0) {
		r = crew_process_join(child, CREW_FOREVER, &status);
		int closed = crew_process_close(child);
		r = r < 0 ? r : closed < 0 ? closed : status.code ? -ECHILD : 0;
	}
	return r;
}

static int pool_task(const void *argument, void *result, void *context)
{
	(void)result, (void)context;
	run(*(unsigned *const *)argument);
	return 0;
}

static int by_pool(struct lab *lab)
{
	crew_ticket ticket;
	int r = crew_pool_submit(lab->pool, &(struct crew_task){ .function = pool_task, .argument = &lab->ran,
		.argument_size = sizeof lab->ran }, &ticket, CREW_FOREVER);
	return r < 0 ? r : crew_pool_wait(lab->pool, ticket, NULL, CREW_FOREVER, NULL);
}

static void *thread_main(void *argument)
{
	run(argument);
	return NULL;
}

static int by_thread(struct lab *lab)
{
	pthread_t thread;
	int r = pthread_create(&thread, NULL, thread_main, lab->ran);
	return r ? -r : -pthread_join(thread, NULL);
}

static const struct method { const char *name; int (*once)(struct lab *); } methods[] = {
	{ "fork", by_fork }, { "vfork", by_vfork }, { "posix_spawn", by_posix_spawn }, { "clone3", by_clone3 },
	{ "crew_zygote", by_zygote }, { "crew_pool", by_pool }, { "pthread", by_thread },
};
enum { METHODS = sizeof methods / sizeof *methods, ROUNDS_MAX = 64 };

/* Memory that the parent has touched, in pages of 4 KiB: with huge pages there are fewer entries to copy. */
static void *touch(unsigned mib)
{
	if (mib == 0)
		return NULL;
	size_t size = (size_t)mib << 20;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return memory;
	madvise(memory, size, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < size; at += 4096)
		memory[at] = 1;
	return memory;
}

/* One size of the parent; microseconds[] is NaN where a method does not work here. */
static void measure(struct lab *lab, unsigned rounds, double microseconds[METHODS])
{
	double samples[METHODS][ROUNDS_MAX];
	int error[METHODS] = { 0 };
	unsigned before = __atomic_load_n(lab->ran, __ATOMIC_RELAXED), right = 0;
	for (unsigned round = 0; round < rounds; round++) /* in turn, so that what disturbs hits all */
		for (unsigned i = 0; i < METHODS; i++) {
			if (error[i])
				continue;
			double begin = stats_clock();
			error[i] = methods[i].once(lab);
			samples[i][round] = (stats_clock() - begin) * 1e6;
			right += error[i] == 0;
		}
	for (unsigned i = 0; i < METHODS; i++) {
		microseconds[i] = stats_median(samples[i], error[i] ? 0 : rounds);
		bool forbidden = error[i] == -ENOSYS || error[i] == -EPERM; /* clone3, in a container that knows it not */
		if (forbidden)
			cli_note("%s does not work here: %s", methods[i].name, strerror(-error[i]));
		report_check(report, forbidden || error[i] == 0, "%s: %s", methods[i].name, crew_strerror(error[i]));
	}
	unsigned ran = __atomic_load_n(lab->ran, __ATOMIC_RELAXED) - before;
	report_check(report, ran == right, "%u children have run, %u ended well", ran, right);
}

static void do_costs(const struct cli *cli)
{
	static const struct { unsigned mib, rounds, quick; } sizes[] = { { 0, 60, 20 }, { 100, 30, 8 }, { 1024, 12, 3 } };
	struct lab lab = { .pool = start_pool(cli, &(struct crew_pool_options){ .workers = 1 }) };
	must_crew(crew_alloc_zeroed(sizeof *lab.ran, (void **)&lab.ran), "crew_alloc");
	report_say(report, "\nMicroseconds from start to reaped, median, by memory that the parent has touched:\n\n%-12s", "method");
	double microseconds[3][METHODS];
	bool have[3] = { false };
	for (unsigned s = 0; s < 3; s++) {
		struct crew_limits limits;
		crew_limits(&limits);
		uint64_t need = (uint64_t)sizes[s].mib << 20;
		uint64_t left = limits.memory_available < limits.memory_cgroup ? limits.memory_available : limits.memory_cgroup;
		void *memory = left > need + need / 2 ? touch(sizes[s].mib) : MAP_FAILED;
		if (memory == MAP_FAILED) {
			cli_note("a parent with %u MiB is left out: the memory that is free here does not suffice", sizes[s].mib);
			continue;
		}
		have[s] = true;
		measure(&lab, cli->quick ? sizes[s].quick : sizes[s].rounds, microseconds[s]);
		if (memory)
			munmap(memory, (size_t)need);
		report_say(report, "  %8u MiB", sizes[s].mib);
	}
	report_say(report, "\n");
	for (unsigned i = 0; i < METHODS; i++) {
		report_say(report, "%-12s", methods[i].name);
		for (unsigned s = 0; s < 3; s++) {
			if (!have[s])
				continue;
			struct json_t *row = report_row(report);
			report_str(row, "method", methods[i].name);
			report_uint(row, "parent_mib", sizes[s].mib);
			report_real(row, "microseconds", microseconds[s][i]);
			report_say(report, "  %12.1f", microseconds[s][i]);
		}
		report_say(report, "\n");
	}
	report_no_table(report);
	crew_free(lab.ran);
	crew_pool_close(lab.pool, CREW_FOREVER);
}

/* --- the rival: Python --- */

static const char python[] =
	"import multiprocessing, os, time\n"
	"def median(f, n):\n"
	"    seconds = []\n"
	"    for i in range(n + 1):\n"
	"        begin = time.perf_counter(); f(); seconds.append(time.perf_counter() - begin)\n"
	"    return sorted(seconds[1:])[n // 2] * 1e6\n"
	"def fork():\n"
	"    pid = os.fork()\n"
	"    if pid == 0: os._exit(0)\n"
	"    os.waitpid(pid, 0)\n"
	"print('os.fork', median(fork, 15))\n"
	"for method in ('fork', 'forkserver', 'spawn'):\n"
	"    context = multiprocessing.get_context(method)\n"
	"    def start():\n"
	"        p = context.Process(target=os.getpid); p.start(); p.join()\n"
	"    print('Process:' + method, median(start, 7))\n"
	"pool = multiprocessing.Pool(1)\n"
	"print('Pool.apply', median(lambda: pool.apply(os.getpid), 15))\n"
	"pool.terminate()\n";

static void do_baseline(void)
{
	char *text = rival_run((const char *const[]){ "python3", "-c", python, NULL }), *rest = text, name[64];
	double microseconds;
	if (text)
		report_say(report, "\nThe same in Python, from a small parent:\n\n");
	for (char *line; (line = strsep(&rest, "\n"));) {
		if (sscanf(line, "%40s %lf", name, &microseconds) != 2)
			continue;
		memmove(name + 7, name, strlen(name) + 1);
		memcpy(name, "python_", 7);
		struct json_t *row = report_row(report);
		report_str(row, "method", name);
		report_uint(row, "parent_mib", 0);
		report_real(row, "microseconds", microseconds);
	}
	free(text);
}

/* --- the command line --- */

enum { KEY_COUNT = 1000 };

static const struct argp_option options[] = {
	{ "count", KEY_COUNT, "N", 0, "Squares and cubes of 1 to N (default 10)", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	uint64_t *count = state->input;
	switch (key) {
	case KEY_COUNT:
		*count = cli_parse_u64(state, "--count", arg, 1, 1000000);
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s': there are no arguments, only options", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = { options, parse, NULL,
	"Every way to make a process: what it inherits, how it ends, what it costs.", cli_children, NULL, NULL };

int main(int argc, char **argv)
{
	uint64_t count = 10;
	struct cli cli = cli_parse(&argp, argc, argv, &count);
	if (cli.chaos > 0)
		cli_note("--chaos: means nothing here: what is measured is the life of single processes");
	cli.chaos = 0;
	start_family(&cli);
	report = report_open(&cli);

	report_say(report, "Squares and cubes, each in a process of its own:\n\n");
	do_work(count);
	report_say(report, "\nLessons:\n\n");
	lesson_status();
	lesson_zombie();
	lesson_orphan();
	lesson_no_orphan();
	lesson_memory();
	lesson_inheritance();
	double begin = stats_clock();
	do_costs(&cli);
	report_seconds(report, stats_clock() - begin);
	if (cli.baseline)
		do_baseline();
	return report_finish(report);
}
