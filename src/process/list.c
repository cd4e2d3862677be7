/* list.c - who is in the family */
#include <string.h>
#include "process/internal.h"

static bool tell(uint32_t number, struct crew_member *ret)
{
	struct crew__slot *slot = crew__slot_at(number);
	uint32_t id = crew__id(number, __atomic_load_n(&slot->generation, __ATOMIC_ACQUIRE));
	if (__atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) != CREW__SLOT_RUNNING || slot->detached)
		return false;
	struct crew__slot *parent = crew__slot_get(slot->parent);
	*ret = (struct crew_member){ .pid = crew__slot_pid(slot), .id = id, .helper = slot->helper,
		.parent = parent && parent != slot ? crew__slot_pid(parent) : 0 };
	memcpy(ret->name, slot->name, sizeof ret->name);
	ret->name[sizeof ret->name - 1] = '\0';
	return __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) == CREW__SLOT_RUNNING && crew__slot_get(id);
}

int crew_process_list(struct crew_member *ret, unsigned count)
{
	if (!crew__family.self)
		return -ENOTCONN;
	int living = 0;
	struct crew_member member;
	for (uint32_t number = 1; crew__slot_at(number); number++) {
		if (!tell(number, &member))
			continue;
		if ((unsigned)living < count)
			ret[living] = member;
		living++;
	}
	return living;
}

uint32_t crew_self(void)
{
	return crew__family.self;
}

pid_t crew_parent(void)
{
	struct crew__slot *self = crew__family.self ? crew__slot_get(crew__family.self) : NULL;
	struct crew__slot *parent = self ? crew__slot_get(self->parent) : NULL;
	return parent && parent != self ? crew__slot_pid(parent) : 0;
}
