/*
 * strategy.c - seven ways to move money between two accounts that others use, too
 *
 * Every strategy answers three questions. How does a transfer keep others out? How does an audit see
 * one moment? What does a clerk leave when it is killed, and who repairs it?
 *
 * Audits. An audit that stops the bank is simple and slow. Instead, an audit begins by raising the
 * epoch; from then on whoever changes an account for the first time keeps its old balance beside it. The
 * auditor goes from account to account and takes the kept balance where there is one. It gets the total
 * of one moment: each transfer is either before it on both accounts, or after it on both,
 *
 *     transfer                        auditor
 *     has both accounts               epoch = k
 *     reads epoch               (A)   has account a, reads it
 *
 * because a transfer that does not see k yet had its accounts before the auditor came to either
 * (A: acquire and release of the locks; optimistic: sequential consistency), and one that sees k keeps both.
 */
#include "bank.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
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

/* --- none: load, then store, and whatever was stored in between is lost --- */

static void careless_add(int64_t *cents, int64_t amount)
{
	int64_t now = __atomic_load_n(cents, __ATOMIC_RELAXED); /* each access is atomic, the pair is not */
	__atomic_store_n(cents, now + amount, __ATOMIC_RELAXED);
}

static bool none_transfer(struct bank *bank, uint32_t clerk, const struct order *order, uint64_t number)
{
	careless_add(&bank->account[order->from].cents, -order->cents);
	careless_add(&bank->account[order->to].cents, order->cents);
	step(&bank->clerk[clerk].done, number);
	return true;
}

/* --- atomic: no cent is lost, but between debit and credit the money is nowhere --- */

static bool atomic_transfer(struct bank *bank, uint32_t clerk, const struct order *order, uint64_t number)
{
	__atomic_fetch_sub(&bank->account[order->from].cents, order->cents, __ATOMIC_RELAXED);
	__atomic_fetch_add(&bank->account[order->to].cents, order->cents, __ATOMIC_RELAXED);
	step(&bank->clerk[clerk].done, number);
	return true;
}

static bool plain_audit(struct bank *bank, uint64_t epoch, int64_t *total)
{
	(void)epoch;
	*total = 0;
	for (uint32_t a = 0; a < bank->accounts; a++)
		*total += (int64_t)look(&bank->account[a].cents);
	return true;
}

/* --- what all the others share: a transfer on two accounts that nobody else touches now --- */

static bool is_open(const struct bank *bank, const struct intent *intent)
{
	uint64_t number = look(&intent->number);
	return number && number == look(&bank->clerk[intent->client].done) + 1;
}

static void keep_for_audit(struct account *account, uint64_t epoch)
{
	if (account->saved_at != epoch) {
		step(&account->saved, (uint64_t)account->cents);
		step(&account->saved_at, epoch);
	}
}

