/* program_bank.c - balances of a ledger, what a ledger must look like, and that no cent is lost, whoever dies */
#include "harness.h"
#include "program.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER "transaction,account,date,kind,amount\n"
#define LEDGER CREW_SOURCE "/data/bank_transactions.csv"

/* --- replay --- */

static struct program_run replay(const char *ledger)
{
	const char *dir = program_directory();
	struct program_run run = program_run("bank --workers=2 --replay=%s", program_file(dir, "ledger", ledger, strlen(ledger)));
	program_remove(dir);
	return run;
}

static void check_balances(const char *rows, const char *wanted)
{
	char *ledger = NULL;
	ck_assert_int_ge(asprintf(&ledger, HEADER "%s", rows), 0);
	struct program_run run = replay(ledger);
	ck_assert_msg(run.status == 0 && strcmp(run.out, wanted) == 0 && !*run.err, "%s: status %d, %s%s", rows, run.status,
		run.out, run.err);
	program_forget(&run);
	free(ledger);
}

/* Status 2, nothing printed, one line that ends with place and reason. */
static void check_refused(const char *ledger, const char *wanted)
{
	struct program_run run = replay(ledger);
	const char *place = strstr(run.err, "/ledger:"), *end = strchr(run.err, '\n');
	ck_assert_msg(run.status == 2 && !*run.out && place && strncmp(place + 8, wanted, strlen(wanted)) == 0 && end && !end[1],
		"%s: status %d, %s%s", ledger, run.status, run.out, run.err);
	program_forget(&run);
}

TEST(real_ledger_is_exact, .timeout = 60)
{
	static const char *const options[] = { "--workers=1", "--workers=2", "--workers=7", "--serial", "--workers=3 --chaos=100" };
	struct program_run first = program_run("bank --replay=%s", LEDGER);
	ck_assert_int_eq(first.status, 0);
	long long cents = 0, before = -1;
	int lines = 0;
	char *text = strdup(first.out);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++) {
		long long account, whole, part;
		ck_assert_int_eq(sscanf(line, "%lld,%lld.%2lld", &account, &whole, &part), 3);
		ck_assert_msg(account > before, "%s", line);
		before = account;
		cents += strchr(line, '-') ? whole * 100 - part : whole * 100 + part;
	}
	free(text);
	ck_assert_int_eq(lines, 1229);
	ck_assert_int_eq(cents, 3924614280);
	ck_assert_ptr_nonnull(strstr(first.out, "\n576,18556.60\n"));
	for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
		struct program_run run = program_run("bank %s --replay=%s", options[i], LEDGER);
		ck_assert_msg(run.status == 0 && strcmp(run.out, first.out) == 0, "%s: another answer", options[i]);
		program_forget(&run);
	}
	program_forget(&first);
}

/* By a language that adds in whole numbers, too, but otherwise. */
TEST(real_ledger_agrees_with_awk, .timeout = 60)
{
	const char *dir = program_directory();
	struct program_run run = program_run("awk -F, 'NR > 1 { split($5, a, \".\"); c = a[1] * 100 + a[2]; "
		"s[$2] += $4 == \"credit\" ? c : -c } END { for (k in s) printf \"%%d,%%.2f\\n\", k, s[k] / 100 }' %s | sort -n >%s/wanted;"
		" bank --replay=%s | cmp - %s/wanted", LEDGER, dir, LEDGER, dir);
	ck_assert_msg(run.status == 0, "%s%s", run.out, run.err);
	program_forget(&run);
	program_remove(dir);
}

TEST(amounts_are_exact)
{
	check_balances("", "");
	check_balances("1,5,1999-01-01,credit,1\n", "5,1.00\n");
	check_balances("1,5,1999-01-01,credit,1.5\n2,5,1999-01-01,debit,0.05\n", "5,1.45\n");
	check_balances("1,5,1999-01-01,debit,0.05\n", "5,-0.05\n");
	check_balances("1,5,1999-01-01,debit,0.00\n", "5,0.00\n");
	check_balances("1,10,2000-02-29,credit,1\n2,9,1999-12-31,credit,2\n", "9,2.00\n10,1.00\n");
	check_balances("1,5,1999-01-01,credit,92233720368547758.07\n", "5,92233720368547758.07\n");
	/* In this order a sum would overflow on its way, if it were of 64 bits and of one piece of the file. */
	check_balances("1,5,1999-01-01,credit,92233720368547758.07\n2,5,1999-01-01,credit,1\n3,5,1999-01-01,debit,1\n",
		"5,92233720368547758.07\n");
	check_balances("1,5,1999-01-01,debit,92233720368547758.07\n2,5,1999-01-01,debit,0.01\n", "5,-92233720368547758.08\n");
}

