/*
 * rwlock.pml - readers that say so in their own lanes, and a writer that looks through them (src/sync/rwlock.c)
 *
 * Two readers, one writer, once each. Claims: nobody reads while somebody writes; whoever is not killed comes to its end.
 * FAULT: the writer looks at the lanes before it has said that it writes.
 */
#define ALL 4
#include "common.h"

byte writer;           /* the word writer_: 0 or the thread that writes or wants to */
bool hold[ALL + 1];    /* a lane's hold READ */
bool reads[ALL + 1], writes;

proctype reader(byte i)
{
	byte rounds;
	{
		do
		:: rounds < 1 ->
again:
			hold[i] = true; /* (A) */
			if /* (B) */
			:: atomic { writer != 0 -> skip };
				hold[i] = false;
				if
				:: atomic { writer != 0 -> asleep[i] = true }
				:: atomic { writer == 0 -> goto again }
				fi;
				!asleep[i];
				goto again
			:: atomic { writer == 0 -> reads[i] = true }
			fi;
			assert(!writes);
			reads[i] = false;
			hold[i] = false;
			rounds++
		:: else -> break
		od;
		ended[i] = true
	} unless { dead[i] }
}

proctype a_writer(byte i)
{
	byte rounds;
	{
		do
		:: rounds < 1 ->
#ifdef FAULT
			!hold[1]; !hold[2];
			writer = i;
#else
			writer = i; /* (C) */
			!hold[1]; !hold[2]; /* (D); how it sleeps until then is the subject of bell.pml */
#endif
			writes = true;
			assert(!reads[1] && !reads[2]);
			writes = false;
			writer = 0;
			wake_all();
			rounds++
		:: else -> break
		od;
		ended[i] = true
	} unless { dead[i] }
}

inline sweep(i)
{
	if :: i == 3 -> atomic { writes = false; if :: writer == 3 -> writer = 0 :: else fi } :: else fi;
	wake_all();
	atomic { reads[i] = false; hold[i] = false }
}

SWEEPER

init
{
	atomic { run reader(1); run reader(2); run a_writer(3); run sweeper(); run killer() }
}
