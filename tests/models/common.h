/*
 * common.h - what the models have in common: threads that may be killed between any two steps, and who sweeps them
 *
 * A thread is `{ ... } unless { dead[i] }`: it ends between two of its steps. What the code does in one instruction is one
 * atomic step here, a sleep is a wait for asleep[i] to go, and no time passes: a wake-up that is lost is a state from
 * which nothing goes on, which spin finds. Who sweeps may be killed, too, and another one takes over.
 */
#ifndef KILLS
#define KILLS 2
#endif

bool dead[ALL + 1], swept[ALL + 1], ended[ALL + 1], asleep[ALL + 1];
byte kills;

inline wake_all()
{
	d_step { asleep[1] = false; asleep[2] = false; asleep[3] = false }
}

/* One of those that sleep, whichever. */
inline wake_one()
{
	if
	:: asleep[1] -> asleep[1] = false
	:: asleep[2] -> asleep[2] = false
	:: asleep[3] -> asleep[3] = false
	:: !asleep[1] && !asleep[2] && !asleep[3]
	fi
}

#define KILLABLE(i) (!dead[i] && !ended[i])
#define KILL(i) dead[i] = true; asleep[i] = false; kills++

proctype killer()
{
	do
	:: atomic { kills < KILLS && KILLABLE(1) -> KILL(1) }
	:: atomic { kills < KILLS && KILLABLE(2) -> KILL(2) }
	:: atomic { kills < KILLS && KILLABLE(3) -> KILL(3) }
	:: atomic { kills < KILLS && KILLABLE(4) -> KILL(4) }
	:: break
	od
}

#define OVER(i) (ended[i] || swept[i])
#define TO_SWEEP(i) (dead[i] && !swept[i])

/* Sweeps whoever is dead; `sweep` is the model's own. If it is killed the next one begins anew with whatever is not swept. */
#define SWEEPER \
proctype sweeper() \
{ \
next: \
	{ \
		do \
		:: TO_SWEEP(1) -> sweep(1); swept[1] = true \
		:: TO_SWEEP(2) -> sweep(2); swept[2] = true \
		:: TO_SWEEP(3) -> sweep(3); swept[3] = true \
		:: OVER(1) && OVER(2) && OVER(3) -> break \
		od; \
		ended[4] = true \
	} unless { atomic { dead[4] -> dead[4] = false; goto next } } \
}
