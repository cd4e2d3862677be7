/*
 * parallelization - six kernels, from serial to parallel, and how far that goes
 *
 * Each kernel is a loop over a range. Serial, the loop runs over all of it. Parallel, crew cuts the range
 * and its workers run the same loop over the pieces: compare `crew_for(pool, 0, n, loop, ...)` with
 * `loop(0, n, ...)` in run(). What makes that right is what the loops do not do: none writes what another
 * piece reads or writes, so every result is the serial one, bit for bit, whoever computes it, and
 * however often, should a worker die.
 *
 *     vector add       does nothing but fetch and store: memory is the limit, not processors
 *     matrix multiply  fetches little and computes much: the ideal case
 *     Mandelbrot       lines cost very different amounts of work: small pieces even that out
 *     prime sieve      each piece is sieved in a few KiB of private memory, then only counted
 *     Monte Carlo pi   random numbers come from a stream for each block of samples, not for each worker
 *     n-body           step after step: all must have finished one before any may begin the next
 *
 * How to read the table. With S the speed-up (serial time / parallel time) on p workers:
 *
 *     efficiency       S / p: what part of the p workers' time was work
 *     serial fraction  (1/S - 1/p) / (1 - 1/p), after Karp and Flatt: the part of the program that would
 *                      have to be serial to explain S. The same for all p: it is really serial. Growing
 *                      with p: it is overhead. By Amdahl's law no number of workers gets beyond 1 / fraction.
 *
 * One worker takes a little longer than no workers: the difference is the price of cutting and handing out.
 */
#include "parallelization/openmp.h"
#include "random.h"
#include "report.h"
#include "start.h"
#include "stats.h"

#include <crew/memory.h>
#include <crew/parallel.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * A kernel: a loop that fills arrays, or one that counts. `data` is what the loop works on, in shared memory,
 * and so is all that it points to; `out` is the part that is the result.
 */
struct kernel {
	const char *name;
	crew_for_fn *loop;    /* either this, */
	crew_reduce_fn *fold; /* or this, which adds to a uint64_t */
	size_t range, grain;  /* how far the loop goes, and in what pieces */
	void *data;
	void *out;
	size_t out_bytes;
	unsigned steps;                                       /* times that the loop is run */
	void (*before)(void *data, unsigned step);            /* each of them; may be NULL */
	const char *(*wrong)(const void *data, uint64_t sum); /* what is implausible about the result, or NULL */
};

/* All arrays of all kernels. */
static struct span { void *begin; size_t bytes; } spans[32];
static size_t span_count;

static void *shared_array(size_t count, size_t size)
{
	void *array = NULL;
	start_require(crew_array(count, size, &array), NULL);
	spans[span_count++] = (struct span){ array, count * size };
	return array;
}

/*
 * Memory is shared, page tables are not: the first touch of each page costs each process a fault, more than
 * the vectors' additions. That is not what is to be measured, so each worker does it when it starts.
 */
static int touch_all(void *context)
{
	const struct span *all = context;
	for (size_t i = 0; i < sizeof spans / sizeof *spans && all[i].bytes; i++) {
		uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)all[i].begin & -page;
		(void)madvise((void *)begin, (uintptr_t)all[i].begin + all[i].bytes - begin, MADV_POPULATE_WRITE);
	}
	return 0; /* a kernel that cannot (before 5.14) only measures worse */
}

/* --- vector add --- */

struct vectors { const double *a, *b; double *sum; size_t count; };

static int add(size_t begin, size_t end, void *context)
{
	const struct vectors *v = context;
	for (size_t i = begin; i < end; i++)
		v->sum[i] = v->a[i] + v->b[i];
	return 0;
}

static const char *add_wrong(const void *data, uint64_t sum)
{
	(void)sum;
	const struct vectors *v = data;
	for (size_t i = 0; i < v->count; i++)
		if (v->sum[i] != (double)v->count)
			return "a sum is wrong";
	return NULL;
}

