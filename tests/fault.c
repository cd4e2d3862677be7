/*
 * fault.c - every system call that the layers make fails, at every use
 *
 * For each operation and each call of the table in base/sys.h: the first use fails, then the second, ... until the
 * operation comes through untouched; then the same with all later uses failing, too. Whatever the answer is, it is one
 * that the header names, nothing is left behind, and the same again works.
 *
 * To add an operation: a function that returns what the call returned, with the family as it was before, and a line in
 * `operations`. After calm() nothing fails any more: for putting things back.
 */
#include "process_common.h"

#include <pthread.h>
#include <sys/prctl.h>
#include <crew/parallel.h>
#include <crew/task.h>
#include "region/lane.h"

#define MS CREW_MILLISECOND
#define LATER crew_after(10 * CREW_SECOND)

static const struct { enum crew__call call; const char *name; int error; } faults[] = {
#define FAULT(name, error) { CREW__CALL_##name, #name, error }
	FAULT(memfd_create, EMFILE), FAULT(ftruncate, EFBIG), FAULT(fallocate, ENOSPC), FAULT(mmap, ENOMEM), FAULT(fork, EAGAIN),
	FAULT(pidfd_open, EMFILE), FAULT(pidfd_getfd, EMFILE), FAULT(pipe2, EMFILE), FAULT(socketpair, EMFILE), FAULT(sendmsg, ENOMEM), FAULT(recvmsg, ENOMEM),
	FAULT(poll, ENOMEM), FAULT(open, EMFILE), FAULT(futex_wait, EINTR), FAULT(futex_wake, EINTR),
	FAULT(dup, EMFILE), FAULT(eventfd, EMFILE), FAULT(signalfd, EMFILE), FAULT(epoll, ENOMEM),
	FAULT(pthread_create, EAGAIN), FAULT(malloc, ENOMEM),
};

/* The fault to be set; whether it is; how often it has struck, also once it is off. */
static struct { enum crew__call call; int error; unsigned nth, times; } fault;
static bool armed;
static unsigned struck;

static void calm(void)
{
	if (!armed)
		return;
	armed = false;
	struck = crew__fault_struck(fault.call);
	crew__fault_set(fault.call, 0, 0, 0);
}

static void arm(void)
{
	struck = 0;
	if (fault.nth)
		crew__fault_set(fault.call, fault.nth, fault.error, fault.times);
	armed = fault.nth != 0;
}

/* What operations have in common: shared objects, and somebody who makes them available in a moment. */

static struct shared {
	struct crew_lock lock;
	struct crew_rwlock rwlock;
	struct crew_semaphore semaphore;
	struct crew_counter counter;
	struct crew_event event;
	struct crew_condition condition;
	struct crew_barrier barrier;
	struct crew_queue queue;
	struct crew_pipe pipe;
	uint32_t ready;
} *s;

static int peer_error;

struct peer { int (*before)(void); int (*after)(void); };

static void *be_peer(void *argument)
{
	const struct peer *peer = argument;
	peer_error = peer->before ? peer->before() : 0;
	__atomic_store_n(&s->ready, 1, __ATOMIC_RELEASE);
	harness_pause();
	if (peer_error >= 0)
		peer_error = peer->after();
	return NULL;
}

/* The call, while a peer holds what it needs and then lets go. */
static int beside(int (*before)(void), int (*after)(void), int (*call)(void))
{
	pthread_t thread;
	struct peer peer = { before, after };
	__atomic_store_n(&s->ready, 0, __ATOMIC_RELAXED);
	if (pthread_create(&thread, NULL, be_peer, &peer) != 0)
		return -EAGAIN;
	while (!__atomic_load_n(&s->ready, __ATOMIC_ACQUIRE))
		sched_yield();
	int r = call();
	pthread_join(thread, NULL);
	return r < 0 ? r : peer_error;
}

/* Operations. */

