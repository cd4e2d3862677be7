/* program.c - see program.h */
#include "program.h"
#include "harness.h"

#include <fcntl.h>
#include <ftw.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *content(int fd, size_t *ret_size)
{
	struct stat info;
	ck_assert_int_eq(fstat(fd, &info), 0);
	char *text = calloc(1, (size_t)info.st_size + 1);
	ck_assert_ptr_nonnull(text);
	ck_assert_int_eq(pread(fd, text, (size_t)info.st_size, 0), info.st_size);
	close(fd);
	*ret_size = (size_t)info.st_size;
	return text;
}

static struct program_run start(const char *format, va_list args)
{
	char *line = NULL, *path = NULL;
	ck_assert_int_ge(vasprintf(&line, format, args), 0);
	ck_assert_int_ge(asprintf(&path, "%s/programs:%s", CREW_BUILD, getenv("PATH")), 0);
	struct program_run run = { .out_fd = memfd_create("out", MFD_CLOEXEC), .err_fd = memfd_create("err", MFD_CLOEXEC) };
	run.pid = fork();
	ck_assert_int_ge(run.pid, 0);
	if (run.pid == 0) {
		prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0);
		prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0);
		setenv("PATH", path, 1);
		dup2(open("/dev/null", O_RDONLY), 0);
		dup2(run.out_fd, 1);
		dup2(run.err_fd, 2);
		execl("/bin/sh", "sh", "-c", line, NULL);
		_exit(127);
	}
	free(line);
	free(path);
	return run;
}

struct program_run program_start(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	struct program_run run = start(format, args);
	va_end(args);
	return run;
}

void program_finish(struct program_run *run)
{
	int status;
	size_t size;
	ck_assert_int_eq(waitpid(run->pid, &status, 0), run->pid);
	run->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	run->out = content(run->out_fd, &run->out_size);
	run->err = content(run->err_fd, &size);
}

struct program_run program_run(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	struct program_run run = start(format, args);
	va_end(args);
	program_finish(&run);
	return run;
}

void program_forget(struct program_run *run)
{
	free(run->out);
	free(run->err);
}

const char *program_directory(void)
{
	static char path[64];
	snprintf(path, sizeof path, "/tmp/crew-program-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(path));
	return path;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *place)
{
	(void)info, (void)type, (void)place;
	return remove(path);
}

void program_remove(const char *directory)
{
	ck_assert_int_eq(nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

const char *program_file(const char *directory, const char *name, const void *data, size_t size)
{
	static char path[512];
	snprintf(path, sizeof path, "%s/%s", directory, name);
	FILE *file = fopen(path, "we");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(data, 1, size, file), size);
	ck_assert_int_eq(fclose(file), 0);
	return path;
}
