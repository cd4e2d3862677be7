/* death_pipe.c - processes killed at every instruction of send, receive and close of a pipe */
#include "death/rows.h"

#include <fcntl.h>
#include <string.h>

static struct shared {
	struct crew_pipe pipe; /* the victim is at end B */
} *s;
static int ends[2] = { -1, -1 }; /* of a pipe(2): the second is what is sent */
static unsigned got[256]; /* what the test has received at end A, by first letter */

static void begin(void)
{
	s = family_begin(sizeof *s);
}

static void end(void)
{
	crew_pipe_fini(&s->pipe);
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	family_end(s);
}

static void fresh(void *shared)
{
	(void)shared;
	crew_pipe_fini(&s->pipe);
	memset(got, 0, sizeof got);
}

static void greet(void *shared)
{
	(void)shared;
	do_or_exit(crew_pipe_send(&s->pipe, CREW_END_B, "hi", 2, CREW_FOREVER));
}

static void send_one(void *shared)
{
	(void)shared;
	do_or_exit(crew_pipe_send(&s->pipe, CREW_END_B, "whole", 5, CREW_FOREVER));
}

/* Receive at A; a message is whole. 0, CREW_END_OF_DATA, -ETIMEDOUT. */
static int receive(crew_time deadline)
{
	char text[10];
	size_t size;
	int r = crew_pipe_receive(&s->pipe, CREW_END_A, text, sizeof text, &size, deadline);
	if (r == 0) {
		bool greeting = size == 2 && memcmp(text, "hi", 2) == 0, whole = size == 5 && memcmp(text, "whole", 5) == 0;
		ck_assert(greeting || whole);
		ck_assert(greeting || got['h'] == 1); /* in order */
		got[(unsigned char)*text]++;
	}
	return r;
}

static void others_receive(void *shared, int order)
{
	(void)shared;
	for (int i = 0; i < 2; i++) {
		int r = i == order ? receive(SOON) : crew_pipe_send(&s->pipe, CREW_END_A, "x", 1, SOON);
		ck_assert(r == 0 || (r == -EPIPE && i != order)); /* if it could send only when the victim was dead */
	}
}

static void check_end(void)
{
	int r;
	while ((r = receive(SOON)) == 0)
		;
	must_be(CREW_END_OF_DATA, r);
	ck_assert_uint_eq(got['h'], 1);
	must_be(-EPIPE, crew_pipe_send(&s->pipe, CREW_END_A, "x", 1, CREW_POLL));
	crew_pipe_fini(&s->pipe);
	check_heap(0);
}

static void check_send(void *shared, bool completed)
{
	(void)shared;
	check_end();
	ck_assert(got['w'] == 1 || (got['w'] == 0 && !completed));
}

static void send_two(void *shared)
{
	fresh(shared);
	must(crew_pipe_send(&s->pipe, CREW_END_A, "one", 3, CREW_POLL));
	must(crew_pipe_send(&s->pipe, CREW_END_A, "two", 3, CREW_POLL));
}

static void receive_one(void *shared)
{
	char text[10];
	(void)shared;
	do_or_exit(crew_pipe_receive(&s->pipe, CREW_END_B, text, sizeof text, NULL, CREW_FOREVER));
}

static void others_send(void *shared, int order)
{
	(void)shared;
	int r = order == 1 ? receive(CREW_POLL) : -ETIMEDOUT;
	ck_assert(r == -ETIMEDOUT || r == CREW_END_OF_DATA); /* if it could look only when the victim was dead */
	r = crew_pipe_send(&s->pipe, CREW_END_A, "three", 5, SOON);
	ck_assert(r == 0 || r == -EPIPE);
}

static void check_receive(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	must_be(CREW_END_OF_DATA, receive(SOON));
	must_be(-EPIPE, crew_pipe_send(&s->pipe, CREW_END_A, "x", 1, CREW_POLL));
	crew_pipe_fini(&s->pipe); /* with what was not received */
	check_heap(0);
}

static void attach(void *shared)
{
	(void)shared;
	do_or_exit(crew_pipe_poll(&s->pipe, CREW_END_B, CREW_POLL));
}

static void close_it(void *shared)
{
	(void)shared;
	do_or_exit(crew_pipe_close(&s->pipe, CREW_END_B));
}

static void check_close(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	check_end();
}

/* ---- descriptors: whose other end tells whether somebody has one ---- */

static void fresh_ends(void *shared)
{
	fresh(shared);
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
}

/* Whether somebody beside this process has it open. It must not be closed here twice. */
static void check_nobody_has_it(void)
{
	char nothing;
	if (ends[1] >= 0)
		close(ends[1]);
	ends[1] = -1;
	ck_assert_int_eq(read(ends[0], &nothing, 1), 0);
}

