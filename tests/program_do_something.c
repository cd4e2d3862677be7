/* program_do_something.c - the catalogue of tasks, and the runner of commands */
#include "harness.h"
#include "program.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define check_run(run, wanted_status, wanted_out, wanted_err) \
	ck_assert_msg((run).status == (wanted_status) && strcmp((run).out, wanted_out) == 0 && strcmp((run).err, wanted_err) == 0, \
		"status %d, out: %s, err: %s", (run).status, (run).out, (run).err)

/* What the shell line gives: exactly that. */
static void check_line(const char *line, int status, const char *out, const char *err)
{
	struct program_run run = program_run("%s", line);
	ck_assert_msg(run.status == status && strcmp(run.out, out) == 0 && strcmp(run.err, err) == 0,
		"%s: status %d\nout: %s\nerr: %s", line, run.status, run.out, run.err);
	program_forget(&run);
}

/* Status 2, one line that holds `named`. */
static void check_refused(const char *line, const char *named)
{
	struct program_run run = program_run("%s", line);
	char *end = strchr(run.err, '\n');
	ck_assert_msg(run.status == 2 && strstr(run.err, named) && end && (!end[1] || strncmp(end, "\nTry `", 6) == 0),
		"%s: status %d, %s", line, run.status, run.err);
	program_forget(&run);
}

TEST(runs_a_command_for_each_line)
{
	check_line("printf 'a\\nb  c\\n\\n$x' | do_something --workers=1 -- echo", 0, "a\nb  c\n$x\n", "");
	check_line("printf 'a\\nb' | do_something --workers=1 -- echo '<{}>' {} '{}{}'", 0, "<a> a aa\n<b> b bb\n", "");
	check_line("echo ho | do_something --serial -- e'c'{} hi", 0, "hi\n", ""); /* the program itself, too */
	check_line("echo x | do_something -- sh -c 'wc -c; echo {} >&2'", 0, "0\n", "x\n"); /* stdin is empty */
	check_line("do_something -- echo </dev/null", 0, "", "");
	check_line("printf '\\n\\n' | do_something -- false", 0, "", "");
}

TEST(exit_status_counts_failures)
{
	check_line("printf '0\\n1\\n2\\n0\\n' | do_something --workers=3 -- sh -c 'exit {}'", 2, "", "do_something: 2 of 4 jobs failed\n");
	check_line("seq 100 | do_something -- false", 100, "", "do_something: 100 of 100 jobs failed\n");
	check_line("seq 103 | do_something -- false", 101, "", "do_something: 103 of 103 jobs failed\n");
	check_line("echo 11 | do_something -- sh -c 'kill -{} $$'", 1, "",
		"do_something: job 1: SIGSEGV: sh -c 'kill -11 $$'\ndo_something: 1 of 1 jobs failed\n");
}

TEST(output_of_a_job_stays_together, .timeout = 60)
{
	check_line("seq 12 | do_something --workers=4 -- sh -c 'for i in $(seq 300); do echo {}; echo e{} >&2; done' 2>&1 |"
		" uniq -c | awk '{ print $1 }' | sort | uniq -c | tr -s ' '", 0, " 24 300\n", "");
}

TEST(passes_every_byte)
{
	const char *dir = program_directory();
	struct program_run run = program_run("cd %s && head -c 3000000 /dev/urandom >a && echo a |"
		" do_something -- cat >b 2>c && cmp a b && wc -c <c", dir);
	check_run(run, 0, "0\n", "");
	program_forget(&run);
	program_remove(dir);
}

/* What a job leaves running neither holds it up, nor writes into the output of others, nor outlives the run. */
TEST(leftovers_end)
{
	struct program_run run = program_run("seq 20 | do_something --workers=1 -- sh -c '(while :; do echo left; done) & echo {}' | grep -vxF left");
	ck_assert_int_eq(run.status, 0);
	int expected = 1;
	for (char *line = strtok(run.out, "\n"); line; line = strtok(NULL, "\n"))
		ck_assert_int_eq(atoi(line), expected++);
	ck_assert_int_eq(expected, 21);
	program_forget(&run);
}

