/*
 * crew/memory.h - one heap for all processes of the family
 *
 *     struct node *n = NULL;
 *     int r = crew_alloc(sizeof *n, (void **)&n);
 *     ...
 *     crew_free(n);
 *
 * A pointer from here is good in every process of the family: hand it over as it is.
 * Any process may free what another has allocated. Blocks are aligned to 16 bytes.
 *
 * Memory is committed before it is handed out. When there is no more the answer is
 * -ENOMEM, here and now, never a SIGBUS later.
 *
 * Death. A process may die inside any of these calls: the heap is as just before or
 * just after the call. Blocks outlive whoever allocated them: they belong to
 * the family until freed. Inside a pool's task they belong to that attempt: they stay
 * when the task returns 0 (or with crew_publish), and are freed when the attempt dies.
 */
#ifndef CREW_MEMORY_H
#define CREW_MEMORY_H

#include <crew/base.h>

CREW_BEGIN

/*
 * Allocate `size` bytes (0 is taken as 1). *ret is set on success only. The content
 * is undefined, that of crew_alloc_zeroed is zero. crew_alloc_aligned takes an
 * `alignment` that is a power of two up to 1 GiB.
 *
 * Errors  -ENOMEM    beyond the cap, or the machine has no more.
 *         -EINVAL    the alignment is no power of two, or too large.
 *         -ENOTCONN  not a member.
 */
CREW_API CREW_CHECKED int crew_alloc(size_t size, void **ret);
CREW_API CREW_CHECKED int crew_alloc_zeroed(size_t size, void **ret);
CREW_API CREW_CHECKED int crew_alloc_aligned(size_t size, size_t alignment, void **ret);

/* `count` zeroed elements of `size` bytes, contiguous, aligned to a cache line (64). -ENOMEM also where the product overflows. */
CREW_API CREW_CHECKED int crew_array(size_t count, size_t size, void **ret);

/*
 * Make the block at `pointer` (NULL: none yet) `size` bytes long, here or elsewhere: its content moves with it, up to the
 * smaller size; alignment beyond 16 may be lost. If `ret` lies in shared memory, *ret changes in the same step as the block
 * moves: whoever dies here, it names a whole block, the old or the new one. On errors everything is as before.
 *
 * Errors  as crew_alloc.
 */
CREW_API CREW_CHECKED int crew_realloc(void *pointer, size_t size, void **ret);

/*
 * Give a block back; NULL is fine. Freeing twice, or what is no block, aborts with
 * a message that names the address: the heap itself stays intact.
 */
CREW_API void crew_free(void *pointer);

/* Bytes usable at a block's address: at least what was asked for. 0 for NULL. */
CREW_API size_t crew_usable_size(const void *pointer);

/* Whether an address lies in the family's shared memory. */
CREW_API bool crew_is_shared(const void *pointer);

/* Take a block out of the hands of the running task attempt: from now on it belongs to the family. Outside a task: nothing. */
CREW_API void crew_publish(void *pointer);

/*
 * Figures in bytes and blocks. Nobody counts while allocating: used and blocks are found by walking the heap, exact as long as nobody
 * allocates or frees meanwhile. It takes time: about 50 ms for each GiB of small blocks.
 */
struct crew_memory_stats {
	uint64_t used;      /* bytes in allocated blocks, rounded up as handed out */
	uint64_t peak;      /* the most ever taken by runs of blocks, in units of 64 KiB: at least the highest `used` */
	uint64_t blocks;    /* allocated blocks */
	uint64_t committed; /* bytes taken from the system for the heap */
	uint64_t cap;       /* the most that may be committed */
};

CREW_API CREW_CHECKED int crew_memory_stats(struct crew_memory_stats *ret);

/* Walk the whole heap and check its invariants. Returns 0, or -EINVAL after one line on stderr that names what is broken. */
CREW_API CREW_CHECKED int crew_heap_check(void);

CREW_END
#endif
