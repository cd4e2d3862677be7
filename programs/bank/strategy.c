/*
 * strategy.c - ways to move money between accounts that others use, too
 *
 * Every strategy answers three questions. How does a transfer keep others out? How does an audit see
 * one moment? What does a clerk leave when it is killed, and who repairs it?
 *
 * Audits. An audit that stops the bank is simple and slow. Instead, an audit begins by raising the
 * epoch; from then on whoever changes an account for the first time keeps its old balance beside it. The
 * auditor goes from account to account and takes the kept balance where there is one. It gets the total
 * of one moment: each transfer is either before it on all its accounts, or after it on all,
 *
 *     transfer                        auditor
 *     has its accounts                epoch = k
 *     reads epoch               (A)   has account a, reads it
 *
 * because a transfer that does not see k yet had its accounts before the auditor came to any of them
 * (A: acquire and release of the locks; optimistic: sequential consistency), and one that sees k keeps all.
 */
#include "bank.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The next step of several, seen in this order by all others, also after our death. */
static void step(void *where, uint64_t value)
{
	__atomic_store_n((uint64_t *)where, value, __ATOMIC_RELEASE);
}

static uint64_t look(const void *where)
{
	return __atomic_load_n((const uint64_t *)where, __ATOMIC_ACQUIRE);
}

static bool closing(const struct bank *bank)
{
	return __atomic_load_n(&bank->stop, __ATOMIC_RELAXED);
}

/* What a clerk cannot do without; the pool then starts another one or gives up. */
static void must(const char *what, int r)
{
	if (r < 0) {
		fprintf(stderr, "bank: %s: %s\n", what, crew_strerror(r));
		_exit(EXIT_LACK);
	}
}

/* The new balances of an order's accounts, as they are read; the sum of all changes is 0. False: it changes nothing. */
static bool decide(struct bank *bank, uint32_t clerk, const struct order *order, uint32_t account[PARTS], int64_t old[PARTS],
		int64_t balance[PARTS])
{
	for (uint32_t i = 0; i < order->parts; i++) {
		account[i] = account_of(bank, order, i, clerk);
		balance[i] = old[i] = (int64_t)look(&bank->account[account[i]].cents);
	}
	bool changes = deal_decide(order, balance);
	bank->clerk[clerk].refused += !changes && order->deal != BALANCE;
	return changes;
}

/* --chaos: the worst moment of all. */
static void die_if_doomed(struct bank *bank)
{
	if (__atomic_load_n(&bank->doom, __ATOMIC_RELAXED) && __atomic_exchange_n(&bank->doom, 0, __ATOMIC_RELAXED))
		kill(getpid(), SIGKILL);
}

/* --- none: load, then store, and whatever was stored in between is lost --- */

static bool none_transfer(struct bank *bank, uint32_t clerk, const struct order *order, uint64_t number)
{
	uint32_t account[PARTS];
	int64_t old[PARTS], balance[PARTS];
	if (decide(bank, clerk, order, account, old, balance)) /* each access is atomic, all of them together are not */
		for (uint32_t i = 0; i < order->parts; i++)
			__atomic_store_n(&bank->account[account[i]].cents, balance[i], __ATOMIC_RELAXED);
	step(&bank->clerk[clerk].done, number);
	return true;
}

/* --- atomic: no cent is lost, but between debit and credit the money is nowhere --- */

static bool is_open(const struct bank *bank, const struct intent *intent)
{
	uint64_t number = look(&intent->number);
	return number && number == look(&bank->clerk[intent->client].done) + 1;
}

/* The additions of an open intent that are not done yet, then the commit. */
static void add_up(struct bank *bank, struct intent *intent)
{
	for (uint32_t i = intent->added; i < PARTS && intent->part[i].account != NOBODY; i++) {
		__atomic_fetch_add(&bank->account[intent->part[i].account].cents, intent->part[i].cents, __ATOMIC_RELAXED);
		__atomic_store_n(&intent->added, i + 1, __ATOMIC_RELEASE);
		if (i == 0)
			die_if_doomed(bank);
	}
	step(&bank->clerk[intent->client].done, intent->number);
}

