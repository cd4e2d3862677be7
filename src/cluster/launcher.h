/* launcher.h - what the cluster layer knows of each MPI's launcher */
#ifndef CREW_CLUSTER_LAUNCHER_H
#define CREW_CLUSTER_LAUNCHER_H

#include <crew/cluster.h>

struct crew__mpi {
	const char *name;       /* as people call it */
	const char *package;    /* Debian's, with the launcher */
	const char *own;        /* the launcher's name where several MPIs are installed */
	const char *alias[2];   /* names that it may share with another MPI's */
	const char *marks[3];   /* parts of the file names behind such an alias that are this MPI's */
};

/* NULL for what is no enum crew_mpi. */
const struct crew__mpi *crew__mpi(enum crew_mpi mpi);

#endif
