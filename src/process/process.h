/* process.h - what crew_init and the layers above ask of this layer */
#ifndef CREW_PROCESS_PROCESS_H
#define CREW_PROCESS_PROCESS_H

#include <crew/process.h>

/* In crew_init, founder: fork keeper and zygote. Errors as crew_init. */
int crew__zygote_start(void);

/* In crew_fini, founder: end every process of the family by force, then zygote and keeper; nothing is left. */
void crew__zygote_stop(void);

/* The id of the process behind a handle. */
uint32_t crew__process_id(const struct crew_process *process);

#endif
