/* messages.c - pipes, queues, and waiting for the first of several */
#include "tour.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

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

const struct step tour_messages[] = {
	{ "crew_pipe",                          "Pipe()",                                  step_pipe },
	{ "crew_queue_put, _get, _close",       "Queue()",                                 step_queue },
	{ "crew_queue_take, _done, _join",      "JoinableQueue()",                         step_joinable_queue },
	{ "crew_wait_any",                      "connection.wait([...])",                  step_wait },
	{ 0 }
};