static bool atomic_transfer(struct bank *bank, uint32_t clerk, const struct order *order, uint64_t number)
{
	struct intent *intent = &bank->clerk[clerk].intent;
	uint32_t account[PARTS];
	int64_t old[PARTS], balance[PARTS];
	bool changes = decide(bank, clerk, order, account, old, balance);
	for (uint32_t i = 0; i < PARTS; i++)
		intent->part[i] = changes && i < order->parts ? (struct part){ account[i], balance[i] - old[i] } : (struct part){ NOBODY, 0 };
	intent->client = clerk;
	intent->added = 0;
	step(&intent->number, number);
	add_up(bank, intent);
	return true;
}

/*
 * Forward, not back: others may have read the new balance. That it is known which additions are done is owed to the killer,
 * who strikes between two of them. Killed at any instruction, a clerk may have added and not yet said so: a bare sum
 * does not tell who added to it.
 */
static void atomic_settle(struct bank *bank, uint32_t clerk)
{
	struct intent *intent = &bank->clerk[clerk].intent;
	if (!is_open(bank, intent))
		return;
	bank->clerk[clerk].rolled_back++;
	add_up(bank, intent);
}

static bool plain_audit(struct bank *bank, uint64_t epoch, int64_t *total)
{
	(void)epoch;
	*total = 0;
	for (uint32_t a = 0; a < bank->accounts; a++)
		*total += (int64_t)look(&bank->account[a].cents);
	return true;
}

/* --- what all the others share: an order on accounts that nobody else touches now --- */

static void keep_for_audit(struct account *account, uint64_t epoch)
{
	if (account->saved_at != epoch) {
		step(&account->saved, (uint64_t)account->cents);
		step(&account->saved_at, epoch);
	}
}

static void carry_out(struct bank *bank, struct intent *intent, uint32_t client, const struct order *order, uint64_t number)
{
	uint32_t account[PARTS];
	int64_t old[PARTS], balance[PARTS];
	if (decide(bank, client, order, account, old, balance)) {
		intent->client = client;
		for (uint32_t i = 0; i < PARTS; i++)
			intent->part[i] = i < order->parts ? (struct part){ account[i], old[i] } : (struct part){ NOBODY, 0 };
		step(&intent->number, number);

		uint64_t epoch = __atomic_load_n(&bank->epoch, __ATOMIC_SEQ_CST); /* (A) */
		for (uint32_t i = 0; i < order->parts; i++)
			keep_for_audit(&bank->account[account[i]], epoch);
		for (uint32_t i = 0; i < order->parts; i++) {
			step(&bank->account[account[i]].cents, (uint64_t)balance[i]);
			if (i == 0)
				die_if_doomed(bank);
		}
	}
	step(&bank->clerk[client].done, number);
}

/* --- lock, striped, ordered: the same code with one lock, some, or one per account --- */

static struct crew_lock *guard_of(struct bank *bank, uint32_t account)
{
	return &bank->account[account % bank->guards].lock;
}

/*
 * The last holder of a guard died: put back what it has half done behind this guard. It held
 * the guard until its intent was closed, so an open intent that names an account behind it is the dead clerk's; those of
 * the living name none as long as we hold it. An account is put back by whoever gets its guard, once: if we
 * die before crew_lock_repaired the next one does the same again, after that the part names nobody.
 */
static void repair(struct bank *bank, const struct crew_lock *guard)
{
	for (uint32_t c = 0; c < bank->clerks; c++) {
		struct intent *intent = &bank->clerk[c].intent;
		if (!is_open(bank, intent))
			continue;
		for (struct part *part = intent->part; part < intent->part + PARTS; part++) {
			uint32_t a = __atomic_load_n(&part->account, __ATOMIC_RELAXED);
			if (a == NOBODY || guard_of(bank, a) != guard)
				continue;
			step(&bank->account[a].cents, (uint64_t)part->cents);
			__atomic_store_n(&part->account, NOBODY, __ATOMIC_RELEASE);
		}
	}
}

