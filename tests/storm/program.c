/* program.c - see program.h */
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "memory/heap.h"
#include "region/lane.h"
#include "storm/program.h"

struct notes *notes;
struct world *world;

void notes_create(void)
{
	notes = mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (notes == MAP_FAILED)
		abort();
}

void wrong(const char *format, ...)
{
	va_list args;
	if (__atomic_exchange_n(&notes->is_wrong, 1, __ATOMIC_SEQ_CST))
		return;
	va_start(args, format);
	vsnprintf(notes->wrong, sizeof notes->wrong, format, args);
	va_end(args);
}

void note_end(unsigned thread)
{
	__atomic_fetch_add(&notes->doubt[notes->doing[thread]], 1, __ATOMIC_RELAXED);
	notes->doing[thread] = OP_NONE;
}

static uint32_t draw(struct program *p, uint32_t below)
{
	if (p->bytes) {
		p->over = p->bytes == p->end;
		return p->over ? 0 : *p->bytes++ % below;
	}
	p->random ^= p->random << 13;
	p->random ^= p->random >> 7;
	p->random ^= p->random << 17;
	return (uint32_t)(p->random >> 32) % below;
}

static crew_time deadline(struct program *p)
{
	uint32_t kind = draw(p, 4);
	return kind == 0 ? CREW_POLL : kind == 1 ? crew_after(20 * CREW_MILLISECOND) : crew_after(CREW_MILLISECOND);
}

static void linger(struct program *p)
{
	if (draw(p, 8) == 0)
		sched_yield();
}

/* The result is 0 or one of the two others that the call may have here (0: none). */
static bool expect(const char *call, int r, int also, int or_also)
{
	if (r != 0 && r != also && r != or_also)
		wrong("%s: %s", call, crew_errname(r));
	return r >= 0;
}

static void do_lock(struct program *p)
{
	int r = crew_lock_acquire(&world->lock, deadline(p));
	if (!expect("lock", r, -ETIMEDOUT, CREW_OWNER_DIED))
		return;
	if (r == CREW_OWNER_DIED) {
		if (draw(p, 4) == 0) {
			crew_lock_release(&world->lock); /* somebody else shall repair it */
			return;
		}
		world->pair[1] = world->pair[0];
		crew_lock_repaired(&world->lock);
	} else if (world->inside || world->pair[0] != world->pair[1]) {
		wrong("lock: inside %u, %lu != %lu", world->inside, world->pair[0], world->pair[1]);
	}
	world->inside = p->thread + 1;
	world->pair[0]++;
	linger(p);
	if (world->inside != p->thread + 1)
		wrong("lock: two inside");
	world->pair[1]++;
	world->inside = 0;
	crew_lock_release(&world->lock);
}

/* Who dies between this and the first save has changed nothing. */
static bool lock_account(struct program *p, unsigned i)
{
	int r = crew_lock_acquire(&world->account_lock[i], deadline(p));
	if (r == CREW_OWNER_DIED)
		crew_lock_repaired(&world->account_lock[i]);
	return expect("account", r, -ETIMEDOUT, CREW_OWNER_DIED);
}

static void do_transfer(struct program *p)
{
	unsigned from = draw(p, ACCOUNTS - 1), to = from + 1 + draw(p, ACCOUNTS - 1 - from);
	if (!lock_account(p, from))
		return;
	if (lock_account(p, to)) {
		int r = crew_save(&world->account_lock[from], &world->account[from], sizeof world->account[from]);
		if (r == 0)
			r = crew_save(&world->account_lock[to], &world->account[to], sizeof world->account[to]);
		if (expect("save", r, 0, 0)) {
			world->account[from] -= 100;
			linger(p);
			world->account[to] += 100;
			if (draw(p, 4) == 0)
				crew_save_abandon();
		}
		crew_lock_release(&world->account_lock[to]);
	}
	crew_lock_release(&world->account_lock[from]);
}

