/*
 * crew/init.h - the family: processes that share one memory and survive each other
 *
 *     int main(int argc, char **argv)
 *     {
 *         int r = crew_init(NULL);       // first thing: before threads, before much memory
 *         if (r < 0)
 *             errx(3, "crew: %s", crew_strerror(r));
 *         ...
 *         crew_fini();
 *     }
 *
 * crew_init creates the family: one region of shared memory, at the same address
 * in every member, and a small zygote from which later processes are forked. A
 * process born from the zygote is the program as it was here: globals set later,
 * malloc memory, descriptors, the current directory are not there; functions are.
 *
 * Death. If the process that called crew_init ends in any way, every member
 * is gone at once and the memory with it; nothing has a name that could be left, unless
 * it was given one: see region.h.
 *
 * Fork. A program's own fork, system and popen keep working. Their children are no
 * members: crew calls in them return -ENOTCONN. What a bare clone(2) makes cannot be watched: calls on shared objects
 * there return -EOPNOTSUPP, unless the thread that called clone had used one before: so use fork or pthread_create.
 */
#ifndef CREW_INIT_H
#define CREW_INIT_H

#include <crew/base.h>

CREW_BEGIN

/* Zero means the default: NULL and { 0 } are good options. */
struct crew_init_options {
	uint64_t region_bytes; /* address space of the region. 0: 64 GiB, less where 'ulimit -v' says so */
	uint64_t memory_cap;   /* bytes that crew_alloc may commit. 0: 80 % of what cgroup and machine leave */
	bool threads_are_safe; /* allow a call while other threads run: the zygote has none of them */
	const char *name;      /* attach to the region of that name, or create it (region.h): letters, digits and -_. */
	bool must_exist;       /* with a name: only attach */
	bool must_be_new;      /* with a name: only create */
};

CREW_API CREW_CHECKED int crew_init_sized(const struct crew_init_options *options, size_t options_size);

/*
 * Found the family. Call it first thing in main, from the only thread.
 *
 * Errors  -EALREADY  this process is a member already; that family stays as it is.
 *         -EBUSY     other threads run, and .threads_are_safe was not set.
 *         -EINVAL    an option is out of range, or unknown to this library.
 *         -ENOMEM    no room for the region: see 'ulimit -v'.
 *         -ENOSYS    the kernel lacks memfd or pidfd (Linux 5.3).
 *         -EAGAIN, -EMFILE  no process or descriptor left for the zygote.
 *
 * Errors with a name; nothing has changed, and nothing was touched that is not crew's:
 *         -ENOENT    .must_exist, and nothing has that name.   -EEXIST: .must_be_new, and something has.
 *         -EPERM     it belongs to another user, or others may open it.
 *         -EBADMSG   it is no region of crew, or a damaged one: crew_region_unlink, and start anew.
 *         -EPROTO    it was made by another version of crew.
 *         -EXDEV     its programs live in another pid namespace.
 *         -EADDRINUSE  this process has something where all programs have the region.
 *         -EBUSY     somebody has been attaching for ten seconds (stopped, perhaps).
 */
static inline CREW_CHECKED int crew_init(const struct crew_init_options *options)
{
	return crew_init_sized(options, sizeof *options);
}

/*
 * Stop every process of the family that is still running, by force, and give the
 * memory back. Only the process that called crew_init may; elsewhere, and
 * without a family, it does nothing. After it, crew_init may be called again.
 */
CREW_API void crew_fini(void);

/* Whether the calling process is a member of a family. */
CREW_API bool crew_is_member(void);

CREW_END
#endif
