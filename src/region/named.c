/*
 * named.c - regions with a name: a file that unrelated programs of one user map at the same address
 *
 * Create   a file without a name (O_TMPFILE), complete in every respect, which then gets its name in one step: linkat. So nobody
 *          ever sees half of a region, a creator that dies leaves nothing, and of several one wins; the others attach.
 * Attach   open, no link followed; owner, mode and kind; the front, by pread: magic, version, layout, geometry, name. Only then is it
 *          mapped, where the front says, never over anything else.
 *
 * State    Byte 0 of the file, locked: the door. Who comes in holds it, and clears up after the dead meanwhile.
 *          Byte N, locked: the program whose founder has slot N lives. Locks are the kernel's (fcntl, of the process): gone with
 *          the process, however it ends, and at exec; not inherited by fork; no matter of pids.
 * Order    byte N is locked before slot N is RUNNING, so who finds it RUNNING and unlocked finds it dead.
 * Death    of a creator before linkat: nothing is left; after it: a region without a living program, for the next to attach.
 *          of an attacher: the kernel opens the door. Its slot says that it claimed itself, so the next one in gives it up.
 *
 * The file must not be opened and closed again in a process that is in the region: that would drop its locks.
 */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <crew/region.h>
#include "base/sys.h"
#include "region/internal.h"

enum { TRIES = 100 };
#define PATIENCE (10 * CREW_SECOND) /* a door is locked for milliseconds, unless somebody is stopped in it */

/*
 * Where named regions lie: above what TSan's and ASan's shadows take, below where the kernel begins with stacks and libraries,
 * whatever it draws (x86-64). The later ones are for programs that have something there.
 */
static const uint64_t places[] = { UINT64_C(0x7e8000000000), UINT64_C(0x7ea000000000), UINT64_C(0x7ec000000000),
	UINT64_C(0x300000000000) };
enum { PLACES = sizeof places / sizeof places[0] };

static int path_of(const char *name, char ret[96])
{
	size_t length = strnlen(name, CREW_NAME_MAX + 1);
	if (length == 0 || length > CREW_NAME_MAX || name[0] == '.')
		return -EINVAL;
	for (size_t i = 0; i < length; i++)
		if (!isascii(name[i]) || (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i])))
			return -EINVAL;
	snprintf(ret, 96, "/dev/shm/crew-%u-%s", (unsigned)geteuid(), name);
	return 0;
}

static int set_lock(int fd, uint32_t byte, short type)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
	return fcntl(fd, F_SETLK, &lock) < 0 ? -errno : 0;
}

static int lock_door(int fd)
{
	crew_time until = crew_after(PATIENCE);
	for (;;) {
		int r = set_lock(fd, 0, F_WRLCK);
		if (r != -EAGAIN && r != -EACCES)
			return r;
		if (crew_now() >= until)
			return -EBUSY;
		r = crew__poll(NULL, 0, crew_after(CREW_MILLISECOND));
		if (r < 0)
			return r;
	}
}

int crew__program_begin(uint32_t number)
{
	return set_lock(crew__family.memfd, number, F_WRLCK);
}

void crew__program_end(uint32_t number)
{
	(void)set_lock(crew__family.memfd, number, F_UNLCK);
}

bool crew__program_lives(uint32_t number)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = number, .l_len = 1 };
	if (!crew__family.named || (crew__family.founder && number == crew__number(crew__family.self)))
		return true;
	return fcntl(crew__family.memfd, F_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
}

/* Which pid namespace this is; 0 where that cannot be known. */
static uint64_t pids(void)
{
	struct stat space;
	return stat("/proc/self/ns/pid", &space) == 0 ? space.st_ino : 0;
}

/* A region without a name, this process its founder. */
static int create(const struct crew__naming *naming)
{
	struct crew__region *region = NULL;
	uint64_t bytes = 0;
	int fd = crew__fd_raise(crew__open("/dev/shm", O_TMPFILE | O_RDWR, 0600));
	if (fd < 0)
		return fd == -ENOENT || fd == -EOPNOTSUPP || fd == -EISDIR ? -ENOSYS : fd;
	int r = fchmod(fd, 0600) < 0 ? -errno : 0; /* whatever the umask */
	for (int i = 0; r == 0 && !region && i < PLACES; i++) {
		bytes = naming->bytes;
		r = crew__region_map(fd, places[i], &bytes, &region);
		if (r == -EADDRINUSE && i + 1 < PLACES)
			r = 0;
	}
	if (r == 0)
		r = crew__region_lay_out(fd, region, bytes, naming->memory_cap);
	if (r == 0) {
		region->layout = naming->layout;
		region->address = (uintptr_t)region;
		region->pids = pids();
		snprintf(region->name, sizeof region->name, "%s", naming->name);
		crew__family.named = true;
		r = crew__region_enter();
	}
	if (r < 0)
		crew__region_drop(fd, region, bytes);
	else
		__atomic_store_n(&region->magic, CREW__MAGIC, __ATOMIC_RELEASE);
	return r;
}

