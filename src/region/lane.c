/*
 * lane.c - join, leave, and find out who is gone
 *
 * Moves    join: a FREE lane whose `alive` can be locked -> fields -> state LIVE.
 *          leave: state LEFT; `alive` stays locked and the kernel marks it at the thread's end.
 *          reap: trylock(alive) answers EOWNERDEAD -> sweep -> generation + 1, FREE, unlock.
 * Death    of a joiner before LIVE: the lane is FREE with a marked mutex, nothing else in it; the
 *          next joiner makes the mutex good and goes on.
 *          of a sweeper: the mutex is marked again; whoever comes next sweeps again.
 * Why no unlock at leave: unlocking would walk list links that lie in shared memory, and a thread's end does it anyway.
 *          Only crew_fini unlocks, when the family has no other process left.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/sys.h"
#include "region/internal.h"

static_assert(sizeof(struct crew__lane) <= 2048, "32 MiB of address space for all lanes");
static_assert(CREW__LANES <= 1u << 15 && CREW__SLOTS <= 1u << 15, "numbers of an id have 15 bits");

static _Thread_local __attribute__((tls_model("initial-exec"))) struct crew__lane *self;
static pthread_key_t at_thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

struct crew__lane *crew__lane_at(uint32_t number)
{
	struct crew__region *region = crew__family.region;
	if (!region || number == 0 || number >= __atomic_load_n(&region->lanes_high, __ATOMIC_SEQ_CST)) /* a writer must not miss a reader's lane */
		return NULL;
	return (struct crew__lane *)crew__at(region->lanes) + number;
}

uint32_t crew__lane_id(const struct crew__lane *lane)
{
	const struct crew__lane *table = crew__at(crew__family.region->lanes);
	return crew__id((uint32_t)(lane - table), __atomic_load_n(&lane->generation, __ATOMIC_RELAXED));
}

static void make_lane(void *entry)
{
	struct crew__lane *lane = entry;
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&lane->alive, &attributes);
	pthread_mutexattr_destroy(&attributes);
	lane->generation = 1; /* so that no small number that a user stores is an id */
}

static void thread_ends(void *lane)
{
	(void)lane;
	crew__lane_leave();
}

static void make_key(void)
{
	pthread_key_create(&at_thread_end, thread_ends);
}

/* May be asked without the mutex, to see whether it is worth trying: then only an answer got with it counts. */
bool crew__lane_is_empty(const struct crew__lane *lane)
{
	if (__atomic_load_n(&lane->leases, __ATOMIC_RELAXED) || __atomic_load_n(&lane->attempt, __ATOMIC_RELAXED))
		return false;
	for (int i = 0; i < CREW__HOLDS; i++)
		if (__atomic_load_n(&lane->hold[i], __ATOMIC_RELAXED))
			return false;
	for (unsigned i = 0; i < sizeof lane->mine / sizeof lane->mine[0]; i++)
		if (__atomic_load_n(&lane->mine[i], __ATOMIC_RELAXED))
			return false;
	return true;
}

/* Whether its thread left in good order and empty. The sweeper is there before it makes the rest look empty, so look last. */
static bool left_nothing(const struct crew__lane *lane)
{
	return __atomic_load_n(&lane->state, __ATOMIC_ACQUIRE) == CREW__LANE_LEFT && crew__lane_is_empty(lane) &&
		__atomic_load_n(&lane->sweeper, __ATOMIC_SEQ_CST) == 0;
}

/*
 * A lane that nobody has, FREE, with its mutex locked by us; NULL if all below `high` are taken. One that was left empty
 * becomes free here, without a sweep; what only looked so before the trylock is left for a sweep, unlocked.
 */
