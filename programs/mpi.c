/*
 * mpi.c - message passing between ranks, on a real MPI
 *
 * A rank is a process with a number. Ranks share no memory: what one knows, the
 * others learn from messages alone, on one machine as on a thousand. MPI brings
 * the messages (point to point), the patterns in which all ranks take part
 * (collectives), and access to another rank's memory (one-sided).
 *
 *     mpi                       starts itself as 2 to 4 ranks on this machine
 *     mpi --workers=3           as 3 ranks
 *     mpirun -n 4 mpi           as the launcher says, on one machine or many
 *
 * Read from `tests` at the end of the lessons: each test is one function, small
 * enough to be copied into a program, and each verifies its own answer on every
 * rank. The table shows for each what one operation moved and how long it took:
 * the mean over many, on the slowest rank. Ranks of more than one per CPU take
 * turns; times then show the scheduler, not MPI.
 *
 * Every rank runs this same text from main() on. "if (rank == 0)" is how one of
 * them does something else.
 */
#include "cli.h"
#include "random.h"
#include "report.h"

#include <crew/cluster.h>
#include <crew/error.h>

#include <fcntl.h>
#include <math.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifdef OPEN_MPI
#define BUILT_FOR CREW_OPEN_MPI
#else
#define BUILT_FOR CREW_MPICH
#endif

#define WORLD MPI_COMM_WORLD
#define INIT_SECONDS 60      /* then MPI_Init is taken to hang */
#define FINALIZE_SECONDS 5   /* MPI_Finalize of some versions does hang, if rarely */
#define ALL_SECONDS 180      /* for everything, when we start the ranks ourselves */

static int rank, size;       /* who we are among how many */
static struct cli cli;
static struct report *report; /* on rank 0 alone */

/* What one test has to say, on each rank. */
struct outcome {
	size_t bytes;   /* that one operation moves */
	double seconds; /* that one operation takes */
	bool ok;        /* the answer is right, as far as this rank can tell */
};

static void *allocate(size_t bytes)
{
	void *memory = calloc(1, bytes + 1);
	if (!memory) {
		cli_note("rank %d: out of memory", rank);
		MPI_Abort(WORLD, EXIT_LACK);
	}
	return memory;
}

/* Bytes that anybody can make again who knows the stream: so any rank can check what it received. */
static void fill(void *data, size_t bytes, uint64_t stream)
{
	struct rng rng = rng_of(cli.seed, stream);
	for (size_t i = 0; i < bytes; i += 8) {
		uint64_t value = rng_next(&rng);
		memcpy((char *)data + i, &value, bytes - i < 8 ? bytes - i : 8);
	}
}

static bool is_filled(const void *data, size_t bytes, uint64_t stream)
{
	void *expected = allocate(bytes);
	fill(expected, bytes, stream);
	bool same = memcmp(data, expected, bytes) == 0;
	free(expected);
	return same;
}

/* The clock, once all ranks have come here. */
static double start(void)
{
	MPI_Barrier(WORLD);
	return MPI_Wtime();
}

/* --- point to point ------------------------------------------------------- */

/* Who is there: rank 0 gathers a line from each and prints them in order. */
static struct outcome greeting(size_t bytes)
{
	char host[MPI_MAX_PROCESSOR_NAME] = "";
	int length;
	MPI_Get_processor_name(host, &length);
	char *mine = allocate(bytes), *all = allocate(bytes * (size_t)size);
	snprintf(mine, bytes, "rank %d of %d, process %d on %.32s", rank, size, (int)getpid(), host);

	double begin = start();
	MPI_Gather(mine, (int)bytes, MPI_CHAR, all, (int)bytes, MPI_CHAR, 0, WORLD);
	double seconds = MPI_Wtime() - begin;

	bool ok = true;
	for (int from = 0; rank == 0 && from < size; from++) {
		const char *line = all + (size_t)from * bytes;
		int said = -1;
		ok = ok && sscanf(line, "rank %d", &said) == 1 && said == from;
		if (from < 8)
			report_say(report, "  %s\n", line);
		else if (from == 8)
			report_say(report, "  and %d more\n", size - 8);
	}
	free(mine);
	free(all);
	return (struct outcome){ bytes, seconds, ok };
}

