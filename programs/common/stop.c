/* stop.c - see stop.h. What the handler does is async-signal-safe. */
#include "stop.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATHS_MAX 32

static const char *paths[PATHS_MAX]; /* each slot is one store: the handler sees it whole */
static pid_t owner;                  /* a forked child neither tells nor unlinks */

static void unlink_all(void)
{
	if (getpid() != owner)
		return;
	for (size_t i = PATHS_MAX; i-- > 0;) {
		const char *path = __atomic_exchange_n(&paths[i], NULL, __ATOMIC_RELAXED);
		if (path && unlink(path) < 0 && errno == EISDIR)
			rmdir(path);
	}
}

static void tell(int sig)
{
	const char *parts[] = { program_invocation_short_name, ": stopped by ",
		sig == SIGINT ? "SIGINT" : sig == SIGTERM ? "SIGTERM" : "SIGHUP", "\n" };
	char line[128];
	size_t size = 0;
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		for (const char *p = parts[i]; *p && size < sizeof line; p++)
			line[size++] = *p;
	(void)!write(STDERR_FILENO, line, size);
}

static void stop(int sig)
{
	if (getpid() == owner && sig != SIGPIPE)
		tell(sig);
	unlink_all();
	signal(sig, SIG_DFL);
	raise(sig); /* blocked while we are here: takes effect on return */
}

void stop_install(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };
	struct sigaction action = { .sa_handler = stop };
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaddset(&action.sa_mask, signals[i]);
	owner = getpid();
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
		struct sigaction old;
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(signals[i], &action, NULL);
	}
	atexit(unlink_all);
}

void stop_unlink(const char *path)
{
	for (size_t i = 0; i < PATHS_MAX; i++)
		if (!paths[i]) {
			__atomic_store_n(&paths[i], path, __ATOMIC_RELAXED);
			return;
		}
	abort(); /* more temporary files than any program here needs */
}

void stop_forget(const char *path)
{
	for (size_t i = 0; i < PATHS_MAX; i++)
		if (paths[i] && strcmp(paths[i], path) == 0)
			__atomic_store_n(&paths[i], NULL, __ATOMIC_RELAXED);
}
