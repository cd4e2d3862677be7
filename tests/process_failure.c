/* process_failure.c - system calls that fail, in the starter and in the helpers */
#include "process_common.h"

#include <sys/resource.h>

static unsigned open_descriptors(void)
{
	unsigned count = 0;
	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

TEST(a_failing_call_in_the_starter_is_a_clean_error, .count = 2, .timeout = 60)
{
	const enum crew__call calls[] = { CREW__CALL_fork, CREW__CALL_socketpair, CREW__CALL_sendmsg, CREW__CALL_recvmsg,
		CREW__CALL_open, CREW__CALL_pidfd_open, CREW__CALL_poll, CREW__CALL_waitid, CREW__CALL_pipe2, CREW__CALL_dup,
		CREW__CALL_futex_wait };
	const int errors[] = { EAGAIN, EMFILE, ENOMEM };
	must(crew_init(NULL));
	int five = 5;
	const char *const program[] = { "sh", "-c", "exit 5", NULL };
	must_exit(5, start(options(.function = give_back, .argument = &five, .argument_size = sizeof five)));
	unsigned before = open_descriptors();
	for (size_t c = 0; c < sizeof calls / sizeof *calls; c++)
		for (unsigned nth = 1; nth <= 3; nth++)
			for (int e = 0; e < 3; e++) {
				struct crew_process *p = NULL;
				crew__fault_set(calls[c], nth, errors[e], 1);
				int r = crew_process_start(&p, nth % 2 ? options(.function = give_back, METHOD, .argument = &five,
						.argument_size = sizeof five) : options(.argv = program, METHOD));
				crew__fault_set(calls[c], 0, 0, 0);
				if (r == 0)
					must_exit(5, p);
				ck_assert_msg(r == 0 || r == -errors[e] || r == -EAGAIN || r == -EMFILE, "call %zu, nth %u: %s", c, nth,
					crew_errname(r));
				await(slots_in_use() == HOUSEHOLD);
				ck_assert_uint_eq(open_descriptors(), before);
			}
	crew_fini();
}

TEST(a_failing_call_in_the_helpers_is_a_clean_error, .count = 8, .timeout = 60)
{
	static const char *const calls[] = { "fork", "socketpair", "sendmsg", "recvmsg", "open", "pidfd_open", "poll", "waitid" };
	int errors_seen = 0;
	for (unsigned nth = 1; nth <= 12; nth++) {
		char fault[64];
		snprintf(fault, sizeof fault, "%s:%u:%s", calls[index], nth, index % 2 ? "EMFILE" : "EAGAIN");
		setenv("CREW_FAULT", fault, 1);
		fflush(NULL);
		pid_t copy = fork();
		if (copy == 0) {
			int wrong = 0, failed = 0;
			int r = crew_init(NULL);
			if (r < 0)
				_exit(100);
			unsetenv("CREW_FAULT");
			for (int i = 0; i < 8; i++) {
				struct crew_process *p;
				struct crew_status status;
				r = crew_process_start(&p, options(.function = give_back, .argument = &i, .argument_size = sizeof i));
				failed += r < 0;
				if (r < 0)
					continue;
				while ((r = crew_process_join(p, CREW_FOREVER, &status)) == -EAGAIN || r == -EMFILE)
					;
				wrong += r < 0 || status.state != CREW_EXITED || status.code != i;
				wrong += crew_process_close(p) < 0;
			}
			crew_fini();
			_exit(wrong ? 50 + wrong : failed ? 100 : 0);
		}
		int status;
		ck_assert_int_eq(waitpid(copy, &status, 0), copy);
		ck_assert_msg(status == 0 || status == 100 << 8, "%s: status %x", fault, (unsigned)status);
		errors_seen += status != 0;
	}
	if (index < 6) /* the helpers repeat poll and waitid */
		ck_assert_int_gt(errors_seen, 0);
}

TEST(a_full_table_of_descriptors_is_a_clean_error, .count = 2)
{
	must(crew_init(NULL));
	int eight = 8;
	must_exit(8, start(options(.function = give_back, .argument = &eight, .argument_size = sizeof eight)));
	int filler[1024], filled = 0;
	struct rlimit limit, low;
	getrlimit(RLIMIT_NOFILE, &limit);
	low = (struct rlimit){ 200, limit.rlim_max };
	setrlimit(RLIMIT_NOFILE, &low);
	while (filled < 1024 && (filler[filled] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		filled++;
	ck_assert_int_lt(filled, 1024);
	for (int spare = 0; spare < 8; spare++) { /* with 0, 1, 2 ... left */
		struct crew_process *p = NULL;
		int r = crew_process_start(&p, options(.function = give_back, METHOD, .argument = &eight,
			.argument_size = sizeof eight));
		ck_assert_msg(r == -EMFILE || (r == 0 && spare > 0), "%d left: %s", spare, crew_errname(r));
		if (r == 0)
			must_exit(8, p);
		await(slots_in_use() == HOUSEHOLD);
		close(filler[--filled]);
	}
	while (filled > 0)
		close(filler[--filled]);
	setrlimit(RLIMIT_NOFILE, &limit);
	must_exit(8, start(options(.function = give_back, METHOD, .argument = &eight, .argument_size = sizeof eight)));
	crew_fini();
}
