/*
 * deal.c - what an order does to the balances it names
 *
 * The mix `smallbank` is the six transactions of SmallBank (Alomari, Cahill, Fekete, Roehm: The Cost of Serializability
 * on Platforms That Use Snapshot Isolation, ICDE 2008), in the shares that H-Store and OLTP-Bench use. Each customer has
 * savings and checking. Cash that comes or goes passes through the till of the clerk, an account like
 * the others, so the total of all accounts is the same at any moment here, too, and audits need not know about deals.
 */
#include "bank.h"
#include "random.h"
#include "zipf.h"

#define PENALTY 100 /* cents, for a cheque beyond what the customer has */

bool deal_decide(const struct order *order, int64_t balance[PARTS])
{
	int64_t cents = order->cents, all;
	switch (order->deal) {
	case TRANSFER: /* from, to */
		break;
	case BALANCE: /* savings, checking: looked at together */
		return false;
	case DEPOSIT_CHECKING: /* till, checking */
		break;
	case TRANSACT_SAVINGS: /* savings, till: cents taken out, or, negative, paid in */
		if (balance[0] < cents)
			return false;
		break;
	case AMALGAMATE: /* savings, checking, and the other's checking, which gets all of it */
		all = balance[0] + balance[1];
		balance[0] = balance[1] = 0;
		balance[2] += all;
		return true;
	case WRITE_CHECK: /* checking, till, savings */
		if (balance[0] + balance[2] < cents)
			cents += PENALTY;
		break;
	case SEND_PAYMENT: /* checking, the other's checking */
		if (balance[0] < cents)
			return false;
		break;
	}
	balance[0] -= cents;
	balance[1] += cents;
	return true;
}

static uint32_t savings(uint32_t customer)
{
	return 2 * customer;
}

static uint32_t checking(uint32_t customer)
{
	return 2 * customer + 1;
}

void deal_smallbank(struct order *order, const struct zipf *customers, struct rng *rng)
{
	uint32_t one = (uint32_t)zipf_next(customers, rng), other = (uint32_t)zipf_next(customers, rng);
	if (other == one)
		other = (one + 1) % (uint32_t)customers->n;
	uint64_t chance = rng_below(rng, 100);
	int64_t cents = 1 + (int64_t)rng_below(rng, 20000);
	if (chance < 15)
		*order = (struct order){ AMALGAMATE, 3, { savings(one), checking(one), checking(other) }, 0 };
	else if (chance < 30)
		*order = (struct order){ BALANCE, 2, { savings(one), checking(one) }, 0 };
	else if (chance < 45)
		*order = (struct order){ DEPOSIT_CHECKING, 2, { TILL, checking(one) }, cents };
	else if (chance < 70)
		*order = (struct order){ SEND_PAYMENT, 2, { checking(one), checking(other) }, cents };
	else if (chance < 85)
		*order = (struct order){ TRANSACT_SAVINGS, 2, { savings(one), TILL }, chance % 2 ? cents : -cents };
	else
		*order = (struct order){ WRITE_CHECK, 3, { checking(one), TILL, savings(one) }, cents };
}
