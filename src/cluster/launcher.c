/* launcher.c - who started us, and who could: see crew/cluster.h */
#include "cluster/launcher.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct crew__mpi mpis[] = {
	{ "Open MPI", "openmpi-bin", "mpirun.openmpi", { "mpirun", "mpiexec" }, { "orterun", "prterun", "openmpi" } },
	{ "MPICH", "mpich", "mpiexec.hydra", { "mpiexec", "mpirun" }, { "hydra", "mpich", "mpich" } },
};

const struct crew__mpi *crew__mpi(enum crew_mpi mpi)
{
	return mpi == CREW_OPEN_MPI ? &mpis[0] : mpi == CREW_MPICH ? &mpis[1] : NULL;
}

const char *crew_cluster_package(enum crew_mpi mpi)
{
	const struct crew__mpi *known = crew__mpi(mpi);
	return known ? known->package : "openmpi-bin or mpich";
}

/*
 * The marks of each launcher, in the order in which they have to be tried: Open
 * MPI and hydra may themselves use srun to reach other machines, so that their
 * ranks see Slurm's variables too, and MPI_LOCALNRANKS tells hydra from srun's
 * imitation of it. In an allocation without srun only SLURM_NTASKS is set: that
 * is a plain shell, no launcher.
 */
static const struct mark {
	enum crew_launcher launcher;
	const char *sign, *size, *rank, *name;
} marks[] = {
	{ CREW_BY_OPEN_MPI, "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "Open MPI's mpirun" },
	{ CREW_BY_HYDRA, "MPI_LOCALNRANKS", "PMI_SIZE", "PMI_RANK", "MPICH's mpiexec" },
	{ CREW_BY_SLURM, "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "Slurm's srun" },
	{ CREW_BY_HYDRA, "PMI_SIZE", "PMI_SIZE", "PMI_RANK", "MPICH's mpiexec" },
};

static unsigned number(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);
	char *end;
	unsigned long value = text ? strtoul(text, &end, 10) : 0;
	return text && *text && !*end && value <= INT_MAX ? (unsigned)value : otherwise;
}

static const struct mark *find_mark(void)
{
	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
		if (getenv(marks[i].sign) && number(marks[i].size, 0) > 0)
			return &marks[i];
	return NULL;
}

void crew_cluster_where(struct crew_cluster *ret)
{
	const struct mark *mark = find_mark();
	*ret = (struct crew_cluster){ CREW_ALONE, 1, 0 };
	if (mark)
		*ret = (struct crew_cluster){ mark->launcher, number(mark->size, 1), number(mark->rank, 0) };
}

int crew_cluster_check(enum crew_mpi mpi, unsigned size, char *message, size_t message_size)
{
	const struct mark *mark = find_mark();
	const struct crew__mpi *known = crew__mpi(mpi);
	unsigned started = mark ? number(mark->size, 1) : 1;
	if (!mark || size == started || !known)
		return 0;
	char command[64];
	if (mark->launcher == CREW_BY_SLURM)
		snprintf(command, sizeof command, "srun --mpi=%s -n %u", mpi == CREW_OPEN_MPI ? "pmix" : "pmi2", started);
	else
		snprintf(command, sizeof command, "%s -n %u", known->own, started);
	snprintf(message, message_size, "%s started %u ranks, but %s sees %u: the program is built for %s; "
		"start it with '%s %s'", mark->name, started, known->name, size, known->name, command,
		program_invocation_name);
	return -EPROTO;
}

/* Whether the file behind `path` is, by its name, a launcher of this MPI, or of none that we know. */
static bool fits(const struct crew__mpi *mpi, const char *path)
{
	char file[PATH_MAX];
	if (!realpath(path, file))
		return false;
	const char *name = strrchr(file, '/');
	bool foreign = false;
	for (size_t i = 0; i < sizeof mpis / sizeof *mpis; i++)
		for (size_t j = 0; j < 3; j++)
			if (name && strstr(name, mpis[i].marks[j])) {
				if (&mpis[i] == mpi)
					return true;
				foreign = true;
			}
	return !foreign;
}

/* The first executable file of that name on PATH that fits. */
static bool search(const struct crew__mpi *mpi, const char *name, char ret[static PATH_MAX])
{
	const char *path = getenv("PATH");
	for (const char *at = path ? path : "/usr/bin:/bin"; at; at = strchr(at, ':') ? strchr(at, ':') + 1 : NULL) {
		int length = (int)strcspn(at, ":");
		int n = snprintf(ret, PATH_MAX, "%.*s/%s", length, at, name);
		if (length > 0 && n < PATH_MAX && access(ret, X_OK) == 0 && fits(mpi, ret))
			return true;
	}
	return false;
}

int crew_cluster_find(enum crew_mpi mpi, char *ret, size_t ret_size)
{
	const struct crew__mpi *known = crew__mpi(mpi);
	char path[PATH_MAX];
	if (!known)
		return -EINVAL;
	if (!search(known, known->own, path) && !search(known, known->alias[0], path)
			&& !search(known, known->alias[1], path))
		return -ENOENT;
	if (strlen(path) >= ret_size)
		return -ENAMETOOLONG;
	strcpy(ret, path);
	return 0;
}