static struct kernel make_add(void)
{
	struct vectors *v = shared_array(1, sizeof *v);
	v->count = 1 << 22;
	double *a = shared_array(v->count, sizeof *a), *b = shared_array(v->count, sizeof *b);
	for (size_t i = 0; i < v->count; i++) {
		a[i] = (double)i;
		b[i] = (double)(v->count - i);
	}
	v->a = a;
	v->b = b;
	v->sum = shared_array(v->count, sizeof *v->sum);
	return (struct kernel){ .name = "vector add", .loop = add, .range = v->count, .grain = 1 << 16, .data = v,
		.out = v->sum, .out_bytes = v->count * sizeof *v->sum, .wrong = add_wrong };
}

/* --- matrix multiply --- */

struct matrices { const double *a, *b; double *product; size_t size; };

/* Rows of the product. The inner loop goes along rows of both, so that it uses up the cache lines it fetches. */
static int multiply(size_t begin, size_t end, void *context)
{
	const struct matrices *m = context;
	for (size_t i = begin; i < end; i++) {
		double *row = m->product + i * m->size;
		memset(row, 0, m->size * sizeof *row);
		for (size_t k = 0; k < m->size; k++) {
			const double factor = m->a[i * m->size + k], *b = m->b + k * m->size;
			for (size_t j = 0; j < m->size; j++)
				row[j] += factor * b[j];
		}
	}
	return 0;
}

/* After Freivalds: A (B x) must be (A B) x. Entries are small whole numbers, so this is exact. */
static const char *multiply_wrong(const void *data, uint64_t sum)
{
	(void)sum;
	const struct matrices *m = data;
	double *bx = cli_need(calloc(m->size, sizeof *bx));
	const char *wrong = NULL;
	for (size_t i = 0; i < m->size; i++)
		for (size_t j = 0; j < m->size; j++)
			bx[i] += m->b[i * m->size + j] * (double)(j % 7);
	for (size_t i = 0; i < m->size; i++) {
		double abx = 0, x = 0;
		for (size_t j = 0; j < m->size; j++) {
			abx += m->a[i * m->size + j] * bx[j];
			x += m->product[i * m->size + j] * (double)(j % 7);
		}
		if (abx != x)
			wrong = "the product maps a vector elsewhere than its factors do";
	}
	free(bx);
	return wrong;
}

static struct kernel make_multiply(bool quick)
{
	struct matrices *m = shared_array(1, sizeof *m);
	m->size = quick ? 256 : 400;
	double *a = shared_array(m->size * m->size, sizeof *a), *b = shared_array(m->size * m->size, sizeof *b);
	struct rng rng = rng_of(1, 0);
	for (size_t i = 0; i < m->size * m->size; i++) {
		a[i] = (double)rng_below(&rng, 17) - 8;
		b[i] = (double)rng_below(&rng, 17) - 8;
	}
	m->a = a;
	m->b = b;
	m->product = shared_array(m->size * m->size, sizeof *m->product);
	return (struct kernel){ .name = "matrix multiply", .loop = multiply, .range = m->size, .grain = 8, .data = m,
		.out = m->product, .out_bytes = m->size * m->size * sizeof *m->product, .wrong = multiply_wrong };
}

/* --- Mandelbrot --- */

struct image { uint16_t *pixels; size_t width, height; unsigned limit; };

static void point_of(const struct image *image, size_t x, size_t y, double *re, double *im)
{
	*re = -2.25 + 3.0 * (double)x / (double)image->width;
	*im = -1.25 + 2.5 * (double)y / (double)image->height;
}

