/*
 * zygote.c - keeper and zygote: two small processes from the image that the program had at crew_init
 *
 *     founder ──fork──> keeper ──fork──> zygote ──fork──> workers
 *
 * The zygote forks what it is asked for and reaps it. The keeper reaps the zygote, forks the next one if it dies, and
 * inherits its children (it is their subreaper). If the keeper dies the zygote takes its place and forks a zygote. So
 * either may die at any instruction; only if both are killed before that has happened can nothing be started
 * any more. Both hold the receiving end of the request socket, so requests outlive the zygote.
 *
 * Both watch the founder's lifeline. When it is cut the zygote leaves at once; the keeper ends and reaps what
 * is left, for at most a second, then leaves. They hold nothing of the founder's open but its stdout and
 * stderr, which their children are handed, and these not beyond that moment.
 *
 * The keeper is an orphan (forked twice): a child of the founder would make its wait(NULL) loops hang.
 *
 * Death  of the founder in crew__zygote_start: the lifeline is cut, they leave.
 *        of a zygote with a request in hand: order.c.
 *        of a keeper between claim and fork: the zygote gives the claim up when it takes over.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "base/probe.h"
#include "base/trace.h"
#include "process/internal.h"
#include "process/process.h"
#include "region/lane.h"

/* Of this helper. -1, 0: none. */
static struct {
	int requests;    /* receiving end */
	int family;      /* read end of the founder's lifeline */
	int signals;     /* readable when a child has ended */
	int keeper;      /* in the zygote: a pidfd of the keeper */
	uint32_t keeper_id;
	pid_t zygote;    /* in the keeper: its zygote */
} me;

/* Become the member `id`, forked after `born`, with a signal descriptor of our own. */
static int settle(uint32_t id, const char *name, uint64_t born)
{
	struct crew__slot *slot = crew__slot_get(id);
	sigset_t child;
	if (!slot)
		return -ECANCELED; /* the founder did not hear from us, and gave up */
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	crew__close(&me.signals);
	me.signals = crew__fd_raise(crew__signalfd(&child));
	if (me.signals < 0)
		return me.signals;
	slot->helper = 1;
	snprintf(slot->name, sizeof slot->name, "%s", name);
	if (!crew__slot_register(id, slot->parent, getpid()) || !crew__slot_move(id, CREW__SLOT_STARTING, CREW__SLOT_RUNNING))
		return -ECANCELED;
	slot->born[0] = born;
	slot->born[1] = crew__boottime();
	prctl(PR_SET_NAME, name);
	crew__become(id);
	return 0;
}

/* In the keeper: fork a zygote, which returns into the same loop as such. */
static int make_zygote(void)
{
	int self = crew__fd_raise(crew__pidfd_open(getpid()));
	if (self < 0)
		return self;
	uint32_t id = crew__slot_claim(crew__family.self), keeper_id = crew__family.self;
	if (!id) {
		close(self);
		return -EAGAIN;
	}
	uint64_t born = crew__boottime();
	crew__forks_hold();
	pid_t pid = crew__fork();
	if (pid == 0) {
		me.keeper = self;
		me.keeper_id = keeper_id;
		me.zygote = 0;
		if (settle(id, "crew-zygote", born) < 0)
			_exit(127);
		return 0;
	}
	crew__forks_allow();
	close(self);
	if (pid < 0)
		crew__slot_release(id);
	else
		me.zygote = pid;
	return pid < 0 ? pid : 0;
}

/* One request: start it or, with an error, refuse it. */
static void serve(int error)
{
	struct crew__start start;
	int travelled[CREW__FD_COUNT], fds[CREW__FD_COUNT];
	unsigned count = CREW__FD_COUNT, next = 0;
	if (crew__receive(me.requests, &start, sizeof start, travelled, &count) == sizeof start) {
		for (int i = 0; i < CREW__FD_COUNT; i++)
			fds[i] = start.descriptors & 1u << i && next < count ? travelled[next++] : -1;
		struct crew__slot *slot = crew__slot_get(start.slot);
		bool wanted = slot && slot->parent == start.parent &&
			__atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) == CREW__SLOT_STARTING;
		if ((unsigned)__builtin_popcount(start.descriptors) != count)
			error = -EMFILE; /* some did not fit into our table */
		if (wanted && !error) {
			crew__forks_hold();
			pid_t pid = crew__birth(&start, fds, NULL);
			crew__forks_allow();
			error = pid < 0 ? pid : 0;
		}
		if (wanted && error) {
			struct crew__answer answer = { .error = error };
			(void)crew__send(fds[CREW__FD_ANSWER], &answer, sizeof answer, NULL, 0, MSG_DONTWAIT);
		}
	}
	for (unsigned i = 0; i < count; i++)
		close(travelled[i]);
}

static void bury(void)
{
	struct signalfd_siginfo drained;
	while (read(me.signals, &drained, sizeof drained) > 0)
		;
	for (pid_t pid; (pid = crew__reap_any(me.keeper < 0)) != 0 && pid != -ECHILD;)
		if (pid == me.zygote)
			me.zygote = 0;
}

/* The founder is gone, or in crew_fini. */
static void leave(void) __attribute__((noreturn));
static void leave(void)
{
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	if (me.keeper < 0) {
		crew__end_members(crew_after(CREW_SECOND));
		while (crew__reap_any(true) > 0)
			;
		crew__program_over();
	}
	_exit(0);
}

