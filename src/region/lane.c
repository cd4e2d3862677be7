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

_Thread_local struct crew__mine crew__mine;
static pthread_key_t at_thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

struct crew__lane *crew__lane_at(uint32_t number)
{
	struct crew__region *region = crew__family.region;
	if (!region || number == 0 || number >= CREW__LANES || number >= __atomic_load_n(&region->lanes_high, __ATOMIC_SEQ_CST)) /* a writer must not miss a reader's lane */
		return NULL;
	return (struct crew__lane *)crew__at(crew__family.lanes) + number;
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
	const struct crew__lane *table = crew__at(crew__family.lanes);
	lane->id = crew__id((uint32_t)(lane - table), 1); /* not 0, so that no small number that a user stores is an id */
	lane->high_hold = 1;
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
	if (__atomic_load_n(&lane->leases, __ATOMIC_RELAXED) || __atomic_load_n(&lane->attempt, __ATOMIC_RELAXED) ||
			__atomic_load_n(&lane->queue, __ATOMIC_RELAXED) || __atomic_load_n(&lane->queue_block, __ATOMIC_RELAXED) ||
			__atomic_load_n(&lane->queue_late, __ATOMIC_RELAXED) || __atomic_load_n(&lane->desk, __ATOMIC_RELAXED) ||
			__atomic_load_n(&lane->freeing, __ATOMIC_RELAXED))
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
		if (!lane)
			break;
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
	lane->checks = lane->told = 0;
	__atomic_store_n(&lane->wants, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&lane->sweeper, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&lane->attempt, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&lane->publish[0], 0, __ATOMIC_RELAXED);
	__atomic_store_n(&lane->reading, 0, __ATOMIC_RELEASE);
	lane->slow_allocs = 0;
	__atomic_store_n(&lane->process, 0, __ATOMIC_RELAXED); /* looked at bare by who has not got the mutex */
	__atomic_store_n(&lane->high_hold, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&lane->id, crew__id(crew__number(lane->id), crew__generation(lane->id) + 1), __ATOMIC_RELEASE);
	__atomic_store_n(&lane->state, CREW__LANE_FREE, __ATOMIC_RELEASE);
}

/*
 * Whether the kernel will mark this mutex, which we have just locked, when this thread ends. Not in one made by a bare clone(2): what
 * glibc writes into the mutex is the tid of the thread that called clone, and no robust list is registered.
 */
static bool end_will_be_seen(const struct crew__lane *lane, uint32_t tid)
{
	void *head = NULL;
	size_t length;
	return ((uint32_t)__atomic_load_n(&lane->alive.__data.__lock, __ATOMIC_RELAXED) & FUTEX_TID_MASK) == tid &&
		syscall(SYS_get_robust_list, 0, &head, &length) == 0 && head;
}

int crew__lane_join(struct crew__lane **ret)
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
		int r = crew__table_grow(&region->lanes_high, CREW__LANES, crew__family.lanes, sizeof *lane, high, make_lane);
		if (r < 0)
			return r;
		grown = true;
	}
	uint32_t tid = (uint32_t)syscall(SYS_gettid);
	if (!end_will_be_seen(lane, tid)) {
		pthread_mutex_unlock(&lane->alive);
		return -EOPNOTSUPP;
	}
	__atomic_store_n(&lane->process, crew__family.self, __ATOMIC_RELAXED);
	__atomic_store_n(&lane->tid, tid, __ATOMIC_RELAXED);
	__atomic_store_n(&lane->state, CREW__LANE_LIVE, __ATOMIC_RELEASE);
	crew__mine = (struct crew__mine){ lane, lane->hold, lane->id };
	pthread_setspecific(at_thread_end, lane);
	if (grown) /* lanes of ended threads are swept here, so that many short threads do not use up the table */
		crew__lane_reap_all();
	*ret = lane;
	return 0;
}

void crew__lane_leave(void)
{
	if (crew__mine.lane)
		__atomic_store_n(&crew__mine.lane->state, CREW__LANE_LEFT, __ATOMIC_RELEASE);
	crew__lane_forget();
}

void crew__lane_forget(void)
{
	if (crew__mine.lane)
		pthread_setspecific(at_thread_end, NULL);
	crew__mine = (struct crew__mine){ 0 };
}

