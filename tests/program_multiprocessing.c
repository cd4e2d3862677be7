/* program_multiprocessing.c - the tour, and the same work in three modes */
#include "harness.h"
#include "program.h"

#include <jansson.h>
#include <string.h>

static json_t *run_json(const char *options)
{
	struct program_run run = program_run("multiprocessing --json %s", options);
	ck_assert_msg(run.status == 0 && !*run.err, "%s: status %d, %s", options, run.status, run.err);
	json_t *top = json_loads(run.out, JSON_REJECT_DUPLICATES, NULL);
	ck_assert_ptr_nonnull(top);
	program_forget(&run);
	return top;
}

TEST(every_step_of_the_tour_holds, .timeout = 60)
{
	json_t *top = run_json("--quick --jobs=1 --count=1");
	ck_assert_int_ge(json_integer_value(json_object_get(top, "steps")), 25);
	ck_assert_int_eq(json_integer_value(json_object_get(top, "steps")), json_integer_value(json_object_get(top, "steps_right")));
	json_decref(top);
}

TEST(the_same_work_in_three_modes, .timeout = 60)
{
	static const char *const modes[] = { "serial", "threads", "processes" };
	static const char *const options[] = { "--workers=1", "--workers=5 --seed=9", "--chaos=50" };
	for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
		char text[128];
		snprintf(text, sizeof text, "--jobs=40 --count=300000 %s", options[i]);
		json_t *top = run_json(text), *rows = json_object_get(top, "rows");
		ck_assert_uint_eq(json_array_size(rows), 3);
		for (size_t m = 0; m < 3; m++) {
			json_t *row = json_array_get(rows, m);
			ck_assert_pstr_eq(json_string_value(json_object_get(row, "mode")), modes[m]);
			ck_assert_int_eq(json_integer_value(json_object_get(row, "jobs")), 40);
			ck_assert(json_number_value(json_object_get(row, "seconds")) > 0);
		}
		json_decref(top);
	}
}

TEST(absurd_numbers_are_refused)
{
	static const char *const options[] = { "--jobs=0", "--jobs=1000001", "--count=0", "--count=1e6", "--count=99999999999999", "word" };
	for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
		struct program_run run = program_run("multiprocessing %s", options[i]);
		ck_assert_msg(run.status == 2 && !*run.out, "%s: status %d, %s", options[i], run.status, run.out);
		program_forget(&run);
	}
}
