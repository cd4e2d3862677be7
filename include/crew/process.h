/*
 * crew/process.h - start a process, watch it, stop it
 *
 *     static int work(void *arg, size_t size);     // in the child; its result is the exit code
 *
 *     struct crew_process *p;
 *     int r = crew_process_start(&p, &(struct crew_process_options){
 *             .function = work, .argument = &job, .argument_size = sizeof job });
 *     ...
 *     struct crew_status status;
 *     r = crew_process_join(p, CREW_FOREVER, &status);
 *     crew_process_close(p);
 *
 * A child has default signal dispositions, an empty signal mask, stdin from /dev/null, only the
 * descriptors it was handed, and its own process group, so Ctrl-C reaches the parent
 * alone. It ends by flushing stdio and _exit.
 *
 * Death. A child dies with whoever started it, at once, by the kernel's hand (a lifeline, see
 * src/process/README.md), unless .detached. The zygote's death disturbs no running child.
 */
#ifndef CREW_PROCESS_H
#define CREW_PROCESS_H

#include <sys/resource.h>
#include <sys/types.h>
#include <crew/base.h>

CREW_BEGIN

struct crew_process; /* a handle, good in the process that started it */

typedef int crew_process_fn(void *argument, size_t size);

enum crew_process_method {
	CREW_ZYGOTE, /* the default: from the zygote; costs the same whatever the caller has allocated */
	CREW_FORK    /* by fork(2) of the caller: sees everything the caller has, and costs accordingly */
};

/* A limit as for setrlimit(2). */
struct crew_rlimit { int resource; struct rlimit limit; };

/* Zero means the default. Give either .function or .argv. */
struct crew_process_options {
	crew_process_fn *function;  /* runs in the child; exit code is its result & 255 */
	const void *argument;       /* copied. Size 0: passed as it is, if it points into the region, or with CREW_FORK */
	size_t argument_size;       /* bytes */
	const char *const *argv;    /* a program to execute, looked up in PATH; NULL-terminated */
	const char *const *env;     /* NULL: the environment as at crew_init (CREW_FORK: as now) */
	const char *directory;      /* working directory. NULL: the caller's, as of now */
	const char *name;           /* shown by ps and crew_process_name; up to 15 bytes are shown by ps */
	enum crew_process_method method;
	int in, out, err;           /* descriptors for 0, 1, 2, plus one; 0: /dev/null, the family's stdout, stderr */
	const int *descriptors;     /* further descriptors to keep; the child has them at 3, 4, ... */
	unsigned descriptor_count;  /* up to 16 */
	const struct crew_rlimit *limits;
	unsigned limit_count;       /* up to 16 */
	const void *cpus;           /* a cpu_set_t to bind to. NULL: as the family */
	size_t cpus_size;           /* bytes of *cpus */
	int nice;                   /* added to the caller's */
	bool detached;              /* outlives the caller and the family; no member after that */
};

/* How a process ended. UNKNOWN: nobody is left who could have reaped it (or crew_fini came first), and it could not say itself. */
enum crew_process_state { CREW_RUNNING, CREW_EXITED, CREW_KILLED, CREW_ENDED_UNKNOWN };

struct crew_status {
	enum crew_process_state state;
	int code;          /* CREW_EXITED: exit code 0 ... 255 */
	int signal;        /* CREW_KILLED: the signal */
	bool core;         /* CREW_KILLED: it left a core dump */
	crew_time user;    /* ns of CPU in user mode */
	crew_time system;  /* ns of CPU in the kernel */
	uint64_t max_rss;  /* bytes, the most that were resident */
};

CREW_API CREW_CHECKED int crew_process_start_sized(struct crew_process **ret,
		const struct crew_process_options *options, size_t options_size);

/*
 * Start a child. On return it runs (.argv: has been executed). *ret is set on success only.
 *
 * Errors  -EINVAL  neither or both of .function and .argv, or an option out of range.
 *         -ENOENT, -EACCES, ...  what the failing step said: program, directory, limit. -EBADF: a descriptor.
 *         -EAGAIN  no process left (RLIMIT_NPROC, pids cgroup, 16,384 in the family).
 *         -EPIPE   zygote and its keeper were both killed: from now on only CREW_FORK.
 *         -EMFILE  -ENOMEM  -ENOTCONN
 */
static inline CREW_CHECKED int crew_process_start(struct crew_process **ret,
		const struct crew_process_options *options)
{
	return crew_process_start_sized(ret, options, sizeof *options);
}

/* Wait for its end. ret may be NULL. As often as you like. Errors: -ETIMEDOUT (it runs on). */
CREW_API CREW_CHECKED int crew_process_join(struct crew_process *process, crew_time deadline,
		struct crew_status *ret);

/* Its status now, without waiting: CREW_RUNNING while it runs. */
CREW_API void crew_process_status(struct crew_process *process, struct crew_status *ret);

/* Send a signal to the process alone. Errors: -ESRCH once it has ended; -EINVAL. */
CREW_API CREW_CHECKED int crew_process_signal(struct crew_process *process, int signal);

/*
 * End it and everything that it has started: SIGTERM, then SIGKILL after `grace` ns (0: SIGKILL at once), then
 * wait for its end. If it has ended before, what is left of its process group is killed (Linux 6.9; else it
 * ends with the caller). ret may be NULL.
 */
CREW_API CREW_CHECKED int crew_process_stop(struct crew_process *process, crew_time grace,
		struct crew_status *ret);

/* A descriptor (a pidfd) that polls readable once it has ended, of the handle; its pid; its name. */
CREW_API int crew_process_fd(const struct crew_process *process);
CREW_API pid_t crew_process_pid(const struct crew_process *process);
CREW_API const char *crew_process_name(const struct crew_process *process);

/* Forget the handle. -EBUSY while the process runs, unless it is detached. NULL is fine. */
CREW_API CREW_CHECKED int crew_process_close(struct crew_process *process);

struct crew_member { pid_t pid; pid_t parent; uint32_t id; bool helper; char name[32]; };

/* Up to `count` living members, the founder first, into ret[]; returns how many there are in all, or -ENOTCONN. */
CREW_API CREW_CHECKED int crew_process_list(struct crew_member *ret, unsigned count);

/* The calling process: its id in the family (0: no member), and the pid of the member that started it (0: the founder). */
CREW_API uint32_t crew_self(void);
CREW_API pid_t crew_parent(void);

CREW_END
#endif
