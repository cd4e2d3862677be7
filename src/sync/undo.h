/*
 * undo.h - the log of crew/undo.h: old bytes of what a thread changes under its locks
 *
 * One block of the heap, named by lane->log; the layer memory makes and grows it (memory/save.c), this one plays it.
 */
#ifndef CREW_SYNC_UNDO_H
#define CREW_SYNC_UNDO_H

#include "sync/section.h"

#define CREW__LOG_LOCKS CREW__HOLDS /* as many as a thread can hold */

struct crew__log {
	uint64_t room;                  /* bytes of entry[] */
	uint64_t used;                  /* of them in force; 0 is the commit */
	uint64_t lock[CREW__LOG_LOCKS]; /* named: offset of a lock's word, and WAS_BROKEN; 0: none. lane->logged places are in use */
	unsigned char entry[];          /* old bytes, padded to 8; then where (offset), size: read from the end */
};

/* The part of an entry behind the old bytes. */
struct crew__log_end { uint64_t where, size; };

static inline uint64_t crew__log_padded(uint64_t size)
{
	return (size + 7) & ~UINT64_C(7);
}

/* This word's lock takes part in the thread's section. Held by it. */
void crew__undo_name(struct crew__lane *lane, uint32_t *word);

/* Final, or as it was. */
void crew__undo_commit(struct crew__lane *lane);
void crew__undo_roll_back(struct crew__lane *lane);

/* The same at a release: commit if that lock is named. Then, once the word is released: it is named no more. */
void crew__undo_end(struct crew__lane *lane, const uint32_t *word);
void crew__undo_forget(struct crew__lane *lane, const uint32_t *word);

/* In a sweep: free a word that names the dead; a lock that is not repaired stays so (sweep.c). */
void crew__word_free_as_is(uint32_t *word, uint32_t dead);

/* First step of a sweep: old bytes back, then the named locks free, and whole. Whether there were any bytes. */
bool crew__undo_sweep(struct crew__lane *dead, uint32_t id);

#endif
