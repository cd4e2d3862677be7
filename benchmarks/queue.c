/* queue.c - a queue between two processes on two CPUs: small messages, many at once, 1 KiB, 1 MiB in place */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SMALL = 300000, KIB = 50000, LARGE = 2000, PLACES = 1024, BATCH = 16 };

/* For rivals: a ring for one writer and one reader, each with its own idea of the other's index. No kill is survived. */
struct plain_ring {
	uint64_t tail, seen_head, pad0[14];
	uint64_t head, seen_tail, pad1[14];
	uint64_t cell[PLACES];
};

static struct objects {
	struct crew_queue queue;
	struct plain_ring ring;
	int pipe[2];
	char bytes[1 << 20];
} *all;

static struct objects *objects(void)
{
	if (!all)
		all = bench_shared(sizeof *all);
	return all;
}

static double two(void (*here)(void *, unsigned), void (*there)(void *, unsigned), unsigned n)
{
	double seconds = bench_two(here, there, objects()) / n;
	crew_queue_fini(&all->queue);
	memset(&all->ring, 0, sizeof all->ring);
	return seconds;
}

static void check_sum(uint64_t sum, uint64_t n)
{
	must(sum == n * (n - 1) / 2 ? 0 : -EBADMSG);
}

static void put_small(void *shared, unsigned number)
{
	struct objects *o = shared;
	(void)number;
	for (uint64_t i = 0; i < SMALL; i++)
		must(crew_queue_put(&o->queue, &i, sizeof i, CREW_FOREVER));
}

static void get_small(void *shared, unsigned number)
{
	struct objects *o = shared;
	uint64_t sum = 0;
	(void)number;
	for (uint64_t i = 0, message; i < SMALL; i++) {
		must(crew_queue_get(&o->queue, &message, sizeof message, NULL, CREW_FOREVER));
		sum += message;
	}
	check_sum(sum, SMALL);
}

static double small(void) { return two(put_small, get_small, SMALL); }

static void take_small(void *shared, unsigned number)
{
	struct objects *o = shared;
	uint64_t sum = 0;
	(void)number;
	for (uint64_t i = 0; i < SMALL; i++) {
		struct crew_message m;
		must(crew_queue_take(&o->queue, &m, CREW_FOREVER));
		sum += *(const uint64_t *)m.data;
		must(crew_queue_done(&o->queue, &m));
	}
	check_sum(sum, SMALL);
}

static double small_leased(void) { return two(put_small, take_small, SMALL); }

static void put_plain(void *shared, unsigned number)
{
	struct plain_ring *r = &((struct objects *)shared)->ring;
	(void)number;
	for (uint64_t i = 0; i < SMALL; i++) {
		while (i - r->seen_head >= PLACES)
			r->seen_head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);
		r->cell[i % PLACES] = i;
		__atomic_store_n(&r->tail, i + 1, __ATOMIC_RELEASE);
	}
}

static void get_plain(void *shared, unsigned number)
{
	struct plain_ring *r = &((struct objects *)shared)->ring;
	uint64_t sum = 0;
	(void)number;
	for (uint64_t i = 0; i < SMALL; i++) {
		while (r->seen_tail == i)
			r->seen_tail = __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE);
		sum += r->cell[i % PLACES];
		__atomic_store_n(&r->head, i + 1, __ATOMIC_RELEASE);
	}
	check_sum(sum, SMALL);
}

static double plain_ring(void) { return two(put_plain, get_plain, SMALL); }

static void put_kib(void *shared, unsigned number)
{
	struct objects *o = shared;
	(void)number;
	for (unsigned i = 0; i < KIB; i++)
		must(crew_queue_put(&o->queue, o->bytes, 1024, CREW_FOREVER));
}

static void get_kib(void *shared, unsigned number)
{
	struct objects *o = shared;
	static char bytes[1024];
	(void)number;
	for (unsigned i = 0; i < KIB; i++)
		must(crew_queue_get(&o->queue, bytes, sizeof bytes, NULL, CREW_FOREVER));
}

static void put_batches(void *shared, unsigned number)
{
	struct objects *o = shared;
	uint64_t message[BATCH];
	struct iovec messages[BATCH];
	(void)number;
	for (uint64_t i = 0; i < SMALL; i += BATCH) {
		for (unsigned k = 0; k < BATCH; k++) {
			message[k] = i + k;
			messages[k] = (struct iovec){ &message[k], sizeof message[k] };
		}
		must(crew_queue_put_many(&o->queue, messages, BATCH, CREW_FOREVER));
	}
}

