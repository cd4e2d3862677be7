/*
 * killpoint.h - kill a process at every instruction of an operation, whatever else happens around it
 *
 * A suite has a table with a row for each operation and start state; each row is a test. README.md shows one from the beginning.
 *
 *     static const struct killpoint operations[] = {
 *             { "queue_put", .prepare = warm_up, .operation = put_7, .others = put_then_get, .check = check_put },
 *     };
 *     KILL_EVERYWHERE(operations, begin, s, end);
 *
 * What is done with a row:
 *
 *     kill        at every instruction: the victim is led there and killed; check
 *     freeze      at every class (see below): it is stopped there, others() go about their work, in two orders; it is killed; check
 *     resume      the same, but it goes on to the end before it is killed; check
 *     double      at every class it is killed, and then the process that sweeps it, at every class of that sweep; check
 *
 * Instructions before which shared memory looks the same, and after the same system calls, are one class: to be killed at one or the other
 * of them makes no difference to those who go on, so products are made of classes. To go on from there does make a difference, so
 * ./test --long resumes at every instruction.
 *
 * Of what is more than the time of a row allows only a part is done, spread evenly, at another phase each time; all of it with
 * CREW_TEST_LONG in the environment (./test --long), if 20 seconds for each script are enough. However slow the machine is, 12 points are
 * killed at, 4 frozen, 4 resumed, and one sweep killed at one of its points: so many are counted, not timed.
 */
#ifndef KILLPOINT_H
#define KILLPOINT_H

#include <stdbool.h>
#include "harness.h"

struct killpoint {
	const char *name;                /* of the row */
	void (*before)(void *shared);    /* in the test's process, before each victim is started; may be NULL */
	void (*prepare)(void *shared);   /* in the victim, before it can be killed; may be NULL */
	void (*operation)(void *shared); /* in the victim: what is killed */
	void (*watch)(void *shared);     /* in the test's process, before each instruction of one that lives; asserts; may be NULL */
	/*
	 * In a thread of the test's process, while the victim stands still: what others may want of the object just then, in one order (0)
	 * and in another (1). Asserts. May sleep for what a stopped process holds, but comes to an end soon after that has died or gone
	 * on; check() must hold with it and without it. NULL: no freeze and no resume.
	 */
	void (*others)(void *shared, int order);
	bool lock_free;                  /* others() shall come to an end while the victim stands still */
	bool single;                     /* no double kills: the sweep cannot be somebody else's, or check() is not for it */
	/* In the test's process, the victim dead, swept or not. completed: the operation had returned. Asserts. */
	void (*check)(void *shared, bool completed);
	double seconds;                  /* for all of it, without CREW_TEST_LONG; 0: 0.4 */
};

/* How many points were killed at; negative errno: ptrace is refused. Prints a line of figures, as a TAP comment. */
int killpoint(const struct killpoint *point, void *shared);

/* A test for each row: begin(), all of the above, end(). */
#define KILL_EVERYWHERE(rows, begin, shared, end) \
	static const char *rows##_name(int i) { return rows[i].name; } \
	TEST(rows, .count = sizeof rows / sizeof *rows, .label = rows##_name, .timeout = 600) \
	{ \
		begin(); \
		int killed = killpoint(&rows[index], shared); \
		if (killed < 0) \
			SKIP("ptrace is refused here"); \
		ck_assert_int_gt(killed, 0); \
		end(); \
	}

#endif
