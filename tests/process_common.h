/* process_common.h - what the suites about processes share */
#ifndef PROCESS_COMMON_H
#define PROCESS_COMMON_H

#include "harness.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <crew/crew.h>
#include "base/sys.h"
#include "region/region.h"

#define options(...) &(struct crew_process_options){ __VA_ARGS__ }

/* Functions for children. */

static inline int give_back(void *argument, size_t size)
{
	return size == sizeof(int) ? *(int *)argument : 99;
}

static inline int sleep_for_ever(void *argument, size_t size)
{
	(void)argument, (void)size;
	for (;;)
		pause();
	return 0;
}

/* Helpers of the test itself. */

static inline struct crew_process *start(const struct crew_process_options *given)
{
	struct crew_process *process;
	must(crew_process_start(&process, given));
	return process;
}

static inline struct crew_status end(struct crew_process *process)
{
	struct crew_status status;
	must(crew_process_join(process, crew_after(10 * CREW_SECOND), &status));
	must(crew_process_close(process));
	return status;
}

static inline void must_exit(int code, struct crew_process *process)
{
	struct crew_status status = end(process);
	ck_assert_msg(status.state == CREW_EXITED && status.code == code, "state %d, code %d, signal %d; not exit code %d",
		status.state, status.code, status.signal, code);
}

static inline void must_be_killed(int signal, struct crew_process *process)
{
	struct crew_status status = end(process);
	ck_assert_msg(status.state == CREW_KILLED && status.signal == signal, "state %d, code %d, signal %d; not signal %d",
		status.state, status.code, status.signal, signal);
}

/* Gone, or a zombie that whoever has it now will reap. */
static inline bool is_gone(pid_t pid)
{
	char path[40], text[256] = "";
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	const char *after = n > 0 ? strrchr(text, ')') : NULL;
	return !after || after[2] == 'Z' || after[2] == 'X';
}

static inline pid_t helper(const char *name)
{
	struct crew_member members[16];
	int count = crew_process_list(members, 16);
	for (int i = 0; i < count && i < 16; i++)
		if (members[i].helper && strcmp(members[i].name, name) == 0)
			return members[i].pid;
	return 0;
}

static inline unsigned slots_in_use(void)
{
	unsigned count = 0;
	struct crew__slot *slot;
	for (uint32_t number = 1; (slot = crew__slot_at(number)); number++)
		count += __atomic_load_n(&slot->parent, __ATOMIC_ACQUIRE) != 0;
	return count;
}
#define HOUSEHOLD 3u /* founder, keeper, zygote */

/* What a program writes to its stdout. */
static inline void read_output(int fd, char *text, size_t size)
{
	size_t used = 0;
	ssize_t n;
	while (used + 1 < size && (n = read(fd, text + used, size - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = '\0';
	close(fd);
}

/* Every second run of a test. */
#define METHOD .method = index ? CREW_FORK : CREW_ZYGOTE

#endif
