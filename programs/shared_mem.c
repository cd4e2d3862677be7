/*
 * shared_mem - memory that several processes have at the same address: what it is good for, and what it costs
 *
 *     counters   one number that all raise: lost without protection, slow with a lock, faster with an atomic
 *                instruction, fastest with a number each; but not if these numbers share a cache line
 *     arrays     shared memory is memory: reading and writing it costs what private memory costs
 *     a tree     one process builds it with ordinary pointers, the others walk it
 *     copies     64 KiB ... 16 MiB go to another process through a pipe(2), through a crew_pipe, and not at all: it
 *                is given the pointer
 *     crashes    processes are killed while they allocate, free and update; what they shared stays whole
 *
 * Every row is checked: counts, sums, the order of the tree, the heap's own invariants. `bytes` is what was read or
 * written, so bytes_per_second compares the ways to do the same; operation_ns is the time of one, as one process sees it.
 */
#include "random.h"
#include "report.h"
#include "start.h"
#include "stats.h"
#include "team.h"

#include <crew/crew.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE 64                       /* bytes of a cache line */
#define RACE_SECONDS 5.0              /* the longest we wait for a race to show */
#define PATIENCE (60 * CREW_SECOND)   /* for anything that should take a moment */

static struct report *report;
static struct cli cli;

static void must(const char *what, int r)
{
	if (r < 0)
		cli_lack("%s: %s", what, crew_strerror(r));
}

/* Zeroed shared memory, aligned to a cache line. */
static void *shared(size_t count, size_t size)
{
	void *memory;
	must("crew_array", crew_array(count, size, &memory));
	return memory;
}

static struct json_t *row(const char *name, uint64_t bytes, double seconds)
{
	struct json_t *row = report_row(report);
	report_str(row, "case", name);
	report_uint(row, "bytes", bytes);
	report_real(row, "seconds", seconds);
	report_real(row, "bytes_per_second", (double)bytes / seconds);
	return row;
}

/* When a member of a team worked, on the clock that all processes share. */
struct span {
	_Alignas(LINE) double begin, end;
};

static double span_of_all(const struct span *spans, unsigned count)
{
	double begin = spans[0].begin, end = spans[0].end;
	for (unsigned i = 1; i < count; i++) {
		begin = spans[i].begin < begin ? spans[i].begin : begin;
		end = spans[i].end > end ? spans[i].end : end;
	}
	return end - begin;
}

static void join(struct team *team, const char *what)
{
	unsigned failed = team_join(team, crew_after(PATIENCE));
	report_check(report, failed == 0, "%s: %u processes failed", what, failed);
}

/* --- what is shared, and what is not --- */

static int global; /* every process has its own */

static int raise_both(void *memory, unsigned number)
{
	(void)number;
	++*(int *)memory;
	global++;
	return 0;
}

static void show_sharing(void)
{
	int *word = shared(1, sizeof *word);
	join(team_start(1, "child", raise_both, word), "sharing");
	report_say(report, "A child has raised two numbers. The parent sees %d where memory is shared, %d in a global variable\n\n",
		*word, global);
	report_check(report, *word == 1 && global == 0, "sharing: %d in shared memory, %d in a global variable", *word, global);
	crew_free(word);
}

/* --- counters --- */

struct counters {
	uint64_t rounds; /* for each process */
	void (*raise)(struct counters *counters, unsigned number);
	struct crew_lock lock;
	_Alignas(LINE) uint64_t one;              /* that all raise */
	_Alignas(LINE) uint64_t close[4096];      /* one each, eight in a cache line */
	struct { _Alignas(LINE) uint64_t count; } apart[4096]; /* one each, a line each */
	struct span span[4096];
};