TEST(retries_what_fails)
{
	const char *dir = program_directory();
	struct program_run run = program_run("cd %s && seq 3 | do_something --json --retries=2 -- sh -c "
		"'echo attempt; echo x >>{}; test $(wc -l <{}) = 3'", dir);
	ck_assert_int_eq(run.status, 0);
	json_t *top = json_loads(run.out, JSON_REJECT_DUPLICATES, NULL), *row;
	size_t i;
	ck_assert_uint_eq(json_array_size(json_object_get(top, "rows")), 3);
	json_array_foreach(json_object_get(top, "rows"), i, row) {
		ck_assert_int_eq(json_integer_value(json_object_get(row, "attempts")), 3);
		ck_assert_pstr_eq(json_string_value(json_object_get(row, "outcome")), "done");
		ck_assert_pstr_eq(json_string_value(json_object_get(row, "output")), "attempt\n"); /* of the last alone */
	}
	json_decref(top);
	program_forget(&run);
	program_remove(dir);
	check_line("echo x | do_something --retries=0 -- false", 1, "", "do_something: 1 of 1 jobs failed\n");
}

TEST(a_timeout_ends_the_whole_tree)
{
	check_line("echo 1000 | do_something --timeout=0.2 -- sh -c 'sleep {} & echo before; sleep {}; echo after'", 1, "before\n",
		"do_something: job 1: timed out: sh -c 'sleep 1000 & echo before; sleep 1000; echo after'\n"
		"do_something: 1 of 1 jobs failed\n");
	/* One that ignores SIGTERM. */
	struct program_run run = program_run("echo 1000 | do_something --timeout=0.2 -- sh -c 'trap \"\" TERM; sleep {}; sleep {}'");
	ck_assert_int_eq(run.status, 1);
	program_forget(&run);
}

TEST(joblog_has_the_columns_of_parallel)
{
	const char *dir = program_directory();
	char log[512], line[512];
	snprintf(log, sizeof log, "%s/log", dir);
	struct program_run run = program_run("printf '0\\n7\\n' | do_something --workers=1 --joblog=%s -- sh -c 'echo hi; exit {}';"
		"echo 9 | do_something --timeout=0.2 --joblog=%s.2 -- sleep; tail -n 1 %s.2 | cut -f 7,8", log, log, log);
	ck_assert_int_eq(run.status, 0);
	ck_assert_str_eq(run.out, "hi\nhi\n-1\t15\n");
	program_forget(&run);
	FILE *file = fopen(log, "re");
	ck_assert_ptr_nonnull(file);
	ck_assert_ptr_nonnull(fgets(line, sizeof line, file));
	ck_assert_str_eq(line, "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n");
	for (int seq = 1; seq <= 2; seq++) {
		char host[64], command[256];
		double start, seconds;
		int number, sent, received, code, signal;
		ck_assert_ptr_nonnull(fgets(line, sizeof line, file));
		ck_assert_int_eq(sscanf(line, "%d\t%63s\t%lf\t%lf\t%d\t%d\t%d\t%d\t%255[^\n]", &number, host, &start, &seconds,
			&sent, &received, &code, &signal, command), 9);
		ck_assert(number == seq && start > 1e9 && seconds >= 0 && sent == 0 && received == 3 && signal == 0);
		ck_assert_int_eq(code, seq == 1 ? 0 : 7);
		ck_assert_str_eq(command, seq == 1 ? "sh -c 'echo hi; exit 0'" : "sh -c 'echo hi; exit 7'");
	}
	ck_assert_ptr_null(fgets(line, sizeof line, file));
	fclose(file);
	program_remove(dir);
	check_refused("echo x | do_something --joblog=/no/such/dir/log -- touch /tmp/crew-must-not-be", "/no/such/dir/log");
	ck_assert_int_ne(access("/tmp/crew-must-not-be", F_OK), 0);
}

