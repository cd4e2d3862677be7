/* panic.c - misuse that no return value can report, and the spin before a sleep */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/probe.h"
#include "base/sys.h"

void crew__panic(const char *format, ...)
{
	char line[300] = "crew: ";
	va_list arguments;
	va_start(arguments, format);
	int n = vsnprintf(line + 6, sizeof line - 7, format, arguments);
	va_end(arguments);
	size_t length = 6 + (n < 0 ? 0 : (size_t)n < sizeof line - 7 ? (size_t)n : sizeof line - 8);
	line[length++] = '\n';
	ssize_t ignored = write(STDERR_FILENO, line, length);
	(void)ignored;
	abort();
}

bool crew__spin(unsigned turn)
{
	static unsigned limit; /* 0: not known yet; 1: a single CPU, where spinning only holds the other up */
	unsigned turns = __atomic_load_n(&limit, __ATOMIC_RELAXED);
	if (turns == 0) {
		turns = crew_cpus() > 1 ? 60 : 1; /* a microsecond or two: partners often share a CPU, and then it is lost */
		__atomic_store_n(&limit, turns, __ATOMIC_RELAXED);
	}
	if (turn + 1 >= turns)
		return false;
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb");
#endif
	return true;
}