/* Lines of the image: how many steps until z = z^2 + c gets away. */
static int mandelbrot(size_t begin, size_t end, void *context)
{
	const struct image *image = context;
	for (size_t y = begin; y < end; y++)
		for (size_t x = 0; x < image->width; x++) {
			double re, im, zr = 0, zi = 0;
			point_of(image, x, y, &re, &im);
			unsigned steps = 0;
			while (steps < image->limit && zr * zr + zi * zi <= 4) {
				double next = zr * zr - zi * zi + re;
				zi = 2 * zr * zi + im;
				zr = next;
				steps++;
			}
			image->pixels[y * image->width + x] = (uint16_t)steps;
		}
	return 0;
}

/* Points of the large cardioid and of the disc left of it never get away; points beyond 2 do at once. */
static const char *mandelbrot_wrong(const void *data, uint64_t sum)
{
	(void)sum;
	const struct image *image = data;
	for (size_t y = 0; y < image->height; y++)
		for (size_t x = 0; x < image->width; x++) {
			double re, im;
			point_of(image, x, y, &re, &im);
			double q = (re - 0.25) * (re - 0.25) + im * im;
			unsigned steps = image->pixels[y * image->width + x];
			bool stays = q * (q + re - 0.25) < im * im / 4 || (re + 1) * (re + 1) + im * im < 0.0625;
			if ((stays && steps != image->limit) || (re * re + im * im > 4 && steps != 1))
				return "a pixel is wrong";
		}
	return NULL;
}

static struct kernel make_mandelbrot(bool quick)
{
	struct image *image = shared_array(1, sizeof *image);
	*image = (struct image){ .width = quick ? 240 : 480, .height = quick ? 200 : 400, .limit = 300 };
	image->pixels = shared_array(image->width * image->height, sizeof *image->pixels);
	return (struct kernel){ .name = "Mandelbrot", .loop = mandelbrot, .range = image->height, .grain = 4,
		.data = image, .out = image->pixels, .out_bytes = image->width * image->height * sizeof *image->pixels,
		.wrong = mandelbrot_wrong };
}

/* --- prime sieve --- */

enum { SEGMENT = 1 << 15 };
struct sieve { uint64_t limit; uint32_t *primes; size_t count; };

/* Count the primes of segments, each SEGMENT numbers. The small primes that strike out others are given. */
static int sieve(size_t begin, size_t end, void *value, void *context)
{
	const struct sieve *s = context;
	for (size_t segment = begin; segment < end; segment++) {
		uint64_t from = segment * SEGMENT, to = from + SEGMENT < s->limit ? from + SEGMENT : s->limit;
		bool composite[SEGMENT] = { false };
		for (size_t i = 0; i < s->count && (uint64_t)s->primes[i] * s->primes[i] < to; i++) {
			uint64_t p = s->primes[i], multiple = (from + p - 1) / p * p;
			for (multiple = multiple < p * p ? p * p : multiple; multiple < to; multiple += p)
				composite[multiple - from] = true;
		}
		for (uint64_t n = from < 2 ? 2 : from; n < to; n++)
			*(uint64_t *)value += !composite[n - from];
	}
	return 0;
}

static const char *sieve_wrong(const void *data, uint64_t sum)
{
	const struct sieve *s = data;
	return sum == (s->limit == 5000000 ? 348513 : 1270607) ? NULL : "not the known number of primes";
}

static struct kernel make_sieve(bool quick)
{
	struct sieve *s = shared_array(1, sizeof *s);
	s->limit = quick ? 5000000 : 20000000;
	s->primes = shared_array(1000, sizeof *s->primes);
	for (uint32_t n = 2; (uint64_t)n * n < s->limit; n++) {
		size_t i = 0;
		while (i < s->count && n % s->primes[i])
			i++;
		if (i == s->count)
			s->primes[s->count++] = n;
	}
	return (struct kernel){ .name = "prime sieve", .fold = sieve, .range = (s->limit + SEGMENT - 1) / SEGMENT,
		.grain = 4, .data = s, .wrong = sieve_wrong };
}

/* --- Monte Carlo pi --- */

enum { BLOCK = 10000 };
struct dice { uint64_t seed; size_t blocks; };

