/* process.c - start, watch, list, stop; what a child is born with; the program around it */
#include "process_common.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>

/* Functions for children. */

static int ignore_term(void *argument, size_t size)
{
	signal(SIGTERM, SIG_IGN);
	*(int *)(*(void **)argument) = 1;
	return sleep_for_ever(NULL, size);
}

static int raise_signal(void *argument, size_t size)
{
	(void)size;
	raise(*(int *)argument);
	return 98;
}

/* The ordinary. */

TEST(the_result_is_the_exit_code, .count = 2)
{
	must(crew_init(NULL));
	int codes[] = { 0, 7, 255, 256, -1 };
	for (int i = 0; i < 5; i++)
		must_exit(codes[i] & 255, start(options(.function = give_back, METHOD, .argument = &codes[i],
				.argument_size = sizeof codes[i])));
	crew_fini();
}

static int check_bytes(void *argument, size_t size)
{
	const unsigned char *bytes = argument;
	if ((uintptr_t)argument % 64 != 0)
		return 2;
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != (unsigned char)(i * 7))
			return 1;
	return 0;
}

TEST(an_argument_of_any_size_arrives_whole, .count = 2)
{
	must(crew_init(NULL));
	size_t sizes[] = { 1, 4096, 32767, 32768, 32769, 5 << 20 };
	unsigned char *bytes = malloc(5 << 20);
	for (size_t i = 0; i < 5 << 20; i++)
		bytes[i] = (unsigned char)(i * 7);
	for (int i = 0; i < 6; i++)
		must_exit(0, start(options(.function = check_bytes, METHOD, .argument = bytes, .argument_size = sizes[i])));
	free(bytes);
	crew_fini();
}

static int add_one(void *argument, size_t size)
{
	++*(int *)argument;
	return (int)size;
}

TEST(a_pointer_into_the_region_is_passed_as_it_is, .count = 2)
{
	must(crew_init(NULL));
	int *shared;
	must(crew_alloc_zeroed(sizeof *shared, (void **)&shared));
	must_exit(0, start(options(.function = add_one, METHOD, .argument = shared)));
	ck_assert_int_eq(*shared, 1);
	crew_free(shared);
	crew_fini();
}

TEST(death_by_signal_is_told, .count = 2)
{
	must(crew_init(NULL));
	int signals[] = { SIGKILL, SIGTERM, SIGINT, SIGUSR1 };
	for (int i = 0; i < 4; i++)
		must_be_killed(signals[i], start(options(.function = raise_signal, METHOD, .argument = &signals[i],
				.argument_size = sizeof(int))));
	crew_fini();
}

TEST(a_core_dump_is_told)
{
	char pattern[256] = "", directory[] = "/tmp/crew-core-XXXXXX", command[64];
	FILE *file = fopen("/proc/sys/kernel/core_pattern", "re");
	if (!file || !fgets(pattern, sizeof pattern, file) || *pattern == '|' || *pattern == '/')
		SKIP("core_pattern is %s", pattern);
	fclose(file);
	ck_assert_ptr_nonnull(mkdtemp(directory));
	must(crew_init(NULL));
	struct crew_rlimit none = { RLIMIT_CORE, { 0, 0 } }, all = { RLIMIT_CORE, { RLIM_INFINITY, RLIM_INFINITY } };
	struct rlimit now;
	getrlimit(RLIMIT_CORE, &now);
	int abort_signal = SIGABRT;
	struct crew_status status = end(start(options(.function = raise_signal, .argument = &abort_signal,
			.argument_size = sizeof(int), .directory = directory, .limits = &none, .limit_count = 1)));
	ck_assert(status.state == CREW_KILLED && status.signal == SIGABRT && !status.core);
	if (now.rlim_max == RLIM_INFINITY) {
		status = end(start(options(.function = raise_signal, .argument = &abort_signal, .argument_size = sizeof(int),
				.directory = directory, .limits = &all, .limit_count = 1)));
		ck_assert(status.state == CREW_KILLED && status.signal == SIGABRT);
		bool empty = rmdir(directory) == 0;
		ck_assert_int_eq(status.core, !empty);
	}
	crew_fini();
	snprintf(command, sizeof command, "rm -rf %s", directory);
	ck_assert_int_eq(system(command), 0);
}

static int burn(void *argument, size_t size)
{
	(void)argument, (void)size;
	struct rusage usage;
	volatile char *memory = malloc(32 << 20);
	for (size_t i = 0; i < 32 << 20; i += 4096)
		memory[i] = 1;
	do
		getrusage(RUSAGE_SELF, &usage);
	while (usage.ru_utime.tv_sec == 0 && usage.ru_utime.tv_usec + usage.ru_stime.tv_usec < 60000);
	return 0;
}

