/*
 * bank - a bank on shared accounts: the race that loses money, and eight ways not to
 *
 * Clerks, a process each, carry out transfers between random accounts of one shared array, while an
 * auditor counts all the money again and again. Nothing comes in or goes out, so the total must be the
 * same at any moment. Every strategy (bank/strategy.c, read it next) runs for a while:
 *
 *     missing_cents  what the bank has lost (or, negative, made) in the end
 *     bad_audits     counts that came out wrong while the transfers went on
 *     audits         counts in all
 *     p50, p99, p999 how long an order takes, half of them, 99 and 99.9 of a hundred, at most
 *
 * `none` shows the race: it is repeated until money is missing, at most 5 seconds. `atomic` shows that atomic
 * additions keep every cent and are still not enough. The others differ in price alone: see transfers/s, and how
 * it changes with --workers and with --skew=1, where a few accounts are in everybody's way.
 *
 * --chaos=RATE kills clerks, auditor and owner, half of them exactly between debit and credit. The balances
 * must come out as if nobody had died, to the cent: they are compared with a serial computation.
 *
 * --mix=smallbank: instead of plain transfers six kinds of orders on savings and checking accounts (bank/deal.c), some of
 * which look first whether there is enough. What comes out then depends on who came first, and is checked by its invariants.
 *
 * --baseline compares one lock for the whole bank with the same by a pthread mutex and by CPython.
 *
 * --replay=FILE is the bank at work: the balances after all transactions of a ledger (bank/replay.c).
 */
#include "bank/bank.h"
#include "input.h"
#include "random.h"
#include "start.h"
#include "stats.h"
#include "zipf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLERKS_MAX 4094u             /* with owner and auditor as many as a pool has workers */
#define AUDIT_PAUSE 200000           /* ns between audits: the same load on every strategy */
#define RACE_SECONDS 5.0             /* the longest we wait for a race to show */
#define ROUNDS 3                     /* of --baseline */
#define PATIENCE (60 * CREW_SECOND)  /* for clerks to stop once told: beyond it they hang */

struct own {
	const char *replay;
	uint32_t accounts;
	double skew, seconds;
	bool smallbank;
	uint64_t transfers;
	unsigned wanted; /* bit i: bank_strategies[i] */
};

enum { KEY_REPLAY = 1, KEY_ACCOUNTS, KEY_SKEW, KEY_TRANSFERS, KEY_SECONDS, KEY_MIX };

