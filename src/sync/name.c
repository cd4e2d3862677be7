/*
 * name.c - names of objects, for reports
 *
 * Death    a name is there once its count is set, in the section's last step; before that its place is free.
 */
#include <stdio.h>
#include <string.h>
#include <crew/deadlock.h>
#include "base/sys.h"
#include "sync/board.h"

static void read_name(const struct crew__name *name, struct crew__name *ret)
{
	ret->count = __atomic_load_n(&name->count, __ATOMIC_ACQUIRE);
	ret->first = __atomic_load_n(&name->first, __ATOMIC_RELAXED);
	ret->each = __atomic_load_n(&name->each, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 4; i++)
		ret->text[i] = __atomic_load_n(&name->text[i], __ATOMIC_RELAXED);
}

int crew_name(const void *first, size_t each, size_t count, const char *text)
{
	struct crew__lane *lane;
	size_t bytes;
	if (text && (!each || !count || __builtin_mul_overflow(each, count, &bytes)))
		return -EINVAL;
	int r = crew__lane_for(first, text ? bytes : 1, &lane);
	if (r < 0)
		return r;
	struct crew__board *board = crew__board();
	r = crew__enter(&lane, &board->names_guard, CREW_FOREVER);
	if (r < 0)
		return r;
	struct crew__name *place = NULL, *end = board->name + CREW__NAMES;
	for (struct crew__name *name = board->name; name < end; name++) {
		if (name->count && name->first == crew__offset(first)) {
			crew__set64(lane, &name->count, 0);
			crew__commit(lane); /* the place may be written to from here on */
		}
		if (!place && !name->count)
			place = name;
	}
	if (text && place) {
		uint64_t words[4] = { 0 };
		memcpy(words, text, strnlen(text, sizeof words - 1));
		__atomic_store_n(&place->first, crew__offset(first), __ATOMIC_RELAXED);
		__atomic_store_n(&place->each, each, __ATOMIC_RELAXED);
		for (unsigned i = 0; i < 4; i++)
			__atomic_store_n(&place->text[i], words[i], __ATOMIC_RELAXED);
		crew__set64(lane, &place->count, count);
	}
	crew__leave(lane, &board->names_guard);
	return text && !place ? -ENOSPC : 0;
}

void crew__name_of(const void *object, char *ret, size_t size)
{
	uint64_t at = crew__offset(object);
	for (unsigned i = 0; i < CREW__NAMES; i++) {
		struct crew__name name;
		read_name(&crew__board()->name[i], &name);
		if (!name.count || !name.each || at < name.first || (at - name.first) / name.each >= name.count)
			continue;
		char text[sizeof name.text];
		memcpy(text, name.text, sizeof text);
		text[sizeof text - 1] = '\0';
		if (name.count > 1)
			snprintf(ret, size, "%s[%zu]", text, (size_t)((at - name.first) / name.each));
		else
			snprintf(ret, size, "%s", text);
		return;
	}
	snprintf(ret, size, "%p", object);
}
