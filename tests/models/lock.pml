/*
 * lock.pml - the lock word (src/sync/word.c) and its sweep
 *
 * Three threads take the lock once each. Claims: one owner at a time; whoever is not killed gets the lock and comes to its end.
 * FAULT: a release forgets the hold before it has woken the next: killed in between, it leaves a sleeper asleep for ever.
 */
#define ALL 4
#include "common.h"

byte owner;      /* the word: 0 or a thread */
bit sleepers, broken;
bool hold[ALL + 1];
byte inside;

proctype thread(byte i)
{
	byte v, rounds;
	bit slept, woken;
	{
		do
		:: rounds < 1 ->
			slept = 0;
			hold[i] = true;
again:
			v = owner;
			if
			:: v == 0 ->
				if
				:: atomic { owner == 0 -> owner = i; sleepers = sleepers | slept; assert(inside == 0 || dead[inside]); inside = i }
				:: atomic { owner != 0 -> goto again }
				fi
			:: else ->
				if
				:: atomic { owner == v -> sleepers = 1 }
				:: atomic { owner != v -> goto again }
				fi;
				if /* futex wait: sleeps only on the word that it has seen */
				:: atomic { owner == v && sleepers -> asleep[i] = true }
				:: atomic { !(owner == v && sleepers) -> goto again }
				fi;
				!asleep[i];
				slept = 1;
				goto again
			fi;
#ifdef FAULT
			hold[i] = false;
#endif
			atomic { assert(owner == i && inside == i); inside = 0; woken = sleepers; owner = 0; sleepers = 0; broken = 0 };
			if
			:: woken -> atomic { wake_one() }
			:: else
			fi;
			hold[i] = false;
			rounds++
		:: else -> break
		od;
		ended[i] = true
	} unless { dead[i] }
}

inline sweep(i)
{
	if
	:: hold[i] ->
		atomic { if :: owner == i -> owner = 0; sleepers = 0; broken = 1 :: else fi };
		wake_all();
		hold[i] = false
	:: else
	fi
}

SWEEPER

init
{
	atomic { run thread(1); run thread(2); run thread(3); run sweeper(); run killer() }
}
