/*
 * deadlock.c - who waits for whom, as a list and as text
 *
 * A walk through the lanes while they run: each line was true when it was looked at; of circles see sync/circle.c.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <crew/deadlock.h>
#include "base/sys.h"
#include "sync/board.h"
#include "sync/circle.h"

/* Whether a thread is stopped, as /proc says. */
static bool is_stopped(pid_t tid)
{
	char path[40], text[200];
	snprintf(path, sizeof path, "/proc/%d/stat", (int)tid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	const char *at = strrchr(text, ')'); /* the name may hold spaces and brackets */
	return at && at[1] && (at[2] == 'T' || at[2] == 't');
}

static void tell_thread(const struct crew__lane *lane, pid_t *pid, pid_t *tid, char name[32])
{
	const struct crew__slot *slot = crew__slot_get(__atomic_load_n(&lane->process, __ATOMIC_ACQUIRE));
	*pid = slot ? slot->pid : 0;
	*tid = (pid_t)__atomic_load_n(&lane->tid, __ATOMIC_RELAXED);
	if (slot)
		memcpy(name, slot->name, 32);
	name[31] = '\0';
}

static const char *kind_of(uint64_t wants, const struct crew__lane *holder)
{
	switch (crew__hold_kind(wants)) {
	case CREW__HOLD_PERMIT: return "permits of semaphore";
	case CREW__HOLD_READ: return "readers of rwlock";
	default: return crew__hold_search(holder, wants) >= 0 ? "lock" : "writer or section at";
	}
}

static void tell(struct crew_waiting *ret, const struct crew__lane *lane, const struct crew__lane *holder, uint64_t wants,
		unsigned circle)
{
	*ret = (struct crew_waiting){ .object = crew__hold_object(wants), .kind = kind_of(wants, holder), .circle = circle };
	tell_thread(lane, &ret->pid, &ret->tid, ret->process);
	tell_thread(holder, &ret->holder_pid, &ret->holder_tid, ret->holder_process);
	ret->holder_stopped = is_stopped(ret->holder_tid);
	crew__name_of(ret->object, ret->object_name, sizeof ret->object_name);
}

/* Give all lanes of the circle that this one is in its number, if it is in one. Whether it is a new one. */
static bool number_circle(unsigned *circle_of, uint32_t lanes, uint32_t number, unsigned next)
{
	struct crew__circle circle, other;
	if (circle_of[number] || !crew__circle_find(&circle, number))
		return false;
	for (uint32_t i = 0; i < circle.count; i++)
		if (circle.lane[i] < lanes && (i == 0 || crew__circle_find(&other, circle.lane[i])))
			circle_of[circle.lane[i]] = next;
	return true;
}

int crew_waiting_list(struct crew_waiting *ret, unsigned count)
{
	if (!crew__family.self)
		return -ENOTCONN;
	uint32_t lanes = __atomic_load_n(&crew__family.region->lanes_high, __ATOMIC_ACQUIRE), sleep;
	unsigned found = 0, circles = 0, *circle_of = calloc(lanes, sizeof *circle_of);
	if (!circle_of)
		return -ENOMEM;
	for (uint32_t number = 1; number < lanes; number++) {
		const struct crew__lane *lane = crew__lane_at(number);
		uint64_t wants;
		if (!crew__waits(lane, &wants, &sleep))
			continue;
		circles += number_circle(circle_of, lanes, number, circles + 1);
		for (uint32_t holder = 0; (holder = crew__next_holder(wants, holder + 1)); found++)
			if (found < count)
				tell(&ret[found], lane, crew__lane_at(holder), wants, circle_of[number]);
	}
	free(circle_of);
	return (int)found;
}

static void print(FILE *stream, const struct crew_waiting *w, const char *indent)
{
	fprintf(stream, "%sprocess %d%s%s, thread %d, waits for %s %s, held by ", indent, (int)w->pid, w->process[0] ? " " : "",
		w->process, (int)w->tid, w->kind, w->object_name);
	if (w->holder_pid != w->pid)
		fprintf(stream, "process %d%s%s, ", (int)w->holder_pid, w->holder_process[0] ? " " : "", w->holder_process);
	fprintf(stream, "thread %d%s\n", (int)w->holder_tid, w->holder_stopped ? " (stopped)" : "");
}

int crew_deadlock_report(FILE *stream)
{
	enum { MOST = 1024 };
	struct crew_waiting *list = malloc(MOST * sizeof *list);
	if (!list)
		return -ENOMEM;
	int count = crew_waiting_list(list, MOST);
	unsigned circle = 0;
	if (count >= 0) {
		int seen = count < MOST ? count : MOST;
		for (bool any = true; any; circle += any) {
			unsigned threads = 0;
			any = false;
			for (int i = 0; i < seen; i++)
				threads += list[i].circle == circle + 1 && (i == 0 || list[i].tid != list[i - 1].tid);
			any = threads > 0;
			if (any)
				fprintf(stream, "deadlock: %u threads wait for each other\n", threads);
			for (int i = 0; any && i < seen; i++)
				if (list[i].circle == circle + 1)
					print(stream, &list[i], "  ");
		}
		for (int i = 0; i < seen; i++)
			if (!list[i].circle)
				print(stream, &list[i], "");
		if (count > seen)
			fprintf(stream, "... and %d more\n", count - seen);
	}
	free(list);
	return count < 0 ? count : ferror(stream) ? -EIO : (int)circle;
}
