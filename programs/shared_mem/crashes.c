/* crashes.c - processes are killed while they change what is shared */
#include "shared_mem.h"
#include "random.h"
#include "start.h"
#include "stats.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/*
 * A sorted list that is linked both ways, in an array of nodes. The chain of `next` is the truth: a node is in the list by
 * the one store that links it. `prev` and `count` follow from the chain, so whoever finds that the last owner of the lock
 * has died makes them anew. A node that was not linked is simply used again.
 */
#define STEPS 4   /* where an update may be cut off: before it, between its three stores */
#define ITEMS 300 /* that each process inserts */

struct list {
	struct crew_lock lock;
	struct item { uint64_t key; struct item *next, *prev; } head, *items;
	uint64_t count, repairs;
	uint64_t inserted[2];
	int die_at; /* the step before which process 0 kills itself, in the middle of its work */
};

static void maybe_die(const struct list *list, unsigned number, int step)
{
	if (number == 0 && list->inserted[0] == ITEMS / 2 && list->die_at == step)
		kill(getpid(), SIGKILL);
}

static void repair(struct list *list)
{
	uint64_t count = 0;
	struct item *before = &list->head;
	for (struct item *item = before->next; item; before = item, item = item->next) {
		item->prev = before;
		count++;
	}
	list->count = count;
	list->repairs++;
}

static int insert(struct list *list, unsigned number, uint64_t key)
{
	int r = crew_lock_acquire(&list->lock, crew_after(PATIENCE));
	if (r < 0)
		return r;
	if (r == CREW_OWNER_DIED) {
		repair(list);
		crew_lock_repaired(&list->lock);
	}
	struct item *item = &list->items[list->count], *before = &list->head;
	while (before->next && before->next->key < key)
		before = before->next;
	*item = (struct item){ key, before->next, before };
	maybe_die(list, number, 0);
	__atomic_store_n(&before->next, item, __ATOMIC_RELEASE);
	maybe_die(list, number, 1);
	if (item->next)
		__atomic_store_n(&item->next->prev, item, __ATOMIC_RELEASE);
	maybe_die(list, number, 2);
	__atomic_store_n(&list->count, list->count + 1, __ATOMIC_RELEASE);
	maybe_die(list, number, 3);
	crew_lock_release(&list->lock);
	return 0;
}

static int list_member(void *memory, unsigned number)
{
	struct list *list = memory;
	struct rng rng = rng_of(1, number);
	for (; list->inserted[number] < ITEMS; list->inserted[number]++)
		if (insert(list, number, rng_next(&rng)) < 0)
			return 1;
	return 0;
}

static bool list_is_whole(const struct list *list)
{
	uint64_t count = 0;
	const struct item *before = &list->head;
	for (const struct item *item = before->next; item; before = item, item = item->next, count++)
		if (item->prev != before || (count && item->key < before->key))
			return false;
	return count == list->count;
}

static void show_cut_off_updates(void)
{
	uint64_t bytes = 0;
	double begin = stats_clock();
	for (int step = 0; step < STEPS; step++) {
		struct list *list = shared(1, sizeof *list);
		list->items = shared(2 * ITEMS, sizeof *list->items);
		list->die_at = step;
		struct team *team = team_start(2, "writer", list_member, list);
		unsigned failed = team_join(team, crew_after(PATIENCE));
		/* One died in an insertion that took effect, or did not: by the store that links. */
		uint64_t wanted = ITEMS + ITEMS / 2 + (step > 0);
		report_check(report, failed == 1 && list->inserted[1] == ITEMS, "list: %u processes ended before their time",
			failed);
		int r = crew_lock_acquire(&list->lock, crew_after(PATIENCE));
		must("crew_lock_acquire", r);
		if (r == CREW_OWNER_DIED) { /* the other had been ready before: we are the first to come across the dead owner */
			repair(list);
			crew_lock_repaired(&list->lock);
		}
		report_check(report, list->repairs == 1 && list_is_whole(list) && list->count == wanted,
			"list, death at step %d: %" PRIu64 " items instead of %" PRIu64 ", %" PRIu64 " repairs", step, list->count,
			wanted, list->repairs);
		crew_lock_release(&list->lock);
		bytes += list->count * sizeof *list->items;
		crew_free(list->items);
		crew_free(list);
	}
	report_uint(row("crash, in an update", bytes, stats_clock() - begin), "deaths", STEPS);
}

