/*
 * memory.c - see memory.h
 *
 * The region is sparse, so what there is to compare is little: the file says where it has data. A page that has come since the last look
 * counts as changed if it is not all zero, as it was until then.
 */
#include "death/memory.h"

#include <check.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "region/region.h"

static char *copy; /* of the region, as sparse */
static uint64_t copied;

static bool changed_in(off_t from, off_t to)
{
	const char *now = crew__at(0);
	bool changed = false;
	for (; from < to; from += (off_t)CREW__PAGE)
		if (memcmp(copy + from, now + from, CREW__PAGE) != 0) {
			memcpy(copy + from, now + from, CREW__PAGE);
			changed = true;
		}
	return changed;
}

bool memory_changed(void)
{
	const struct crew__region *region = crew__family.region;
	if (!copy) {
		copied = region->bytes;
		copy = mmap(NULL, copied, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		ck_assert_ptr_ne(copy, MAP_FAILED);
	}
	bool changed = false;
	off_t from, to = 0;
	while ((from = lseek(crew__family.memfd, to, SEEK_DATA)) >= 0) {
		to = lseek(crew__family.memfd, from, SEEK_HOLE);
		changed |= changed_in(from, to);
	}
	return changed;
}

void memory_forget(void)
{
	if (copy)
		munmap(copy, copied);
	copy = NULL;
}