/* How many of a block's random points of the unit square lie in the quarter of a circle. */
static int throw(size_t begin, size_t end, void *value, void *context)
{
	const struct dice *dice = context;
	uint64_t inside = 0;
	for (size_t block = begin; block < end; block++) {
		struct rng rng = rng_of(dice->seed, block);
		for (int i = 0; i < BLOCK; i++) {
			double x = rng_real(&rng), y = rng_real(&rng);
			inside += x * x + y * y < 1;
		}
	}
	*(uint64_t *)value += inside;
	return 0;
}

static const char *throw_wrong(const void *data, uint64_t sum)
{
	double samples = (double)((const struct dice *)data)->blocks * BLOCK;
	double deviation = 4 * sqrt(M_PI / 4 * (1 - M_PI / 4) / samples);
	bool near = fabs(4 * (double)sum / samples - M_PI) < 6 * deviation;
	return near ? NULL : "further from pi than six standard deviations";
}

static struct kernel make_throw(bool quick, uint64_t seed)
{
	struct dice *dice = shared_array(1, sizeof *dice);
	*dice = (struct dice){ seed, quick ? 200 : 1500 };
	return (struct kernel){ .name = "Monte Carlo pi", .fold = throw, .range = dice->blocks, .grain = 16,
		.data = dice, .wrong = throw_wrong };
}

/* --- n-body --- */

enum { STEPS = 6 }; /* an even number: the last state is state[0] */
struct body { double place[3], speed[3], mass; };
struct bodies { struct body *start, *state[2]; size_t count; unsigned step; };

/* The next state of some bodies from the present state of all. */
static int move(size_t begin, size_t end, void *context)
{
	const struct bodies *b = context;
	const struct body *now = b->state[b->step % 2];
	struct body *next = b->state[(b->step + 1) % 2];
	const double dt = 1e-3, softening = 1e-4;
	for (size_t i = begin; i < end; i++) {
		struct body body = now[i];
		double pull[3] = { 0 };
		for (size_t j = 0; j < b->count; j++) {
			const struct body *other = &now[j];
			double d[3], square = softening;
			for (int k = 0; k < 3; k++) {
				d[k] = other->place[k] - body.place[k];
				square += d[k] * d[k];
			}
			double factor = other->mass / (square * sqrt(square));
			for (int k = 0; k < 3; k++)
				pull[k] += d[k] * factor;
		}
		for (int k = 0; k < 3; k++) {
			body.speed[k] += dt * pull[k];
			body.place[k] += dt * body.speed[k];
		}
		next[i] = body;
	}
	return 0;
}

/* There are two states, so that none is read and written in the same step. */
static void move_before(void *data, unsigned step)
{
	struct bodies *b = data;
	if (step == 0)
		memcpy(b->state[0], b->start, b->count * sizeof *b->start);
	b->step = step;
}

/* No force comes from outside, so momentum stays 0. */
static const char *move_wrong(const void *data, uint64_t sum)
{
	(void)sum;
	const struct bodies *b = data;
	for (int k = 0; k < 3; k++) {
		double momentum = 0, moved = 0;
		for (size_t i = 0; i < b->count; i++) {
			momentum += b->state[0][i].mass * b->state[0][i].speed[k];
			moved += b->state[0][i].mass * fabs(b->state[0][i].speed[k]);
		}
		if (!(fabs(momentum) <= 1e-9 * moved))
			return "momentum is not conserved";
	}
	return NULL;
}

static struct kernel make_move(bool quick)
{
	struct bodies *b = shared_array(1, sizeof *b);
	b->count = quick ? 512 : 1536;
	b->start = shared_array(b->count, sizeof *b->start);
	for (int i = 0; i < 2; i++)
		b->state[i] = shared_array(b->count, sizeof *b->state[i]);
	struct rng rng = rng_of(1, 1);
	for (size_t i = 0; i < b->count; i++) {
		b->start[i].mass = (1 + rng_real(&rng)) / (double)b->count;
		for (int k = 0; k < 3; k++)
			b->start[i].place[k] = rng_real(&rng);
	}
	return (struct kernel){ .name = "n-body", .loop = move, .range = b->count, .grain = 32, .steps = STEPS,
		.before = move_before, .data = b, .out = b->state[0], .out_bytes = b->count * sizeof *b->state[0],
		.wrong = move_wrong };
}

