/* base.c - errors, time, deadlines, faults, limits, options, trace */
#include "harness.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <crew/probe.h>
#include <crew/trace.h>
#include "base/probe.h"
#include "base/sys.h"

TEST(every_error_has_a_name_and_a_sentence)
{
	ck_assert_str_eq(crew_errname(-ETIMEDOUT), "ETIMEDOUT");
	ck_assert_str_eq(crew_errname(CREW_OWNER_DIED), "CREW_OWNER_DIED");
	ck_assert_str_eq(crew_errname(-EXDEV), "EXDEV"); /* not crew's own */
	ck_assert_str_eq(crew_errname(-100000), "UNKNOWN");
	for (int result = -200; result < 10; result++)
		ck_assert_ptr_nonnull(crew_strerror(result));
}

TEST(deadlines_do_not_overflow)
{
	ck_assert_int_eq(crew_after(0), CREW_POLL);
	ck_assert_int_eq(crew_after(-5), CREW_POLL);
	ck_assert_int_eq(crew_after(CREW_FOREVER), CREW_FOREVER);
	crew_time before = crew_now(), deadline = crew_after(CREW_SECOND);
	ck_assert_int_ge(deadline, before + CREW_SECOND);
}

TEST(the_nth_use_of_a_call_fails)
{
	crew__fault_set(CREW__CALL_pipe2, 2, EMFILE, 1);
	int fds[2];
	must(crew__pipe2(fds, O_CLOEXEC));
	must_be(-EMFILE, crew__pipe2((int[2]){ -1, -1 }, O_CLOEXEC));
	int more[2];
	must(crew__pipe2(more, O_CLOEXEC));
	close(fds[0]), close(fds[1]), close(more[0]), close(more[1]);
}

TEST(faults_are_read_from_text)
{
	must(crew__fault_parse("fork:1:EAGAIN,mmap:3:ENOMEM"));
	must_be(-EAGAIN, crew__fork());
	must_be(-EINVAL, crew__fault_parse("fork"));
	must_be(-EINVAL, crew__fault_parse("nosuchcall:1:EAGAIN"));
	must_be(-EINVAL, crew__fault_parse("fork:1:NOERROR"));
	must_be(-EINVAL, crew__fault_parse("fork:1:EAGAIN;"));
}

TEST(a_futex_wait_ends_at_its_deadline)
{
	uint32_t word = 7;
	crew_time before = crew_now();
	must_be(-ETIMEDOUT, crew__futex_wait(&word, 7, crew_after(20 * CREW_MILLISECOND)));
	ck_assert_int_ge(crew_now() - before, 20 * CREW_MILLISECOND);
	must(crew__futex_wait(&word, 8, CREW_FOREVER));
	must_be(-ETIMEDOUT, crew__futex_wait(&word, 7, CREW_POLL));
	const uint32_t *words[] = { &word, &word };
	if (crew__has(CREW__FEATURE_FUTEX_WAITV)) {
		must_be(-ETIMEDOUT, crew__futex_wait_any(words, (uint32_t[]){ 7, 7 }, 2, crew_after(CREW_MILLISECOND)));
		must(crew__futex_wait_any(words, (uint32_t[]){ 7, 8 }, 2, CREW_FOREVER));
	}
}

TEST(poll_sleeps_for_the_whole_time)
{
	crew_time before = crew_now();
	must(crew__poll(NULL, 0, crew_after(20 * CREW_MILLISECOND)));
	ck_assert_int_ge(crew_now() - before, 20 * CREW_MILLISECOND);
}

TEST(limits_are_at_least_one_cpu_and_some_memory)
{
	struct crew_limits limits;
	crew_limits(&limits);
	ck_assert_uint_ge(limits.cpus, 1);
	ck_assert_uint_le(limits.cpus, limits.cpus_affinity);
	ck_assert_uint_eq(crew_cpus(), limits.cpus);
	ck_assert_uint_gt(limits.memory_total, 1u << 20);
	ck_assert_uint_gt(crew__memory_cap(), 0);
}

TEST(affinity_counts)
{
	cpu_set_t one;
	CPU_ZERO(&one);
	ck_assert_int_eq(sched_getaffinity(0, sizeof one, &one), 0);
	size_t first = 0;
	while (!CPU_ISSET(first, &one))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
	ck_assert_uint_eq(crew_cpus(), 1);
}

TEST(a_feature_can_be_switched_off)
{
	setenv("CREW_DISABLE", "futex_waitv,punch_hole", 1);
	ck_assert(!crew__has(CREW__FEATURE_FUTEX_WAITV));
	ck_assert(!crew__has(CREW__FEATURE_PUNCH_HOLE));
	ck_assert(crew__has(CREW__FEATURE_MEMFD));
	uint32_t word = 0;
	must_be(-ENOSYS, crew__futex_wait_any((const uint32_t *[]){ &word }, (uint32_t[]){ 0 }, 1, CREW_FOREVER));
	struct crew_feature feature;
	unsigned count = 0;
	while (crew_feature(count, &feature) == 0)
		count++;
	ck_assert_uint_eq(count, CREW__FEATURE_COUNT);
}

TEST(options_of_other_versions_are_understood_or_refused)
{
	struct { int a, b; } mine, longer = { 1, 2 };
	struct { int a; } shorter = { 5 };
	must(crew__options(&mine, sizeof mine, &shorter, sizeof shorter));
	ck_assert_int_eq(mine.a, 5);
	ck_assert_int_eq(mine.b, 0);
	struct { int a; } old;
	must_be(-EINVAL, crew__options(&old, sizeof old, &longer, sizeof longer));
	longer.b = 0;
	must(crew__options(&old, sizeof old, &longer, sizeof longer));
	must(crew__options(&mine, sizeof mine, NULL, sizeof mine));
	ck_assert_int_eq(mine.a, 0);
}

TEST(a_trace_is_a_json_array_with_escaped_names)
{
	char path[] = "/tmp/crew-trace-XXXXXX", text[4096] = "";
	close(mkstemp(path));
	must(crew_trace_open(path));
	must_be(-EBUSY, crew_trace_open(path));
	ck_assert(crew_trace_on());
	crew_trace_begin("test", "a \"quoted\" name\n");
	crew_trace_event("test", "tick", 42);
	crew_trace_end("test", "a \"quoted\" name\n");
	crew_trace_close();
	ck_assert(!crew_trace_on());
	crew_trace_event("test", "after the end", 1);
	int fd = open(path, O_RDONLY);
	ck_assert_int_gt(read(fd, text, sizeof text - 1), 0);
	close(fd);
	unlink(path);
	ck_assert_int_eq(text[0], '[');
	ck_assert_ptr_nonnull(strstr(text, "a \\\"quoted\\\" name\\u000a"));
	ck_assert_ptr_nonnull(strstr(text, "\"value\":42"));
	ck_assert_str_eq(text + strlen(text) - 4, "}\n]\n");
	ck_assert_ptr_null(strstr(text, "after the end"));
}

TEST(a_trace_that_cannot_be_opened_says_why)
{
	must_be(-ENOENT, crew_trace_open("/nowhere/at/all"));
	must_be(-EISDIR, crew_trace_open("/"));
}
