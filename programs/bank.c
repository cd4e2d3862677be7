/*
 * bank - a bank on shared accounts: the race that loses money, and six ways not to
 *
 * Clerks, a process each, carry out transfers between random accounts of one shared array, while an
 * auditor counts all the money again and again. Nothing comes in or goes out, so the total must be the
 * same at any moment. Every strategy (bank/strategy.c, read it next) runs for a while:
 *
 *     missing_cents  what the bank has lost (or, negative, made) in the end
 *     bad_audits     counts that came out wrong while the transfers went on
 *     audits         counts in all
 *
 * `none` shows the race: it is repeated until money is missing, at most 5 seconds. `atomic` shows that atomic
 * additions keep every cent and are still not enough. The others differ in price alone: see transfers/s, and how
 * it changes with --workers and with --skew=1, where a few accounts are in everybody's way.
 *
 * --chaos=RATE kills clerks, auditor and owner, half of them exactly between debit and credit. The balances
 * must come out as if nobody had died, to the cent: they are compared with a serial computation.
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
#define PATIENCE (60 * CREW_SECOND)  /* for clerks to stop once told: beyond it they hang */

struct own {
	const char *replay;
	uint32_t accounts;
	double skew, seconds;
	uint64_t transfers;
	unsigned wanted; /* bit i: bank_strategies[i] */
};

enum { KEY_REPLAY = 1, KEY_ACCOUNTS, KEY_SKEW, KEY_TRANSFERS, KEY_SECONDS };

