/* input.c - see input.h */
#include "input.h"
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct input input_map(const char *path)
{
	/* O_NONBLOCK: a FIFO without a writer is refused below instead of waited for. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		cli_die_input(path, 0, "cannot read: %s", strerror(errno));
	struct stat stat;
	if (fstat(fd, &stat) < 0)
		cli_die_input(path, 0, "cannot read: %s", strerror(errno));
	if (S_ISDIR(stat.st_mode))
		cli_die_input(path, 0, "is a directory; give a file");
	if (!S_ISREG(stat.st_mode))
		cli_die_input(path, 0, "is not a regular file");
	if (stat.st_size == 0)
		cli_die_input(path, 0, "is empty");
	size_t size = (size_t)stat.st_size;
	void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		cli_die_input(path, 0, "cannot map: %s", strerror(errno));
	close(fd);
	return (struct input){ path, data, size };
}

void input_unmap(struct input *input)
{
	munmap((void *)input->data, input->size);
	*input = (struct input){ 0 };
}
