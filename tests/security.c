/* security.c - who can get at a region and who cannot, and what becomes of things that only look like one: rows of SECURITY.md */
#include "named.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { NOBODY = 65534 };

static int mode_of(int fd)
{
	struct stat file;
	ck_assert_int_eq(fstat(fd, &file), 0);
	return file.st_mode & 07777;
}

static int mode_of_path(const char *name)
{
	struct stat file;
	ck_assert_int_eq(stat(name, &file), 0);
	return file.st_mode & 07777;
}

TEST(the_memory_of_a_family_is_for_its_user_alone_whatever_the_umask)
{
	const mode_t masks[] = { 0, 0777, 022 };
	for (int i = 0; i < 3; i++) {
		umask(masks[i]);
		must(crew_init(NULL));
		ck_assert_int_eq(mode_of(crew__family.memfd), 0600);
		crew_fini();
		must(crew_init(&here));
		ck_assert_int_eq(mode_of_path(path("test")), 0600);
		crew_fini();
		must(crew_region_unlink("test"));
	}
}

TEST(the_memory_of_a_family_cannot_change_its_size)
{
	must(crew_init(NULL));
	int fd = crew__family.memfd;
	ck_assert_int_eq(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	ck_assert(ftruncate(fd, 0) < 0 && errno == EPERM);
	ck_assert(ftruncate(fd, INT64_C(1) << 40) < 0 && errno == EPERM);
	ck_assert(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0 && errno == EPERM);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	crew_fini();
}

/* As another user: 0 if that file can be opened for writing, otherwise the errno. */
static int open_as_nobody(const char *name)
{
	pid_t pid = fork();
	if (pid == 0) {
		if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(255);
		prctl(PR_SET_DUMPABLE, 1); /* or /proc/self would not be its own */
		_exit(open(name, O_RDWR | O_CLOEXEC) < 0 ? errno : 0);
	}
	int status = ended(pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) != 255);
	return WEXITSTATUS(status);
}

TEST(another_user_who_is_handed_a_descriptor_cannot_open_it_for_writing)
{
	if (geteuid() != 0)
		SKIP("only root can be another user");
	char name[64];
	int open_to_all = memfd_create("control", MFD_CLOEXEC);
	snprintf(name, sizeof name, "/proc/self/fd/%d", open_to_all);
	if (open_as_nobody(name) != 0)
		SKIP("/proc/self/fd does not open here even what is open to all");
	close(open_to_all);
	must(crew_init(NULL));
	snprintf(name, sizeof name, "/proc/self/fd/%d", crew__family.memfd);
	ck_assert_int_eq(open_as_nobody(name), EACCES);
	crew_fini();
}

TEST(another_user_cannot_open_a_named_region_nor_foist_one_on_us)
{
	if (geteuid() != 0)
		SKIP("only root can be another user");
	ck_assert_int_eq(ended(program(found, (void *)(uintptr_t)&here)), 0);
	ck_assert_int_eq(open_as_nobody(path("test")), EACCES);
	ck_assert_int_eq(chown(path("test"), NOBODY, NOBODY), 0); /* as if he had been first to take our name */
	must_be(-EPERM, crew_init(&here));
	ck_assert(!crew_is_member());
	must(crew_region_unlink("test"));
}

TEST(a_region_that_others_may_open_is_refused)
{
	const mode_t modes[] = { 0644, 0660, 0606, 0601 };
	ck_assert_int_eq(ended(program(found, (void *)(uintptr_t)&here)), 0);
	for (int i = 0; i < 4; i++) {
		chmod(path("test"), modes[i]);
		must_be(-EPERM, crew_init(&here));
	}
	chmod(path("test"), 0600);
	must(crew_init(&here));
	crew_fini();
	must(crew_region_unlink("test"));
}

/* ---- what has the name, and is no region ---- */

static void make_symlink(const char *name)
{
	ck_assert_int_eq(symlink("/dev/zero", name), 0);
}

static void make_fifo(const char *name)
{
	ck_assert_int_eq(mkfifo(name, 0600), 0);
}

static void make_directory(const char *name)
{
	ck_assert_int_eq(mkdir(name, 0700), 0);
}

static void make_socket(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memcpy(address.sun_path, name, strlen(name));
	umask(077);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	close(fd);
}

static void make_file(const char *name, off_t size, int fill)
{
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	unsigned char page[4096];
	ck_assert_int_ge(fd, 0);
	srandom(1);
	for (size_t i = 0; i < sizeof page; i++)
		page[i] = (unsigned char)(fill < 0 ? random() : fill);
	ck_assert_int_eq(pwrite(fd, page, sizeof page, 0), sizeof page);
	ck_assert_int_eq(ftruncate(fd, size), 0);
	close(fd);
}

static void make_empty(const char *name) { make_file(name, 0, 0); }
static void make_short(const char *name) { make_file(name, 100, 0xff); }
static void make_zeros(const char *name) { make_file(name, INT64_C(1) << 30, 0); }
static void make_ones(const char *name) { make_file(name, INT64_C(1) << 30, 0xff); }
static void make_noise(const char *name) { make_file(name, INT64_C(1) << 30, -1); }

static const struct { const char *what; void (*make)(const char *name); } others[] = {
	{ "symlink", make_symlink }, { "fifo", make_fifo }, { "directory", make_directory }, { "socket", make_socket },
	{ "empty", make_empty }, { "short", make_short }, { "zeros", make_zeros }, { "ones", make_ones }, { "noise", make_noise }
};

static const char *other_label(int i)
{
	return others[i].what;
}

