/*
 * move.h - what the moves of a pool are made of: a section of its guard, and the steps that several of them share
 */
#ifndef CREW_POOL_MOVE_H
#define CREW_POOL_MOVE_H

#include "pool/ledger.h"
#include "sync/section.h"

/* A section of the pool, and the bells to ring after it. */
struct crew__move {
	struct crew_pool *pool;
	struct crew__lane *lane;
	uint32_t *bell[CREW__BELLS];
	unsigned bells;
	struct crew__batch *empty; /* dropped, and its last task has become FREE: to be freed after it */
};

/* A deadline is for the guard; see crew__patience. */
int crew__move_begin(struct crew__move *move, struct crew_pool *pool, crew_time deadline);

/* It takes effect, the bells ring, and what release() has put into this thread's hands is freed ... */
void crew__move_end(struct crew__move *move);

/* ... later, by the caller. */
void crew__move_end_holding(struct crew__move *move);
void crew__move_let_go(struct crew__move *move);

/* A guard is free soon, unless a worker is stopped in a section: so wait a little for it, whatever the deadline. */
crew_time crew__patience(crew_time deadline);

void crew__ring_at_end(struct crew__move *move, uint32_t *bell);

/*
 * crew__bell_wait, but spin for longer than a wake-up takes before it sleeps. With the usual spin, which is shorter, two who hand each other
 * work would both sleep each time: one wakes only when the other has just given up.
 */
int crew__linger(struct crew__lane *lane, uint32_t *bell, uint32_t seen, crew_time deadline);

/* Lists of tasks, linked both ways. */
void crew__append(struct crew__move *move, uint64_t *first, uint64_t *last, struct crew__task *task);
void crew__take_out(struct crew__move *move, uint64_t *first, uint64_t *last, struct crew__task *task);

/* One idle worker off the list, and its bell; a worker onto it, off it. */
void crew__wake_one(struct crew__move *move);
void crew__rest(struct crew__move *move, struct crew__worker *worker);
void crew__rest_no_more(struct crew__move *move, struct crew__worker *worker);

/* -> READY, at the end of the list. */
void crew__make_ready(struct crew__move *move, struct crew__task *task);

/* READY (already taken out) or RUNNING -> DONE; an orphan is released. */
void crew__settle(struct crew__move *move, struct crew__task *task, int outcome);

/* -> FREE, at most once in a move: its blocks go into this thread's hands 0 and 1. */
void crew__release(struct crew__move *move, struct crew__task *task);

static inline void crew__add(struct crew__move *move, uint64_t *where, int64_t n)
{
	crew__set64(move->lane, where, *where + (uint64_t)n);
}

/* A FREE task, live from now on; NULL: none, or room must be made first (crew__batch_grow). */
struct crew__task *crew__take_free(struct crew__move *move, struct crew__batch *batch);

/* 1: room for more tasks has been made; 0: it is not needed or the limit is reached; -ENOMEM. Outside of a move. */
int crew__batch_grow(struct crew_pool *pool, struct crew__batch *batch);

/* Free a dropped batch without live tasks, in as many sections as it takes. Outside of a move. */
void crew__batch_free(struct crew_pool *pool, struct crew__batch *batch);

#endif
