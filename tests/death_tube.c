/* death_tube.c - processes killed at every instruction of an operation on a tube: what was written is there whole, then the end */
#include "family.h"

#include <string.h>
#include <crew/crew.h>
#include "death/killpoint.h"

enum { PIECE = 700 };

static struct shared {
	struct crew_tube tube;
	struct crew_tube back;
	char piece[PIECE];
} *s;

static void begin(void)
{
	s = family_begin(sizeof *s);
	for (unsigned i = 0; i < PIECE; i++)
		s->piece[i] = (char)('a' + i % 26);
}

static void end(void)
{
	family_end(s);
}

static void fresh(void *shared)
{
	(void)shared;
	crew_tube_fini(&s->tube);
	crew_tube_fini(&s->back);
	s->tube.size_kib_ = 2;
}

static void join_in(void *shared)
{
	void *block;
	(void)shared;
	do_or_exit(crew_alloc(2048, &block));
	crew_free(block);
}

static void write_before(void *shared)
{
	(void)shared;
	do_or_exit(crew_tube_write(&s->tube, s->piece, PIECE, NULL, CREW_POLL));
}

static void write_piece(void *shared)
{
	(void)shared;
	do_or_exit(crew_tube_write(&s->tube, s->piece, PIECE, NULL, CREW_POLL));
}

static unsigned pieces_inside(void)
{
	char data[PIECE];
	unsigned count = 0;
	for (;; count++) {
		size_t size;
		int r = crew_tube_read_all(&s->tube, data, PIECE, &size, crew_after(10 * CREW_SECOND));
		if (r == CREW_END_OF_DATA) {
			ck_assert_uint_eq(size, 0);
			return count;
		}
		must(r);
		ck_assert_int_eq(memcmp(data, s->piece, PIECE), 0);
	}
}

/* If the victim never came to be the writer, there is nobody to end the data. */
static void check_nothing_more(unsigned least, unsigned most)
{
	crew__lane_reap_all();
	if (!s->tube.process_[CREW_TUBE_WRITER])
		must(crew_tube_close(&s->tube, CREW_TUBE_WRITER));
	unsigned count = pieces_inside();
	ck_assert(least <= count && count <= most);
	crew_tube_fini(&s->tube);
	crew_tube_fini(&s->back);
	crew__lane_reap_all();
	ck_assert_uint_eq(blocks(), blocks_before);
}

static void check_first(void *shared, bool completed)
{
	(void)shared;
	check_nothing_more(completed, 1);
}

static void check_second(void *shared, bool completed)
{
	(void)shared;
	check_nothing_more(1 + completed, 2);
}

/* A reader that dies: the writer hears of it, and what is left can be read by nobody, but is freed. */
static void written(void *shared)
{
	fresh(shared);
	write_piece(shared);
}

static void read_before(void *shared)
{
	char data[10];
	(void)shared;
	do_or_exit(crew_tube_read_all(&s->tube, data, sizeof data, NULL, CREW_POLL));
}

static void read_piece(void *shared)
{
	char data[PIECE];
	(void)shared;
	do_or_exit(crew_tube_read_all(&s->tube, data, PIECE - 10, NULL, CREW_POLL));
}

static void check_reader(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	size_t size;
	int r = 0;
	crew__lane_reap_all();
	while (r == 0)
		r = crew_tube_write(&s->tube, s->piece, PIECE, &size, crew_after(10 * CREW_SECOND));
	ck_assert_int_eq(r, -EPIPE);
	crew_tube_fini(&s->tube);
	ck_assert_uint_eq(blocks(), blocks_before);
}

static void close_writer(void *shared)
{
	(void)shared;
	do_or_exit(crew_tube_close(&s->tube, CREW_TUBE_WRITER));
}

static void check_closed(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	check_nothing_more(1, 1);
}

static const struct killpoint operations[] = {
	{ "the first write of a tube", .before = fresh, .prepare = join_in, .operation = write_piece, .check = check_first },
	{ "a write", .before = fresh, .prepare = write_before, .operation = write_piece, .check = check_second },
	{ "a read", .before = written, .prepare = read_before, .operation = read_piece, .check = check_reader },
	{ "a close", .before = fresh, .prepare = write_before, .operation = close_writer, .check = check_closed },
};

KILL_EVERYWHERE(operations, begin, s, end)
