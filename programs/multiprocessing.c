/*
 * multiprocessing - a tour of crew for those who know Python's multiprocessing
 *
 * Each step is one small function. Above it stands the Python that does the same; inside, crew's
 * way; and what came of it is claimed and checked. The order is that of the Python manual:
 * processes, pipes and queues, synchronisation, shared state, pools. The last steps
 * have no twin: there a process is killed in the middle of things and the others go on.
 *
 * Three differences run through all of it. What processes share lies in crew's heap (crew_alloc), where a
 * pointer means the same to all of them: nothing is pickled, nobody serves it. Every call that
 * can wait takes a deadline. And results are return values: 0, or a negative errno.
 *
 * After the tour the same work, --jobs times --count random numbers, is done serially, by threads and by
 * processes, with equal results; --baseline lets Python do it, too.
 */
#include "cli.h"
#include "random.h"
#include "report.h"
#include "rival.h"
#include "start.h"
#include "stats.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <crew/crew.h>

#define SOON crew_after(20 * CREW_SECOND) /* nothing here takes long, unless something is wrong */

/* A step returns NULL or the claim that did not hold. */
#define claim(condition) do { if (!(condition)) return #condition; } while (0)

/* What the processes of the tour share; zeroed for each step. All of these are valid when all zero. */
static struct board {
	struct crew_pipe pipe;
	struct crew_queue queue, answers;
	struct crew_lock lock;
	struct crew_rwlock rwlock;
	struct crew_semaphore semaphore;
	struct crew_condition changed;
	struct crew_event event, other_event;
	struct crew_barrier barrier;
	int64_t value, array[16];
	uint64_t inside, most; /* processes in a place at once, now and at most */
	struct link { int64_t number; struct link *next; } *list;
} *board;

/* A child that gets the board. Its function's result is its exit code. */
static struct crew_process *start(crew_process_fn *function)
{
	struct crew_process *child = NULL;
	int r = crew_process_start(&child, &(struct crew_process_options){ .function = function, .argument = board });
	if (r < 0)
		cli_lack("cannot start a process: %s", crew_strerror(r));
	return child;
}

/* Its exit code; minus the signal, as Python has it; -1000 if it does not end. */
static int exitcode(struct crew_process *child)
{
	struct crew_status status;
	int r = crew_process_join(child, SOON, &status);
	if (r < 0)
		r = crew_process_stop(child, 0, NULL), r = -1000;
	else
		r = status.state == CREW_EXITED ? status.code : -status.signal;
	return crew_process_close(child) < 0 ? -1000 : r;
}

/* --- processes --- */

/*
 * def f(a, b): total.value = a + b
 * p = Process(target=f, args=(2, 3), name='adder'); p.start(); p.join(); p.exitcode
 */
struct sum { int a, b; struct board *board; };

static int add(void *argument, size_t size)
{
	const struct sum *sum = argument; /* a copy */
	sum->board->value = sum->a + sum->b;
	return size != sizeof *sum;
}

static const char *step_process(void)
{
	struct crew_process *p;
	claim(crew_process_start(&p, &(struct crew_process_options){ .function = add, .name = "adder",
		.argument = &(struct sum){ 2, 3, board }, .argument_size = sizeof(struct sum) }) == 0);
	claim(strcmp(crew_process_name(p), "adder") == 0);
	claim(exitcode(p) == 0);
	claim(board->value == 5);
	return NULL;
}

/*
 * p = Process(target=sys.exit, args=(3,)); ...; p.exitcode == 3
 * p.kill(); p.join(); p.exitcode == -signal.SIGKILL
 */
static int returns_3(void *argument, size_t size)
{
	(void)argument, (void)size;
	return 3;
}

static int sleeps(void *argument, size_t size)
{
	(void)argument, (void)size;
	pause();
	return 0;
}

static const char *step_exitcode(void)
{
	claim(exitcode(start(returns_3)) == 3);
	struct crew_process *p = start(sleeps);
	claim(crew_process_signal(p, SIGKILL) == 0);
	claim(exitcode(p) == -SIGKILL);
	return NULL;
}