static void get_batches(void *shared, unsigned number)
{
	struct objects *o = shared;
	uint64_t sum = 0, message[BATCH];
	struct iovec rooms[BATCH];
	(void)number;
	for (unsigned i = 0, got; i < SMALL; i += got) {
		for (unsigned k = 0; k < BATCH; k++)
			rooms[k] = (struct iovec){ &message[k], sizeof message[k] };
		must(crew_queue_get_many(&o->queue, rooms, BATCH, &got, CREW_FOREVER));
		for (unsigned k = 0; k < got; k++)
			sum += message[k];
	}
	check_sum(sum, SMALL);
}

static double batches(void) { return two(put_batches, get_batches, SMALL); }

static double kib(void) { return two(put_kib, get_kib, KIB); }

static void lend(void *shared, unsigned number)
{
	struct objects *o = shared;
	(void)number;
	for (uint64_t i = 0; i < LARGE; i++) {
		struct crew_loan loan;
		must(crew_queue_loan(&o->queue, sizeof o->bytes, &loan));
		*(uint64_t *)loan.data = i;
		must(crew_queue_publish(&o->queue, &loan, CREW_FOREVER));
	}
}

static void borrow(void *shared, unsigned number)
{
	struct objects *o = shared;
	uint64_t sum = 0;
	(void)number;
	for (uint64_t i = 0; i < LARGE; i++) {
		struct crew_message m;
		must(crew_queue_take(&o->queue, &m, CREW_FOREVER));
		sum += *(const uint64_t *)m.data;
		must(crew_queue_done(&o->queue, &m));
	}
	check_sum(sum, LARGE);
}

static double mib(void)
{
	crew_queue_fini(&objects()->queue);
	crew_queue_init(&all->queue, 8);
	double seconds = two(lend, borrow, LARGE);
	crew_queue_fini(&all->queue);
	crew_queue_init(&all->queue, 0);
	return seconds;
}

static double copy_mib(void)
{
	static char bytes[1 << 20];
	struct objects *o = objects();
	crew_time from = crew_now();
	for (unsigned i = 0; i < 50; i++) {
		memcpy(bytes, o->bytes, sizeof bytes);
		__asm__ volatile("" :: "r"(bytes) : "memory");
	}
	return per_one(from, 50);
}

static void pipe_side(int fd, bool is_writer)
{
	for (uint64_t i = 0; i < SMALL / 10; i++)
		must((is_writer ? write(fd, &i, sizeof i) : read(fd, &i, sizeof i)) == sizeof i ? 0 : -EIO);
}

static double plain_pipe(void)
{
	int ends[2];
	must(pipe(ends) < 0 ? -errno : 0);
	pid_t child = fork();
	if (child == 0) {
		bench_pin(1);
		pipe_side(ends[0], false);
		_exit(0);
	}
	bench_pin(0);
	crew_time from = crew_now();
	pipe_side(ends[1], true);
	double seconds = per_one(from, SMALL / 10);
	int status;
	must(waitpid(child, &status, 0) == child && status == 0 ? 0 : -EREMOTEIO);
	close(ends[0]);
	close(ends[1]);
	return seconds;
}

/* multiprocessing.Queue: seconds for one message, printed by the program. */
static double python(void)
{
	char line[64];
	FILE *stream = popen("python3 " CREW_SOURCE "/benchmarks/messages.py", "r");
	double seconds = stream && fgets(line, sizeof line, stream) ? strtod(line, NULL) : -1;
	if (stream)
		pclose(stream);
	must(seconds > 0 ? 0 : -EIO);
	return seconds;
}

#ifdef CREW_WITH_BOOST
double boost_queue_8(void);
double boost_queue_1024(void);
#define BOOST(size, ratio) { "Boost message_queue", boost_queue_##size, .most = ratio }
#else
#define BOOST(size, ratio) { "Boost message_queue", .package = "libboost-dev" }
#endif

const struct measure bench_queue[] = {
	{ "queue: 8 B, one to one", small, { BOOST(8, 0.223), { "pipe(2)", plain_pipe },
		{ "a ring that no kill survives", plain_ring }, { "CPython multiprocessing.Queue", python, "python3", "python3" } }, true },
	{ "queue: 8 B in batches of 16", batches, { BOOST(8, 0.064), { "a ring that no kill survives", plain_ring } }, true },
	{ "queue: 8 B, take and done", small_leased, { BOOST(8, 0) }, true },
	{ "queue: 1 KiB, one to one", kib, { BOOST(1024, 0.25) }, true },
	{ "queue: 1 MiB by loan", mib, { { "memcpy of 1 MiB", copy_mib, .most = 0.0175 } }, true },
	{ 0 }
};