/*
 * A token goes round; every rank adds its number. Rank 0 sends and receives in
 * one call: were all ranks to send first and receive then, nobody might ever
 * receive, for a send may wait until it is.
 */
static struct outcome ring(size_t bytes)
{
	const int laps = cli.quick ? 100 : 1000;
	const int left = (rank + size - 1) % size, right = (rank + 1) % size;
	int64_t token = 0;

	double begin = start();
	for (int lap = 0; lap < laps; lap++) {
		if (rank == 0) {
			int64_t mine = token;
			MPI_Sendrecv(&mine, 1, MPI_INT64_T, right, 0, &token, 1, MPI_INT64_T, left, 0,
				WORLD, MPI_STATUS_IGNORE);
		} else {
			MPI_Recv(&token, 1, MPI_INT64_T, left, 0, WORLD, MPI_STATUS_IGNORE);
			token += rank;
			MPI_Send(&token, 1, MPI_INT64_T, right, 0, WORLD);
		}
	}
	double seconds = (MPI_Wtime() - begin) / laps;

	int64_t lap_sum = (int64_t)size * (size - 1) / 2, so_far = (int64_t)rank * (rank + 1) / 2;
	int64_t expected = rank == 0 ? laps * lap_sum : (laps - 1) * lap_sum + so_far;
	return (struct outcome){ bytes, seconds, token == expected };
}

/*
 * Rank 0 sends, rank 1 sends back; half of the round trip is the latency. Small
 * messages show what a message costs, large ones what a byte costs.
 */
static struct outcome ping_pong(size_t bytes)
{
	const int64_t rounds = (bytes <= 1024 ? 2000 : bytes <= 65536 ? 400 : 40) / (cli.quick ? 10 : 1);
	char *out = allocate(bytes), *in = allocate(bytes);
	bool ok = true;
	fill(out, bytes, bytes);

	double begin = start();
	for (int64_t round = 0; round < rounds && rank < 2; round++) {
		if (rank == 0) {
			memcpy(out, &round, sizeof round); /* no two messages are the same */
			MPI_Send(out, (int)bytes, MPI_BYTE, 1, 0, WORLD);
			MPI_Recv(in, (int)bytes, MPI_BYTE, 1, 0, WORLD, MPI_STATUS_IGNORE);
		} else {
			MPI_Recv(in, (int)bytes, MPI_BYTE, 0, 0, WORLD, MPI_STATUS_IGNORE);
			MPI_Send(in, (int)bytes, MPI_BYTE, 0, 0, WORLD);
		}
		ok = ok && memcmp(in, &round, sizeof round) == 0;
	}
	double seconds = (MPI_Wtime() - begin) / (double)rounds / 2;

	int64_t last = rounds - 1;
	memcpy(out, &last, sizeof last);
	ok = ok && (rank >= 2 || memcmp(in, out, bytes) == 0);
	free(out);
	free(in);
	return (struct outcome){ bytes, rank < 2 ? seconds : 0, ok };
}

/* The letter of one rank: lines "key=value", of many lengths. */
static char *letter(int from, size_t bytes)
{
	struct rng rng = rng_of(cli.seed, (uint64_t)from);
	char *text = allocate(bytes);
	size_t used = 0, lines = 2 + rng_below(&rng, 8);
	used += (size_t)snprintf(text, bytes, "from=%d\npadding=%0*d\n", from, 1 + from % 32, 0);
	for (size_t i = 0; i < lines; i++)
		used += (size_t)snprintf(text + used, bytes - used, "key%zu=%llu\n", i,
			(unsigned long long)rng_next(&rng));
	return text;
}

/*
 * Messages whose sender and size the receiver does not know: it looks at the
 * envelope first (a probe), makes room, and then takes that very message.
 */