/* Loads, adds, stores. What another process has stored in between is lost. */
static void raise_carelessly(struct counters *c, unsigned number)
{
	(void)number;
	__atomic_store_n(&c->one, __atomic_load_n(&c->one, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
}

static void raise_locked(struct counters *c, unsigned number)
{
	(void)number;
	if (crew_lock_acquire(&c->lock, CREW_FOREVER) < 0)
		_exit(1);
	c->one++;
	crew_lock_release(&c->lock);
}

static void raise_atomically(struct counters *c, unsigned number)
{
	(void)number;
	__atomic_fetch_add(&c->one, 1, __ATOMIC_RELAXED);
}

/* Each its own, so nothing is ever contended; but caches move lines, not words, and this line is wanted by all. */
static void raise_close(struct counters *c, unsigned number)
{
	__atomic_fetch_add(&c->close[number], 1, __ATOMIC_RELAXED);
}

static void raise_apart(struct counters *c, unsigned number)
{
	__atomic_fetch_add(&c->apart[number].count, 1, __ATOMIC_RELAXED);
}

static int counter_member(void *memory, unsigned number)
{
	struct counters *c = memory;
	c->span[number].begin = stats_clock();
	for (uint64_t i = 0; i < c->rounds; i++)
		c->raise(c, number);
	c->span[number].end = stats_clock();
	return 0;
}

/* One run: seconds; ret_lost is how much less than expected the counters say in the end. */
static double run_counters(void (*raise)(struct counters *, unsigned), unsigned workers, uint64_t rounds, uint64_t *ret_lost)
{
	struct counters *c = shared(1, sizeof *c);
	c->raise = raise;
	c->rounds = rounds;
	join(team_start(workers, "counter", counter_member, c), "counters");
	double seconds = span_of_all(c->span, workers);
	uint64_t sum = c->one;
	for (unsigned i = 0; i < workers; i++)
		sum += c->close[i] + c->apart[i].count;
	*ret_lost = workers * rounds - sum;
	crew_free(c);
	return seconds;
}

static struct json_t *counter_row(const char *name, unsigned workers, uint64_t rounds, double seconds, uint64_t lost)
{
	struct json_t *r = row(name, workers * rounds * sizeof(uint64_t), seconds);
	report_real(r, "operation_ns", seconds * 1e9 / (double)rounds);
	report_uint(r, "lost", lost);
	return r;
}

static void count(const char *name, void (*raise)(struct counters *, unsigned), unsigned workers, uint64_t rounds)
{
	uint64_t lost;
	double seconds = run_counters(raise, workers, rounds, &lost);
	counter_row(name, workers, rounds, seconds, lost);
	report_check(report, lost == 0, "%s: %" PRIu64 " are lost", name, lost);
}

/* A mistake need not show at once: again, until it does. */
static void count_carelessly(const char *name, unsigned workers, uint64_t rounds)
{
	uint64_t lost, runs = 0;
	double seconds = 0;
	do {
		seconds += run_counters(raise_carelessly, workers, rounds, &lost);
		runs++;
	} while (lost == 0 && seconds < RACE_SECONDS);
	struct json_t *r = counter_row(name, workers, rounds * runs, seconds, lost);
	if (lost == 0)
		report_bool(r, "not_observed", true);
}

/* The same work twice, in turn, so that what the machine does in between hits both. */
static double count_twins(unsigned workers, uint64_t rounds)
{
	enum { TURNS = 5 };
	double close[TURNS], apart[TURNS];
	uint64_t lost, lost_close = 0, lost_apart = 0;
	for (int i = 0; i < TURNS; i++) {
		close[i] = run_counters(raise_close, workers, rounds, &lost);
		lost_close += lost;
		apart[i] = run_counters(raise_apart, workers, rounds, &lost);
		lost_apart += lost;
	}
	double ratio = stats_ratio(apart, close, TURNS);
	counter_row("counters, one each, in one line", workers, rounds, stats_median(close, TURNS), lost_close);
	counter_row("counters, one each, a line each", workers, rounds, stats_median(apart, TURNS), lost_apart);
	report_check(report, lost_close + lost_apart == 0, "counters, one each: %" PRIu64 " are lost", lost_close + lost_apart);
	return ratio;
}

static void show_counters(uint64_t all_rounds)
{
	unsigned workers = cli.workers < 2 ? 2 : cli.workers; /* a race needs two */
	uint64_t rounds = all_rounds / workers;
	report_say(report, "Counters: %u processes raise a number\n", workers);
	count_carelessly("counter, no protection", workers, rounds);
	count("counter, lock", raise_locked, workers, rounds / 4);
	count("counter, atomic", raise_atomically, workers, rounds);
	double ratio = count_twins(workers, rounds);
	report_table(report);
	report_say(report, "Neighbours in a cache line take %.1f times as long as strangers: false sharing. (Only processes that\n"
		"run at the same time on different cores are in each other's way.)\n\n", ratio);
}

/* --- arrays --- */

struct array {
	uint64_t *words;
	uint64_t count;
	unsigned workers;
	uint64_t sum[4096];
	struct span span[4096];
};

/* Fill a part of the array, then add it up. */
static uint64_t fill_and_sum(uint64_t *words, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		words[i] = i;
	__asm__ volatile("" ::: "memory"); /* or the compiler would compute the sum and not look */
	uint64_t sum = 0;
	for (uint64_t i = from; i < to; i++)
		sum += words[i];
	return sum;
}

static int array_member(void *memory, unsigned number)
{
	struct array *a = memory;
	uint64_t from = a->count * number / a->workers, to = a->count * (number + 1) / a->workers;
	for (uint64_t i = from; i < to; i += 4096 / sizeof *a->words)
		a->words[i] = 0; /* every process maps a page when it first touches it: that is not what we measure */
	a->span[number].begin = stats_clock();
	a->sum[number] = fill_and_sum(a->words, from, to);
	a->span[number].end = stats_clock();
	return 0;
}

static void show_arrays(size_t bytes)
{
	struct array *a = shared(1, sizeof *a);
	uint64_t words = bytes / sizeof *a->words, wanted = words * (words - 1) / 2;
	report_say(report, "Arrays: written and read, once each\n");

	uint64_t *private = cli_need(calloc(words, sizeof *private));
	memset(private, 1, bytes); /* as shared memory below, so that all pages are there */
	double begin = stats_clock();
	uint64_t sum = fill_and_sum(private, 0, words);
	row("array, private memory", 2 * bytes, stats_clock() - begin);
	report_check(report, sum == wanted, "private array: wrong sum");
	free(private);

	a->words = shared(words, sizeof *a->words);
	a->count = words;
	memset(a->words, 1, bytes);
	begin = stats_clock();
	sum = fill_and_sum(a->words, 0, words);
	row("array, shared memory", 2 * bytes, stats_clock() - begin);
	report_check(report, sum == wanted, "shared array: wrong sum");

	a->workers = cli.workers;
	join(team_start(a->workers, "array", array_member, a), "array");
	row("array, shared, all processes", 2 * bytes, span_of_all(a->span, a->workers));
	sum = 0;
	for (unsigned i = 0; i < a->workers; i++)
		sum += a->sum[i];
	report_check(report, sum == wanted, "array of all: wrong sum");
	crew_free(a->words);
	crew_free(a);
	report_table(report);
	report_say(report, "\n");
}

/* --- a structure with pointers --- */

struct node {
	uint64_t key;
	struct node *left, *right;
};

struct tree {
	struct node *root;
	uint64_t nodes, seed;
	struct walk { uint64_t nodes, sum, last; bool sorted; } walk[4096];
	struct span span[4096];
};

/* All different, in random order. */
static uint64_t key_of(const struct tree *tree, uint64_t i)
{
	return rng_mix(tree->seed + i);
}

/* One process builds: crew_alloc where malloc would be, and pointers as they come. */
static int build_member(void *memory, unsigned number)
{
	struct tree *tree = memory;
	tree->span[number].begin = stats_clock();
	for (uint64_t i = 0; i < tree->nodes; i++) {
		struct node *node;
		int r = crew_alloc(sizeof *node, (void **)&node);
		if (r < 0)
			return 1;
		*node = (struct node){ .key = key_of(tree, i) };
		struct node **place = &tree->root;
		while (*place)
			place = node->key < (*place)->key ? &(*place)->left : &(*place)->right;
		*place = node;
	}
	tree->span[number].end = stats_clock();
	return 0;
}

/* In order: the keys must come sorted. */
static void walk_below(const struct node *node, struct walk *walk)
{
	for (; node; node = node->right) {
		walk_below(node->left, walk);
		walk->sorted = walk->sorted && (walk->nodes == 0 || node->key > walk->last);
		walk->last = node->key;
		walk->sum += node->key;
		walk->nodes++;
	}
}

static int walk_member(void *memory, unsigned number)
{
	struct tree *tree = memory;
	struct walk walk = { .sorted = true };
	tree->span[number].begin = stats_clock();
	walk_below(tree->root, &walk);
	tree->span[number].end = stats_clock();
	tree->walk[number] = walk;
	return 0;
}

static void fell(struct node *node)
{
	while (node) {
		struct node *right = node->right;
		fell(node->left);
		crew_free(node);
		node = right;
	}
}

static void show_tree(uint64_t nodes)
{
	struct tree *tree = shared(1, sizeof *tree);
	uint64_t bytes = nodes * sizeof(struct node), sum = 0;
	tree->nodes = nodes;
	tree->seed = cli.seed;
	for (uint64_t i = 0; i < nodes; i++)
		sum += key_of(tree, i);
	report_say(report, "A search tree of %" PRIu64 " nodes: built by one process, walked by %u others\n", nodes, cli.workers);
	join(team_start(1, "builder", build_member, tree), "tree");
	row("tree, built by one", bytes, span_of_all(tree->span, 1));
	join(team_start(cli.workers, "walker", walk_member, tree), "tree");
	row("tree, walked by the others", bytes * cli.workers, span_of_all(tree->span, cli.workers));
	for (unsigned i = 0; i < cli.workers; i++) {
		const struct walk *w = &tree->walk[i];
		report_check(report, w->nodes == nodes && w->sum == sum && w->sorted,
			"tree: process %u saw %" PRIu64 " of %" PRIu64 " nodes, %s", i, w->nodes, nodes,
			w->sorted ? "sorted" : "not sorted");
	}
	fell(tree->root);
	crew_free(tree);
	report_table(report);
	report_say(report, "\n");
}

/* --- copies --- */

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

static void show_copies(size_t total)
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

/* --- crashes --- */

/*
 * A sorted list that is linked both ways, in an array of nodes. The chain of `next` is the truth: a node is in the list by
 * the one store that links it. `prev` and `count` follow from the chain, so whoever finds that the last owner of the lock
 * has died makes them anew. A node that was not linked is simply used again.
 */
#define STEPS 4   /* where an update may be cut off: before it, between its three stores */
#define ITEMS 300 /* that each process inserts */

struct list {
	struct crew_lock lock;
	struct item { uint64_t key; struct item *next, *prev; } head, *items;
	uint64_t count, repairs;
	uint64_t inserted[2];
	int die_at; /* the step before which process 0 kills itself, in the middle of its work */
};

static void maybe_die(const struct list *list, unsigned number, int step)
{
	if (number == 0 && list->inserted[0] == ITEMS / 2 && list->die_at == step)
		kill(getpid(), SIGKILL);
}

static void repair(struct list *list)
{
	uint64_t count = 0;
	struct item *before = &list->head;
	for (struct item *item = before->next; item; before = item, item = item->next) {
		item->prev = before;
		count++;
	}
	list->count = count;
	list->repairs++;
}

static int insert(struct list *list, unsigned number, uint64_t key)
{
	int r = crew_lock_acquire(&list->lock, crew_after(PATIENCE));
	if (r < 0)
		return r;
	if (r == CREW_OWNER_DIED) {
		repair(list);
		crew_lock_repaired(&list->lock);
	}
	struct item *item = &list->items[list->count], *before = &list->head;
	while (before->next && before->next->key < key)
		before = before->next;
	*item = (struct item){ key, before->next, before };
	maybe_die(list, number, 0);
	__atomic_store_n(&before->next, item, __ATOMIC_RELEASE);
	maybe_die(list, number, 1);
	if (item->next)
		__atomic_store_n(&item->next->prev, item, __ATOMIC_RELEASE);
	maybe_die(list, number, 2);
	__atomic_store_n(&list->count, list->count + 1, __ATOMIC_RELEASE);
	maybe_die(list, number, 3);
	crew_lock_release(&list->lock);
	return 0;
}

static int list_member(void *memory, unsigned number)
{
	struct list *list = memory;
	struct rng rng = rng_of(1, number);
	for (; list->inserted[number] < ITEMS; list->inserted[number]++)
		if (insert(list, number, rng_next(&rng)) < 0)
			return 1;
	return 0;
}

static bool list_is_whole(const struct list *list)
{
	uint64_t count = 0;
	const struct item *before = &list->head;
	for (const struct item *item = before->next; item; before = item, item = item->next, count++)
		if (item->prev != before || (count && item->key < before->key))
			return false;
	return count == list->count;
}

static void show_cut_off_updates(void)
{
	uint64_t bytes = 0;
	double begin = stats_clock();
	for (int step = 0; step < STEPS; step++) {
		struct list *list = shared(1, sizeof *list);
		list->items = shared(2 * ITEMS, sizeof *list->items);
		list->die_at = step;
		struct team *team = team_start(2, "writer", list_member, list);
		unsigned failed = team_join(team, crew_after(PATIENCE));
		/* One died in an insertion that took effect, or did not: by the store that links. */
		uint64_t wanted = ITEMS + ITEMS / 2 + (step > 0);
		report_check(report, failed == 1 && list->inserted[1] == ITEMS, "list: %u processes ended before their time",
			failed);
		int r = crew_lock_acquire(&list->lock, crew_after(PATIENCE));
		must("crew_lock_acquire", r);
		if (r == CREW_OWNER_DIED) { /* the other had been ready before: we are the first to come across the dead owner */
			repair(list);
			crew_lock_repaired(&list->lock);
		}
		report_check(report, list->repairs == 1 && list_is_whole(list) && list->count == wanted,
			"list, death at step %d: %" PRIu64 " items instead of %" PRIu64 ", %" PRIu64 " repairs", step, list->count,
			wanted, list->repairs);
		crew_lock_release(&list->lock);
		bytes += list->count * sizeof *list->items;
		crew_free(list->items);
		crew_free(list);
	}
	report_uint(row("crash, in an update", bytes, stats_clock() - begin), "deaths", STEPS);
}

/*
 * Processes that allocate and free all the time, killed anywhere. The heap is whole afterwards, always. What belonged to
 * a task of a pool is freed with it; so when all is over, exactly the blocks of before are there.
 */
#define HANDS 64 /* blocks that a task has at a time */

struct juggle {
	uint32_t stop;
	uint64_t turns;
};

static int juggle(const void *argument, void *result, void *context)
{
	(void)argument;
	(void)result;
	struct juggle *j = context;
	void *hand[HANDS] = { NULL };
	struct rng rng = rng_of((uint64_t)getpid(), crew_task_self()->index); /* every life differs */
	uint64_t turns = 0;
	for (; !__atomic_load_n(&j->stop, __ATOMIC_RELAXED); turns++) {
		uint64_t i = rng_below(&rng, HANDS), size = UINT64_C(1) << rng_below(&rng, 18);
		crew_free(hand[i]);
		if (crew_alloc(size, &hand[i]) < 0)
			hand[i] = NULL;
		else
			memset(hand[i], (int)i, size);
	}
	for (int i = 0; i < HANDS; i++)
		crew_free(hand[i]);
	__atomic_fetch_add(&j->turns, turns, __ATOMIC_RELAXED);
	return 0;
}

static void show_killed_allocations(double seconds)
{
	struct juggle *j = shared(1, sizeof *j);
	unsigned workers = cli.workers < 64 ? cli.workers : 64;
	struct crew_memory_stats before, after; /* around all of it: the pool has blocks of its own */
	must("crew_memory_stats", crew_memory_stats(&before));
	struct crew_pool *pool = start_pool(&cli, &(struct crew_pool_options){ .workers = workers, .context = j,
		.attempts = 1000000, .chaos = cli.chaos > 0 ? cli.chaos : 50, .chaos_seed = cli.seed });
	crew_ticket ticket[64];
	for (unsigned i = 0; i < workers; i++)
		must("crew_pool_submit", crew_pool_submit(pool, &(struct crew_task){ .function = juggle, .index = i },
			&ticket[i], CREW_FOREVER));
	double begin = stats_clock();
	int r = crew_pool_wait(pool, ticket[0], NULL, crew_after((crew_time)(seconds * 1e9)), NULL);
	report_check(report, r == -ETIMEDOUT, "allocations: a task has ended before it should: %s", crew_strerror(r));
	__atomic_store_n(&j->stop, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < workers; i++) {
		r = crew_pool_wait(pool, ticket[i], NULL, crew_after(PATIENCE), NULL);
		report_check(report, r == 0, "allocations: %s", crew_strerror(r));
	}
	seconds = stats_clock() - begin;
	struct crew_pool_stats stats;
	crew_pool_stats(pool, &stats);
	crew_pool_terminate(pool);
	must("crew_memory_stats", crew_memory_stats(&after));
	report_check(report, crew_heap_check() == 0, "allocations: the heap is broken");
	report_check(report, after.blocks == before.blocks, "allocations: %" PRIu64 " blocks before, %" PRIu64 " after",
		before.blocks, after.blocks);
	report_uint(row("crash, in crew_alloc and crew_free", after.peak, seconds), "deaths", stats.deaths);
	crew_free(j);
}

static void show_crashes(double seconds)
{
	report_say(report, "Crashes: processes are killed with SIGKILL while they change what is shared\n");
	show_cut_off_updates();
	show_killed_allocations(seconds);
	report_table(report);
}

/* --- the whole --- */

static const struct argp argp = { NULL, NULL, NULL, "Shared memory: counters and what protects them, arrays, a tree with "
	"pointers, copying against sharing, and what a crash leaves behind.", cli_children, NULL, NULL };

int main(int argc, char **argv)
{
	cli = cli_parse(&argp, argc, argv, NULL);
	if (cli.serial) {
		cli_note("--serial: one worker, where one is enough");
		cli.workers = 1;
		cli.serial = false;
	}
	if (cli.baseline)
		cli_note("--baseline has no meaning here: private memory and pipe(2) are the rivals");
	start_family(&cli);
	report = report_open(&cli);
	show_sharing();
	show_counters(cli.quick ? 2000000 : 8000000);
	show_arrays(cli.quick ? 8 << 20 : 64 << 20);
	show_tree(cli.quick ? 20000 : 200000);
	show_copies(cli.quick ? 4 << 20 : 64 << 20);
	show_crashes(cli.quick ? 0.2 : 0.5);
	return report_finish(report);
}
