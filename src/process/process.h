/* process.h - what crew_init and the layers above ask of this layer */
#ifndef CREW_PROCESS_PROCESS_H
#define CREW_PROCESS_PROCESS_H

#include <crew/process.h>

/* In crew_init, founder: fork keeper and zygote. Errors as crew_init. */
int crew__zygote_start(void);

/* In crew_fini, founder: end every process of the family by force, then zygote and keeper; nothing is left. */
void crew__zygote_stop(void);

/*
 * In a named region: give up what programs have left that are gone. arriving: the caller has the door locked, so whoever
 * died while attaching is known to be dead, too.
 */
void crew__census(bool arriving);

/* The id of the process behind a handle. */
uint32_t crew__process_id(const struct crew_process *process);

/*
 * Whether a process has ended, even if nobody has reaped it yet: by its pidfd, so some system calls, where
 * crew__process_lives is a look at its slot. crew__process_is_forked: its slot may lag, until its starter asks.
 */
bool crew__process_ended(uint32_t id);
bool crew__process_is_forked(uint32_t id);

/*
 * A descriptor for what that process has open as `fd`, close-on-exec. -EACCES: the kernel does not let us. -EBADF: it has
 * no such descriptor, or has ended, or is about to. -EMFILE and the like.
 */
int crew__process_take_fd(uint32_t id, int fd);

#endif
