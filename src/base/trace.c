/*
 * trace.c - write trace events, one write(2) each
 *
 * Order  The file is opened in append mode and inherited by fork, so lines of different
 *        processes follow each other whole.
 * Death  Before the write nothing is there, after it the whole line: a valid trace at any time.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <crew/trace.h>
#include "base/sys.h"
#include "base/trace.h"

static int trace_fd = -1;
static pid_t opener;

int crew__trace_fd(void)
{
	return __atomic_load_n(&trace_fd, __ATOMIC_RELAXED);
}

bool crew_trace_on(void)
{
	return crew__trace_fd() >= 0;
}

int crew_trace_open(const char *path)
{
	if (crew_trace_on())
		return -EBUSY;
	int fd = crew__fd_raise(crew__open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0666));
	if (fd < 0)
		return fd;
	if (write(fd, "[\n", 2) != 2) {
		int error = errno;
		close(fd);
		return -error;
	}
	opener = getpid();
	__atomic_store_n(&trace_fd, fd, __ATOMIC_RELEASE);
	return 0;
}

/* Copy `text` as the inside of a JSON string. */
static size_t escape(char *to, size_t size, const char *text)
{
	size_t n = 0;
	for (; *text && n + 7 < size; text++) {
		unsigned char c = (unsigned char)*text;
		if (c == '"' || c == '\\') {
			to[n++] = '\\';
			to[n++] = (char)c;
		} else if (c < 0x20) {
			n += (size_t)snprintf(to + n, size - n, "\\u%04x", c);
		} else {
			to[n++] = (char)c;
		}
	}
	to[n] = '\0';
	return n;
}

static void emit(char phase, const char *category, const char *name, const int64_t *value)
{
	int fd = crew__trace_fd();
	if (fd < 0)
		return;
	char line[512], c[64], n[160], more[80] = "";
	escape(c, sizeof c, category);
	escape(n, sizeof n, name);
	if (value)
		snprintf(more, sizeof more, ",\"s\":\"t\",\"args\":{\"value\":%lld}", (long long)*value);
	int length = snprintf(line, sizeof line,
		"{\"ph\":\"%c\",\"cat\":\"%s\",\"name\":\"%s\",\"ts\":%.3f,\"pid\":%d,\"tid\":%ld%s},\n", phase, c, n,
		(double)crew_now() / 1000.0, (int)getpid(), syscall(SYS_gettid), more);
	ssize_t ignored = write(fd, line, (size_t)length); /* a full disk loses events, not results */
	(void)ignored;
}

void crew_trace_begin(const char *category, const char *name)
{
	emit('B', category, name, NULL);
}

void crew_trace_end(const char *category, const char *name)
{
	emit('E', category, name, NULL);
}

void crew_trace_event(const char *category, const char *name, int64_t value)
{
	emit('i', category, name, &value);
}

void crew_trace_close(void)
{
	int fd = crew__trace_fd();
	if (fd < 0)
		return;
	__atomic_store_n(&trace_fd, -1, __ATOMIC_RELEASE);
	if (opener == getpid()) {
		/* Every line ends in a comma, so the array ends with an event of its own. */
		char line[160];
		int length = snprintf(line, sizeof line,
			"{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%d,\"args\":{\"name\":\"founder\"}}\n]\n", (int)getpid());
		ssize_t ignored = write(fd, line, (size_t)length);
		(void)ignored;
	}
	close(fd);
}