static int allocate(void)
{
	void *small = NULL, *large = NULL, *aligned = NULL, *array = NULL;
	int r = crew_alloc(48, &small);
	if (r == 0)
		r = crew_alloc_zeroed(3 << 20, &large);
	if (r == 0)
		r = crew_alloc_aligned(100, 2 << 20, &aligned);
	if (r == 0)
		r = crew_array(5000, 1000, &array);
	crew_free(array);
	crew_free(aligned);
	crew_free(large);
	crew_free(small);
	return r;
}

static int lock_take(void) { return crew_lock_acquire(&s->lock, LATER); }
static int lock_give(void) { crew_lock_release(&s->lock); return 0; }
static int lock_both(void) { int r = lock_take(); return r < 0 ? r : lock_give(); }
static int lock(void) { return beside(lock_take, lock_give, lock_both); }

static int read_take(void) { return crew_rwlock_read(&s->rwlock, LATER); }
static int write_take(void) { return crew_rwlock_write(&s->rwlock, LATER); }
static int rw_give(void) { crew_rwlock_release(&s->rwlock); return 0; }
static int read_both(void) { int r = read_take(); return r < 0 ? r : rw_give(); }
static int write_both(void) { int r = write_take(); return r < 0 ? r : rw_give(); }
static int reader(void) { return beside(write_take, rw_give, read_both); }
static int writer(void) { return beside(read_take, rw_give, write_both); }

static int permit_take(void) { return crew_semaphore_acquire(&s->semaphore, LATER); }
static int permit_give(void) { return crew_semaphore_release(&s->semaphore); }
static int permit_both(void) { int r = permit_take(); return r < 0 ? r : permit_give(); }
static int semaphore(void) { return beside(permit_take, permit_give, permit_both); }

static int post(void) { return crew_counter_post(&s->counter, 1); }
static int count(void) { return crew_counter_wait(&s->counter, LATER); }
static int counter(void) { return beside(NULL, post, count); }

static int set(void) { return crew_event_set(&s->event); }
static int see(void) { return crew_event_wait(&s->event, LATER); }
static int event(void)
{
	int r = beside(NULL, set, see), clear = crew_event_clear(&s->event);
	return r < 0 ? r : clear;
}

static int notify(void)
{
	int r = lock_take();
	if (r < 0)
		return r;
	s->ready = 2;
	lock_give();
	return crew_condition_notify(&s->condition, 1);
}
static int wait_for_two(void)
{
	int r = lock_take();
	if (r < 0)
		return r;
	while (r >= 0 && s->ready != 2)
		r = crew_condition_wait(&s->condition, &s->lock, LATER);
	lock_give();
	return r;
}
static int condition(void) { return beside(NULL, notify, wait_for_two); }

static int meet(void)
{
	int r = crew_barrier_wait(&s->barrier, NULL, LATER), left = crew_barrier_leave(&s->barrier);
	return r < 0 ? r : left;
}
static int barrier(void) { return beside(NULL, meet, meet); }

static int put(void) { return crew_queue_put(&s->queue, "hello", 5, LATER); }
static int get(void)
{
	char text[8];
	size_t size;
	int r = crew_queue_get(&s->queue, text, sizeof text, &size, LATER);
	return r < 0 ? r : size == 5 ? 0 : -EBADMSG;
}
static int lease(void)
{
	struct crew_message message;
	int r = crew_queue_take(&s->queue, &message, LATER);
	return r < 0 ? r : crew_queue_done(&s->queue, &message);
}
static int queue_get(void) { return beside(NULL, put, get); }
static int queue_take(void) { return beside(NULL, put, lease); }
static int queue_put(void) /* it has room for one */
{
	int r = put();
	if (r == 0)
		r = beside(NULL, get, put);
	calm();
	crew_queue_fini(&s->queue);
	return r;
}

