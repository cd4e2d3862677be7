/*
 * crew/rwlock.h - many readers or one writer
 *
 * All zero bytes is a valid, free lock. A reader announces itself in its own lane and
 * writes no shared line, so readers do not slow each other down; a writer
 * looks through all lanes. Writers go first: a reader that comes while a writer waits
 * waits too. A thread that holds it for reading may take it for reading again.
 *
 * Death. A dead reader holds nothing. After a dead writer the next holder, reader or
 * writer, gets CREW_OWNER_DIED; only a writer may repair and say so.
 */
#ifndef CREW_RWLOCK_H
#define CREW_RWLOCK_H

#include <crew/lock.h>

CREW_BEGIN

struct crew_rwlock {
	struct crew_lock writers_; /* writers take turns by it; carries "not repaired" */
	uint32_t writer_;          /* the writer's lane while it waits for readers or writes; 0: none */
	uint32_t spare_[3];
};
static_assert(sizeof(struct crew_rwlock) == 32, "shared-memory format");

/*
 * Returns  0                held.
 *          CREW_OWNER_DIED  held; a writer died holding it and nobody has repaired it.
 * Errors   -ETIMEDOUT  -EDEADLK (this thread writes, or wants to write what it reads)
 *          -ENOLCK  -ENOTCONN  -EAGAIN
 */
CREW_API CREW_CHECKED int crew_rwlock_read(struct crew_rwlock *lock, crew_time deadline);
CREW_API CREW_CHECKED int crew_rwlock_write(struct crew_rwlock *lock, crew_time deadline);

/* Give back what the calling thread holds, for reading or writing. Aborts if it holds nothing. */
CREW_API void crew_rwlock_release(struct crew_rwlock *lock);

/* Declare the data whole again. Only a writer may. */
CREW_API void crew_rwlock_repaired(struct crew_rwlock *lock);

CREW_END
#endif
