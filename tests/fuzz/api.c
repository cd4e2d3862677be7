/*
 * api.c - bytes become two programs over all primitives (../storm/program.h) and a moment at which one of them is killed
 *
 *     byte 0     how many operations the victim does before it may be killed
 *     byte 1     how long after that it is killed, in units of 4 µs
 *     byte 2     bit 0: the survivor works at the same time; bit 1: the victim is stopped for a while first
 *     the rest   one half for the victim, one for the survivor: a byte a decision
 *
 * Then both are gone, and everything is audited. Built and run by check.sh with clang's libFuzzer.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "storm/program.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct job { struct world *world; unsigned thread; uint32_t size; uint8_t bytes[256]; };

static int work(void *argument, size_t size)
{
	struct job *job = argument;
	(void)size;
	world = job->world;
	program_run(&(struct program){ .thread = job->thread, .bytes = job->bytes, .end = job->bytes + job->size, .may_start = true }, 64);
	return 0;
}

static struct crew_process *start(unsigned thread, const uint8_t *bytes, size_t size)
{
	struct job job = { .world = world, .thread = thread, .size = (uint32_t)(size < sizeof job.bytes ? size : sizeof job.bytes) };
	struct crew_process *process;
	for (uint32_t i = 0; i < job.size; i++)
		job.bytes[i] = bytes[i];
	int r = crew_process_start(&process, &(struct crew_process_options){ .function = work, .argument = &job,
		.argument_size = sizeof job });
	if (r < 0) {
		fprintf(stderr, "start: %s\n", crew_errname(r));
		abort();
	}
	return process;
}

static void end(struct crew_process *process, unsigned thread)
{
	struct crew_status status;
	int r = crew_process_join(process, crew_after(20 * CREW_SECOND), &status);
	if (r < 0 || (status.state == CREW_EXITED && status.code) || (status.state == CREW_KILLED && status.signal != SIGKILL) ||
			crew_process_close(process) < 0) {
		fprintf(stderr, "process %u in operation %u: %s, code %d, signal %d\n", thread, notes->doing[thread], crew_errname(r),
			status.code, status.signal);
		abort();
	}
	note_end(thread);
	note_end(thread + THREADS / 2);
}

static void signal_it(struct crew_process *process, int signal_number)
{
	int r = crew_process_signal(process, signal_number);
	if (r < 0 && r != -ESRCH)
		abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	notes_create();
	if (crew_init(&(struct crew_init_options){ .threads_are_safe = true }) < 0)
		abort();
	world_create();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 5)
		return 0;
	size_t half = (size - 3) / 2;
	uint64_t before = 0;
	for (int i = 0; i < OPERATIONS; i++)
		before += notes->total[i];
	struct crew_process *victim = start(0, data + 3, half), *survivor = NULL;
	if (data[2] & 1)
		survivor = start(1, data + 3 + half, size - 3 - half);
	for (unsigned turn = 0; turn < 1000; turn++) {
		uint64_t now = 0;
		for (int i = 0; i < OPERATIONS; i++)
			now += notes->total[i];
		struct crew_status status;
		crew_process_status(victim, &status);
		if (now - before >= data[0] % 32 || status.state != CREW_RUNNING)
			break;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ 0, 20000 }, NULL);
	}
	for (crew_time until = crew_after(data[1] * 4 * CREW_MICROSECOND); crew_now() < until;)
		;
	if (data[2] & 2) {
		signal_it(victim, SIGSTOP);
		clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ 0, 200000 }, NULL);
	}
	signal_it(victim, SIGKILL);
	end(victim, 0);
	if (!survivor)
		survivor = start(1, data + 3 + half, size - 3 - half);
	end(survivor, 1);
	if (!audit()) {
		fprintf(stderr, "%s\n", notes->wrong);
		abort();
	}
	return 0;
}
