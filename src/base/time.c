/* time.c - now, and deadlines */
#include <time.h>
#include <crew/base.h>

crew_time crew_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (crew_time)t.tv_sec * CREW_SECOND + t.tv_nsec;
}

crew_time crew_after(crew_time length)
{
	crew_time deadline;
	if (length <= 0)
		return CREW_POLL;
	if (__builtin_add_overflow(crew_now(), length, &deadline))
		return CREW_FOREVER;
	return deadline;
}

const char *crew_version(void)
{
	return CREW_VERSION;
}
