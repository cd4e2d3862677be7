/*
 * region.c - create the family's memory, give it back
 *
 * The memfd is as large as the region may ever get and sealed against changing size, so nobody who
 * gets hold of it can make another's access a SIGBUS. Only what is committed costs
 * memory: the tables in small steps as they fill (crew__table_grow), the heap by the layer memory.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/probe.h"
#include "base/sys.h"
#include "region/internal.h"

struct crew__family crew__family = { .memfd = -1 };

#define MAGIC UINT64_C(0x0077657263006d66) /* "fm" "crew" */
#define VERSION 1u
#define LEAST_BYTES (UINT64_C(256) << 20)
#define DEFAULT_BYTES ((CREW__TSAN ? UINT64_C(2) : UINT64_C(64)) << 30)

static uint64_t page_up(uint64_t n)
{
	return (n + CREW__PAGE - 1) & ~(CREW__PAGE - 1);
}

/* Set the file's size, without the signal that RLIMIT_FSIZE would send. */
static int set_size(int fd, uint64_t bytes)
{
	sigset_t xfsz, before;
	sigemptyset(&xfsz);
	sigaddset(&xfsz, SIGXFSZ);
	pthread_sigmask(SIG_BLOCK, &xfsz, &before);
	int r = crew__ftruncate(fd, (off_t)bytes);
	if (r == -EFBIG)
		sigtimedwait(&xfsz, NULL, &(struct timespec){ 0, 0 });
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

/* Map as much as asked, or half of it, or a quarter ... where limits say no and the size was not asked for. */
static int map_region(int fd, uint64_t *bytes, bool asked, void **ret)
{
	for (;;) {
		int r = set_size(fd, *bytes);
		if (r == 0)
			r = crew__mmap(*bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0, ret);
		if (r == 0)
			return 0;
		if (asked || (r != -ENOMEM && r != -EFBIG) || *bytes / 2 < LEAST_BYTES)
			return r == -EFBIG ? -ENOMEM : r;
		*bytes /= 2;
	}
}

int crew__region_create(uint64_t bytes, uint64_t memory_cap)
{
	bool asked = bytes != 0;
	crew__fork_init();
	bytes = asked ? page_up(bytes) : DEFAULT_BYTES;
	if (bytes < LEAST_BYTES || bytes > UINT64_C(1) << 46)
		return -EINVAL;
	struct crew_limits limits;
	crew_limits(&limits);
	while (!asked && bytes > LEAST_BYTES && bytes > limits.address_space / 2)
		bytes /= 2; /* leave the program room of its own */

	int fd = crew__fd_raise(crew__memfd_create("crew", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	if (fd < 0)
		return fd;
	void *base = NULL;
	int r = map_region(fd, &bytes, asked, &base);
	if (r < 0)
		goto fail;
	fchmod(fd, 0600); /* a memfd is 0777 otherwise, to whoever gets at it through /proc */
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		r = -errno;
		goto fail_mapped;
	}
	madvise(base, bytes, MADV_DONTDUMP);
	uint64_t slots = page_up(sizeof(struct crew__region));
	uint64_t lanes = page_up(slots + CREW__SLOTS * sizeof(struct crew__slot));
	uint64_t heap = (lanes + CREW__LANES * sizeof(struct crew__lane) + 0x1fffff) & ~UINT64_C(0x1fffff);
	r = crew__fallocate(fd, 0, 0, (off_t)slots);
	if (r < 0)
		goto fail_mapped;

	struct crew__region *region = base;
	*region = (struct crew__region){ .version = VERSION, .bytes = bytes, .slots = slots, .lanes = lanes,
		.heap = heap, .slots_high = 1, .lanes_high = 1,
		.memory_cap = memory_cap ? memory_cap : crew__memory_cap() };
	crew__family.memfd = fd;
	crew__family.region = region;
	crew__family.bytes = bytes;
	r = crew__table_create();
	if (r < 0)
		goto fail_mapped;
	uint32_t self = crew__slot_claim(0);
	if (!self) {
		r = -ENOMEM;
		goto fail_mapped;
	}
	struct crew__slot *slot = crew__slot_at(crew__number(self));
	slot->parent = self;
	slot->pid = getpid();
	slot->born[1] = crew__boottime();
	__atomic_store_n(&slot->state, CREW__SLOT_RUNNING, __ATOMIC_RELEASE);
	region->founder = self;
	__atomic_store_n(&region->magic, MAGIC, __ATOMIC_RELEASE);
	crew__family.self = self;
	crew__family.founder = true;
	return 0;

fail_mapped:
	munmap(base, bytes);
fail:
	close(fd);
	crew__family = (struct crew__family){ .memfd = -1 };
	return r;
}

void crew__region_forget(void)
{
	struct crew__region *region = crew__family.region;
	if (!region)
		return;
	uint64_t bytes = region->bytes;
	/* Where another thread still has a lane the tables must stay: its robust list leads through them, and the kernel walks it. */
	uint64_t keep = crew__lane_dissolve() ? 0 : region->heap;
	close(crew__family.memfd);
	crew__family = (struct crew__family){ .memfd = -1 };
	munmap((char *)region + keep, bytes - keep);
}
