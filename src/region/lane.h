/*
 * lane.h - a lane: one thread's presence in the family, and the repair of the dead
 *
 * Every thread that uses a shared object has a lane. Its mutex `alive` is robust and process-shared; the
 * thread locks it when it joins and never unlocks it. When the thread ends, in
 * any way, the kernel marks the mutex; anybody can find out with one trylock, and the
 * trylock that answers EOWNERDEAD elects the one who repairs (the sweep). If that one
 * dies too, the next trylock elects again. All steps of a sweep may be repeated.
 *
 * Writers  alive            its thread once; then whoever sweeps
 *          state, gen       its thread at join and leave; the sweeper, holding alive
 *          all else         its thread; after its death the sweeper, holding alive
 */
#ifndef CREW_REGION_LANE_H
#define CREW_REGION_LANE_H

#include <pthread.h>
#include <crew/base.h>
#include "region/region.h"

enum crew__lane_state { CREW__LANE_FREE, CREW__LANE_LIVE, CREW__LANE_LEFT /* its thread ended in good order */ };

/* Something a lane holds: its offset, and in the top byte what it is. */
enum crew__hold {
	CREW__HOLD_NONE,
	CREW__HOLD_LOCK,   /* an owner-tagged word of a lock; may not be ours yet or any more: the word decides */
	CREW__HOLD_GUARD,  /* the same, of a section: rolled back, so never "not repaired" */
	CREW__HOLD_READ,   /* an rwlock, for reading */
	CREW__HOLD_PERMIT, /* `count` permits of a semaphore */
	CREW__HOLD_PARTY,  /* party of a barrier */
	CREW__HOLD_QUEUE,  /* `count` messages of a queue, under lease or on loan: the queue's own words say which */
	CREW__HOLD_OWED    /* `count` counts of a latch that it is to make */
};
#define CREW__HOLDS 72  /* the last of them for guards alone: sections work also for who holds all it may */
#define CREW__GUARDS 8
#define CREW__UNDO 48
#define CREW__BELLS 6   /* that one section rings */

struct crew__undo { uint64_t where; /* offset, top byte: size 4 or 8 */ uint64_t old; };

struct crew__lane {
	pthread_mutex_t alive;
	uint32_t state;
	uint32_t id;          /* number and generation: this life of the lane, what owner-tagged words hold */
	uint32_t process;     /* id of its process */
	uint32_t tid;
	uint32_t high_hold;   /* hold[] is used below this only; at least 1, grows within a life, before the hold is stored */
	uint64_t bell;        /* offset of a futex word that this thread has changed or is about to: owed a wake-up if it dies */
	uint64_t asleep_on;   /* offset of the futex word it sleeps on */
	uint64_t waited_on;   /* ... or slept on last, if no lock: a wake-up it was given there, and died before using, goes to the others */
	uint64_t owed[CREW__BELLS]; /* bells that the section it is in or has just left changes and rings */
	uint64_t attempt;     /* not 0: inside attempt number `attempt` of a task (memory) */
	uint64_t attempt_blocks; /* blocks that this attempt has allocated (memory): 0 spares a search */
	uint64_t desk;        /* what it allocates from without the guard (memory); 0: nothing yet */
	uint32_t freeing;     /* run of blocks that it is freeing one of, number + 1 (memory) */
	uint32_t slow_allocs; /* before it got a desk (memory) */
	uint64_t leases;      /* messages under lease or on loan to this lane, of all queues (channel) */
	uint64_t queue;       /* the queue that it is inside an operation on, 0: none: where its claims are looked for, and why it is not freed */
	uint64_t queue_block; /* block that is about to become part of that queue, or already is */
	uint64_t queue_late;  /* the queue for dead letters that it, sweeping, has moved one to */
	uint64_t publish[2];  /* offset and value of a store that a section owes once it has committed (sync); offset 0: none */
	uint64_t reading;     /* 1 + the epoch since which it reads maps (memory); 0: it reads none */
	uint64_t mine[7];     /* blocks in this thread's hands between two sections (memory): freed if it dies */
	uint64_t log;         /* what it has saved under its locks (sync/undo.h), in hand 4 or 5; 0: nothing yet */
	uint32_t logged;      /* places for locks in that log that are in use; 0 spares each release a look */
	uint64_t wants;       /* what its next sleep is for, as a hold word (sync/circle.h); 0: a lock word, or nobody in particular */
	uint64_t checks;      /* offset of the lock word that it acquires, if that is a lock that looks for circles */
	uint32_t sleeps;      /* number of its sleeps */
	uint32_t told;        /* 1: its death has been told (sync/news.h) */
	uint32_t sweeper;     /* lane that repairs this one in sections of its own, or died doing it; 0: none */
	uint32_t gone;        /* bell: this thread has stopped reading something (sync). Here, so that the lock may be freed by then */
	uint32_t undo_count;  /* entries of undo[] that are in force */
	uint32_t depth;       /* 1: inside a section */
	struct crew__undo undo[CREW__UNDO];
	uint64_t hold[CREW__HOLDS];
	uint32_t hold_count[CREW__HOLDS]; /* of HOLD_PERMIT, HOLD_READ and HOLD_QUEUE; of HOLD_PARTY: see sync/barrier.c */
};

