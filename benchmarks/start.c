/* start.c - to start a process and wait for its end, from a small parent and from a large one */
#include "bench.h"

#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned times = 30;

static int nothing(void *argument, size_t size)
{
	(void)argument;
	(void)size;
	return 0;
}

static double crew(void)
{
	crew_time from = crew_now();
	for (unsigned i = 0; i < times; i++) {
		struct crew_process *process;
		must(crew_process_start(&process, &(struct crew_process_options){ .function = nothing }));
		must(crew_process_join(process, CREW_FOREVER, NULL));
		must(crew_process_close(process));
	}
	return per_one(from, times);
}

static double plain_fork(void)
{
	crew_time from = crew_now();
	for (unsigned i = 0; i < times; i++) {
		pid_t child = fork();
		if (child == 0)
			_exit(0);
		must(waitpid(child, NULL, 0) == child ? 0 : -ECHILD);
	}
	return per_one(from, times);
}

static double spawn(void)
{
	char name[] = "true", *const argv[] = { name, NULL };
	crew_time from = crew_now();
	for (unsigned i = 0; i < times; i++) {
		pid_t child;
		must(-posix_spawn(&child, "/bin/true", NULL, NULL, argv, environ));
		must(waitpid(child, NULL, 0) == child ? 0 : -ECHILD);
	}
	return per_one(from, times);
}

/* The same, called by a process that has this much memory in use. */
static double when_large(double (*measure)(void))
{
	const size_t size = 100u << 20;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(memory == MAP_FAILED ? -ENOMEM : 0);
	madvise(memory, size, MADV_NOHUGEPAGE); /* page by page, as memory fills in real programs */
	memset(memory, 1, size);
	times = 5;
	double seconds = measure();
	times = 30;
	munmap(memory, size);
	return seconds;
}

static double crew_large(void) { return when_large(crew); }
static double fork_large(void) { return when_large(plain_fork); }
static double spawn_large(void) { return when_large(spawn); }

const struct measure bench_start[] = {
	{ "start: a process, to its end", crew, {
		{ "fork", plain_fork, NULL, NULL }, { "posix_spawn of /bin/true", spawn, NULL, NULL } } },
	{ "start: from a parent of 100 MiB", crew_large, {
		{ "fork", fork_large, NULL, NULL }, { "posix_spawn of /bin/true", spawn_large, NULL, NULL } } },
	{ 0 }
};