static bool page_is_whole(void)
{
	for (int i = 1; i < 8; i++)
		if (world->page[i] != world->page[0])
			return false;
	return true;
}

static void do_read(struct program *p)
{
	int r = crew_rwlock_read(&world->rwlock, deadline(p));
	if (!expect("read", r, -ETIMEDOUT, CREW_OWNER_DIED))
		return;
	uint64_t before = world->page[7];
	if (r == 0 && !page_is_whole())
		wrong("read: a torn page");
	linger(p);
	if (world->page[7] != before)
		wrong("read: written meanwhile");
	crew_rwlock_release(&world->rwlock);
}

static void do_write(struct program *p)
{
	int r = crew_rwlock_write(&world->rwlock, deadline(p));
	if (!expect("write", r, -ETIMEDOUT, CREW_OWNER_DIED))
		return;
	if (r == 0 && !page_is_whole())
		wrong("write: a torn page");
	uint64_t value = world->page[0] + 1;
	for (int i = 0; i < 8; i++) {
		world->page[i] = value;
		if (i == 3)
			linger(p);
	}
	if (r == CREW_OWNER_DIED)
		crew_rwlock_repaired(&world->rwlock);
	crew_rwlock_release(&world->rwlock);
}

static void do_semaphore(struct program *p)
{
	if (!expect("acquire", crew_semaphore_acquire(&world->semaphore, deadline(p)), -ETIMEDOUT, 0))
		return;
	linger(p);
	expect("release", crew_semaphore_release(&world->semaphore), 0, 0);
}

static void do_post(struct program *p)
{
	(void)p;
	if (expect("post", crew_counter_post(&world->counter, 1), 0, 0))
		__atomic_fetch_add(&notes->posts, 1, __ATOMIC_RELAXED);
}

static void do_count(struct program *p)
{
	if (expect("count", crew_counter_wait(&world->counter, deadline(p)), -ETIMEDOUT, 0))
		__atomic_fetch_add(&notes->counts, 1, __ATOMIC_RELAXED);
}

static void do_event(struct program *p)
{
	switch (draw(p, 3)) {
	case 0: expect("set", crew_event_set(&world->event), 0, 0); break;
	case 1: expect("clear", crew_event_clear(&world->event), 0, 0); break;
	default: expect("see", crew_event_wait(&world->event, deadline(p)), -ETIMEDOUT, 0);
	}
}

static void do_condition(struct program *p)
{
	int r = crew_lock_acquire(&world->turn_lock, deadline(p));
	if (!expect("turn", r, -ETIMEDOUT, CREW_OWNER_DIED))
		return;
	if (r == CREW_OWNER_DIED)
		crew_lock_repaired(&world->turn_lock);
	if (draw(p, 2)) {
		world->turn++;
		expect("notify", crew_condition_notify(&world->turned, draw(p, 2) ? 1 : UINT32_MAX), 0, 0);
	} else {
		r = crew_condition_wait(&world->turned, &world->turn_lock, deadline(p));
		expect("condition", r, -ETIMEDOUT, CREW_OWNER_DIED);
		if (!crew_lock_is_mine(&world->turn_lock))
			wrong("condition: back without the lock");
	}
	crew_lock_release(&world->turn_lock);
}

static void do_barrier(struct program *p)
{
	int r = crew_barrier_wait(&world->barrier, NULL, deadline(p));
	expect("barrier", r, -ETIMEDOUT, -ECANCELED);
	if (r < 0)
		expect("reset", crew_barrier_reset(&world->barrier), 0, 0);
	if (draw(p, 4))
		expect("leave", crew_barrier_leave(&world->barrier), 0, -EPERM);
}