/* This thread's lane, NULL where it has none yet; what is asked most, so that one look less is needed. Written by lane.c alone. */
struct crew__mine {
	struct crew__lane *lane;
	uint64_t *hold; /* in lane->hold[], below high_hold: where is looked first, for room and for what is held */
	uint32_t id;    /* lane->id */
};
extern _Thread_local __attribute__((tls_model("initial-exec"))) struct crew__mine crew__mine;

/* Give this thread a lane. 0; -ENOTCONN: no member; -EAGAIN: all lanes in use; -EOPNOTSUPP: its end would not be seen. */
int crew__lane_join(struct crew__lane **ret);

/* This thread's lane, joining if it has none. */
static inline int crew__lane_self(struct crew__lane **ret)
{
	*ret = crew__mine.lane;
	return __builtin_expect(*ret != NULL, 1) ? 0 : crew__lane_join(ret);
}

/* The id of a lane: what owner-tagged words hold. */
static inline uint32_t crew__lane_id(const struct crew__lane *lane)
{
	return __atomic_load_n(&lane->id, __ATOMIC_RELAXED);
}
struct crew__lane *crew__lane_at(uint32_t number);

/* Leave in good order: called at thread exit, and at process end for the main thread. */
void crew__lane_leave(void);

/*
 * Is the thread behind this id gone? If so it has been swept when this returns true: words
 * that named it are released. False: it lives, or somebody is sweeping it right now.
 */
bool crew__lane_reap(uint32_t id);

/* Whether the kernel has marked this lane's thread as dead. Nothing is swept. */
bool crew__lane_is_marked(const struct crew__lane *lane);

/* The same, or it is being swept, or was in part: a life that is over and not yet cleared away. */
bool crew__lane_is_over(const struct crew__lane *lane);

/* Reap whatever is dead among all lanes; those of one process (id), which is known to have ended. */
void crew__lane_reap_all(void);
void crew__lane_reap_process(uint32_t process);

/* An upper layer's part of a sweep: repair what `dead` left in that layer. `clean`: it left in good order. May be repeated. */
typedef void crew__sweep_fn(struct crew__lane *dead, uint32_t id, bool clean);
void crew__sweep_register(crew__sweep_fn *sweep); /* in crew_init, in the order of the layers */

/*
 * In a sweep, after the words that name `dead` are free and before its first section. A former sweeper of this lane may
 * have died inside such a section, and what it has set there is not what holds: wait until it is swept itself.
 */
void crew__sweep_settle(struct crew__lane *dead);

/*
 * Sweeps are done on the way by those who start, join and wait. So they do not wait for who is stopped in a section: this thread, in a
 * sweep, has waited for a guard of `owner`; 0, or -EAGAIN: that one is stopped, what is left of the sweep is for a later one.
 * At its own affairs (crew__sweep_patient) it waits, also during a sweep.
 */
enum crew__pace { CREW__NO_SWEEP, CREW__PATIENT, CREW__HASTY /* one is known to be stopped */ };
enum crew__pace crew__sweep_pace(enum crew__pace pace); /* sets it; what it was */
int crew__sweep_waits_for(uint32_t owner);
crew_time crew__sweep_deadline(crew_time deadline); /* to wait for a guard */

/* Play a lane's undo log backwards and empty it: by its thread, or by who sweeps it. */
void crew__roll_back(struct crew__lane *lane);

/*
 * Record and forget something held: one word, so it is recorded or it is not. Mostly that is where crew__mine.hold points, which
 * stays where it is while locks come and go there; else the search for room moves it. Only in one's own lane, but for hold_search.
 *
 * hold_free: an index for one more, or -ENOLCK. hold_find: index or -1. hold_add records before the claim that it tells of.
 */
int crew__hold_search_free(struct crew__lane *lane, enum crew__hold kind);
int crew__hold_search(const struct crew__lane *lane, uint64_t wanted);

static inline uint64_t crew__hold_word(enum crew__hold kind, const void *object)
{
	return (uint64_t)kind << 56 | crew__offset(object);
}
static inline enum crew__hold crew__hold_kind(uint64_t hold) { return (enum crew__hold)(hold >> 56); }
static inline void *crew__hold_object(uint64_t hold) { return crew__at(hold & ~(UINT64_C(0xff) << 56)); }

static inline int crew__hold_free(struct crew__lane *lane, enum crew__hold kind)
{
	return __builtin_expect(__atomic_load_n(crew__mine.hold, __ATOMIC_RELAXED) == 0, 1) ? (int)(crew__mine.hold - lane->hold) :
		crew__hold_search_free(lane, kind);
}

static inline int crew__hold_add(struct crew__lane *lane, enum crew__hold kind, const void *object)
{
	int i = crew__hold_free(lane, kind);
	if (__builtin_expect(i < 0, 0))
		return i;
	__atomic_store_n(&lane->hold[i], crew__hold_word(kind, object), __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST); /* the claim is a CAS, which does the rest */
	return i;
}

static inline int crew__hold_find(const struct crew__lane *lane, enum crew__hold kind, const void *object)
{
	uint64_t wanted = crew__hold_word(kind, object);
	return __builtin_expect(__atomic_load_n(crew__mine.hold, __ATOMIC_RELAXED) == wanted, 1) ? (int)(crew__mine.hold - lane->hold) :
		crew__hold_search(lane, wanted);
}

static inline void crew__hold_drop(struct crew__lane *lane, int index)
{
	__atomic_store_n(&lane->hold[index], 0, __ATOMIC_RELEASE);
}

#endif
