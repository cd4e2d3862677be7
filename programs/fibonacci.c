/*
 * fibonacci - fork-join: exact huge numbers, and the recursion that everybody knows
 *
 *     fibonacci N...          F(N) = digits, exact, for N up to 10^10
 *     fibonacci --naive N...  the same by plain recursion, for N up to 60
 *     fibonacci               how large should a task be? what does a pool bring to one big number?
 *
 * Part 1: the recursion F(n) = F(n-1) + F(n-2) is a tree of calls. The program forks it down to a cut-off
 * into tasks, runs those on the pool, and joins: adds up what comes back. A task per call would be all
 * overhead, two tasks would leave most workers idle; in between lies the art.
 *
 * Part 2: fast doubling. From F(k) and F(k-1) follow F(2k-1), F(2k), F(2k+1) by two squarings,
 *
 *     F(2k-1) = F(k)^2 + F(k-1)^2      F(2k+1) = 4 F(k)^2 - F(k-1)^2 + 2 (-1)^k
 *
 * so the bits of n, from the top, lead from F(1) to F(n) in log2(n) steps. Small n are a task each. For
 * a large n, one number keeps the whole pool busy: the two squarings of a step are two tasks; then division
 * by powers of ten cuts the number in 2, 4, 8, ... pieces, and all pieces become digits at the same time.
 *
 * Part 3: numbers travel as limbs in shared memory. mpz_roinit_n() makes them GMP numbers where they
 * lie, so operands are not copied; a result is copied once, into a block that belongs to nobody until
 * the task has ended well. A worker may die at any time: its task is run again.
 *
 * Every answer is checked: up to 30 by the plain recursion, above by its length and by its remainder
 * modulo a prime, which 64-bit arithmetic finds by itself. Plain recursion is checked by fast doubling.
 */
#include "report.h"
#include "start.h"
#include "stats.h"
#include "text.h"

#include <crew/memory.h>
#include <crew/probe.h>
#include <crew/task.h>
#include <gmp.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_MAX UINT64_C(10000000000)
enum {
	NAIVE_MAX = 60,
	LARGE = 1 << 20,      /* from here on one number is more than one task, */
	HEAD = 1 << 16,       /* except for the steps below this, */
	LEAF_DIGITS = 100000, /* and but for pieces of fewer digits */
	LEVELS_MAX = 12
};

/* --- part 1: plain recursion, forked and joined --- */

static uint64_t recurse(unsigned n)
{
	return n < 2 ? n : recurse(n - 1) + recurse(n - 2);
}

static int recurse_task(const void *argument, void *result, void *context)
{
	(void)context;
	*(uint64_t *)result = recurse(*(const unsigned *)argument);
	return 0;
}

/* What is still to be forked: the tree's unvisited branches, the deepest on top. */
struct fork {
	unsigned cut_off;
	unsigned count, stack[NAIVE_MAX + 1];
};

/* Fork until a branch is small enough to be a task. */
static int next_task(void *argument, uint64_t index, void *source)
{
	(void)index;
	struct fork *fork = source;
	while (fork->count > 0) {
		unsigned n = fork->stack[--fork->count];
		if (n <= fork->cut_off || n < 2) {
			*(unsigned *)argument = n;
			return 0;
		}
		fork->stack[fork->count++] = n - 2;
		fork->stack[fork->count++] = n - 1;
	}
	return CREW_END_OF_DATA;
}

/* F(n), by tasks of F(cut_off) at most. Their results come in any order; joining is adding. */
static uint64_t fork_join(struct crew_pool *pool, unsigned n, unsigned cut_off, uint64_t *tasks)
{
	struct fork fork = { cut_off, 1, { n } };
	struct crew_stream *stream = NULL;
	struct crew_failure failure;
	uint64_t sum = 0, part, index;
	int r = crew_stream_open(&stream, pool, &(struct crew_stream_options){
		.task = { .function = recurse_task, .argument_size = sizeof n, .result_size = sizeof part },
		.next = next_task, .source = &fork, .in_flight = 0 });
	start_require(r, NULL);
	for (*tasks = 0; (r = crew_stream_next(stream, &index, &part, CREW_FOREVER, &failure)) == 0; ++*tasks)
		sum += part;
	start_require(r, &failure);
	crew_stream_close(stream);
	return sum;
}