TEST(refuses_what_is_no_ledger)
{
	check_refused("transaction,account,date,kind\n", "1: the first line");
	check_refused("transaction,account,date,kind,amount", "1: the first line");
	check_refused("transaction,account,date,kind,amount\r\n1,5,1999-01-01,credit,1\r\n", "1: the first line");
	check_refused("1,5,1999-01-01,credit,1\n", "1: the first line");
	check_refused(HEADER "1,5,1999-01-01,credit,1\r\n", "2: the line does not end with LF");
	check_refused(HEADER "1,5,1999-01-01,credit,1", "2: the line has no end");
	check_refused(HEADER "1,5,1999-01-01,credit,1\n2,5,1999-01-0", "3: the date");
	check_refused(HEADER "\n", "2: the transaction");
	check_refused(HEADER "x,5,1999-01-01,credit,1\n", "2: the transaction");
	check_refused(HEADER "1,,1999-01-01,credit,1\n", "2: the account");
	check_refused(HEADER "1,-5,1999-01-01,credit,1\n", "2: the account");
	check_refused(HEADER "1,9223372036854775808,1999-01-01,credit,1\n", "2: the account");
	check_refused(HEADER "1,5,1999-02-29,credit,1\n", "2: the date");
	check_refused(HEADER "1,5,1900-02-29,credit,1\n", "2: the date");
	check_refused(HEADER "1,5,99-01-01,credit,1\n", "2: the date");
	check_refused(HEADER "1,5,1999-01-01,Credit,1\n", "2: the kind");
	check_refused(HEADER "1,5,1999-01-01,credit\n", "2: the kind");
	check_refused(HEADER "1,5,1999-01-01,credit,\n", "2: the amount");
	check_refused(HEADER "1,5,1999-01-01,credit,1.\n", "2: the amount");
	check_refused(HEADER "1,5,1999-01-01,credit,.5\n", "2: the amount");
	check_refused(HEADER "1,5,1999-01-01,credit,1.005\n", "2: the amount");
	check_refused(HEADER "1,5,1999-01-01,credit,-1\n", "2: the amount");
	check_refused(HEADER "1,5,1999-01-01,credit,1e3\n", "2: the amount");
	check_refused(HEADER "1,5,1999-01-01,credit,1,2\n", "2: the amount");
	check_refused(HEADER "1,5,1999-01-01,credit,92233720368547758.08\n", "2: the amount");
	check_refused(HEADER "1,5,1999-01-01,credit,92233720368547758.07\n2,6,1999-01-01,credit,1\n3,5,1999-01-01,credit,0.01\n",
		"4: the balance of account 5 goes beyond");
}

/* The first bad line counts, in whichever piece it is, and whoever finds one first. */
TEST(tells_the_first_bad_line, .timeout = 60)
{
	const char *dir = program_directory();
	struct program_run run = program_run("f=%s/f; sed '20001s/credit/Credit/; 20001s/debit/Debit/; 49000s/,/;/' %s >$f; "
		"bank --workers=3 --replay=$f", dir, LEDGER);
	ck_assert_msg(run.status == 2 && strstr(run.err, "/f:20001: the kind"), "%s", run.err);
	program_forget(&run);
	program_remove(dir);
}

/* --- transfers --- */

static json_t *rows_of(const char *options)
{
	struct program_run run = program_run("bank --json --quick %s", options);
	ck_assert_msg(run.status == 0, "%s: status %d, %s", options, run.status, run.err);
	json_t *top = json_loads(run.out, 0, NULL);
	ck_assert_ptr_nonnull(top);
	json_t *rows = json_incref(json_object_get(top, "rows"));
	json_decref(top);
	program_forget(&run);
	return rows;
}

static long long number(const json_t *row, const char *key)
{
	ck_assert_msg(json_is_integer(json_object_get(row, key)), "no %s", key);
	return json_integer_value(json_object_get(row, key));
}

TEST(only_the_race_loses_money, .timeout = 60)
{
	static const char *const names[] = { "none", "lock", "atomic", "striped", "ordered", "unordered", "journal", "optimistic", "owner" };
	json_t *rows = rows_of("--workers=3 --skew=1"), *row;
	ck_assert_uint_eq(json_array_size(rows), 9);
	size_t i;
	json_array_foreach(rows, i, row) {
		ck_assert_str_eq(json_string_value(json_object_get(row, "strategy")), names[i]);
		ck_assert_int_gt(number(row, "transfers"), 0);
		if (i == 0)
			ck_assert(number(row, "missing_cents") != 0 || json_is_true(json_object_get(row, "not_observed")));
		else
			ck_assert_int_eq(number(row, "missing_cents"), 0);
		if (i != 0 && i != 2)
			ck_assert_int_eq(number(row, "bad_audits"), 0);
	}
	json_decref(rows);
}

