/* watcher.h - the process between the caller and the ranks that it starts */
#ifndef CREW_CLUSTER_WATCHER_H
#define CREW_CLUSTER_WATCHER_H

#include <crew/cluster.h>
#include <limits.h>

#define CREW__CLUSTER_MARK "CREW_CLUSTER_RUN" /* in the environment of the ranks */

struct crew__ranks {
	char launcher[PATH_MAX];
	char program[PATH_MAX];
	char directory[64]; /* for all that MPI puts into files; removed at the end */
	unsigned count;
	const char *const *arguments; /* without argv[0] */
};

/* What the watcher tells when all is gone. */
struct crew__ranks_end {
	int error;  /* negative errno: the launcher was not started */
	int status; /* the launcher's, as from waitpid(2) */
};

/*
 * The life of the watcher, in a fresh fork of the caller. The ranks print to `out`. It
 * ends once the launcher has ended or the other end of `line`, a seqpacket socket, is
 * closed or shut down.
 */
_Noreturn void crew__ranks_watch(const struct crew__ranks *ranks, int line, int out);

/* Remove a directory and what is in it. */
void crew__ranks_clean(const char *directory);

#endif