static void greet_and_open(void *shared)
{
	greet(shared);
	if (pipe2(ends, O_CLOEXEC) < 0)
		_exit(9);
}

static void send_descriptor(void *shared)
{
	(void)shared;
	do_or_exit(crew_pipe_send_fd(&s->pipe, CREW_END_B, ends[1], "whole", 5, CREW_FOREVER));
}

/* Receive at A, with what comes along: a greeting without, "whole" with. */
static int receive_any(crew_time deadline)
{
	char text[10];
	size_t size;
	int fd, r = crew_pipe_receive_fd(&s->pipe, CREW_END_A, &fd, text, sizeof text, &size, deadline);
	if (r != 0) {
		ck_assert_int_eq(fd, -1);
		return r;
	}
	ck_assert_int_eq(fd >= 0, size == 5);
	got[(unsigned char)*text]++;
	if (fd >= 0) {
		ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
		close(fd);
	}
	return 0;
}

static void *receive_all(void *unused)
{
	(void)unused;
	while ((slept = receive_any(SOON)) == 0)
		;
	return NULL;
}

static void fresh_with_receiver(void *shared)
{
	fresh_ends(shared);
	start_sleeper(receive_all);
}

static void check_send_descriptor(void *shared, bool completed)
{
	(void)shared;
	must_be(CREW_END_OF_DATA, end_sleeper());
	ck_assert_uint_eq(got['h'], 1);
	ck_assert(got['w'] == 1 || (got['w'] == 0 && !completed));
	crew_pipe_fini(&s->pipe);
	check_heap(0);
}

static void others_receive_any(void *shared, int order)
{
	(void)shared;
	int r = order == 0 ? crew_pipe_poll(&s->pipe, CREW_END_A, SOON) : crew_pipe_send(&s->pipe, CREW_END_A, "x", 1, SOON);
	ck_assert(r == 0 || r == -EPIPE);
}

static void *send_ends(void *unused)
{
	(void)unused;
	slept = crew_pipe_send_fd(&s->pipe, CREW_END_A, ends[1], "whole", 5, CREW_FOREVER);
	return NULL;
}

static void send_with_sender(void *shared)
{
	fresh_ends(shared);
	start_sleeper(send_ends);
	await(__atomic_load_n(&s->pipe.way_[CREW_END_B].count, __ATOMIC_ACQUIRE) == 1);
}

static void receive_descriptor(void *shared)
{
	(void)shared;
	char text[10];
	int fd;
	do_or_exit(crew_pipe_receive_fd(&s->pipe, CREW_END_B, &fd, text, sizeof text, NULL, CREW_FOREVER));
}

static void check_receive_descriptor(void *shared, bool completed)
{
	(void)shared;
	int r = end_sleeper();
	ck_assert(r == 0 || (r == -EPIPE && !completed));
	check_nobody_has_it();
	must_be(CREW_END_OF_DATA, receive(SOON));
	must_be(-EPIPE, crew_pipe_send(&s->pipe, CREW_END_A, "x", 1, CREW_POLL));
	crew_pipe_fini(&s->pipe);
	check_heap(0);
}

static void withdraw(void *shared)
{
	(void)shared;
	if (crew_pipe_send_fd(&s->pipe, CREW_END_B, ends[1], "whole", 5, CREW_POLL) != -ETIMEDOUT)
		_exit(9);
}

static void check_withdraw(void *shared, bool completed)
{
	(void)shared;
	int r;
	while ((r = receive_any(SOON)) == 0)
		;
	must_be(CREW_END_OF_DATA, r);
	ck_assert_uint_eq(got['h'], 1);
	ck_assert_uint_le(got['w'], !completed); /* as its process lost it only when it was dead */
	crew_pipe_fini(&s->pipe);
	check_heap(0);
}

static const struct killpoint operations[] = {
	{ "pipe_send", .before = fresh, .prepare = greet, .operation = send_one, .others = others_receive, .check = check_send },
	{ "pipe_receive", .before = send_two, .prepare = attach, .operation = receive_one, .others = others_send, .check = check_receive },
	{ "pipe_send_fd", .before = fresh_with_receiver, .prepare = greet_and_open, .operation = send_descriptor,
		.others = others_receive_any, .check = check_send_descriptor, .single = true },
	{ "pipe_send_fd_withdrawn", .before = fresh_ends, .prepare = greet_and_open, .operation = withdraw, .check = check_withdraw },
	{ "pipe_receive_fd", .before = send_with_sender, .prepare = attach, .operation = receive_descriptor,
		.check = check_receive_descriptor, .single = true },
	{ "pipe_close", .before = fresh, .prepare = greet, .operation = close_it, .check = check_close },
};
KILL_EVERYWHERE(operations, begin, s, end)
