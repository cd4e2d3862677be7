/* synchronization.c - locks, semaphores, conditions, events, barriers */
#include "tour.h"

/* with lock: counter.value += 1 */
static int counts_to_1000(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	for (int i = 0; i < 1000; i++) {
		if (crew_lock_acquire(&b->lock, SOON) != 0)
			return 1;
		b->value++;
		crew_lock_release(&b->lock);
	}
	return 0;
}

static const char *step_lock(void)
{
	struct crew_process *p[4];
	for (int i = 0; i < 4; i++)
		p[i] = start(counts_to_1000);
	for (int i = 0; i < 4; i++)
		claim(exitcode(p[i]) == 0);
	claim(board->value == 4000);
	return NULL;
}

/* lock = RLock(): the owner may take it again; lock.acquire(block=False) */
static int finds_it_held(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	return crew_lock_acquire(&b->lock, CREW_POLL) != -ETIMEDOUT;
}

static const char *step_rlock(void)
{
	crew_lock_init(&board->lock, CREW_LOCK_RECURSIVE);
	claim(crew_lock_acquire(&board->lock, SOON) == 0);
	claim(crew_lock_acquire(&board->lock, SOON) == 0);
	crew_lock_release(&board->lock);
	claim(crew_lock_is_mine(&board->lock));
	claim(exitcode(start(finds_it_held)) == 0);
	crew_lock_release(&board->lock);
	claim(!crew_lock_is_held(&board->lock));
	return NULL;
}

/* with BoundedSemaphore(2): at most two at once */
static int enters(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	for (int i = 0; i < 50; i++) {
		if (crew_semaphore_acquire(&b->semaphore, SOON) < 0)
			return 1;
		uint64_t inside = __atomic_add_fetch(&b->inside, 1, __ATOMIC_SEQ_CST), most = b->most;
		while (inside > most && !__atomic_compare_exchange_n(&b->most, &most, inside, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			;
		__atomic_sub_fetch(&b->inside, 1, __ATOMIC_SEQ_CST);
		if (crew_semaphore_release(&b->semaphore) < 0)
			return 2;
	}
	return 0;
}

static const char *step_semaphore(void)
{
	struct crew_process *p[4];
	crew_semaphore_init(&board->semaphore, 2);
	for (int i = 0; i < 4; i++)
		p[i] = start(enters);
	for (int i = 0; i < 4; i++)
		claim(exitcode(p[i]) == 0);
	claim(board->most >= 1 && board->most <= 2);
	claim(crew_semaphore_free(&board->semaphore) == 2);
	claim(crew_semaphore_release(&board->semaphore) == -EPERM); /* bounded: only a holder may */
	return NULL;
}

/* with condition: condition.wait_for(lambda: value.value == 3); condition.notify_all() */
static int waits_for_3(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	int r = crew_lock_acquire(&b->lock, SOON);
	while (r == 0 && b->value != 3)
		r = crew_condition_wait(&b->changed, &b->lock, SOON);
	if (r == 0)
		b->array[0]++;
	crew_lock_release(&b->lock);
	return r;
}

static const char *step_condition(void)
{
	struct crew_process *p[2] = { start(waits_for_3), start(waits_for_3) };
	for (int i = 1; i <= 3; i++) {
		claim(crew_lock_acquire(&board->lock, SOON) == 0);
		board->value = i;
		crew_lock_release(&board->lock);
		claim(crew_condition_notify(&board->changed, UINT32_MAX) == 0);
	}
	claim(exitcode(p[0]) == 0 && exitcode(p[1]) == 0);
	claim(board->array[0] == 2);
	return NULL;
}

/* e = Event(); e.wait(timeout); e.set(); e.is_set() */
static int waits_for_the_event(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	return crew_event_wait(&b->event, SOON) < 0 || crew_event_set(&b->other_event) < 0;
}

static const char *step_event(void)
{
	struct crew_process *p = start(waits_for_the_event);
	claim(crew_event_wait(&board->other_event, crew_after(10 * CREW_MILLISECOND)) == -ETIMEDOUT);
	claim(!crew_event_is_set(&board->event));
	claim(crew_event_set(&board->event) == 0);
	claim(crew_event_wait(&board->other_event, SOON) == 0);
	claim(exitcode(p) == 0);
	return NULL;
}

/* b = Barrier(3); b.wait() returns 0, 1 or 2 */
static int meets(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	for (int phase = 1; phase <= 5; phase++) {
		unsigned index;
		__atomic_add_fetch(&b->value, 1, __ATOMIC_SEQ_CST);
		if (crew_barrier_wait(&b->barrier, &index, SOON) < 0)
			return 1;
		if (index == 0 && b->value != 3 * phase) /* all have counted, nobody is ahead */
			return 2;
		if (crew_barrier_wait(&b->barrier, NULL, SOON) < 0)
			return 3;
	}
	return crew_barrier_leave(&b->barrier) < 0;
}

static const char *step_barrier(void)
{
	crew_barrier_init(&board->barrier, 3, 0);
	struct crew_process *p[3] = { start(meets), start(meets), start(meets) };
	for (int i = 0; i < 3; i++)
		claim(exitcode(p[i]) == 0);
	claim(board->value == 15);
	return NULL;
}

const struct step tour_synchronization[] = {
	{ "crew_lock",                          "Lock()",                                  step_lock },
	{ "CREW_LOCK_RECURSIVE",                "RLock()",                                 step_rlock },
	{ "crew_semaphore",                     "BoundedSemaphore(2)",                     step_semaphore },
	{ "crew_condition",                     "Condition()",                             step_condition },
	{ "crew_event",                         "Event()",                                 step_event },
	{ "crew_barrier",                       "Barrier(3)",                              step_barrier },
	{ 0 }
};
