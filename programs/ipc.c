/*
 * ipc.c - every way for two processes to talk, compared
 *
 *     ipc                          nine mechanisms, messages of 8 bytes to 1 MiB
 *     ipc --mechanism=pipe         one of them
 *     ipc --quick --json           fewer sizes, less time; one JSON object
 *
 * Two tests for each mechanism and size:
 *
 *     ping-pong   one message goes there and comes back. Half of that time is the latency: mostly
 *                 the price of waking a sleeping process, not of moving bytes.
 *     one-way     many messages, one behind the other, until the receiver has the last.
 *                 Here moving bytes counts: how often each is copied, and how often the
 *                 kernel has to be asked.
 *
 * Every message is checked by its receiver, each byte of it. Then the other process is killed in
 * the middle of a conversation: who notices, and what becomes of the message that it had taken?
 *
 * How to read it: `mechanisms` below lists the ways; each is three small functions that open it, send
 * a message and receive one. `converse` is the parent's side, `partner` the child's. What a kernel
 * mechanism cannot carry in one piece goes in parts (column parts).
 */
#include "cli.h"
#include "report.h"
#include "start.h"
#include "stats.h"
#include "stop.h"

#include <crew/crew.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <jansson.h>
#include <mqueue.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE (20 * CREW_SECOND) /* for any one message */
#define LARGEST (1u << 20)

/* One side of a conversation: two descriptors, or places in shared memory. */
struct side {
	int in, out;
	struct crew_pipe *pipe;
	enum crew_pipe_end end;
	struct crew_queue *queue_in, *queue_out;
	size_t part; /* bytes that go in one piece */
};

/* A way to talk. Functions return 0, a negative errno, or CREW_END_OF_DATA. */
struct mechanism {
	const char *name;
	size_t most; /* bytes that it can carry */
	size_t part; /* of them in one piece; 0: all */
	int (*open)(struct side *mine, struct side *theirs);
	int (*send)(const struct side *side, const void *data, size_t size);
	int (*receive)(const struct side *side, void *data, size_t size);
};

/* --- streams of bytes: pipe, FIFO, Unix stream, TCP ------------------------------- */