TEST(resource_usage_is_told, .count = 2)
{
	must(crew_init(NULL));
	struct crew_status status = end(start(options(.function = burn, METHOD)));
	ck_assert(status.state == CREW_EXITED && status.code == 0);
	ck_assert_int_ge(status.user + status.system, 50 * CREW_MILLISECOND);
	ck_assert_int_lt(status.user + status.system, 5 * CREW_SECOND);
	ck_assert_uint_ge(status.max_rss, 32 << 20);
	crew_fini();
}

TEST(join_has_a_deadline_and_can_be_repeated, .count = 2)
{
	must(crew_init(NULL));
	struct crew_process *p = start(options(.function = sleep_for_ever, METHOD));
	struct crew_status status;
	must_be(-ETIMEDOUT, crew_process_join(p, CREW_POLL, NULL));
	crew_time before = crew_now();
	must_be(-ETIMEDOUT, crew_process_join(p, crew_after(50 * CREW_MILLISECOND), NULL));
	ck_assert_int_ge(crew_now() - before, 50 * CREW_MILLISECOND);
	crew_process_status(p, &status);
	ck_assert_int_eq(status.state, CREW_RUNNING);
	must_be(-EBUSY, crew_process_close(p));
	must(crew_process_signal(p, SIGKILL));
	for (int i = 0; i < 3; i++) {
		must(crew_process_join(p, CREW_FOREVER, &status));
		ck_assert(status.state == CREW_KILLED && status.signal == SIGKILL);
	}
	must(crew_process_join(p, CREW_POLL, NULL));
	must_be(-ESRCH, crew_process_signal(p, SIGTERM));
	must(crew_process_close(p));
	must(crew_process_close(NULL));
	crew_fini();
}

TEST(the_descriptor_polls_readable_once_it_has_ended, .count = 2)
{
	must(crew_init(NULL));
	struct crew_process *p = start(options(.function = sleep_for_ever, METHOD));
	struct pollfd poll_end = { .fd = crew_process_fd(p), .events = POLLIN };
	ck_assert_int_eq(poll(&poll_end, 1, 0), 0);
	must(crew_process_signal(p, SIGKILL));
	ck_assert_int_eq(poll(&poll_end, 1, 5000), 1);
	must_be_killed(SIGKILL, p);
	crew_fini();
}

