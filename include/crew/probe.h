/*
 * crew/probe.h - what this machine offers, found out once, at run time
 *
 * Nothing is decided when crew is compiled. A feature that is missing has a
 * fallback or a clear error; CREW_DISABLE=name,name in the environment forces
 * the fallbacks, for tests.
 */
#ifndef CREW_PROBE_H
#define CREW_PROBE_H

#include <crew/base.h>

CREW_BEGIN

/* One line of the probe: a feature, whether it is there, and what crew does with it. */
struct crew_feature {
	const char *name;     /* as CREW_DISABLE takes it: "pidfd" */
	const char *purpose;  /* what crew uses it for, and what it does without */
	bool present;         /* the kernel offers it */
	bool required;        /* crew_init fails without it */
	bool disabled;        /* switched off by CREW_DISABLE */
};

/* Feature number `index` (0, 1, ...) into *ret. Returns 0, or -ENOENT past the last. */
CREW_API CREW_CHECKED int crew_feature(unsigned index, struct crew_feature *ret);

/* Where a limit on CPUs or memory comes from. */
struct crew_limits {
	unsigned cpus_online;     /* CPUs of the machine */
	unsigned cpus_affinity;   /* CPUs this process may run on: sched_getaffinity */
	unsigned cpus_quota;      /* cgroup CPU quota (v1 or v2), rounded up; 0: none */
	unsigned cpus;            /* the smallest of these, at least 1: what crew_cpus() returns */
	uint64_t memory_total;    /* bytes of the machine */
	uint64_t memory_available;/* bytes the kernel calls available */
	uint64_t memory_cgroup;   /* bytes the cgroup still allows; UINT64_MAX: no limit */
	uint64_t address_space;   /* bytes of RLIMIT_AS; UINT64_MAX: no limit */
};

/* Read the limits of this process now. */
CREW_API void crew_limits(struct crew_limits *ret);

/* CPUs that this process may use: affinity and cgroup quota, at least 1. */
CREW_API unsigned crew_cpus(void);

CREW_END
#endif