static int pipe_send(void) { return crew_pipe_send(&s->pipe, CREW_END_A, "hello", 5, LATER); }
static int pipe_receive(void)
{
	char text[8];
	return crew_pipe_receive(&s->pipe, CREW_END_B, text, sizeof text, NULL, LATER);
}
static int pipe_blocked(void) { return beside(NULL, pipe_send, pipe_receive); }
static int pipe_send_fd(void) { return crew_pipe_send_fd(&s->pipe, CREW_END_A, STDERR_FILENO, "hello", 5, LATER); }
static int pipe_receive_fd(void)
{
	char text[8];
	int fd, r = crew_pipe_receive_fd(&s->pipe, CREW_END_B, &fd, text, sizeof text, NULL, LATER);
	if (fd >= 0)
		close(fd);
	if (r < 0) { /* it is still there, and its sender waits */
		calm();
		must(crew_pipe_receive_fd(&s->pipe, CREW_END_B, NULL, text, sizeof text, NULL, LATER));
	}
	return r;
}
static int pipe_descriptor(void) { return beside(NULL, pipe_send_fd, pipe_receive_fd); }
static int pipe_both(void) { int r = pipe_send(); return r < 0 ? r : pipe_receive(); }

/* Threads that come one after the other while those before stay: the table of lanes grows. */
enum { THREADS = 24 };
static void *come_and_stay(void *argument)
{
	*(int *)argument = crew_counter_post(&s->counter, 1);
	__atomic_fetch_add(&s->ready, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&s->ready, __ATOMIC_ACQUIRE) < THREADS)
		sched_yield();
	return NULL;
}
static int lanes(void)
{
	pthread_t thread[THREADS];
	int result[THREADS], r = 0;
	s->ready = 0;
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, come_and_stay, &result[i]), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		r = result[i] < 0 ? result[i] : r;
		if (result[i] == 0)
			must(crew_counter_wait(&s->counter, CREW_POLL));
	}
	return r;
}

static int start_and_end(const struct crew_process_options *given)
{
	struct crew_process *p;
	struct crew_status status = { 0 };
	int r = crew_process_start(&p, given);
	if (r < 0)
		return r;
	r = crew_process_join(p, LATER, &status);
	calm();
	must_exit(5, p);
	return r;
}

static int five = 5;
static const char *const program[] = { "sh", "-c", "exit 5", NULL };
#define FIVE .function = give_back, .argument = &five, .argument_size = sizeof five
static int process_zygote(void) { return start_and_end(options(FIVE)); }
static int process_fork(void) { return start_and_end(options(FIVE, .method = CREW_FORK)); }
static int process_program(void) { return start_and_end(options(.argv = program)); }
static int process_forked_program(void) { return start_and_end(options(.argv = program, .method = CREW_FORK)); }
static int process_stop(void)
{
	struct crew_process *p;
	int r = crew_process_start(&p, options(.function = sleep_for_ever));
	if (r < 0)
		return r;
	r = crew_process_stop(p, 0, NULL);
	calm();
	must(crew_process_stop(p, 0, NULL));
	must(crew_process_close(p));
	return r;
}

static int trace(void)
{
	int r = crew_trace_open("/dev/null");
	crew_trace_event("test", "event", 1);
	crew_trace_close();
	return r;
}

/* Those that make a family of their own. */

static int init(void)
{
	int r = crew_init(NULL);
	calm();
	crew_fini();
	return r;
}

static int wait_any(void)
{
	int ends[2], r = crew_init(NULL);
	struct crew_counter *zero;
	if (r == 0)
		r = crew_alloc_zeroed(sizeof *zero, (void **)&zero);
	if (r == 0) {
		ck_assert_int_eq(pipe(ends), 0);
		struct crew_wait_item items[] = { { .kind = CREW_WAIT_COUNTER, .object = zero },
			{ .kind = CREW_WAIT_FD, .fd = ends[0], .events = POLLIN } };
		r = crew_wait_any(items, 2, crew_after(MS));
		close(ends[0]);
		close(ends[1]);
	}
	calm();
	crew_fini();
	return r == -ETIMEDOUT ? 0 : r;
}

static int add(const void *argument, void *result, void *context)
{
	(void)context;
	*(int *)result = *(const int *)argument + 1;
	return 0;
}

