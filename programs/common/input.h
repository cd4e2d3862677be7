/*
 * input.h - a whole input file as bytes in memory
 *
 *     struct input input = input_map(path);   // before crew_init(): every worker has it too
 *     for (const char *p = input.data; p < input.data + input.size; …)
 *
 * The mapping is read-only and private; pages are read when they are touched. A
 * file that another program cuts short meanwhile is out of scope: touching what
 * is gone is SIGBUS.
 */
#ifndef INPUT_H
#define INPUT_H

#include <stddef.h>

struct input {
	const char *path;
	const char *data;
	size_t size;
};

/*
 * Map a regular file. One that is missing, unreadable, a directory or another
 * special file, or empty ends the program with status 2 and one line that says so.
 */
struct input input_map(const char *path);

void input_unmap(struct input *input);

#endif
