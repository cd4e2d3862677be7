/*
 * attempt.c - blocks that belong to one attempt at a task until it ends well
 *
 * A block allocated inside an attempt carries its number in its header. When the attempt ends well nothing is done: the
 * number is never used again, so the block is the family's. When it fails or dies, all blocks with that number
 * are freed; this may be interrupted and repeated. Each run knows the highest attempt that has allocated there, so
 * only the few used lately are searched.
 *
 * A dead attempt may have started processes (a pool of its own) that die a moment after it, and work on its blocks till
 * then. So its blocks wait, and with them its lane, which a later sweep finishes.
 */
#include "base/sys.h"
#include "memory/block.h"

void crew__attempt_begin(struct crew__lane *lane)
{
	lane->attempt_blocks = 0;
	uint64_t attempt = __atomic_add_fetch(&heap_of_family()->attempts, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&lane->attempt, attempt, __ATOMIC_RELAXED); /* looked at bare by who searches an empty lane */
}

void crew__attempt_end(struct crew__lane *of, bool keep)
{
	if (of->attempt && !keep && of->attempt_blocks && !crew__block_give_all(of, of->attempt))
		return;
	__atomic_store_n(&of->attempt, 0, __ATOMIC_RELEASE);
}

/*
 * Whether a process may live that the dead one, or one started by it, has started. They hang on their starters' lives, so those
 * whose starter is gone count too, whoever it was: they are about to die.
 */
static bool has_heirs(uint32_t process)
{
	struct crew__slot *slot;
	for (uint32_t number = 1; (slot = crew__slot_at(number)); number++) {
		uint32_t state = __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
		uint32_t id = crew__id(number, __atomic_load_n(&slot->generation, __ATOMIC_ACQUIRE));
		uint32_t parent = __atomic_load_n(&slot->parent, __ATOMIC_ACQUIRE);
		if ((state != CREW__SLOT_STARTING && state != CREW__SLOT_RUNNING) || id == process || parent == id || slot->helper ||
				slot->detached)
			continue;
		if (parent == process || !crew__process_lives(parent))
			return true;
	}
	return false;
}

void crew__attempt_died(struct crew__lane *dead)
{
	if (!dead->attempt || !dead->attempt_blocks || !has_heirs(dead->process))
		crew__attempt_end(dead, false);
}

void crew_publish(void *pointer)
{
	struct crew__lane *lane;
	struct crew__found at;
	if (!pointer || !crew__family.self || crew__lane_self(&lane) < 0 || !lane->attempt)
		return;
	uint64_t header = crew__block_find(pointer, &at) ? __atomic_load_n(at.header, __ATOMIC_RELAXED) : 0;
	while ((header & 1) && !__atomic_compare_exchange_n(at.header, &header, HEADER_FAMILY, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	if (!(header & 1))
		crew__panic("crew_publish(%p): no allocated block begins there", pointer);
}
