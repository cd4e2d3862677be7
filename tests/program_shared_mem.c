/* program_shared_mem.c - what is shared is right, also after crashes */
#include "harness.h"
#include "program.h"

#include <jansson.h>
#include <string.h>

static json_t *run_json(const char *options)
{
	struct program_run run = program_run("shared_mem --json --quick %s", options);
	ck_assert_msg(run.status == 0, "%s: status %d, %s", options, run.status, run.err);
	json_t *top = json_loads(run.out, 0, NULL);
	ck_assert_ptr_nonnull(top);
	program_forget(&run);
	return top;
}

static const json_t *row_of(const json_t *top, const char *name)
{
	const json_t *row;
	size_t i;
	json_array_foreach(json_object_get(top, "rows"), i, row)
		if (strcmp(json_string_value(json_object_get(row, "case")), name) == 0)
			return row;
	ck_abort_msg("no row %s", name);
}

static long long number(const json_t *row, const char *key)
{
	ck_assert_msg(json_is_integer(json_object_get(row, key)), "no %s", key);
	return json_integer_value(json_object_get(row, key));
}

TEST(counts_right_but_for_the_race, .timeout = 60)
{
	json_t *top = run_json("--workers=3");
	const json_t *race = row_of(top, "counter, no protection");
	ck_assert(number(race, "lost") > 0 || json_is_true(json_object_get(race, "not_observed")));
	ck_assert_int_eq(number(row_of(top, "counter, lock"), "lost"), 0);
	ck_assert_int_eq(number(row_of(top, "counter, atomic"), "lost"), 0);
	ck_assert_int_eq(number(row_of(top, "counters, one each, in one line"), "lost"), 0);
	ck_assert_int_eq(number(row_of(top, "counters, one each, a line each"), "lost"), 0);
	ck_assert_int_eq(number(row_of(top, "tree, walked by the others"), "bytes"),
		3 * number(row_of(top, "tree, built by one"), "bytes"));
	json_decref(top);
}

TEST(survives_crashes, .timeout = 60)
{
	json_t *top = run_json("--workers=3 --chaos=200");
	ck_assert_int_eq(number(row_of(top, "crash, in an update"), "deaths"), 4);
	ck_assert_int_gt(number(row_of(top, "map, YCSB A: half are changes"), "changes"), 0);
	ck_assert_int_eq(number(row_of(top, "map, YCSB C: reads alone"), "changes"), 0);
	ck_assert_int_eq(number(row_of(top, "tree, its builder killed"), "deaths"), 1);
	ck_assert_int_gt(number(row_of(top, "tree, its builder killed"), "bytes"), 0);
	ck_assert_int_gt(number(row_of(top, "crash, in crew_alloc and crew_free"), "deaths"), 0);
	json_decref(top);
}

TEST(one_worker_is_enough, .timeout = 60)
{
	json_decref(run_json("--workers=1"));
	json_decref(run_json("--serial"));
}

/* The book outlives its visitors, and is gone when its name is. */
TEST(strangers_share_a_guest_book, .timeout = 60)
{
	struct program_run run = program_run("shared_mem --meet=guests && shared_mem --json --meet=guests --visits=1000 &&"
		" shared_mem --forget=guests && ! shared_mem --forget=guests 2>/dev/null");
	ck_assert_msg(run.status == 0 && strstr(run.out, "\"entries\": 1001"), "status %d, %s%s", run.status, run.out, run.err);
	program_forget(&run);
}

TEST(refuses_wrong_options)
{
	static const char *const wrong[][2] = { { "--visits=0 --meet=x", "--visits" }, { "--visits=2", "--visits" }, { "--meet=a --forget=b", "--forget" } };
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct program_run run = program_run("shared_mem %s", wrong[i][0]);
		ck_assert_msg(run.status == 2 && strstr(run.err, wrong[i][1]), "%s: status %d, %s", wrong[i][0], run.status, run.err);
		program_forget(&run);
	}
}
