/* sync.h - what crew_init asks of this layer */
#ifndef CREW_SYNC_SYNC_H
#define CREW_SYNC_SYNC_H

/* Register the layer's part of a sweep. */
void crew__sync_init(void);

#endif