TEST(bad_options_are_refused)
{
	must(crew_init(NULL));
	struct crew_process *p = NULL;
	int on_stack = 0;
	const char *const nothing[] = { NULL }, *const true_program[] = { "true", NULL };
	struct { struct crew_process_options options; char more; } newer = { { .function = give_back }, 1 };
	struct crew_process_options bad[] = {
		{ 0 },
		{ .function = give_back, .argv = true_program },
		{ .argv = nothing },
		{ .function = give_back, .argument = &on_stack },
		{ .function = give_back, .argument_size = 4 },
		{ .function = give_back, .in = -1 },
		{ .function = give_back, .method = (enum crew_process_method)7 },
		{ .function = give_back, .descriptor_count = 17, .descriptors = &on_stack },
		{ .function = give_back, .descriptor_count = 1 },
		{ .function = give_back, .limit_count = 1 },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_msg(crew_process_start(&p, &bad[i]) == -EINVAL, "set %zu", i);
	must_be(-EINVAL, crew_process_start(&p, NULL));
	must_be(-EINVAL, crew_process_start_sized(&p, &newer.options, sizeof newer));
	must_be(-EBADF, crew_process_start(&p, options(.function = give_back, .out = 1000)));
	must_be(-ENOENT, crew_process_start(&p, options(.function = give_back, .directory = "/no/such")));
	must_be(-ENOTDIR, crew_process_start(&p, options(.function = give_back, .directory = "/dev/null")));
	ck_assert_ptr_null(p);
	ck_assert_uint_eq(slots_in_use(), HOUSEHOLD);
	crew_fini();
}

/* What a child is born with. */

struct birth { int family_of_signals, descriptors, group_leader, null_in; uint32_t self; pid_t parent, pid; };

static int report_birth(void *argument, size_t size)
{
	(void)size;
	struct birth *birth = *(struct birth **)argument;
	sigset_t mask;
	sigprocmask(SIG_SETMASK, NULL, &mask);
	for (int s = 1; s < 32; s++) {
		struct sigaction action;
		sigaction(s, NULL, &action);
		birth->family_of_signals += action.sa_handler != SIG_DFL || sigismember(&mask, s);
	}
	for (int fd = 0; fd < 64; fd++)
		birth->descriptors += fcntl(fd, F_GETFD) >= 0;
	struct stat in, null;
	birth->null_in = fstat(0, &in) == 0 && stat("/dev/null", &null) == 0 && in.st_rdev == null.st_rdev;
	birth->group_leader = getpgrp() == getpid();
	birth->self = crew_self();
	birth->parent = crew_parent();
	birth->pid = getpid();
	return 0;
}

static void on_signal(int signal)
{
	(void)signal;
}

TEST(a_child_is_born_clean, .count = 2)
{
	must(crew_init(NULL));
	signal(SIGTERM, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, on_signal);
	sigset_t some, before;
	sigemptyset(&some);
	sigaddset(&some, SIGUSR2);
	sigprocmask(SIG_BLOCK, &some, &before);
	int extra = open("/dev/zero", O_RDONLY);
	struct birth *birth;
	must(crew_alloc_zeroed(sizeof *birth, (void **)&birth));
	struct crew_process *p = start(options(.function = report_birth, METHOD, .argument = &birth,
			.argument_size = sizeof birth));
	pid_t pid = crew_process_pid(p);
	must_exit(0, p);
	ck_assert_int_eq(birth->family_of_signals, 0);
	ck_assert(birth->null_in);
	ck_assert(birth->group_leader);
	ck_assert_int_eq(birth->parent, getpid());
	ck_assert_int_eq(birth->pid, pid);
	ck_assert_uint_ne(birth->self, 0);
	ck_assert_uint_ne(birth->self, crew_self());
	if (index == 0)
		ck_assert_int_eq(birth->descriptors, 3);
	sigset_t after;
	sigprocmask(SIG_SETMASK, &before, &after);
	ck_assert(sigismember(&after, SIGUSR2)); /* the caller's mask is untouched */
	close(extra);
	crew_free(birth);
	crew_fini();
}

static int count_descriptors(void *argument, size_t size)
{
	(void)argument, (void)size;
	int count = 0;
	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

TEST(siblings_do_not_inherit_more_and_more_descriptors, .count = 2)
{
	must(crew_init(NULL));
	struct crew_process *first = start(options(.function = count_descriptors, METHOD)), *later[8];
	struct crew_status a = end(first);
	for (int i = 0; i < 8; i++)
		later[i] = start(options(.function = sleep_for_ever, .method = CREW_ZYGOTE));
	struct crew_status b = end(start(options(.function = count_descriptors, METHOD)));
	ck_assert_int_gt(a.code, 3);
	ck_assert_int_eq(b.code, a.code + (index ? 8 : 0)); /* fork: the pidfds of eight handles, as everything */
	for (int i = 0; i < 8; i++) {
		must(crew_process_stop(later[i], 0, NULL));
		must(crew_process_close(later[i]));
	}
	crew_fini();
}

static int copy_3_to_4(void *argument, size_t size)
{
	char c;
	(void)argument, (void)size;
	if (fcntl(5, F_GETFD) >= 0)
		return 2;
	while (read(3, &c, 1) == 1)
		if (write(4, &c, 1) != 1)
			return 1;
	return 0;
}

TEST(handed_descriptors_are_at_3_and_4, .count = 2)
{
	must(crew_init(NULL));
	int in[2], out[2];
	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	struct crew_process *p;
	if (index == 0) {
		p = start(options(.function = copy_3_to_4, .descriptors = (int[]){ in[0], out[1] }, .descriptor_count = 2));
	} else { /* the other way round: what it is handed lies where it is put */
		p = start(options(.argv = (const char *const[]){ "sh", "-c", "cat <&3 >&4", NULL },
			.descriptors = (int[]){ in[0], out[1] }, .descriptor_count = 2));
	}
	close(in[0]);
	close(out[1]);
	ck_assert_int_eq(write(in[1], "through", 7), 7);
	close(in[1]);
	char text[16];
	read_output(out[0], text, sizeof text);
	ck_assert_str_eq(text, "through");
	must_exit(0, p);
	crew_fini();
}

/* Programs. */

TEST(a_program_gets_its_arguments_environment_directory_and_streams, .count = 2)
{
	must(crew_init(NULL));
	int out[2], err[2], in = open("/proc/sys/kernel/ostype", O_RDONLY | O_CLOEXEC);
	char text[256];
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(err, O_CLOEXEC), 0);
	struct crew_process *p = start(options(METHOD,
		.argv = (const char *const[]){ "sh", "-c", "echo \"$0 $1 $COLOUR $HOME\"; pwd; cat; echo bad >&2; exit 3", "zero",
			"one word", NULL },
		.env = (const char *const[]){ "COLOUR=blue", "PATH=/usr/bin:/bin", NULL },
		.directory = "/usr/..", .in = in + 1, .out = out[1] + 1, .err = err[1] + 1));
	close(in);
	close(out[1]);
	close(err[1]);
	read_output(out[0], text, sizeof text);
	ck_assert_str_eq(text, "zero one word blue \n/\nLinux\n");
	read_output(err[0], text, sizeof text);
	ck_assert_str_eq(text, "bad\n");
	ck_assert_str_eq(crew_process_name(p), "sh");
	must_exit(3, p);
	crew_fini();
}

TEST(a_program_that_cannot_be_executed_is_told_at_once, .count = 2)
{
	must(crew_init(NULL));
	struct crew_process *p = NULL;
	must_be(-ENOENT, crew_process_start(&p, options(METHOD, .argv = (const char *const[]){ "no-such-program", NULL })));
	must_be(-ENOENT, crew_process_start(&p, options(METHOD, .argv = (const char *const[]){ "/no/such", NULL })));
	must_be(-EACCES, crew_process_start(&p, options(METHOD, .argv = (const char *const[]){ "/etc/passwd", NULL })));
	must_be(-ENOENT, crew_process_start(&p, options(METHOD, .argv = (const char *const[]){ "true", NULL },
			.env = (const char *const[]){ "PATH=/nowhere", NULL })));
	ck_assert_ptr_null(p);
	await(slots_in_use() == HOUSEHOLD);
	crew_fini();
}

TEST(a_program_has_only_what_it_was_handed, .count = 2)
{
	must(crew_init(NULL));
	int out[2], stray = open("/dev/zero", O_RDONLY); /* not close-on-exec */
	char text[256];
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	struct crew_process *p = start(options(METHOD, .out = out[1] + 1,
		.argv = (const char *const[]){ "sh", "-c", "for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do [ ! -e /proc/self/fd/$n ] || echo $n; done", NULL }));
	close(out[1]);
	read_output(out[0], text, sizeof text);
	must_exit(0, p);
	ck_assert_str_eq(text, "0\n1\n2\n");
	close(stray);
	crew_fini();
}

TEST(the_directory_is_the_callers_of_now)
{
	must(crew_init(NULL));
	char text[64];
	int out[2];
	ck_assert_int_eq(chdir("/usr"), 0);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	struct crew_process *p = start(options(.argv = (const char *const[]){ "pwd", NULL }, .out = out[1] + 1));
	close(out[1]);
	read_output(out[0], text, sizeof text);
	ck_assert_str_eq(text, "/usr\n");
	must_exit(0, p);
	crew_fini();
}

/* Limits, CPUs, nice. */

static int report_limits(void *argument, size_t size)
{
	(void)argument, (void)size;
	struct rlimit files;
	cpu_set_t cpus;
	getrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur != 77 || files.rlim_max != 99)
		return 1;
	sched_getaffinity(0, sizeof cpus, &cpus);
	if (CPU_COUNT(&cpus) != 1)
		return 2;
	void *volatile small = malloc(1 << 20), *volatile large = malloc(512 << 20); /* or clang leaves them out */
	if (!small)
		return 3;
	if (large)
		return 4;
	return 10 + getpriority(PRIO_PROCESS, 0);
}