static struct crew__lane *find_free(uint32_t high)
{
	for (uint32_t number = 1; number < high; number++) {
		struct crew__lane *lane = crew__lane_at(number);
		bool empty = left_nothing(lane);
		if (!empty && __atomic_load_n(&lane->state, __ATOMIC_ACQUIRE) != CREW__LANE_FREE)
			continue;
		int r = pthread_mutex_trylock(&lane->alive);
		if (r == EOWNERDEAD)
			pthread_mutex_consistent(&lane->alive); /* it was left empty, or a joiner died before it was LIVE */
		else if (r != 0)
			continue;
		if (r == EOWNERDEAD && left_nothing(lane))
			crew__lane_free(lane);
		if (__atomic_load_n(&lane->state, __ATOMIC_ACQUIRE) == CREW__LANE_FREE)
			return lane;
		pthread_mutex_unlock(&lane->alive);
	}
	return NULL;
}

void crew__lane_free(struct crew__lane *lane)
{
	lane->depth = 0;
	__atomic_store_n(&lane->sweeper, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&lane->attempt, 0, __ATOMIC_RELAXED);
	lane->process = 0;
	__atomic_store_n(&lane->generation, (lane->generation + 1) & 0x7fffu, __ATOMIC_RELEASE);
	__atomic_store_n(&lane->state, CREW__LANE_FREE, __ATOMIC_RELEASE);
}

static int join(struct crew__lane **ret)
{
	struct crew__region *region = crew__family.region;
	if (!region || !crew__family.self)
		return -ENOTCONN;
	pthread_once(&once, make_key);
	struct crew__lane *lane;
	bool grown = false;
	for (;;) {
		uint32_t high = __atomic_load_n(&region->lanes_high, __ATOMIC_ACQUIRE);
		lane = find_free(high);
		if (lane)
			break;
		int r = crew__table_grow(&region->lanes_high, CREW__LANES, region->lanes, sizeof *lane, high, make_lane);
		if (r < 0)
			return r;
		grown = true;
	}
	lane->process = crew__family.self;
	lane->tid = (uint32_t)syscall(SYS_gettid);
	__atomic_store_n(&lane->state, CREW__LANE_LIVE, __ATOMIC_RELEASE);
	self = lane;
	pthread_setspecific(at_thread_end, lane);
	if (grown) /* lanes of ended threads are swept here, so that many short threads do not use up the table */
		crew__lane_reap_all();
	*ret = lane;
	return 0;
}

int crew__lane_self(struct crew__lane **ret)
{
	if (__builtin_expect(self != NULL, 1)) {
		*ret = self;
		return 0;
	}
	return join(ret);
}

void crew__lane_leave(void)
{
	if (self)
		__atomic_store_n(&self->state, CREW__LANE_LEFT, __ATOMIC_RELEASE);
	crew__lane_forget();
}

void crew__lane_forget(void)
{
	if (self)
		pthread_setspecific(at_thread_end, NULL);
	self = NULL;
}

bool crew__lane_dissolve(void)
{
	bool alone = true;
	struct crew__lane *lane;
	for (uint32_t number = 1; (lane = crew__lane_at(number)); number++) {
		int r = lane == self ? 0 : pthread_mutex_trylock(&lane->alive);
		if (r == EOWNERDEAD)
			pthread_mutex_consistent(&lane->alive);
		if (r == 0 || r == EOWNERDEAD)
			pthread_mutex_unlock(&lane->alive);
		else
			alone = false;
	}
	crew__lane_forget();
	return alone;
}

/*
 * A thread other than its process's first that executes a program takes the first one's tid before the kernel walks its robust
 * list: no mutex there has that tid, so ours is not marked. Do it in the kernel's place once there is no such thread. (The kernel
 * marks before the tid is free, so it is not about to.) Whether we did; the word is then as the kernel leaves it.
 */
static bool mark_if_executed(struct crew__lane *lane)
{
	const struct crew__slot *slot = crew__slot_get(__atomic_load_n(&lane->process, __ATOMIC_ACQUIRE));
	pid_t pid = slot ? slot->pid : 0, tid = (pid_t)__atomic_load_n(&lane->tid, __ATOMIC_ACQUIRE);
	int word = tid;
	return pid && tid != pid && syscall(SYS_tgkill, pid, tid, 0) < 0 && errno == ESRCH &&
		__atomic_compare_exchange_n(&lane->alive.__data.__lock, &word, (int)FUTEX_OWNER_DIED, false, __ATOMIC_SEQ_CST,
			__ATOMIC_RELAXED);
}