static struct outcome key_value(size_t bytes)
{
	char *mine = letter(rank, bytes);
	MPI_Request sent;
	bool ok = true;
	size_t longest = strlen(mine) + 1;

	double begin = start();
	MPI_Isend(mine, (int)longest, MPI_CHAR, 0, 7, WORLD, &sent);
	for (int i = 0; rank == 0 && i < size; i++) {
		MPI_Message message;
		MPI_Status envelope;
		int count;
		MPI_Mprobe(MPI_ANY_SOURCE, 7, WORLD, &message, &envelope);
		MPI_Get_count(&envelope, MPI_CHAR, &count);
		char *received = allocate((size_t)count);
		MPI_Mrecv(received, count, MPI_CHAR, &message, MPI_STATUS_IGNORE);
		char *expected = letter(envelope.MPI_SOURCE, bytes);
		ok = ok && (size_t)count == strlen(expected) + 1 && strcmp(received, expected) == 0;
		longest = (size_t)count > longest ? (size_t)count : longest;
		free(received);
		free(expected);
	}
	MPI_Wait(&sent, MPI_STATUS_IGNORE);
	double seconds = (MPI_Wtime() - begin) / size;
	free(mine);
	return (struct outcome){ longest, seconds, ok };
}

/* --- collectives: every rank makes the same call ---------------------------- */

/* One rank has it, then all have it, in log2(size) steps. Each is the root in turn. */
static struct outcome broadcast(size_t bytes)
{
	const int times = cli.quick ? size : 4 * size;
	char *data = allocate(bytes);
	double seconds = 0;
	bool ok = true;
	for (int i = 0; i < times; i++) {
		int root = i % size;
		memset(data, 0, bytes);
		if (rank == root)
			fill(data, bytes, (uint64_t)i);
		double begin = start();
		MPI_Bcast(data, (int)bytes, MPI_BYTE, root, WORLD);
		seconds += MPI_Wtime() - begin;
		ok = ok && is_filled(data, bytes, (uint64_t)i);
	}
	free(data);
	return (struct outcome){ bytes, seconds / times, ok };
}

/* Where part `index` of `parts` begins when n things are dealt out as evenly as can be. */
static int begin_of(int n, int parts, int index)
{
	return (int)((int64_t)n * index / parts);
}

/* Rank 0 deals out an array, every rank squares its part, rank 0 collects. */
static struct outcome scatter_gather(size_t bytes)
{
	const int n = (int)(bytes / sizeof(int64_t));
	int *counts = allocate((size_t)size * sizeof *counts), *begins = allocate((size_t)size * sizeof *begins);
	for (int i = 0; i < size; i++) {
		begins[i] = begin_of(n, size, i);
		counts[i] = begin_of(n, size, i + 1) - begins[i];
	}
	int64_t *all = rank == 0 ? allocate(bytes) : NULL;
	int64_t *part = allocate((size_t)counts[rank] * sizeof *part);
	for (int i = 0; rank == 0 && i < n; i++)
		all[i] = i;

	double begin = start();
	MPI_Scatterv(all, counts, begins, MPI_INT64_T, part, counts[rank], MPI_INT64_T, 0, WORLD);
	bool ok = true;
	for (int i = 0; i < counts[rank]; i++) {
		ok = ok && part[i] == begins[rank] + i;
		part[i] *= part[i];
	}
	MPI_Gatherv(part, counts[rank], MPI_INT64_T, all, counts, begins, MPI_INT64_T, 0, WORLD);
	double seconds = MPI_Wtime() - begin;

	for (int i = 0; rank == 0 && i < n; i++)
		ok = ok && all[i] == (int64_t)i * i;
	free(counts);
	free(begins);
	free(all);
	free(part);
	return (struct outcome){ bytes, seconds, ok };
}

/*
 * Vectors of all ranks are added, element by element; all get the sum. Then pi, the
 * usual first program: the area under 4 / (1 + x^2), every rank adding its own slices.
 */
