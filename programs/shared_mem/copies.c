/* copies.c - the same bytes by pipe(2), by crew_pipe, and as a pointer */
#include "shared_mem.h"
#include "random.h"
#include "stats.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum way { BY_PIPE, BY_CREW_PIPE, BY_POINTER };

struct parcel { /* the reader's argument */
	enum way way;
	size_t words;
	uint64_t times;
	struct crew_pipe *pipe; /* parcels or pointers one way, sums the other way */
};

static uint64_t sum_of(const uint64_t *data, size_t words)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < words; i++)
		sum += data[i];
	return sum;
}

/* All of it, through a descriptor that takes and gives as much as it likes. */
static bool pass(ssize_t (*call)(int fd, void *data, size_t size), int fd, void *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = call(fd, (char *)data + done, size - done);
		if (n == 0 || (n < 0 && errno != EINTR))
			return false;
		done += n > 0 ? (size_t)n : 0;
	}
	return true;
}

static ssize_t write_some(int fd, void *data, size_t size)
{
	return write(fd, data, size);
}

/* Takes a parcel, adds it up, answers with the sum. Descriptor 3 is the pipe's end. */
static int reader(void *argument, size_t size)
{
	(void)size;
	const struct parcel *parcel = argument;
	size_t bytes = parcel->words * sizeof(uint64_t);
	uint64_t *buffer = malloc(bytes), *data = buffer;
	if (!buffer)
		return 1;
	for (uint64_t i = 0; i < parcel->times; i++) {
		int r = 0;
		if (parcel->way == BY_PIPE)
			r = pass(read, 3, buffer, bytes) ? 0 : -EIO;
		else if (parcel->way == BY_CREW_PIPE)
			r = crew_pipe_receive(parcel->pipe, CREW_END_B, buffer, bytes, NULL, CREW_FOREVER);
		else
			r = crew_pipe_receive(parcel->pipe, CREW_END_B, &data, sizeof data, NULL, CREW_FOREVER);
		if (r != 0)
			return 1;
		uint64_t sum = sum_of(data, parcel->words);
		if (crew_pipe_send(parcel->pipe, CREW_END_B, &sum, sizeof sum, CREW_FOREVER) != 0)
			return 1;
	}
	return 0;
}

/* Send the same array again and again, each time with another first word, so that a stale one would be noticed. */
static void deliver(const char *name, enum way way, uint64_t *data, size_t bytes, uint64_t times)
{
	struct parcel parcel = { .way = way, .words = bytes / sizeof *data, .times = times };
	parcel.pipe = shared(1, sizeof *parcel.pipe);
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0)
		cli_lack("pipe2: %s", strerror(errno));
	struct crew_process *process;
	must("crew_process_start", crew_process_start(&process, &(struct crew_process_options){ .function = reader,
		.argument = &parcel, .argument_size = sizeof parcel, .name = "reader", .descriptors = ends,
		.descriptor_count = 1 }));
	close(ends[0]);
	must("crew_pipe_give", crew_pipe_give(parcel.pipe, CREW_END_B, process));

	uint64_t right = 0;
	data[0] = 0;
	uint64_t rest = sum_of(data, parcel.words);
	double begin = stats_clock();
	for (uint64_t i = 0; i < times; i++) {
		data[0] = i;
		int r = 0;
		if (way == BY_PIPE)
			r = pass(write_some, ends[1], data, bytes) ? 0 : -EIO;
		else if (way == BY_CREW_PIPE)
			r = crew_pipe_send(parcel.pipe, CREW_END_A, data, bytes, crew_after(PATIENCE));
		else
			r = crew_pipe_send(parcel.pipe, CREW_END_A, &data, sizeof data, crew_after(PATIENCE));
		uint64_t sum = 0;
		if (r == 0)
			r = crew_pipe_receive(parcel.pipe, CREW_END_A, &sum, sizeof sum, NULL, crew_after(PATIENCE));
		if (r != 0)
			break;
		right += sum == rest + i;
	}
	double seconds = stats_clock() - begin;
	close(ends[1]);
	must("crew_process_stop", crew_process_stop(process, CREW_SECOND, NULL));
	must("crew_process_close", crew_process_close(process));
	crew_pipe_fini(parcel.pipe);
	crew_free(parcel.pipe);
	struct json_t *r = row(name, bytes * times, seconds);
	report_uint(r, "size", bytes);
	report_check(report, right == times, "%s: %" PRIu64 " of %" PRIu64 " arrays arrived", name, right, times);
}

void show_copies(size_t total)
{
	report_say(report, "Copies: an array goes to another process, which adds it up and answers\n");
	for (size_t bytes = 64 * 1024; bytes <= 16 * 1024 * 1024; bytes *= 16) {
		uint64_t *data = shared(bytes / sizeof *data, sizeof *data), times = total / bytes + 2;
		for (size_t i = 0; i < bytes / sizeof *data; i++)
			data[i] = rng_mix(i);
		deliver("copy, pipe(2)", BY_PIPE, data, bytes, times);
		deliver("copy, crew_pipe", BY_CREW_PIPE, data, bytes, times);
		deliver("share, pointer", BY_POINTER, data, bytes, times);
		crew_free(data);
	}
	report_table(report);
	report_say(report, "\n");
}
