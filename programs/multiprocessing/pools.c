/* pools.c - workers that are there already, and tasks for them */
#include "tour.h"

#include <string.h>

/* with Pool(2) as pool: pool.map(square, range(1000)) -- and the same on a ThreadPool(2) */
static const char *step_map(void)
{
	int64_t in[1000], out[1000];
	for (int64_t i = 0; i < 1000; i++)
		in[i] = i;
	for (enum crew_pool_mode mode = CREW_POOL_PROCESSES; mode <= CREW_POOL_THREADS; mode++) {
		struct crew_pool *pool = pool_of(&(struct crew_pool_options){ .workers = 2, .mode = mode });
		memset(out, 0, sizeof out);
		claim(crew_pool_map(pool, square, in, sizeof *in, out, sizeof *out, 1000, NULL) == 0);
		for (int64_t i = 0; i < 1000; i++)
			claim(out[i] == i * i);
		claim(crew_pool_close(pool, SOON) == 0);
	}
	return NULL;
}

/* r = pool.apply_async(square, (7,)); r.get(timeout=1) */
static const char *step_async(void)
{
	int64_t y = 0;
	crew_ticket ticket;
	struct crew_pool *pool = pool_of(&(struct crew_pool_options){ .workers = 2 });
	struct crew_task task = squaring(&(int64_t){ 7 });
	claim(crew_pool_submit(pool, &task, &ticket, SOON) == 0);
	claim(crew_pool_wait(pool, ticket, &y, SOON, NULL) == 0);
	claim(y == 49);
	claim(crew_pool_wait(pool, ticket, &y, SOON, NULL) == -ESRCH); /* a result is delivered once */
	claim(crew_pool_close(pool, SOON) == 0);
	return NULL;
}

/* try: pool.apply(square, (-1,))  except ValueError as error: ... */
static const char *step_error(void)
{
	int64_t y;
	crew_ticket ticket;
	struct crew_failure failure;
	struct crew_pool *pool = pool_of(&(struct crew_pool_options){ .workers = 1 });
	struct crew_task task = squaring(&(int64_t){ -1 });
	claim(crew_pool_submit(pool, &task, &ticket, SOON) == 0);
	claim(crew_pool_wait(pool, ticket, &y, SOON, &failure) == -EREMOTEIO);
	claim(failure.error == -EDOM && strcmp(failure.message, "-1 is negative") == 0);
	claim(crew_pool_close(pool, SOON) == 0);
	return NULL;
}

/* for y in pool.imap_unordered(square, endless()): ... -- with a bounded number on their way */
static int numbers_below_100(void *argument, uint64_t index, void *source)
{
	(void)source;
	*(int64_t *)argument = (int64_t)index;
	return index < 100 ? 0 : CREW_END_OF_DATA;
}

static const char *step_stream(void)
{
	uint64_t index;
	int64_t y, sum = 0;
	int r;
	struct crew_stream *stream;
	struct crew_pool *pool = pool_of(&(struct crew_pool_options){ .workers = 2 });
	struct crew_stream_options options = { .task = squaring(NULL), .next = numbers_below_100 };
	claim(crew_stream_open(&stream, pool, &options) == 0);
	while ((r = crew_stream_next(stream, &index, &y, SOON, NULL)) == 0) {
		claim(y == (int64_t)(index * index));
		sum += y;
	}
	claim(r == CREW_END_OF_DATA);
	claim(sum == 99 * 100 * 199 / 6);
	crew_stream_close(stream);
	claim(crew_pool_close(pool, SOON) == 0);
	return NULL;
}

/* Pool(2, initializer=init, initargs=(...,)): once in each worker; here on a context that tasks get, too */
static int greets(void *context)
{
	__atomic_add_fetch(&((struct board *)context)->value, 1, __ATOMIC_SEQ_CST);
	return 0;
}