static const struct argp_option options[] = {
	{ "replay", KEY_REPLAY, "FILE", 0, "Print the balances after the transactions of a ledger: lines "
		"transaction,account,date,kind,amount", 0 },
	{ "accounts", KEY_ACCOUNTS, "N", 0, "Accounts, 2 to 10000000 (default 1000)", 0 },
	{ "skew", KEY_SKEW, "S", 0, "Zipf skew of the choice of accounts, 0 to 10 (default 0: all alike)", 0 },
	{ "transfers", KEY_TRANSFERS, "N", 0, "Transfers per strategy (default: what fits into the time)", 0 },
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
	case KEY_SECONDS:
		own->seconds = cli_parse_real(state, "--seconds", arg, 0.01, 3600);
		return 0;
	case ARGP_KEY_ARG:
		for (unsigned i = 0; i < bank_strategy_count; i++)
			if (strcmp(arg, bank_strategies[i].name) == 0) {
				own->wanted |= 1u << i;
				return 0;
			}
		argp_error(state, "'%s' is no strategy: none, lock, atomic, striped, ordered, optimistic, owner", arg);
		return EINVAL;
	case ARGP_KEY_END:
		if (own->replay && own->wanted)
			argp_error(state, "--replay: takes no strategy");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = { options, parse, "[STRATEGY...]",
	"Transfers between shared accounts by several processes: the race that loses money, and strategies that do not, "
	"with their price. Strategies: none, lock, atomic, striped, ordered, optimistic, owner (default: all).",
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
		if (!bank->strategy->transfer(bank, clerk, &bank->order[position % ORDERS], done + 1))
			break;
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
		bank->bad_audits += total != INITIAL_CENTS * bank->accounts;
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
	bank->guards = strategy->guards < bank->accounts ? strategy->guards : bank->accounts;
	bank->limit = own->transfers;
	bank->audits = bank->bad_audits = bank->epoch = 0;
	memset(bank->account, 0, bank->accounts * sizeof *bank->account);
	for (uint32_t a = 0; a < bank->accounts; a++)
		bank->account[a].cents = INITIAL_CENTS;
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
	struct crew_pool *pool = start_pool(&(struct cli){ .seed = cli->seed, .chaos = mortal ? cli->chaos / 2 : 0 },
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
	crew_time pause = mortal && cli->chaos > 1e-6 ? (crew_time)(2e9 / cli->chaos) : CREW_FOREVER;
	crew_time next = crew_after(pause); /* half of the kills, at the worst moment; the pool does the other half */
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
		missing += INITIAL_CENTS - bank->account[a].cents;
	return missing;
}

/* How many accounts differ from what the same orders, one after the other, make of them. */
static uint64_t wrong_accounts(const struct bank *bank)
{
	int64_t *cents = cli_need(calloc(bank->accounts, sizeof *cents));
	for (uint32_t c = 0; c < bank->clerks; c++)
		for (uint64_t i = 0; i < bank->clerk[c].done; i++) {
			const struct order *order = &bank->order[(c + i * bank->clerks) % ORDERS];
			cents[order->from] -= order->cents;
			cents[order->to] += order->cents;
		}
	uint64_t wrong = 0;
	for (uint32_t a = 0; a < bank->accounts; a++)
		wrong += bank->account[a].cents != INITIAL_CENTS + cents[a];
	free(cents);
	return wrong;
}

static uint64_t clerks_sum(const struct bank *bank, size_t offset)
{
	uint64_t sum = 0;
	for (uint32_t c = 0; c <= bank->clerks; c++)
		sum += *(const uint64_t *)((const char *)&bank->clerk[c] + offset);
	return sum;
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
	report_int(row, "missing_cents", missing);
	report_uint(row, "bad_audits", bank->bad_audits);
	report_uint(row, "audits", bank->audits);
	report_uint(row, "retries", clerks_sum(bank, offsetof(struct clerk, retries)));
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
	if (!strategy->loses_money) {
		uint64_t wrong = wrong_accounts(bank);
		report_check(report, missing == 0, "%s: %" PRId64 " cents are missing", name, missing);
		report_check(report, wrong == 0, "%s: %" PRIu64 " balances are wrong", name, wrong);
	}
}

/* The list of orders; with a skew most of them want the same few accounts. */
static struct order *random_orders(const struct own *own, uint64_t seed)
{
	struct order *orders = shared(ORDERS, sizeof *orders);
	struct zipf zipf = zipf_of(own->accounts, own->skew);
	struct rng rng = rng_of(seed, 0);
	for (struct order *o = orders; o < orders + ORDERS; o++) {
		o->from = (uint32_t)zipf_next(&zipf, &rng);
		o->to = (uint32_t)zipf_next(&zipf, &rng);
		if (o->to == o->from)
			o->to = (o->from + 1) % own->accounts;
		o->cents = 1 + (int64_t)rng_below(&rng, 100);
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
	if (cli.baseline)
		cli_note("--baseline has no meaning here: the strategies are each other's rivals");
	start_family(&cli);
	if (own.replay)
		return bank_replay(&cli, &ledger);

	if (cli.serial)
		cli_note("--serial: one clerk, and an auditor beside it");
	if (own.seconds == 0)
		own.seconds = cli.quick ? 0.1 : 0.5;
	struct report *report = report_open(&cli);
	struct bank *bank = shared(1, sizeof *bank);
	bank->accounts = own.accounts;
	bank->account = shared(bank->accounts, sizeof *bank->account);
	uint32_t clerks = cli.serial ? 1 : cli.workers < CLERKS_MAX ? cli.workers : CLERKS_MAX;
	bank->clerk = shared(clerks + 2, sizeof *bank->clerk); /* one more for the owner, one for a race */
	bank->order = random_orders(&own, cli.seed);

	report_say(report, "clerks: %" PRIu32 ", accounts: %" PRIu32 ", skew: %g\n\n", clerks, bank->accounts, own.skew);
	for (unsigned i = 0; i < bank_strategy_count; i++) {
		const struct strategy *strategy = &bank_strategies[i];
		if (own.wanted && !(own.wanted & 1u << i))
			continue;
		if (cli.chaos > 0 && !strategy->settle)
			cli_note("--chaos: nobody is killed with '%s', it keeps no record of intent", strategy->name);
		report_say(report, "%-10s  %s\n", strategy->name, strategy->lesson);
		play(report, bank, strategy, &own, clerks, &cli);
	}
	report_say(report, "\n");
	return report_finish(report);
}
