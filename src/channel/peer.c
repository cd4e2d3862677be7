/* peer.c - notice that the process at the other end has ended */
#include <crew/lock.h>
#include "channel/peer.h"
#include "process/process.h"

#define FORKED_SLICE (CREW_NOTICE / 5)

unsigned crew__peer_watch(uint32_t process, struct crew__watch *ret)
{
	struct crew__slot *slot = process ? crew__slot_get(process) : NULL;
	if (!slot)
		return 0;
	uint32_t state = __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
	if (!crew__process_lives(process))
		state = ~0u; /* it has ended since: a value that the word does not have */
	*ret = (struct crew__watch){ &slot->state, state, CREW__WATCH_STATE };
	return 1;
}

crew_time crew__peer_slice(uint32_t process)
{
	return process && crew__process_is_forked(process) ? FORKED_SLICE : CREW__SLICE;
}

int crew__peer_wait(struct crew__lane *lane, const struct crew__watch *watches, unsigned count, uint32_t process,
		crew_time deadline, uint32_t *dead)
{
	crew_time slice = crew__peer_slice(process);
	bool forked = slice == FORKED_SLICE;
	int r = crew__watch_wait(lane, watches, count, slice, deadline);
	if (process && (r == CREW__SLICE_OVER || (r < 0 && forked)) && process != *dead && crew__process_ended(process)) {
		*dead = process;
		return 0;
	}
	return r;
}