/* Blocks of this thread's attempt: they go with it. */
static void do_allocate(struct program *p)
{
	void *block[6];
	size_t size[6];
	unsigned count = 1 + draw(p, 6), got = 0;
	for (; got < count; got++) {
		size[got] = draw(p, 20) == 0 ? (size_t)100000 + draw(p, 256) * 1000 : (size_t)1 + draw(p, 256) * (1 + draw(p, 8));
		if (!expect("alloc", crew_alloc(size[got], &block[got]), 0, 0))
			break;
		memset(block[got], (int)(p->thread * 16 + got), size[got]);
	}
	linger(p);
	while (got-- > 0) {
		const uint8_t *byte = block[got];
		for (size_t i = 0; i < size[got]; i += i < 64 ? 1 : 977)
			if (byte[i] != (uint8_t)(p->thread * 16 + got))
				wrong("heap: a block of %zu bytes is somebody else's, too", size[got]);
		crew_free(block[got]);
	}
}

static void put(struct program *p, unsigned which, struct crew_queue *queue)
{
	uint8_t text[4096 + sizeof(struct letter)];
	uint32_t id = __atomic_fetch_add(&notes->next_id[which], 1, __ATOMIC_RELAXED);
	if (id >= IDS)
		return;
	struct letter letter = { id, draw(p, 8) ? draw(p, 64) : draw(p, 256) * 16 };
	memcpy(text, &letter, sizeof letter);
	for (uint32_t i = 0; i < letter.size; i++)
		text[sizeof letter + i] = LETTER_BYTE(id, i);
	struct fate *fate = &notes->fate[which][id];
	__atomic_store_n(&fate->put, TRYING, __ATOMIC_RELEASE);
	int r = crew_queue_put(queue, text, sizeof letter + letter.size, deadline(p));
	__atomic_store_n(&fate->put, r == 0 ? DID : FAILED, __ATOMIC_RELEASE);
	expect("put", r, -ETIMEDOUT, 0);
}

static struct fate *check_letter(unsigned which, const void *data, size_t size)
{
	struct letter letter;
	const uint8_t *text = data;
	memcpy(&letter, text, sizeof letter);
	if (size < sizeof letter || size != sizeof letter + letter.size || letter.id >= IDS) {
		wrong("queue %u: a torn message of %zu bytes", which, size);
		return NULL;
	}
	for (uint32_t i = 0; i < letter.size; i++)
		if (text[sizeof letter + i] != LETTER_BYTE(letter.id, i)) {
			wrong("queue %u: message %u is torn", which, letter.id);
			return NULL;
		}
	return &notes->fate[which][letter.id];
}

static void do_put(struct program *p) { put(p, 0, &world->leased); }
static void do_put_once(struct program *p) { put(p, 1, &world->once); }

static void do_take(struct program *p)
{
	struct crew_message message;
	int r = crew_queue_take(&world->leased, &message, deadline(p));
	if (!expect("take", r, -ETIMEDOUT, 0))
		return;
	struct fate *fate = check_letter(0, message.data, message.size);
	if (!fate)
		return;
	unsigned earlier = __atomic_fetch_add(&fate->takes, 1, __ATOMIC_SEQ_CST);
	unsigned allowed = message.attempt - 1 + __atomic_load_n(&fate->returns, __ATOMIC_SEQ_CST);
	if (earlier > allowed || __atomic_load_n(&fate->done, __ATOMIC_SEQ_CST) == DID)
		wrong("take: message %ld is taken again, attempt %u, after %u takes, %u returns, done %u",
			(long)(fate - notes->fate[0]), message.attempt, earlier, fate->returns, fate->done);
	linger(p);
	switch (draw(p, 8)) {
	case 0:
		__atomic_fetch_add(&fate->returns, 1, __ATOMIC_SEQ_CST);
		expect("return", crew_queue_return(&world->leased, &message), 0, 0);
		break;
	case 1: /* kept until the thread ends */
		if (p->thread >= THREADS / 2)
			break;
		__attribute__((fallthrough));
	default:
		__atomic_store_n(&fate->done, TRYING, __ATOMIC_SEQ_CST);
		if (expect("done", crew_queue_done(&world->leased, &message), 0, 0))
			__atomic_store_n(&fate->done, DID, __ATOMIC_SEQ_CST);
	}
}