/* --- run a kernel --- */

enum way { SERIAL, POOL, OPENMP };

/* Who runs the loop: this process, a pool, or OpenMP's threads. */
struct runner {
	enum way way;
	unsigned workers;
	struct crew_pool *pool;
};

static void add_up(void *left, const void *right, void *context)
{
	(void)context;
	*(uint64_t *)left += *(const uint64_t *)right;
}

/* Run it; seconds. *sum is what a fold has counted. */
static double run(const struct kernel *k, const struct runner *who, uint64_t *sum)
{
	struct crew_failure failure;
	const struct crew_range_options options = { .grain = k->grain, .context = k->data, .failure = &failure };
	const uint64_t zero = 0;
	double begin = stats_clock();
	*sum = 0;
	for (unsigned step = 0; step == 0 || step < k->steps; step++) {
		if (k->before)
			k->before(k->data, step);
		int r = 0;
		if (who->way == SERIAL)
			r = k->loop ? k->loop(0, k->range, k->data) : k->fold(0, k->range, sum, k->data);
		else if (who->way == POOL)
			r = k->loop ? crew_for(who->pool, 0, k->range, k->loop, &options)
				: crew_reduce(who->pool, 0, k->range, &zero, sizeof zero, k->fold, add_up, sum, &options);
		else if (k->loop)
			openmp_for(k->range, k->grain, who->workers, k->loop, k->data);
		else
			*sum = openmp_sum(k->range, k->grain, who->workers, k->fold, k->data);
		start_require(r, &failure);
	}
	return stats_clock() - begin;
}

/* --- measure and tell --- */

enum { ROUNDS_MAX = 5, SIZES_MAX = 20 };

/* Karp and Flatt; none for one worker. */
static double serial_fraction(double speedup, unsigned workers)
{
	double p = workers;
	return workers > 1 ? (1 / speedup - 1 / p) / (1 - 1 / p) : NAN;
}

/*
 * The rows of one kernel. Runners take turns, so that all meet the same noise, and the best time of each
 * counts: whatever else runs on the machine can only add.
 */
static void measure(const struct kernel *k, const struct runner *runners, size_t count, unsigned rounds,
		struct report *report, double *speedups)
{
	double seconds[2 * SIZES_MAX + 1][ROUNDS_MAX];
	char *serial = cli_need(malloc(k->out_bytes + 1));
	uint64_t serial_sum = 0, sum;
	for (unsigned round = 0; round < rounds; round++)
		for (size_t i = 0; i < count; i++) {
			if (k->out_bytes)
				memset(k->out, 0xff, k->out_bytes); /* an old result must not pass for a new one */
			seconds[i][round] = run(k, &runners[i], &sum);
			if (i == 0 && round == 0) {
				const char *wrong = k->wrong(k->data, sum);
				report_check(report, !wrong, "%s: %s", k->name, wrong);
				if (k->out_bytes)
					memcpy(serial, k->out, k->out_bytes);
				serial_sum = sum;
			}
			bool same = sum == serial_sum && (!k->out_bytes || memcmp(serial, k->out, k->out_bytes) == 0);
			report_check(report, same,
				"%s: %u workers have another result than one process", k->name, runners[i].workers);
		}
	free(serial);
	for (size_t i = 0; i < count; i++) {
		static const char *const names[] = { "serial", "pool", "OpenMP" };
		unsigned p = runners[i].workers;
		double best = stats_percentile(seconds[i], rounds, 0);
		double speedup = speedups[i] = stats_percentile(seconds[0], rounds, 0) / best;
		struct json_t *row = report_row(report);
		report_str(row, "kernel", k->name);
		report_str(row, "mode", names[runners[i].way]);
		report_uint(row, "workers", p);
		report_real(row, "seconds", best);
		report_real(row, "speedup", speedup);
		report_real(row, "efficiency", speedup / p);
		report_real(row, "serial_fraction", serial_fraction(speedup, p));
	}
}