TEST(limits_cpus_and_nice_are_set, .count = 2)
{
	must(crew_init(NULL));
	cpu_set_t all, one;
	sched_getaffinity(0, sizeof all, &all);
	CPU_ZERO(&one);
	for (size_t cpu = 0; CPU_COUNT(&one) == 0; cpu++)
		if (CPU_ISSET(cpu, &all))
			CPU_SET(cpu, &one);
	struct crew_rlimit limits[] = { { RLIMIT_NOFILE, { 77, 99 } }, { RLIMIT_AS, { 256 << 20, 256 << 20 } } };
	int base = getpriority(PRIO_PROCESS, 0);
#if defined(__SANITIZE_ADDRESS__)
	limits[1] = limits[0]; /* its malloc reports instead of returning NULL */
	struct crew_process *p = start(options(.function = count_descriptors, METHOD, .cpus = &one, .cpus_size = sizeof one,
		.limits = limits, .limit_count = 2, .nice = 3));
	(void)base;
	end(p);
#else
	must_exit(10 + base + 3, start(options(.function = report_limits, METHOD, .cpus = &one, .cpus_size = sizeof one,
		.limits = limits, .limit_count = 2, .nice = 3)));
#endif
	struct crew_process *p2 = NULL;
	cpu_set_t none;
	CPU_ZERO(&none);
	must_be(-EINVAL, crew_process_start(&p2, options(.function = report_limits, METHOD, .cpus = &none,
			.cpus_size = sizeof none)));
	struct crew_rlimit wrong = { 1000, { 1, 1 } };
	must_be(-EINVAL, crew_process_start(&p2, options(.function = report_limits, METHOD, .limits = &wrong,
			.limit_count = 1)));
	await(slots_in_use() == HOUSEHOLD);
	crew_fini();
}