int crew__region_publish(void)
{
	char path[96], open_file[40];
	int r = path_of(crew__family.region->name, path);
	snprintf(open_file, sizeof open_file, "/proc/self/fd/%d", crew__family.memfd);
	return r < 0 ? r : linkat(AT_FDCWD, open_file, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

/* Whether every number in a front that is used to reach memory is what this library would have written. */
static bool is_sane(const struct crew__region *front, uint64_t file_bytes, const char *name)
{
	struct crew__region geometry = crew__region_geometry(front->bytes);
	bool at_place = false;
	for (int i = 0; i < PLACES; i++)
		at_place |= front->address == places[i];
	return at_place && front->bytes == file_bytes && front->bytes % CREW__PAGE == 0 && front->bytes <= UINT64_C(1) << 46 &&
		front->board == geometry.board && front->slots == geometry.slots && front->lanes == geometry.lanes &&
		front->heap == geometry.heap &&
		front->heap < front->bytes && front->slots_high >= 1 && front->slots_high <= CREW__SLOTS &&
		front->lanes_high >= 1 && front->lanes_high <= CREW__LANES &&
		memchr(front->name, '\0', sizeof front->name) && strcmp(front->name, name) == 0;
}

/* Look at the file without touching it as memory: *ret is its front. */
static int inspect(int fd, const struct crew__naming *naming, struct crew__region *ret)
{
	struct stat file;
	if (fstat(fd, &file) < 0)
		return -errno;
	if (file.st_uid != geteuid() || (S_ISREG(file.st_mode) && file.st_mode & 077))
		return -EPERM;
	if (!S_ISREG(file.st_mode) || pread(fd, ret, sizeof *ret, 0) != sizeof *ret || ret->magic != CREW__MAGIC)
		return -EBADMSG;
	if (ret->version != CREW__FORMAT || ret->layout != naming->layout)
		return -EPROTO;
	if (!is_sane(ret, (uint64_t)file.st_size, naming->name))
		return -EBADMSG;
	return ret->pids && ret->pids != pids() ? -EXDEV : 0;
}

/* What the front promises is there: in a file with holes, on a full machine, a look would be a SIGBUS. */
static int commit(int fd, const struct crew__region *front)
{
	int r = crew__fallocate(fd, 0, 0, (off_t)(front->slots + front->slots_high * sizeof(struct crew__slot)));
	if (r == 0)
		r = crew__fallocate(fd, 0, (off_t)front->lanes, (off_t)(front->lanes_high * sizeof(struct crew__lane)));
	return r == -ENOSPC ? -ENOMEM : r;
}

/* -ESTALE: the name has gone meanwhile. */
static int attach_file(int fd, const struct crew__naming *naming)
{
	struct crew__region front;
	struct stat file;
	void *region;
	int r = inspect(fd, naming, &front);
	if (r == 0)
		r = lock_door(fd);
	if (r == 0 && (fstat(fd, &file) < 0 || file.st_nlink == 0))
		r = -ESTALE;
	if (r == 0)
		r = commit(fd, &front);
	if (r == 0)
		r = crew__mmap_at(front.address, front.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0, &region);
	if (r < 0)
		return r;
	madvise(region, front.bytes, MADV_DONTDUMP);
	crew__family = (struct crew__family){ .region = region,
		.bytes = front.bytes, .slots = front.slots, .lanes = front.lanes, .memfd = fd, .named = true };
	r = crew__region_enter();
	if (r < 0)
		munmap(region, front.bytes);
	return r;
}

static int attach(const char *path, const struct crew__naming *naming)
{
	/* O_NONBLOCK: a FIFO of that name must not hold us up. */
	int fd = crew__fd_raise(crew__open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0));
	if (fd == -EACCES)
		return -EPERM;
	if (fd == -ELOOP || fd == -EISDIR || fd == -ENXIO || fd == -ENODEV)
		return -EBADMSG;
	if (fd < 0)
		return fd;
	int r = attach_file(fd, naming);
	if (r < 0)
		crew__region_drop(fd, NULL, 0);
	return r;
}

int crew__region_open(const struct crew__naming *naming, bool *ret_created)
{
	char path[96];
	int r = path_of(naming->name, path);
	if (r == 0 && naming->must_be_new && naming->must_exist)
		r = -EINVAL;
	if (r < 0)
		return r;
	crew__fork_init();
	*ret_created = naming->must_be_new;
	for (int try = 0; !*ret_created && try < TRIES; try++) {
		r = attach(path, naming);
		if (r == -ENOENT && !naming->must_exist)
			*ret_created = true;
		else if (r != -ESTALE)
			return r;
	}
	return *ret_created ? create(naming) : -EBUSY;
}

void crew__region_admit(void)
{
	(void)set_lock(crew__family.memfd, 0, F_UNLCK);
}

int crew_region_unlink(const char *name)
{
	char path[96];
	int r = path_of(name, path);
	if (r < 0)
		return r;
	if (unlink(path) == 0)
		return 0;
	return errno == EISDIR ? -EBADMSG : errno == EACCES ? -EPERM : -errno;
}