static int adds_to_context(const void *argument, void *result, void *context)
{
	(void)result;
	__atomic_add_fetch(&((struct board *)context)->array[0], *(const int64_t *)argument, __ATOMIC_SEQ_CST);
	return 0;
}

static const char *step_initializer(void)
{
	int64_t in[100];
	for (int64_t i = 0; i < 100; i++)
		in[i] = i;
	struct crew_pool *pool = pool_of(&(struct crew_pool_options){ .workers = 2, .initialize = greets, .context = board });
	claim(crew_pool_map(pool, adds_to_context, in, sizeof *in, NULL, 0, 100, NULL) == 0);
	claim(crew_pool_close(pool, SOON) == 0);
	claim(board->value >= 1 && board->value <= 2);
	claim(board->array[0] == 4950);
	return NULL;
}

/* f = ProcessPoolExecutor(1).submit(...); f.cancel() -- Python cannot cancel what runs already */
static const char *step_cancel(void)
{
	crew_ticket running, waiting;
	struct crew_pool *pool = pool_of(&(struct crew_pool_options){ .workers = 1, .context = board });
	struct crew_task task = { .function = hangs };
	claim(crew_pool_submit(pool, &task, &running, SOON) == 0);
	claim(crew_pool_submit(pool, &task, &waiting, SOON) == 0);
	claim(crew_event_wait(&board->event, SOON) == 0);
	claim(crew_pool_cancel(pool, waiting, false) == 0);
	claim(crew_pool_cancel(pool, running, false) == -EBUSY);
	claim(crew_pool_cancel(pool, running, true) == 0);
	claim(crew_pool_wait(pool, waiting, NULL, SOON, NULL) == -ECANCELED);
	claim(crew_pool_wait(pool, running, NULL, SOON, NULL) == -ECANCELED);
	claim(crew_pool_close(pool, SOON) == 0);
	return NULL;
}

/* sum(pool.map(f, range(n))); sorted(array) -- the parent does most of it in Python, all workers do here */
static int add_range(size_t begin, size_t end, void *value, void *context)
{
	(void)context;
	for (size_t i = begin; i < end; i++)
		*(uint64_t *)value += i;
	return 0;
}

static void add_sums(void *left, const void *right, void *context)
{
	(void)context;
	*(uint64_t *)left += *(const uint64_t *)right;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static const char *step_parallel(void)
{
	uint64_t sum = 0, zero = 0;
	int64_t *numbers;
	struct crew_pool *pool = pool_of(&(struct crew_pool_options){ .workers = 2 });
	claim(crew_reduce(pool, 0, 1000000, &zero, sizeof zero, add_range, add_sums, &sum, NULL) == 0);
	claim(sum == UINT64_C(499999500000));
	claim(crew_array(10007, sizeof *numbers, (void **)&numbers) == 0);
	for (int64_t i = 0; i < 10007; i++)
		numbers[i] = i * 7919 % 10007; /* a prime: each number once */
	claim(crew_sort(pool, numbers, 10007, sizeof *numbers, by_value, NULL) == 0);
	for (int64_t i = 0; i < 10007; i++)
		claim(numbers[i] == i);
	crew_free(numbers);
	claim(crew_pool_close(pool, SOON) == 0);
	return NULL;
}

const struct step tour_pools[] = {
	{ "crew_pool_map, also with threads",   "Pool.map(), ThreadPool.map()",            step_map },
	{ "crew_pool_submit, _wait",            "Pool.apply_async(), r.get()",             step_async },
	{ "crew_task_error, crew_failure",      "an exception from a worker",              step_error },
	{ "crew_stream",                        "Pool.imap_unordered()",                   step_stream },
	{ ".initialize, .context",              "Pool(initializer, initargs)",             step_initializer },
	{ "crew_pool_cancel",                   "Future.cancel()",                         step_cancel },
	{ "crew_reduce, crew_sort",             "sum(pool.map(...)), sorted()",            step_parallel },
	{ 0 }
};
