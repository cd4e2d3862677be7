/*
 * root.c - blocks that the region knows by name
 *
 * State    directory.first ... root.next: blocks of the heap, one for each name, in a list that only grows at its head; each
 *          names the block it stands for.
 * Moves    make: block and root come into this thread's hands; the section that finds the name missing puts the root onto the list
 *          and empties both hands. drop: the other way round, and what is in the hands is freed.
 * Death    in any of it: in hands: freed by the sweep; in a section: undone.
 * Bounds   a list that somebody has scribbled over ends at the first offset outside the region, and after ROOTS steps.
 */
#include <string.h>
#include <crew/region.h>
#include "base/sys.h"
#include "memory/heap.h"
#include "sync/section.h"

enum { ROOTS = 65536, OF_BLOCK = 0, OF_ROOT = 1 /* hands */ };

struct root {
	uint64_t next;
	uint64_t block;
	uint64_t size;
	char name[CREW_NAME_MAX + 1];
};

/* Lies in the region's front, all zero at first. */
struct directory {
	uint64_t first;
	uint32_t guard;
	uint32_t spare;
};

static struct directory *directory(void)
{
	static_assert(sizeof(struct directory) + 4 * sizeof(uint64_t) <= sizeof crew__family.region->root, "it lies there");
	return (struct directory *)(crew__family.region->root + 4);
}

static struct root *root_at(uint64_t offset)
{
	struct root *root = offset ? (struct root *)crew__at(offset) : NULL;
	return root && offset % 16 == 0 && crew__in_region(root, sizeof *root) ? root : NULL;
}

/* In the section: the link that leads to that name, or NULL. */
static uint64_t *find(const char *name)
{
	uint64_t *link = &directory()->first;
	for (unsigned i = 0; i < ROOTS; i++) {
		struct root *root = root_at(*link);
		if (!root)
			break;
		if (strncmp(root->name, name, sizeof root->name) == 0)
			return link;
		link = &root->next;
	}
	return NULL;
}

static bool valid(const char *name)
{
	size_t length = strnlen(name, CREW_NAME_MAX + 1);
	return length > 0 && length <= CREW_NAME_MAX;
}

/* In the section: 0 and the block; -ENOENT; -EINVAL: it has another size. */
static int look_up(const char *name, size_t size, void **ret)
{
	uint64_t *link = find(name);
	if (!link)
		return -ENOENT;
	const struct root *root = root_at(*link);
	void *block = crew__at(root->block);
	if (root->size != size || !crew__in_region(block, size))
		return -EINVAL;
	*ret = block;
	return 0;
}

static int make(struct crew__lane *lane, const char *name, size_t size)
{
	void *block, *entry;
	int r = crew__alloc_mine(lane, OF_BLOCK, size, &block);
	if (r < 0)
		return r;
	r = crew__alloc_mine(lane, OF_ROOT, sizeof(struct root), &entry);
	if (r < 0) {
		crew__free_mine(lane, OF_BLOCK);
		return r;
	}
	memset(block, 0, size);
	*(struct root *)entry = (struct root){ .block = crew__offset(block), .size = size };
	memcpy(((struct root *)entry)->name, name, strlen(name));
	return 0;
}

int crew_root(const char *name, size_t size, void **ret)
{
	struct crew__lane *lane;
	if (!crew__family.self)
		return -ENOTCONN;
	if (!valid(name))
		return -EINVAL;
	int r = crew__enter(&lane, &directory()->guard, CREW_FOREVER);
	if (r < 0)
		return r;
	r = look_up(name, size, ret);
	crew__leave(lane, &directory()->guard);
	if (r != -ENOENT)
		return r;
	r = make(lane, name, size);
	if (r < 0)
		return r;
	r = crew__enter(&lane, &directory()->guard, CREW_FOREVER);
	if (r == 0) {
		r = look_up(name, size, ret); /* somebody else may have made it meanwhile */
		if (r == -ENOENT) {
			struct root *root = crew__at(lane->mine[OF_ROOT]);
			*ret = crew__at(root->block);
			root->next = directory()->first;
			crew__set64(lane, &directory()->first, lane->mine[OF_ROOT]);
			crew__set64(lane, &lane->mine[OF_BLOCK], 0);
			crew__set64(lane, &lane->mine[OF_ROOT], 0);
			r = 0;
		}
		crew__leave(lane, &directory()->guard);
	}
	crew__free_mine(lane, OF_ROOT); /* not ours any more, if it was wanted */
	crew__free_mine(lane, OF_BLOCK);
	return r;
}

int crew_root_drop(const char *name)
{
	struct crew__lane *lane;
	if (!crew__family.self)
		return -ENOTCONN;
	if (!valid(name))
		return -EINVAL;
	int r = crew__enter(&lane, &directory()->guard, CREW_FOREVER);
	if (r < 0)
		return r;
	uint64_t *link = find(name);
	if (link) {
		const struct root *root = root_at(*link);
		crew__set64(lane, &lane->mine[OF_ROOT], *link);
		crew__set64(lane, &lane->mine[OF_BLOCK], root->block);
		crew__set64(lane, link, root->next);
	}
	crew__leave(lane, &directory()->guard);
	crew__free_mine(lane, OF_ROOT);
	crew__free_mine(lane, OF_BLOCK);
	return link ? 0 : -ENOENT;
}
