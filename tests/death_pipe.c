/* death_pipe.c - processes killed at every instruction of send, receive and close of a pipe */
#include "death/rows.h"

#include <string.h>

static struct shared {
	struct crew_pipe pipe; /* the victim is at end B */
} *s;
static unsigned got[256]; /* what the test has received at end A, by first letter */

static void begin(void)
{
	s = family_begin(sizeof *s);
}

static void end(void)
{
	crew_pipe_fini(&s->pipe);
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

static const struct killpoint operations[] = {
	{ "pipe_send", .before = fresh, .prepare = greet, .operation = send_one, .others = others_receive, .check = check_send },
	{ "pipe_receive", .before = send_two, .prepare = attach, .operation = receive_one, .others = others_send, .check = check_receive },
	{ "pipe_close", .before = fresh, .prepare = greet, .operation = close_it, .check = check_close },
};
KILL_EVERYWHERE(operations, begin, s, end)