/* Several. */

TEST(five_hundred_at_once, .timeout = 60)
{
	must(crew_init(NULL));
	static struct crew_process *all[500];
	for (int i = 0; i < 500; i++)
		all[i] = start(options(.function = give_back, .argument = &i, .argument_size = sizeof i));
	for (int i = 0; i < 500; i++)
		must_exit(i & 255, all[i]);
	for (int i = 0; i < 100; i++)
		all[i] = start(options(.function = sleep_for_ever));
	ck_assert_int_eq(crew_process_list(NULL, 0), 100 + (int)HOUSEHOLD);
	for (int i = 0; i < 100; i++)
		must(crew_process_signal(all[i], SIGTERM));
	for (int i = 0; i < 100; i++)
		must_be_killed(SIGTERM, all[i]);
	ck_assert_uint_eq(slots_in_use(), HOUSEHOLD);
	crew_fini();
}

static int count_down(void *argument, size_t size)
{
	int depth = *(int *)argument;
	if (depth == 0)
		return 1;
	struct crew_process *child;
	struct crew_status status;
	depth--;
	if (crew_process_start(&child, options(.function = count_down, .argument = &depth, .argument_size = size,
			.method = depth % 2 ? CREW_FORK : CREW_ZYGOTE)) < 0)
		return 100;
	if (crew_process_join(child, crew_after(10 * CREW_SECOND), &status) < 0 || status.state != CREW_EXITED)
		return 101;
	return crew_process_close(child) == 0 ? status.code + 1 : 102;
}

TEST(children_start_children)
{
	must(crew_init(NULL));
	int depth = 6;
	must_exit(7, start(options(.function = count_down, .argument = &depth, .argument_size = sizeof depth)));
	ck_assert_uint_eq(slots_in_use(), HOUSEHOLD);
	crew_fini();
}

static void *start_many(void *argument)
{
	long wrong = 0;
	for (int i = 0; i < 40; i++) {
		struct crew_process *p;
		struct crew_status status;
		enum crew_process_method method = i % 4 ? CREW_ZYGOTE : CREW_FORK;
		if (crew_process_start(&p, options(.function = give_back, .argument = &i, .argument_size = sizeof i,
				.method = method)) < 0) {
			wrong++;
			continue;
		}
		wrong += crew_process_join(p, crew_after(10 * CREW_SECOND), &status) < 0 || status.code != i;
		wrong += crew_process_close(p) < 0;
	}
	*(long *)argument = wrong;
	return NULL;
}

TEST(threads_start_at_the_same_time)
{
	must(crew_init(NULL));
	pthread_t threads[4];
	long wrong[4];
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, start_many, &wrong[i]), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_int_eq(wrong[i], 0);
	}
	ck_assert_uint_eq(slots_in_use(), HOUSEHOLD);
	crew_fini();
}

TEST(the_list_names_the_living, .count = 2)
{
	must(crew_init(NULL));
	struct crew_member members[8];
	ck_assert_int_eq(crew_process_list(members, 8), (int)HOUSEHOLD);
	ck_assert(members[0].pid == getpid() && members[0].parent == 0 && !members[0].helper);
	ck_assert_uint_eq(members[0].id, crew_self());
	ck_assert_int_gt(helper("crew-keeper"), 0);
	ck_assert_int_gt(helper("crew-zygote"), 0);
	struct crew_process *p = start(options(.function = sleep_for_ever, METHOD, .name = "sleeper"));
	ck_assert_int_eq(crew_process_list(members, 8), (int)HOUSEHOLD + 1);
	ck_assert_str_eq(crew_process_name(p), "sleeper");
	ck_assert_str_eq(members[3].name, "sleeper");
	ck_assert(members[3].pid == crew_process_pid(p) && members[3].parent == getpid() && !members[3].helper);
	char path[40], comm[32] = "";
	snprintf(path, sizeof path, "/proc/%d/comm", (int)crew_process_pid(p));
	FILE *file = fopen(path, "re");
	ck_assert_ptr_nonnull(fgets(comm, sizeof comm, file));
	fclose(file);
	ck_assert_str_eq(comm, "sleeper\n");
	must(crew_process_stop(p, 0, NULL));
	must(crew_process_close(p));
	ck_assert_int_eq(crew_process_list(members, 1), (int)HOUSEHOLD);
	crew_fini();
	must_be(-ENOTCONN, crew_process_list(members, 8));
}

/* Stop. */