static struct outcome reduce(size_t bytes)
{
	const int n = (int)(bytes / sizeof(int64_t)), times = cli.quick ? 5 : 50;
	int64_t *mine = allocate(bytes), *sum = allocate(bytes);
	for (int i = 0; i < n; i++)
		mine[i] = (int64_t)(rank + 1) * i;

	double begin = start();
	for (int i = 0; i < times; i++)
		MPI_Allreduce(mine, sum, n, MPI_INT64_T, MPI_SUM, WORLD);
	double seconds = (MPI_Wtime() - begin) / times;

	bool ok = true;
	for (int i = 0; i < n; i++)
		ok = ok && sum[i] == (int64_t)size * (size + 1) / 2 * i;
	free(mine);
	free(sum);

	const int slices = 1000000;
	double area = 0, pi = 0;
	for (int i = rank; i < slices; i += size) {
		double x = (i + 0.5) / slices;
		area += 4 / (1 + x * x) / slices;
	}
	MPI_Reduce(&area, &pi, 1, MPI_DOUBLE, MPI_SUM, 0, WORLD);
	if (rank == 0) {
		report_say(report, "  pi is %.12f, says the sum over all ranks\n", pi);
		ok = ok && fabs(pi - M_PI) < 1e-10;
	}
	return (struct outcome){ bytes, seconds, ok };
}

/*
 * Running totals of an array whose parts lie on the ranks: each adds up its own part,
 * an exclusive scan tells what all ranks before have, and that is added to each.
 */
static struct outcome scan(size_t bytes)
{
	const int n = (int)(bytes / sizeof(int64_t));
	const int64_t first = (int64_t)rank * n; /* the array holds 1, 2, 3, … */
	int64_t *total = allocate(bytes), before = 0;

	double begin = start();
	for (int i = 0; i < n; i++)
		total[i] = first + i + 1 + (i ? total[i - 1] : 0);
	MPI_Exscan(&total[n - 1], &before, 1, MPI_INT64_T, MPI_SUM, WORLD);
	if (rank == 0)
		before = 0; /* MPI leaves it undefined there */
	for (int i = 0; i < n; i++)
		total[i] += before;
	double seconds = MPI_Wtime() - begin;

	bool ok = true;
	for (int i = 0; i < n; i++)
		ok = ok && total[i] == (first + i + 1) * (first + i + 2) / 2;
	free(total);
	return (struct outcome){ bytes, seconds, ok };
}

/* Every rank has something else for every rank: the transposition of a matrix of blocks. */
static struct outcome all_to_all(size_t bytes)
{
	const int times = cli.quick ? 5 : 50;
	char *out = allocate(bytes * (size_t)size), *in = allocate(bytes * (size_t)size);
	for (int to = 0; to < size; to++)
		fill(out + bytes * (size_t)to, bytes, (uint64_t)(rank * size + to));

	double begin = start();
	for (int i = 0; i < times; i++)
		MPI_Alltoall(out, (int)bytes, MPI_BYTE, in, (int)bytes, MPI_BYTE, WORLD);
	double seconds = (MPI_Wtime() - begin) / times;

	bool ok = true;
	for (int from = 0; from < size; from++)
		ok = ok && is_filled(in + bytes * (size_t)from, bytes, (uint64_t)(from * size + rank));
	free(out);
	free(in);
	return (struct outcome){ bytes * (size_t)size, seconds, ok };
}

/* --- one-sided --------------------------------------------------------------- */

/*
 * A counter in the memory of rank 0 hands out tickets; rank 0 does nothing for it.
 * Every ticket must have been drawn, and by one rank only.
 */
