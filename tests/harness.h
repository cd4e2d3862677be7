/*
 * harness.h - tests: a process for each, a time limit, and a look at what it left behind
 *
 * A suite is one file, tests/NAME.c, and one line in tests/meson.build. No main, no list:
 *
 *     #include "harness.h"
 *
 *     TEST(queue_keeps_the_order)
 *     {
 *             must(crew_init(NULL));
 *             ...
 *             crew_fini();
 *     }
 *
 *     TEST(survives_a_storm_of_kills, .timeout = 120, .takes_long = true) { ... }
 *
 * Names are claims. crew_init belongs inside the test. Only the test's own process may assert (an
 * assertion that fails in a worker passes unseen): workers report data.
 *
 * A test fails, too, if it leaves something: a child (zombies count), an open descriptor or a
 * mapping of crew in its own process; any process, in whichever group or session; a name
 * in /dev/shm or /tmp.
 *
 * build/tests/NAME runs the suite and prints TAP; CK_RUN_CASE=TEST runs one test; CK_FORK=no runs
 * it in this process, for a debugger.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <check.h>
#include <stdbool.h>
#include <crew/base.h>
#include <crew/error.h>

/* Check notes each assertion passed by a system call, to tell where a crash came after; this is two stores. */
#undef ck_assert_msg
#define ck_assert_msg(expression, ...) \
	((expression) ? harness_mark(__FILE__, __LINE__) : \
		_ck_assert_failed(__FILE__, __LINE__, "Assertion '"#expression"' failed", ## __VA_ARGS__))

/* What the runner and the test's process share. */
struct harness_note {
	char skipped[512]; /* why the test skips itself; or "" */
	const char *file;  /* of the last assertion passed */
	int line;
	char context[256]; /* what the test was about, if it says so; or "" */
};
extern struct harness_note *harness_note;

static inline void harness_mark(const char *file, int line)
{
	/* Threads of the test may assert, too; which of them was last does not matter. */
	__atomic_store_n(&harness_note->file, file, __ATOMIC_RELAXED);
	__atomic_store_n(&harness_note->line, line, __ATOMIC_RELAXED);
}

struct harness_test {
	const TTest *test;
	double timeout;              /* seconds; 0: 20 */
	int count;                   /* times to run it, with index = 0 ... count - 1; 0: once */
	const char *(*label)(int i); /* name of run number i, or NULL: not this one. Default: name and number */
	bool takes_long;             /* only with CREW_TEST_LONG in the environment (./test --long) */
	struct harness_test *next;
};

void harness_add(struct harness_test *test);

#define TEST(name, ...) \
	static void name##_run(int index); \
	static const TTest name##_test = { #name, name##_run, __FILE__, __LINE__ }; \
	__attribute__((constructor)) static void name##_add(void) \
	{ \
		static struct harness_test test = { .test = &name##_test, __VA_ARGS__ }; \
		harness_add(&test); \
	} \
	static void name##_run(int index __attribute__((unused)))

/* End the test as skipped; from the test function itself. */
#define SKIP(...) do { harness_skip(__VA_ARGS__); return; } while (0)
void harness_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What is tried from here on; it is told if the test fails. */
void harness_context(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The call returns what it should: 0, or exactly this result. */
#define must(call) must_be(0, call)
#define must_be(wanted, call) \
	do { \
		int result_ = (call), wanted_ = (wanted); \
		ck_assert_msg(result_ == wanted_, "%s is %d (%s), not %d (%s)", #call, \
			result_, crew_errname(result_), wanted_, crew_errname(wanted_)); \
	} while (0)

/* Wait until the condition holds, for at most 10 s. */
#define await(condition) \
	do { \
		crew_time until_ = crew_after(10 * CREW_SECOND); \
		while (!(condition)) { \
			ck_assert_msg(crew_now() < until_, "still waiting: %s", #condition); \
			harness_pause(); \
		} \
	} while (0)
/* How long what has been ended may take to be gone: a second, more where all is slow. */
crew_time harness_grace(void);

void harness_pause(void); /* let others run, about a millisecond */

#endif
