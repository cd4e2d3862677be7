/* program_fibonacci.c - answers of fibonacci, and what it refuses */
#include "harness.h"
#include "program.h"

#include <string.h>

static void check(const char *arguments, const char *wanted)
{
	struct program_run run = program_run("fibonacci %s", arguments);
	ck_assert_msg(run.status == 0 && strcmp(run.out, wanted) == 0 && !*run.err,
		"%s: status %d, %.200s%s", arguments, run.status, run.out, run.err);
	program_forget(&run);
}

TEST(prints_exact_numbers_in_the_order_given)
{
	check("0 1 2 10 2", "F(0) = 0\nF(1) = 1\nF(2) = 1\nF(10) = 55\nF(2) = 1\n");
	check("93 94 100", "F(93) = 12200160415121876738\nF(94) = 19740274219868223167\n"
		"F(100) = 354224848179261915075\n");
	check("--serial 100", "F(100) = 354224848179261915075\n");
}

TEST(adds_up_every_number_to_the_next)
{
	struct program_run run = program_run("fibonacci $(seq 0 400) | sed 's/.*= //' |"
		"awk 'length($1) > 15 { exit } NR > 2 && $1 != a + b { bad = 1 } { a = b; b = $1; n++ } END { print n, bad + 0 }'");
	ck_assert_str_eq(run.out, "74 0\n"); /* doubles are exact so far */
	program_forget(&run);
}

TEST(recursion_agrees, .timeout = 60)
{
	check("--naive 0 1 2 3 23 24 25 39 40", "F(0) = 0\nF(1) = 1\nF(2) = 1\nF(3) = 2\nF(23) = 28657\n"
		"F(24) = 46368\nF(25) = 75025\nF(39) = 63245986\nF(40) = 102334155\n");
	check("--naive --chaos=50 --workers=3 38", "F(38) = 39088169\n");
}

TEST(has_all_digits_of_the_millionth)
{
	struct program_run run = program_run("fibonacci 1000000");
	ck_assert_int_eq(run.status, 0);
	ck_assert_uint_eq(run.out_size, strlen("F(1000000) = ") + 208988 + 1);
	ck_assert(strncmp(run.out, "F(1000000) = 195328212870775773163201494", 40) == 0);
	ck_assert_str_eq(run.out + run.out_size - 21, "68996526838242546875\n");
	program_forget(&run);
}

/* A number large enough to be cut into many tasks. */
TEST(answers_alike_whoever_dies, .timeout = 120)
{
	struct program_run one = program_run("fibonacci --workers=1 3000000 7 2000001 5");
	ck_assert_int_eq(one.status, 0);
	ck_assert_str_eq(one.out + one.out_size - strlen("F(5) = 5\n"), "F(5) = 5\n");
	static const char *const options[] = { "--workers=3", "--serial", "--chaos=20" };
	for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
		struct program_run run = program_run("fibonacci %s 3000000 7 2000001 5", options[i]);
		ck_assert_msg(run.status == 0 && strcmp(run.out, one.out) == 0, "%s: status %d, %s", options[i], run.status, run.err);
		program_forget(&run);
	}
	program_forget(&one);
}

static void check_refused(const char *arguments, int status, const char *reason)
{
	struct program_run run = program_run("fibonacci %s", arguments);
	ck_assert_msg(run.status == status && !*run.out && strstr(run.err, reason),
		"%s: status %d, %.200s%s", arguments, run.status, run.out, run.err);
	program_forget(&run);
}

TEST(refuses_what_it_cannot_compute)
{
	check_refused("10000000001", 2, "10000000001");
	check_refused("1 2 x", 2, "'x'");
	check_refused("1e3", 2, "'1e3'");
	check_refused("-- -1", 2, "'-1'");
	check_refused("''", 2, "''");
	check_refused("--naive 61", 2, "61");
	check_refused("--naive", 2, "N");
}

TEST(shows_the_tour, .timeout = 60)
{
	struct program_run run = program_run("fibonacci --quick");
	ck_assert_msg(run.status == 0, "%s", run.err);
	ck_assert_ptr_nonnull(strstr(run.out, "417975 digits"));
	program_forget(&run);
}
