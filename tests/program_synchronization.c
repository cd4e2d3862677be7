/* program_synchronization.c - wrong versions are caught, right ones are right, survivors survive */
#include "harness.h"
#include "program.h"

#include <jansson.h>
#include <string.h>

/* Every row; and of the wrong ones, how many were not observed. */
static void check_rows(const char *options, const char *problem, size_t wanted, size_t wanted_wrong)
{
	struct program_run run = program_run("synchronization --json --quick %s", options);
	ck_assert_msg(run.status == 0, "%s: status %d, %s", options, run.status, run.err);
	json_t *top = json_loads(run.out, 0, NULL), *rows = json_object_get(top, "rows"), *row;
	ck_assert_ptr_nonnull(top);
	ck_assert_uint_eq(json_array_size(rows), wanted);
	size_t i, wrong = 0;
	json_array_foreach(rows, i, row) {
		json_int_t violations = json_integer_value(json_object_get(row, "violations"));
		const char *version = json_string_value(json_object_get(row, "version"));
		ck_assert_str_eq(json_string_value(json_object_get(row, "problem")), problem);
		if (json_is_true(json_object_get(row, "wrong"))) {
			wrong++;
			ck_assert_msg(violations > 0 || json_is_true(json_object_get(row, "not_observed")), "%s", version);
		} else {
			ck_assert_msg(violations == 0, "%s: %d violations", version, (int)violations);
			ck_assert_int_gt(json_integer_value(json_object_get(row, "operations")), 0);
		}
	}
	ck_assert_uint_eq(wrong, wanted_wrong);
	json_decref(top);
	program_forget(&run);
}

/* The whole, with as few processes as possible and with more than there are CPUs. */
static void check_problem(const char *argument, const char *problem, size_t rows, size_t wrong)
{
	char options[64];
	snprintf(options, sizeof options, "--workers=1 %s", argument);
	check_rows(options, problem, rows, wrong);
	snprintf(options, sizeof options, "--workers=9 %s", argument);
	check_rows(options, problem, rows, wrong);
}

TEST(producers_and_consumers, .timeout = 60) { check_problem("producers", "producer-consumer", 5, 2); }
TEST(readers_and_writers, .timeout = 60) { check_problem("readers", "readers-writers", 4, 1); }
TEST(philosophers, .timeout = 60) { check_problem("philosophers", "dining philosophers", 4, 1); }
TEST(phases, .timeout = 60) { check_problem("phases", "barrier phases", 4, 1); }
TEST(rendezvous, .timeout = 60) { check_problem("rendezvous", "rendezvous", 4, 1); }
TEST(limited_resource, .timeout = 60) { check_problem("resource", "limited resource", 3, 1); }

TEST(others_get_what_is_promised_when_one_is_killed_or_stopped, .timeout = 60)
{
	for (int i = 0; i < 2; i++)
		check_rows("deaths", "death", 28, 0);
}

TEST(baseline_adds_prices, .timeout = 120)
{
	struct program_run run = program_run("synchronization --json --quick --baseline rendezvous");
	ck_assert_msg(run.status == 0, "status %d, %s", run.status, run.err);
	json_t *top = json_loads(run.out, 0, NULL), *row;
	size_t i, prices = 0;
	json_array_foreach(json_object_get(top, "rows"), i, row) {
		if (strcmp(json_string_value(json_object_get(row, "problem")), "price") != 0)
			continue;
		prices++;
		ck_assert(json_real_value(json_object_get(row, "pthread_ratio")) > 0);
	}
	ck_assert_uint_eq(prices, 4);
	json_decref(top);
	program_forget(&run);
}

TEST(refuses_what_is_no_problem)
{
	struct program_run run = program_run("synchronization barber");
	ck_assert_int_eq(run.status, 2);
	ck_assert_ptr_nonnull(strstr(run.err, "'barber'"));
	program_forget(&run);
}
