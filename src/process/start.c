/* start.c - check the options of a start and put them into one record */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <crew/trace.h>
#include "process/internal.h"

enum { MOST = 16 }; /* further descriptors, limits */

static bool valid(const struct crew_process_options *o)
{
	if (!o->function == !o->argv || (o->argv && !o->argv[0]) || o->method > CREW_FORK)
		return false;
	if ((o->argument_size && !o->argument) || (o->argument_size && o->argv))
		return false;
	if (o->argument && !o->argument_size && o->method == CREW_ZYGOTE && !crew__in_region(o->argument, 1))
		return false; /* the child would not find there what the caller means */
	if (o->in < 0 || o->out < 0 || o->err < 0 || o->descriptor_count > MOST || o->limit_count > MOST)
		return false;
	if ((o->descriptor_count && !o->descriptors) || (o->limit_count && !o->limits) || !o->cpus != !o->cpus_size)
		return false;
	for (unsigned i = 0; i < o->descriptor_count; i++)
		if (o->descriptors[i] < 0)
			return false;
	return true;
}

/* Lays out a body: run once without memory, to measure, and once with it. */
struct layout { char *memory; uint64_t used; };

static uint64_t put(struct layout *body, const void *data, size_t size, uint64_t alignment)
{
	uint64_t at = (body->used + alignment - 1) & ~(alignment - 1);
	if (body->memory && size)
		memcpy(body->memory + at, data, size);
	body->used = at + size;
	return at;
}

static uint64_t put_strings(struct layout *body, const char *const *strings, uint32_t *count)
{
	uint64_t at = body->used;
	*count = 0;
	for (; strings && strings[*count]; ++*count)
		put(body, strings[*count], strlen(strings[*count]) + 1, 1);
	return at;
}

static void lay_out(struct layout *body, struct crew__start *start, const struct crew_process_options *o)
{
	start->argument = put(body, o->argument, o->argument_size, 64);
	start->limits = put(body, o->limits, o->limit_count * sizeof *o->limits, 8);
	start->cpus = put(body, o->cpus, o->cpus_size, 8);
	start->argv = put_strings(body, o->argv, &start->argc);
	start->env = put_strings(body, o->env, &start->envc);
	start->body_size = body->used;
}

/* The descriptors that travel; *directory is ours to close. */
static int gather(const struct crew_process_options *o, int *fds)
{
	for (int i = 0; i < CREW__FD_COUNT; i++)
		fds[i] = -1;
	fds[CREW__FD_IN] = o->in - 1;
	fds[CREW__FD_OUT] = o->out - 1;
	fds[CREW__FD_ERR] = o->err - 1;
	for (unsigned i = 0; i < o->descriptor_count; i++)
		fds[CREW__FD_MORE + i] = o->descriptors[i];
	for (int i = CREW__FD_IN; i < CREW__FD_COUNT; i++)
		if (fds[i] >= 0 && fcntl(fds[i], F_GETFD) < 0)
			return -EBADF;
	fds[CREW__FD_DIRECTORY] = crew__open(o->directory ? o->directory : ".", O_PATH | O_DIRECTORY, 0);
	return fds[CREW__FD_DIRECTORY] < 0 ? fds[CREW__FD_DIRECTORY] : 0;
}

static void set_name(struct crew__slot *slot, const struct crew_process_options *o, uint32_t id)
{
	if (o->name) {
		snprintf(slot->name, sizeof slot->name, "%s", o->name);
	} else if (o->argv) {
		const char *slash = strrchr(o->argv[0], '/');
		snprintf(slot->name, sizeof slot->name, "%s", slash ? slash + 1 : o->argv[0]);
	} else {
		snprintf(slot->name, sizeof slot->name, "process-%u", crew__number(id));
	}
}

/* Claim a slot for it and start it. */
static int start_in_slot(struct crew__start *start, int *fds, const char *body, struct crew_process *process,
		const struct crew_process_options *o)
{
	__atomic_store_n(&crew__slot_get(crew__family.self)->has_started, 1, __ATOMIC_SEQ_CST); /* before there is anything to look for */
	uint32_t id = crew__slot_claim(crew__family.self);
	if (!id)
		return -EAGAIN;
	struct crew__slot *slot = crew__slot_get(id);
	set_name(slot, o, id);
	slot->detached = start->detached;
	slot->forked = start->forked;
	start->slot = id;
	start->parent = crew__family.self;
	*process = (struct crew_process){ .family = crew__families, .id = id, .owner = crew__family.self, .pidfd = -1,
		.forked = start->forked, .detached = start->detached };
	memcpy(process->name, slot->name, sizeof process->name);
	int r = crew__order(start, fds, body, process);
	if (r < 0)
		crew__slot_release(id);
	else if (crew_trace_on())
		crew_trace_event("process", "start", process->pid);
	return r;
}

int crew_process_start_sized(struct crew_process **ret, const struct crew_process_options *options, size_t options_size)
{
	struct crew_process_options o;
	if (!crew__family.self)
		return -ENOTCONN;
	int r = crew__options(&o, sizeof o, options, options_size);
	if (r < 0 || !valid(&o))
		return -EINVAL;

	struct crew__start start = { .function = o.function, .pointer = (void *)(uintptr_t)o.argument,
		.argument_size = o.argument_size, .cpus_size = o.cpus_size, .limit_count = o.limit_count,
		.nice = getpriority(PRIO_PROCESS, 0) + o.nice, .own_env = o.env != NULL, .detached = o.detached,
		.forked = o.method == CREW_FORK };
	struct layout body = { 0 };
	lay_out(&body, &start, &o);
	struct crew_process *process = crew__malloc(sizeof *process);
	int fds[CREW__FD_COUNT];
	r = gather(&o, fds);
	if (r == 0 && (!process || (body.used && !(body.memory = crew__malloc_aligned(64, body.used)))))
		r = -ENOMEM;
	if (r == 0) {
		body.used = 0;
		lay_out(&body, &start, &o);
		r = start_in_slot(&start, fds, body.memory, process, &o);
	}
	free(body.memory);
	crew__close(&fds[CREW__FD_DIRECTORY]);
	if (r < 0)
		free(process);
	else
		*ret = process;
	return r;
}
