/*
 * watcher.c - ranks that leave nothing behind, however the one who started them ends
 *
 *     caller ──fork── watcher ──fork, exec── launcher ── rank 0, rank 1, …
 *        └──── line ────┘                       (each in a process group of its own)
 *
 * State    line       a socket pair between caller and watcher, one end each
 *          directory  the session and the shared segments of MPI. Both know its name;
 *                     the watcher makes it and removes it
 *
 * Moves    1  the watcher makes the directory, starts the launcher, and sleeps until
 *             the launcher ends or the line does
 *          2  it kills and reaps until it has no child left. As a child subreaper it
 *             inherits every orphan of the tree, so none escapes
 *          3  it removes the directory, tells the launcher's end on the line, exits
 *
 * Death    caller    the kernel closes its end of the line: step 2
 *          watcher   the launcher gets SIGTERM (PDEATHSIG), ends its ranks and itself;
 *                    the caller sees the line end without a word and does step 3
 *          launcher  step 2
 *          a rank    the launcher's business: it ends the others and itself
 */
#include "cluster/watcher.h"
#include "base/sys.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Settings for one machine, each of them needed somewhere: as root; with more
 * ranks than CPUs; beside another job (bound to the same cores, each message would
 * cost a time slice); in a container that forbids reading another's memory (CMA),
 * where MPI would complain; inside a batch allocation that is not meant.
 */
static void set_environment(const struct crew__ranks *ranks)
{
	static const char *const settings[][2] = {
		{ "OMPI_ALLOW_RUN_AS_ROOT", "1" },
		{ "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1" },
		{ "OMPI_MCA_rmaps_base_oversubscribe", "1" },
		{ "OMPI_MCA_hwloc_base_binding_policy", "none" },
		{ "OMPI_MCA_btl_vader_single_copy_mechanism", "none" },
		{ "OMPI_MCA_plm", "isolated" },
		{ "OMPI_MCA_ras", "^slurm,tm,gridengine,lsf" },
		{ "OMPI_MCA_orte_execute_quiet", "1" },
		{ "HYDRA_RMK", "user" },
		{ "HYDRA_LAUNCHER", "fork" },
		{ "UCX_TLS", "^cma" },
		{ CREW__CLUSTER_MARK, "1" },
	};
	static const char *const directories[] = {
		"OMPI_MCA_orte_tmpdir_base",
		"OMPI_MCA_btl_vader_backing_directory",
		"OMPI_MCA_osc_sm_backing_directory",
		"OMPI_MCA_osc_rdma_backing_directory",
		"TMPDIR",
	};
	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
		setenv(settings[i][0], settings[i][1], 0);
	for (size_t i = 0; i < sizeof directories / sizeof *directories; i++)
		setenv(directories[i], ranks->directory, 1);
}

/* In the child that becomes the launcher. */
static _Noreturn void launch(const struct crew__ranks *ranks, pid_t watcher, int out)
{
	char number[16];
	snprintf(number, sizeof number, "%u", ranks->count);
	const char *head[] = { ranks->launcher, "-n", number, ranks->program };
	const size_t head_count = sizeof head / sizeof *head;
	size_t count = 0;
	while (ranks->arguments[count])
		count++;
	const char **argv = calloc(head_count + count + 1, sizeof *argv);
	int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (!argv || in < 0)
		_exit(127);
	memcpy(argv, head, sizeof head);
	memcpy(argv + head_count, ranks->arguments, count * sizeof *argv);
	set_environment(ranks);
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() == watcher)
		execv(ranks->launcher, (char *const *)argv);
	_exit(127);
}

/*
 * Step 2. Whoever is not yet a child becomes one when the last of its ancestors
 * dies; that death ends the wait here, and the list is read anew.
 */
static void end_children(pid_t launcher, int *status)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
	kill(launcher, SIGKILL); /* not reaped yet, so it is still the launcher */
	for (;;) {
		FILE *children = fopen(path, "re");
		int child;
		while (children && fscanf(children, "%d", &child) == 1)
			kill(child, SIGKILL);
		if (children)
			fclose(children);
		int ended;
		pid_t pid = waitpid(-1, &ended, 0);
		if (pid == launcher)
			*status = ended;
		if (pid < 0)
			return;
	}
}

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *place)
{
	(void)stat, (void)type, (void)place;
	remove(path);
	return 0;
}

void crew__ranks_clean(const char *directory)
{
	nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Apart from the caller: own session, no handlers, no descriptors but these two and the standard ones. */
static void detach(int line, int out)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
		signal(ignored[i], SIG_IGN);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	prctl(PR_SET_NAME, "crew-watcher");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	unsigned low = (unsigned)(line < out ? line : out), high = (unsigned)(line < out ? out : line);
	if (low > 3)
		close_range(3, low - 1, 0);
	if (high > low + 1)
		close_range(low + 1, high - 1, 0);
	close_range(high + 1, UINT_MAX, 0);
}

void crew__ranks_watch(const struct crew__ranks *ranks, int line, int out)
{
	struct crew__ranks_end end = { 0 };
	detach(line, out);
	if (mkdir(ranks->directory, 0700) < 0) {
		end.error = -errno;
	} else {
		pid_t self = getpid(), launcher = crew__fork();
		if (launcher == 0)
			launch(ranks, self, out);
		close(out); /* the caller reads to its end: launcher and ranks alone must hold it */
		int ended = launcher > 0 ? crew__pidfd_open(launcher) : (int)launcher;
		if (ended >= 0) {
			struct pollfd fds[] = { { line, POLLIN, 0 }, { ended, POLLIN, 0 } };
			(void)crew__poll(fds, 2, CREW_FOREVER);
		} else {
			end.error = ended;
		}
		if (launcher > 0)
			end_children(launcher, &end.status);
		crew__ranks_clean(ranks->directory);
	}
	(void)!send(line, &end, sizeof end, MSG_NOSIGNAL);
	_exit(0);
}