TEST(stop_asks_first_and_then_kills, .count = 2)
{
	must(crew_init(NULL));
	struct crew_status status;
	struct crew_process *p = start(options(.function = sleep_for_ever, METHOD));
	crew_time before = crew_now();
	must(crew_process_stop(p, 10 * CREW_SECOND, &status));
	ck_assert_int_lt(crew_now() - before, 2 * CREW_SECOND);
	ck_assert(status.state == CREW_KILLED && status.signal == SIGTERM);
	must(crew_process_stop(p, 0, &status)); /* again */
	ck_assert(status.state == CREW_KILLED && status.signal == SIGTERM);
	must(crew_process_close(p));

	int *ready;
	must(crew_alloc_zeroed(sizeof *ready, (void **)&ready));
	p = start(options(.function = ignore_term, METHOD, .argument = &ready, .argument_size = sizeof ready));
	await(*(volatile int *)ready);
	before = crew_now();
	must(crew_process_stop(p, 100 * CREW_MILLISECOND, &status));
	ck_assert_int_ge(crew_now() - before, 100 * CREW_MILLISECOND);
	ck_assert(status.state == CREW_KILLED && status.signal == SIGKILL);
	must(crew_process_close(p));
	crew_free(ready);

	p = start(options(.function = sleep_for_ever, METHOD));
	must(crew_process_signal(p, SIGSTOP));
	must(crew_process_stop(p, 10 * CREW_SECOND, &status));
	ck_assert(status.state == CREW_KILLED && status.signal == SIGTERM);
	must(crew_process_close(p));
	crew_fini();
}

TEST(a_join_ends_in_time_though_the_zygote_is_stopped)
{
	must(crew_init(NULL));
	struct crew_process *p = start(options(.function = sleep_for_ever));
	struct crew_status status;
	pid_t zygote = helper("crew-zygote");
	ck_assert_int_eq(kill(zygote, SIGSTOP), 0);
	must(crew_process_signal(p, SIGKILL));
	crew_time before = crew_now();
	must_be(-ETIMEDOUT, crew_process_join(p, crew_after(10 * CREW_MILLISECOND), &status));
	ck_assert_int_lt(crew_now() - before, 5 * CREW_SECOND);
	ck_assert_int_eq(kill(zygote, SIGCONT), 0);
	must(crew_process_join(p, CREW_FOREVER, &status));
	ck_assert(status.state == CREW_KILLED && status.signal == SIGKILL);
	must(crew_process_close(p));
	crew_fini();
}

static int start_others(void *argument, size_t size)
{
	(void)size;
	pid_t *pids = *(pid_t **)argument;
	struct crew_process *p;
	if (crew_process_start(&p, options(.function = sleep_for_ever)) < 0)
		return 1;
	pids[1] = crew_process_pid(p);
	if (crew_process_start(&p, options(.argv = (const char *const[]){ "sleep", "1000", NULL })) < 0)
		return 1;
	pids[2] = crew_process_pid(p);
	pid_t own = fork();
	if (own == 0) {
		setsid(); /* out of the group */
		signal(SIGTERM, SIG_IGN);
		pids[3] = getpid();
		sleep_for_ever(NULL, 0);
	}
	if (fork() == 0) { /* its parent goes: found by the group alone */
		pid_t orphan = fork();
		if (orphan == 0) {
			pids[4] = getpid();
			sleep_for_ever(NULL, 0);
		}
		_exit(0);
	}
	wait(NULL);
	while (!((volatile pid_t *)pids)[3] || !((volatile pid_t *)pids)[4])
		sched_yield();
	pids[0] = getpid();
	return sleep_for_ever(NULL, 0);
}

TEST(stop_ends_the_whole_tree, .count = 2)
{
	must(crew_init(NULL));
	pid_t *pids;
	must(crew_alloc_zeroed(5 * sizeof *pids, (void **)&pids));
	struct crew_process *p = start(options(.function = start_others, METHOD, .argument = &pids, .argument_size = sizeof pids));
	await(((volatile pid_t *)pids)[0]);
	for (int i = 0; i < 5; i++)
		ck_assert(!is_gone(pids[i]));
	must(crew_process_stop(p, 50 * CREW_MILLISECOND, NULL));
	for (int i = 0; i < 5; i++)
		ck_assert_msg(is_gone(pids[i]), "number %d is left", i);
	must(crew_process_close(p));
	await(slots_in_use() == HOUSEHOLD);
	crew_free(pids);
	crew_fini();
}

static int leave_one_behind(void *argument, size_t size)
{
	(void)size;
	pid_t pid = fork();
	if (pid == 0)
		sleep_for_ever(NULL, 0);
	*(*(pid_t **)argument) = pid;
	return 0;
}