/*
 * Processes that allocate and free all the time, killed anywhere. The heap is whole afterwards, always. What belonged to
 * a task of a pool is freed with it; so when all is over, exactly the blocks of before are there.
 */
#define HANDS 64 /* blocks that a task has at a time */

struct juggle {
	uint32_t stop;
	uint64_t turns;
};

static int juggle(const void *argument, void *result, void *context)
{
	(void)argument;
	(void)result;
	struct juggle *j = context;
	void *hand[HANDS] = { NULL };
	struct rng rng = rng_of((uint64_t)getpid(), crew_task_self()->index); /* every life differs */
	uint64_t turns = 0;
	for (; !__atomic_load_n(&j->stop, __ATOMIC_RELAXED); turns++) {
		uint64_t i = rng_below(&rng, HANDS), size = UINT64_C(1) << rng_below(&rng, 18);
		crew_free(hand[i]);
		if (crew_alloc(size, &hand[i]) < 0)
			hand[i] = NULL;
		else
			memset(hand[i], (int)i, size);
	}
	for (int i = 0; i < HANDS; i++)
		crew_free(hand[i]);
	__atomic_fetch_add(&j->turns, turns, __ATOMIC_RELAXED);
	return 0;
}

static void show_killed_allocations(double seconds)
{
	struct juggle *j = shared(1, sizeof *j);
	unsigned workers = cli.workers < 64 ? cli.workers : 64;
	struct crew_memory_stats before, after; /* around all of it: the pool has blocks of its own */
	must("crew_memory_stats", crew_memory_stats(&before));
	struct crew_pool *pool = start_pool(&cli, &(struct crew_pool_options){ .workers = workers, .context = j,
		.attempts = 1000000, .chaos = cli.chaos > 0 ? cli.chaos : 50, .chaos_seed = cli.seed });
	crew_ticket ticket[64];
	for (unsigned i = 0; i < workers; i++)
		must("crew_pool_submit", crew_pool_submit(pool, &(struct crew_task){ .function = juggle, .index = i },
			&ticket[i], CREW_FOREVER));
	double begin = stats_clock();
	int r = crew_pool_wait(pool, ticket[0], NULL, crew_after((crew_time)(seconds * 1e9)), NULL);
	report_check(report, r == -ETIMEDOUT, "allocations: a task has ended before it should: %s", crew_strerror(r));
	__atomic_store_n(&j->stop, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < workers; i++) {
		r = crew_pool_wait(pool, ticket[i], NULL, crew_after(PATIENCE), NULL);
		report_check(report, r == 0, "allocations: %s", crew_strerror(r));
	}
	seconds = stats_clock() - begin;
	struct crew_pool_stats stats;
	crew_pool_stats(pool, &stats);
	crew_pool_terminate(pool);
	must("crew_memory_stats", crew_memory_stats(&after));
	report_check(report, crew_heap_check() == 0, "allocations: the heap is broken");
	report_check(report, after.blocks == before.blocks, "allocations: %" PRIu64 " blocks before, %" PRIu64 " after",
		before.blocks, after.blocks);
	report_uint(row("crash, in crew_alloc and crew_free", after.peak, seconds), "deaths", stats.deaths);
	crew_free(j);
}

void show_crashes(double seconds)
{
	report_say(report, "Crashes: processes are killed with SIGKILL while they change what is shared\n");
	show_cut_off_updates();
	show_killed_allocations(seconds);
	report_table(report);
}
