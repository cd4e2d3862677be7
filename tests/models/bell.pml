/*
 * bell.pml - a bell: a word that changes when there is news (src/sync/bell.c)
 *
 * One thread posts a unit, two wait for it. Claims: with units there and nobody to come,
 * nobody sleeps: neither the ringer's death nor a woken sleeper's loses a wake-up.
 * FAULT: the sleeper looks whether there is something before it looks at the bell.
 */
#define ALL 4
#include "common.h"

byte units, posted;
byte bell;             /* how often it has rung */
bit armed;
bool owes[ALL + 1], slept[ALL + 1];

inline change(all)
{
	atomic { bell++; woken = armed; if :: all -> armed = 0 :: else fi }
}

proctype poster(byte i)
{
	byte rounds;
	bit woken;
	{
		do
		:: rounds < 1 ->
			owes[i] = true;
			units++;
			change(0);
			if :: woken -> atomic { wake_one() } :: else fi;
			owes[i] = false;
			rounds++
		:: else -> break
		od;
		ended[i] = true
	} unless { dead[i] }
}

/* Takes units until all others are gone; there must be none left then. */
proctype taker(byte i)
{
	byte seen;
	{
		skip;
again:
#ifdef FAULT
		if
		:: atomic { units > 0 -> units--; goto again }
		:: units == 0
		fi;
		seen = bell;
#else
		seen = bell;
		if
		:: atomic { units > 0 -> units--; goto again }
		:: units == 0
		fi;
#endif
		if
		:: atomic { bell == seen -> armed = 1 }
		:: atomic { bell != seen -> goto again }
		fi;
		slept[i] = true;
		if
		:: atomic { bell == seen -> asleep[i] = true }
		:: atomic { bell != seen -> goto again }
		fi;
		if
		:: !asleep[i] -> goto again
		:: atomic { asleep[i] && OVER(1) && (OVER(5 - i) || asleep[5 - i]) -> assert(units == 0); asleep[i] = false }
		fi;
		ended[i] = true
	} unless { dead[i] }
}

inline sweep(i)
{
	if
	:: owes[i] -> atomic { bell++; armed = 0 }; wake_all(); owes[i] = false
	:: else
	fi;
	if
	:: slept[i] -> wake_all() /* waited_on: a wake-up that it was given goes to the others */
	:: else
	fi
}

SWEEPER

init
{
	atomic { run poster(1); run taker(2); run taker(3); run sweeper(); run killer() }
}
