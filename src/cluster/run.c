/* run.c - become ranks, from the caller's side: see crew/cluster.h, and watcher.c for the other */
#include "base/sys.h"
#include "cluster/watcher.h"

#include <crew/probe.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define RANKS_MAX 4096
#define SEGMENT_BYTES (UINT64_C(4) << 20)  /* of shared memory per rank, by Open MPI's default */
#define RANK_BYTES (UINT64_C(16) << 20)    /* of memory in all per rank, measured and rounded up */
#define SESSION_BYTES (UINT64_C(16) << 20) /* once: what the launcher shares with the ranks */

#define LAUNCHER_GRACE (10 * CREW_SECOND)  /* to end its ranks, where nobody can make it */

/* Whether an interface is up: Open MPI's launcher listens on one, be it loopback. */
static bool network_is_up(void)
{
	struct ifaddrs *list;
	if (getifaddrs(&list) < 0)
		return true;
	bool up = false;
	for (struct ifaddrs *i = list; i; i = i->ifa_next)
		up = up || ((i->ifa_flags & IFF_UP) && i->ifa_addr
			&& (i->ifa_addr->sa_family == AF_INET || i->ifa_addr->sa_family == AF_INET6));
	freeifaddrs(list);
	return up;
}

static bool memory_suffices(unsigned ranks)
{
	struct crew_limits machine;
	crew_limits(&machine);
	return ranks * RANK_BYTES <= machine.memory_available && ranks * RANK_BYTES <= machine.memory_cgroup;
}

/* A name for the directory, where the ranks' shared memory has room: in memory, if possible. */
static int name_directory(struct crew__ranks *ranks)
{
	const char *places[] = { "/dev/shm", getenv("TMPDIR"), "/tmp" };
	uint64_t need = SESSION_BYTES + ranks->count * SEGMENT_BYTES;
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		struct statvfs room;
		if (!places[i] || access(places[i], W_OK | X_OK) < 0 || statvfs(places[i], &room) < 0
				|| (uint64_t)room.f_bavail * room.f_frsize < need)
			continue;
		/* Short: MPI puts sockets into it, whose paths have to stay below 108 bytes. */
		int n = snprintf(ranks->directory, sizeof ranks->directory, "%s/crew-%d-%06x", places[i],
			(int)getpid(), (unsigned)(crew_now() / 1000) & 0xffffff);
		if (n < 48)
			return 0;
	}
	return -ENOMEM;
}

static int plan(struct crew__ranks *ranks, const struct crew_cluster_options *options)
{
	struct crew_cluster here;
	crew_cluster_where(&here);
	if (!options->argv || !options->argv[0] || options->ranks > RANKS_MAX || options->out < 0)
		return -EINVAL;
	if (getenv(CREW__CLUSTER_MARK) && here.launcher == CREW_ALONE)
		return -ELOOP;
	ranks->count = options->ranks ? options->ranks : 2;
	ranks->arguments = options->argv + 1;
	int r = crew_cluster_find(options->mpi, ranks->launcher, sizeof ranks->launcher);
	if (r < 0)
		return r;
	ssize_t n = readlink("/proc/self/exe", ranks->program, sizeof ranks->program - 1);
	if (n < 0)
		return -errno;
	ranks->program[n] = 0;
	if (options->mpi == CREW_OPEN_MPI && !network_is_up())
		return -ENETDOWN;
	return memory_suffices(ranks->count) ? name_directory(ranks) : -ENOMEM;
}

static int write_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);
		if (n < 0 && errno == EAGAIN) {
			struct pollfd full = { fd, POLLOUT, 0 };
			(void)crew__poll(&full, 1, CREW_FOREVER);
		} else if (n < 0 && errno != EINTR) {
			return -errno;
		} else if (n > 0) {
			data += n;
			size -= (size_t)n;
		}
	}
	return 0;
}

/*
 * Pass on what the ranks print (`from` → `to`) until they are gone. The watcher tells so
 * in *end; all they have printed lies in the pipe then. If it is gone without a word,
 * end->error stays -ECHILD, and the launcher gets a while to end the ranks. The first
 * reason to stop early is the result; shutting the line makes the watcher act on it.
 */
