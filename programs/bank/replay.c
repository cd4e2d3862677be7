/*
 * replay.c - the balances after all transactions of a ledger, computed in parallel, exact to the cent
 *
 *     transaction,account,date,kind,amount
 *     695247,2378,1993-01-01,credit,700.00
 *
 * Addition does not care about order, so no account needs a lock: the file is cut into pieces at line ends, a task
 * each; a task sums up what its lines do to each account; the sums of all pieces are added up. Sums of a
 * piece are of 128 bits, so no intermediate result overflows; a balance has to fit 64 bits of cents.
 *
 * A file with any mistake has no balances: the first bad line is told, whichever task found one first.
 */
#include "bank.h"
#include "input.h"
#include "start.h"
#include "stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER "transaction,account,date,kind,amount\n"
#define PIECE ((size_t)256 * 1024)

__extension__ typedef __int128 cents128;

struct sum {
	uint64_t account;
	cents128 cents;
};

struct piece {
	size_t begin, end; /* takes the lines that start in [begin, end) of the file */
};

/* What a task makes of a piece: sums by account, or the first mistake. */
struct harvest {
	struct sum *sums; /* in shared memory */
	size_t count;
	uint64_t rows;
	cents128 total;   /* of all rows as they came */
	size_t bad_at;    /* where in the file the bad line starts, */
	const char *bad;  /* and what is wrong with it; NULL: nothing */
};

/* --- one line --- */

struct cursor {
	const char *at, *end;
	const char *bad;
};

static bool bad(struct cursor *c, const char *reason)
{
	if (!c->bad)
		c->bad = reason;
	return false;
}

static bool take(struct cursor *c, const char *text)
{
	size_t size = strlen(text);
	if ((size_t)(c->end - c->at) < size || memcmp(c->at, text, size) != 0)
		return false;
	c->at += size;
	return true;
}

/* Digits, at least one, that fit. */
static bool take_number(struct cursor *c, uint64_t *number)
{
	const char *begin = c->at;
	bool fits = true;
	*number = 0;
	for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
		fits = fits && !__builtin_mul_overflow(*number, 10, number)
			&& !__builtin_add_overflow(*number, (unsigned)(*c->at - '0'), number);
	return c->at > begin && fits;
}

static bool take_date(struct cursor *c)
{
	static const uint64_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	const char *begin = c->at;
	uint64_t year, month, day;
	if (!take_number(c, &year) || c->at - begin != 4 || !take(c, "-") || !take_number(c, &month)
			|| c->at - begin != 7 || !take(c, "-") || !take_number(c, &day) || c->at - begin != 10)
		return false;
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] + (month == 2 && leap);
}

static bool take_amount(struct cursor *c, int64_t *cents)
{
	uint64_t whole, part = 0;
	if (!take_number(c, &whole))
		return false;
	if (take(c, ".")) {
		const char *begin = c->at;
		if (!take_number(c, &part) || c->at - begin > 2)
			return false;
		if (c->at - begin == 1)
			part *= 10;
	}
	return !__builtin_mul_overflow(whole, 100, cents) && !__builtin_add_overflow(*cents, part, cents);
}

/* One line with its LF: what it does to which account. */
static bool take_row(struct cursor *c, uint64_t *account, int64_t *cents)
{
	uint64_t transaction;
	if (!take_number(c, &transaction) || !take(c, ","))
		return bad(c, "the transaction is no number below 2^64");
	if (!take_number(c, account) || *account > INT64_MAX || !take(c, ","))
		return bad(c, "the account is no number below 2^63");
	if (!take_date(c) || !take(c, ","))
		return bad(c, "the date is not a day as in 1993-01-31");
	bool credit = take(c, "credit,");
	if (!credit && !take(c, "debit,"))
		return bad(c, "the kind is neither credit nor debit");
	if (!take_amount(c, cents) || (c->at < c->end && *c->at != '\n' && *c->at != '\r'))
		return bad(c, "the amount is not a number with at most two decimals, up to 92233720368547758.07");
	if (c->at == c->end)
		return bad(c, "the line has no end: was the file cut off?");
	if (!take(c, "\n"))
		return bad(c, "the line does not end with LF alone");
	if (!credit)
		*cents = -*cents;
	return true;
}