/* 0; or -EDEADLK, of a lock that looks for circles. */
static int guard_acquire(struct bank *bank, struct crew_lock *guard)
{
	int r = crew_lock_acquire(guard, CREW_FOREVER);
	if (r == -EDEADLK)
		return r;
	must("crew_lock_acquire", r);
	if (r == CREW_OWNER_DIED) {
		repair(bank, guard);
		crew_lock_repaired(guard);
	}
	return 0;
}

/* The guards of an order's accounts, each once, in ascending order: or two clerks wait for each other for ever. */
static uint32_t guards_of(struct bank *bank, uint32_t clerk, const struct order *order, struct crew_lock *guard[PARTS])
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < order->parts; i++) {
		struct crew_lock *next = guard_of(bank, account_of(bank, order, i, clerk));
		uint32_t at = count;
		while (at > 0 && guard[at - 1] > next)
			at--;
		if (at > 0 && guard[at - 1] == next)
			continue;
		memmove(guard + at + 1, guard + at, (count++ - at) * sizeof *guard);
		guard[at] = next;
	}
	return count;
}

static bool guarded_transfer(struct bank *bank, uint32_t clerk, const struct order *order, uint64_t number)
{
	struct crew_lock *guard[PARTS];
	uint32_t count = guards_of(bank, clerk, order, guard);
	for (uint32_t i = 0; i < count; i++)
		guard_acquire(bank, guard[i]);
	carry_out(bank, &bank->clerk[clerk].intent, clerk, order, number);
	while (count > 0)
		crew_lock_release(guard[--count]);
	return true;
}

static bool guarded_audit(struct bank *bank, uint64_t epoch, int64_t *total)
{
	*total = 0;
	for (uint32_t g = 0; g < bank->guards; g++) {
		if (closing(bank))
			return false;
		struct crew_lock *guard = guard_of(bank, g);
		guard_acquire(bank, guard); /* (A) */
		for (uint32_t a = g; a < bank->accounts; a += bank->guards) {
			const struct account *account = &bank->account[a];
			*total += account->saved_at == epoch ? account->saved : account->cents;
		}
		crew_lock_release(guard);
	}
	return true;
}

/* All parts are put back by whoever gets the guards: see to it that somebody does, now. */
static void guarded_settle(struct bank *bank, uint32_t clerk)
{
	struct intent *intent = &bank->clerk[clerk].intent;
	if (!is_open(bank, intent))
		return;
	for (struct part *part = intent->part; part < intent->part + PARTS; part++) {
		uint32_t a = __atomic_load_n(&part->account, __ATOMIC_ACQUIRE);
		if (a == NOBODY)
			continue;
		guard_acquire(bank, guard_of(bank, a));
		crew_lock_release(guard_of(bank, a));
	}
	bank->clerk[clerk].rolled_back++;
	step(&intent->number, 0);
}

/* --- unordered: as they come, so clerks do wait in a circle, until crew refuses to close it --- */

/*
 * We were refused the lock that would have closed a circle, and still have the others: whoever waits in it
 * waits for us in the end. Those that do are listed, the first time.
 */
static void tell_circle(struct bank *bank, uint32_t wanted)
{
	if (__atomic_exchange_n(&bank->circle_told, 1, __ATOMIC_RELAXED))
		return;
	struct crew_waiting waiting[64];
	int found = crew_waiting_list(waiting, 64);
	unsigned count = found < 0 ? 0 : found < 64 ? (unsigned)found : 64;
	FILE *text = fmemopen(bank->circle, sizeof bank->circle, "w");
	if (!text)
		return;
	fprintf(text, "  process %d wanted account[%u] and was refused, because\n", (int)getpid(), wanted);
	pid_t in_circle[64] = { getpid() };
	unsigned known = 1;
	for (unsigned i = 0; i < known; i++)
		for (unsigned w = 0; w < count && known < 64; w++)
			if (waiting[w].holder_pid == in_circle[i]) {
				fprintf(text, "  process %d waits for %s, held by process %d\n", (int)waiting[w].pid, waiting[w].object_name,
					(int)waiting[w].holder_pid);
				in_circle[known++] = waiting[w].pid;
				waiting[w].holder_pid = 0;
			}
	fclose(text);
}

