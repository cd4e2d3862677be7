/*
 * crew/error.h - results: their codes, names and texts, from one list
 *
 * Every fallible call returns an int:
 *
 *     0          done
 *     negative   not done; a negative errno to pass on
 *     positive   done, under a documented condition that the caller must look at
 *
 * errno itself is never the result.
 */
#ifndef CREW_ERROR_H
#define CREW_ERROR_H

#include <crew/base.h>
#include <errno.h>

CREW_BEGIN

/* Positive conditions. */
enum {
	CREW_OWNER_DIED = 1, /* the lock is held; its last owner died holding it */
	CREW_END_OF_DATA = 2 /* nothing more will come: the other end is gone, or the stream is drained */
};

/* Every code that crew itself returns, with crew's meaning. X(code, name, text) */
#define CREW_ERROR_MAP(X) \
	X(0, "OK", "done") \
	X(CREW_OWNER_DIED, "CREW_OWNER_DIED", "held, but the last owner died holding it; repair the data") \
	X(CREW_END_OF_DATA, "CREW_END_OF_DATA", "nothing more will come") \
	X(-EADDRINUSE, "EADDRINUSE", "something else is where the region must be in this process") \
	X(-EAGAIN, "EAGAIN", "a limit on processes, lanes or descriptors is reached; try again later") \
	X(-EALREADY, "EALREADY", "crew_init was called before in this process") \
	X(-EBADF, "EBADF", "not an open descriptor") \
	X(-EBADMSG, "EBADMSG", "not a region of crew, or a damaged one: unlink it") \
	X(-EBUSY, "EBUSY", "in use: wait for it or stop it first") \
	X(-ECANCELED, "ECANCELED", "cancelled, or the barrier is broken") \
	X(-EDEADLK, "EDEADLK", "the caller would wait for itself: it holds it already, or those who do wait for the caller") \
	X(-EEXIST, "EEXIST", "something has that key or name already") \
	X(-EINVAL, "EINVAL", "an argument or option is out of range") \
	X(-EMFILE, "EMFILE", "too many open descriptors; raise 'ulimit -n'") \
	X(-EMSGSIZE, "EMSGSIZE", "the message does not fit; it stays where it is") \
	X(-ENOENT, "ENOENT", "no such file, program or region") \
	X(-ENOLCK, "ENOLCK", "this thread holds as many locks and permits as crew can record") \
	X(-ENOMEM, "ENOMEM", "out of memory, or beyond crew's memory cap") \
	X(-ENOSPC, "ENOSPC", "no space left") \
	X(-ENOSYS, "ENOSYS", "this kernel lacks what is needed") \
	X(-ENOTCONN, "ENOTCONN", "not a member of a family: call crew_init() first thing in main") \
	X(-EOPNOTSUPP, "EOPNOTSUPP", "not from a thread made by a bare clone(2): its end would not be noticed") \
	X(-EOWNERDEAD, "EOWNERDEAD", "every attempt ended with the death of its worker") \
	X(-EPERM, "EPERM", "not the holder, or not the owner") \
	X(-EPIPE, "EPIPE", "closed: nobody will ever take it") \
	X(-EPROTO, "EPROTO", "made by another version of crew: build both sides anew, or unlink it") \
	X(-EREMOTEIO, "EREMOTEIO", "the task returned an error") \
	X(-ESTALE, "ESTALE", "it has changed since that version was read") \
	X(-ESRCH, "ESRCH", "no such process or ticket") \
	X(-ETIMEDOUT, "ETIMEDOUT", "the deadline passed") \
	X(-EXDEV, "EXDEV", "the region is of another pid namespace")

/* One sentence for a result of any crew call; for other errnos what strerror(3) says. Never NULL. */
CREW_API const char *crew_strerror(int result);

/* The name of a result, as in "ETIMEDOUT"; "UNKNOWN" for what is none. Never NULL. */
CREW_API const char *crew_errname(int result);

CREW_END
#endif