static struct outcome counter(size_t bytes)
{
	const int draws = cli.quick ? 20 : 200, tickets = draws * size;
	int *drawn = allocate((size_t)tickets * sizeof *drawn);
	int64_t *value, ticket, one = 1;
	MPI_Win window;
	MPI_Win_allocate(rank == 0 ? (MPI_Aint)bytes : 0, (int)bytes, MPI_INFO_NULL, WORLD, &value, &window);
	if (rank == 0) {
		MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window);
		*value = 0;
		MPI_Win_unlock(0, window);
	}
	bool ok = true;

	double begin = start();
	MPI_Win_lock_all(0, window);
	for (int i = 0; i < draws; i++) {
		MPI_Fetch_and_op(&one, &ticket, MPI_INT64_T, 0, 0, MPI_SUM, window);
		MPI_Win_flush(0, window); /* until here, ticket is not there */
		if (ticket >= 0 && ticket < tickets)
			drawn[ticket]++;
		else
			ok = false;
	}
	MPI_Win_unlock_all(window);
	double seconds = (MPI_Wtime() - begin) / draws;

	MPI_Win_free(&window);
	MPI_Allreduce(MPI_IN_PLACE, drawn, tickets, MPI_INT, MPI_SUM, WORLD);
	for (int i = 0; i < tickets; i++)
		ok = ok && drawn[i] == 1;
	free(drawn);
	return (struct outcome){ bytes, seconds, ok };
}

/* --- a heat plate, on a Cartesian grid of ranks ------------------------------- */

/*
 * A plate of edge × edge cells; its top is held at 100 degrees, its left at 50, the
 * rest of the rim at 0. In every step each cell becomes the mean of its four
 * neighbours. A rank owns a block of h × w cells, stored with a halo: one more row
 * and column on every side, copies of what the neighbours own, or the rim.
 */
struct block { int top, left, h, w; };

static size_t cells(struct block b)
{
	return (size_t)(b.h + 2) * (size_t)(b.w + 2);
}

/* Cell (i, j) of a block; 1 … h and 1 … w are its own, 0 and h + 1, w + 1 the halo. */
static double *cell(double *plate, struct block b, int i, int j)
{
	return plate + (size_t)i * (size_t)(b.w + 2) + j;
}

static void warm(double *plate, struct block b)
{
	for (int i = 0; i <= b.h + 1; i++)
		for (int j = 0; j <= b.w + 1; j++)
			*cell(plate, b, i, j) = b.top + i == 0 ? 100 : b.left + j == 0 ? 50 : 0;
}

static void step(double *restrict next, double *restrict now, struct block b)
{
	for (int i = 1; i <= b.h; i++)
		for (int j = 1; j <= b.w; j++)
			*cell(next, b, i, j) = 0.25 * (*cell(now, b, i - 1, j) + *cell(now, b, i + 1, j)
				+ *cell(now, b, i, j - 1) + *cell(now, b, i, j + 1));
}

/* The block of a rank in the grid. */
static struct block block_of(MPI_Comm grid, int owner, const int dims[2], int edge)
{
	int at[2];
	MPI_Cart_coords(grid, owner, 2, at);
	struct block b = { begin_of(edge, dims[0], at[0]), begin_of(edge, dims[1], at[1]), 0, 0 };
	b.h = begin_of(edge, dims[0], at[0] + 1) - b.top;
	b.w = begin_of(edge, dims[1], at[1] + 1) - b.left;
	return b;
}

/* h × w cells in the middle of something larger, as one thing to send or receive. */
static MPI_Datatype window_type(struct block whole, int top, int left, struct block part)
{
	MPI_Datatype type;
	MPI_Type_create_subarray(2, (int[]){ whole.h + 2, whole.w + 2 }, (int[]){ part.h, part.w },
		(int[]){ top + 1, left + 1 }, MPI_ORDER_C, MPI_DOUBLE, &type);
	MPI_Type_commit(&type);
	return type;
}

/* All blocks into one plate on rank 0. */
static void collect(MPI_Comm grid, const int dims[2], double *mine, struct block b, double *plate,
		struct block whole)
{
	MPI_Request sent;
	MPI_Datatype type = window_type(b, 0, 0, b);
	MPI_Isend(mine, 1, type, 0, 0, grid, &sent);
	for (int from = 0; rank == 0 && from < size; from++) {
		struct block theirs = block_of(grid, from, dims, whole.h);
		MPI_Datatype place = window_type(whole, theirs.top, theirs.left, theirs);
		MPI_Recv(plate, 1, place, from, 0, grid, MPI_STATUS_IGNORE);
		MPI_Type_free(&place);
	}
	MPI_Wait(&sent, MPI_STATUS_IGNORE);
	MPI_Type_free(&type);
}