static void do_get(struct program *p)
{
	uint8_t text[4096 + sizeof(struct letter)];
	size_t size;
	if (!expect("get", crew_queue_get(&world->once, text, sizeof text, &size, deadline(p)), -ETIMEDOUT, 0))
		return;
	struct fate *fate = check_letter(1, text, size);
	if (fate && __atomic_fetch_add(&fate->got, 1, __ATOMIC_SEQ_CST) > 0)
		wrong("get: message %ld came twice", (long)(fate - notes->fate[1]));
}

struct family_of { struct world *world; unsigned thread; };

/* In a child: what comes at end B goes back, one higher, until the end. */
static int echo(void *argument, size_t size)
{
	const struct family_of *of = argument;
	struct crew_pipe *pipe = &of->world->pipe[of->thread];
	uint32_t number;
	int r;
	(void)size;
	while ((r = crew_pipe_receive(pipe, CREW_END_B, &number, sizeof number, NULL, CREW_FOREVER)) == 0) {
		number++;
		if (crew_pipe_send(pipe, CREW_END_B, &number, sizeof number, CREW_FOREVER) < 0)
			break;
	}
	return 7;
}

static struct crew_process *start_child(struct program *p, crew_process_fn *function)
{
	struct crew_process *child;
	struct family_of of = { world, p->thread };
	int r = crew_process_start(&child, &(struct crew_process_options){ .function = function, .argument = &of,
		.argument_size = sizeof of, .method = draw(p, 4) ? CREW_ZYGOTE : CREW_FORK });
	return expect("start", r, -EAGAIN, -EPIPE) ? child : NULL;
}

static void end_child(struct crew_process *child, int code)
{
	struct crew_status status;
	expect("join", crew_process_join(child, CREW_FOREVER, &status), 0, 0);
	/* Nobody can tell how it ended if its reaper was killed; then it may have said so itself. */
	if (status.state != CREW_ENDED_UNKNOWN && (status.state != CREW_EXITED || status.code != code))
		wrong("join: state %d, code %d, signal %d; not exit code %d", status.state, status.code, status.signal, code);
	expect("close", crew_process_close(child), 0, 0);
}

static void do_pipe(struct program *p)
{
	struct crew_pipe *pipe = &world->pipe[p->thread];
	crew_pipe_fini(pipe); /* what whoever was killed in our place has left */
	struct crew_process *child = start_child(p, echo);
	if (!child)
		return;
	if (expect("give", crew_pipe_give(pipe, CREW_END_B, child), 0, 0))
		for (uint32_t i = 0; i < 4; i++) {
			uint32_t number = i;
			if (!expect("send", crew_pipe_send(pipe, CREW_END_A, &number, sizeof number, CREW_FOREVER), 0, 0) ||
					!expect("receive", crew_pipe_receive(pipe, CREW_END_A, &number, sizeof number, NULL, CREW_FOREVER), 0, 0))
				break;
			if (number != i + 1)
				wrong("pipe: %u, not %u", number, i + 1);
		}
	expect("close", crew_pipe_close(pipe, CREW_END_A), 0, 0);
	end_child(child, 7);
	crew_pipe_fini(pipe);
}

static int return_five(void *argument, size_t size)
{
	(void)argument, (void)size;
	return 5;
}

static void do_child(struct program *p)
{
	struct crew_process *child = start_child(p, return_five);
	if (child)
		end_child(child, 5);
}

/* A child of the program's own, which is no member, and may become another program. */
static void do_fork(struct program *p)
{
	bool executes = draw(p, 2);
	pid_t pid = fork();
	if (pid == 0) {
		if (crew_event_set(&world->event) != -ENOTCONN)
			wrong("fork: the child is a member");
		if (executes)
			execl("/bin/true", "true", (char *)NULL);
		_exit(0);
	}
	if (pid > 0)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
}

