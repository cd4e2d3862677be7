/*
 * limits.c - how many CPUs and how much memory this process may use
 *
 * Affinity, cgroup v1 and v2, rlimits. A cgroup's limit may sit in any of its ancestors, so the whole
 * path is read, from /proc/self/cgroup upwards; in a container the path may not exist below the mount,
 * then the mount itself is the group.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/probe.h"
#include "base/sys.h"

/* Read a small file whole. Returns false if it cannot be read. */
static bool slurp(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, text, size - 1);
	close(fd);
	if (n < 0)
		return false;
	text[n] = '\0';
	return true;
}

/* What the groups on the way from ours to the root say; the tightest wins. */
struct cgroup_limits {
	double cpus;     /* 0: no quota */
	uint64_t memory; /* bytes still free; UINT64_MAX: no limit */
};

static void tighten_cpus(struct cgroup_limits *limits, double quota, double period)
{
	if (quota > 0 && period > 0 && (limits->cpus <= 0 || quota / period < limits->cpus))
		limits->cpus = quota / period;
}

static void tighten_memory(struct cgroup_limits *limits, const char *limit, const char *used)
{
	char *end;
	unsigned long long most = strtoull(limit, &end, 10);
	if (end == limit || most > UINT64_MAX / 4) /* "max", or v1's huge number: no limit */
		return;
	unsigned long long now = strtoull(used, NULL, 10);
	uint64_t left = most > now ? most - now : 0;
	if (left < limits->memory)
		limits->memory = left;
}

static void read_group(const char *folder, struct cgroup_limits *limits)
{
	char path[1100], text[128], other[128];
	double quota, period;
	snprintf(path, sizeof path, "%s/cpu.max", folder); /* v2: "QUOTA PERIOD" or "max PERIOD" */
	if (slurp(path, text, sizeof text) && sscanf(text, "%lf %lf", &quota, &period) == 2)
		tighten_cpus(limits, quota, period);
	snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder); /* v1: -1 is none */
	if (slurp(path, text, sizeof text)) {
		snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
		if (slurp(path, other, sizeof other))
			tighten_cpus(limits, atof(text), atof(other));
	}
	static const char *const memory[][2] = { { "memory.max", "memory.current" },
		{ "memory.limit_in_bytes", "memory.usage_in_bytes" } };
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, memory[i][0]);
		if (!slurp(path, text, sizeof text))
			continue;
		snprintf(path, sizeof path, "%s/%s", folder, memory[i][1]);
		if (slurp(path, other, sizeof other))
			tighten_memory(limits, text, other);
	}
}

/* Our group `group` below the mount point, and its ancestors down to the mount itself. */
static void read_path(const char *mount, const char *group, struct cgroup_limits *limits)
{
	char folder[1024];
	if (snprintf(folder, sizeof folder, "%s%s", mount, group) >= (int)sizeof folder)
		return;
	size_t root = strlen(mount);
	for (;;) {
		read_group(folder, limits);
		char *slash = strrchr(folder, '/');
		if (!slash || (size_t)(slash - folder) < root)
			break;
		*slash = '\0';
	}
}

static struct cgroup_limits cgroup_limits(void)
{
	struct cgroup_limits limits = { 0, UINT64_MAX };
	char text[4096], *line, *save = NULL;
	if (!slurp("/proc/self/cgroup", text, sizeof text))
		return limits;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *controllers = strchr(line, ':');
		char *group = controllers ? strchr(controllers + 1, ':') : NULL;
		if (!group)
			continue;
		controllers++;
		*group++ = '\0';
		if (strcmp(group, "/") == 0)
			group = (char *)"";
		if (*controllers == '\0') {
			read_path("/sys/fs/cgroup", group, &limits);
			read_path("/sys/fs/cgroup/unified", group, &limits);
		} else if (strstr(controllers, "memory")) {
			read_path("/sys/fs/cgroup/memory", group, &limits);
		} else if (strstr(controllers, "cpu,") || strcmp(controllers, "cpu") == 0) {
			read_path("/sys/fs/cgroup/cpu", group, &limits);
			read_path("/sys/fs/cgroup/cpu,cpuacct", group, &limits);
		}
	}
	return limits;
}

static unsigned affinity(unsigned online)
{
	for (unsigned cpus = 1024; cpus <= 1u << 20; cpus *= 2) { /* the kernel's mask may be larger than cpu_set_t */
		cpu_set_t *set = CPU_ALLOC(cpus);
		size_t size = CPU_ALLOC_SIZE(cpus);
		if (!set)
			break;
		int r = sched_getaffinity(0, size, set), count = r == 0 ? CPU_COUNT_S(size, set) : 0;
		int error = errno;
		CPU_FREE(set);
		if (r == 0)
			return (unsigned)count;
		if (error != EINVAL)
			break;
	}
	return online;
}

void crew_limits(struct crew_limits *ret)
{
	*ret = (struct crew_limits){ 0 };
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	ret->cpus_online = online > 0 ? (unsigned)online : 1;
	ret->cpus_affinity = affinity(ret->cpus_online);
	struct cgroup_limits group = cgroup_limits();
	if (group.cpus > 0)
		ret->cpus_quota = (unsigned)group.cpus + (group.cpus > (unsigned)group.cpus);
	ret->cpus = ret->cpus_affinity;
	if (ret->cpus_quota && ret->cpus_quota < ret->cpus)
		ret->cpus = ret->cpus_quota;
	if (ret->cpus == 0)
		ret->cpus = 1;

	ret->memory_cgroup = group.memory;
	char text[4096];
	unsigned long long kib;
	if (slurp("/proc/meminfo", text, sizeof text)) {
		const char *at = strstr(text, "MemTotal:");
		if (at && sscanf(at, "MemTotal: %llu", &kib) == 1)
			ret->memory_total = kib * 1024;
		at = strstr(text, "MemAvailable:");
		if (at && sscanf(at, "MemAvailable: %llu", &kib) == 1)
			ret->memory_available = kib * 1024;
	}
	if (ret->memory_total == 0)
		ret->memory_total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	if (ret->memory_available == 0)
		ret->memory_available = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	struct rlimit space;
	ret->address_space = getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY ? space.rlim_cur
												  : UINT64_MAX;
}

unsigned crew_cpus(void)
{
	struct crew_limits limits;
	crew_limits(&limits);
	return limits.cpus;
}

uint64_t crew__memory_cap(void)
{
	struct crew_limits limits;
	crew_limits(&limits);
	uint64_t least = limits.memory_available < limits.memory_cgroup ? limits.memory_available : limits.memory_cgroup;
	return least / 5 * 4;
}