/* p.join(0.01); p.is_alive(); p.terminate() -- and, which Python lacks, all that p has started ends, too */
static int has_a_child(void *argument, size_t size)
{
	board = argument; /* set after crew_init in the parent, so not here */
	start(sleeps);
	int r = crew_event_set(&board->event);
	return r < 0 ? 1 : sleeps(argument, size);
}

static const char *step_terminate(void)
{
	struct crew_status status;
	struct crew_process *p = start(has_a_child);
	claim(crew_event_wait(&board->event, SOON) == 0);
	claim(crew_process_join(p, crew_after(10 * CREW_MILLISECOND), NULL) == -ETIMEDOUT);
	crew_process_status(p, &status);
	claim(status.state == CREW_RUNNING);
	claim(crew_process_stop(p, CREW_SECOND, &status) == 0); /* SIGTERM; SIGKILL to whoever is left after a second */
	claim(status.state == CREW_KILLED && status.signal == SIGTERM);
	claim(crew_process_close(p) == 0);
	return NULL;
}

/* current_process(), parent_process().pid, active_children() */
static int knows_its_parent(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	b->value = crew_parent();
	return crew_event_set(&b->event) < 0 || crew_event_wait(&b->other_event, SOON) < 0;
}

static const char *step_family(void)
{
	struct crew_member members[64];
	struct crew_process *p = start(knows_its_parent);
	claim(crew_event_wait(&board->event, SOON) == 0);
	int count = crew_process_list(members, 64), seen = 0;
	for (int i = 0; i < count && i < 64; i++)
		seen += members[i].pid == crew_process_pid(p) && members[i].parent == getpid();
	claim(crew_event_set(&board->other_event) == 0);
	claim(exitcode(p) == 0);
	claim(board->value == getpid());
	claim(seen == 1);
	claim(crew_self() != 0);
	return NULL;
}

/* --- pipes and queues --- */

/*
 * a, b = Pipe(); a.send('hello'); b.recv(); a.poll(timeout)
 * b.close(); a.recv() raises EOFError
 */
static int shouts(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	char text[64];
	size_t length;
	while (crew_pipe_receive(&b->pipe, CREW_END_B, text, sizeof text, &length, SOON) == 0) {
		for (size_t i = 0; i < length; i++)
			text[i] = (char)(text[i] >= 'a' && text[i] <= 'z' ? text[i] - 32 : text[i]);
		if (crew_pipe_send(&b->pipe, CREW_END_B, text, length, SOON) < 0)
			return 1;
		if (length == 3)
			return 0; /* its end of the pipe closes with it */
	}
	return 2;
}

static const char *step_pipe(void)
{
	char text[64];
	size_t length;
	struct crew_process *p = start(shouts);
	claim(crew_pipe_give(&board->pipe, CREW_END_B, p) == 0);
	claim(crew_pipe_send(&board->pipe, CREW_END_A, "hello", 5, SOON) == 0);
	claim(crew_pipe_poll(&board->pipe, CREW_END_A, SOON) == 0);
	claim(crew_pipe_receive(&board->pipe, CREW_END_A, text, sizeof text, &length, SOON) == 0);
	claim(length == 5 && memcmp(text, "HELLO", 5) == 0); /* messages keep their boundaries */
	claim(crew_pipe_send(&board->pipe, CREW_END_A, "bye", 3, SOON) == 0);
	claim(crew_pipe_receive(&board->pipe, CREW_END_A, text, sizeof text, &length, SOON) == 0 && length == 3);
	claim(crew_pipe_receive(&board->pipe, CREW_END_A, text, sizeof text, &length, SOON) == CREW_END_OF_DATA);
	claim(exitcode(p) == 0);
	crew_pipe_fini(&board->pipe);
	return NULL;
}

/*
 * q = Queue(10); q.put(i, timeout=...); q.get(timeout=...); q.qsize(); q.close()
 */
static int puts_100(void *argument, size_t size)
{
	(void)size;
	for (int64_t i = 1; i <= 100; i++)
		if (crew_queue_put(&((struct board *)argument)->queue, &i, sizeof i, SOON) < 0)
			return 1;
	return 0;
}