/* --- one piece --- */

static int by_account(const void *a, const void *b)
{
	const struct sum *left = a, *right = b;
	return (left->account > right->account) - (left->account < right->account);
}

/* Sort by account and make one sum of those of the same; returns how many are left. */
static size_t fold(struct sum *sums, size_t count)
{
	qsort(sums, count, sizeof *sums, by_account);
	size_t kept = 0;
	for (size_t i = 0; i < count; i++)
		if (kept && sums[kept - 1].account == sums[i].account)
			sums[kept - 1].cents += sums[i].cents;
		else
			sums[kept++] = sums[i];
	return kept;
}

static size_t count_lines(const char *data, size_t size)
{
	size_t lines = 0;
	for (const char *p = data, *end = data + size; (p = memchr(p, '\n', (size_t)(end - p))); p++)
		lines++;
	return lines;
}

static int harvest_piece(const void *argument, void *result, void *context)
{
	const struct piece *piece = argument;
	struct harvest *harvest = result;
	const struct input *ledger = context;
	const char *begin = ledger->data + piece->begin, *end = ledger->data + piece->end;
	if (begin[-1] != '\n') { /* a line that began before belongs to the piece before */
		begin = memchr(begin, '\n', (size_t)(end - begin));
		if (!begin)
			return 0;
		begin++;
	}
	int r = crew_alloc((count_lines(begin, (size_t)(end - begin)) + 1) * sizeof *harvest->sums,
		(void **)&harvest->sums);
	if (r < 0)
		return r;
	struct cursor c = { .at = begin, .end = ledger->data + ledger->size };
	while (c.at < end) {
		const char *line = c.at;
		struct sum *sum = &harvest->sums[harvest->count];
		int64_t cents;
		if (!take_row(&c, &sum->account, &cents)) {
			harvest->bad = c.bad;
			harvest->bad_at = (size_t)(line - ledger->data);
			break;
		}
		sum->cents = cents;
		harvest->total += cents;
		harvest->rows++;
		harvest->count++;
	}
	harvest->count = fold(harvest->sums, harvest->count);
	return 0;
}

/* --- the whole --- */

static bool fits(cents128 cents)
{
	return cents >= INT64_MIN && cents <= INT64_MAX;
}

/* Some balance does not fit: the line where one first leaves the range, and whose. Line by line, as it happened. */
static uint64_t find_overflow(const struct input *ledger, struct sum *sums, size_t count, uint64_t *account)
{
	for (size_t i = 0; i < count; i++)
		sums[i].cents = 0;
	struct cursor c = { .at = ledger->data + strlen(HEADER), .end = ledger->data + ledger->size };
	int64_t cents;
	for (uint64_t line = 2; take_row(&c, account, &cents); line++) {
		struct sum *sum = bsearch(&(struct sum){ .account = *account }, sums, count, sizeof *sums, by_account);
		sum->cents += cents;
		if (!fits(sum->cents))
			return line;
	}
	return 0; /* not reached: the final balance does not fit */
}

static char *balance_text(char text[static 32], int64_t cents)
{
	uint64_t size = cents < 0 ? -(uint64_t)cents : (uint64_t)cents;
	snprintf(text, 32, "%s%" PRIu64 ".%02" PRIu64, cents < 0 ? "-" : "", size / 100, size % 100);
	return text;
}