TEST(what_is_no_region_is_refused, .count = sizeof others / sizeof others[0], .label = other_label)
{
	others[index].make(path("test"));
	must_be(-EBADMSG, crew_init(&here));
	ck_assert(!crew_is_member());
	struct crew_init_options options = here;
	options.must_be_new = true;
	must_be(-EEXIST, crew_init(&options));
	if (others[index].make == make_directory) {
		must_be(-EBADMSG, crew_region_unlink("test"));
		rmdir(path("test"));
	} else {
		must(crew_region_unlink("test"));
	}
	must(crew_init(&here));
	whole();
	crew_fini();
	must(crew_region_unlink("test"));
}

/* A region in which one field of the front, or the size of the file, is another. */
static const struct {
	const char *what;
	size_t offset, size;
	uint64_t value;
	int error;
} damages[] = {
#define FIELD(name) offsetof(struct crew__region, name), sizeof ((struct crew__region *)0)->name
	{ "magic", FIELD(magic), 1, -EBADMSG },
	{ "version", FIELD(version), 1, -EPROTO },
	{ "layout", FIELD(layout), 1, -EPROTO },
	{ "too_large", FIELD(bytes), UINT64_C(1) << 62, -EBADMSG },
	{ "too_small", FIELD(bytes), 4096, -EBADMSG },
	{ "larger_than_the_file", FIELD(bytes), UINT64_C(2) << 30, -EBADMSG },
	{ "no_bytes", FIELD(bytes), 0, -EBADMSG },
	{ "address_null", FIELD(address), 0, -EBADMSG },
	{ "address_of_the_program", FIELD(address), 0x400000, -EBADMSG },
	{ "address_odd", FIELD(address), UINT64_C(0x7e8000000001), -EBADMSG },
	{ "slots", FIELD(slots), 0, -EBADMSG },
	{ "lanes", FIELD(lanes), UINT64_MAX - 4095, -EBADMSG },
	{ "heap", FIELD(heap), UINT64_C(1) << 40, -EBADMSG },
	{ "slots_high", FIELD(slots_high), UINT32_MAX, -EBADMSG },
	{ "slots_high_0", FIELD(slots_high), 0, -EBADMSG },
	{ "lanes_high", FIELD(lanes_high), CREW__LANES + 1, -EBADMSG },
	{ "name", FIELD(name[0]), 'x', -EBADMSG },
	{ "other_pids", FIELD(pids), 1, -EXDEV },
	{ "truncated", 0, 0, 0, -EBADMSG },
	{ "cut_to_the_front", 0, 0, 4096, -EBADMSG },
	{ "cut_in_the_tables", 0, 0, 1 << 20, -EBADMSG },
	{ "grown", 0, 0, UINT64_C(1) << 40, -EBADMSG },
};
enum { DAMAGES = sizeof damages / sizeof damages[0] };

TEST(a_damaged_region_or_one_of_another_version_is_refused)
{
	for (int i = 0; i < DAMAGES; i++) {
		ck_assert_int_eq(ended(program(found, (void *)(uintptr_t)&here)), 0);
		int fd = open(path("test"), O_RDWR | O_CLOEXEC);
		ck_assert_int_ge(fd, 0);
		if (damages[i].size)
			ck_assert_int_eq(pwrite(fd, &damages[i].value, damages[i].size, (off_t)damages[i].offset),
				(ssize_t)damages[i].size);
		else
			ck_assert_int_eq(ftruncate(fd, (off_t)damages[i].value), 0);
		close(fd);
		int r = crew_init(&here);
		ck_assert_msg(r == damages[i].error, "%s: %s", damages[i].what, crew_errname(r));
		ck_assert(!crew_is_member());
		must(crew_region_unlink("test"));
	}
}

TEST(a_name_too_long_never_reaches_the_file_system)
{
	static char name[1 << 20];
	memset(name, 'a', sizeof name - 1);
	must_be(-EINVAL, crew_init(&(struct crew_init_options){ .name = name }));
	must_be(-EINVAL, crew_init(&(struct crew_init_options){ .name = "../../etc/passwd" }));
	must_be(-EINVAL, crew_region_unlink("../../etc/passwd"));
}

TEST(an_attacher_with_something_at_the_address_is_told_so)
{
	ck_assert_int_eq(ended(program(found, (void *)(uintptr_t)&here)), 0);
	void *place = (void *)(uintptr_t)UINT64_C(0x7e8000000000);
	ck_assert_ptr_eq(mmap(place, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), place);
	must_be(-EADDRINUSE, crew_init(&here));
	must(crew_region_unlink("test"));
	must(crew_init(&here)); /* a new one goes elsewhere */
	ck_assert_ptr_ne(crew__family.region, place);
	whole();
	crew_fini();
	must(crew_region_unlink("test"));
	ck_assert_int_eq(munmap(place, 4096), 0);
}

/* Whoever holds the door may be stopped in it: then attaching fails, after a time. */
TEST(a_door_that_is_held_is_not_waited_for_for_ever, .takes_long = true, .timeout = 60)
{
	ck_assert_int_eq(ended(program(found, (void *)(uintptr_t)&here)), 0);
	int ready[2];
	ck_assert_int_eq(pipe(ready), 0);
	pid_t holder = fork();
	if (holder == 0) {
		int fd = open(path("test"), O_RDWR | O_CLOEXEC);
		struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
		fcntl(fd, F_SETLK, &all);
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	ck_assert_int_eq(read(ready[0], &(char){ 0 }, 1), 1);
	must_be(-EBUSY, crew_init(&here));
	kill(holder, SIGKILL);
	ended(holder);
	must(crew_init(&here));
	crew_fini();
	close(ready[0]);
	close(ready[1]);
	must(crew_region_unlink("test"));
}