static bool unordered_transfer(struct bank *bank, uint32_t clerk, const struct order *order, uint64_t number)
{
	uint32_t have = 0;
	while (have < order->parts) {
		uint32_t account = account_of(bank, order, have, clerk);
		if (guard_acquire(bank, guard_of(bank, account)) == 0) {
			have++;
			continue;
		}
		tell_circle(bank, account);
		bank->clerk[clerk].deadlocks++;
		while (have > 0) /* give way */
			crew_lock_release(guard_of(bank, account_of(bank, order, --have, clerk)));
		sched_yield();
	}
	carry_out(bank, &bank->clerk[clerk].intent, clerk, order, number);
	while (have > 0)
		crew_lock_release(guard_of(bank, account_of(bank, order, --have, clerk)));
	return true;
}

/* --- journal: crew keeps the old bytes and puts them back; there is nothing to repair and nobody who could forget to --- */

static void save(struct crew_lock *guard, void *where, size_t size)
{
	must("crew_save", crew_save(guard, where, size));
}

static bool journal_transfer(struct bank *bank, uint32_t clerk, const struct order *order, uint64_t number)
{
	struct crew_lock *guard[PARTS];
	uint32_t count = guards_of(bank, clerk, order, guard), account[PARTS];
	int64_t old[PARTS], balance[PARTS];
	for (uint32_t i = 0; i < count; i++)
		guard_acquire(bank, guard[i]);
	if (decide(bank, clerk, order, account, old, balance)) {
		for (uint32_t i = 0; i < order->parts; i++)
			save(guard_of(bank, account[i]), &bank->account[account[i]], offsetof(struct account, version));
		save(guard[0], &bank->clerk[clerk].done, sizeof bank->clerk[clerk].done);
		bank->clerk[clerk].begun = number;
		uint64_t epoch = __atomic_load_n(&bank->epoch, __ATOMIC_SEQ_CST); /* (A) */
		for (uint32_t i = 0; i < order->parts; i++) {
			keep_for_audit(&bank->account[account[i]], epoch);
			bank->account[account[i]].cents = balance[i];
			if (i == 0)
				die_if_doomed(bank);
		}
	}
	step(&bank->clerk[clerk].done, number);
	while (count > 0) /* the first release makes all of it final */
		crew_lock_release(guard[--count]);
	return true;
}

/* All is as before the order that the last life died in: what is left to do is to count it. */
static void journal_settle(struct bank *bank, uint32_t clerk)
{
	bank->clerk[clerk].rolled_back += bank->clerk[clerk].begun == bank->clerk[clerk].done + 1;
}

/* --- optimistic: read, then commit only if nothing has changed since --- */

#define OWNER_BITS 16
#define OWNER(version) ((version) & ((1u << OWNER_BITS) - 1))

/* The version of an account that nobody is committing to. Whoever is will soon be ready, or be born again. */
static bool stable_version(struct bank *bank, const struct account *account, uint64_t *version)
{
	while (OWNER(*version = __atomic_load_n(&account->version, __ATOMIC_SEQ_CST))) { /* (A) */
		if (closing(bank))
			return false;
		sched_yield();
	}
	return true;
}

