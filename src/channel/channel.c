/* channel.c - what crew_init and crew_fini ask of this layer */
#include "channel/channel.h"
#include "channel/poller.h"
#include "channel/queue.h"

int crew__channel_init(void)
{
	crew__sweep_register(crew__leases_sweep);
	crew__at_fork(crew__poller_forget);
	return 0;
}

void crew__channel_fini(void)
{
	crew__poller_stop();
}