/* A stream has no messages: a read may return less than was written at once, so we read on until we have all. */
static int stream_send(const struct side *side, const void *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = write(side->out, (const char *)data + done, size - done);
		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int stream_receive(const struct side *side, void *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = read(side->in, (char *)data + done, size - done);
		if (n == 0)
			return CREW_END_OF_DATA;
		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* Two channels of one direction each make one conversation. */
static int two_ways(int (*one_way)(int ret[2]), struct side *mine, struct side *theirs)
{
	int there[2], back[2];
	int r = one_way(there);
	if (r < 0)
		return r;
	r = one_way(back);
	if (r < 0) {
		close(there[0]);
		close(there[1]);
		return r;
	}
	mine->out = there[1];
	theirs->in = there[0];
	mine->in = back[0];
	theirs->out = back[1];
	return 0;
}

static int one_pipe(int ret[2])
{
	return pipe2(ret, O_CLOEXEC) < 0 ? -errno : 0;
}

static int open_pipe(struct side *mine, struct side *theirs)
{
	return two_ways(one_pipe, mine, theirs);
}

/* A pipe with a name, through which strangers can meet. We need the name for a moment only. */
struct fifo { char path[32]; int ends[2], error; };

static int make_fifo(void *argument)
{
	struct fifo *fifo = argument;
	fifo->error = mkfifo(fifo->path, 0600) < 0 ? errno : 0;
	if (fifo->error)
		return 0;
	fifo->ends[0] = open(fifo->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* else it would wait for a writer */
	fifo->ends[1] = open(fifo->path, O_WRONLY | O_CLOEXEC);
	if (fifo->ends[1] < 0 || fcntl(fifo->ends[0], F_SETFL, 0) < 0)
		fifo->error = errno;
	unlink(fifo->path);
	return 0;
}

/*
 * A child that shares our memory and descriptors has the name in that moment: should we be killed, it goes on to
 * unlink it, and nothing is left.
 */
static int one_fifo(int ret[2])
{
	static char stack[1 << 16];
	static struct fifo fifo;
	fifo = (struct fifo){ .ends = { -1, -1 } };
	snprintf(fifo.path, sizeof fifo.path, "/tmp/crew-ipc-%d", (int)getpid());
	stop_unlink(fifo.path);
	pid_t child = clone(make_fifo, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, &fifo);
	if (child < 0 || waitpid(child, NULL, 0) < 0)
		fifo.error = errno;
	stop_forget(fifo.path);
	ret[0] = fifo.ends[0];
	ret[1] = fifo.ends[1];
	return -fifo.error;
}

static int open_fifo(struct side *mine, struct side *theirs)
{
	return two_ways(one_fifo, mine, theirs);
}

/* Both directions through one pair of sockets. */
static int open_pair(int type, struct side *mine, struct side *theirs)
{
	int pair[2];
	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	mine->in = mine->out = pair[0];
	theirs->in = theirs->out = pair[1];
	return 0;
}

static int open_unix_stream(struct side *mine, struct side *theirs)
{
	return open_pair(SOCK_STREAM, mine, theirs);
}

static int open_tcp(struct side *mine, struct side *theirs)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), here = -1, there = -1, error = 0;
	if (listener < 0)
		return -errno;
	if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 1) < 0 ||
			getsockname(listener, (struct sockaddr *)&address, &length) < 0 ||
			(here = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0 ||
			connect(here, (struct sockaddr *)&address, length) < 0 ||
			(there = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
		error = errno;
	close(listener);
	if (error) {
		if (here >= 0)
			close(here);
		return -error;
	}
	/* Do not collect small messages into larger packets: somebody waits for each. */
	setsockopt(here, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	setsockopt(there, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	mine->in = mine->out = here;
	theirs->in = theirs->out = there;
	return 0;
}

/* --- messages by the kernel: seqpacket, POSIX message queue, eventfd --------------- */

static int open_unix_seqpacket(struct side *mine, struct side *theirs)
{
	return open_pair(SOCK_SEQPACKET, mine, theirs);
}

static size_t part_of(const struct side *side, size_t left)
{
	return left > side->part ? side->part : left;
}

static int packet_send(const struct side *side, const void *data, size_t size)
{
	for (size_t done = 0, part; done < size; done += part) {
		part = part_of(side, size - done);
		while (send(side->out, (const char *)data + done, part, MSG_NOSIGNAL) < 0)
			if (errno != EINTR)
				return -errno;
	}
	return 0;
}

static int packet_receive(const struct side *side, void *data, size_t size)
{
	for (size_t done = 0, part; done < size; done += part) {
		part = part_of(side, size - done);
		ssize_t n;
		while ((n = recv(side->in, (char *)data + done, part, 0)) < 0)
			if (errno != EINTR)
				return -errno;
		if (n == 0)
			return CREW_END_OF_DATA;
		if ((size_t)n != part)
			return -EMSGSIZE;
	}
	return 0;
}

static int one_mq(int ret[2])
{
	char name[48];
	struct mq_attr attributes = { .mq_maxmsg = 8, .mq_msgsize = 8192 };
	snprintf(name, sizeof name, "/crew-ipc-%d", (int)getpid());
	ret[0] = mq_open(name, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &attributes);
	if (ret[0] < 0)
		return -errno;
	ret[1] = mq_open(name, O_WRONLY | O_CLOEXEC);
	int error = ret[1] < 0 ? errno : 0;
	mq_unlink(name); /* nothing with a name is left, however we end */
	if (error)
		mq_close(ret[0]);
	return -error;
}

static int open_mq(struct side *mine, struct side *theirs)
{
	return two_ways(one_mq, mine, theirs);
}

static int mq_put(const struct side *side, const void *data, size_t size)
{
	for (size_t done = 0, part; done < size; done += part) {
		part = part_of(side, size - done);
		while (mq_send(side->out, (const char *)data + done, part, 0) < 0)
			if (errno != EINTR)
				return -errno;
	}
	return 0;
}

static int mq_take(const struct side *side, void *data, size_t size)
{
	char piece[8192];
	for (size_t done = 0, part; done < size; done += part) {
		part = part_of(side, size - done);
		ssize_t n;
		while ((n = mq_receive(side->in, piece, sizeof piece, NULL)) < 0)
			if (errno != EINTR)
				return -errno;
		if ((size_t)n != part)
			return -EMSGSIZE;
		memcpy((char *)data + done, piece, part);
	}
	return 0;
}

/* An eventfd holds one number: what is written is added, what is read is taken. As a semaphore it counts wake-ups. */
static int one_eventfd(int ret[2])
{
	ret[0] = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	if (ret[0] < 0)
		return -errno;
	ret[1] = fcntl(ret[0], F_DUPFD_CLOEXEC, 0);
	return ret[1] < 0 ? -errno : 0;
}

static int open_eventfd(struct side *mine, struct side *theirs)
{
	return two_ways(one_eventfd, mine, theirs);
}

/* It carries no message, only that there is one. The receiver counts: its count is the number that was sent. */
static int eventfd_send(const struct side *side, const void *data, size_t size)
{
	(void)data;
	(void)size;
	return stream_send(side, &(uint64_t){ 1 }, sizeof(uint64_t));
}

static int eventfd_receive(const struct side *side, void *data, size_t size)
{
	uint64_t one = 0;
	(void)size;
	int r = stream_receive(side, &one, sizeof one);
	*(uint64_t *)data += one;
	return r;
}

/* --- crew ------------------------------------------------------------------------- */

static int open_crew_pipe(struct side *mine, struct side *theirs)
{
	int r = crew_alloc_zeroed(sizeof *mine->pipe, (void **)&mine->pipe);
	theirs->pipe = mine->pipe;
	mine->end = CREW_END_A;
	theirs->end = CREW_END_B;
	return r;
}

static int crew_pipe_put(const struct side *side, const void *data, size_t size)
{
	return crew_pipe_send(side->pipe, side->end, data, size, crew_after(PATIENCE));
}

static int crew_pipe_take(const struct side *side, void *data, size_t size)
{
	size_t got = 0;
	int r = crew_pipe_receive(side->pipe, side->end, data, size, &got, crew_after(PATIENCE));
	return r == 0 && got != size ? -EMSGSIZE : r;
}

static int open_crew_queue(struct side *mine, struct side *theirs)
{
	struct crew_queue *queues;
	int r = crew_array(2, sizeof *queues, (void **)&queues);
	if (r < 0)
		return r;
	crew_queue_init(&queues[0], 64); /* few enough that the sender waits for the receiver now and then */
	crew_queue_init(&queues[1], 64);
	mine->queue_out = theirs->queue_in = &queues[0];
	mine->queue_in = theirs->queue_out = &queues[1];
	return 0;
}

static int crew_queue_send(const struct side *side, const void *data, size_t size)
{
	return crew_queue_put(side->queue_out, data, size, crew_after(PATIENCE));
}

static int crew_queue_receive(const struct side *side, void *data, size_t size)
{
	size_t got = 0;
	int r = crew_queue_get(side->queue_in, data, size, &got, crew_after(PATIENCE));
	return r == 0 && got != size ? -EMSGSIZE : r;
}

static const struct mechanism mechanisms[] = {
	{ "pipe", LARGEST, 0, open_pipe, stream_send, stream_receive },
	{ "fifo", LARGEST, 0, open_fifo, stream_send, stream_receive },
	{ "unix_stream", LARGEST, 0, open_unix_stream, stream_send, stream_receive },
	{ "unix_seqpacket", LARGEST, 65536, open_unix_seqpacket, packet_send, packet_receive }, /* by its buffer */
	{ "tcp", LARGEST, 0, open_tcp, stream_send, stream_receive },
	{ "mq", LARGEST, 8192, open_mq, mq_put, mq_take }, /* what the system allows by default */
	{ "eventfd", sizeof(uint64_t), 0, open_eventfd, eventfd_send, eventfd_receive },
	{ "crew_pipe", LARGEST, 0, open_crew_pipe, crew_pipe_put, crew_pipe_take },
	{ "crew_queue", LARGEST, 0, open_crew_queue, crew_queue_send, crew_queue_receive },
};
#define MECHANISMS (sizeof mechanisms / sizeof mechanisms[0])

static void close_side(struct side *side)
{
	if (side->in >= 0)
		close(side->in);
	if (side->out >= 0 && side->out != side->in)
		close(side->out);
}

/* --- the conversation --------------------------------------------------------------- */

enum task { PING_PONG, ONE_WAY, DIE };

/* What the child is told, and what it tells. In shared memory. */
struct job {
	const struct mechanism *mechanism; /* the program's own table: at the same address in the child */
	struct side side;                  /* the child's */
	enum task task;
	size_t size;
	uint64_t count;
	int result;                        /* 0, or why the child gave up */
	uint64_t wrong;                    /* messages that were not what had been sent */
	struct crew_event done;
};

/* Message number n: its number, then a pattern. */
static void pattern(unsigned char *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (unsigned char)(i * 131 + i / 251);
}

static void number(unsigned char *data, uint64_t n)
{
	memcpy(data, &n, sizeof n);
}

static bool is_message(const unsigned char *data, const unsigned char *expected, size_t size, uint64_t n)
{
	return memcmp(data, &n, sizeof n) == 0 && memcmp(data + sizeof n, expected + sizeof n, size - sizeof n) == 0;
}

/* The child: receives, checks, and for ping-pong sends back. Exit code 0 unless a call failed. */
static int partner(void *argument, size_t argument_size)
{
	(void)argument_size;
	struct job *job = *(struct job **)argument;
	const struct mechanism *m = job->mechanism;
	unsigned char *expected = malloc(job->size), *data = calloc(1, job->size);
	if (!expected || !data)
		return 1;
	pattern(expected, job->size);
	signal(SIGPIPE, SIG_IGN);
	if (job->task == DIE) { /* take a message, answer one, and wait for the end */
		struct crew_message message;
		int r = job->side.queue_in ? crew_queue_take(job->side.queue_in, &message, crew_after(PATIENCE))
					   : m->receive(&job->side, data, job->size);
		if (r == 0)
			r = m->send(&job->side, expected, job->size);
		return r == 0 ? crew_event_wait(&job->done, CREW_FOREVER) != 0 : 1;
	}
	int r = 0;
	for (uint64_t n = 1; r == 0 && n <= job->count; n++) {
		r = m->receive(&job->side, data, job->size);
		job->wrong += r == 0 && !is_message(data, expected, job->size, n);
		if (r == 0 && job->task == PING_PONG)
			r = m->send(&job->side, data, job->size);
	}
	job->result = r;
	free(expected);
	free(data);
	return crew_event_set(&job->done) != 0 || r != 0;
}

/* The parent's side of a conversation. */
struct talk {
	struct job *job;
	struct side side;
	struct crew_process *child;
};

static int talk_begin(struct talk *talk, const struct mechanism *m, enum task task, size_t size, uint64_t count)
{
	struct side mine = { .in = -1, .out = -1, .part = m->part ? m->part : LARGEST }, theirs = mine;
	int r = crew_alloc_zeroed(sizeof *talk->job, (void **)&talk->job);
	if (r == 0)
		r = m->open(&mine, &theirs);
	if (r < 0) {
		crew_free(talk->job);
		return r;
	}
	talk->side = mine;
	*talk->job = (struct job){ .mechanism = m, .side = theirs, .task = task, .size = size, .count = count };
	/* The child gets its descriptors at 3 and 4, and nothing else that is open here. */
	int descriptors[2] = { theirs.in, theirs.out };
	if (theirs.in >= 0) {
		talk->job->side.in = 3;
		talk->job->side.out = 4;
	}
	r = crew_process_start(&talk->child, &(struct crew_process_options){ .function = partner, .argument = &talk->job,
			.argument_size = sizeof talk->job, .descriptors = descriptors,
			.descriptor_count = theirs.in >= 0 ? 2 : 0, .name = "partner" });
	close_side(&theirs); /* else we would keep the child's ends open, and never see the end of file */
	if (r == 0 && mine.pipe)
		r = crew_pipe_give(mine.pipe, CREW_END_B, talk->child);
	return r;
}

/* Returns 0 if the child ended well. */
static int talk_end(struct talk *talk)
{
	struct crew_status status = { 0 };
	int r = crew_process_join(talk->child, crew_after(PATIENCE), &status);
	if (r < 0)
		r = crew_process_stop(talk->child, 0, &status);
	if (r == 0 && (status.state != CREW_EXITED || status.code != 0))
		r = talk->job->result ? talk->job->result : -ECHILD;
	(void)!crew_process_close(talk->child);
	close_side(&talk->side);
	if (talk->side.pipe) {
		crew_pipe_fini(talk->side.pipe);
		crew_free(talk->side.pipe);
	}
	if (talk->side.queue_out) {
		crew_queue_fini(talk->side.queue_out);
		crew_queue_fini(talk->side.queue_in);
		crew_free(talk->side.queue_out);
	}
	crew_free(talk->job);
	return r;
}

struct measure {
	double seconds;
	uint64_t wrong;
	int result;
};

/* One conversation of `count` messages; the time from the first send until all have arrived. */
static struct measure converse(const struct mechanism *m, enum task task, size_t size, uint64_t count)
{
	static unsigned char expected[LARGEST], data[LARGEST], back[LARGEST];
	struct measure measure = { 0 };
	struct talk talk = { 0 };
	pattern(expected, size);
	pattern(data, size);
	memset(back, 0, size);
	measure.result = talk_begin(&talk, m, task, size, count);
	if (measure.result < 0)
		return measure;
	int r = 0;
	double begin = stats_clock();
	for (uint64_t n = 1; r == 0 && n <= count; n++) {
		number(data, n);
		r = m->send(&talk.side, data, size);
		if (r == 0 && task == PING_PONG) {
			r = m->receive(&talk.side, back, size);
			measure.wrong += r == 0 && !is_message(back, expected, size, n);
		}
	}
	if (r == 0)
		r = crew_event_wait(&talk.job->done, crew_after(PATIENCE));
	measure.seconds = stats_clock() - begin;
	measure.wrong += talk.job->wrong;
	int ended = talk_end(&talk);
	measure.result = r ? r : ended;
	return measure;
}

/* As many messages as take about `budget` seconds. */
static struct measure measure(const struct mechanism *m, enum task task, size_t size, double budget, uint64_t *count)
{
	*count = 16;
	struct measure first = converse(m, task, size, *count);
	if (first.result != 0 || first.wrong)
		return first;
	double wanted = budget / (first.seconds / 16 + 1e-9);
	*count = wanted < 16 ? 16 : wanted > 300000 ? 300000 : (uint64_t)wanted;
	return converse(m, task, size, *count);
}

static void compare(struct report *report, const struct cli *cli, const char *only)
{
	static const size_t all[] = { 8, 64, 1024, 16384, 262144, 1048576 }, some[] = { 8, 4096, 1048576 };
	const size_t *sizes = cli->quick ? some : all;
	size_t count = cli->quick ? sizeof some / sizeof *some : sizeof all / sizeof *all;
	double budget = cli->quick ? 0.015 : 0.15;
	for (size_t k = 0; k < count; k++) {
		for (size_t i = 0; i < MECHANISMS; i++) {
			const struct mechanism *m = &mechanisms[i];
			size_t size = sizes[k];
			if (size > m->most || (only && strcmp(only, m->name) != 0))
				continue;
			uint64_t rounds, messages;
			alarm(60); /* kernel mechanisms know no deadlines: nothing here takes a minute */
			struct measure there_and_back = measure(m, PING_PONG, size, budget, &rounds);
			struct measure one_way = measure(m, ONE_WAY, size, budget, &messages);
			alarm(0);
			if (there_and_back.result == -ENOSYS || there_and_back.result == -EMFILE ||
					there_and_back.result == -EACCES) {
				cli_note("%s is not to be had here: %s", m->name, crew_strerror(there_and_back.result));
				continue;
			}
			int r = there_and_back.result ? there_and_back.result : one_way.result;
			if (!report_check(report, r == 0, "%s, %zu bytes: %s", m->name, size, crew_strerror(r)))
				continue;
			report_check(report, there_and_back.wrong + one_way.wrong == 0, "%s, %zu bytes: %llu messages arrived damaged",
				m->name, size, (unsigned long long)(there_and_back.wrong + one_way.wrong));
			struct json_t *row = report_row(report);
			size_t part = m->part ? m->part : size;
			report_str(row, "mechanism", m->name);
			report_uint(row, "bytes", size);
			report_real(row, "latency_ns", there_and_back.seconds * 1e9 / (2 * (double)rounds));
			report_real(row, "messages_per_second", (double)messages / one_way.seconds);
			report_real(row, "bytes_per_second", (double)messages * (double)size / one_way.seconds);
			report_uint(row, "parts", (size + part - 1) / part);
		}
	}
	report_table(report);
}

/* --- when the other side is killed --------------------------------------------------- */

/* What the survivor meets when it receives. */
static const char *receive_from_the_dead(const struct mechanism *m, const struct side *side, unsigned char *data, size_t size)
{
	if (side->in >= 0) { /* these have no deadline of their own */
		struct pollfd readable = { .fd = side->in, .events = POLLIN };
		if (poll(&readable, 1, 100) == 0)
			return "nothing: would wait for ever";
	} else if (side->queue_in) {
		size_t got;
		return crew_queue_get(side->queue_in, data, size, &got, crew_after(100 * CREW_MILLISECOND)) == -ETIMEDOUT
			? "nothing: others may still put" : "a message";
	}
	int r = m->receive(side, data, size);
	return r == CREW_END_OF_DATA ? "end of file" : crew_errname(r);
}

/* And what becomes of the message that the dead one had taken. */
static const char *fate_of_message(const struct side *side, unsigned char *data, size_t size)
{
	size_t got;
	if (!side->queue_out)
		return "lost";
	int r = crew_queue_get(side->queue_out, data, size, &got, crew_after(CREW_SECOND));
	return r == 0 && got == size ? "comes back" : "lost";
}

static void kill_the_partner(struct report *report, const struct mechanism *m, json_t *deaths)
{
	static unsigned char data[64], back[64];
	struct talk talk = { 0 };
	size_t size = m->most < sizeof data ? m->most : sizeof data;
	pattern(data, size);
	int r = talk_begin(&talk, m, DIE, size, 1);
	if (r < 0)
		return;
	r = m->send(&talk.side, data, size);
	if (r == 0)
		r = m->receive(&talk.side, back, size); /* now it has taken our message, and not dealt with it */
	report_check(report, r == 0, "%s: %s", m->name, crew_strerror(r));
	r = crew_process_signal(talk.child, SIGKILL);
	if (r == 0)
		r = crew_process_join(talk.child, crew_after(PATIENCE), NULL);
	report_check(report, r == 0, "%s: killing the partner: %s", m->name, crew_strerror(r));
	const char *receive = receive_from_the_dead(m, &talk.side, back, size);
	const char *fate = fate_of_message(&talk.side, back, size);
	int sent = talk.side.queue_out ? 0 : m->send(&talk.side, data, size);
	const char *send = sent == 0 ? "accepted" : crew_errname(sent);
	report_say(report, "%-15s %-30s %-9s %s\n", m->name, receive, send, fate);
	json_t *death = json_object();
	report_str(death, "mechanism", m->name);
	report_str(death, "receive", receive);
	report_str(death, "send", send);
	report_str(death, "message_taken", fate);
	json_array_append_new(deaths, death);
	report_check(report, strcmp(m->name, "crew_pipe") != 0 || (strcmp(receive, "end of file") == 0 && sent == -EPIPE),
		"crew_pipe: the survivor met %s and %s", receive, crew_errname(sent));
	report_check(report, strcmp(m->name, "crew_queue") != 0 || strcmp(fate, "comes back") == 0,
		"crew_queue: a message taken by the dead is %s", fate);
	(void)!talk_end(&talk);
}

static void bury(struct report *report, const char *only)
{
	json_t *deaths = json_array(); /* with --json: a member beside the rows */
	report_say(report, "\nThe partner is killed with SIGKILL after it has taken a message and answered. The survivor meets:\n\n"
		"%-15s %-30s %-9s %s\n", "mechanism", "receive", "send", "message taken");
	for (size_t i = 0; i < MECHANISMS; i++) {
		if (only && strcmp(only, mechanisms[i].name) != 0)
			continue;
		alarm(60);
		kill_the_partner(report, &mechanisms[i], deaths);
		alarm(0);
	}
	json_object_set_new(report_top(report), "deaths", deaths);
}

/* --- the command line ------------------------------------------------------------------ */

struct own {
	const char *mechanism;
};

static const struct argp_option options[] = {
	{ "mechanism", 'm', "NAME", 0,
		"Only this one: pipe, fifo, unix_stream, unix_seqpacket, tcp, mq, eventfd, crew_pipe, crew_queue", 0 },
	{ 0 }
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct own *own = state->input;
	switch (key) {
	case 'm':
		for (size_t i = 0; i < MECHANISMS; i++)
			if (strcmp(argument, mechanisms[i].name) == 0) {
				own->mechanism = mechanisms[i].name;
				return 0;
			}
		argp_error(state, "--mechanism: there is no '%s'; see --help", argument);
		return EINVAL;
	case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", argument); return EINVAL;
	default: return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = { options, parse, NULL, "Every way for two processes to talk, compared.", cli_children,
	NULL, NULL };

int main(int argc, char **argv)
{
	struct own own = { 0 };
	struct cli cli = cli_parse(&argp, argc, argv, &own);
	start_family(&cli);
	if (cli.chaos > 0)
		cli_note("--chaos: the partner is killed at the end in any case");
	struct report *report = report_open(&cli);
	struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
	sigaction(SIGPIPE, &ignore, &before); /* a send to the dead shall be an error */
	report_say(report, "Two processes talk; every byte is checked. Latency is half a round trip.\n\n");
	double begin = stats_clock();
	compare(report, &cli, own.mechanism);
	report_seconds(report, stats_clock() - begin);
	bury(report, own.mechanism);
	sigaction(SIGPIPE, &before, NULL);
	return report_finish(report);
}
