/*
 * pipe_descriptor.c - descriptors passed over a pipe: between threads, between processes, and where one of them is killed
 *
 * Killed at every instruction: tests/death_pipe.c. Every system call failing: tests/fault.c, and below.
 */
#include "family.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <crew/crew.h>
#include "base/sys.h"
#include "region/lane.h"

#define SOON crew_after(10 * CREW_SECOND)

static struct shared {
	struct crew_pipe pipe;
	int mode;
	int told[4]; /* by the child */
} *s;

static int ends[2]; /* a pipe(2): what is sent is its writing end */

static void begin(void)
{
	s = family_begin(sizeof *s);
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
}

static void end(void)
{
	close(ends[0]);
	if (ends[1] >= 0)
		close(ends[1]);
	crew_pipe_fini(&s->pipe);
	family_end(s);
}

/* A sender in a thread; the test receives. */
static struct sending { pthread_t thread; enum crew_pipe_end at; const char *text; crew_time deadline; int result; } sending[3];

static void *send_it(void *which)
{
	struct sending *it = which;
	it->result = crew_pipe_send_fd(&s->pipe, it->at, ends[1], it->text, strlen(it->text), it->deadline);
	return NULL;
}

static void start_sender(int n, enum crew_pipe_end at, const char *text, crew_time deadline)
{
	uint32_t *count = &s->pipe.way_[!at].count, before = *count;
	sending[n] = (struct sending){ .at = at, .text = text, .deadline = deadline };
	sending[n].thread = start(send_it, &sending[n]);
	await(__atomic_load_n(count, __ATOMIC_ACQUIRE) == before + 1);
}

static int end_sender(int n)
{
	pthread_join(sending[n].thread, NULL);
	return sending[n].result;
}

/* Receive at an end: the text, and a descriptor if `with`. Which one it is: what is written there comes out at ends[0]. */
static void expect(enum crew_pipe_end at, const char *text, bool with)
{
	char data[100];
	size_t size;
	int fd = -2;
	must(crew_pipe_receive_fd(&s->pipe, at, &fd, data, sizeof data, &size, SOON));
	ck_assert_uint_eq(size, strlen(text));
	ck_assert_int_eq(memcmp(data, text, size), 0);
	ck_assert_int_eq(fd >= 0, with);
	if (!with)
		return;
	ck_assert_int_ne(fd, ends[1]);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(write(fd, "x", 1), 1);
	ck_assert_int_eq(read(ends[0], data, sizeof data), 1);
	close(fd);
}

TEST(a_descriptor_arrives_with_its_message_close_on_exec, .count = 2)
{
	begin();
	start_sender(0, index ? CREW_END_B : CREW_END_A, index ? "" : "and a few bytes", CREW_FOREVER);
	must(crew_pipe_poll(&s->pipe, index ? CREW_END_A : CREW_END_B, CREW_POLL));
	expect(index ? CREW_END_A : CREW_END_B, sending[0].text, true);
	must(end_sender(0));
	must_be(-ETIMEDOUT, crew_pipe_poll(&s->pipe, index ? CREW_END_A : CREW_END_B, CREW_POLL));
	end();
}

TEST(messages_with_and_without_keep_their_order)
{
	begin();
	must(crew_pipe_send(&s->pipe, CREW_END_A, "1", 1, CREW_POLL));
	start_sender(0, CREW_END_A, "2", CREW_FOREVER);
	must(crew_pipe_send(&s->pipe, CREW_END_A, "3", 1, CREW_POLL));
	start_sender(1, CREW_END_A, "4", CREW_FOREVER);
	expect(CREW_END_B, "1", false);
	expect(CREW_END_B, "2", true);
	must(end_sender(0));
	expect(CREW_END_B, "3", false);
	expect(CREW_END_B, "4", true);
	must(end_sender(1));
	end();
}

TEST(a_plain_receive_refuses_and_leaves_it)
{
	begin();
	char data[10];
	int fd;
	size_t size = 0;
	start_sender(0, CREW_END_A, "abc", CREW_FOREVER);
	must_be(-ENOMSG, crew_pipe_receive(&s->pipe, CREW_END_B, data, sizeof data, &size, CREW_FOREVER));
	ck_assert_uint_eq(size, 3);
	must_be(-EMSGSIZE, crew_pipe_receive_fd(&s->pipe, CREW_END_B, &fd, data, 2, &size, CREW_FOREVER));
	ck_assert_int_eq(fd, -1);
	expect(CREW_END_B, "abc", true);
	must(end_sender(0));
	end();
}