/* Bars of speed-up; where p workers should end, there is a |. */
static void picture(struct report *report, const struct kernel *k, const struct runner *runners, size_t count,
		const double *speedups, unsigned most)
{
	enum { WIDTH = 60 };
	for (size_t i = 1; i < count; i++) {
		if (runners[i].way != POOL)
			continue;
		char bar[WIDTH + 2];
		unsigned ideal = runners[i].workers * WIDTH / most;
		double length = speedups[i] * WIDTH / most;
		for (unsigned x = 0; x <= WIDTH; x++)
			bar[x] = x < length ? '#' : ' ';
		bar[ideal] = '|';
		bar[WIDTH + 1] = 0;
		double fraction = serial_fraction(speedups[i], runners[i].workers);
		report_say(report, "%-16s %4u %s %.2f", i == 1 ? k->name : "", runners[i].workers, bar, speedups[i]);
		if (fraction > 0.001 && fraction < 1)
			report_say(report, "  (Amdahl: at most %.1f)", 1 / fraction);
		report_say(report, "\n");
	}
}

static const struct argp argp = { NULL, NULL, NULL,
	"Six kernels, serial and on 1 to --workers workers: speed-up, efficiency, and the serial fraction "
	"that explains them. Results are compared bit for bit. --baseline runs OpenMP in turn.",
	cli_children, NULL, NULL };

int main(int argc, char **argv)
{
	struct cli cli = cli_parse(&argp, argc, argv, NULL);
	start_family(&cli);
	struct report *report = report_open(&cli);

	const struct kernel kernels[] = { make_add(), make_multiply(cli.quick), make_mandelbrot(cli.quick),
		make_sieve(cli.quick), make_throw(cli.quick, cli.seed), make_move(cli.quick) };
	enum { KERNELS = sizeof kernels / sizeof *kernels };

	/* A serial run, then pools of 1, 2, 3, ... workers; beyond 8 their number doubles. */
	struct runner runners[2 * SIZES_MAX + 1] = { { .way = SERIAL, .workers = 1 } };
	size_t count = 1;
	unsigned most = cli.serial ? 1 : cli.workers;
	for (unsigned p = 1; p <= most; p = p < 8 ? p + 1 : p < most && 2 * p > most ? most : 2 * p)
		runners[count++] = (struct runner){ POOL, p, start_pool(&cli, &(struct crew_pool_options){ .workers = p,
			.initialize = cli.chaos > 0 ? NULL : touch_all, /* who dies soon should not begin with that */
			.context = spans, .context_size = sizeof spans }) };
	if (cli.baseline && !openmp_is_here())
		cli_note("no rival: crew was built by a compiler without OpenMP");
	for (size_t i = 1, pools = count; i < pools && cli.baseline && openmp_is_here(); i++)
		runners[count++] = (struct runner){ OPENMP, runners[i].workers, NULL };

	double speedups[KERNELS][2 * SIZES_MAX + 1];
	for (size_t i = 0; i < KERNELS; i++)
		measure(&kernels[i], runners, count, cli.quick ? 3 : ROUNDS_MAX, report, speedups[i]);
	report_table(report);
	report_say(report, "\nSpeed-up; | is where that many workers would be at best:\n\n");
	for (size_t i = 0; i < KERNELS; i++)
		picture(report, &kernels[i], runners, count, speedups[i], most);
	for (size_t i = 1; i < count; i++)
		if (runners[i].pool)
			crew_pool_close(runners[i].pool, CREW_FOREVER);
	return report_finish(report);
}
