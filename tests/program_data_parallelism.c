/* program_data_parallelism.c - answers of data_parallelism, and what it refuses */
#include "harness.h"
#include "program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The output for a file of this content, by so many workers. */
static struct program_run aggregate(const char *text, size_t size, const char *options)
{
	const char *dir = program_directory();
	struct program_run run = program_run("data_parallelism %s %s", options, program_file(dir, "file", text, size));
	program_remove(dir);
	return run;
}

static void check_answer(const char *text, const char *wanted)
{
	struct program_run run = aggregate(text, strlen(text), "--workers=2");
	ck_assert_msg(run.status == 0 && strcmp(run.out, wanted) == 0 && !*run.err,
		"%s: status %d, %s%s", text, run.status, run.out, run.err);
	program_forget(&run);
}

TEST(aggregates_exactly)
{
	check_answer("a;1.0\n", "{a=1.0/1.0/1.0}\n");
	check_answer("a;1.0", "{a=1.0/1.0/1.0}\n");
	check_answer("b;-99.9\na;99.9\nb;99.9\n", "{a=99.9/99.9/99.9, b=-99.9/0.0/99.9}\n");
	/* Half a tenth is rounded up, on both sides of zero, and there is no -0.0. */
	check_answer("a;0.1\na;0.2\n", "{a=0.1/0.2/0.2}\n");
	check_answer("a;-0.1\na;-0.2\n", "{a=-0.2/-0.1/-0.1}\n");
	check_answer("a;-0.1\na;0.0\n", "{a=-0.1/0.0/0.0}\n");
	check_answer("a;-0.0\n", "{a=0.0/0.0/0.0}\n");
	check_answer("a;05.0\n", "{a=5.0/5.0/5.0}\n");
	/* Names as bytes: a prefix first, then by value of the byte. */
	check_answer("Zz;1.0\nZ;2.0\n\303\251;3.0\na b, c=d;4.0\n",
		"{Z=2.0/2.0/2.0, Zz=1.0/1.0/1.0, a b, c=d=4.0/4.0/4.0, \303\251=3.0/3.0/3.0}\n");
	/* Names of 8, 16 and 17 bytes, and two that differ in their last byte. */
	check_answer("12345678;1.0\n1234567890123456;2.0\n12345678901234567;3.0\n12345678901234568;4.0\n12345678;2.0\n",
		"{12345678=1.0/1.5/2.0, 1234567890123456=2.0/2.0/2.0, 12345678901234567=3.0/3.0/3.0, "
		"12345678901234568=4.0/4.0/4.0}\n");
}

TEST(takes_ten_thousand_long_names, .timeout = 60)
{
	enum { NAMES = 10000 };
	size_t size = 0;
	char *text = malloc(NAMES * 120);
	for (int i = 0; i < NAMES; i++)
		size += (size_t)sprintf(text + size, "%0100d;1.0\n", i);
	struct program_run run = aggregate(text, size, "--workers=3");
	ck_assert_int_eq(run.status, 0);
	ck_assert_uint_eq(run.out_size, NAMES * (100 + 12 + 2) - 2 + 3);
	program_forget(&run);
	size += (size_t)sprintf(text + size, "one more;1.0\n");
	run = aggregate(text, size, "--workers=3");
	ck_assert_int_eq(run.status, 2);
	ck_assert_ptr_nonnull(strstr(run.err, "/file:10001: more than 10000 different names"));
	program_forget(&run);
	free(text);
}

static void check_malformed(const char *line, size_t size, const char *reason)
{
	/* Deep in a file of several pieces, and again further down: the first is told. */
	enum { GOOD = 200000 };
	char *text = malloc(3 * GOOD * 16), *end = text, wanted[64];
	for (int i = 0; i < GOOD; i++)
		end += sprintf(end, "Hamburg;12.%d\n", i % 10);
	size_t good = (size_t)(end - text);
	end = mempcpy(end, line, size);
	*end++ = '\n';
	end = mempcpy(end, text, good);
	end = mempcpy(end, line, size);
	struct program_run run = aggregate(text, (size_t)(end - text), "--workers=2");
	snprintf(wanted, sizeof wanted, "/file:%d: ", GOOD + 1);
	const char *told = strstr(run.err, wanted);
	ck_assert_msg(run.status == 2 && !*run.out && told && strstr(told, reason)
		&& strchr(told, '\n') && !strchr(told, '\n')[1],
		"'%s': status %d, %.100s%s", line, run.status, run.out, run.err);
	program_forget(&run);
	free(text);
}

