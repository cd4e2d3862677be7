/*
 * killpoint.h - kill a process at every instruction of an operation
 *
 *     static const struct killpoint put = { .prepare = warm_up, .operation = put_one, .check = intact };
 *
 *     TEST(a_put_is_whole_or_not_at_all)
 *     {
 *             must(crew_init(NULL));
 *             ...
 *             if (killpoint(&put, shared) < 0)
 *                     SKIP("ptrace is refused here");
 *
 * For every instruction of the operation a new process is started, stopped there, and killed; then the survivors'
 * script runs, which says what must hold now and must itself get on. One run single-steps to record the way; the
 * later ones go to their place by a hardware breakpoint (where there is none, step by step).
 *
 * Of a long way only part is walked in the time that a test has, spread evenly, at another phase each time;
 * all of it with CREW_TEST_LONG in the environment (./test --long).
 */
#ifndef KILLPOINT_H
#define KILLPOINT_H

#include <stdbool.h>

struct killpoint {
	void (*before)(void *shared);    /* in the test's process, before each victim is started; may be NULL */
	void (*prepare)(void *shared);   /* in the victim, before it can be killed; may be NULL */
	void (*operation)(void *shared); /* in the victim: what is killed */
	void (*watch)(void *shared);     /* in the test's process, before each instruction of one that lives; asserts; may be NULL */
	/* In the test's process, the victim dead. completed: the operation had returned. Asserts. */
	void (*check)(void *shared, bool completed);
	double seconds;                  /* for all of it, without CREW_TEST_LONG; 0: 1.5 */
};

/* How many points were killed at; negative errno: ptrace is refused. */
int killpoint(const struct killpoint *point, void *shared);

#endif
