/*
 * victim.h - a process that is led through an operation instruction by instruction
 *
 * It stops itself before and after the operation; in between it is stepped, or runs to a hardware breakpoint (where there is
 * none, it is stepped there). The one who leads it, and asserts, is the test's process.
 */
#ifndef DEATH_VICTIM_H
#define DEATH_VICTIM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <crew/process.h>

struct victim {
	void (*prepare)(void *shared); /* before it can be killed; may be NULL */
	void (*operation)(void *shared);
	void *shared;
	struct crew_process *process;
	pid_t pid;
};

/* The way through an operation, as one victim went it. */
struct way {
	uint64_t *at;      /* address of instruction i, before which it can be killed */
	int count;
	/*
	 * Classes: all instructions before which shared memory looks the same, and after the same system calls, are one. class[c] is the
	 * first instruction of class c.
	 */
	int *class;
	int classes;
};

/* Start it and wait until it stands before the operation. 0; -EPERM: ptrace is refused. */
int victim_start(struct victim *victim);

/*
 * Step through the whole operation and note the way. watch (may be NULL) is called before each instruction. The victim then stands
 * behind the operation.
 */
void victim_record(struct victim *victim, struct way *way, void (*watch)(void *shared));
void way_free(struct way *way);

/* Lead it to where instruction `index` is the next; false: it went another way this time, and stands behind the operation. */
bool victim_go_to(struct victim *victim, const struct way *way, int index);

/* Let it go on to the end of the operation, for at most 10 s: whether it came there. */
bool victim_go_on(struct victim *victim);

/* Kill it where it stands. From then on it is a zombie, which nobody of crew need know of, until it is buried. */
void victim_kill(const struct victim *victim);
void victim_bury(struct victim *victim);

#endif
