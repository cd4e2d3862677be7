/* probe.h - what the other layers ask the probe. Results are found once and kept. */
#ifndef CREW_BASE_PROBE_H
#define CREW_BASE_PROBE_H

#include <crew/probe.h>

enum crew__feature {
	CREW__FEATURE_MEMFD,
	CREW__FEATURE_PIDFD,
	CREW__FEATURE_ROBUST,
	CREW__FEATURE_PROC,
	CREW__FEATURE_FUTEX_WAITV,
	CREW__FEATURE_CLOSE_RANGE,
	CREW__FEATURE_PUNCH_HOLE,
	CREW__FEATURE_COUNT
};

/* Whether crew may use it: present and not switched off. */
bool crew__has(enum crew__feature feature);

/* Bytes of memory that crew may commit by default: 80 % of the smaller of what cgroup and machine leave. */
uint64_t crew__memory_cap(void);

#endif