/* Cut the file into pieces and let the workers have them; returns what they found, in the order of the file. */
static struct harvest *harvest_all(const struct cli *cli, const struct input *ledger, size_t *ret_count)
{
	size_t header = strlen(HEADER), count = (ledger->size - header + PIECE - 1) / PIECE;
	struct piece *pieces = cli_need(calloc(count + 1, sizeof *pieces));
	struct harvest *harvest = cli_need(calloc(count + 1, sizeof *harvest));
	for (size_t i = 0; i < count; i++) {
		pieces[i].begin = header + i * PIECE;
		pieces[i].end = i + 1 < count ? pieces[i].begin + PIECE : ledger->size;
	}
	struct crew_pool *pool = start_pool(cli, &(struct crew_pool_options){ .context = ledger,
		.context_size = sizeof *ledger, .name = "replay" });
	struct crew_failure failure = { 0 };
	int r = crew_pool_map(pool, harvest_piece, pieces, sizeof *pieces, harvest, sizeof *harvest, count,
		&(struct crew_map_options){ .chunk = 1, .failure = &failure });
	if (r < 0)
		cli_lack("%s: %s %s", ledger->path, crew_strerror(failure.error ? failure.error : r), failure.message);
	crew_pool_terminate(pool);
	free(pieces);
	*ret_count = count;
	return harvest;
}

/* What the whole file does to each account, sorted. Blocks are given back. */
static struct sum *add_up(const struct harvest *harvest, size_t pieces, size_t *ret_count)
{
	size_t count = 0;
	for (size_t i = 0; i < pieces; i++)
		count += harvest[i].count;
	struct sum *sums = cli_need(calloc(count + 1, sizeof *sums));
	count = 0;
	for (size_t i = 0; i < pieces; i++) {
		if (harvest[i].count)
			memcpy(sums + count, harvest[i].sums, harvest[i].count * sizeof *sums);
		count += harvest[i].count;
		crew_free(harvest[i].sums);
	}
	*ret_count = fold(sums, count);
	return sums;
}

static void print(struct report *report, const struct cli *cli, const struct sum *sums, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char text[32];
		balance_text(text, (int64_t)sums[i].cents);
		report_say(report, "%" PRIu64 ",%s\n", sums[i].account, text);
		if (cli->json) {
			struct json_t *row = report_row(report);
			report_uint(row, "account", sums[i].account);
			report_str(row, "balance", text);
		}
	}
	report_no_table(report);
}

int bank_replay(const struct cli *cli, const struct input *ledger)
{
	struct cursor head = { .at = ledger->data, .end = ledger->data + ledger->size };
	if (!take(&head, HEADER))
		cli_die_input(ledger->path, 1, "the first line is not 'transaction,account,date,kind,amount', ended by LF");

	double begin = stats_clock();
	size_t pieces, count;
	struct harvest *harvest = harvest_all(cli, ledger, &pieces);
	struct harvest all = { .bad = NULL };
	for (size_t i = 0; i < pieces && !all.bad; i++) { /* in order: the first bad piece has the first bad line */
		all.bad = harvest[i].bad;
		all.bad_at = harvest[i].bad_at;
		all.rows += harvest[i].rows;
		all.total += harvest[i].total;
	}
	struct sum *sums = add_up(harvest, pieces, &count);
	free(harvest);
	uint64_t account, line = all.bad ? 1 + count_lines(ledger->data, all.bad_at) : 0;
	cents128 balances = 0;
	for (size_t i = 0; i < count && !line; i++) {
		balances += sums[i].cents;
		if (!fits(sums[i].cents))
			line = find_overflow(ledger, sums, count, &account);
	}
	if (line) {
		free(sums);
		if (all.bad)
			cli_die_input(ledger->path, line, "%s", all.bad);
		cli_die_input(ledger->path, line, "the balance of account %" PRIu64 " goes beyond 92233720368547758.07", account);
	}

	struct report *report = report_open(cli);
	print(report, cli, sums, count);
	free(sums);
	report_seconds(report, stats_clock() - begin);
	report_uint(report_top(report), "transactions", all.rows);
	report_check(report, all.rows + 1 == count_lines(ledger->data, ledger->size),
		"%" PRIu64 " rows were read, the file has another number of lines", all.rows);
	report_check(report, all.total == balances, "the balances do not add up to the amounts");
	return report_finish(report);
}
