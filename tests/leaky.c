/* leaky.c - tests that leave something behind: every one must fail, or the harness is blind */
#include "harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(wrong_answer) { ck_assert_int_eq(1, 2); }
TEST(crash) { __builtin_trap(); }
TEST(hang, .timeout = 0.5) { for (;;) pause(); }
TEST(early_exit) { _exit(3); }
TEST(descriptor) { ck_assert_int_ge(open("/dev/null", O_RDONLY), 0); }
TEST(closed_descriptor) { close(0); }

TEST(mapping)
{
	int fd = memfd_create("crew-left", MFD_CLOEXEC);
	ck_assert_ptr_ne(mmap(NULL, 1 << 30, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
	close(fd);
}

TEST(zombie)
{
	if (fork() == 0)
		_exit(0);
}

TEST(daemon_in_its_own_session)
{
	pid_t child = fork();
	if (child == 0) {
		setsid();
		if (fork() == 0)
			for (;;)
				pause();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
}

TEST(name_in_shm)
{
	char name[64];
	snprintf(name, sizeof name, "/crew-left-%d", (int)getpid());
	int fd = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
}

TEST(name_in_tmp)
{
	char name[] = "/tmp/crew-left-XXXXXX";
	int fd = mkstemp(name);
	ck_assert_int_ge(fd, 0);
	close(fd);
}
