/* observe.c - the family in figures and as text */
#include "harness.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <crew/crew.h>

static struct crew_lock *lock;

static void *wait_for_lock(void *unused)
{
	(void)unused;
	must(crew_lock_acquire(lock, crew_after(10 * CREW_SECOND)));
	crew_lock_release(lock);
	return NULL;
}

static struct crew_observation observe(void)
{
	struct crew_observation o;
	must(crew_observe(&o));
	return o;
}

TEST(held_locks_and_sleepers_are_counted_and_named)
{
	must_be(-ENOTCONN, crew_observe(&(struct crew_observation){ 0 }));
	must(crew_init(NULL));
	must(crew_alloc_zeroed(sizeof *lock, (void **)&lock));
	ck_assert_uint_eq(observe().locks_held, 0);
	must(crew_lock_acquire(lock, CREW_FOREVER));
	pthread_t thread;
	ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_lock, NULL), 0);
	await(observe().sleepers == 1);
	struct crew_observation o = observe();
	ck_assert_uint_ge(o.processes, 3); /* this one, keeper, zygote */
	ck_assert_uint_eq(o.locks_held, 2); /* the holder's, and what the sleeper is about to hold */
	ck_assert_uint_ge(o.memory.blocks, 1);

	char *text = NULL, address[40];
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	must(crew_observe_print(stream));
	fclose(stream);
	snprintf(address, sizeof address, "lock %p", (void *)lock);
	ck_assert_msg(strstr(text, address), "%s", text);
	snprintf(address, sizeof address, "asleep on %p", (void *)lock);
	ck_assert_msg(strstr(text, address), "%s", text);
	snprintf(address, sizeof address, "process %d", (int)getpid());
	ck_assert_msg(strstr(text, address), "%s", text);
	free(text);

	crew_lock_release(lock);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(observe().locks_held, 0);
	ck_assert_uint_eq(observe().deaths, 0);
	crew_fini();
}
