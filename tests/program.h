/*
 * program.h - run one of the twelve programs and look at what it said
 *
 *     struct program_run run = program_run("fibonacci --json %d", 10);
 *     ck_assert_int_eq(run.status, 0);
 *     ck_assert_str_eq(run.out, "...");
 *     program_forget(&run);
 *
 * The line goes to a shell, with the programs of this build first in PATH, so pipes and
 * redirections are fine. stdin is /dev/null. Root's right to read every file is not there.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stddef.h>
#include <sys/types.h>

struct program_run {
	pid_t pid;        /* of the shell; of the program itself if the line begins with exec */
	int out_fd, err_fd;
	int status;       /* as a shell gives it: exit status, or 128 + signal */
	char *out, *err;  /* what it printed, as strings */
	size_t out_size;  /* bytes in out */
};

/* Run it to its end; or start it, and wait for its end later. */
struct program_run program_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
struct program_run program_start(const char *format, ...) __attribute__((format(printf, 1, 2)));
void program_finish(struct program_run *run);
void program_forget(struct program_run *run);

/* A new directory, removed with all that is in it by program_remove. */
const char *program_directory(void);
void program_remove(const char *directory);

/* A new file there; returns its path, valid until the next call. */
const char *program_file(const char *directory, const char *name, const void *data, size_t size);

#endif
