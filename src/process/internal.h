/*
 * internal.h - between the files of this layer
 *
 * The way of a start: start.c checks the options and makes a start record, claims a slot and asks the zygote
 * (order.c), or forks by itself. Either way birth.c forks and child.c runs in the new process,
 * which registers in the slot and answers.
 */
#ifndef CREW_PROCESS_INTERNAL_H
#define CREW_PROCESS_INTERNAL_H

#include <signal.h>
#include <crew/process.h>
#include "base/sys.h"
#include "region/region.h"

/* The descriptors that travel with a start record. */
enum {
	CREW__FD_ANSWER,    /* a socket: the rest of the record comes in, the answer goes out */
	CREW__FD_LIFELINE,  /* read end of the starter's; none if detached */
	CREW__FD_DIRECTORY, /* to go to */
	CREW__FD_IN, CREW__FD_OUT, CREW__FD_ERR, /* none: /dev/null, as they are */
	CREW__FD_MORE,      /* and up to 16 further ones */
	CREW__FD_COUNT = CREW__FD_MORE + 16
};

/* What a new process must know. Fixed size; what varies is in the body, by offset. */
struct crew__start {
	crew_process_fn *function;         /* NULL: a program */
	void *pointer;                     /* the argument as it is, where argument_size is 0 */
	uint64_t body_size;
	uint64_t argument, argument_size;  /* aligned for anything */
	uint64_t argv, env;                /* strings, one after the other */
	uint64_t limits;                   /* struct crew_rlimit each */
	uint64_t cpus, cpus_size;
	uint32_t argc, envc, limit_count;
	uint32_t slot, parent;             /* ids: of the new process, of its starter */
	uint32_t descriptors;              /* bit i: fd[i] is there */
	int32_t nice;                      /* not added, but to be */
	uint32_t own_env;                  /* envc strings replace the environment */
	uint32_t detached;
	uint32_t forked;                   /* by the starter; else by the zygote */
	uint64_t born;                     /* a moment before the fork, CLOCK_BOOTTIME */
	int32_t near_end;                  /* forked: the starter's end of the answer socket, not for the child */
};

/* What it answers: twice where a program could not be executed, otherwise once. A pidfd of it comes along. */
struct crew__answer { int32_t error; pid_t pid; };

struct crew_process {
	unsigned family;             /* which of the families this process has been in */
	uint32_t id;
	uint32_t owner;              /* id of who started it */
	pid_t pid;
	int pidfd;
	bool forked, detached;
	char name[32];
};

/* descriptor.c */
int crew__send(int socket, const void *data, size_t size, const int *fds, unsigned count, int flags);
/* Bytes received, 0 at the end, or a negative errno. *count: in: room, out: how many came. */
ssize_t crew__receive(int socket, void *data, size_t size, int *fds, unsigned *count);
void crew__close(int *fd); /* and make it -1; -1 is fine */
/* Close every descriptor from `from` on but keep[]; at_exec: only once a program is executed. -1 in keep[] is fine. */
void crew__close_others(unsigned from, int *keep, unsigned count, bool at_exec);

/* lifeline.c */
int crew__lifeline(void); /* the read end of this process's own; made on first use, while forks are held */
void crew__lifeline_cut(void); /* everything that hangs on it ends, now */
/* Before the fork of a child: its own open of a lifeline. Where that cannot be, the same again; or a negative errno. */
int crew__lifeline_open(int fd);
int crew__lifeline_hang_on(int own); /* in that child, leader of its group: end with whoever holds the write end */
bool crew__lifeline_is_cut(int fd);

/* birth.c */
extern int crew__requests; /* the sending end, in every member; -1 without a family */
void crew__birth_init(void);
void crew__forks_hold(void); /* until crew__forks_allow no other thread forks: what is open now is not inherited */
void crew__forks_allow(void);
/* Fork the child of a start while forks are held. body NULL: it comes by the answer socket. Does not return in the child. */
pid_t crew__birth(struct crew__start *start, const int *fds, const char *body);

/* zygote.c */
extern unsigned crew__families; /* founded so far, by this process or an ancestor: the number of the last */

/* child.c */
void crew__child(const struct crew__start *start, int *fds, const char *body) __attribute__((noreturn));

/* order.c: start by the zygote or, if start->forked, here; fills process->pid and .pidfd. */
int crew__order(struct crew__start *start, int *fds, const char *body, struct crew_process *process);

/* reap.c */
int crew__slot_pidfd(uint32_t id); /* of a RUNNING process, surely that one; or a negative errno */
void crew__ended(uint32_t id, const siginfo_t *info, const struct rusage *usage); /* info NULL: nobody can tell how, but perhaps itself */
pid_t crew__reap_any(bool adopted); /* a child that has ended; 0: none has; -ECHILD: there is none */
void crew__reap_own(struct crew_process *process); /* if it was forked by this process and has ended */
void crew__reap_disowned(void); /* those forked by this process that have ended, and whose handles are closed */
void crew__orphans(void); /* end what runs without its starter, give up the slots of the dead */
bool crew__is_lost(uint32_t id, int pidfd); /* a process that has ended: will nobody tell how? */
void crew__disown(uint32_t id); /* nobody has a handle on it any more: its slot is given up now, or by its reaper */
void crew__end_members(crew_time deadline); /* kill all that are left, wait for them and for the helpers */

/* program.c: in the keeper of a named region, when its founder is gone or in crew_fini. In crew_fini, the helpers gone. */
void crew__program_over(void);
void crew__program_leave(void);

#endif
