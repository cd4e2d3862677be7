/*
 * section.pml - a guard, two words that change together, and the undo log (src/sync/section.c)
 *
 * Two threads add one to both words, or put them back and leave. Claims: whoever is inside sees both equal; a section that
 * was committed counts, one that was not does not; whoever is not killed comes to its end.
 * FAULT: a word is stored before the log says that its old value counts.
 */
#define ALL 4
#include "common.h"

byte guard;
byte a, b, committed;
byte log_count[ALL + 1], log_a[ALL + 1], log_b[ALL + 1];

proctype thread(byte i)
{
	byte rounds;
	{
		do
		:: rounds < 2 ->
			atomic { guard == 0 -> guard = i }; /* how it waits is the subject of lock.pml */
			assert(a == b && a == committed);
#ifdef FAULT
			log_a[i] = a;
			a++;
			log_count[i] = 1;
#else
			log_a[i] = a;
			log_count[i] = 1;
			a++;
#endif
			log_b[i] = b;
			log_count[i] = 2;
			b++;
			if
			:: atomic { log_count[i] = 0; committed++ } /* committed: a ghost, part of the same step */
			:: b = log_b[i]; a = log_a[i]; log_count[i] = 0 /* abandoned */
			fi;
			guard = 0;
			rounds++
		:: else -> break
		od;
		ended[i] = true
	} unless { dead[i] }
}

inline sweep(i)
{
	if :: log_count[i] > 1 -> b = log_b[i] :: else fi;
	if :: log_count[i] > 0 -> a = log_a[i] :: else fi;
	log_count[i] = 0;
	atomic { if :: guard == i -> guard = 0 :: else fi }
}

SWEEPER

init
{
	atomic { ended[3] = true; run thread(1); run thread(2); run sweeper(); run killer() }
}
