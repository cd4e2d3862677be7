/* futex.c - sleep on a word, wake its sleepers; words are shared between processes */
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "base/probe.h"
#include "base/sys.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449 /* the same number on every architecture */
#endif

static struct timespec to_timespec(crew_time t)
{
	return (struct timespec){ t / CREW_SECOND, t % CREW_SECOND };
}

static int slept(long result)
{
	return result < 0 && errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

int crew__futex_wait(const uint32_t *word, uint32_t expected, crew_time deadline)
{
	if (crew__fault(CREW__CALL_futex_wait))
		return 0; /* as if a signal had come: callers look again */
	if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != expected)
		return 0;
	if (deadline <= CREW_POLL)
		return -ETIMEDOUT;
	struct timespec until = to_timespec(deadline); /* FUTEX_WAIT_BITSET takes an absolute time */
	return slept(syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected,
			deadline == CREW_FOREVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY));
}

uint32_t crew__futex_wake(uint32_t *word, uint32_t count)
{
	if (crew__fault(CREW__CALL_futex_wake))
		return 0;
	long woken = syscall(SYS_futex, word, FUTEX_WAKE, count > INT_MAX ? INT_MAX : count, NULL, NULL, 0);
	return woken > 0 ? (uint32_t)woken : 0;
}

int crew__futex_wait_any(const uint32_t *const *words, const uint32_t *expected, unsigned count, crew_time deadline)
{
	struct { uint64_t value, address; uint32_t flags, reserved; } waiter[127]; /* struct futex_waitv */
	if (!crew__has(CREW__FEATURE_FUTEX_WAITV))
		return -ENOSYS;
	if (count == 0 || count > 127)
		return -EINVAL;
	for (unsigned i = 0; i < count; i++) {
		waiter[i].value = expected[i];
		waiter[i].address = (uintptr_t)words[i];
		waiter[i].flags = 2; /* FUTEX_32, shared */
		waiter[i].reserved = 0;
		if (__atomic_load_n(words[i], __ATOMIC_ACQUIRE) != expected[i])
			return 0;
	}
	if (deadline <= CREW_POLL)
		return -ETIMEDOUT;
	struct timespec until = to_timespec(deadline);
	return slept(syscall(SYS_futex_waitv, waiter, count, 0, deadline == CREW_FOREVER ? NULL : &until,
			CLOCK_MONOTONIC));
}
