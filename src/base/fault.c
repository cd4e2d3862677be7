/*
 * fault.c - make the nth use of a system call fail, for tests
 *
 * The table is private to a process and copied by fork: a fault set before crew_init also counts
 * in the zygote, from its own first use.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/sys.h"

static struct { unsigned nth, times, struck; int error; } faults[CREW__CALL_COUNT];
static unsigned any_set; /* 0: the common case, one load per call */

static const char *const call_names[CREW__CALL_COUNT] = {
#define X(name) #name,
	CREW__CALLS(X)
#undef X
};

void crew__fault_set(enum crew__call call, unsigned nth, int error, unsigned times)
{
	faults[call].error = error;
	faults[call].times = times;
	__atomic_store_n(&faults[call].struck, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&faults[call].nth, nth, __ATOMIC_RELAXED);
	__atomic_store_n(&any_set, 1, __ATOMIC_RELAXED);
}

unsigned crew__fault_struck(enum crew__call call)
{
	return __atomic_load_n(&faults[call].struck, __ATOMIC_RELAXED);
}

int crew__fault(enum crew__call call)
{
	if (__builtin_expect(!__atomic_load_n(&any_set, __ATOMIC_RELAXED), 1))
		return 0;
	unsigned nth = __atomic_load_n(&faults[call].nth, __ATOMIC_RELAXED);
	if (nth == 0)
		return 0;
	if (nth > 1) {
		__atomic_store_n(&faults[call].nth, nth - 1, __ATOMIC_RELAXED);
		return 0;
	}
	if (faults[call].times == 0) {
		__atomic_store_n(&faults[call].nth, 0, __ATOMIC_RELAXED);
		return 0;
	}
	faults[call].times--;
	__atomic_fetch_add(&faults[call].struck, 1, __ATOMIC_RELAXED);
	return -faults[call].error;
}

static int error_by_name(const char *name)
{
	for (int error = 1; error < 134; error++) {
		const char *known = strerrorname_np(error);
		if (known && strcmp(known, name) == 0)
			return error;
	}
	return 0;
}

int crew__fault_parse(const char *text)
{
	while (*text) {
		char call[32], error[32];
		unsigned nth;
		int used = 0;
		if (sscanf(text, "%31[a-z0-9_]:%u:%31[A-Z0-9]%n", call, &nth, error, &used) != 3)
			return -EINVAL;
		int number = error_by_name(error), found = 0;
		for (int i = 0; i < CREW__CALL_COUNT; i++) {
			if (strcmp(call, call_names[i]) == 0) {
				crew__fault_set((enum crew__call)i, nth, number, 1);
				found = 1;
			}
		}
		if (!found || !number)
			return -EINVAL;
		text += used;
		if (*text == ',')
			text++;
		else if (*text)
			return -EINVAL;
	}
	return 0;
}