static const struct argp_option options[] = {
	{ "replay", KEY_REPLAY, "FILE", 0, "Print the balances after the transactions of a ledger: lines "
		"transaction,account,date,kind,amount", 0 },
	{ "accounts", KEY_ACCOUNTS, "N", 0, "Accounts, 2 to 10000000 (default 1000)", 0 },
	{ "skew", KEY_SKEW, "S", 0, "Zipf skew of the choice of accounts, 0 to 10 (default 0: all alike)", 0 },
	{ "transfers", KEY_TRANSFERS, "N", 0, "Transfers per strategy (default: what fits into the time)", 0 },
	{ "mix", KEY_MIX, "NAME", 0, "Kinds of orders: transfers (default) or smallbank", 0 },
	{ "seconds", KEY_SECONDS, "S", 0, "Time per strategy, 0.01 to 3600 (default 0.5; --quick: 0.1)", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct own *own = state->input;
	switch (key) {
	case KEY_REPLAY:
		own->replay = arg;
		return 0;
	case KEY_ACCOUNTS:
		own->accounts = (uint32_t)cli_parse_u64(state, "--accounts", arg, 2, 10000000);
		return 0;
	case KEY_SKEW:
		own->skew = cli_parse_real(state, "--skew", arg, 0, 10);
		return 0;
	case KEY_TRANSFERS:
		own->transfers = cli_parse_u64(state, "--transfers", arg, 1, UINT64_C(1000000000000));
		return 0;
	case KEY_MIX:
		own->smallbank = strcmp(arg, "smallbank") == 0;
		if (!own->smallbank && strcmp(arg, "transfers") != 0)
			argp_error(state, "--mix: '%s' is neither transfers nor smallbank", arg);
		return 0;
	case KEY_SECONDS:
		own->seconds = cli_parse_real(state, "--seconds", arg, 0.01, 3600);
		return 0;
	case ARGP_KEY_ARG:
		for (unsigned i = 0; i < bank_strategy_count; i++)
			if (strcmp(arg, bank_strategies[i].name) == 0) {
				own->wanted |= 1u << i;
				return 0;
			}
		argp_error(state, "'%s' is no strategy: none, lock, atomic, striped, ordered, unordered, journal, optimistic, owner", arg);
		return EINVAL;
	case ARGP_KEY_END:
		if (own->replay && own->wanted)
			argp_error(state, "--replay: takes no strategy");
		if (own->smallbank && own->accounts < 4)
			argp_error(state, "--accounts: smallbank needs 4 at least, two for each customer");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = { options, parse, "[STRATEGY...]",
	"Transfers between shared accounts by several processes: the race that loses money, and strategies that do not, "
	"with their price. Strategies: none, lock, atomic, striped, ordered, unordered, journal, optimistic, owner (default: all).",
	cli_children, NULL, NULL };

/* --- the processes --- */

/* A clerk's life. Killed, it is born again, first settles what it has left, and goes on where it was. */
static int clerk_task(const void *argument, void *result, void *context)
{
	(void)result;
	struct bank *bank = context;
	uint32_t clerk = *(const uint32_t *)argument;
	int r = crew_event_wait(&bank->open, CREW_FOREVER);
	if (r < 0)
		return r;
	if (bank->strategy->settle)
		bank->strategy->settle(bank, clerk);
	for (uint64_t done = bank->clerk[clerk].done; !__atomic_load_n(&bank->stop, __ATOMIC_RELAXED); done++) {
		uint64_t position = clerk + done * bank->clerks;
		if (bank->limit && position >= bank->limit)
			break;
		bool timed = done % SAMPLE == 0;
		crew_time begin = timed ? crew_now() : 0;
		if (!bank->strategy->transfer(bank, clerk, &bank->order[position % ORDERS], done + 1))
			break;
		if (timed)
			histogram_add(&bank->clerk[clerk].latency, (uint64_t)(crew_now() - begin));
	}
	return 0;
}

static int auditor_task(const void *argument, void *result, void *context)
{
	(void)argument;
	(void)result;
	struct bank *bank = context;
	while (!__atomic_load_n(&bank->stop, __ATOMIC_RELAXED)) {
		uint64_t epoch = __atomic_add_fetch(&bank->epoch, 1, __ATOMIC_SEQ_CST);
		int64_t total;
		if (!bank->strategy->audit(bank, epoch, &total))
			break;
		bank->audits++;
		bank->bad_audits += total != INITIAL_CENTS * bank->tills;
		nanosleep(&(struct timespec){ .tv_nsec = AUDIT_PAUSE }, NULL);
	}
	return 0;
}

static int owner_task(const void *argument, void *result, void *context)
{
	(void)argument;
	(void)result;
	bank_own(context);
	return 0;
}

/* --- one strategy --- */

static void *shared(size_t count, size_t size)
{
	void *memory;
	int r = crew_array(count, size, &memory);
	if (r < 0)
		cli_lack("no shared memory for %zu times %zu bytes (%s): use fewer --accounts", count, size,
			crew_strerror(r));
	return memory;
}

static void bank_reset(struct bank *bank, const struct strategy *strategy, const struct own *own, uint32_t clerks)
{
	bank->strategy = strategy;
	bank->clerks = strategy->loses_money && clerks < 2 ? 2 : clerks; /* a race needs two */
	bank->tills = own->accounts;
	bank->accounts = own->accounts + (own->smallbank ? bank->clerks : 0);
	bank->guards = strategy->guards < bank->accounts ? strategy->guards : bank->accounts;
	bank->limit = own->transfers;
	bank->audits = bank->bad_audits = bank->epoch = 0;
	memset(bank->account, 0, bank->accounts * sizeof *bank->account);
	for (uint32_t a = 0; a < bank->accounts; a++)
		bank->account[a].cents = initial_cents(bank, a);
	for (uint32_t g = 0; g < bank->guards; g++)
		crew_lock_init(&bank->account[g].lock, strategy->lock_flags);
	bank->circle_told = 0;
	memset(bank->clerk, 0, (bank->clerks + 1) * sizeof *bank->clerk);
}

static crew_ticket submit(struct report *report, struct crew_pool *pool, crew_task_fn *function, uint32_t index)
{
	crew_ticket ticket = 0;
	int r = crew_pool_submit(pool, &(struct crew_task){ .function = function, .argument = &index,
		.argument_size = sizeof index, .index = index, .attempts = 1000000 }, &ticket, CREW_FOREVER);
	report_check(report, r == 0, "crew_pool_submit: %s", crew_strerror(r));
	return ticket;
}

static bool collect(struct report *report, struct crew_pool *pool, crew_ticket ticket, crew_time deadline)
{
	struct crew_failure failure = { 0 };
	int r = crew_pool_wait(pool, ticket, NULL, deadline, &failure);
	if (r != -ETIMEDOUT)
		report_check(report, r == 0, "crew_pool_wait: %s %s", crew_strerror(r), failure.message);
	return r != -ETIMEDOUT;
}

/*
 * Let the clerks work until the time is over or all orders are carried out, then close the
 * bank: clerks and auditor first, then the owner, once it has read all its mail.
 */
static void run(struct report *report, struct bank *bank, const struct own *own, const struct cli *cli,
		double *seconds, uint64_t *deaths)
{
	bool mortal = cli->chaos > 0 && bank->strategy->settle;
	double anywhere = !mortal || bank->strategy->dies_between ? 0 : cli->chaos / 2, between = mortal ? cli->chaos - anywhere : 0;
	struct crew_pool *pool = start_pool(&(struct cli){ .seed = cli->seed, .chaos = anywhere },
		&(struct crew_pool_options){ .workers = bank->clerks + 2, .context = bank, .name = "clerk" });
	crew_queue_init(&bank->mailbox, 0);
	crew_queue_init(&bank->answers, 0);
	crew_event_init(&bank->open, 0);
	bank->stop = bank->doom = 0;

	crew_ticket owner = bank->strategy->has_owner ? submit(report, pool, owner_task, 0) : 0;
	crew_ticket auditor = submit(report, pool, auditor_task, 0);
	crew_ticket *clerk = cli_need(calloc(bank->clerks, sizeof *clerk));
	for (uint32_t c = 0; c < bank->clerks; c++)
		clerk[c] = submit(report, pool, clerk_task, c);
	int r = crew_event_set(&bank->open);
	report_check(report, r == 0, "crew_event_set: %s", crew_strerror(r));

	double begin = stats_clock();
	crew_time end = bank->limit ? CREW_FOREVER : crew_after((crew_time)(own->seconds * 1e9));
	crew_time pause = between > 1e-6 ? (crew_time)(1e9 / between) : CREW_FOREVER;
	crew_time next = crew_after(pause); /* kills at the worst moment; the pool does the others */
	for (uint32_t c = 0; c < bank->clerks;) {
		if (collect(report, pool, clerk[c], next < end ? next : end)) {
			c++;
		} else if (crew_now() < end) {
			__atomic_store_n(&bank->doom, 1, __ATOMIC_RELAXED);
			next = crew_after(pause);
		} else if (!bank->stop) {
			__atomic_store_n(&bank->stop, 1, __ATOMIC_RELAXED);
			next = CREW_FOREVER;
			end = crew_after(PATIENCE);
		} else {
			break;
		}
	}
	__atomic_store_n(&bank->stop, 1, __ATOMIC_RELAXED);
	bool ended = collect(report, pool, auditor, crew_after(PATIENCE));
	if (owner) {
		r = crew_queue_close(&bank->mailbox, true);
		report_check(report, r == 0, "crew_queue_close: %s", crew_strerror(r));
		ended = collect(report, pool, owner, crew_after(PATIENCE)) && ended;
	}
	report_check(report, ended, "%s: somebody hangs", bank->strategy->name);
	*seconds += stats_clock() - begin;
	free(clerk);
	struct crew_pool_stats stats;
	crew_pool_stats(pool, &stats);
	*deaths += stats.deaths;
	crew_pool_terminate(pool);
	crew_queue_fini(&bank->mailbox);
	crew_queue_fini(&bank->answers);
}

/* The cents that are missing in all. */
static int64_t missing_cents(const struct bank *bank)
{
	int64_t missing = 0;
	for (uint32_t a = 0; a < bank->accounts; a++)
		missing += initial_cents(bank, a) - bank->account[a].cents;
	return missing;
}

/* How many accounts differ from what the same orders, one after the other, make of them. */
static uint64_t wrong_accounts(const struct bank *bank)
{
	int64_t *cents = cli_need(calloc(bank->accounts, sizeof *cents)), balance[PARTS];
	for (uint32_t a = 0; a < bank->accounts; a++)
		cents[a] = initial_cents(bank, a);
	for (uint32_t c = 0; c < bank->clerks; c++)
		for (uint64_t i = 0; i < bank->clerk[c].done; i++) {
			const struct order *order = &bank->order[(c + i * bank->clerks) % ORDERS];
			for (uint32_t p = 0; p < order->parts; p++)
				balance[p] = cents[account_of(bank, order, p, c)];
			if (deal_decide(order, balance))
				for (uint32_t p = 0; p < order->parts; p++)
					cents[account_of(bank, order, p, c)] = balance[p];
		}
	uint64_t wrong = 0;
	for (uint32_t a = 0; a < bank->accounts; a++)
		wrong += bank->account[a].cents != cents[a];
	free(cents);
	return wrong;
}

/* Savings below zero: nobody may take out what is not there. */
static uint64_t overdrawn(const struct bank *bank)
{
	uint64_t count = 0;
	for (uint32_t a = 0; a < bank->tills; a += 2)
		count += bank->account[a].cents < 0;
	return count;
}

static uint64_t clerks_sum(const struct bank *bank, size_t offset)
{
	uint64_t sum = 0;
	for (uint32_t c = 0; c <= bank->clerks; c++)
		sum += *(const uint64_t *)((const char *)&bank->clerk[c] + offset);
	return sum;
}

static void report_latency(struct json_t *row, const struct bank *bank)
{
	struct histogram all = { 0 };
	for (uint32_t c = 0; c < bank->clerks; c++)
		histogram_merge(&all, &bank->clerk[c].latency);
	report_real(row, "p50_ns", histogram_percentile(&all, 50));
	report_real(row, "p99_ns", histogram_percentile(&all, 99));
	report_real(row, "p999_ns", histogram_percentile(&all, 99.9));
}

static void play(struct report *report, struct bank *bank, const struct strategy *strategy, const struct own *own,
		uint32_t clerks, const struct cli *cli)
{
	const char *name = strategy->name;
	uint64_t deaths = 0;
	int64_t missing;
	bank_reset(bank, strategy, own, clerks);
	double seconds = 0;
	do {
		run(report, bank, own, cli, &seconds, &deaths);
		missing = missing_cents(bank);
		if (bank->limit)
			bank->limit += own->transfers;
	} while (strategy->loses_money && missing == 0 && seconds < RACE_SECONDS);

	uint64_t transfers = clerks_sum(bank, offsetof(struct clerk, done));
	struct json_t *row = report_row(report);
	report_str(row, "strategy", name);
	report_uint(row, "transfers", transfers);
	report_real(row, "seconds", seconds);
	report_real(row, "transfers_per_second", (double)transfers / seconds);
	report_latency(row, bank);
	report_int(row, "missing_cents", missing);
	report_uint(row, "bad_audits", bank->bad_audits);
	report_uint(row, "audits", bank->audits);
	report_uint(row, "retries", clerks_sum(bank, offsetof(struct clerk, retries)));
	if (strategy->lock_flags & CREW_LOCK_CHECK) {
		report_uint(row, "deadlocks", clerks_sum(bank, offsetof(struct clerk, deadlocks)));
		if (bank->circle_told) {
			report_say(report, "a deadlock, found before it closed:\n%s", bank->circle);
			report_str(report_top(report), "deadlock", bank->circle);
		}
	}
	if (own->smallbank) {
		report_uint(row, "refused", clerks_sum(bank, offsetof(struct clerk, refused)));
		report_uint(row, "overdrawn", overdrawn(bank));
	}
	if (cli->chaos > 0) {
		report_uint(row, "deaths", deaths);
		report_uint(row, "rolled_back", clerks_sum(bank, offsetof(struct clerk, rolled_back)));
	}
	if (strategy->loses_money && missing == 0)
		report_bool(row, "not_observed", true);

	report_check(report, transfers > 0, "%s: nothing was transferred", name);
	if (own->transfers && !strategy->loses_money)
		report_check(report, transfers == own->transfers, "%s: %" PRIu64 " transfers instead of %" PRIu64,
			name, transfers, own->transfers);
	if (!strategy->audits_badly)
		report_check(report, bank->bad_audits == 0, "%s: %" PRIu64 " audits saw a wrong total", name,
			bank->bad_audits);
	if (own->smallbank && !strategy->audits_badly)
		report_check(report, overdrawn(bank) == 0, "%s: %" PRIu64 " savings are below zero", name, overdrawn(bank));
	if (!strategy->loses_money)
		report_check(report, missing == 0, "%s: %" PRId64 " cents are missing", name, missing);
	if (!strategy->loses_money && (!own->smallbank || bank->clerks == 1)) { /* else it depends on who came first */
		uint64_t wrong = wrong_accounts(bank);
		report_check(report, wrong == 0, "%s: %" PRIu64 " balances are wrong", name, wrong);
	}
}

static void report_rival(struct report *report, const char *name, const double *ours, const double *rival)
{
	double per_transfer[2][ROUNDS];
	for (unsigned i = 0; i < ROUNDS; i++) {
		per_transfer[0][i] = 1 / ours[i];
		per_transfer[1][i] = 1 / rival[i];
	}
	struct json_t *row = report_row(report);
	report_str(row, "strategy", name);
	report_real(row, "transfers_per_second", stats_median((double *)rival, ROUNDS));
	report_real(row, "ratio", stats_ratio(per_transfer[0], per_transfer[1], ROUNDS));
}

/* Our strategy `lock` and the rivals in turn. The ratio: how many times theirs ours carries out. */
static void compare(struct report *report, struct bank *bank, const struct own *own, uint32_t clerks, const struct cli *cli)
{
	const struct strategy *strategy = bank_strategies;
	while (strcmp(strategy->name, "lock") != 0)
		strategy++;
	struct own timed = *own;
	timed.transfers = 0;
	double ours[ROUNDS], with_pthread[ROUNDS], with_python[ROUNDS];
	for (unsigned i = 0; i < ROUNDS; i++) {
		double seconds = 0;
		uint64_t deaths = 0;
		int64_t missing;
		bank_reset(bank, strategy, &timed, clerks);
		run(report, bank, &timed, &(struct cli){ .seed = cli->seed }, &seconds, &deaths);
		ours[i] = (double)clerks_sum(bank, offsetof(struct clerk, done)) / seconds;
		with_pthread[i] = bank_pthread_rival(bank, own->seconds, &missing);
		report_check(report, missing == 0, "the rival with a pthread mutex came to grief");
		with_python[i] = i == 0 || with_python[0] > 0 ? bank_python_rival(bank, own->seconds) : 0;
	}
	report_rival(report, "lock, pthread", ours, with_pthread);
	if (with_python[0] > 0)
		report_rival(report, "lock, CPython", ours, with_python);
}

/* The list of orders; with a skew most of them want the same few accounts. */
static struct order *random_orders(const struct own *own, uint64_t seed)
{
	struct order *orders = shared(ORDERS, sizeof *orders);
	struct zipf accounts = zipf_of(own->accounts, own->skew), customers = zipf_of(own->accounts / 2, own->skew);
	struct rng rng = rng_of(seed, 0);
	for (struct order *o = orders; o < orders + ORDERS; o++) {
		if (own->smallbank) {
			deal_smallbank(o, &customers, &rng);
			continue;
		}
		uint32_t from = (uint32_t)zipf_next(&accounts, &rng), to = (uint32_t)zipf_next(&accounts, &rng);
		if (to == from)
			to = (from + 1) % own->accounts;
		*o = (struct order){ TRANSFER, 2, { from, to }, 1 + (int64_t)rng_below(&rng, 100) };
	}
	return orders;
}

int main(int argc, char **argv)
{
	struct own own = { .accounts = 1000 };
	struct cli cli = cli_parse(&argp, argc, argv, &own);
	struct input ledger = { 0 };
	if (own.replay)
		ledger = input_map(own.replay);
	if (cli.baseline && (own.replay || own.smallbank))
		cli_note("--baseline compares transfers under one lock; here it has no rival");
	start_family(&cli);
	if (own.replay)
		return bank_replay(&cli, &ledger);

	if (cli.serial)
		cli_note("--serial: one clerk, and an auditor beside it");
	if (own.seconds == 0)
		own.seconds = cli.quick ? 0.1 : 0.5;
	struct report *report = report_open(&cli);
	struct bank *bank = shared(1, sizeof *bank);
	uint32_t clerks = cli.serial ? 1 : cli.workers < CLERKS_MAX ? cli.workers : CLERKS_MAX;
	bank->account = shared(own.accounts + clerks + 1, sizeof *bank->account); /* with the tills; a race has one clerk more */
	bank->clerk = shared(clerks + 2, sizeof *bank->clerk); /* and one for the owner */
	bank->order = random_orders(&own, cli.seed);
	int r = crew_name(&bank->account[0].lock, sizeof *bank->account, own.accounts + clerks + 1, "account");
	if (r < 0)
		cli_lack("crew_name: %s", crew_strerror(r));

	report_say(report, "clerks: %" PRIu32 ", accounts: %" PRIu32 ", skew: %g\n\n", clerks, own.accounts, own.skew);
	for (unsigned i = 0; i < bank_strategy_count; i++) {
		const struct strategy *strategy = &bank_strategies[i];
		if (own.wanted && !(own.wanted & 1u << i))
			continue;
		if (cli.chaos > 0 && !strategy->settle)
			cli_note("--chaos: nobody is killed with '%s', it keeps no record of intent", strategy->name);
		report_say(report, "%-10s  %s\n", strategy->name, strategy->lesson);
		play(report, bank, strategy, &own, clerks, &cli);
	}
	if (cli.baseline && !own.smallbank)
		compare(report, bank, &own, clerks, &cli);
	report_say(report, "\n");
	return report_finish(report);
}