static int follow(int line, int from, int to, int signals, crew_time deadline, struct crew__ranks_end *end)
{
	struct pollfd fds[] = { { from, POLLIN, 0 }, { line, POLLIN, 0 }, { signals, POLLIN, 0 } };
	int result = 0;
	*end = (struct crew__ranks_end){ .error = -ECHILD };
	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		int ready = crew__poll(fds, 3, deadline);
		int stop = ready < 0 ? ready : ready == 0 ? -ETIMEDOUT : 0;
		if (ready == 0 && fds[1].fd < 0)
			return result;
		if (ready > 0 && fds[0].revents) {
			char data[16384];
			ssize_t n = read(from, data, sizeof data);
			if (n == 0 || (n < 0 && errno != EINTR))
				fds[0].fd = -1;
			else if (n > 0 && !result)
				stop = write_all(to, data, (size_t)n);
		}
		if (ready > 0 && fds[1].revents) {
			struct crew__ranks_end told;
			bool heard = recv(line, &told, sizeof told, 0) == sizeof told;
			if (heard)
				*end = told;
			deadline = heard ? CREW_POLL : crew_after(LAUNCHER_GRACE);
			fds[1].fd = -1;
		}
		if (ready > 0 && fds[2].revents) {
			stop = -EINTR; /* it stays pending */
			fds[2].fd = -1;
		}
		if (stop && !result) {
			result = stop;
			shutdown(line, SHUT_WR);
			if (fds[1].fd >= 0)
				deadline = CREW_FOREVER; /* the watcher's word comes, or its end */
		}
	}
	return result;
}

static void describe(int status, struct crew_status *ret)
{
	*ret = (struct crew_status){ .state = CREW_EXITED, .code = WEXITSTATUS(status) };
	if (WIFSIGNALED(status))
		*ret = (struct crew_status){ .state = CREW_KILLED, .signal = WTERMSIG(status),
			.core = WCOREDUMP(status) };
}

/* The signals that stop us, unless the caller ignores them, and that a signalfd can report. */
static void stopping_signals(sigset_t *set)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	sigemptyset(set);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
		struct sigaction action;
		if (sigaction(signals[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			sigaddset(set, signals[i]);
	}
}

int crew_cluster_run_sized(const struct crew_cluster_options *given, size_t given_size,
		crew_time deadline, struct crew_status *ret)
{
	struct crew_cluster_options options;
	struct crew__ranks ranks;
	int r = crew__options(&options, sizeof options, given, given_size);
	if (r == 0)
		r = plan(&ranks, &options);
	if (r < 0)
		return r;

	/* From here on, signals that would end us wait until everything is undone. */
	sigset_t stopping, blocked, before;
	stopping_signals(&stopping);
	blocked = stopping;
	sigaddset(&blocked, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &blocked, &before);

	enum { LINE, LINE_THERE, PRINTED, PRINT, SIGNALS, COUNT };
	int fds[COUNT] = { -1, -1, -1, -1, -1 };
	r = crew__socketpair(SOCK_SEQPACKET, &fds[LINE]);
	if (r == 0)
		r = crew__pipe2(&fds[PRINTED], O_CLOEXEC);
	if (r == 0 && (fds[SIGNALS] = signalfd(-1, &stopping, SFD_CLOEXEC)) < 0)
		r = -errno;
	pid_t watcher = r == 0 ? crew__fork() : r;
	if (watcher == 0)
		crew__ranks_watch(&ranks, fds[LINE_THERE], fds[PRINT]);
	if (watcher > 0) {
		struct crew__ranks_end end;
		close(fds[LINE_THERE]);
		close(fds[PRINT]);
		fds[LINE_THERE] = fds[PRINT] = -1;
		r = follow(fds[LINE], fds[PRINTED], options.out ? options.out - 1 : STDOUT_FILENO,
			fds[SIGNALS], deadline, &end);
		while (waitpid(watcher, NULL, 0) < 0 && errno == EINTR)
			;
		if (end.error == -ECHILD)
			crew__ranks_clean(ranks.directory);
		r = r ? r : end.error;
		if (r == 0)
			describe(end.status, ret);
	} else {
		r = (int)watcher;
	}
	for (int i = 0; i < COUNT; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}
