/* message.c - 8 bytes from one process to another: one way, and there and back */
#include "bench.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TIMES = 20000, TRIPS = 1000 };

/* What the other side needs to know, in shared memory. */
struct shared {
	struct crew_queue queue;
	struct crew_pipe pipe;
};

static struct crew_process *start(crew_process_fn *function, struct shared *shared)
{
	struct crew_process *process;
	must(crew_process_start(&process, &(struct crew_process_options){
		.function = function, .argument = &shared, .argument_size = sizeof shared }));
	return process;
}

static void end(struct crew_process *process)
{
	struct crew_status status;
	must(crew_process_join(process, CREW_FOREVER, &status));
	must(status.state == CREW_EXITED && status.code == 0 ? 0 : -EREMOTEIO);
	must(crew_process_close(process));
}

static int get_all(void *argument, size_t size)
{
	struct shared *shared = *(struct shared **)argument;
	(void)size;
	uint64_t message, sum = 0;
	for (unsigned i = 0; i < TIMES; i++) {
		if (crew_queue_get(&shared->queue, &message, sizeof message, NULL, CREW_FOREVER) != 0)
			return 1;
		sum += message;
	}
	return sum != (uint64_t)TIMES * (TIMES - 1) / 2;
}

static double crew_one_way(void)
{
	struct shared *shared;
	must(crew_alloc_zeroed(sizeof *shared, (void **)&shared));
	struct crew_process *process = start(get_all, shared);
	crew_time from = crew_now();
	for (uint64_t i = 0; i < TIMES; i++)
		must(crew_queue_put(&shared->queue, &i, sizeof i, CREW_FOREVER));
	end(process);
	double seconds = per_one(from, TIMES);
	crew_queue_fini(&shared->queue);
	crew_free(shared);
	return seconds;
}

static int send_back(void *argument, size_t size)
{
	struct shared *shared = *(struct shared **)argument;
	(void)size;
	uint64_t message;
	for (unsigned i = 0; i < TRIPS; i++)
		if (crew_pipe_receive(&shared->pipe, CREW_END_B, &message, sizeof message, NULL, CREW_FOREVER) != 0
				|| crew_pipe_send(&shared->pipe, CREW_END_B, &message, sizeof message, CREW_FOREVER) != 0)
			return 1;
	return 0;
}

static double crew_there_and_back(void)
{
	struct shared *shared;
	must(crew_alloc_zeroed(sizeof *shared, (void **)&shared));
	struct crew_process *process = start(send_back, shared);
	crew_time from = crew_now();
	for (uint64_t i = 0, message; i < TRIPS; i++) {
		must(crew_pipe_send(&shared->pipe, CREW_END_A, &i, sizeof i, CREW_FOREVER));
		must(crew_pipe_receive(&shared->pipe, CREW_END_A, &message, sizeof message, NULL, CREW_FOREVER));
		must(message == i ? 0 : -EBADMSG);
	}
	double seconds = per_one(from, TRIPS);
	end(process);
	crew_pipe_fini(&shared->pipe);
	crew_free(shared);
	return seconds;
}

/* The rival: pipe(2) and fork. */
static void plain(int fd, uint64_t *message, bool send)
{
	ssize_t size = send ? write(fd, message, sizeof *message) : read(fd, message, sizeof *message);
	if (size != sizeof *message)
		must(-EIO);
}

static double plain_one_way(void)
{
	int ends[2], status;
	must(pipe(ends) < 0 ? -errno : 0);
	pid_t child = fork();
	if (child == 0) {
		for (uint64_t i = 0, message; i < TIMES; i++)
			plain(ends[0], &message, false);
		_exit(0);
	}
	crew_time from = crew_now();
	for (uint64_t i = 0; i < TIMES; i++)
		plain(ends[1], &i, true);
	must(waitpid(child, &status, 0) == child && status == 0 ? 0 : -EREMOTEIO);
	double seconds = per_one(from, TIMES);
	close(ends[0]);
	close(ends[1]);
	return seconds;
}

static double plain_there_and_back(void)
{
	int there[2], back[2], status;
	must(pipe(there) < 0 || pipe(back) < 0 ? -errno : 0);
	pid_t child = fork();
	if (child == 0) {
		for (uint64_t i = 0, message; i < TRIPS; i++) {
			plain(there[0], &message, false);
			plain(back[1], &message, true);
		}
		_exit(0);
	}
	crew_time from = crew_now();
	for (uint64_t i = 0; i < TRIPS; i++) {
		uint64_t message = i;
		plain(there[1], &message, true);
		plain(back[0], &message, false);
	}
	double seconds = per_one(from, TRIPS);
	must(waitpid(child, &status, 0) == child && status == 0 ? 0 : -EREMOTEIO);
	for (unsigned i = 0; i < 2; i++) {
		close(there[i]);
		close(back[i]);
	}
	return seconds;
}

const struct measure bench_message[] = {
	{ "message: 8 B, queue, one way", crew_one_way, { { "pipe(2)", plain_one_way, NULL, NULL } } },
	{ "message: 8 B, pipe, there and back", crew_there_and_back, { { "pipe(2)", plain_there_and_back, NULL, NULL } } },
	{ 0 }
};