static int pool(enum crew_pool_mode mode)
{
	struct crew_pool *pool;
	crew_ticket ticket;
	int r = crew_init(NULL), got = 0;
	if (r == 0)
		r = crew_pool_open(&pool, &(struct crew_pool_options){ .workers = 2, .mode = mode });
	bool open = r == 0;
	if (r == 0)
		r = crew_pool_submit(pool, &(struct crew_task){ .function = add, .argument = &five, .argument_size = sizeof five,
			.result_size = sizeof got }, &ticket, LATER);
	if (r == 0)
		r = crew_pool_wait(pool, ticket, &got, LATER, NULL);
	if (r == 0)
		ck_assert_int_eq(got, 6);
	if (open)
		ck_assert_int_ge(crew_pool_close(pool, LATER), 0);
	calm();
	crew_fini();
	return r;
}

static int pool_processes(void) { return pool(CREW_POOL_PROCESSES); }
static int pool_threads(void) { return pool(CREW_POOL_THREADS); }

static const struct operation {
	const char *name;
	int (*run)(void);
	int errors[6];
	enum { IN_ONE, IN_FRESH, FOUNDS } family; /* all runs in one; each in a fresh one, where tables have yet to grow; makes one itself */
} operations[] = {
	{ "init", init, { -ENOMEM, -EAGAIN, -EMFILE }, FOUNDS },
	{ "allocate", allocate, { -ENOMEM }, IN_FRESH },
	{ "lanes", lanes, { -EAGAIN, -ENOMEM }, IN_FRESH },
	{ "lock", lock, { 0 }, IN_ONE },
	{ "reader", reader, { 0 }, IN_ONE },
	{ "writer", writer, { 0 }, IN_ONE },
	{ "semaphore", semaphore, { 0 }, IN_ONE },
	{ "counter", counter, { 0 }, IN_ONE },
	{ "event", event, { 0 }, IN_ONE },
	{ "condition", condition, { 0 }, IN_ONE },
	{ "barrier", barrier, { 0 }, IN_ONE },
	{ "queue_put", queue_put, { -ENOMEM }, IN_FRESH },
	{ "queue_get", queue_get, { 0 }, IN_ONE },
	{ "queue_take", queue_take, { 0 }, IN_ONE },
	{ "pipe", pipe_both, { -ENOMEM }, IN_FRESH },
	{ "pipe_blocked", pipe_blocked, { 0 }, IN_ONE },
	{ "pipe_descriptor", pipe_descriptor, { -EMFILE }, IN_ONE },
	{ "process_zygote", process_zygote, { -EAGAIN, -EMFILE, -ENOMEM }, IN_ONE },
	{ "process_fork", process_fork, { -EAGAIN, -EMFILE, -ENOMEM }, IN_ONE },
	{ "process_program", process_program, { -EAGAIN, -EMFILE, -ENOMEM }, IN_ONE },
	{ "process_forked_program", process_forked_program, { -EAGAIN, -EMFILE, -ENOMEM }, IN_ONE },
	{ "process_stop", process_stop, { -EAGAIN, -EMFILE, -ENOMEM }, IN_ONE },
	{ "trace", trace, { -EMFILE }, IN_ONE },
	{ "wait_any", wait_any, { -EMFILE, -ENOMEM, -EAGAIN }, FOUNDS },
	{ "pool_processes", pool_processes, { -EAGAIN, -ENOMEM, -EMFILE, -EPIPE }, FOUNDS },
	{ "pool_threads", pool_threads, { -EAGAIN, -ENOMEM, -EMFILE }, FOUNDS },
};
enum { OPERATIONS = sizeof operations / sizeof *operations };

static bool is_documented(const struct operation *o, int result)
{
	for (unsigned i = 0; i < sizeof o->errors / sizeof *o->errors; i++)
		if (result == o->errors[i])
			return true;
	return result == 0;
}

static unsigned open_descriptors(void)
{
	unsigned number = 0;
	for (int fd = 0; fd < 1024; fd++)
		number += fcntl(fd, F_GETFD) >= 0;
	return number;
}

static bool has_children(void)
{
	pid_t pid;
	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		;
	return pid == 0;
}

