/*
 * crew/deadlock.h - who waits for whom, and threads that wait for each other in a circle
 *
 *     crew_name(bank->account, sizeof *bank->account, bank->accounts, "account");
 *     ...
 *     if (crew_lock_acquire(&lock, crew_after(CREW_SECOND)) == -ETIMEDOUT)
 *         crew_deadlock_report(stderr);
 *
 *     deadlock: 2 threads wait for each other
 *       process 4711 clerk, thread 4711, waits for lock account[3], held by thread 4712
 *       process 4712 clerk, thread 4712, waits for lock account[8], held by thread 4711
 *
 * A lock made with CREW_LOCK_CHECK (crew/lock.h) looks by itself: the acquire that closes a circle returns -EDEADLK
 * instead of waiting, in one of its threads only.
 *
 * What is seen: threads asleep in lock and rwlock calls, for the holder; writers, for all readers; semaphores, for all
 * who hold permits. Threads and processes alike. Who waits for a message, an event, a condition or a child waits for
 * nobody in particular and is in no circle.
 *
 * Nothing is stopped meanwhile. What is called a circle has been one: all of its waits were there at one moment. Waits
 * with a deadline count. A process stopped by SIGSTOP is no deadlock; the report says that it is stopped.
 */
#ifndef CREW_DEADLOCK_H
#define CREW_DEADLOCK_H

#include <stdio.h>
#include <sys/types.h>
#include <crew/base.h>

CREW_BEGIN

/* A thread that waits, and one of those that it waits for. */
struct crew_waiting {
	pid_t pid, tid;
	pid_t holder_pid, holder_tid;
	char process[32], holder_process[32]; /* names given at their start, or "" */
	const void *object;                   /* the crew_lock, crew_rwlock or crew_semaphore */
	char object_name[48];                 /* as in "account[3]", or the address */
	const char *kind;                     /* "lock", "rwlock", "semaphore" */
	bool holder_stopped;                  /* by SIGSTOP or a debugger */
	unsigned circle;                      /* 0; or the number, from 1 on, of the deadlock that it is in */
};

/* Fill in up to `count` of them. Returns how many there are, which may be more. Errors: -ENOTCONN */
CREW_API CREW_CHECKED int crew_waiting_list(struct crew_waiting *ret, unsigned count);

/* The same for people. Returns the number of deadlocks. Errors: -EIO -ENOMEM -ENOTCONN */
CREW_API int crew_deadlock_report(FILE *stream);

/*
 * Name objects in reports: `count` of them, `each` bytes apart, from `first` on. A name is copied, up to 31 bytes; NULL
 * takes the name away, as before the memory is freed.
 *
 * Errors  -EINVAL  not in shared memory.   -ENOSPC  64 names are given.   -ENOTCONN  -EAGAIN
 */
CREW_API CREW_CHECKED int crew_name(const void *first, size_t each, size_t count, const char *name);

CREW_END
#endif