/* Some hundred tasks, none of more than a few milliseconds. */
static unsigned good_cut_off(unsigned n)
{
	return n < 24 ? n : n < 40 ? n - 12 : 28;
}

/* --- part 2 and 3: fast doubling with numbers in shared memory --- */

/* A number that is not negative, in shared memory. */
struct number {
	mp_limb_t *limbs;
	size_t count;
};

static void view(mpz_t ret, struct number number)
{
	mpz_roinit_n(ret, number.limbs, (mp_size_t)number.count);
}

static int share(const mpz_t x, struct number *ret)
{
	size_t count = mpz_size(x);
	int r = crew_alloc(count * sizeof *ret->limbs, (void **)&ret->limbs);
	if (r == 0) {
		memcpy(ret->limbs, mpz_limbs_read(x), count * sizeof *ret->limbs);
		ret->count = count;
	}
	return r;
}

/* From a = F(k)^2 and b = F(k-1)^2: f = F(2k) and g = F(2k-1), or, if `one`, f = F(2k+1) and g = F(2k). */
static void double_index(mpz_t f, mpz_t g, const mpz_t a, const mpz_t b, bool k_is_odd, bool one)
{
	mpz_t below;
	mpz_init(below);
	mpz_add(below, a, b);
	mpz_mul_2exp(f, a, 2);
	mpz_sub(f, f, b);
	if (k_is_odd)
		mpz_sub_ui(f, f, 2);
	else
		mpz_add_ui(f, f, 2);
	mpz_sub(g, f, below);
	if (!one) {
		mpz_swap(f, g);
		mpz_swap(g, below);
	}
	mpz_clear(below);
}

static unsigned bits(uint64_t n)
{
	return n ? 64 - (unsigned)__builtin_clzll(n) : 0;
}

/* f = F(n), g = F(n-1), n > 0, by one process. */
static void fibonacci_pair(mpz_t f, mpz_t g, uint64_t n)
{
	mpz_t a, b;
	mpz_inits(a, b, NULL);
	mpz_set_ui(f, 1);
	mpz_set_ui(g, 0);
	for (unsigned i = bits(n) - 1; i-- > 0;) {
		mpz_mul(a, f, f);
		mpz_mul(b, g, g);
		double_index(f, g, a, b, n >> (i + 1) & 1, n >> i & 1);
	}
	mpz_clears(a, b, NULL);
}

/* The answer: digits in shared memory, perhaps with zeros in front of the first. */
struct answer {
	char *block;
	size_t first, length;
	double seconds;
};

/* A whole number, as one task. */
static int small_task(const void *argument, void *result, void *context)
{
	(void)context;
	uint64_t n = *(const uint64_t *)argument;
	struct answer *answer = result;
	double begin = stats_clock();
	mpz_t f, g;
	mpz_inits(f, g, NULL);
	if (n > 0)
		fibonacci_pair(f, g, n);
	int r = crew_alloc(mpz_sizeinbase(f, 10) + 2, (void **)&answer->block);
	if (r == 0) {
		mpz_get_str(answer->block, 10, f);
		answer->length = strlen(answer->block);
	}
	mpz_clears(f, g, NULL);
	answer->seconds = stats_clock() - begin;
	return r;
}

static int square_task(const void *argument, void *result, void *context)
{
	(void)context;
	mpz_t x, square;
	view(x, *(const struct number *)argument);
	mpz_init(square);
	mpz_mul(square, x, x);
	int r = share(square, result);
	mpz_clear(square);
	return r;
}

struct split { struct number number, power; };
struct halves { struct number high, low; };

static int split_task(const void *argument, void *result, void *context)
{
	(void)context;
	const struct split *split = argument;
	struct halves *halves = result;
	mpz_t x, power, high, low;
	view(x, split->number);
	view(power, split->power);
	mpz_inits(high, low, NULL);
	mpz_tdiv_qr(high, low, x, power);
	int r = share(high, &halves->high);
	if (r == 0)
		r = share(low, &halves->low);
	mpz_clears(high, low, NULL);
	return r;
}

/* A number as exactly `length` digits, at its place in the text. */
struct leaf { struct number number; char *text; size_t length; };