static bool is_mapped(void)
{
	char line[512];
	bool found = false;
	FILE *maps = fopen("/proc/self/maps", "re");
	ck_assert_ptr_nonnull(maps);
	while (fgets(line, sizeof line, maps))
		found = found || strstr(line, "/memfd:crew");
	fclose(maps);
	return found;
}

static uint64_t blocks(void)
{
	struct crew_memory_stats stats;
	must(crew_memory_stats(&stats));
	must(crew_heap_check());
	return stats.blocks;
}

static unsigned held(void)
{
	unsigned number = 0;
	struct crew__lane *lane;
	crew__lane_reap_all();
	for (uint32_t n = 1; (lane = crew__lane_at(n)); n++) {
		for (int i = 0; i < CREW__HOLDS; i++)
			number += lane->hold[i] != 0;
		number += lane->leases != 0 || lane->depth || lane->mine[0];
	}
	return number;
}

static void begin(void)
{
	must(crew_init(NULL));
	must(crew_alloc_zeroed(sizeof *s, (void **)&s));
	crew_semaphore_init(&s->semaphore, 1);
	crew_barrier_init(&s->barrier, 2, 0);
	crew_queue_init(&s->queue, 1);
}

/* One run, as it was before: nothing is left of what the operation has done. */
static int run_once(const struct operation *o, const char *how)
{
	unsigned descriptors = open_descriptors();
	if (o->family == IN_FRESH)
		begin();
	uint64_t blocks_before = o->family == FOUNDS ? 0 : blocks();
	arm();
	int r = o->run();
	calm();
	ck_assert_msg(is_documented(o, r), "%s: %s", how, crew_errname(r));
	if (o->family != FOUNDS) {
		ck_assert_msg(blocks() == blocks_before, "%s: left blocks in the heap", how);
		ck_assert_msg(held() == 0, "%s: left something held", how);
		await(slots_in_use() == HOUSEHOLD);
	}
	if (o->family == IN_FRESH)
		crew_fini();
	if (o->family != IN_ONE) {
		ck_assert_msg(!is_mapped(), "%s: left mapped", how);
		await(!has_children());
	}
	ck_assert_msg(open_descriptors() == descriptors, "%s: left %u descriptors, not %u", how, open_descriptors(), descriptors);
	return r;
}

static const char *label(int index) { return operations[index].name; }

TEST(each_use_of_each_call_fails, .count = OPERATIONS, .label = label, .timeout = 60)
{
	const struct operation *o = &operations[index];
	unsigned failed = 0;
	prctl(PR_SET_CHILD_SUBREAPER, 1); /* what a family leaves comes to us */
	if (o->family == IN_ONE) {
		begin();
		must(o->run()); /* what stays, such as the lifeline, is there from now on */
	}
	for (size_t f = 0; f < sizeof faults / sizeof *faults; f++) {
		bool used = true;
		unsigned modes = faults[f].call == CREW__CALL_poll && o->family == FOUNDS ? 1 : 2; /* helpers that can never poll hear nothing */
		for (unsigned later = 0; later < modes && used; later++)
			for (unsigned nth = 1;; nth++) {
				char how[96];
				snprintf(how, sizeof how, "%s:%u:%s%s", faults[f].name, nth, strerrorname_np(faults[f].error),
					later ? " and all later ones" : "");
				ck_assert_msg(nth < 100, "%s: still not enough", how);
				fault.call = faults[f].call;
				fault.error = faults[f].error;
				fault.nth = nth;
				fault.times = later ? UINT32_MAX : 1;
				int r = run_once(o, how);
				failed += r < 0;
				fault.nth = 0;
				if (r == 0 && struck == 0) {
					used = nth > 1;
					break;
				}
				if (r < 0)
					ck_assert_msg((r = run_once(o, how)) == 0, "%s: once more: %s", how, crew_errname(r));
			}
	}
	if (o->errors[0])
		ck_assert_uint_gt(failed, 0);
	if (o->family == IN_ONE)
		crew_fini();
}
