/*
 * bank.h - the bank: accounts, orders and clerks in shared memory
 *
 * Orders. One list of random orders, used round and round. Clerk w of W carries out the
 * positions w, w + W, w + 2W, ... so the set of the first N is the same for any W, and whoever
 * knows how many each clerk has done can compute every balance. Accounts may go below zero (the bank
 * gives credit), so the order of transfers does not change the balances either.
 *
 * Death. A clerk may be killed at any instruction. What it was about to do stands in its record of
 * intent, in shared memory, before it touches a balance:
 *
 *     1  half[], then number = done + 1    the intent is open: two accounts, their old balances
 *     2  the debit, 3 the credit
 *     4  done = number                     one store: the transfer is committed, the intent closed
 *
 * Whoever finds an open intent of a dead clerk puts the old balances back; the clerk's next life
 * carries the same order out again. Every step is a release store, so survivors see a prefix of them.
 */
#ifndef BANK_H
#define BANK_H

#include "cli.h"
#include "report.h"

#include <crew/crew.h>

#define INITIAL_CENTS INT64_C(100000) /* on every account at first */
#define ORDERS 65536u                 /* length of the list */
#define NOBODY UINT32_MAX

struct order {
	uint32_t from, to; /* never the same */
	int64_t cents;
};

struct account { /* a cache line each */
	int64_t cents;
	int64_t saved;         /* the balance when audit number saved_at began, */
	uint64_t saved_at;     /* kept by the first transfer that came across since */
	uint64_t version;      /* optimistic: number of changes << 16 | clerk + 1 who commits, 0: none */
	struct crew_lock lock; /* lock, striped, ordered: those of the first `guards` accounts are used */
	uint64_t spare[2];
};
static_assert(sizeof(struct account) == 64, "a cache line");

struct intent {
	uint64_t number; /* open if it is one more than what `client` has done */
	uint32_t client; /* whose order it is; the owner carries out those of others */
	struct half {
		uint32_t account; /* NOBODY once it has been put back */
		int64_t old;      /* balance before the transfer */
	} half[2];
};

struct clerk { /* written by its clerk (done of a client: by the owner); read by the survivors */
	_Alignas(64) uint64_t done; /* orders carried out: the commit point */
	uint64_t retries;     /* optimistic: commits refused because an account had changed */
	uint64_t rolled_back; /* lives that ended between debit and credit */
	struct intent intent;
};

struct bank {
	const struct strategy *strategy;
	struct account *account;
	const struct order *order;
	struct clerk *clerk;   /* one per worker, then the owner's */
	uint32_t accounts, clerks;
	uint32_t guards;       /* locks in use: account a is guarded by lock a % guards */
	uint64_t limit;        /* orders to carry out in all; 0: until stop */
	struct crew_event open;             /* all clerks are there: begin */
	struct crew_queue mailbox, answers; /* owner: to it, and to the auditor */
	uint64_t audits, bad_audits;        /* written by the auditor */
	_Alignas(64) uint64_t epoch;        /* number of the running audit; written by the auditor */
	_Alignas(64) uint32_t stop;         /* finish: set by the parent */
	uint32_t doom;                      /* --chaos: who sees this between debit and credit dies there */
};

struct strategy {
	const char *name;
	const char *lesson;
	/* Carry out an order as the clerk's number so and so; false: not done, the bank closes. */
	bool (*transfer)(struct bank *bank, uint32_t clerk, const struct order *order, uint64_t number);
	/* The total as it was at one moment after `epoch` began; false: the bank closes. */
	bool (*audit)(struct bank *bank, uint64_t epoch, int64_t *total);
	/* First thing in a clerk's next life; NULL: it takes no intent, so nobody may die. */
	void (*settle)(struct bank *bank, uint32_t clerk);
	uint32_t guards; /* at most; 0: none */
	bool has_owner;
	bool loses_money, audits_badly; /* and that is the lesson */
};

extern const struct strategy bank_strategies[];
extern const unsigned bank_strategy_count;

/* The owner's life: carry out what comes by mail until the mailbox is closed. */
void bank_own(struct bank *bank);

/* bank --replay FILE: the balances after all transactions of a ledger, computed in parallel. */
struct input;
int bank_replay(const struct cli *cli, const struct input *ledger);

#endif