/* Try to sweep one lane: whether whoever had it before the call is gone. */
static bool reap(struct crew__lane *lane)
{
	if (lane == self)
		return false;
	int r = pthread_mutex_trylock(&lane->alive);
	if (r == EBUSY && mark_if_executed(lane))
		r = pthread_mutex_trylock(&lane->alive);
	if (r != 0 && r != EOWNERDEAD)
		return false;
	if (__atomic_load_n(&lane->state, __ATOMIC_ACQUIRE) != CREW__LANE_FREE)
		crew__sweep(lane); /* also where nobody has `alive`: find_free has left it so, or a sweep with something left */
	if (r == EOWNERDEAD)
		pthread_mutex_consistent(&lane->alive);
	pthread_mutex_unlock(&lane->alive);
	return true;
}

bool crew__lane_reap(uint32_t id)
{
	struct crew__lane *lane = crew__lane_at(crew__number(id));
	if (!lane)
		return true;
	uint32_t generation = __atomic_load_n(&lane->generation, __ATOMIC_ACQUIRE);
	if (crew__id(crew__number(id), generation) != id)
		return true;
	return reap(lane);
}

void crew__lane_reap_all(void)
{
	struct crew__lane *lane;
	for (uint32_t number = 1; (lane = crew__lane_at(number)); number++)
		if (__atomic_load_n(&lane->state, __ATOMIC_ACQUIRE) != CREW__LANE_FREE)
			reap(lane);
}

void crew__lane_reap_process(uint32_t process)
{
	struct crew__lane *lane;
	for (uint32_t number = 1; (lane = crew__lane_at(number)); number++)
		if (__atomic_load_n(&lane->state, __ATOMIC_ACQUIRE) != CREW__LANE_FREE &&
				__atomic_load_n(&lane->process, __ATOMIC_RELAXED) == process)
			reap(lane);
}

/* A hold is one word, so it is recorded or it is not. */
uint64_t crew__hold_word(enum crew__hold kind, const void *object)
{
	return (uint64_t)kind << 56 | crew__offset(object);
}

enum crew__hold crew__hold_kind(uint64_t hold)
{
	return (enum crew__hold)(hold >> 56);
}

void *crew__hold_object(uint64_t hold)
{
	return crew__at(hold & ~(UINT64_C(0xff) << 56));
}

int crew__hold_free(const struct crew__lane *lane, enum crew__hold kind)
{
	int most = kind == CREW__HOLD_GUARD ? CREW__HOLDS : CREW__HOLDS - CREW__GUARDS;
	for (int i = 0; i < most; i++)
		if (lane->hold[i] == 0)
			return i;
	return -ENOLCK;
}

int crew__hold_add(struct crew__lane *lane, enum crew__hold kind, const void *object)
{
	int i = crew__hold_free(lane, kind);
	if (i < 0)
		return i;
	lane->hold_count[i] = 1;
	/* Before the claim that it tells of: a CAS, which orders it, or for a reader a look at writer_. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&lane->hold[i], crew__hold_word(kind, object),
		kind == CREW__HOLD_READ ? __ATOMIC_SEQ_CST : __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return i;
}

int crew__hold_find(const struct crew__lane *lane, enum crew__hold kind, const void *object)
{
	uint64_t wanted = crew__hold_word(kind, object);
	for (int i = 0; i < CREW__HOLDS; i++)
		if (__atomic_load_n(&lane->hold[i], __ATOMIC_SEQ_CST) == wanted) /* a writer looks for readers with it */
			return i;
	return -1;
}

void crew__hold_drop(struct crew__lane *lane, int index)
{
	__atomic_store_n(&lane->hold[index], 0, __ATOMIC_RELEASE);
}
