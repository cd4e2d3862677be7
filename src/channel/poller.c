/*
 * poller.c - one thread that sleeps in epoll_wait for all others of its process
 *
 * State    all: an epoll descriptor that the thread waits on; in it sets, each an epoll descriptor of one caller of
 *          crew_wait_any, armed for one event (EPOLLONESHOT). word: changes whenever an armed set has become ready.
 * Writers  all, thread: whoever starts or stops it, under `mutex`. word: the thread.
 * Moves    idle -> armed (crew__poller_arm) -> word + 1, idle.
 * Order    (A) the sleeper reads word, (B) looks at its descriptors, (C) arms, (D) sleeps while word is as in (A). epoll
 *          is level-triggered, so what became ready between (B) and (C) rings at (C).
 * Death    the whole state is private to the process and goes with it. A child of fork has no such thread and
 *          shares the open epoll file: it closes its descriptor and starts anew.
 * Why nested sets: a descriptor may be waited for by two threads at once, which one epoll set cannot hold; and
 * closing a set takes all its members out in one call.
 */
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "base/sys.h"
#include "channel/poller.h"

#define STACK_BYTES ((size_t)64 << 10)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_t thread;
static int all = -1;
static uint32_t word;

uint32_t *crew__poller_word(void)
{
	return &word;
}

static void *run(void *argument)
{
	int epoll = (int)(intptr_t)argument;
	for (;;) {
		struct epoll_event events[16]; /* which sets they are is nothing to us: one word serves all */
		if (epoll_wait(epoll, events, 16, -1) > 0) {
			__atomic_fetch_add(&word, 1, __ATOMIC_SEQ_CST);
			crew__futex_wake(&word, UINT32_MAX);
		}
	}
	return NULL;
}

/* With all signals blocked: they are for the program's own threads. */
static int start_thread(int epoll)
{
	int r = crew__fault(CREW__CALL_pthread_create);
	if (r < 0)
		return r;
	sigset_t every, before;
	sigfillset(&every);
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN + STACK_BYTES);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	r = -pthread_create(&thread, &attributes, run, (void *)(intptr_t)epoll);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return r;
}

static int start(void)
{
	int r = 0;
	pthread_mutex_lock(&mutex);
	if (all < 0) {
		int epoll = crew__epoll_create();
		r = epoll < 0 ? epoll : start_thread(epoll);
		if (r == 0)
			all = epoll;
		else if (epoll >= 0)
			close(epoll);
	}
	pthread_mutex_unlock(&mutex);
	return r;
}

/* Put one descriptor into the set. One that is there twice has the events of both. */
static int add(int set, const struct pollfd *fds, unsigned index)
{
	unsigned events = 0;
	bool again = false;
	for (unsigned i = 0; i <= index; i++)
		if (fds[i].fd == fds[index].fd) {
			events |= (unsigned short)fds[i].events;
			again = again || i < index;
		}
	int r = crew__epoll_ctl(set, again ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fds[index].fd, events);
	/* A plain file cannot be in a set; poll(2) has called it ready already, if it ever will. */
	return r == -EPERM || (again && r == -ENOENT) ? 0 : r;
}

int crew__poller_open(const struct pollfd *fds, unsigned count, int *ret)
{
	int r = start();
	if (r < 0)
		return r;
	int set = crew__epoll_create();
	r = set < 0 ? set : 0;
	for (unsigned i = 0; r == 0 && i < count; i++)
		r = add(set, fds, i);
	if (r == 0)
		r = crew__epoll_ctl(all, EPOLL_CTL_ADD, set, EPOLLONESHOT); /* idle */
	if (r == 0)
		*ret = set;
	else if (set >= 0)
		close(set);
	return r == -ENOSPC ? -ENOMEM : r; /* the user's limit of watches */
}

int crew__poller_arm(int set)
{
	return crew__epoll_ctl(all, EPOLL_CTL_MOD, set, EPOLLIN | EPOLLONESHOT);
}

void crew__poller_close(int set)
{
	epoll_ctl(all, EPOLL_CTL_DEL, set, NULL);
	close(set);
}

void crew__poller_stop(void)
{
	if (all < 0)
		return;
	pthread_cancel(thread); /* epoll_wait is where it can be cancelled, and where it is */
	pthread_join(thread, NULL);
	close(all);
	all = -1;
}

void crew__poller_forget(void)
{
	pthread_mutex_init(&mutex, NULL); /* another thread may have held it */
	if (all >= 0)
		close(all);
	all = -1;
}