static void move_money(struct bank *bank, struct intent *intent, uint32_t client, const struct order *order,
		uint64_t number)
{
	struct account *from = &bank->account[order->from], *to = &bank->account[order->to];
	intent->client = client;
	intent->half[0] = (struct half){ order->from, from->cents };
	intent->half[1] = (struct half){ order->to, to->cents };
	step(&intent->number, number);

	uint64_t epoch = __atomic_load_n(&bank->epoch, __ATOMIC_SEQ_CST); /* (A) */
	keep_for_audit(from, epoch);
	keep_for_audit(to, epoch);

	step(&from->cents, (uint64_t)(from->cents - order->cents));
	if (__atomic_load_n(&bank->doom, __ATOMIC_RELAXED) && __atomic_exchange_n(&bank->doom, 0, __ATOMIC_RELAXED))
		kill(getpid(), SIGKILL); /* --chaos: the worst moment of all */
	step(&to->cents, (uint64_t)(to->cents + order->cents));
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
 * die before crew_lock_repaired the next one does the same again, after that the half names nobody.
 */
static void repair(struct bank *bank, const struct crew_lock *guard)
{
	for (uint32_t c = 0; c < bank->clerks; c++) {
		struct intent *intent = &bank->clerk[c].intent;
		if (!is_open(bank, intent))
			continue;
		for (struct half *half = intent->half; half < intent->half + 2; half++) {
			uint32_t a = __atomic_load_n(&half->account, __ATOMIC_RELAXED);
			if (a == NOBODY || guard_of(bank, a) != guard)
				continue;
			step(&bank->account[a].cents, (uint64_t)half->old);
			__atomic_store_n(&half->account, NOBODY, __ATOMIC_RELEASE);
		}
	}
}

static void guard_acquire(struct bank *bank, struct crew_lock *guard)
{
	int r = crew_lock_acquire(guard, CREW_FOREVER);
	must("crew_lock_acquire", r);
	if (r == CREW_OWNER_DIED) {
		repair(bank, guard);
		crew_lock_repaired(guard);
	}
}

static bool guarded_transfer(struct bank *bank, uint32_t clerk, const struct order *order, uint64_t number)
{
	struct crew_lock *first = guard_of(bank, order->from), *second = guard_of(bank, order->to);
	if (first > second) { /* always in the same order, or two clerks wait for each other for ever */
		struct crew_lock *swap = first;
		first = second;
		second = swap;
	}
	guard_acquire(bank, first);
	if (second != first)
		guard_acquire(bank, second);
	move_money(bank, &bank->clerk[clerk].intent, clerk, order, number);
	if (second != first)
		crew_lock_release(second);
	crew_lock_release(first);
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

/* Both halves are put back by whoever gets the guards: see to it that somebody does, now. */
static void guarded_settle(struct bank *bank, uint32_t clerk)
{
	struct intent *intent = &bank->clerk[clerk].intent;
	if (!is_open(bank, intent))
		return;
	for (struct half *half = intent->half; half < intent->half + 2; half++) {
		uint32_t a = __atomic_load_n(&half->account, __ATOMIC_ACQUIRE);
		if (a == NOBODY)
			continue;
		guard_acquire(bank, guard_of(bank, a));
		crew_lock_release(guard_of(bank, a));
	}
	bank->clerk[clerk].rolled_back++;
	step(&intent->number, 0);
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

static bool optimistic_transfer(struct bank *bank, uint32_t clerk, const struct order *order, uint64_t number)
{
	struct account *from = &bank->account[order->from], *to = &bank->account[order->to];
	struct intent *intent = &bank->clerk[clerk].intent;
	uint64_t from_version, to_version;
	for (;;) {
		if (!stable_version(bank, from, &from_version) || !stable_version(bank, to, &to_version))
			return false;
		/* Named before they are claimed: what a claim leaves behind can be found. */
		__atomic_store_n(&intent->half[0].account, order->from, __ATOMIC_RELEASE);
		__atomic_store_n(&intent->half[1].account, order->to, __ATOMIC_RELEASE);
		if (claim(from, from_version, clerk)) {
			if (claim(to, to_version, clerk))
				break;
			step(&from->version, from_version); /* nothing was changed */
		}
		bank->clerk[clerk].retries++;
	}
	move_money(bank, intent, clerk, order, number);
	publish(from);
	publish(to);
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
	for (struct half *half = intent->half; half < intent->half + 2; half++) {
		struct account *account = &bank->account[half->account];
		if (OWNER(look(&account->version)) != clerk + 1)
			continue;
		if (open)
			step(&account->cents, (uint64_t)half->old);
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
		for (struct half *half = intent->half; half < intent->half + 2; half++)
			step(&bank->account[half->account].cents, (uint64_t)half->old);
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
			move_money(bank, intent, letter->client, &letter->order, letter->number);
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
		.name = "atomic", .transfer = atomic_transfer, .audit = plain_audit, .audits_badly = true,
		.lesson = "atomic debit, atomic credit: no cent is lost, but audits see money on its way",
	}, {
		.name = "striped", .transfer = guarded_transfer, .audit = guarded_audit, .settle = guarded_settle, .guards = 64,
		.lesson = "64 locks, each for every 64th account, taken in order",
	}, {
		.name = "ordered", .transfer = guarded_transfer, .audit = guarded_audit, .settle = guarded_settle,
		.guards = UINT32_MAX,
		.lesson = "a lock per account, taken in order, so nobody waits in a circle",
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