static struct outcome heat(size_t bytes)
{
	const int edge = (int)bytes > size ? (int)bytes : size, steps = cli.quick ? 100 : 500;
	int dims[2] = { 0, 0 }, periods[2] = { 0, 0 }, up, down, left, right;
	MPI_Comm grid;
	MPI_Dims_create(size, 2, dims);
	MPI_Cart_create(WORLD, 2, dims, periods, 0, &grid); /* no reordering: ranks keep their number */
	MPI_Cart_shift(grid, 0, 1, &up, &down);             /* MPI_PROC_NULL beyond the rim: no message */
	MPI_Cart_shift(grid, 1, 1, &left, &right);

	struct block b = block_of(grid, rank, dims, edge), whole = { 0, 0, edge, edge };
	double *now = allocate(cells(b) * sizeof *now), *next = allocate(cells(b) * sizeof *next);
	warm(now, b);
	warm(next, b);
	MPI_Datatype column; /* h cells, one from each row */
	MPI_Type_vector(b.h, 1, b.w + 2, MPI_DOUBLE, &column);
	MPI_Type_commit(&column);

	double begin = start();
	for (int i = 0; i < steps; i++) {
		MPI_Sendrecv(cell(now, b, 1, 1), b.w, MPI_DOUBLE, up, 0,
			cell(now, b, b.h + 1, 1), b.w, MPI_DOUBLE, down, 0, grid, MPI_STATUS_IGNORE);
		MPI_Sendrecv(cell(now, b, b.h, 1), b.w, MPI_DOUBLE, down, 1,
			cell(now, b, 0, 1), b.w, MPI_DOUBLE, up, 1, grid, MPI_STATUS_IGNORE);
		MPI_Sendrecv(cell(now, b, 1, 1), 1, column, left, 2,
			cell(now, b, 1, b.w + 1), 1, column, right, 2, grid, MPI_STATUS_IGNORE);
		MPI_Sendrecv(cell(now, b, 1, b.w), 1, column, right, 3,
			cell(now, b, 1, 0), 1, column, left, 3, grid, MPI_STATUS_IGNORE);
		step(next, now, b);
		double *swap = now;
		now = next;
		next = swap;
	}
	double seconds = MPI_Wtime() - begin;

	/* The serial answer must be the same to the last bit: the same sums in the same order. */
	bool ok = true;
	double *plate = rank == 0 ? allocate(cells(whole) * sizeof *plate) : NULL;
	collect(grid, dims, now, b, plate, whole);
	if (rank == 0) {
		double *serial = allocate(cells(whole) * sizeof *serial), *other = allocate(cells(whole) * sizeof *other);
		warm(serial, whole);
		warm(other, whole);
		double serial_begin = MPI_Wtime();
		for (int i = 0; i < steps; i++) {
			step(other, serial, whole);
			double *swap = serial;
			serial = other;
			other = swap;
		}
		double serial_seconds = MPI_Wtime() - serial_begin;
		for (int i = 1; i <= edge; i++)
			ok = ok && memcmp(cell(plate, whole, i, 1), cell(serial, whole, i, 1),
				(size_t)edge * sizeof *plate) == 0;
		report_say(report, "  heat plate of %d x %d cells on %d x %d ranks: %.1f ms, serially %.1f ms\n",
			edge, edge, dims[0], dims[1], seconds * 1e3, serial_seconds * 1e3);
		free(serial);
		free(other);
	}
	free(plate);
	free(now);
	free(next);
	MPI_Type_free(&column);
	MPI_Comm_free(&grid);
	return (struct outcome){ (size_t)(b.h + b.w) * 2 * sizeof(double), seconds, ok };
}

/* --- the table of tests ---------------------------------------------------------- */