static int leaf_task(const void *argument, void *result, void *context)
{
	(void)result, (void)context;
	const struct leaf *leaf = argument;
	mpz_t x;
	view(x, leaf->number);
	char *digits = mpz_get_str(NULL, 10, x);
	size_t length = strlen(digits);
	memset(leaf->text, '0', leaf->length - length);
	memcpy(leaf->text + leaf->length - length, digits, length);
	free(digits);
	return 0;
}

/* out[i] = task(in[i]), a task each. */
static void run(struct crew_pool *pool, crew_task_fn *task, const void *in, size_t in_size,
		void *out, size_t out_size, size_t count)
{
	struct crew_failure failure;
	start_require(crew_pool_map(pool, task, in, in_size, out, out_size, count,
		&(struct crew_map_options){ .chunk = 1, .failure = &failure }), &failure);
}

/* F(n): the head by this process, then step by step two squarings on the pool. */
static struct number large_fibonacci(struct crew_pool *pool, uint64_t n)
{
	mpz_t f, g;
	mpz_inits(f, g, NULL);
	unsigned steps = 0;
	while (n >> steps >= HEAD)
		steps++;
	fibonacci_pair(f, g, n >> steps);
	struct number pair[2], squares[2];
	while (steps-- > 0) {
		start_require(share(f, &pair[0]), NULL);
		start_require(share(g, &pair[1]), NULL);
		run(pool, square_task, pair, sizeof *pair, squares, sizeof *squares, 2);
		mpz_t a, b;
		view(a, squares[0]);
		view(b, squares[1]);
		double_index(f, g, a, b, n >> (steps + 1) & 1, n >> steps & 1);
		for (int i = 0; i < 2; i++) {
			crew_free(pair[i].limbs);
			crew_free(squares[i].limbs);
		}
	}
	mpz_clear(g);
	start_require(share(f, &pair[0]), NULL);
	mpz_clear(f);
	return pair[0];
}

/* Decimal digits of F(n), which is phi^n / sqrt(5), rounded. */
static uint64_t digits_of(uint64_t n)
{
	long double phi = (1 + sqrtl(5)) / 2;
	return n < 2 ? 1 : (uint64_t)((long double)n * log10l(phi) - log10l(5) / 2) + 1;
}

/* The digits of a number that has `count` of them: cut in 2, 4, 8, ... pieces, then all pieces at once. */
static struct answer large_digits(struct crew_pool *pool, struct number number, size_t count)
{
	unsigned levels = 1;
	while (levels < LEVELS_MAX && count >> (levels + 1) >= LEAF_DIGITS)
		levels++;
	size_t pieces = (size_t)1 << levels, length = (count + pieces - 1) / pieces;

	/* powers[i] = 10^(length * 2^i): where a number of level i + 1 is cut. */
	struct number powers[LEVELS_MAX + 1];
	mpz_t power;
	mpz_init(power);
	mpz_ui_pow_ui(power, 10, length);
	start_require(share(power, &powers[0]), NULL);
	mpz_clear(power);
	for (unsigned i = 1; i < levels; i++)
		run(pool, square_task, &powers[i - 1], sizeof *powers, &powers[i], sizeof *powers, 1);

	/* Level by level, all numbers of a level at the same time. */
	struct number *numbers = cli_need(calloc(pieces, sizeof *numbers));
	struct split *splits = cli_need(calloc(pieces, sizeof *splits));
	numbers[0] = number;
	for (unsigned level = levels; level-- > 0;) {
		size_t have = pieces >> (level + 1);
		for (size_t i = 0; i < have; i++)
			splits[i] = (struct split){ numbers[i], powers[level] };
		run(pool, split_task, splits, sizeof *splits, numbers, sizeof(struct halves), have);
		for (size_t i = 0; i < have; i++)
			crew_free(splits[i].number.limbs);
		crew_free(powers[level].limbs);
	}

	struct answer answer = { .length = count, .first = pieces * length - count };
	start_require(crew_alloc(pieces * length, (void **)&answer.block), NULL);
	struct leaf *leaves = cli_need(calloc(pieces, sizeof *leaves));
	for (size_t i = 0; i < pieces; i++)
		leaves[i] = (struct leaf){ numbers[i], answer.block + i * length, length };
	run(pool, leaf_task, leaves, sizeof *leaves, NULL, 0, pieces);
	for (size_t i = 0; i < pieces; i++)
		crew_free(numbers[i].limbs);
	free(leaves);
	free(splits);
	free(numbers);
	return answer;
}