bool crew__lane_dissolve(void)
{
	bool alone = true;
	struct crew__lane *lane;
	if (crew__mine.lane)
		__atomic_store_n(&crew__mine.lane->state, CREW__LANE_LEFT, __ATOMIC_RELEASE); /* a named region lives on: swept by others */
	for (uint32_t number = 1; (lane = crew__lane_at(number)); number++) {
		uint32_t process = __atomic_load_n(&lane->process, __ATOMIC_ACQUIRE);
		if (crew__family.named && process && process != crew__family.self)
			continue; /* of another program */
		int r = lane == crew__mine.lane ? 0 : pthread_mutex_trylock(&lane->alive);
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
 * Process and tid must be those of one life: an old process and a new tid would make a living thread look dead.
 */
static bool mark_if_executed(struct crew__lane *lane)
{
	uint32_t life = __atomic_load_n(&lane->id, __ATOMIC_ACQUIRE);
	const struct crew__slot *slot = crew__slot_get(__atomic_load_n(&lane->process, __ATOMIC_ACQUIRE));
	pid_t pid = slot ? crew__slot_pid(slot) : 0, tid = (pid_t)__atomic_load_n(&lane->tid, __ATOMIC_ACQUIRE);
	int word = tid;
	return pid && __atomic_load_n(&lane->id, __ATOMIC_ACQUIRE) == life && tid != pid && syscall(SYS_tgkill, pid, tid, 0) < 0 && errno == ESRCH &&
		__atomic_compare_exchange_n(&lane->alive.__data.__lock, &word, (int)FUTEX_OWNER_DIED, false, __ATOMIC_SEQ_CST,
			__ATOMIC_RELAXED);
}

bool crew__lane_is_marked(const struct crew__lane *lane)
{
	return __atomic_load_n(&lane->alive.__data.__lock, __ATOMIC_ACQUIRE) & (int)FUTEX_OWNER_DIED;
}

bool crew__lane_is_over(const struct crew__lane *lane)
{
	uint32_t owner = (uint32_t)__atomic_load_n(&lane->alive.__data.__lock, __ATOMIC_ACQUIRE) & FUTEX_TID_MASK;
	return __atomic_load_n(&lane->state, __ATOMIC_ACQUIRE) != CREW__LANE_FREE && owner != __atomic_load_n(&lane->tid, __ATOMIC_RELAXED);
}

/* Try to sweep one lane: whether whoever had it before the call is gone. */
static bool reap(struct crew__lane *lane)
{
	if (lane == crew__mine.lane)
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
	if (__atomic_load_n(&lane->id, __ATOMIC_ACQUIRE) != id)
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

/*
 * Its process has ended, so the kernel has marked it; but not where it could not read the robust list, which lies in private
 * memory that the OOM killer may have taken away before.
 */
static void mark(struct crew__lane *lane)
{
	int word = (int)__atomic_load_n(&lane->tid, __ATOMIC_ACQUIRE), waited_for = word | (int)FUTEX_WAITERS;
	if (!__atomic_compare_exchange_n(&lane->alive.__data.__lock, &word, (int)FUTEX_OWNER_DIED, false, __ATOMIC_SEQ_CST,
			__ATOMIC_RELAXED))
		__atomic_compare_exchange_n(&lane->alive.__data.__lock, &waited_for, (int)FUTEX_OWNER_DIED, false,
			__ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

void crew__lane_reap_process(uint32_t process)
{
	struct crew__lane *lane;
	for (uint32_t number = 1; (lane = crew__lane_at(number)); number++) {
		if (__atomic_load_n(&lane->state, __ATOMIC_ACQUIRE) == CREW__LANE_FREE ||
				__atomic_load_n(&lane->process, __ATOMIC_RELAXED) != process || reap(lane))
			continue;
		mark(lane);
		reap(lane);
	}
}

int crew__hold_search_free(struct crew__lane *lane, enum crew__hold kind)
{
	uint32_t most = kind == CREW__HOLD_GUARD ? CREW__HOLDS : CREW__HOLDS - CREW__GUARDS, i = 0;
	while (i < most && __atomic_load_n(&lane->hold[i], __ATOMIC_RELAXED))
		i++;
	if (i == most)
		return -ENOLCK;
	if (i >= lane->high_hold)
		__atomic_store_n(&lane->high_hold, i + 1, __ATOMIC_RELEASE);
	if (i < CREW__HOLDS - CREW__GUARDS)
		crew__mine.hold = &lane->hold[i];
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return (int)i;
}

/* Also by a writer that looks for readers in others' lanes. */
int crew__hold_search(const struct crew__lane *lane, uint64_t wanted)
{
	uint32_t high = __atomic_load_n(&lane->high_hold, __ATOMIC_ACQUIRE);
	for (uint32_t i = 0; i < high && i < CREW__HOLDS; i++)
		if (__atomic_load_n(&lane->hold[i], __ATOMIC_SEQ_CST) == wanted)
			return (int)i;
	return -1;
}
