/* program_process_creation.c - what it computes, and the rows that it measures */
#include "harness.h"
#include "program.h"

#include <jansson.h>
#include <string.h>

TEST(squares_and_cubes_are_right)
{
	struct program_run run = program_run("process_creation --quick --count=12 --workers=1");
	ck_assert_msg(run.status == 0, "%s", run.err);
	ck_assert_ptr_nonnull(strstr(run.out, ": 1 4 9 16 25 36 49 64 81 100 ...\n"));
	ck_assert_ptr_nonnull(strstr(run.out, ": 1 8 27 64 125 216 343 512 729 1000 ...\n"));
	ck_assert_ptr_null(strstr(run.out, "\n  - ")); /* no lesson failed */
	program_forget(&run);
}

TEST(every_method_has_a_row_for_every_size, .timeout = 60)
{
	static const char *const methods[] = { "fork", "vfork", "posix_spawn", "clone3", "crew_zygote", "crew_pool", "pthread" };
	struct program_run run = program_run("process_creation --quick --json");
	ck_assert_msg(run.status == 0, "%s", run.err);
	json_t *top = json_loads(run.out, JSON_REJECT_DUPLICATES, NULL), *row;
	json_t *rows = json_object_get(top, "rows");
	size_t i, seen = 0, sizes = *run.err ? 0 : 3; /* a size is left out, with a note, where memory is short */
	json_array_foreach(rows, i, row) {
		for (size_t m = 0; m < sizeof methods / sizeof *methods; m++)
			seen += strcmp(json_string_value(json_object_get(row, "method")), methods[m]) == 0;
		int mib = (int)json_integer_value(json_object_get(row, "parent_mib"));
		ck_assert(mib == 0 || mib == 100 || mib == 1024);
		ck_assert(json_number_value(json_object_get(row, "microseconds")) > 0);
	}
	ck_assert_uint_eq(seen, json_array_size(rows));
	ck_assert_uint_ge(seen, sizes * sizeof methods / sizeof *methods);
	json_decref(top);
	program_forget(&run);
}

/* Nobody can touch 1 GiB here: that size is left out, and said to be. */
TEST(a_size_for_which_memory_is_short_is_left_out)
{
#ifdef __SANITIZE_ADDRESS__
	SKIP("the sanitizer needs more address space than that");
#endif
	struct program_run run = program_run("ulimit -v 1000000; process_creation --quick --json");
	ck_assert_int_eq(run.status, 0);
	ck_assert_ptr_nonnull(strstr(run.err, "1024 MiB"));
	ck_assert_ptr_null(strstr(run.out, "\"parent_mib\": 1024"));
	program_forget(&run);
}