static struct answer large(struct crew_pool *pool, uint64_t n)
{
	double begin = stats_clock();
	struct answer answer = large_digits(pool, large_fibonacci(pool, n), digits_of(n));
	answer.seconds = stats_clock() - begin;
	return answer;
}

/* --- checks --- */

static const uint64_t prime = (UINT64_C(1) << 61) - 1;

static uint64_t multiply(uint64_t a, uint64_t b)
{
	return (uint64_t)((unsigned __int128)a * b % prime);
}

/*
 * F(n) modulo the prime, by fast doubling in another form:
 * F(2k) = F(k) (2 F(k+1) - F(k)), F(2k+1) = F(k)^2 + F(k+1)^2.
 */
static uint64_t remainder_of(uint64_t n)
{
	uint64_t f = 0, next = 1;
	for (unsigned i = bits(n); i-- > 0;) {
		uint64_t even = multiply(f, (2 * next + prime - f) % prime);
		uint64_t odd = (multiply(f, f) + multiply(next, next)) % prime;
		bool one = n >> i & 1;
		f = one ? odd : even;
		next = one ? (even + odd) % prime : odd;
	}
	return f;
}

static bool is_right(uint64_t n, const char *digits, size_t length)
{
	if (length != digits_of(n) || (digits[0] == '0' && n > 0))
		return false;
	uint64_t remainder = 0;
	for (size_t i = 0; i < length;) {
		uint64_t part = 0, scale = 1;
		for (unsigned k = 0; k < 18 && i < length; k++, i++) {
			unsigned digit = (unsigned)(digits[i] - '0');
			if (digit > 9)
				return false;
			part = part * 10 + digit;
			scale *= 10;
		}
		remainder = (multiply(remainder, scale) + part) % prime;
	}
	return remainder == remainder_of(n) && (n > 30 || recurse((unsigned)n) == remainder);
}

/* --- telling it --- */

static void tell(const struct cli *cli, struct report *report, uint64_t n,
		const char *digits, size_t length, double seconds)
{
	struct json_t *row = report_row(report);
	report_uint(row, "n", n);
	if (cli->json && json_object_set_new(row, "digits", json_stringn(digits, length)) < 0)
		cli_lack("out of memory");
	report_real(row, "seconds", seconds);
	if (cli->json)
		return;
	printf("F(%" PRIu64 ") = ", n);
	fwrite(digits, 1, length, stdout);
	putchar('\n');
}

/* --- the three ways to start --- */

struct list {
	uint64_t *n;
	size_t count;
	bool naive;
};

static void naive_list(const struct cli *cli, struct report *report, struct crew_pool *pool,
		const struct list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		unsigned n = (unsigned)list->n[i];
		uint64_t tasks;
		double begin = stats_clock();
		uint64_t value = fork_join(pool, n, good_cut_off(n), &tasks);
		double seconds = stats_clock() - begin;
		mpz_t f, g;
		mpz_inits(f, g, NULL);
		if (n > 0)
			fibonacci_pair(f, g, n);
		report_check(report, mpz_cmp_ui(f, value) == 0, "F(%u): recursion and fast doubling do not agree", n);
		mpz_clears(f, g, NULL);
		char digits[24];
		int length = snprintf(digits, sizeof digits, "%" PRIu64, value);
		tell(cli, report, n, digits, (size_t)length, seconds);
	}
}

/*
 * Refuse, before anything is printed, what will not fit. Measured, a large n takes 0.35 bytes times n at the
 * height of its computation, most of it for digits; allowed for is nearly twice that, and what JSON copies.
 */
static void check_memory(const struct cli *cli, const struct list *list)
{
	uint64_t most = 0;
	for (size_t i = 0; i < list->count; i++)
		most = list->n[i] > most ? list->n[i] : most;
	struct crew_limits limits;
	crew_limits(&limits);
	bool group = limits.memory_cgroup < limits.memory_available;
	uint64_t have = (group ? limits.memory_cgroup : limits.memory_available) / 5 * 4;
	uint64_t need = most / 8 * 5 + (cli->json ? 2 * digits_of(most) : 0);
	char need_text[32], have_text[32];
	text_bytes(need_text, (double)need);
	text_bytes(have_text, (double)have);
	if (need > have)
		cli_lack("F(%" PRIu64 ") has %" PRIu64 " digits and takes about %s of memory, but there are only %s: "
			"give a smaller N", most, digits_of(most), need_text, have_text);
}