TEST(json_holds_the_output)
{
	struct program_run run = program_run("printf 'a\\377\\\\\\n' | do_something --json -- sh -c 'printf \"\\\\000\\\\303\\\\251\\\\377\"; echo \"$1\" >&2; exit 4' sh");
	ck_assert_int_eq(run.status, 1);
	json_t *top = json_loads(run.out, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL), *row;
	ck_assert_ptr_nonnull(top);
	ck_assert(json_is_false(json_object_get(top, "verified")));
	ck_assert_uint_eq(json_array_size(json_object_get(top, "rows")), 1);
	row = json_array_get(json_object_get(top, "rows"), 0);
	ck_assert_pstr_eq(json_string_value(json_object_get(row, "mode")), "command");
	ck_assert_pstr_eq(json_string_value(json_object_get(row, "outcome")), "exit 4");
	ck_assert_int_eq(json_integer_value(json_object_get(row, "exit")), 4);
	ck_assert_uint_eq(json_string_length(json_object_get(row, "output")), 6);
	ck_assert_int_eq(memcmp(json_string_value(json_object_get(row, "output")), "\0\303\251\357\277\275", 6), 0);
	ck_assert_pstr_eq(json_string_value(json_object_get(row, "errors")), "a\357\277\275\\\n");
	json_decref(top);
	program_forget(&run);
}

TEST(refuses_wrong_usage_before_any_job)
{
	check_refused("echo x | do_something echo", "'echo'");
	check_refused("echo x | do_something --", "no command");
	check_refused("echo x | do_something -- ''", "empty");
	check_refused("echo x | do_something -- no-such-program-here", "no-such-program-here");
	check_refused("echo x | do_something -- /etc/passwd", "/etc/passwd");
	check_refused("echo x | do_something --timeout=-1 -- echo", "--timeout");
	check_refused("echo x | do_something --timeout=1e99 -- echo", "--timeout");
	check_refused("echo x | do_something --retries=x -- echo", "--retries");
	check_refused("do_something --timeout=0", "--timeout");
	check_refused("do_something --joblog=x", "--joblog");
	check_refused("do_something --file=x -- echo", "--file");
	check_refused("do_something --file=/no/such/file", "/no/such/file");
}

TEST(refuses_bad_lines)
{
	check_refused("printf 'a\\nb\\0c\\nd\\n' | do_something -- echo", "standard input:2: ");
	check_refused("(echo a; head -c 131072 /dev/zero | tr '\\0' x) | do_something -- true", "standard input:2: ");
	check_line("(head -c 131071 /dev/zero | tr '\\0' x) | do_something -- printf %s | wc -c", 0, "131071\n", "");
	check_refused("do_something -- echo </", "standard input: ");
	check_refused("do_something -- echo <&-", "standard input: ");
}

TEST(a_program_that_is_not_there_is_a_failed_job)
{
	check_line("echo no-such-program-here | do_something -- {}", 1, "",
		"do_something: job 1: not started: no such file, program or region: no-such-program-here\ndo_something: 1 of 1 jobs failed\n");
}

TEST(chaos_changes_nothing, .timeout = 60)
{
	struct program_run wanted = program_run("for n in $(seq 30); do echo $n begins; echo $n ends; done");
	struct program_run run = program_run("seq 30 | do_something --workers=3 --chaos=30 -- "
		"sh -c 'echo {} begins; sleep 0.1; echo {} ends' | sort -s -n");
	check_run(run, 0, wanted.out, "");
	program_forget(&wanted);
	program_forget(&run);
}

TEST(catalogue_comes_out_as_it_must, .timeout = 120)
{
	static const char *const options[] = { "--workers=1", "--workers=8 --retries=0", "--serial", "--chaos=5 --retries=1", "--seed=7 --file=/etc/passwd" };
	for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
		struct program_run run = program_run("do_something --quick %s", options[i]);
		ck_assert_msg(run.status == 0 && !*run.err, "%s: status %d, %s", options[i], run.status, run.err);
		program_forget(&run);
	}
}