TEST(stop_ends_what_an_ended_process_left_in_its_group, .count = 2)
{
	if (syscall(SYS_pidfd_send_signal, 0, 0, NULL, 4) < 0 && errno == EINVAL)
		SKIP("signals to the group of a pidfd came with Linux 6.9");
	must(crew_init(NULL));
	pid_t *pid;
	must(crew_alloc_zeroed(sizeof *pid, (void **)&pid));
	struct crew_process *p = start(options(.function = leave_one_behind, METHOD, .argument = &pid, .argument_size = sizeof pid));
	must(crew_process_join(p, CREW_FOREVER, NULL));
	ck_assert(*pid > 0 && !is_gone(*pid));
	must(crew_process_stop(p, 0, NULL));
	await(is_gone(*pid));
	must(crew_process_stop(p, 0, NULL)); /* once more does no harm */
	must(crew_process_close(p));
	crew_free(pid);
	crew_fini();
}

TEST(stop_outruns_a_process_that_forks_all_the_time)
{
	must(crew_init(NULL));
	struct crew_process *p = start(options(.argv = (const char *const[]){ "sh", "-c",
			"trap '' TERM; while :; do (sleep 0.05; sleep 1000) & sleep 0.01; done", NULL }));
	harness_pause();
	struct timespec moment = { 0, 200000000 };
	nanosleep(&moment, NULL);
	pid_t group = crew_process_pid(p);
	must(crew_process_stop(p, 30 * CREW_MILLISECOND, NULL));
	await(kill(-group, 0) < 0 && errno == ESRCH); /* nobody is left in the group, once the dead are reaped */
	must(crew_process_close(p));
	crew_fini();
}

/* Detached. */

static int outlive(void *argument, size_t size)
{
	(void)argument, (void)size;
	pid_t about[4] = { getpid(), getsid(0), (pid_t)crew_self(), crew_process_list(NULL, 0) };
	if (write(3, about, sizeof about) != sizeof about)
		return 1;
	char c;
	return read(4, &c, 1) == 1 ? c : 2; /* until we are told */
}

TEST(the_detached_are_reaped_though_nobody_asks, .count = 2)
{
	must(crew_init(NULL));
	int zero = 0;
	for (int i = 0; i < 3; i++) {
		struct crew_process *p = start(options(.function = give_back, METHOD, .detached = true, .argument = &zero,
			.argument_size = sizeof zero));
		pid_t pid = crew_process_pid(p);
		must(crew_process_close(p));
		await(is_gone(pid));
	}
	must_exit(0, start(options(.function = give_back, METHOD, .argument = &zero, .argument_size = sizeof zero)));
	await(slots_in_use() == HOUSEHOLD);
	crew_fini();
}

TEST(the_detached_outlive_the_family, .count = 2)
{
	must(crew_init(NULL));
	int from[2], to[2];
	pid_t about[4];
	ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
	int out = open("/dev/null", O_WRONLY | O_CLOEXEC);
	for (int round = 0; round < 2; round++) {
		struct crew_process *p = start(options(.function = outlive, METHOD, .detached = true, .out = out + 1,
			.err = out + 1, .descriptors = (int[]){ from[1], to[0] }, .descriptor_count = 2));
		ck_assert_int_eq(read(from[0], about, sizeof about), sizeof about);
		ck_assert_int_eq(about[0], crew_process_pid(p));
		ck_assert_int_eq(about[1], about[0]);
		ck_assert_int_eq(about[2], 0);
		ck_assert_int_eq(about[3], -ENOTCONN);
		ck_assert_int_eq(crew_process_list(NULL, 0), (int)HOUSEHOLD);
		if (round == 0) { /* as long as the family lives, how it ended can be asked */
			ck_assert_int_eq(write(to[1], "\5", 1), 1);
			must_exit(5, p);
		} else {
			must(crew_process_close(p));
		}
	}
	crew_fini();
	harness_pause();
	ck_assert(!is_gone(about[0]));
	ck_assert_int_eq(write(to[1], "\5", 1), 1);
	await(is_gone(about[0]));
	if (index) /* it was our child, and ended when there was no family any more */
		waitpid(about[0], NULL, 0);
	close(out);
	for (int i = 0; i < 2; i++) {
		close(from[i]);
		close(to[i]);
	}
}

/* The program around it. */