static const struct test {
	const char *name;
	struct outcome (*run)(size_t bytes);
	size_t bytes;  /* of one operation; for heat the edge of the plate */
	int least;     /* ranks that it needs */
} tests[] = {
	{ "greeting", greeting, 96, 1 },
	{ "ring", ring, 8, 1 },
	{ "ping_pong", ping_pong, 8, 2 },
	{ "ping_pong", ping_pong, 1024, 2 },
	{ "ping_pong", ping_pong, 65536, 2 },
	{ "ping_pong", ping_pong, 1048576, 2 },
	{ "key_value", key_value, 512, 1 },
	{ "broadcast", broadcast, 262144, 1 },
	{ "scatter_gather", scatter_gather, 262144, 1 },
	{ "reduce", reduce, 65536, 1 },
	{ "scan", scan, 65536, 1 },
	{ "all_to_all", all_to_all, 4096, 1 },
	{ "counter", counter, 8, 1 },
	{ "heat", heat, 256, 1 },
};

/* Run one test on all ranks; it is right if it is on each. */
static void run(const struct test *test)
{
	if (size < test->least) {
		if (rank == 0)
			report_say(report, "  %s of %zu bytes needs %d ranks\n", test->name, test->bytes, test->least);
		return;
	}
	struct outcome mine = test->run(test->bytes);
	if (!mine.ok)
		cli_note("rank %d: %s: wrong answer", rank, test->name);
	int ok = mine.ok, all_ok;
	double seconds;
	MPI_Allreduce(&ok, &all_ok, 1, MPI_INT, MPI_LAND, WORLD);
	MPI_Reduce(&mine.seconds, &seconds, 1, MPI_DOUBLE, MPI_MAX, 0, WORLD);
	if (rank == 0) {
		struct json_t *row = report_row(report);
		report_str(row, "test", test->name);
		report_int(row, "ranks", size);
		report_uint(row, "bytes", mine.bytes);
		report_real(row, "seconds", seconds);
		report_bool(row, "verified", all_ok);
		report_check(report, all_ok, "%s of %zu bytes", test->name, mine.bytes);
	}
}

/* --- to be a rank ------------------------------------------------------------------ */

static const char *too_late_text; /* NULL: nothing to say */
static int too_late_status;

static void too_late(int signal)
{
	(void)signal;
	if (too_late_text)
		(void)!write(STDERR_FILENO, too_late_text, strlen(too_late_text));
	_exit(too_late_status);
}

/* What follows may hang: leave with this status if it takes longer. 0 seconds: it is done. */
static void at_most(unsigned seconds, const char *text, int status)
{
	too_late_text = text;
	too_late_status = status;
	signal(SIGALRM, too_late);
	alarm(seconds);
}

/* "Open MPI v4.1.4, package: …" → "Open MPI v4.1.4"; "MPICH Version:<tab>4.0.2<newline>…" → "MPICH Version: 4.0.2" */
static void library_name(char text[static MPI_MAX_LIBRARY_VERSION_STRING])
{
	int length;
	MPI_Get_library_version(text, &length);
	text[strcspn(text, ",\n")] = 0;
	for (char *tab = text; (tab = strchr(tab, '\t'));)
		*tab = ' ';
}

static int be_rank(int argc, char **argv)
{
	/* The launcher tells who stopped us; we go with it, however it goes. */
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);

	int level, status = 0;
	at_most(INIT_SECONDS, "mpi: MPI_Init does not return; are all hosts of the job reachable?\n", EXIT_LACK);
	MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level);
	at_most(0, NULL, 0);
	MPI_Comm_rank(WORLD, &rank);
	MPI_Comm_size(WORLD, &size);

	char message[512], library[MPI_MAX_LIBRARY_VERSION_STRING] = "";
	struct crew_cluster here;
	crew_cluster_where(&here);
	if (crew_cluster_check(BUILT_FOR, (unsigned)size, message, sizeof message) < 0) {
		if (here.rank == 0)
			cli_note("%s", message);
		status = EXIT_USAGE;
	} else {
		library_name(library);
		cli.workers = (unsigned)size;
		if (rank == 0) {
			report = report_open(&cli);
			report_str(report_top(report), "mpi", library);
			report_say(report, "%d rank%s, %s\n", size, size == 1 ? "" : "s", library);
		}
		for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
			run(&tests[i]);
		if (rank == 0) {
			report_say(report, "\n");
			status = report_finish(report);
		}
	}
	at_most(FINALIZE_SECONDS, NULL, status);
	MPI_Finalize();
	at_most(0, NULL, 0);
	return status;
}

