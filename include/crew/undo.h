/*
 * crew/undo.h - stores under a lock that happen together or not at all, whoever dies
 *
 * Save what you are about to change; the release makes all of it final:
 *
 *     r = crew_lock_acquire(&from->lock, CREW_FOREVER);
 *     r = crew_lock_acquire(&to->lock, CREW_FOREVER);
 *     r = crew_save(&from->lock, &from->cents, sizeof from->cents);
 *     r = crew_save(&to->lock, &to->cents, sizeof to->cents);
 *     from->cents -= 100;
 *     to->cents += 100;                     // killed here: both balances are as before
 *     crew_lock_release(&to->lock);         // both are final from here on
 *     crew_lock_release(&from->lock);
 *
 * Sections. The first save begins one. It ends with the first release of a lock that one of its saves named
 * (crew_condition_wait is a release, too), with crew_save_commit, or with crew_save_abandon. Locks that no save
 * names are no part of it. So name for each store the lock that guards the place, and release none
 * of these locks before all stores are done: what one section changes under several locks is then one change.
 *
 * Death. If the thread ends inside, in any way, every saved place gets back its old bytes before any of the locks is
 * free, and the next acquire of those that were named returns 0, not CREW_OWNER_DIED: nobody sees half a section, and
 * there is nothing to repair. That is true only if every store under a named lock, from acquire to release, is saved
 * first. A lock that was not repaired when it was named is not repaired again.
 *
 * What is undone are bytes of shared memory: no call on a queue, no message, no allocation. Do not free
 * saved memory, or save a lock, inside the section.
 *
 * Memory. A thread's first save allocates 4 KiB, which stay its own until it ends, and grow with the largest section.
 */
#ifndef CREW_UNDO_H
#define CREW_UNDO_H

#include <crew/lock.h>
#include <crew/rwlock.h>

CREW_BEGIN

#define CREW_SAVE_MOST (UINT64_C(64) << 20) /* bytes of saved places in one section, and 16 more for each save */

/*
 * Keep what stands at `where` now, under that lock, which the calling thread holds. The same place may be saved
 * again: the oldest bytes count. With size 0 the lock is named and nothing saved. An error changes nothing.
 *
 * Errors  -EPERM     the lock is not held by this thread (an rwlock: not for writing).
 *         -EINVAL    `where` is not in shared memory, or the lock itself lies there.
 *         -ENOSPC    the section would be larger than CREW_SAVE_MOST.
 *         -ENOMEM  -ENOTCONN  -EAGAIN
 */
CREW_API CREW_CHECKED int crew_save(struct crew_lock *lock, void *where, size_t size);
CREW_API CREW_CHECKED int crew_rwlock_save(struct crew_rwlock *lock, void *where, size_t size);

/* Make all stores so far final, or put all old bytes back. The locks stay held; the next save begins another section. */
CREW_API void crew_save_commit(void);
CREW_API void crew_save_abandon(void);

CREW_END
#endif