/* Small numbers run ahead as tasks, a bounded number of them; a large one takes the whole pool in its turn. */
static void exact_list(const struct cli *cli, struct report *report, struct crew_pool *pool,
		const struct list *list)
{
	enum { AHEAD = 64 };
	crew_ticket tickets[AHEAD];
	size_t started = 0;
	for (size_t i = 0; i < list->count; i++) {
		for (; started < list->count && started < i + AHEAD; started++)
			if (list->n[started] < LARGE)
				start_require(crew_pool_submit(pool, &(struct crew_task){ .function = small_task,
					.argument = &list->n[started], .argument_size = sizeof *list->n,
					.result_size = sizeof(struct answer), .index = started },
					&tickets[started % AHEAD], CREW_FOREVER), NULL);
		uint64_t n = list->n[i];
		struct answer answer;
		struct crew_failure failure;
		if (n < LARGE)
			start_require(crew_pool_wait(pool, tickets[i % AHEAD], &answer, CREW_FOREVER, &failure), &failure);
		else
			answer = large(pool, n);
		const char *digits = answer.block + answer.first;
		if (report_check(report, is_right(n, digits, answer.length), "F(%" PRIu64 ") is wrong", n))
			tell(cli, report, n, digits, answer.length, answer.seconds);
		crew_free(answer.block);
	}
}

/* The same by GMP's own function, in this process: seconds. */
static double rival(uint64_t n, const char *digits, size_t length, struct report *report)
{
	double begin = stats_clock();
	mpz_t f;
	mpz_init(f);
	mpz_fib_ui(f, n);
	char *text = mpz_get_str(NULL, 10, f);
	double seconds = stats_clock() - begin;
	report_check(report, strlen(text) == length && memcmp(text, digits, length) == 0,
		"GMP finds another F(%" PRIu64 ")", n);
	free(text);
	mpz_clear(f);
	return seconds;
}

static void compare(struct report *report, struct crew_pool *pool, uint64_t n)
{
	enum { ROUNDS = 3 };
	double ours[ROUNDS], theirs[ROUNDS];
	for (int i = 0; i < ROUNDS; i++) {
		struct answer answer = large(pool, n);
		ours[i] = answer.seconds;
		theirs[i] = rival(n, answer.block + answer.first, answer.length, report);
		crew_free(answer.block);
	}
	double ratio = stats_ratio(ours, theirs, ROUNDS);
	cli_note("F(%" PRIu64 "): GMP in one process takes %.2f times as long", n, ratio);
	report_real(report_top(report), "ratio", ratio);
}

/* One row of the lesson. */
static struct json_t *lesson(struct report *report, unsigned n, uint64_t value, const char *method,
		double seconds)
{
	char digits[24];
	snprintf(digits, sizeof digits, "%" PRIu64, value);
	struct json_t *row = report_row(report);
	report_str(row, "method", method);
	report_uint(row, "n", n);
	report_str(row, "digits", digits);
	report_real(row, "seconds", seconds);
	return row;
}