#ifdef __SANITIZE_ADDRESS__
/* MPI forgets memory in plug-ins that it has unloaded by then: nothing left to name in a suppression. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return 1;
}
#endif

/* --- to become ranks ----------------------------------------------------------------- */

static int become_ranks(char **argv)
{
	unsigned ranks = cli.workers < 2 ? 2 : cli.workers > 4 ? 4 : cli.workers;
	if (cli.workers_given)
		ranks = cli.workers;
	if (cli.serial)
		ranks = 1;
	struct crew_status end;
	int r = crew_cluster_run(&(struct crew_cluster_options){ .mpi = BUILT_FOR, .ranks = ranks,
		.argv = (const char *const *)argv }, crew_after(ALL_SECONDS * CREW_SECOND), &end);
	switch (r) {
	case 0:
		break;
	case -ENOENT:
		cli_lack("no launcher on PATH; install it: apt-get install %s", crew_cluster_package(BUILT_FOR));
	case -ENETDOWN:
		cli_lack("MPI needs a network interface: ip link set lo up");
	case -ENOMEM:
		cli_lack("not enough memory for %u ranks, or no room in /dev/shm, TMPDIR and /tmp; try --workers=2", ranks);
	case -ETIMEDOUT:
		cli_note("%u ranks were not done after %d s and have been stopped", ranks, ALL_SECONDS);
		return EXIT_WRONG;
	case -ECHILD:
		cli_note("the process that watches the ranks was killed, and they with it");
		return EXIT_WRONG;
	case -EPIPE: case -EIO: case -EBADF: case -ENOSPC:
		cli_note("cannot write to standard output: %s", strerror(-r));
		return EXIT_WRONG;
	default:
		cli_lack("cannot start %u ranks: %s", ranks, crew_strerror(r));
	}
	if (end.state == CREW_EXITED && end.code <= EXIT_LACK)
		return end.code;
	if (end.state == CREW_EXITED && end.code == 127)
		cli_lack("the launcher cannot be executed; is %s installed whole?", crew_cluster_package(BUILT_FOR));
	cli_note("a rank or the launcher died (%s %d)", end.state == CREW_EXITED ? "exit status" : "signal",
		end.state == CREW_EXITED ? end.code : end.signal);
	return EXIT_WRONG;
}

static const struct argp argp = { NULL, NULL, NULL,
	"Message passing between ranks on a real MPI: point to point, collectives, one-sided, halo exchange. "
	"Starts itself as ranks on this machine, or is started: mpirun -n 4 mpi", cli_children, NULL, NULL };

/* All ranks see the same command line: one of them tells what is wrong with it. */
static struct cli parse_once(bool tell, int argc, char **argv)
{
	int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (!tell) {
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
	}
	struct cli parsed = cli_parse(&argp, argc, argv, NULL);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	close(out);
	close(err);
	close(null);
	return parsed;
}

int main(int argc, char **argv)
{
	struct crew_cluster here;
	crew_cluster_where(&here);
	cli = parse_once(here.rank == 0, argc, argv);
	if (here.launcher != CREW_ALONE)
		return be_rank(argc, argv);
	if (cli.chaos > 0)
		cli_note("--chaos has no meaning here: MPI ends all ranks when one dies");
	if (cli.baseline)
		cli_note("--baseline has no meaning here: MPI itself is what is measured");
	if (cli.trace)
		cli_note("--trace has no meaning here: no task of a pool runs");
	return become_ranks(argv);
}
