/*
 * crew/region.h - a region with a name, in which unrelated programs meet
 *
 *     struct weather { struct crew_lock lock; double celsius; };
 *
 *     struct weather *weather;
 *     int r = crew_init(&(struct crew_init_options){ .name = "weather" });
 *     if (r == 0)
 *         r = crew_root("weather", sizeof *weather, (void **)&weather);   // zeroed, if it is new
 *
 * Each program calls crew_init with the same name; the first creates the region, the others attach. Each is a small
 * family of its own, with its own zygote, all in one memory, and everything in it works between all of them: pointers,
 * locks, queues, the heap. Exceptions: a pool and what it runs belong to one program (functions are), and so
 * do process handles.
 *
 * The region is a file of this user alone (mode 0600) in /dev/shm. It outlives its programs: what they left is there
 * for the next, and what a dead one held is repaired then, at the latest. It is gone when crew_region_unlink has taken its
 * name away and the last program has ended.
 *
 * Death. A program may die at any instruction, also of crew_init and of the calls below; its processes end with it,
 * the other programs go on. Nothing half-made is ever found under a name.
 *
 * Trust. All programs in a region trust each other as much as threads do: see SECURITY.md.
 */
#ifndef CREW_REGION_H
#define CREW_REGION_H

#include <crew/base.h>

CREW_BEGIN

#define CREW_NAME_MAX 63 /* bytes in a name */

/*
 * Take the name away. Programs that are in the region stay and go on; whoever calls crew_init with the name from now on
 * creates another one.
 *
 * Errors  -ENOENT   nothing has that name.
 *         -EINVAL   no name that crew_init would take.
 *         -EPERM    it belongs to another user.
 *         -EBADMSG  it is a directory.
 */
CREW_API CREW_CHECKED int crew_region_unlink(const char *name);

/*
 * Find the block that the region knows by that name; if there is none, make one, zeroed. Of several who make it at once
 * one does, the others find it. A zeroed lock, queue, ... is a good one, so nobody has to initialise what lies there.
 * It works in a family without a name, too.
 *
 * Errors  -EINVAL    the name is not 1 to CREW_NAME_MAX bytes long, or the block is there with another size.
 *         -ENOMEM, -ENOTCONN  as crew_alloc.
 */
CREW_API CREW_CHECKED int crew_root(const char *name, size_t size, void **ret);

/* Forget that name and free the block. -ENOENT: there is none; -EINVAL, -ENOTCONN: as above. */
CREW_API CREW_CHECKED int crew_root_drop(const char *name);

CREW_END
#endif