TEST(the_programs_own_children_are_no_members)
{
	must(crew_init(NULL));
	fflush(NULL);
	pid_t own = fork();
	if (own == 0) {
		struct crew_process *p;
		_exit(crew_self() == 0 && crew_parent() == 0 && !crew_is_member() && crew_process_list(NULL, 0) == -ENOTCONN &&
			crew_process_start(&p, options(.function = give_back)) == -ENOTCONN ? 0 : 1);
	}
	int status;
	ck_assert_int_eq(waitpid(own, &status, 0), own);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(system("exit 3"), 3 << 8);
	FILE *out = popen("echo hi", "re");
	char text[8];
	ck_assert_ptr_nonnull(fgets(text, sizeof text, out));
	ck_assert_int_eq(pclose(out), 0);
	ck_assert(wait(NULL) < 0 && errno == ECHILD); /* no helper is a child that a wait loop would wait for */
	crew_fini();
}

TEST(others_who_reap_disturb_only_forked_children)
{
	must(crew_init(NULL));
	int six = 6;
	signal(SIGCHLD, SIG_IGN);
	must_exit(6, start(options(.function = give_back, .argument = &six, .argument_size = sizeof six)));
	struct crew_process *p = start(options(.function = sleep_for_ever, .method = CREW_FORK));
	must(crew_process_signal(p, SIGUSR1));
	ck_assert_int_eq(end(p).state, CREW_ENDED_UNKNOWN);
	/* How its function ended, the child says itself. */
	must_exit(6, start(options(.function = give_back, .argument = &six, .argument_size = sizeof six, .method = CREW_FORK)));
	signal(SIGCHLD, SIG_DFL);
	p = start(options(.function = sleep_for_ever, .method = CREW_FORK));
	must(crew_process_signal(p, SIGUSR1));
	ck_assert_int_eq(waitpid(-1, NULL, 0), crew_process_pid(p));
	ck_assert_int_eq(end(p).state, CREW_ENDED_UNKNOWN);
	ck_assert_uint_eq(slots_in_use(), HOUSEHOLD);
	crew_fini();
}

static int print_line(void *argument, size_t size)
{
	(void)argument, (void)size;
	printf("child\n");
	return 0;
}

TEST(stdio_is_flushed_once)
{
	int out[2];
	char text[256];
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	fflush(NULL);
	pid_t copy = fork();
	if (copy == 0) {
		dup2(out[1], 1);
		close(out[0]);
		close(out[1]);
		setvbuf(stdout, NULL, _IOFBF, 4096);
		printf("before\n");
		if (crew_init(NULL) < 0)
			_exit(1);
		printf("after\n");
		for (int i = 0; i < 4; i++) {
			struct crew_process *p;
			if (crew_process_start(&p, options(.function = print_line, .method = i % 2 ? CREW_FORK : CREW_ZYGOTE)) < 0 ||
					crew_process_join(p, CREW_FOREVER, NULL) < 0 || crew_process_close(p) < 0)
				_exit(2);
		}
		printf("end\n");
		exit(0); /* without crew_fini: the pipe must close all the same */
	}
	close(out[1]);
	read_output(out[0], text, sizeof text);
	int status;
	ck_assert_int_eq(waitpid(copy, &status, 0), copy);
	ck_assert_int_eq(status, 0);
	ck_assert_str_eq(text, "before\nchild\nafter\nchild\nchild\nchild\nend\n");
}

TEST(missing_standard_streams_do_no_harm)
{
	fflush(NULL);
	pid_t copy = fork();
	if (copy == 0) {
		for (int fd = 0; fd < 3; fd++)
			close(fd);
		int one = 1, wrong = 0;
		if (crew_init(NULL) < 0)
			_exit(50);
		for (int method = 0; method < 2; method++) {
			struct crew_process *p;
			struct crew_status status;
			if (crew_process_start(&p, options(.function = give_back, .argument = &one, .argument_size = sizeof one,
					.method = (enum crew_process_method)method)) < 0)
				_exit(51 + method);
			wrong += crew_process_join(p, CREW_FOREVER, &status) < 0 || status.code != 1;
			wrong += crew_process_close(p) < 0;
		}
		crew_fini();
		_exit(wrong);
	}
	int status;
	ck_assert_int_eq(waitpid(copy, &status, 0), copy);
	ck_assert_int_eq(status, 0);
}

static void on_alarm(int signal)
{
	(void)signal;
}

TEST(signals_do_not_disturb_starts_and_joins)
{
	must(crew_init(NULL));
	sigaction(SIGALRM, &(struct sigaction){ .sa_handler = on_alarm }, NULL); /* no SA_RESTART */
	struct itimerval often = { { 0, 200 }, { 0, 200 } }, never = { { 0, 0 }, { 0, 0 } };
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 40; i++)
		must_exit(i, start(options(.function = give_back, .argument = &i, .argument_size = sizeof i,
				.method = i % 2 ? CREW_FORK : CREW_ZYGOTE)));
	setitimer(ITIMER_REAL, &never, NULL);
	crew_fini();
}

