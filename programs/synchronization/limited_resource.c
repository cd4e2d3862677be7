/*
 * limited_resource.c - a room for half of those who want in
 *
 * A connection pool, a number of licences, memory for so many at a time. The checker counts who is inside: more than
 * the limit is a violation.
 */
#include "stage.h"

struct room {
	uint32_t inside; /* the checker's */
	uint32_t free;   /* places left, where a version counts them itself */
	struct crew_lock lock;
	struct crew_condition left;
	struct crew_semaphore semaphore;
};

typedef int door_fn(struct stage *stage, struct room *room);

static unsigned limit_of(const struct stage *stage)
{
	return stage->parties / 2;
}

static int visit(struct stage *stage, door_fn *enter, door_fn *leave)
{
	struct room *room = stage->state;
	for (uint64_t i = 0; i < stage->rounds; i++) {
		int r = enter(stage, room);
		if (r < 0)
			return r;
		stage_saw(stage, __atomic_add_fetch(&room->inside, 1, __ATOMIC_RELAXED) > limit_of(stage));
		if (i % 16 == 0)
			sched_yield(); /* stay a little longer */
		__atomic_sub_fetch(&room->inside, 1, __ATOMIC_RELAXED);
		r = leave(stage, room);
		if (r < 0)
			return r;
	}
	stage_did(stage, stage->rounds);
	return 0;
}

/* Wrong: looks whether there is a place, then takes it. Somebody else has looked meanwhile. */
static int look_enter(struct stage *stage, struct room *room)
{
	if (!stage_await(stage, __atomic_load_n(&room->free, __ATOMIC_RELAXED) > 0))
		return -ETIMEDOUT;
	bad_moment();
	__atomic_fetch_sub(&room->free, 1, __ATOMIC_RELAXED); /* atomic, and yet too late */
	return 0;
}

static int look_leave(struct stage *stage, struct room *room)
{
	(void)stage;
	__atomic_fetch_add(&room->free, 1, __ATOMIC_RELAXED);
	return 0;
}

/* Look and take under one lock. */
static int condition_enter(struct stage *stage, struct room *room)
{
	int r = crew_lock_acquire(&room->lock, stage->deadline);
	if (r < 0)
		return r;
	while (r == 0 && room->free == 0)
		r = crew_condition_wait(&room->left, &room->lock, stage->deadline);
	if (r == 0)
		room->free--;
	crew_lock_release(&room->lock);
	return r;
}

static int condition_leave(struct stage *stage, struct room *room)
{
	int r = crew_lock_acquire(&room->lock, stage->deadline);
	if (r < 0)
		return r;
	room->free++;
	crew_lock_release(&room->lock);
	return crew_condition_notify(&room->left, 1);
}

/* What a semaphore is for; and a permit comes back if its holder dies. */
static int semaphore_enter(struct stage *stage, struct room *room)
{
	return crew_semaphore_acquire(&room->semaphore, stage->deadline);
}

static int semaphore_leave(struct stage *stage, struct room *room)
{
	(void)stage;
	return crew_semaphore_release(&room->semaphore);
}

static void prepare(struct stage *stage)
{
	struct room *room = stage->state;
	room->free = limit_of(stage);
	crew_semaphore_init(&room->semaphore, limit_of(stage));
}

static int look(struct stage *stage, unsigned number) { (void)number; return visit(stage, look_enter, look_leave); }
static int by_condition(struct stage *stage, unsigned number) { (void)number; return visit(stage, condition_enter, condition_leave); }
static int by_semaphore(struct stage *stage, unsigned number) { (void)number; return visit(stage, semaphore_enter, semaphore_leave); }

const struct problem limited_resource = {
	.name = "limited resource",
	.lesson = "never more inside than there are places: look and take must be one step",
	.parties = 4, .rounds = 10000, .size = sizeof(struct room), .prepare = prepare,
	.versions = {
		{ "look, then take", look, true },
		{ "lock and condition", by_condition, false },
		{ "semaphore", by_semaphore, false },
	},
};
