/*
 * stop.h - SIGINT, SIGTERM, SIGHUP and a closed pipe: stop, leave nothing, end by the same signal
 *
 * The processes of a family die with the parent (the kernel sees to it), and
 * shared memory has no name, so there is little to do: tell once, unlink what
 * was registered here, die. A shell then sees 130 or 143.
 */
#ifndef STOP_H
#define STOP_H

/* Install the handlers; cli_parse() does. A signal ignored by the caller (nohup) stays ignored. */
void stop_install(void);

/*
 * Unlink this path however this process ends (a file or an empty directory; last
 * registered, first removed), SIGKILL excepted: prefer what has no name. The
 * string is not copied. At most 32 paths.
 */
void stop_unlink(const char *path);

/* The path is gone already, or shall stay. */
void stop_forget(const char *path);

#endif