static bool claim(struct account *account, uint64_t version, uint32_t clerk)
{
	return __atomic_compare_exchange_n(&account->version, &version, version | (clerk + 1), false,
		__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void publish(struct account *account)
{
	step(&account->version, ((account->version >> OWNER_BITS) + 1) << OWNER_BITS);
}

/* Claim all accounts of the open intent, or none, because one has changed since its version was read. */
static bool claim_all(struct bank *bank, uint32_t clerk, uint32_t parts, const uint64_t version[PARTS])
{
	const struct part *part = bank->clerk[clerk].intent.part;
	for (uint32_t i = 0; i < parts; i++) {
		if (claim(&bank->account[part[i].account], version[i], clerk))
			continue;
		while (i-- > 0)
			step(&bank->account[part[i].account].version, version[i]); /* nothing was changed */
		return false;
	}
	return true;
}

static bool optimistic_transfer(struct bank *bank, uint32_t clerk, const struct order *order, uint64_t number)
{
	struct intent *intent = &bank->clerk[clerk].intent;
	uint64_t version[PARTS];
	/* Named before they are claimed: what a claim leaves behind can be found. */
	for (uint32_t i = 0; i < PARTS; i++)
		__atomic_store_n(&intent->part[i].account, i < order->parts ? account_of(bank, order, i, clerk) : NOBODY, __ATOMIC_RELEASE);
	for (;; bank->clerk[clerk].retries++) {
		for (uint32_t i = 0; i < order->parts; i++)
			if (!stable_version(bank, &bank->account[intent->part[i].account], &version[i]))
				return false;
		if (claim_all(bank, clerk, order->parts, version))
			break;
	}
	carry_out(bank, intent, clerk, order, number);
	for (uint32_t i = 0; i < order->parts; i++)
		publish(&bank->account[intent->part[i].account]);
	return true;
}

/* Takes nothing and stops nobody: what was read counts if the version is the same before and after. */
static bool optimistic_audit(struct bank *bank, uint64_t epoch, int64_t *total)
{
	*total = 0;
	for (uint32_t a = 0; a < bank->accounts; a++) {
		const struct account *account = &bank->account[a];
		uint64_t version, cents;
		do {
			if (!stable_version(bank, account, &version))
				return false;
			cents = look(&account->saved_at) == epoch ? look(&account->saved) : look(&account->cents);
		} while (__atomic_load_n(&account->version, __ATOMIC_RELAXED) != version);
		*total += (int64_t)cents;
	}
	return true;
}

/* Nobody else takes a claimed account, so only the clerk's own next life can repair; the others wait for it. */
static void optimistic_settle(struct bank *bank, uint32_t clerk)
{
	struct intent *intent = &bank->clerk[clerk].intent;
	bool open = is_open(bank, intent);
	bank->clerk[clerk].rolled_back += open;
	for (struct part *part = intent->part; part < intent->part + PARTS; part++) {
		struct account *account = &bank->account[part->account];
		if (part->account == NOBODY || OWNER(look(&account->version)) != clerk + 1)
			continue;
		if (open)
			step(&account->cents, (uint64_t)part->cents);
		publish(account);
	}
	step(&intent->number, 0);
}

/* --- owner: one process has the accounts, the others write to it --- */

struct letter {
	uint32_t client; /* NOBODY: from the auditor */
	uint64_t number; /* the client's how manieth order; for an audit its epoch */
	struct order order;
};

struct answer {
	uint64_t epoch;
	int64_t total;
};

static bool post(struct crew_queue *queue, const void *data, size_t size)
{
	int r = crew_queue_put(queue, data, size, CREW_FOREVER);
	if (r != -EPIPE)
		must("crew_queue_put", r);
	return r == 0;
}

/* Sent is as good as done: the letter outlives its writer, and its reader, too. */
static bool owner_transfer(struct bank *bank, uint32_t clerk, const struct order *order, uint64_t number)
{
	struct letter letter = { .client = clerk, .number = number, .order = *order };
	return post(&bank->mailbox, &letter, sizeof letter);
}

/* The owner sees one letter after the other, so between two of them every moment is good. */
static bool owner_audit(struct bank *bank, uint64_t epoch, int64_t *total)
{
	struct letter letter = { .client = NOBODY, .number = epoch };
	if (!post(&bank->mailbox, &letter, sizeof letter))
		return false;
	struct answer answer;
	do /* answers to an auditor that died before it could read them are not for us */
		must("crew_queue_get", crew_queue_get(&bank->answers, &answer, sizeof answer, NULL, CREW_FOREVER));
	while (answer.epoch != epoch);
	*total = answer.total;
	return true;
}

/*
 * A letter is taken under a lease: if the owner dies before crew_queue_done its next life gets it again. And a
 * client that died after it had sent a letter may send it again. Both are recognised by the
 * client's number: what is done is done.
 */
void bank_own(struct bank *bank)
{
	struct intent *intent = &bank->clerk[bank->clerks].intent;
	if (is_open(bank, intent)) {
		for (struct part *part = intent->part; part < intent->part + PARTS && part->account != NOBODY; part++)
			step(&bank->account[part->account].cents, (uint64_t)part->cents);
		bank->clerk[bank->clerks].rolled_back++;
		step(&intent->number, 0);
	}
	for (;;) {
		struct crew_message message;
		int r = crew_queue_take(&bank->mailbox, &message, CREW_FOREVER);
		if (r == CREW_END_OF_DATA)
			return;
		must("crew_queue_take", r);
		const struct letter *letter = message.data;
		if (letter->client == NOBODY) {
			struct answer answer = { .epoch = letter->number };
			plain_audit(bank, answer.epoch, &answer.total);
			post(&bank->answers, &answer, sizeof answer);
		} else if (letter->number == bank->clerk[letter->client].done + 1) {
			carry_out(bank, intent, letter->client, &letter->order, letter->number);
		}
		must("crew_queue_done", crew_queue_done(&bank->mailbox, &message));
	}
}

/* A client has nothing of its own to repair. */
static void owner_settle(struct bank *bank, uint32_t clerk)
{
	(void)bank;
	(void)clerk;
}

const struct strategy bank_strategies[] = {
	{
		.name = "none", .transfer = none_transfer, .audit = plain_audit,
		.loses_money = true, .audits_badly = true,
		.lesson = "no protection: two clerks load the same balance, and one store is lost",
	}, {
		.name = "lock", .transfer = guarded_transfer, .audit = guarded_audit, .settle = guarded_settle, .guards = 1,
		.lesson = "one lock for the whole bank: right, and one at a time",
	}, {
		.name = "atomic", .transfer = atomic_transfer, .audit = plain_audit, .settle = atomic_settle,
		.audits_badly = true, .dies_between = true,
		.lesson = "atomic debit, atomic credit: no cent is lost, but audits see money on its way",
	}, {
		.name = "striped", .transfer = guarded_transfer, .audit = guarded_audit, .settle = guarded_settle, .guards = 64,
		.lesson = "64 locks, each for every 64th account, taken in order",
	}, {
		.name = "ordered", .transfer = guarded_transfer, .audit = guarded_audit, .settle = guarded_settle,
		.guards = UINT32_MAX,
		.lesson = "a lock per account, taken in order, so nobody waits in a circle",
	}, {
		.name = "unordered", .transfer = unordered_transfer, .audit = guarded_audit, .settle = guarded_settle,
		.guards = UINT32_MAX, .lock_flags = CREW_LOCK_CHECK,
		.lesson = "a lock per account, taken as they come: who would close a circle is refused, and gives way",
	}, {
		.name = "journal", .transfer = journal_transfer, .audit = guarded_audit, .settle = journal_settle,
		.guards = UINT32_MAX,
		.lesson = "the same locks, and an undo log: whoever dies half-way has done nothing",
	}, {
		.name = "optimistic", .transfer = optimistic_transfer, .audit = optimistic_audit,
		.settle = optimistic_settle,
		.lesson = "versions: read freely, commit if nothing has changed, else try again",
	}, {
		.name = "owner", .transfer = owner_transfer, .audit = owner_audit, .settle = owner_settle, .has_owner = true,
		.lesson = "one process owns the accounts, the others write to it: nothing to lock, a message each",
	},
};
const unsigned bank_strategy_count = sizeof bank_strategies / sizeof *bank_strategies;
