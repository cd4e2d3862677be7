/*
 * crew/cluster.h - where this process stands among MPI ranks, and how to become some
 *
 * A program that speaks MPI can be started by a launcher (mpirun, mpiexec, srun)
 * or alone, like any other program. Alone, it starts itself under a launcher:
 *
 *     struct crew_cluster here;
 *     crew_cluster_where(&here);
 *     if (here.launcher == CREW_ALONE) {
 *         struct crew_status status;
 *         int r = crew_cluster_run(&(struct crew_cluster_options){ .mpi = CREW_OPEN_MPI,
 *                 .ranks = 4, .argv = argv }, crew_after(60 * CREW_SECOND), &status);
 *         ...
 *     }
 *     MPI_Init_thread(...); MPI_Comm_size(MPI_COMM_WORLD, &size);
 *     char message[256];
 *     if (crew_cluster_check(CREW_OPEN_MPI, size, message, sizeof message) < 0)
 *         errx(2, "%s", message);        // the launcher of another MPI: `size` worlds of one
 *
 * This header needs no MPI, nor does the library; nor need crew_init have been called.
 *
 * Death. Whatever crew_cluster_run starts hangs on a watcher that outlives the
 * caller by a moment. However the caller ends, SIGKILL included, the watcher
 * kills launcher and ranks and removes their files. If the watcher is killed, the
 * launcher gets SIGTERM and the caller removes the files; only if both are killed
 * at once can files stay behind.
 */
#ifndef CREW_CLUSTER_H
#define CREW_CLUSTER_H

#include <crew/base.h>
#include <crew/process.h>

CREW_BEGIN

/* The MPI that a program was built against. */
enum crew_mpi {
	CREW_OPEN_MPI = 1,
	CREW_MPICH = 2 /* and its kin: Intel MPI, MVAPICH */
};

/* What started this process. */
enum crew_launcher {
	CREW_ALONE,       /* no launcher */
	CREW_BY_OPEN_MPI, /* mpirun of Open MPI */
	CREW_BY_HYDRA,    /* mpiexec of MPICH and its kin */
	CREW_BY_SLURM     /* srun */
};

/* As the launcher says in the environment, before MPI is asked. */
struct crew_cluster {
	enum crew_launcher launcher;
	unsigned size; /* ranks it started; 1 when alone */
	unsigned rank; /* 0 ... size - 1 */
};

/* Where the calling process stands. Reads the environment alone. */
CREW_API void crew_cluster_where(struct crew_cluster *ret);

/*
 * Compare what the launcher started with what MPI sees. A launcher of the wrong
 * MPI goes unnoticed by both: N ranks each believe to be alone, and all of them
 * do all the work. `size` is what MPI_Comm_size says of MPI_COMM_WORLD.
 *
 * Errors  -EPROTO  they differ; message[] names the launcher found and the right command.
 */
CREW_API CREW_CHECKED int crew_cluster_check(enum crew_mpi mpi, unsigned size,
		char *message, size_t message_size);

/*
 * The path of a launcher that fits this MPI, from PATH: the one with the name of
 * the MPI in its name first, then mpirun and mpiexec unless they belong to another.
 *
 * Errors  -ENOENT  none; crew_cluster_package() says what to install.
 *         -EINVAL  no such MPI.   -ENAMETOOLONG  it does not fit into ret.
 */
CREW_API CREW_CHECKED int crew_cluster_find(enum crew_mpi mpi, char *ret, size_t ret_size);

/* The Debian package that brings a launcher for this MPI, as in "openmpi-bin". Never NULL. */
CREW_API const char *crew_cluster_package(enum crew_mpi mpi);

/* Zero means the default. */
struct crew_cluster_options {
	enum crew_mpi mpi;       /* needed */
	unsigned ranks;          /* 1 ... 4096. 0: 2 */
	const char *const *argv; /* arguments of the ranks. Their program is the caller's own, whatever argv[0] says */
	int out;                 /* descriptor for what the ranks print, plus one. 0: stdout */
};

CREW_API CREW_CHECKED int crew_cluster_run_sized(const struct crew_cluster_options *options,
		size_t options_size, crew_time deadline, struct crew_status *ret);

/*
 * Run the calling program as ranks on this machine, and wait for their end. More
 * ranks than CPUs are fine, and so is root. stdin is /dev/null; what the ranks
 * print is passed on; the environment is the caller's, where a setting of MPI
 * wins over crew's. *ret is how the launcher ended, set on success only: exit
 * code 0 is that of ranks that all exit with 0; when a signal ends a rank, the
 * launcher kills the others and makes of it some code that is not 0.
 *
 * SIGINT, SIGTERM, SIGHUP and SIGPIPE wait until ranks and files are gone; then they take
 * their usual effect and, if that is not the end, the call returns -EINTR.
 *
 * Errors  -ENOENT     no launcher: see crew_cluster_find().
 *         -ETIMEDOUT  not done by the deadline; the ranks are gone.
 *         -EINTR      a signal; the ranks are gone.
 *         -EPIPE, -ENOSPC, -EIO, ...  `out` could not be written; the ranks are gone.
 *         -ENOMEM     not enough memory for so many ranks, or no room in /dev/shm, TMPDIR and /tmp.
 *         -ENETDOWN   Open MPI needs a network interface that is up: ip link set lo up
 *         -ELOOP      the caller was started by this call itself, yet sees no launcher.
 *         -ECHILD     the watcher was killed; so were the ranks.
 *         -EINVAL  -EAGAIN  -EMFILE
 */
static inline CREW_CHECKED int crew_cluster_run(const struct crew_cluster_options *options,
		crew_time deadline, struct crew_status *ret)
{
	return crew_cluster_run_sized(options, sizeof *options, deadline, ret);
}

CREW_END
#endif