TEST(a_descriptor_may_be_left_behind)
{
	begin();
	char data[10];
	start_sender(0, CREW_END_A, "abc", CREW_FOREVER);
	must(crew_pipe_receive_fd(&s->pipe, CREW_END_B, NULL, data, sizeof data, NULL, CREW_FOREVER));
	ck_assert_int_eq(memcmp(data, "abc", 3), 0);
	must(end_sender(0));
	end();
}

TEST(at_its_deadline_a_sender_takes_it_back_from_anywhere_in_the_line, .count = 3)
{
	begin();
	static const char *const text[] = { "first", "middle", "last" };
	for (int i = 0; i < 3; i++)
		start_sender(i, CREW_END_A, text[i], i == index ? crew_after(50 * MS) : CREW_FOREVER);
	must_be(-ETIMEDOUT, end_sender(index));
	for (int i = 0; i < 3; i++) {
		if (i == index)
			continue;
		expect(CREW_END_B, text[i], true);
		must(end_sender(i));
	}
	must_be(-ETIMEDOUT, crew_pipe_send_fd(&s->pipe, CREW_END_A, ends[1], NULL, 0, CREW_POLL));
	must_be(-ETIMEDOUT, crew_pipe_poll(&s->pipe, CREW_END_B, CREW_POLL));
	ck_assert_uint_eq(blocks(), blocks_before);
	end();
}

TEST(a_withdrawn_one_makes_room)
{
	begin();
	static char data[700 << 10];
	must_be(-ETIMEDOUT, crew_pipe_send_fd(&s->pipe, CREW_END_A, ends[1], data, sizeof data, CREW_POLL));
	must(crew_pipe_send(&s->pipe, CREW_END_A, data, sizeof data, CREW_POLL));
	must_be(-ETIMEDOUT, crew_pipe_send_fd(&s->pipe, CREW_END_A, ends[1], data, sizeof data, CREW_POLL)); /* no room */
	must(crew_pipe_receive(&s->pipe, CREW_END_B, data, sizeof data, NULL, CREW_POLL));
	end();
}

TEST(close_at_the_other_end_takes_it_back)
{
	begin();
	start_sender(0, CREW_END_A, "abc", CREW_FOREVER);
	must(crew_pipe_close(&s->pipe, CREW_END_B));
	must_be(-EPIPE, end_sender(0));
	must_be(-EPIPE, crew_pipe_send_fd(&s->pipe, CREW_END_A, ends[1], NULL, 0, CREW_FOREVER));
	ck_assert_uint_eq(blocks(), blocks_before);
	end();
}

TEST(close_at_its_own_end_leaves_it_to_be_received)
{
	begin();
	start_sender(0, CREW_END_A, "abc", CREW_FOREVER);
	must(crew_pipe_close(&s->pipe, CREW_END_A));
	expect(CREW_END_B, "abc", true);
	must(end_sender(0));
	must_be(CREW_END_OF_DATA, crew_pipe_receive_fd(&s->pipe, CREW_END_B, NULL, NULL, 0, NULL, CREW_FOREVER));
	end();
}

static const struct { enum crew__call call; int error, told; } refusals[] = {
	{ CREW__CALL_pidfd_getfd, EMFILE, -EMFILE }, { CREW__CALL_pidfd_open, EMFILE, -EMFILE },
	{ CREW__CALL_pidfd_open, ENFILE, -ENFILE }, { CREW__CALL_pidfd_getfd, EPERM, -EACCES },
	{ CREW__CALL_pidfd_getfd, ENOSYS, -EACCES }, { CREW__CALL_pidfd_open, ENOMEM, -ENOMEM },
};

TEST(a_receiver_that_cannot_have_it_is_told_and_it_stays, .count = sizeof refusals / sizeof *refusals)
{
	begin();
	char data[10];
	int fd;
	start_sender(0, CREW_END_A, "abc", CREW_FOREVER);
	crew__fault_set(refusals[index].call, 1, refusals[index].error, 1);
	must_be(refusals[index].told, crew_pipe_receive_fd(&s->pipe, CREW_END_B, &fd, data, sizeof data, NULL, SOON));
	crew__fault_set(refusals[index].call, 0, 0, 0);
	ck_assert_int_eq(fd, -1);
	expect(CREW_END_B, "abc", true);
	must(end_sender(0));
	end();
}

