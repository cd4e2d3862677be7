/* probe.c - which kernel features are there; found out once, each can be switched off for tests */
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/probe.h"
#include "base/sys.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

static bool has_memfd(void)
{
	int fd = memfd_create("crew-probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool has_pidfd(void)
{
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool has_robust(void)
{
	void *head = NULL;
	size_t length;
	return syscall(SYS_get_robust_list, 0, &head, &length) == 0 && head;
}

static bool has_proc(void)
{
	return access("/proc/self/fd", X_OK) == 0;
}

static bool has_futex_waitv(void)
{
	return syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0) < 0 && errno != ENOSYS;
}

static bool has_close_range(void)
{
	return close_range(~0u, ~0u, 0) == 0;
}

static bool has_punch_hole(void)
{
	int fd = memfd_create("crew-probe", MFD_CLOEXEC);
	bool ok = fd >= 0 && ftruncate(fd, 4096) == 0 &&
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;
	if (fd >= 0)
		close(fd);
	return ok;
}

static const struct {
	const char *name, *purpose;
	bool required;
	bool (*test)(void);
} table[CREW__FEATURE_COUNT] = {
	[CREW__FEATURE_MEMFD] = { "memfd", "the family's memory, without a name in the file system", true, has_memfd },
	[CREW__FEATURE_PIDFD] = { "pidfd", "watching and signalling processes without pid reuse", true, has_pidfd },
	[CREW__FEATURE_ROBUST] = { "robust", "the kernel marks the locks of the dead", true, has_robust },
	[CREW__FEATURE_PROC] = { "proc", "lifelines and process trees; without it groups only", false, has_proc },
	[CREW__FEATURE_FUTEX_WAITV] = { "futex_waitv", "waiting for several objects; without it in steps of 1 ms", false, has_futex_waitv },
	[CREW__FEATURE_CLOSE_RANGE] = { "close_range", "closing inherited descriptors; without it one by one", false, has_close_range },
	[CREW__FEATURE_PUNCH_HOLE] = { "punch_hole", "giving freed memory back; without it kept for reuse", false, has_punch_hole },
};

static struct { bool present, disabled; } found[CREW__FEATURE_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Whether `name` is one of the words of a comma-separated list. */
static bool listed(const char *list, const char *name)
{
	size_t length = strlen(name);
	for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
		if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0'))
			return true;
	return false;
}

static void probe(void)
{
	const char *list = getenv("CREW_DISABLE");
	for (int i = 0; i < CREW__FEATURE_COUNT; i++) {
		found[i].present = table[i].test();
		found[i].disabled = list && listed(list, table[i].name);
	}
}

bool crew__has(enum crew__feature feature)
{
	pthread_once(&once, probe);
	return found[feature].present && !found[feature].disabled;
}

int crew_feature(unsigned index, struct crew_feature *ret)
{
	if (index >= CREW__FEATURE_COUNT)
		return -ENOENT;
	pthread_once(&once, probe);
	*ret = (struct crew_feature){ table[index].name, table[index].purpose, found[index].present,
		table[index].required, found[index].disabled };
	return 0;
}
