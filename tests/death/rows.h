/*
 * rows.h - what tables of operations have in common: one sleeper, and survivors that do not wait for ever
 *
 * Where somebody sleeps until the victim's operation, a thread of the test does (start_sleeper): however far the victim
 * came, it gets on, by the operation or by what the survivors do then.
 */
#ifndef DEATH_ROWS_H
#define DEATH_ROWS_H

#include "family.h"

#include <pthread.h>
#include <unistd.h>
#include <crew/crew.h>
#include "death/killpoint.h"
#include "region/lane.h"

#define SOON crew_after(10 * CREW_SECOND) /* a survivor that waits so long has not got on */

static pthread_t sleeper __attribute__((unused));
static int slept __attribute__((unused)); /* what the sleeper's call returned */

static inline void start_sleeper(void *(*function)(void *))
{
	ck_assert_int_eq(pthread_create(&sleeper, NULL, function, NULL), 0);
}

static inline int end_sleeper(void)
{
	pthread_join(sleeper, NULL);
	return slept;
}

/* In the victim: wait until the test's thread sleeps on a shared object. */
static inline void await_sleeper(void)
{
	crew_time until = SOON;
	while (asleep() == 0)
		if (crew_now() > until)
			_exit(8);
}

/* Sweep all that are dead; the first time may have met one before the one who died sweeping it. */
static inline void sweep_all(void)
{
	crew__lane_reap_all();
	crew__lane_reap_all();
}

static inline void check_heap(uint64_t more)
{
	sweep_all();
	ck_assert_uint_eq(blocks(), blocks_before + more);
}

#endif
