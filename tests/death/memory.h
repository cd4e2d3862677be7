/* memory.h - has the family's shared memory changed since the last look? */
#ifndef DEATH_MEMORY_H
#define DEATH_MEMORY_H

#include <stdbool.h>

bool memory_changed(void);
void memory_forget(void); /* the copy that it compares with */

#endif
