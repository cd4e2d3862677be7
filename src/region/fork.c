/*
 * fork.c - what a child of fork(2) is not: a member
 *
 * Any fork, crew's or the program's own, gives a child that shares the mapping but has no
 * lane and no id. The handlers below make its first crew call answer -ENOTCONN; crew's own
 * children then become members by crew__become.
 */
#include <pthread.h>
#include "base/sys.h"
#include "region/internal.h"

static void (*children[8])(void);
static unsigned count;

static void in_child(void)
{
	crew__family.self = 0;
	crew__family.founder = false;
	crew__lane_forget();
	for (unsigned i = 0; i < count; i++)
		children[i]();
}

void crew__fork_init(void)
{
	static bool registered;
	if (!registered)
		pthread_atfork(NULL, NULL, in_child);
	registered = true;
}

void crew__at_fork(void (*child)(void))
{
	for (unsigned i = 0; i < count; i++)
		if (children[i] == child)
			return;
	if (count == sizeof children / sizeof children[0])
		crew__panic("more at-fork handlers than there is room for");
	children[count++] = child;
}

void crew__become(uint32_t id)
{
	crew__lane_forget();
	crew__family.self = id;
	crew__family.founder = false;
}