/* A thread that works a little and ends as it is, with what it holds. */
static void *be_thread(void *argument)
{
	struct program *p = argument;
	program_run(p, 1 + draw(p, 6));
	if (draw(p, 3) == 0 && crew_lock_acquire(&world->lock, CREW_POLL) >= 0)
		world->pair[0] = ~world->pair[0];
	return NULL;
}

static void do_thread(struct program *p)
{
	struct program child = *p;
	child.thread = p->thread + THREADS / 2;
	child.random = p->random * 3 | 1;
	child.may_start = false;
	pthread_t thread;
	if (pthread_create(&thread, NULL, be_thread, &child) != 0)
		return;
	program_run(&(struct program){ .thread = p->thread, .random = p->random * 5 | 1 }, 3); /* at the same time */
	pthread_join(thread, NULL);
	if (p->bytes) {
		p->bytes = child.bytes;
		p->over = child.over;
	}
	note_end(child.thread);
}

static void do_exec(struct program *p)
{
	(void)p;
	execl("/bin/true", "true", (char *)NULL);
	_exit(0);
}

static const struct { enum operation operation; void (*run)(struct program *); unsigned weight; bool starts; } operations[] = {
	{ OP_LOCK, do_lock, 60, false }, { OP_TRANSFER, do_transfer, 60, false }, { OP_READ, do_read, 60, false },
	{ OP_WRITE, do_write, 40, false }, { OP_SEMAPHORE, do_semaphore, 40, false }, { OP_POST, do_post, 40, false },
	{ OP_COUNT, do_count, 40, false }, { OP_EVENT, do_event, 40, false }, { OP_CONDITION, do_condition, 40, false },
	{ OP_BARRIER, do_barrier, 10, false }, { OP_ALLOCATE, do_allocate, 60, false }, { OP_PUT, do_put, 100, false },
	{ OP_TAKE, do_take, 100, false }, { OP_PUT_ONCE, do_put_once, 80, false }, { OP_GET, do_get, 80, false },
	{ OP_PIPE, do_pipe, 2, true }, { OP_CHILD, do_child, 2, true }, { OP_FORK, do_fork, 2, true },
	{ OP_THREAD, do_thread, 8, true }, { OP_EXEC, do_exec, 1, true },
};
enum { KINDS = sizeof operations / sizeof *operations };

static unsigned choose(struct program *p)
{
	if (p->bytes)
		return draw(p, KINDS);
	static unsigned all;
	if (!all)
		for (unsigned i = 0; i < KINDS; i++)
			all += operations[i].weight;
	uint32_t at = draw(p, all);
	unsigned i = 0;
	for (; at >= operations[i].weight; i++)
		at -= operations[i].weight;
	return i;
}

void program_run(struct program *p, unsigned most)
{
	struct crew__lane *lane;
	if (!expect("lane", crew__lane_self(&lane), 0, 0))
		return;
	bool nested = notes->doing[p->thread] == OP_THREAD;
	uint32_t *doing = &notes->doing[p->thread], before = *doing;
	if (!nested)
		crew__attempt_begin(lane);
	while (most-- > 0 && !p->over && !__atomic_load_n(&notes->rest, __ATOMIC_RELAXED) && !notes->is_wrong) {
		unsigned i = choose(p);
		if (operations[i].starts && !p->may_start)
			continue;
		__atomic_store_n(doing, operations[i].operation, __ATOMIC_RELEASE);
		operations[i].run(p);
		__atomic_store_n(doing, before, __ATOMIC_RELEASE);
		__atomic_fetch_add(&notes->total[operations[i].operation], 1, __ATOMIC_RELAXED);
	}
	if (!nested)
		crew__attempt_end(lane, false);
}