TEST(what_its_sender_has_closed_cannot_be_received)
{
	begin();
	int fd;
	must_be(-EBADF, crew_pipe_send_fd(&s->pipe, CREW_END_A, -1, NULL, 0, CREW_FOREVER));
	must_be(-EBADF, crew_pipe_send_fd(&s->pipe, CREW_END_A, 999, NULL, 0, CREW_FOREVER));
	int high = fcntl(ends[1], F_DUPFD_CLOEXEC, 500); /* a number that nothing else gets once it is closed */
	close(ends[1]);
	ends[1] = high;
	start_sender(0, CREW_END_A, "", CREW_FOREVER);
	close(high);
	ends[1] = -1;
	must_be(-EBADF, crew_pipe_receive_fd(&s->pipe, CREW_END_B, &fd, NULL, 0, NULL, CREW_FOREVER));
	must(crew_pipe_receive_fd(&s->pipe, CREW_END_B, NULL, NULL, 0, NULL, CREW_FOREVER));
	must(end_sender(0));
	end();
}

TEST(wait_any_tells_of_one)
{
	begin();
	struct crew_counter *never;
	must(crew_alloc_zeroed(sizeof *never, (void **)&never));
	struct crew_wait_item items[] = { { .kind = CREW_WAIT_COUNTER, .object = never }, { .kind = CREW_WAIT_PIPE_B, .object = &s->pipe } };
	must_be(-ETIMEDOUT, crew_wait_any(items, 2, CREW_POLL));
	start_sender(0, CREW_END_A, "abc", CREW_FOREVER);
	must_be(1, crew_wait_any(items, 2, SOON));
	expect(CREW_END_B, "abc", true);
	must(end_sender(0));
	crew_free(never);
	end();
}

enum { ROUNDS = 300 };

static void *send_many(void *unused)
{
	(void)unused;
	for (int i = 0; i < ROUNDS; i++)
		must(crew_pipe_send_fd(&s->pipe, CREW_END_A, ends[1], &i, sizeof i, CREW_FOREVER));
	return NULL;
}

TEST(many_one_after_the_other_each_arrives_once, .timeout = 60)
{
	begin();
	pthread_t sender = start(send_many, NULL);
	for (int i = 0, n, fd; i < ROUNDS; i++) {
		must(crew_pipe_receive_fd(&s->pipe, CREW_END_B, &fd, &n, sizeof n, NULL, SOON));
		ck_assert_int_eq(n, i);
		close(fd);
	}
	pthread_join(sender, NULL);
	end();
}

/* ---- between processes ---- */

static void tell(int *where, int what)
{
	__atomic_store_n(where, what, __ATOMIC_RELEASE);
}

static int told(const int *where)
{
	return __atomic_load_n(where, __ATOMIC_ACQUIRE);
}

static struct crew_process *start_child(crew_process_fn *function, int method)
{
	struct crew_process *child;
	must(crew_process_start(&child, &(struct crew_process_options){
			.function = function, .argument = s, .method = (enum crew_process_method)method }));
	return child;
}

static void end_child(struct crew_process *child)
{
	int r = crew_process_signal(child, SIGKILL);
	ck_assert(r == 0 || r == -ESRCH);
	must(crew_process_join(child, CREW_FOREVER, NULL));
	must(crew_process_close(child));
}

/* Receives one descriptor, writes the message there, and sends that back with a descriptor of its own: a file with the message. */
static int write_and_answer(void *argument, size_t size)
{
	struct shared *shared = argument;
	char data[20];
	int fd, own;
	(void)size;
	if (crew_pipe_receive_fd(&shared->pipe, CREW_END_B, &fd, data, sizeof data, &size, CREW_FOREVER) < 0 ||
			write(fd, data, size) != (ssize_t)size || close(fd) < 0)
		return 1;
	own = memfd_create("answer", MFD_CLOEXEC);
	if (own < 0 || write(own, data, size) != (ssize_t)size)
		return 2;
	if (crew_pipe_send_fd(&shared->pipe, CREW_END_B, own, NULL, 0, CREW_FOREVER) < 0)
		return 3;
	return 0;
}

TEST(between_processes_both_ways, .count = 2)
{
	begin();
	struct crew_process *child = start_child(write_and_answer, index);
	struct crew_status status;
	char data[20] = "";
	int fd;
	must(crew_pipe_send_fd(&s->pipe, CREW_END_A, ends[1], "hello", 5, SOON));
	ck_assert_int_eq(read(ends[0], data, sizeof data), 5);
	must(crew_pipe_receive_fd(&s->pipe, CREW_END_A, &fd, NULL, 0, NULL, SOON));
	ck_assert_int_eq(pread(fd, data + 5, 5, 0), 5);
	ck_assert_int_eq(strcmp(data, "hellohello"), 0);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	must(crew_process_join(child, CREW_FOREVER, &status));
	ck_assert_int_eq(status.code, 0);
	must(crew_process_close(child));
	end();
}

