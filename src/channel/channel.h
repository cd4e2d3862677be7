/* channel.h - what crew_init and crew_fini ask of this layer */
#ifndef CREW_CHANNEL_CHANNEL_H
#define CREW_CHANNEL_CHANNEL_H

/* Register the layer's part of a sweep and of a fork. 0, or a negative errno. */
int crew__channel_init(void);

/* End the thread that polls descriptors for crew_wait_any, if there is one. */
void crew__channel_fini(void);

#endif
