/* rival.c - see rival.h */
#include "rival.h"
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <crew/error.h>
#include <crew/process.h>

static char *read_all(int fd)
{
	char *text = NULL, buffer[4096];
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	if (!stream)
		return NULL;
	for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR);)
		fwrite(buffer, 1, n > 0 ? (size_t)n : 0, stream);
	if (fclose(stream) == 0)
		return text;
	free(text);
	return NULL;
}

char *rival_run(const char *const *argv)
{
	int ends[2];
	struct crew_process *process;
	struct crew_status status;
	if (pipe2(ends, O_CLOEXEC) < 0)
		cli_lack("pipe: %s", strerror(errno));
	int r = crew_process_start(&process, &(struct crew_process_options){ .argv = argv, .out = ends[1] + 1 });
	close(ends[1]);
	char *text = r < 0 ? NULL : read_all(ends[0]);
	close(ends[0]);
	if (r < 0) {
		cli_note("%s: %s; the comparison is left out", argv[0], r == -ENOENT ? "not installed" : crew_strerror(r));
		return NULL;
	}
	r = crew_process_join(process, CREW_FOREVER, &status);
	if (r < 0 || crew_process_close(process) < 0 || status.state != CREW_EXITED || status.code) {
		cli_note("%s: failed; the comparison is left out", argv[0]);
		free(text);
		return NULL;
	}
	return text;
}
