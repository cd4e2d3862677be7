/* stream.c - 8 bytes after 8 bytes from one process to another, as a stream */
#include "bench.h"

#include <err.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TIMES = 2000000, PLAIN_TIMES = 20000 };

static void check(uint64_t sum, uint64_t times)
{
	must(sum == times * (times - 1) / 2 ? 0 : -EBADMSG);
}

static void write_each(void *tube, unsigned number)
{
	(void)number;
	for (uint64_t i = 0; i < TIMES; i++)
		must(crew_tube_write(tube, &i, sizeof i, NULL, CREW_FOREVER));
}

static void read_each(void *tube, unsigned number)
{
	uint64_t sum = 0;
	(void)number;
	for (uint64_t i = 0, x; i < TIMES; i++, sum += x)
		must(crew_tube_read_all(tube, &x, sizeof x, NULL, CREW_FOREVER));
	check(sum, TIMES);
}

static void write_in_place(void *tube, unsigned number)
{
	(void)number;
	for (uint64_t i = 0; i < TIMES;) {
		void *room;
		size_t size;
		must(crew_tube_reserve(tube, &room, &size, CREW_FOREVER));
		uint64_t *x = room, n = size / 8 < TIMES - i ? size / 8 : TIMES - i;
		if (n > 1024)
			n = 1024;
		for (uint64_t j = 0; j < n; j++)
			x[j] = i++;
		must(crew_tube_commit(tube, n * 8));
	}
}

static void read_in_place(void *tube, unsigned number)
{
	uint64_t sum = 0;
	(void)number;
	for (uint64_t i = 0; i < TIMES;) {
		const void *data;
		size_t size;
		must(crew_tube_peek(tube, &data, &size, CREW_FOREVER));
		const uint64_t *x = data;
		for (uint64_t j = 0; j < size / 8; j++, i++)
			sum += x[j];
		must(crew_tube_consume(tube, size / 8 * 8));
	}
	check(sum, TIMES);
}

static double crew(void (*writer)(void *, unsigned), void (*reader)(void *, unsigned))
{
	struct crew_tube *tube;
	must(crew_array(1, sizeof *tube, (void **)&tube));
	double seconds = bench_two(writer, reader, tube) / TIMES;
	crew_tube_fini(tube);
	crew_free(tube);
	return seconds;
}

static double crew_each(void)
{
	return crew(write_each, read_each);
}

static double crew_in_place(void)
{
	return crew(write_in_place, read_in_place);
}

/* The rivals: descriptors and fork. */
static double descriptors(const int ends[2])
{
	int status;
	pid_t child = fork();
	if (child == 0) {
		uint64_t sum = 0;
		bench_pin(1);
		for (uint64_t i = 0, x; i < PLAIN_TIMES; i++, sum += x)
			if (read(ends[0], &x, sizeof x) != sizeof x)
				_exit(1);
		_exit(sum != (uint64_t)PLAIN_TIMES * (PLAIN_TIMES - 1) / 2);
	}
	crew_time from = crew_now();
	for (uint64_t i = 0; i < PLAIN_TIMES; i++)
		if (write(ends[1], &i, sizeof i) != sizeof i)
			err(1, "write");
	must(waitpid(child, &status, 0) == child && status == 0 ? 0 : -EREMOTEIO);
	double seconds = per_one(from, PLAIN_TIMES);
	close(ends[0]);
	close(ends[1]);
	return seconds;
}

static double by_pipe(void)
{
	int ends[2];
	must(pipe(ends) < 0 ? -errno : 0);
	return descriptors(ends);
}

static double by_socketpair(void)
{
	int ends[2];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0 ? -errno : 0);
	return descriptors(ends);
}

static double by_python(void)
{
	return bench_python("stream.py");
}

const struct measure bench_stream[] = {
	{ "stream: 8 B, a call for each", crew_each, {
		{ "pipe(2)", by_pipe, .most = 5. / 234 }, { "socketpair", by_socketpair },
		{ "Python multiprocessing.Pipe", by_python, "python3", "python3" } }, .two = true },
	{ "stream: 8 B, in place", crew_in_place, { { "pipe(2)", by_pipe, .most = 5. / 234 } }, .two = true },
	{ 0 }
};