static void tour(const struct cli *cli, struct report *report, struct crew_pool *pool)
{
	unsigned n = cli->quick ? 36 : 40;
	report_say(report, "F(%u) by plain recursion: the same calls, cut into tasks of different size.\n"
		"Too few tasks leave workers idle, too many are all overhead.\n\n", n);
	double begin = stats_clock();
	uint64_t value = recurse(n);
	double serial = stats_clock() - begin;
	struct json_t *row = lesson(report, n, value, "one process", serial);
	report_uint(row, "tasks", 1);
	report_real(row, "speedup", 1);
	static const unsigned levels[] = { 1, 4, 8, 12, 16, 20 };
	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
		char method[32];
		uint64_t tasks;
		begin = stats_clock();
		uint64_t joined = fork_join(pool, n, n - levels[i], &tasks);
		double seconds = stats_clock() - begin;
		snprintf(method, sizeof method, "tasks of F(%u)", n - levels[i]);
		row = lesson(report, n, joined, method, seconds);
		report_uint(row, "tasks", tasks);
		report_real(row, "speedup", serial / seconds);
		report_check(report, joined == value, "F(%u): %s give %" PRIu64 ", not %" PRIu64, n, method, joined, value);
	}
	report_check(report, value == remainder_of(n), "F(%u): recursion and fast doubling do not agree", n);
	report_table(report);

	uint64_t large_n = cli->quick ? 2000000 : 20000000;
	struct answer answer = large(pool, large_n);
	const char *digits = answer.block + answer.first;
	report_check(report, is_right(large_n, digits, answer.length), "F(%" PRIu64 ") is wrong", large_n);
	double theirs = rival(large_n, digits, answer.length, report);
	report_say(report, "\nF(%" PRIu64 ") = %.20s...%.20s\nhas %zu digits. "
		"One process takes %.2f s, tasks over the pool %.2f s: %.2f times as fast.\n",
		large_n, digits, digits + answer.length - 20, answer.length, theirs, answer.seconds,
		theirs / answer.seconds);
	row = report_row(report);
	report_str(row, "method", "fast doubling");
	report_uint(row, "n", large_n);
	if (cli->json)
		json_object_set_new(row, "digits", json_stringn(digits, answer.length));
	report_real(row, "seconds", answer.seconds);
	report_real(row, "speedup", theirs / answer.seconds);
	report_no_table(report);
	crew_free(answer.block);
}

/* --- the command line --- */

static const struct argp_option options[] = {
	{ "naive", 'n', NULL, 0, "By plain recursion, forked and joined over the pool; N up to 60", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct list *list = state->input;
	switch (key) {
	case 'n':
		list->naive = true;
		return 0;
	case ARGP_KEY_ARG:
		list->n[list->count++] = cli_parse_u64(state, "N", arg, 0, N_MAX);
		return 0;
	case ARGP_KEY_END:
		for (size_t i = 0; i < list->count && list->naive; i++)
			if (list->n[i] > NAIVE_MAX)
				argp_error(state, "--naive: %" PRIu64 " is more than %d, where plain recursion takes hours",
					list->n[i], NAIVE_MAX);
		if (list->naive && !list->count)
			argp_error(state, "--naive: needs an N");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = { options, parse, "[N...]",
	"Exact Fibonacci numbers over a pool of processes, in the order given; N up to 10000000000. "
	"Without arguments: how large a task should be, and what a pool brings to one big number.",
	cli_children, NULL, NULL };

/* GMP would abort with a message; a worker without memory just goes, and the caller tells. */
static void *enough(void *memory)
{
	if (!memory && crew_task_self())
		_exit(EXIT_LACK);
	return cli_need(memory);
}

static void *gmp_allocate(size_t size)
{
	return enough(malloc(size));
}

static void *gmp_reallocate(void *block, size_t old_size, size_t size)
{
	(void)old_size;
	return enough(realloc(block, size));
}

int main(int argc, char **argv)
{
	struct list list = { .n = calloc((size_t)argc, sizeof *list.n) };
	cli_need(list.n);
	struct cli cli = cli_parse(&argp, argc, argv, &list);
	check_memory(&cli, &list);
	mp_set_memory_functions(gmp_allocate, gmp_reallocate, NULL);
	start_family(&cli);
	struct report *report = report_open(&cli);
	struct crew_pool *pool = start_pool(&cli, &(struct crew_pool_options){ .name = "fibonacci" });
	if (!list.count)
		tour(&cli, report, pool);
	else if (list.naive)
		naive_list(&cli, report, pool, &list);
	else
		exact_list(&cli, report, pool, &list);
	if (cli.baseline && list.count) {
		size_t large_ones = 0;
		for (size_t i = 0; i < list.count && !list.naive; i++)
			if (list.n[i] >= LARGE && ++large_ones)
				compare(report, pool, list.n[i]);
		if (!large_ones)
			cli_note("--baseline compares with GMP from N = %d on; here it has no rival", LARGE);
	}
	if (list.count)
		report_no_table(report);
	crew_pool_close(pool, CREW_FOREVER);
	free(list.n);
	return report_finish(report);
}