static const char *step_queue(void)
{
	int64_t number, sum = 0;
	crew_queue_init(&board->queue, 10); /* so producers wait for us */
	struct crew_process *producers[2] = { start(puts_100), start(puts_100) };
	for (int i = 0; i < 200; i++) {
		claim(crew_queue_get(&board->queue, &number, sizeof number, NULL, SOON) == 0);
		sum += number;
	}
	claim(sum == 2 * 5050);
	claim(crew_queue_length(&board->queue) == 0);
	claim(crew_queue_get(&board->queue, &number, sizeof number, NULL, CREW_POLL) == -ETIMEDOUT);
	claim(exitcode(producers[0]) == 0 && exitcode(producers[1]) == 0);
	claim(crew_queue_close(&board->queue, true) == 0);
	claim(crew_queue_get(&board->queue, &number, sizeof number, NULL, SOON) == CREW_END_OF_DATA);
	crew_queue_fini(&board->queue);
	return NULL;
}

/* q = JoinableQueue(); item = q.get(); ...; q.task_done(); q.join() */
static int consumes(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	struct crew_message message;
	int r;
	while ((r = crew_queue_take(&b->queue, &message, SOON)) == 0) {
		__atomic_add_fetch(&b->value, *(const int64_t *)message.data, __ATOMIC_RELAXED);
		if (crew_queue_done(&b->queue, &message) < 0)
			return 1;
	}
	return r != CREW_END_OF_DATA;
}

static const char *step_joinable_queue(void)
{
	struct crew_process *consumers[2] = { start(consumes), start(consumes) };
	claim(puts_100(board, 0) == 0);
	claim(crew_queue_join(&board->queue, SOON) == 0); /* all taken, and done */
	claim(board->value == 5050);
	claim(crew_queue_close(&board->queue, true) == 0);
	claim(exitcode(consumers[0]) == 0 && exitcode(consumers[1]) == 0);
	crew_queue_fini(&board->queue);
	return NULL;
}

/* multiprocessing.connection.wait([connection, queue._reader, p.sentinel], timeout) */
static const char *step_wait(void)
{
	struct crew_process *p = start(sleeps);
	struct crew_wait_item items[] = {
		{ .kind = CREW_WAIT_QUEUE, .object = &board->queue },
		{ .kind = CREW_WAIT_PIPE_A, .object = &board->pipe },
		{ .kind = CREW_WAIT_PROCESS, .object = p },
	};
	claim(crew_wait_any(items, 3, CREW_POLL) == -ETIMEDOUT);
	claim(crew_queue_put(&board->queue, "x", 1, SOON) == 0);
	claim(crew_wait_any(items, 3, SOON) == 1 && items[0].ready && !items[1].ready && !items[2].ready);
	claim(crew_process_signal(p, SIGKILL) == 0);
	items[0].kind = CREW_WAIT_NOTHING;
	claim(crew_wait_any(items, 3, SOON) == 1 && items[2].ready);
	claim(exitcode(p) == -SIGKILL);
	crew_queue_fini(&board->queue);
	return NULL;
}

/* --- synchronisation --- */

/* with lock: counter.value += 1 */
static int counts_to_1000(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	for (int i = 0; i < 1000; i++) {
		if (crew_lock_acquire(&b->lock, SOON) != 0)
			return 1;
		b->value++;
		crew_lock_release(&b->lock);
	}
	return 0;
}

static const char *step_lock(void)
{
	struct crew_process *p[4];
	for (int i = 0; i < 4; i++)
		p[i] = start(counts_to_1000);
	for (int i = 0; i < 4; i++)
		claim(exitcode(p[i]) == 0);
	claim(board->value == 4000);
	return NULL;
}

/* lock = RLock(): the owner may take it again; lock.acquire(block=False) */
static int finds_it_held(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	return crew_lock_acquire(&b->lock, CREW_POLL) != -ETIMEDOUT;
}

static const char *step_rlock(void)
{
	crew_lock_init(&board->lock, CREW_LOCK_RECURSIVE);
	claim(crew_lock_acquire(&board->lock, SOON) == 0);
	claim(crew_lock_acquire(&board->lock, SOON) == 0);
	crew_lock_release(&board->lock);
	claim(crew_lock_is_mine(&board->lock));
	claim(exitcode(start(finds_it_held)) == 0);
	crew_lock_release(&board->lock);
	claim(!crew_lock_is_held(&board->lock));
	return NULL;
}

