/*
 * bank.h - the bank: accounts, orders and clerks in shared memory
 *
 * Orders. One list of random orders, used round and round. Clerk w of W carries out the
 * positions w, w + W, w + 2W, ... so the set of the first N is the same for any W, and whoever
 * knows how many each clerk has done can compute every balance. In the mix `transfers` accounts may go below
 * zero (the bank gives credit), so the order of transfers does not change the balances either. What an order
 * does to the accounts it names says bank/deal.c, which also has the mix `smallbank`; no cent comes or goes in any of them.
 *
 * Death. A clerk may be killed at any instruction. What it was about to do stands in its record of
 * intent, in shared memory, before it touches a balance:
 *
 *     1  part[], then number = done + 1    the intent is open: the accounts, their old balances
 *     2  the debit, 3 the credit
 *     4  done = number                     one store: the order is committed, the intent closed
 *
 * Whoever finds an open intent of a dead clerk puts the old balances back; the clerk's next life
 * carries the same order out again. Every step is a release store, so survivors see a prefix of them.
 */
#ifndef BANK_H
#define BANK_H

#include "cli.h"
#include "histogram.h"
#include "report.h"

#include <crew/crew.h>

#define INITIAL_CENTS INT64_C(100000) /* on every account at first */
#define ORDERS 65536u                 /* length of the list */
#define NOBODY UINT32_MAX
#define SAMPLE 8u                     /* orders from one that is timed to the next: looking at the clock costs, too */

enum deal { TRANSFER, BALANCE, DEPOSIT_CHECKING, TRANSACT_SAVINGS, AMALGAMATE, WRITE_CHECK, SEND_PAYMENT };
#define PARTS 3       /* accounts that one order touches, at most */
#define TILL (NOBODY - 1) /* as an account of an order: the till of the clerk who carries it out */

struct order {
	enum deal deal;
	uint32_t parts;
	uint32_t account[PARTS]; /* no two are the same */
	int64_t cents;
};

struct account { /* a cache line each; the first three words are what an order changes */
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
	uint32_t added;  /* atomic: additions that are done */
	struct part {
		uint32_t account; /* NOBODY: none, or it has been put back */
		int64_t cents;    /* balance before; atomic: what is to be added */
	} part[PARTS];
};

struct clerk { /* written by its clerk (done of a client: by the owner); read by the survivors */
	_Alignas(64) uint64_t done; /* orders carried out: the commit point */
	uint64_t retries;     /* optimistic: commits refused because an account had changed */
	uint64_t rolled_back; /* lives that ended between debit and credit */
	uint64_t refused;     /* orders that the balances did not allow: carried out, and nothing changed */
	struct intent intent;
	uint64_t deadlocks;   /* unordered: circles that this clerk would have closed */
	uint64_t begun;       /* journal: order that a life has begun to carry out */
	struct histogram latency; /* of every SAMPLE-th order, ns */
};

struct bank {
	const struct strategy *strategy;
	struct account *account;
	const struct order *order;
	struct clerk *clerk;   /* one per worker, then the owner's */
	uint32_t accounts;     /* all, with the tills */
	uint32_t tills;        /* number of the first till, one for each clerk; as many as `accounts` if there are none */
	uint32_t clerks;
	uint32_t guards;       /* locks in use: account a is guarded by lock a % guards */
	uint64_t limit;        /* orders to carry out in all; 0: until stop */
	struct crew_event open;             /* all clerks are there: begin */
	struct crew_queue mailbox, answers; /* owner: to it, and to the auditor */
	uint64_t audits, bad_audits;        /* written by the auditor */
	_Alignas(64) uint64_t epoch;        /* number of the running audit; written by the auditor */
	_Alignas(64) uint32_t stop;         /* finish: set by the parent */
	uint32_t circle_told;               /* unordered: one of the clerks tells of the first deadlock, */
	char circle[1024];                  /* in words */
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
	bool dies_between; /* killed between debit and credit only: elsewhere nobody could tell what was done */
	uint32_t guards; /* at most; 0: none */
	unsigned lock_flags;
	bool has_owner;
	bool loses_money, audits_badly; /* and that is the lesson */
};

extern const struct strategy bank_strategies[];
extern const unsigned bank_strategy_count;

/* What is on an account before the first order. */
static inline int64_t initial_cents(const struct bank *bank, uint32_t account)
{
	return account < bank->tills ? INITIAL_CENTS : 0;
}

/* The number of an order's account, for the clerk who carries it out. */
static inline uint32_t account_of(const struct bank *bank, const struct order *order, uint32_t part, uint32_t clerk)
{
	return order->account[part] == TILL ? bank->tills + clerk : order->account[part];
}

/* The new balances of the order's accounts from the old; false: refused, they stay. */
bool deal_decide(const struct order *order, int64_t balance[PARTS]);

/* A random order of the mix smallbank, between customers 0 ... accounts / 2 - 1 as `pick` chooses them. */
struct rng;
struct zipf;
void deal_smallbank(struct order *order, const struct zipf *customers, struct rng *rng);

/* The owner's life: carry out what comes by mail until the mailbox is closed. */
void bank_own(struct bank *bank);

/* --baseline: transfers per second of the same work by others. python: 0 if it is not installed. */
double bank_pthread_rival(const struct bank *bank, double seconds, int64_t *missing);
double bank_python_rival(const struct bank *bank, double seconds);

/* bank --replay FILE: the balances after all transactions of a ledger, computed in parallel. */
struct input;
int bank_replay(const struct cli *cli, const struct input *ledger);

#endif
