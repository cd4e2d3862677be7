/* tube.h - a tube as one of several things to wait for */
#ifndef CREW_CHANNEL_TUBE_H
#define CREW_CHANNEL_TUBE_H

#include <crew/tube.h>
#include "channel/watch.h"

/* As crew__pipe_look: would a read, or a write of a byte, at that end return at once? */
int crew__tube_look(struct crew_tube *tube, unsigned end, bool thorough, struct crew__watch ret[2], unsigned *count,
		crew_time *slice);

#endif
