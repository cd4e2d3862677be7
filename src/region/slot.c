/*
 * slot.c - the table of processes, and how both tables grow
 *
 * State    region.slots_high, lanes_high: numbers below them are committed and set up; they only grow.
 *          slot.parent: the claim on a slot, an id; 0 is free. slot.state: see region.h.
 * Moves    claim: CAS parent 0 -> me, then the fields, then state STARTING.
 *          release: CAS {state, generation} -> {FREE, generation + 1}, then parent 0: one releaser wins.
 * Death    in claim: parent names the dead, state is FREE or STARTING: crew__slot_abandon releases it.
 *          in release: the same. In growth: the mutex is robust, `high` is raised last, so what was
 *          set up above it is set up again.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/probe.h"
#include "base/sys.h"
#include "region/internal.h"

static_assert(sizeof(struct crew__slot) <= 256, "a slot is a few cache lines");

/* Sits in the first page of the region, behind its header. */
static pthread_mutex_t *grow_mutex(void)
{
	static_assert(sizeof(struct crew__region) <= 1024, "room for the mutex in the first page");
	return crew__at(1024);
}

int crew__table_create(void)
{
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	int r = -pthread_mutex_init(grow_mutex(), &attributes);
	pthread_mutexattr_destroy(&attributes);
	return r;
}

static void grow_lock(void)
{
	/* In slices: a robust mutex can lose a wake-up when its owner is killed in unlock. */
	for (;;) {
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until); /* not clocklock, which TSan does not know */
		until.tv_nsec += 20000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		int r = pthread_mutex_timedlock(grow_mutex(), &until);
		if (r == EOWNERDEAD)
			pthread_mutex_consistent(grow_mutex());
		if (r == 0 || r == EOWNERDEAD)
			return;
	}
}

int crew__table_grow(uint32_t *high, uint32_t limit, uint64_t table, size_t size, uint32_t seen, void (*make)(void *entry))
{
	enum { STEP = 16 };
	int r = 0;
	grow_lock();
	uint32_t from = *high, to = from + STEP < limit ? from + STEP : limit;
	if (from != seen) {
		; /* somebody else has grown it meanwhile */
	} else if (from >= limit) {
		r = -EAGAIN;
	} else {
		r = crew__fallocate(crew__family.memfd, 0, (off_t)(table + from * size), (off_t)((to - from) * size));
		if (r == 0) {
			for (uint32_t i = from; make && i < to; i++)
				make(crew__at(table + i * size));
			__atomic_store_n(high, to, __ATOMIC_SEQ_CST);
		}
	}
	pthread_mutex_unlock(grow_mutex());
	return r;
}

struct crew__slot *crew__slot_at(uint32_t number)
{
	struct crew__region *region = crew__family.region;
	if (!region || number == 0 || number >= CREW__SLOTS || number >= __atomic_load_n(&region->slots_high, __ATOMIC_ACQUIRE))
		return NULL;
	return (struct crew__slot *)crew__at(crew__family.slots) + number;
}

struct crew__slot *crew__slot_get(uint32_t id)
{
	struct crew__slot *slot = crew__slot_at(crew__number(id));
	if (!slot || crew__id(crew__number(id), __atomic_load_n(&slot->generation, __ATOMIC_ACQUIRE)) != id)
		return NULL;
	return slot;
}

