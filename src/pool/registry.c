/*
 * registry.c - the list of all pools of the family, and what becomes of those whose opener died
 *
 * State    registry.first ... pool.next: every ledger, from the section that makes it to the one that frees it.
 *          pool.opener: id of the process that may use and free it.
 *
 * Moves    open: the block goes from this thread's hands onto the list.
 *          adopt: opener, a dead id -> mine, by CAS; one process wins. Only when no child of the dead lives:
 *          workers end by their lifeline, a moment later than their opener.
 *          free: tasks, batches, then the ledger, each from its list into a hand, and freed from there.
 *
 * Death    of the opener, or of one who has adopted: the next crew__ledger_clear adopts again and goes on:
 *          what is freed is in no list any more.
 */
#include <string.h>
#include "base/sys.h"
#include "memory/heap.h"
#include "pool/ledger.h"
#include "sync/section.h"

/* Lies in the region's front, all zero at first. */
struct registry {
	uint64_t first;
	uint32_t guard;
	uint32_t spare;
};

static struct registry *registry(void)
{
	static_assert(sizeof(struct registry) <= sizeof crew__family.region->root, "it lies there");
	return (struct registry *)crew__family.region->root;
}

static struct crew_pool *pool_at(uint64_t offset)
{
	return offset ? (struct crew_pool *)crew__at(offset) : NULL;
}

int crew__ledger_open(const struct crew_pool_options *options, unsigned workers, struct crew_pool **ret)
{
	struct crew__lane *lane;
	void *block = NULL, *context = (void *)(uintptr_t)options->context;
	size_t size = sizeof(struct crew_pool) + workers * sizeof(struct crew__worker);
	int r = crew__lane_self(&lane);
	if (r == 0)
		r = crew__alloc_mine(lane, 0, size, &block);
	if (r == 0 && options->context_size) {
		r = crew__alloc_mine(lane, 1, options->context_size, &context);
		if (r == 0)
			memcpy(context, options->context, options->context_size);
	}
	if (r == 0)
		r = crew__enter(&lane, &registry()->guard, CREW_FOREVER);
	if (r < 0)
		goto out;
	struct crew_pool *pool = memset(block, 0, size);
	pool->opener = crew__family.self;
	pool->workers = workers;
	pool->mode = options->mode;
	pool->attempts = options->attempts ? options->attempts : 3;
	pool->retries = options->retries > 0 ? options->retries : 0;
	pool->timeout = options->timeout > 0 ? options->timeout : 0;
	pool->tasks_per_worker = options->mode == CREW_POOL_PROCESSES ? options->tasks_per_worker : 0;
	pool->context = context;
	pool->context_block = options->context_size ? crew__offset(context) : 0;
	pool->initialize = options->initialize;
	pool->next = registry()->first;
	crew__set64(lane, &registry()->first, crew__offset(pool));
	crew__set64(lane, &lane->mine[0], 0);
	crew__set64(lane, &lane->mine[1], 0);
	crew__leave(lane, &registry()->guard);
	*ret = pool;
out:
	if (r < 0 && r != -ENOTCONN) {
		crew__free_mine(lane, 0);
		crew__free_mine(lane, 1);
	}
	return r;
}

void crew__ledger_free(struct crew_pool *pool)
{
	struct crew__lane *lane;
	struct crew__batch *batch;
	struct crew__life life;
	for (uint32_t i = 0; i < pool->workers; i++) /* a task that a dead worker ran is nobody's now */
		crew__worker_end(pool, i, &(struct crew__death){ .exit_code = -1 }, CREW_FOREVER, &life);
	while ((batch = crew__batch_at(crew__peek64(&pool->batches))))
		crew__batch_drop(pool, batch);
	if (crew__enter(&lane, &registry()->guard, CREW_FOREVER) < 0)
		return;
	uint64_t at = crew__offset(pool), *link = &registry()->first;
	while (*link != at)
		link = &pool_at(*link)->next;
	crew__set64(lane, link, pool->next);
	crew__set64(lane, &lane->mine[0], at);
	crew__set64(lane, &lane->mine[1], pool->context_block);
	crew__leave(lane, &registry()->guard);
	crew__free_mine(lane, 0);
	crew__free_mine(lane, 1);
}

/* A living process that `parent` has started, or NULL. */
static struct crew__slot *living_child(uint32_t parent)
{
	struct crew__slot *slot;
	for (uint32_t number = 1; (slot = crew__slot_at(number)); number++)
		if (crew__peek32(&slot->parent) == parent && crew__peek32(&slot->state) == CREW__SLOT_RUNNING && !slot->detached)
			return slot;
	return NULL;
}

static bool is_mine(const struct crew_pool *pool)
{
	return pool->opener == crew__family.self;
}

static bool is_deserted(const struct crew_pool *pool)
{
	return !crew__process_lives(pool->opener);
}

static bool is_empty(const struct crew_pool *pool)
{
	return is_deserted(pool) && !living_child(pool->opener);
}

static struct crew_pool *find(bool (*wanted)(const struct crew_pool *), uint32_t *ret_opener)
{
	struct crew__lane *lane;
	if (crew__enter(&lane, &registry()->guard, CREW_FOREVER) < 0)
		return NULL;
	struct crew_pool *pool = pool_at(registry()->first);
	while (pool && !wanted(pool))
		pool = pool_at(pool->next);
	*ret_opener = pool ? pool->opener : 0;
	crew__leave(lane, &registry()->guard);
	return pool;
}

void crew__ledger_clear(crew_time deadline)
{
	for (;;) {
		uint32_t opener;
		struct crew_pool *pool = find(is_empty, &opener);
		if (pool) {
			if (__atomic_compare_exchange_n(&pool->opener, &opener, crew__family.self, false, __ATOMIC_ACQ_REL,
					__ATOMIC_RELAXED))
				crew__ledger_free(pool);
			continue;
		}
		if (crew_now() >= deadline || !find(is_deserted, &opener))
			return;
		struct crew__slot *slot = living_child(opener);
		if (slot)
			crew__futex_wait(&slot->state, CREW__SLOT_RUNNING, crew_after(10 * CREW_MILLISECOND));
	}
}

struct crew_pool *crew__ledger_mine(void)
{
	uint32_t opener;
	return find(is_mine, &opener);
}
