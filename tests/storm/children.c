/* children.c - processes, threads, and what they send each other; see operation.h */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include "storm/operation.h"

struct family_of { struct way *way; unsigned thread; };

static struct way *take_way(void)
{
	for (unsigned i = 0; i < WAYS; i++)
		if (!__atomic_exchange_n(&world->way[i].in_use, 1, __ATOMIC_ACQ_REL))
			return &world->way[i];
	return NULL;
}

static void give_way(struct way *way)
{
	crew_pipe_fini(&way->pipe);
	crew_tube_fini(&way->tube);
	__atomic_store_n(&way->in_use, 0, __ATOMIC_RELEASE);
}

/* In a child: what comes at end B goes back, one higher, until the end. */
static int echo(void *argument, size_t size)
{
	const struct family_of *of = argument;
	struct crew_pipe *pipe = &of->way->pipe;
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

static struct crew_process *start_child(struct program *p, crew_process_fn *function, struct way *way)
{
	struct crew_process *child;
	struct family_of of = { way, p->thread };
	int r = crew_process_start(&child, &(struct crew_process_options){ .function = function, .argument = &of,
		.argument_size = sizeof of, .method = draw(p, 4) ? CREW_ZYGOTE : CREW_FORK });
	return expect("start", r, -EAGAIN, -EPIPE) ? child : NULL;
}

enum { KILLED = -SIGKILL };

static void end_child(struct crew_process *child, int code)
{
	struct crew_status status;
	expect("join", crew_process_join(child, CREW_FOREVER, &status), 0, 0);
	/* Nobody can tell how it ended if its reaper was killed; then it may have said so itself. */
	bool fine = code == KILLED ? status.state == CREW_KILLED && status.signal == SIGKILL :
		status.state == CREW_EXITED && status.code == code;
	if (status.state != CREW_ENDED_UNKNOWN && !fine)
		wrong("join: state %d, code %d, signal %d; not exit code %d", status.state, status.code, status.signal, code);
	expect("close", crew_process_close(child), 0, 0);
}

void do_pipe(struct program *p)
{
	struct way *way = take_way();
	struct crew_process *child = way ? start_child(p, echo, way) : NULL;
	if (!child) {
		if (way)
			give_way(way);
		return;
	}
	struct crew_pipe *pipe = &way->pipe;
	if (expect("give pipe", crew_pipe_give(pipe, CREW_END_B, child), 0, 0))
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
	give_way(way);
}

/* In a child: reads the tube to its end, and says whether it came in order. */
static int read_tube(void *argument, size_t size)
{
	const struct family_of *of = argument;
	struct crew_tube *tube = &of->way->tube;
	uint32_t at = 0;
	size_t got;
	int r;
	uint8_t byte[700];
	(void)size;
	while ((r = crew_tube_read(tube, byte, sizeof byte, &got, CREW_FOREVER)) == 0)
		for (size_t i = 0; i < got; i++, at++)
			if (byte[i] != LETTER_BYTE(of->thread, at))
				return 8;
	return r == CREW_END_OF_DATA ? 7 : 9;
}

/* A stream to a child, which is sometimes killed meanwhile: then the writer is told so. */
void do_tube(struct program *p)
{
	struct way *way = take_way();
	if (!way)
		return;
	struct crew_tube *tube = &way->tube;
	tube->size_kib_ = 4;
	struct crew_process *child = start_child(p, read_tube, way);
	if (!child) {
		give_way(way);
		return;
	}
	uint8_t byte[3000];
	uint32_t at = 0, victim = draw(p, 24); /* the child is killed before that piece, if there are so many */
	int r = crew_tube_give(tube, CREW_TUBE_READER, child);
	expect("give tube", r, 0, 0);
	for (uint32_t piece = 0; r == 0 && piece < 12; piece++) {
		uint32_t size = 1 + draw(p, 250) * 11;
		for (uint32_t i = 0; i < size; i++)
			byte[i] = LETTER_BYTE(p->thread, at + i);
		if (piece == victim)
			expect("kill", crew_process_signal(child, SIGKILL), -ESRCH, 0);
		r = crew_tube_write(tube, byte, size, NULL, CREW_FOREVER);
		expect("tube", r, victim <= piece ? -EPIPE : 0, 0);
		at += size;
	}
	expect("close", crew_tube_close(tube, CREW_TUBE_WRITER), 0, 0);
	end_child(child, victim < 12 ? KILLED : 7);
	give_way(way);
}

static int return_five(void *argument, size_t size)
{
	(void)argument, (void)size;
	return 5;
}

void do_child(struct program *p)
{
	struct crew_process *child = start_child(p, return_five, NULL);
	if (child)
		end_child(child, 5);
}

/* A child of the program's own, which is no member, and may become another program. */
void do_fork(struct program *p)
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

void do_thread(struct program *p)
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

void do_exec(struct program *p)
{
	(void)p;
	execl("/bin/true", "true", (char *)NULL);
	_exit(0);
}