uint32_t crew__slot_claim(uint32_t parent)
{
	struct crew__region *region = crew__family.region;
	for (;;) {
		uint32_t high = __atomic_load_n(&region->slots_high, __ATOMIC_ACQUIRE);
		for (uint32_t number = 1; number < high && number < CREW__SLOTS; number++) {
			struct crew__slot *slot = crew__slot_at(number);
			uint32_t nobody = 0, own = crew__id(number, __atomic_load_n(&slot->generation, __ATOMIC_ACQUIRE));
			if (__atomic_load_n(&slot->parent, __ATOMIC_RELAXED) != 0 ||
					!__atomic_compare_exchange_n(&slot->parent, &nobody, parent ? parent : own, false,
						__ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
				continue;
			own = crew__id(number, slot->generation);
			if (!parent)
				__atomic_store_n(&slot->parent, own, __ATOMIC_RELEASE); /* it may have had another life in between */
			slot->program = parent ? crew__family.program : own;
			__atomic_store_n(&slot->pid, 0, __ATOMIC_RELAXED); /* who looks for the dead may be looking */
			slot->helper = slot->detached = slot->disowned = slot->forked = slot->has_started = 0;
			slot->ended_code = slot->ended_status = slot->said = 0;
			slot->born[0] = slot->born[1] = slot->user_ns = slot->system_ns = slot->max_rss = 0;
			memset(slot->name, 0, sizeof slot->name);
			__atomic_store_n(&slot->state, CREW__SLOT_STARTING, __ATOMIC_RELEASE);
			return own;
		}
		if (crew__table_grow(&region->slots_high, CREW__SLOTS, crew__family.slots, sizeof(struct crew__slot), high, NULL) < 0)
			return 0;
	}
}

/* Two neighbouring words as one: the first is the low half or the high half, as the machine has it. */
static bool change_pair(uint32_t *first, uint32_t old_first, uint32_t old_second, uint32_t new_first, uint32_t new_second)
{
	typedef uint64_t __attribute__((may_alias)) pair_word;
	union { uint32_t half[2]; uint64_t whole; } old = { { old_first, old_second } }, new = { { new_first, new_second } };
	return __atomic_compare_exchange_n((pair_word *)(void *)first, &old.whole, new.whole, false, __ATOMIC_SEQ_CST,
			__ATOMIC_RELAXED);
}
static_assert(offsetof(struct crew__slot, state) % 8 == 0 && offsetof(struct crew__slot, generation) ==
		offsetof(struct crew__slot, state) + 4, "changed as a pair");
static_assert(offsetof(struct crew__slot, parent) % 8 == 0 && offsetof(struct crew__slot, pid) ==
		offsetof(struct crew__slot, parent) + 4, "changed as a pair");

bool crew__slot_move(uint32_t id, enum crew__slot_state from, enum crew__slot_state to)
{
	struct crew__slot *slot = crew__slot_at(crew__number(id));
	return slot && change_pair(&slot->state, from, crew__generation(id), to, crew__generation(id));
}

bool crew__slot_register(uint32_t id, uint32_t parent, pid_t pid)
{
	struct crew__slot *slot = crew__slot_get(id);
	return slot && change_pair(&slot->parent, parent, 0, parent, (uint32_t)pid);
}

/* Give up a claim; only if it is still that one. */
static void drop_claim(struct crew__slot *slot, uint32_t parent)
{
	__atomic_compare_exchange_n(&slot->parent, &parent, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

void crew__slot_release(uint32_t id)
{
	struct crew__slot *slot = crew__slot_get(id);
	if (!slot)
		return;
	uint32_t parent = __atomic_load_n(&slot->parent, __ATOMIC_ACQUIRE);
	uint32_t generation = crew__generation(id), next = (generation + 1) & 0x7fffu;
	if (change_pair(&slot->state, CREW__SLOT_STARTING, generation, CREW__SLOT_FREE, next) ||
			change_pair(&slot->state, CREW__SLOT_ENDED, generation, CREW__SLOT_FREE, next))
		drop_claim(slot, parent);
}

void crew__slot_abandon(uint32_t number, uint32_t dead_parent)
{
	struct crew__slot *slot = crew__slot_at(number);
	uint32_t generation = __atomic_load_n(&slot->generation, __ATOMIC_ACQUIRE);
	if (__atomic_load_n(&slot->parent, __ATOMIC_ACQUIRE) != dead_parent)
		return;
	if (__atomic_load_n(&slot->state, __ATOMIC_SEQ_CST) == CREW__SLOT_FREE)
		drop_claim(slot, dead_parent); /* it died while it claimed or released */
	else
		crew__slot_release(crew__id(number, generation));
}

bool crew__process_lives(uint32_t id)
{
	struct crew__slot *slot = crew__slot_get(id);
	if (!slot)
		return false;
	uint32_t state = __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
	return (state == CREW__SLOT_STARTING || state == CREW__SLOT_RUNNING) && crew__slot_get(id);
}

bool crew__stat(pid_t pid, struct crew__stat *ret)
{
	char path[40], text[600], state;
	unsigned long long ticks;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	int fd = crew__has(CREW__FEATURE_PROC) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return false;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	const char *at = strrchr(text, ')'); /* the name may hold spaces and brackets; field 3 follows it */
	if (!at || sscanf(at + 1, " %c %d %d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
			&state, &ret->parent, &ret->group, &ticks) != 4)
		return false;
	ret->stopped = state == 'T' || state == 't';
	ret->zombie = state == 'Z' || state == 'X';
	ret->born = (uint64_t)ticks * (1000000000 / (uint64_t)sysconf(_SC_CLK_TCK));
	return true;
}

uint64_t crew__boottime(void)
{
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

bool crew__slot_fits(const struct crew__slot *slot, pid_t pid)
{
	struct crew__stat stat;
	uint64_t from = __atomic_load_n(&slot->born[0], __ATOMIC_ACQUIRE), to = __atomic_load_n(&slot->born[1], __ATOMIC_ACQUIRE);
	uint64_t tick = 1000000000 / (uint64_t)sysconf(_SC_CLK_TCK);
	if (!to || !crew__stat(pid, &stat))
		return true;
	return stat.born + tick > from && stat.born <= to;
}