/* Sends one end of a pipe(2) of its own, again and again; mode: how often. */
static int send_and_wait(void *argument, size_t size)
{
	struct shared *shared = argument;
	int own[2];
	(void)size;
	if (pipe2(own, O_CLOEXEC) < 0)
		return 1;
	tell(&shared->told[0], 1);
	while (crew_pipe_send_fd(&shared->pipe, CREW_END_B, own[0], "x", 1, CREW_FOREVER) == 0)
		;
	return 2;
}

/* index: born how; received by a plain receive or by the other. */
TEST(what_a_killed_sender_had_not_passed_on_never_comes, .count = 4)
{
	begin();
	int fd;
	char data[4];
	struct crew_process *child = start_child(send_and_wait, index / 2);
	must(crew_pipe_poll(&s->pipe, CREW_END_A, SOON));
	must(crew_pipe_receive_fd(&s->pipe, CREW_END_A, &fd, data, sizeof data, NULL, SOON));
	close(fd);
	must(crew_pipe_poll(&s->pipe, CREW_END_A, SOON));
	end_child(child);
	must_be(CREW_END_OF_DATA, index % 2 ? crew_pipe_receive(&s->pipe, CREW_END_A, data, sizeof data, NULL, SOON) :
		crew_pipe_receive_fd(&s->pipe, CREW_END_A, &fd, data, sizeof data, NULL, SOON));
	ck_assert_uint_eq(blocks(), blocks_before);
	end();
}

TEST(a_sender_killed_while_others_receive_is_no_error, .count = 2)
{
	begin();
	int fd, r;
	char data[4];
	struct crew_process *child = start_child(send_and_wait, index);
	for (int i = 0; i < 5 + 20 * index; i++) {
		must(crew_pipe_receive_fd(&s->pipe, CREW_END_A, &fd, data, sizeof data, NULL, SOON));
		close(fd);
	}
	must(crew_process_signal(child, SIGKILL));
	while ((r = crew_pipe_receive_fd(&s->pipe, CREW_END_A, &fd, data, sizeof data, NULL, SOON)) == 0)
		close(fd);
	must_be(CREW_END_OF_DATA, r);
	end_child(child);
	end();
}

/* As CPython's TestConnection.test_large_fd_transfer: numbers above 256 are numbers. */
TEST(a_descriptor_of_a_large_number_arrives_as_a_small_one)
{
	begin();
	char data[20];
	int high = fcntl(ends[1], F_DUPFD_CLOEXEC, 700);
	ck_assert_int_ge(high, 700);
	close(ends[1]);
	ends[1] = high;
	struct crew_process *child = start_child(write_and_answer, CREW_ZYGOTE);
	int fd;
	must(crew_pipe_send_fd(&s->pipe, CREW_END_A, high, "hello", 5, SOON));
	ck_assert_int_eq(read(ends[0], data, sizeof data), 5);
	must(crew_pipe_receive_fd(&s->pipe, CREW_END_A, &fd, NULL, 0, NULL, SOON));
	ck_assert_int_lt(fd, 256);
	close(fd);
	end_child(child);
	end();
}

/* A stopped sender has the descriptor all the same. */
TEST(a_stopped_sender_does_not_hold_it_up)
{
	begin();
	int fd;
	char data[4];
	struct crew_process *child = start_child(send_and_wait, CREW_ZYGOTE);
	must(crew_pipe_poll(&s->pipe, CREW_END_A, SOON));
	await(asleep() == 1);
	must(crew_process_signal(child, SIGSTOP));
	must(crew_pipe_receive_fd(&s->pipe, CREW_END_A, &fd, data, sizeof data, NULL, SOON));
	struct stat what;
	ck_assert_int_eq(fstat(fd, &what), 0);
	ck_assert(S_ISFIFO(what.st_mode));
	close(fd);
	end_child(child);
	end();
}

static int look_and_rest(void *argument, size_t size)
{
	struct shared *shared = argument;
	(void)size;
	if (crew_pipe_poll(&shared->pipe, CREW_END_B, CREW_FOREVER) < 0)
		return 1;
	tell(&shared->told[0], 1);
	for (;;)
		pause();
}

TEST(a_sender_is_told_of_the_death_of_the_receiver, .count = 2)
{
	begin();
	struct crew_process *child = start_child(look_and_rest, index);
	start_sender(0, CREW_END_A, "abc", CREW_FOREVER);
	await(told(&s->told[0]));
	must(crew_process_signal(child, SIGKILL));
	must_be(-EPIPE, end_sender(0));
	end_child(child);
	ck_assert_uint_eq(blocks(), blocks_before);
	end();
}
