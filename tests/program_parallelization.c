/* program_parallelization.c - what parallelization answers */
#include "harness.h"
#include "program.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double number(const json_t *row, const char *key)
{
	const json_t *value = json_object_get(row, key);
	ck_assert_msg(json_is_number(value), "%s is no number", key);
	return json_number_value(value);
}

static json_t *rows_of(const char *arguments, size_t *ret_count)
{
	struct program_run run = program_run("parallelization --quick --json %s", arguments);
	ck_assert_msg(run.status == 0, "%s", run.err);
	json_t *top = json_loads(run.out, 0, NULL);
	ck_assert_ptr_nonnull(top);
	program_forget(&run);
	*ret_count = json_array_size(json_object_get(top, "rows"));
	return top;
}

/* A row for the serial run, and one for 1, 2, 3 workers, of each of six kernels; figures follow from each other. */
TEST(has_consistent_rows, .timeout = 60)
{
	size_t count, i;
	json_t *top = rows_of("--workers=3", &count), *row;
	ck_assert_uint_eq(count, 6 * 4);
	double serial = 0;
	json_array_foreach(json_object_get(top, "rows"), i, row) {
		double p = number(row, "workers"), speedup = number(row, "speedup"), seconds = number(row, "seconds");
		ck_assert_double_eq(p, i % 4 ? (double)(i % 4) : 1);
		if (i % 4 == 0)
			serial = seconds;
		ck_assert(fabs(speedup - serial / seconds) < 1e-6 * speedup);
		ck_assert(fabs(number(row, "efficiency") - speedup / p) < 1e-6 * speedup);
		if (p > 1)
			ck_assert(fabs(number(row, "serial_fraction") - (1 / speedup - 1 / p) / (1 - 1 / p)) < 1e-6);
		else
			ck_assert(json_is_null(json_object_get(row, "serial_fraction")));
	}
	json_decref(top);
}

TEST(has_the_serial_results_whoever_dies, .timeout = 60)
{
	size_t count;
	json_decref(rows_of("--workers=2 --chaos=20", &count));
	json_decref(rows_of("--serial", &count));
	ck_assert_uint_eq(count, 6 * 2);
}

TEST(draws_speedups, .timeout = 60)
{
	struct program_run run = program_run("parallelization --quick --workers=2 --baseline");
	ck_assert_msg(run.status == 0, "%s", run.err);
	ck_assert_ptr_nonnull(strstr(run.out, "Speed-up"));
	ck_assert_ptr_nonnull(strstr(run.out, "\nn-body           "));
	program_forget(&run);
}
