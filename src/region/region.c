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
int crew__region_map(int fd, uint64_t address, uint64_t *bytes, struct crew__region **ret)
{
	bool asked = *bytes != 0;
	struct crew_limits limits;
	void *base;
	*bytes = asked ? page_up(*bytes) : DEFAULT_BYTES;
	if (*bytes < LEAST_BYTES || *bytes > UINT64_C(1) << 46)
		return -EINVAL;
	crew_limits(&limits);
	while (!asked && *bytes > LEAST_BYTES && *bytes > limits.address_space / 2)
		*bytes /= 2; /* leave the program room of its own */
	for (;;) {
		int r = set_size(fd, *bytes);
		if (r == 0)
			r = crew__mmap_at(address, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0, &base);
		if (r == 0)
			break;
		if (asked || (r != -ENOMEM && r != -EFBIG) || *bytes / 2 < LEAST_BYTES)
			return r == -EFBIG ? -ENOMEM : r;
		*bytes /= 2;
	}
	madvise(base, *bytes, MADV_DONTDUMP);
	*ret = base;
	return 0;
}

struct crew__region crew__region_geometry(uint64_t bytes)
{
	uint64_t board = page_up(sizeof(struct crew__region)), slots = board + CREW__BOARD;
	uint64_t lanes = page_up(slots + CREW__SLOTS * sizeof(struct crew__slot));
	uint64_t heap = (lanes + CREW__LANES * sizeof(struct crew__lane) + 0x1fffff) & ~UINT64_C(0x1fffff);
	return (struct crew__region){ .version = CREW__FORMAT, .bytes = bytes, .board = board, .slots = slots,
		.lanes = lanes, .heap = heap };
}

int crew__region_lay_out(int fd, struct crew__region *region, uint64_t bytes, uint64_t memory_cap)
{
	struct crew__region front = crew__region_geometry(bytes);
	int r = crew__fallocate(fd, 0, 0, (off_t)front.slots);
	if (r < 0)
		return r == -ENOSPC ? -ENOMEM : r;
	front.slots_high = front.lanes_high = 1;
	front.memory_cap = memory_cap ? memory_cap : crew__memory_cap();
	*region = front;
	crew__family.memfd = fd;
	crew__family.region = region;
	crew__family.bytes = bytes;
	crew__family.slots = front.slots;
	crew__family.lanes = front.lanes;
	return crew__table_create();
}

int crew__region_enter(void)
{
	uint32_t self = crew__slot_claim(0);
	if (!self)
		return -ENOMEM;
	struct crew__slot *slot = crew__slot_at(crew__number(self));
	int r = crew__family.named ? crew__program_begin(crew__number(self)) : 0;
	if (r < 0) {
		crew__slot_release(self);
		return r;
	}
	slot->pid = getpid();
	slot->born[1] = crew__boottime();
	__atomic_store_n(&slot->state, CREW__SLOT_RUNNING, __ATOMIC_RELEASE);
	crew__family.self = crew__family.program = self;
	crew__family.founder = true;
	return 0;
}

void crew__region_drop(int fd, struct crew__region *region, uint64_t bytes)
{
	if (region)
		munmap(region, bytes);
	close(fd);
	crew__family = (struct crew__family){ .memfd = -1 };
}

int crew__region_create(uint64_t bytes, uint64_t memory_cap)
{
	struct crew__region *region = NULL;
	crew__fork_init();
	int fd = crew__fd_raise(crew__memfd_create("crew", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	if (fd < 0)
		return fd;
	int r = crew__region_map(fd, 0, &bytes, &region);
	if (r == 0 && (fchmod(fd, 0600) < 0 || /* a memfd is 0777 otherwise, to whoever gets at it through /proc */
			fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0))
		r = -errno;
	if (r == 0)
		r = crew__region_lay_out(fd, region, bytes, memory_cap);
	if (r == 0)
		r = crew__region_enter();
	if (r < 0)
		crew__region_drop(fd, region, bytes);
	else
		__atomic_store_n(&region->magic, CREW__MAGIC, __ATOMIC_RELEASE);
	return r;
}

void crew__region_forget(void)
{
	struct crew__region *region = crew__family.region;
	if (!region)
		return;
	uint64_t bytes = crew__family.bytes, heap = crew__region_geometry(bytes).heap;
	bool leaves = crew__family.named && crew__family.founder;
	if (leaves)
		crew__lane_reap_all(); /* a named region lives on */
	/* Where another thread still has a lane the tables must stay: its robust list leads through them, and the kernel walks it. */
	uint64_t keep = crew__lane_dissolve() ? 0 : heap;
	if (leaves) {
		crew__slot_move(crew__family.self, CREW__SLOT_RUNNING, CREW__SLOT_ENDED);
		crew__program_end(crew__number(crew__family.self)); /* before anybody else can have the number */
		crew__slot_release(crew__family.self);
	}
	close(crew__family.memfd);
	crew__family = (struct crew__family){ .memfd = -1 };
	munmap((char *)region + keep, bytes - keep);
}