TEST(names_the_first_malformed_line, .timeout = 120)
{
	static const struct { const char *line, *reason; } cases[] = {
		{ "", "the line is empty" },
		{ "Hamburg", "no ';'" },
		{ ";1.0", "the name is empty" },
		{ "Hamburg;", "the value" },
		{ "Hamburg;1", "the value" },
		{ "Hamburg;.1", "the value" },
		{ "Hamburg;1.", "the value" },
		{ "Hamburg;1.00", "the value" },
		{ "Hamburg;100.0", "the value" },
		{ "Hamburg;-100.0", "the value" },
		{ "Hamburg;+1.0", "the value" },
		{ "Hamburg;--1.0", "the value" },
		{ "Hamburg; 1.0", "the value" },
		{ "Hamburg;1.0 ", "the value" },
		{ "Hamburg;1.0\r", "the value" },
		{ "Hamburg;1,0", "the value" },
		{ "Hamburg;:.0", "the value" },
		{ "Ham;burg;1.0", "the value" },
		{ "\377;1.0", "not UTF-8" },
		{ "\355\240\200;1.0", "not UTF-8" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_malformed(cases[i].line, strlen(cases[i].line), cases[i].reason);
	check_malformed("Hamburg\0;1.0", 12, "not UTF-8");
	char wide[4096];
	memset(wide, 'x', sizeof wide);
	memcpy(wide + 101, ";1.0", 4);
	check_malformed(wide, 105, "longer than 100 bytes");
	check_malformed(wide, sizeof wide, "longer than 100 bytes");
	memset(wide, 'x', sizeof wide);
	check_malformed(wide, sizeof wide, "no ';'");
}

TEST(makes_the_same_file_whoever_makes_it, .timeout = 60)
{
	const char *dir = program_directory();
	struct program_run run = program_run("cd %s && data_parallelism --generate=300001 --workers=1 a >log &&"
		"data_parallelism --generate=300001 --workers=3 --chaos=20 b >log && cmp a b &&"
		"data_parallelism --generate=300001 --serial b >log && cmp a b && wc -l <a &&"
		"data_parallelism --generate=300001 --seed=2 b >log && ! cmp -s a b", dir);
	ck_assert_msg(run.status == 0, "%s", run.err);
	ck_assert_str_eq(run.out, "300001\n");
	program_forget(&run);
	program_remove(dir);
}

TEST(answers_alike_whoever_dies, .timeout = 60)
{
	const char *dir = program_directory();
	struct program_run run = program_run("cd %s && data_parallelism --generate=3000000 file >log &&"
		"data_parallelism --serial file >serial && data_parallelism --workers=3 file >three && cmp serial three &&"
		"data_parallelism --chaos=50 file >chaos && cmp serial chaos && tr , '\\n' <serial | wc -l", dir);
	ck_assert_msg(run.status == 0, "%s", run.err);
	ck_assert_str_eq(run.out, "415\n"); /* 413 stations, two with a comma in their names */
	program_forget(&run);
	program_remove(dir);
}

TEST(leaves_no_half_file)
{
	const char *dir = program_directory();
	struct program_run run = program_run("cd %s && timeout -s INT 0.3 data_parallelism --generate=1000000000 file; ls", dir);
	ck_assert_str_eq(run.out, "");
	program_forget(&run);
	run = program_run("data_parallelism --generate=1000 /dev/full");
	ck_assert_int_eq(run.status, 3);
	program_forget(&run);
	program_remove(dir);
}

TEST(counts_words)
{
	const char *dir = program_directory();
	static const char text[] = "The \303\234BER-the_the2THE \303\274ber\n\316\243\316\277\317\206\317\214\317\202"
		" \317\203\316\277\317\206\317\214\317\203\377the\303";
	char path[512];
	program_file(dir, "b", text, sizeof text - 1);
	program_file(dir, "empty", "", 0);
	snprintf(path, sizeof path, "%s/below", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	program_file(path, "c", "z y the", 7);
	ck_assert_int_eq(symlink("b", strcat(path, "/link")), 0);
	struct program_run run = program_run("data_parallelism --words %s", dir);
	ck_assert_msg(run.status == 0, "%s", run.err);
	ck_assert_str_eq(run.out, "6 the\n2 \303\274ber\n2 \317\203\316\277\317\206\317\214\317\203\n1 y\n1 z\n");
	program_forget(&run);
	program_remove(dir);
}

/* A word that is longer than the pieces into which its file is cut, and words at every place of a cut. */
TEST(cuts_no_word_in_two, .timeout = 60)
{
	const char *dir = program_directory();
	size_t size = 9 << 20;
	char *text = malloc(size);
	memset(text, 'a', size);
	program_file(dir, "long", text, size);
	for (size_t i = 0; i < size; i += 7)
		memcpy(text + i, " \303\251t\303\251 ", size - i < 7 ? size - i : 7);
	program_file(dir, "short", text, size / 7 * 7);
	struct program_run run = program_run("data_parallelism --words %s --chaos=20 | cut -c 1-20", dir);
	char wanted[64];
	snprintf(wanted, sizeof wanted, "%zu \303\251t\303\251\n1 aaaaaaaaaaaaaaaaaa\n", size / 7);
	ck_assert_str_eq(run.out, wanted);
	program_forget(&run);
	program_remove(dir);
	free(text);
}

TEST(refuses_what_is_no_tree_of_words)
{
	const char *dir = program_directory();
	struct program_run run = program_run("data_parallelism --words %s", dir);
	ck_assert_int_eq(run.status, 2);
	program_forget(&run);
	run = program_run("data_parallelism --words %s", program_file(dir, "file", "1 2", 3));
	ck_assert_int_eq(run.status, 2);
	program_forget(&run);
	run = program_run("data_parallelism --words %s", dir);
	ck_assert_int_eq(run.status, 2);
	ck_assert_str_eq(run.out, "");
	program_forget(&run);
	program_remove(dir);
}