/* The keeper has died: from now on we are it, and have our children already. */
static void take_over(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_NAME, "crew-keeper");
	snprintf(crew__slot_get(crew__family.self)->name, sizeof ((struct crew__slot *)0)->name, "crew-keeper");
	crew__close(&me.keeper);
	crew__ended(me.keeper_id, NULL, NULL);
}

static void work(void) __attribute__((noreturn));
static void work(void)
{
	for (;;) {
		int error = 0;
		if (me.keeper < 0 && me.zygote == 0)
			error = make_zygote(); /* in the new zygote me.keeper is set on return */
		bool serving = me.keeper >= 0 || error;
		struct pollfd fds[] = { { .fd = me.family }, { .fd = me.signals, .events = POLLIN },
			{ .fd = me.keeper, .events = POLLIN }, { .fd = serving ? me.requests : -1, .events = POLLIN } };
		if (crew__poll(fds, 4, error ? crew_after(20 * CREW_MILLISECOND) : CREW_FOREVER) < 0)
			continue;
		if (fds[0].revents)
			leave();
		if (fds[1].revents)
			bury();
		if (fds[2].revents)
			take_over();
		else if (fds[3].revents)
			serve(error);
	}
}

/* What keeper and zygote keep of the founder's descriptors. */
static void close_all_but(int report)
{
	int null = crew__fd_raise(open("/dev/null", O_RDWR | O_CLOEXEC));
	dup2(null, 0);
	for (int fd = 1; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			dup2(null, fd); /* or a later descriptor would become somebody's stdout */
	int keep[] = { crew__family.memfd, me.requests, crew__requests, me.family, crew__trace_fd(), report };
	crew__close_others(3, keep, sizeof keep / sizeof *keep, false);
}

static void be_keeper(uint32_t id, int report) __attribute__((noreturn));
static void be_keeper(uint32_t id, int report)
{
	setsid();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (int signal = 1; signal <= SIGRTMAX; signal++)
		if (signal < 32 || signal >= SIGRTMIN)
			sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
	close_all_but(report);
	int error = settle(id, "crew-keeper", 0);
	if (error == 0)
		error = make_zygote();
	if (me.keeper >= 0 || error) /* from the zygote: all is there; if there is none, from the keeper: why */
		(void)crew__send(report, &error, sizeof error, NULL, 0, 0);
	close(report);
	if (error)
		_exit(127);
	work();
}

/* Fork twice, so that the keeper is nobody's child. In the founder: 0 or a negative errno. */
static int fork_keeper(uint32_t id, const int report[2])
{
	sigset_t all, before;
	siginfo_t info;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	crew__forks_hold();
	pid_t between = crew__fork();
	if (between == 0) {
		crew__forks_hold();
		pid_t pid = crew__fork();
		if (pid == 0)
			be_keeper(id, report[1]);
		if (pid < 0)
			(void)crew__send(report[1], &pid, sizeof pid, NULL, 0, 0);
		_exit(0);
	}
	crew__forks_allow();
	if (between > 0)
		(void)crew__waitid(P_PID, (id_t)between, &info, WEXITED, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return between < 0 ? between : 0;
}

unsigned crew__families;

int crew__zygote_start(void)
{
	int requests[2] = { -1, -1 }, report[2] = { -1, -1 };
	uint32_t id = 0;
	crew__families++;
	crew__birth_init();
	crew__has(CREW__FEATURE_PROC); /* ask now: later, each child would */
	fflush(NULL);
	crew__forks_hold();
	int family = crew__lifeline();
	crew__forks_allow();
	if (family >= 0)
		family = crew__lifeline_open(family);
	int r = family < 0 ? family : crew__socketpair(SOCK_SEQPACKET, requests);
	if (r == 0)
		r = crew__socketpair(SOCK_SEQPACKET, report);
	if (r == 0 && !(id = crew__slot_claim(crew__family.self)))
		r = -ENOMEM;
	if (r == 0) {
		crew__requests = crew__fd_raise(requests[0]);
		requests[0] = -1;
		memset(&me, 0, sizeof me);
		me.requests = requests[1] = crew__fd_raise(requests[1]);
		me.family = family;
		me.signals = me.keeper = -1;
		r = fork_keeper(id, report);
	}
	if (r == 0) {
		unsigned none = 0;
		int error = -EAGAIN;
		crew__close(&report[1]);
		ssize_t got = crew__receive(report[0], &error, sizeof error, NULL, &none);
		r = got < 0 ? (int)got : error;
	}
	for (int i = 0; i < 2; i++) {
		crew__close(&requests[i]);
		crew__close(&report[i]);
	}
	crew__close(&family);
	if (r < 0) {
		crew__close(&crew__requests);
		crew__lifeline_cut();
		crew__slot_release(id);
	}
	return r;
}

void crew__zygote_stop(void)
{
	crew__reap_disowned();
	if (crew__family.named) /* nobody of the other programs shall wait for us from here on */
		crew__slot_move(crew__family.self, CREW__SLOT_RUNNING, CREW__SLOT_ENDED);
	crew__lifeline_cut();
	crew__end_members(crew_after(5 * CREW_SECOND));
	crew__program_leave();
	crew__close(&crew__requests);
}
