/*
 * mechanism.c - the ways to talk: how each is opened, how a message is sent and received
 *
 * Descriptors block, unless the side has `patience`: then they are O_NONBLOCK, and a call gives up with -ETIMEDOUT.
 */
#include "mechanism.h"
#include "stop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A call on a descriptor has failed: 0 to try it again, else the error to return. */
static int again(const struct side *side, int fd, short events)
{
	if (errno == EINTR)
		return 0;
	if (errno != EAGAIN)
		return -errno;
	struct pollfd one = { .fd = fd, .events = events };
	int r = poll(&one, 1, side->patience_ms ? side->patience_ms : -1);
	return r == 0 ? -ETIMEDOUT : r < 0 && errno != EINTR ? -errno : 0;
}

/* What to return if `done` bytes have come and there are no more: a part of a message is worse than none. */
static int cut_off(size_t done, int r)
{
	return done == 0 ? r : r == CREW_END_OF_DATA ? -EBADMSG : r == -ETIMEDOUT ? -ETIME : r;
}

/* --- streams of bytes: pipe, FIFO, Unix stream, TCP ------------------------------- */

/* A stream has no messages: a read may return less than was written at once, so we read on until we have all. */
static int stream_send(const struct side *side, const void *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = write(side->out, (const char *)data + done, size - done);
		int r = n < 0 ? again(side, side->out, POLLOUT) : 0;
		if (r < 0)
			return r;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int stream_receive(const struct side *side, void *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = read(side->in, (char *)data + done, size - done);
		if (n == 0)
			return cut_off(done, CREW_END_OF_DATA);
		int r = n < 0 ? again(side, side->in, POLLIN) : 0;
		if (r < 0)
			return cut_off(done, r);
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

/* A packet goes to one of those who receive. */
static int one_seqpacket(int ret[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret) < 0 ? -errno : 0;
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
		while (send(side->out, (const char *)data + done, part, MSG_NOSIGNAL) < 0) {
			int r = again(side, side->out, POLLOUT);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int packet_receive(const struct side *side, void *data, size_t size)
{
	for (size_t done = 0, part; done < size; done += part) {
		part = part_of(side, size - done);
		ssize_t n;
		while ((n = recv(side->in, (char *)data + done, part, 0)) < 0) {
			int r = again(side, side->in, POLLIN);
			if (r < 0)
				return cut_off(done, r);
		}
		if (n == 0)
			return cut_off(done, CREW_END_OF_DATA);
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
		while (mq_send(side->out, (const char *)data + done, part, 0) < 0) {
			int r = again(side, side->out, POLLOUT);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int mq_take(const struct side *side, void *data, size_t size)
{
	char piece[8192];
	for (size_t done = 0, part; done < size; done += part) {
		part = part_of(side, size - done);
		ssize_t n;
		while ((n = mq_receive(side->in, piece, sizeof piece, NULL)) < 0) {
			int r = again(side, side->in, POLLIN);
			if (r < 0)
				return cut_off(done, r);
		}
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

static crew_time deadline(const struct side *side)
{
	return crew_after(side->patience_ms ? side->patience_ms * CREW_MILLISECOND : PATIENCE);
}

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
	return crew_pipe_send(side->pipe, side->end, data, size, deadline(side));
}

static int crew_pipe_take(const struct side *side, void *data, size_t size)
{
	size_t got = 0;
	int r = crew_pipe_receive(side->pipe, side->end, data, size, &got, deadline(side));
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
	return crew_queue_put(side->queue_out, data, size, deadline(side));
}

static int crew_queue_receive(const struct side *side, void *data, size_t size)
{
	size_t got = 0;
	int r = crew_queue_get(side->queue_in, data, size, &got, deadline(side));
	return r == 0 && got != size ? -EMSGSIZE : r;
}

const struct mechanism mechanisms[] = {
	{ "pipe", LARGEST, 0, open_pipe, stream_send, stream_receive, one_pipe, false },
	{ "fifo", LARGEST, 0, open_fifo, stream_send, stream_receive, one_fifo, false },
	{ "unix_stream", LARGEST, 0, open_unix_stream, stream_send, stream_receive, NULL, false },
	{ "unix_seqpacket", LARGEST, 65536, open_unix_seqpacket, packet_send, packet_receive, one_seqpacket, false }, /* by its buffer */
	{ "tcp", LARGEST, 0, open_tcp, stream_send, stream_receive, NULL, false },
	{ "mq", LARGEST, 8192, open_mq, mq_put, mq_take, one_mq, true }, /* what the system allows by default */
	{ "eventfd", sizeof(uint64_t), 0, open_eventfd, eventfd_send, eventfd_receive, NULL, true },
	{ "crew_pipe", LARGEST, 0, open_crew_pipe, crew_pipe_put, crew_pipe_take, NULL, false },
	{ "crew_queue", LARGEST, 0, open_crew_queue, crew_queue_send, crew_queue_receive, NULL, true },
};
const size_t mechanism_count = sizeof mechanisms / sizeof mechanisms[0];

int side_set_patience(struct side *side, int ms)
{
	side->patience_ms = ms;
	int fds[2] = { side->in, side->out };
	for (unsigned i = 0; i < 2; i++)
		if (fds[i] >= 0 && fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK) < 0)
			return -errno;
	return 0;
}

void side_close(const struct side *side)
{
	if (side->in >= 0)
		close(side->in);
	if (side->out >= 0 && side->out != side->in)
		close(side->out);
}

void side_free(const struct side *side)
{
	if (side->pipe) {
		crew_pipe_fini(side->pipe);
		crew_free(side->pipe);
	}
	if (side->queue_out) {
		crew_queue_fini(side->queue_out);
		crew_queue_fini(side->queue_in);
		crew_free(side->queue_out);
	}
}
