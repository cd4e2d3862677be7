/* zygote.c - no zygote yet: only the founder is a member */
#include "process/process.h"

int crew__zygote_start(void)
{
	return 0;
}

void crew__zygote_stop(void)
{
}