/* with BoundedSemaphore(2): at most two at once */
static int enters(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	for (int i = 0; i < 50; i++) {
		if (crew_semaphore_acquire(&b->semaphore, SOON) < 0)
			return 1;
		uint64_t inside = __atomic_add_fetch(&b->inside, 1, __ATOMIC_SEQ_CST), most = b->most;
		while (inside > most && !__atomic_compare_exchange_n(&b->most, &most, inside, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			;
		__atomic_sub_fetch(&b->inside, 1, __ATOMIC_SEQ_CST);
		if (crew_semaphore_release(&b->semaphore) < 0)
			return 2;
	}
	return 0;
}

static const char *step_semaphore(void)
{
	struct crew_process *p[4];
	crew_semaphore_init(&board->semaphore, 2);
	for (int i = 0; i < 4; i++)
		p[i] = start(enters);
	for (int i = 0; i < 4; i++)
		claim(exitcode(p[i]) == 0);
	claim(board->most >= 1 && board->most <= 2);
	claim(crew_semaphore_free(&board->semaphore) == 2);
	claim(crew_semaphore_release(&board->semaphore) == -EPERM); /* bounded: only a holder may */
	return NULL;
}

/* with condition: condition.wait_for(lambda: value.value == 3); condition.notify_all() */
static int waits_for_3(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	int r = crew_lock_acquire(&b->lock, SOON);
	while (r == 0 && b->value != 3)
		r = crew_condition_wait(&b->changed, &b->lock, SOON);
	if (r == 0)
		b->array[0]++;
	crew_lock_release(&b->lock);
	return r;
}

static const char *step_condition(void)
{
	struct crew_process *p[2] = { start(waits_for_3), start(waits_for_3) };
	for (int i = 1; i <= 3; i++) {
		claim(crew_lock_acquire(&board->lock, SOON) == 0);
		board->value = i;
		crew_lock_release(&board->lock);
		claim(crew_condition_notify(&board->changed, UINT32_MAX) == 0);
	}
	claim(exitcode(p[0]) == 0 && exitcode(p[1]) == 0);
	claim(board->array[0] == 2);
	return NULL;
}

/* e = Event(); e.wait(timeout); e.set(); e.is_set() */
static int waits_for_the_event(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	return crew_event_wait(&b->event, SOON) < 0 || crew_event_set(&b->other_event) < 0;
}

static const char *step_event(void)
{
	struct crew_process *p = start(waits_for_the_event);
	claim(crew_event_wait(&board->other_event, crew_after(10 * CREW_MILLISECOND)) == -ETIMEDOUT);
	claim(!crew_event_is_set(&board->event));
	claim(crew_event_set(&board->event) == 0);
	claim(crew_event_wait(&board->other_event, SOON) == 0);
	claim(exitcode(p) == 0);
	return NULL;
}

/* b = Barrier(3); b.wait() returns 0, 1 or 2 */
static int meets(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	for (int phase = 1; phase <= 5; phase++) {
		unsigned index;
		__atomic_add_fetch(&b->value, 1, __ATOMIC_SEQ_CST);
		if (crew_barrier_wait(&b->barrier, &index, SOON) < 0)
			return 1;
		if (index == 0 && b->value != 3 * phase) /* all have counted, nobody is ahead */
			return 2;
		if (crew_barrier_wait(&b->barrier, NULL, SOON) < 0)
			return 3;
	}
	return crew_barrier_leave(&b->barrier) < 0;
}

static const char *step_barrier(void)
{
	crew_barrier_init(&board->barrier, 3);
	struct crew_process *p[3] = { start(meets), start(meets), start(meets) };
	for (int i = 0; i < 3; i++)
		claim(exitcode(p[i]) == 0);
	claim(board->value == 15);
	return NULL;
}

/* --- shared state --- */

/* v = Value('q'); a = Array('q', range(16)); with v.get_lock(): v.value += 1; a[i] = -a[i] */
static int negates(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	for (int i = 0; i < 16; i++)
		b->array[i] = -b->array[i];
	__atomic_add_fetch(&b->value, 1, __ATOMIC_SEQ_CST); /* one number needs no lock */
	return 0;
}

static const char *step_value_and_array(void)
{
	for (int i = 0; i < 16; i++)
		board->array[i] = i;
	claim(exitcode(start(negates)) == 0);
	claim(board->value == 1);
	for (int i = 0; i < 16; i++)
		claim(board->array[i] == -i);
	return NULL;
}

/*
 * shm = SharedMemory(create=True, size=...); shm.buf[:5] = b'hello'; shm.unlink()
 * Python shares bytes. Here the child builds a list with pointers, and the parent walks it.
 */
static int builds_a_list(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	for (int64_t i = 10; i > 0; i--) {
		struct link *link;
		if (crew_alloc(sizeof *link, (void **)&link) < 0)
			return 1;
		*link = (struct link){ i, b->list };
		b->list = link;
	}
	return 0;
}

static const char *step_shared_memory(void)
{
	claim(exitcode(start(builds_a_list)) == 0);
	int64_t expected = 1;
	for (struct link *link = board->list, *next; link; link = next) {
		next = link->next;
		claim(link->number == expected++);
		crew_free(link); /* whoever allocated it */
	}
	claim(expected == 11);
	return NULL;
}

/* Manager().Namespace(): any number of readers, one writer; no server process is asked */
static int reads_pairs(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	for (bool more = true; more;) {
		if (crew_rwlock_read(&b->rwlock, SOON) != 0)
			return 1;
		if (b->array[0] != b->array[1])
			return 2; /* half of a change was seen */
		more = b->array[0] < 1000;
		crew_rwlock_release(&b->rwlock);
	}
	return 0;
}

static const char *step_namespace(void)
{
	struct crew_process *p[2] = { start(reads_pairs), start(reads_pairs) };
	for (int i = 1; i <= 1000; i++) {
		claim(crew_rwlock_write(&board->rwlock, SOON) == 0);
		board->array[0]++;
		board->array[1]++;
		crew_rwlock_release(&board->rwlock);
	}
	claim(exitcode(p[0]) == 0 && exitcode(p[1]) == 0);
	return NULL;
}

/* --- pools --- */

static struct crew_pool *pool_of(const struct crew_pool_options *options)
{
	struct crew_pool *pool = NULL;
	int r = crew_pool_open(&pool, options);
	if (r < 0)
		cli_lack("cannot open a pool: %s", crew_strerror(r));
	return pool;
}

static int square(const void *argument, void *result, void *context)
{
	(void)context;
	int64_t x = *(const int64_t *)argument;
	if (x < 0)
		return crew_task_error(-EDOM, "%" PRIi64 " is negative", x);
	*(int64_t *)result = x * x;
	return 0;
}

static struct crew_task squaring(const int64_t *x)
{
	return (struct crew_task){ .function = square, .argument = x, .argument_size = sizeof *x, .result_size = sizeof *x };
}

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
static int waits_for_ever(const void *argument, void *result, void *context)
{
	(void)argument, (void)result;
	int r = crew_event_set(&((struct board *)context)->event);
	return r < 0 ? r : crew_event_wait(&((struct board *)context)->other_event, CREW_FOREVER);
}

static const char *step_cancel(void)
{
	crew_ticket running, waiting;
	struct crew_pool *pool = pool_of(&(struct crew_pool_options){ .workers = 1, .context = board });
	struct crew_task task = { .function = waits_for_ever };
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

/* --- what has no twin: somebody dies, the others go on. In Python each of these hangs, or breaks the pool --- */

static int dies_with_the_lock(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	if (crew_lock_acquire(&b->lock, SOON) == 0) {
		b->array[0] = 1; /* half of a change */
		raise(SIGKILL);
	}
	return 1;
}

static const char *step_lock_owner_dies(void)
{
	claim(exitcode(start(dies_with_the_lock)) == -SIGKILL);
	claim(crew_lock_acquire(&board->lock, SOON) == CREW_OWNER_DIED); /* held, and we are told */
	board->array[1] = board->array[0];
	crew_lock_repaired(&board->lock);
	crew_lock_release(&board->lock);
	claim(crew_lock_acquire(&board->lock, SOON) == 0);
	crew_lock_release(&board->lock);
	return NULL;
}

static int dies_with_a_message(void *argument, size_t size)
{
	(void)size;
	struct crew_message message;
	if (crew_queue_take(&((struct board *)argument)->queue, &message, SOON) == 0)
		raise(SIGKILL);
	return 1;
}

static const char *step_consumer_dies(void)
{
	struct crew_message message;
	claim(crew_queue_put(&board->queue, "work", 4, SOON) == 0);
	claim(exitcode(start(dies_with_a_message)) == -SIGKILL);
	claim(crew_queue_take(&board->queue, &message, SOON) == 0); /* it comes back */
	claim(message.size == 4 && memcmp(message.data, "work", 4) == 0 && message.attempt == 2);
	claim(crew_queue_done(&board->queue, &message) == 0);
	crew_queue_fini(&board->queue);
	return NULL;
}

static int dies_at_first(const void *argument, void *result, void *context)
{
	if (__atomic_add_fetch(&((struct board *)context)->value, 1, __ATOMIC_SEQ_CST) == 1)
		raise(SIGKILL);
	return square(argument, result, context);
}

static const char *step_worker_dies(void)
{
	int64_t in[100], out[100];
	for (int64_t i = 0; i < 100; i++)
		in[i] = i;
	struct crew_pool *pool = pool_of(&(struct crew_pool_options){ .workers = 2, .context = board });
	claim(crew_pool_map(pool, dies_at_first, in, sizeof *in, out, sizeof *out, 100, NULL) == 0);
	for (int64_t i = 0; i < 100; i++)
		claim(out[i] == i * i);
	struct crew_pool_stats stats;
	crew_pool_stats(pool, &stats);
	claim(stats.deaths == 1 && stats.reruns >= 1);
	claim(crew_pool_close(pool, SOON) == 0);
	return NULL;
}

static const char *step_task_hangs(void)
{
	int64_t y;
	crew_ticket hanging, good;
	struct crew_failure failure;
	struct crew_pool *pool = pool_of(&(struct crew_pool_options){ .workers = 1, .context = board });
	struct crew_task task = { .function = waits_for_ever, .timeout = 50 * CREW_MILLISECOND, .attempts = -1 };
	struct crew_task next = squaring(&(int64_t){ 9 });
	claim(crew_pool_submit(pool, &task, &hanging, SOON) == 0);
	claim(crew_pool_submit(pool, &next, &good, SOON) == 0);
	claim(crew_pool_wait(pool, hanging, NULL, SOON, &failure) == -EOWNERDEAD && failure.error == -ETIMEDOUT);
	claim(crew_pool_wait(pool, good, &y, SOON, NULL) == 0 && y == 81); /* by a new worker */
	claim(crew_pool_close(pool, SOON) == 0);
	return NULL;
}

static const struct step { const char *crew, *python; const char *(*run)(void); } steps[] = {
	{ "crew_process_start, _join",           "Process(target, args); start(); join()", step_process },
	{ "struct crew_status",                  "p.exitcode, p.kill()",                   step_exitcode },
	{ "crew_process_stop",                   "p.terminate(), p.is_alive()",            step_terminate },
	{ "crew_process_list, crew_parent",      "active_children(), parent_process()",    step_family },
	{ "crew_pipe",                           "Pipe()",                                 step_pipe },
	{ "crew_queue_put, _get, _close",        "Queue()",                                step_queue },
	{ "crew_queue_take, _done, _join",       "JoinableQueue()",                        step_joinable_queue },
	{ "crew_wait_any",                       "connection.wait([...])",                 step_wait },
	{ "crew_lock",                           "Lock()",                                 step_lock },
	{ "CREW_LOCK_RECURSIVE",                 "RLock()",                                step_rlock },
	{ "crew_semaphore",                      "BoundedSemaphore(2)",                    step_semaphore },
	{ "crew_condition",                      "Condition()",                            step_condition },
	{ "crew_event",                          "Event()",                                step_event },
	{ "crew_barrier",                        "Barrier(3)",                             step_barrier },
	{ "numbers in a shared struct",          "Value('q'), Array('q', 16)",             step_value_and_array },
	{ "crew_alloc, pointers and all",        "SharedMemory(create=True)",              step_shared_memory },
	{ "crew_rwlock",                         "Manager().Namespace()",                  step_namespace },
	{ "crew_pool_map, also with threads",    "Pool.map(), ThreadPool.map()",           step_map },
	{ "crew_pool_submit, _wait",             "Pool.apply_async(), r.get()",            step_async },
	{ "crew_task_error, crew_failure",       "an exception from a worker",             step_error },
	{ "crew_stream",                         "Pool.imap_unordered()",                  step_stream },
	{ ".initialize, .context",               "Pool(initializer, initargs)",            step_initializer },
	{ "crew_pool_cancel",                    "Future.cancel()",                        step_cancel },
	{ "crew_reduce, crew_sort",              "sum(pool.map(...)), sorted()",           step_parallel },
	{ "the owner of a lock is killed",       "hangs",                                  step_lock_owner_dies },
	{ "the reader of a queue is killed",     "hangs, or the message is lost",          step_consumer_dies },
	{ "a worker is killed in the middle",    "Pool.map() hangs",                       step_worker_dies },
	{ "a task hangs",                        "no time limit for a task",               step_task_hangs },
};
enum { STEPS = sizeof steps / sizeof *steps };

static void tour(struct report *report)
{
	int r = crew_alloc_zeroed(sizeof *board, (void **)&board);
	if (r < 0)
		cli_lack("shared memory: %s", crew_strerror(r));
	report_say(report, "    %-36s%s\n", "crew", "Python");
	unsigned right = 0;
	for (unsigned i = 0; i < STEPS; i++) {
		memset(board, 0, sizeof *board);
		const char *wrong = steps[i].run();
		right += !wrong;
		report_say(report, "  %s %-36s%s\n", wrong ? "-" : "+", steps[i].crew, steps[i].python);
		report_check(report, !wrong, "%s: %s does not hold", steps[i].crew, wrong);
	}
	report_uint(report_top(report), "steps", STEPS);
	report_uint(report_top(report), "steps_right", right);
	crew_free(board);
}

/* --- the same work three times --- */

struct work { uint64_t seed, count; };
struct outcome { double sum; uint64_t bits; };

/*
 * One job: --count random numbers, from a stream that depends on seed and job alone.
 * Python: sum(random.random() for _ in range(count))
 */
static int job(const void *argument, void *result, void *context)
{
	const struct work *work = context;
	struct outcome *outcome = result;
	struct rng rng = rng_of(work->seed, *(const uint64_t *)argument);
	struct outcome sum = { 0 };
	for (uint64_t i = 0; i < work->count; i++) {
		double x = rng_real(&rng);
		sum.sum += x;
		sum.bits ^= (uint64_t)(x * 0x1p53);
	}
	*outcome = sum;
	return 0;
}

static double run_jobs(const struct cli *cli, enum crew_pool_mode mode, struct work *work, const uint64_t *numbers,
		struct outcome *outcomes, uint64_t jobs)
{
	double begin = stats_clock();
	if (mode == CREW_POOL_SERIAL) {
		for (uint64_t i = 0; i < jobs; i++)
			job(&numbers[i], &outcomes[i], work);
		return stats_clock() - begin;
	}
	struct crew_pool *pool = start_pool(cli, &(struct crew_pool_options){ .mode = mode,
		.context = work, .context_size = sizeof *work });
	begin = stats_clock(); /* the pool is there, as it would be in a program that has more to do */
	int r = crew_pool_map(pool, job, numbers, sizeof *numbers, outcomes, sizeof *outcomes, jobs,
		&(struct crew_map_options){ .chunk = 1 });
	double seconds = stats_clock() - begin;
	if (r < 0)
		cli_lack("the pool: %s", crew_strerror(r));
	crew_pool_close(pool, CREW_FOREVER);
	return seconds;
}

static void add_row(struct report *report, const char *mode, uint64_t jobs, double seconds, const char *language, double serial)
{
	struct json_t *row = report_row(report);
	report_str(row, "mode", mode);
	report_uint(row, "jobs", jobs);
	report_real(row, "seconds", seconds);
	report_real(row, "speedup", serial / seconds);
	report_str(row, "language", language);
}

static const char python[] =
	"import random, sys, time\n"
	"from multiprocessing import Pool\n"
	"from multiprocessing.pool import ThreadPool\n"
	"jobs, count, workers = map(int, sys.argv[1:])\n"
	"def job(i):\n"
	"    r = random.Random(i).random\n"
	"    return sum(r() for _ in range(count))\n"
	"def timed(name, f):\n"
	"    begin = time.perf_counter(); f(); print(name, time.perf_counter() - begin)\n"
	"timed('serial', lambda: [job(i) for i in range(jobs)])\n"
	"with ThreadPool(workers) as pool: timed('threads', lambda: pool.map(job, range(jobs), 1))\n"
	"with Pool(workers) as pool: timed('processes', lambda: pool.map(job, range(jobs), 1))\n";

static void compare(const struct cli *cli, struct report *report, uint64_t jobs, uint64_t count)
{
	static const struct { const char *name; enum crew_pool_mode mode; } modes[] = {
		{ "serial", CREW_POOL_SERIAL }, { "threads", CREW_POOL_THREADS }, { "processes", CREW_POOL_PROCESSES },
	};
	struct work work = { cli->seed, count };
	uint64_t *numbers = calloc(jobs, sizeof *numbers);
	struct outcome *serial = calloc(jobs, sizeof *serial), *outcomes = calloc(jobs, sizeof *outcomes);
	if (!numbers || !serial || !outcomes)
		cli_lack("out of memory for %" PRIu64 " jobs", jobs);
	for (uint64_t i = 0; i < jobs; i++)
		numbers[i] = i;
	report_say(report, "\n%" PRIu64 " jobs of %" PRIu64 " random numbers:\n\n", jobs, count);
	double seconds[3], all = 0;
	for (unsigned i = 0; i < (cli->serial ? 1 : 3); i++) {
		seconds[i] = run_jobs(cli, modes[i].mode, &work, numbers, i ? outcomes : serial, jobs);
		all += seconds[i];
		add_row(report, modes[i].name, jobs, seconds[i], "C", seconds[0]);
		if (i)
			report_check(report, memcmp(serial, outcomes, jobs * sizeof *serial) == 0, "%s: other results than serially", modes[i].name);
	}
	report_seconds(report, all);
	/* The mean of n uniform numbers is 1/2, give or take 1/sqrt(12 n). */
	double sum = 0, n = (double)jobs * (double)count;
	for (uint64_t i = 0; i < jobs; i++)
		sum += serial[i].sum;
	report_check(report, fabs(sum / n - 0.5) < 6 / sqrt(12 * n), "the numbers are not uniform: mean %.6f", sum / n);

	if (cli->baseline) {
		char arguments[3][24];
		snprintf(arguments[0], sizeof *arguments, "%" PRIu64, jobs);
		snprintf(arguments[1], sizeof *arguments, "%" PRIu64, count);
		snprintf(arguments[2], sizeof *arguments, "%u", cli->workers);
		char *text = rival_run((const char *const[]){ "python3", "-c", python, arguments[0], arguments[1], arguments[2], NULL });
		char *rest = text, name[32];
		double time, first = 0;
		for (char *line; (line = strsep(&rest, "\n"));)
			if (sscanf(line, "%31s %lf", name, &time) == 2)
				add_row(report, name, jobs, time, "Python", first = first > 0 ? first : time);
		free(text);
	}
	free(numbers);
	free(serial);
	free(outcomes);
}

/* --- the command line --- */

struct own { uint64_t jobs, count; };

enum { KEY_JOBS = 1000, KEY_COUNT };

static const struct argp_option options[] = {
	{ "jobs", KEY_JOBS, "N", 0, "Jobs in the comparison (default 16, with --quick 8)", 0 },
	{ "count", KEY_COUNT, "N", 0, "Random numbers in each job (default 5000000, with --quick 2000000)", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct own *own = state->input;
	switch (key) {
	case KEY_JOBS:
		own->jobs = cli_parse_u64(state, "--jobs", arg, 1, 1000000);
		return 0;
	case KEY_COUNT:
		own->count = cli_parse_u64(state, "--count", arg, 1, UINT64_C(1000000000000));
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s': there are no arguments, only options", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = { options, parse, NULL,
	"A tour of crew beside Python's multiprocessing, then the same work serially, in threads and in processes.",
	cli_children, NULL, NULL };

int main(int argc, char **argv)
{
	struct own own = { 0 };
	struct cli cli = cli_parse(&argp, argc, argv, &own);
	start_family(&cli);
	struct report *report = report_open(&cli);
	tour(report);
	compare(&cli, report, own.jobs ? own.jobs : cli.quick ? 8 : 16,
		own.count ? own.count : cli.quick ? 2000000 : 5000000);
	return report_finish(report);
}