/* Few accounts, many clerks, and somebody dies every other millisecond: the program compares each balance itself. */
TEST(nothing_is_lost_when_clerks_are_killed, .timeout = 120)
{
	json_t *rows = rows_of("--workers=4 --accounts=5 --chaos=300 --seconds=0.4 lock atomic striped ordered unordered journal optimistic owner"), *row;
	ck_assert_uint_eq(json_array_size(rows), 8);
	size_t i;
	json_array_foreach(rows, i, row) {
		ck_assert_int_eq(number(row, "missing_cents"), 0);
		if (i != 1)
			ck_assert_int_eq(number(row, "bad_audits"), 0);
		ck_assert_int_gt(number(row, "deaths"), 0);
		ck_assert_int_gt(number(row, "rolled_back"), 0);
	}
	json_decref(rows);
}

TEST(carries_out_as_many_transfers_as_asked, .timeout = 60)
{
	json_t *rows = rows_of("--transfers=10007 --workers=3 --chaos=100 lock atomic striped ordered unordered journal optimistic owner"), *row;
	size_t i;
	json_array_foreach(rows, i, row)
		ck_assert_int_eq(number(row, "transfers"), 10007);
	json_decref(rows);
}

/* Orders that look before they take: what the balances may never be is checked by the program itself. */
TEST(smallbank_keeps_its_invariants_when_clerks_are_killed, .timeout = 120)
{
	json_t *rows = rows_of("--mix=smallbank --workers=4 --accounts=8 --chaos=300 --seconds=0.4 lock atomic striped ordered unordered journal optimistic owner"), *row;
	ck_assert_uint_eq(json_array_size(rows), 8);
	size_t i;
	json_array_foreach(rows, i, row) {
		ck_assert_int_eq(number(row, "missing_cents"), 0);
		ck_assert_int_gt(number(row, "rolled_back"), 0);
		ck_assert_int_gt(number(row, "refused"), 0);
		if (i == 1)
			continue;
		ck_assert_int_eq(number(row, "bad_audits"), 0);
		ck_assert_int_eq(number(row, "overdrawn"), 0);
	}
	json_decref(rows);
}

/* One clerk: the program compares each balance with what the same orders make of it one after the other. */
TEST(smallbank_of_one_clerk_is_exact, .timeout = 60)
{
	json_decref(rows_of("--mix=smallbank --serial --transfers=20011 --chaos=50 lock atomic striped ordered unordered journal optimistic owner"));
}

/* Few accounts in everybody's way: circles are found, told and broken, and no clerk hangs. */
TEST(circles_are_found_and_broken, .timeout = 60)
{
	struct program_run run = program_run("bank --workers=4 --accounts=4 --seconds=0.5 unordered");
	ck_assert_msg(run.status == 0 && strstr(run.out, "waits for account["), "status %d, %s%s", run.status, run.out, run.err);
	program_forget(&run);
}

TEST(tells_how_long_an_order_takes, .timeout = 60)
{
	json_t *rows = rows_of("lock owner"), *row;
	size_t i;
	json_array_foreach(rows, i, row) {
		double p50 = json_real_value(json_object_get(row, "p50_ns")), p99 = json_real_value(json_object_get(row, "p99_ns")),
			p999 = json_real_value(json_object_get(row, "p999_ns"));
		ck_assert(0 < p50 && p50 <= p99 && p99 <= p999);
	}
	json_decref(rows);
}

TEST(baseline_adds_the_rivals, .timeout = 60)
{
	json_t *rows = rows_of("--baseline --workers=2 lock");
	ck_assert_uint_ge(json_array_size(rows), 2);
	const json_t *row = json_array_get(rows, 1);
	ck_assert_str_eq(json_string_value(json_object_get(row, "strategy")), "lock, pthread");
	ck_assert(json_real_value(json_object_get(row, "ratio")) > 0);
	json_decref(rows);
}

static void check_usage(const char *arguments, const char *named)
{
	struct program_run run = program_run("bank %s", arguments);
	ck_assert_msg(run.status == 2 && strstr(run.err, named), "%s: status %d, %s", arguments, run.status, run.err);
	program_forget(&run);
}

TEST(refuses_wrong_options)
{
	check_usage("gold", "gold");
	check_usage("--accounts=1", "--accounts");
	check_usage("--skew=-1", "--skew");
	check_usage("--transfers=0", "--transfers");
	check_usage("--seconds=0", "--seconds");
	check_usage("--mix=big", "--mix");
	check_usage("--mix=smallbank --accounts=3", "--accounts");
	check_usage("--replay=x lock", "--replay");
}
