/*
 * queue.pml - the ring of cells and the nodes that they name (src/channel/ring.c, queue_sweep.c)
 *
 * Two threads put three messages through a ring of two cells, with room for one, and three nodes; a third takes them. What
 * its death or anybody's leaves is taken at the end. Claims: each message whose put has taken effect is done with exactly once;
 * it comes again only if its attempt says so; nobody who lives is held up.
 * FAULT: the sweep takes a header QUEUED for a put that has not happened, without a look at the cell.
 */
#define ALL 4
#include "common.h"

#define CELLS 2
#define NODES 3
#define LAP(t) ((t) / CELLS + 1)
#define CELL(t) ((t) % CELLS)

mtype = { FREE, ALLOC, QUEUED, TAKEN, BACK };
mtype state[NODES] = FREE;
byte lane[NODES], ticket[NODES], id[NODES], attempt[NODES];
byte cell_lap[CELLS], cell_node[CELLS];
byte tail, head;                /* hints */
bool put[4], done[4];           /* ghosts, by message */
byte takes[4];

/* The first ticket from h that has not left, or not come; `there`: it is a message, in node m. */
inline walk_head()
{
	h = head;
	there = false;
	do
	:: atomic { cell_lap[CELL(h)] < LAP(h) -> break }
	:: atomic { cell_lap[CELL(h)] > LAP(h) -> h = h + (cell_lap[CELL(h)] - LAP(h) - 1) * CELLS + 1 }
	:: atomic { cell_lap[CELL(h)] == LAP(h) -> m = cell_node[CELL(h)] };
		if
		:: atomic { state[m] == QUEUED && ticket[m] == h -> there = true }; break
		:: atomic { !(state[m] == QUEUED && ticket[m] == h) -> h++ }
		fi
	od
}

proctype putter(byte i)
{
	byte n, m, t, h, lap, message, last;
	bool there;
	{
		d_step { message = (i == 1 -> 0 : 1); last = (i == 1 -> 0 : 2) };
		do
		:: message <= last ->
			if
			:: atomic { state[0] == FREE -> n = 0; state[n] = ALLOC; lane[n] = i; id[n] = message; attempt[n] = 1 }
			:: atomic { state[1] == FREE && state[0] != FREE -> n = 1; state[n] = ALLOC; lane[n] = i; id[n] = message; attempt[n] = 1 }
			:: atomic { state[2] == FREE && state[0] != FREE && state[1] != FREE -> n = 2; state[n] = ALLOC; lane[n] = i; id[n] = message; attempt[n] = 1 }
			:: OVER(3) -> break
			fi;
			t = tail;
again:
			do
			:: atomic { cell_lap[CELL(t)] < LAP(t) -> lap = cell_lap[CELL(t)]; break }
			:: atomic { cell_lap[CELL(t)] == LAP(t) -> t++ }
			:: atomic { cell_lap[CELL(t)] > LAP(t) -> t = t + (cell_lap[CELL(t)] - LAP(t)) * CELLS }
			od;
			walk_head();
			if
			:: t >= h + 1 -> /* full: until something has left */
				if
				:: atomic { !(state[m] == QUEUED && ticket[m] == h) -> goto again }
				:: OVER(3) -> state[n] = FREE; break
				fi
			:: else
			fi;
			atomic { state[n] = QUEUED; ticket[n] = t };
			if
			:: atomic { cell_lap[CELL(t)] == lap -> cell_lap[CELL(t)] = LAP(t); cell_node[CELL(t)] = n; put[message] = true }
			:: atomic { cell_lap[CELL(t)] != lap -> goto again }
			fi;
			atomic { if :: tail < t + 1 -> tail = t + 1 :: else fi };
			message++
		:: else -> break
		od;
		ended[i] = true
	} unless { dead[i] }
}

/* n is ours: it has been taken once more, and that is said. */
inline take(i)
{
	state[n] = TAKEN; lane[n] = i; takes[id[n]]++;
	assert(takes[id[n]] <= attempt[n] && !done[id[n]] && put[id[n]])
}

/* One message, if there is one. */
inline take_one(i)
{
	if
	:: atomic { state[0] == BACK -> n = 0; take(i) }
	:: atomic { state[1] == BACK && state[0] != BACK -> n = 1; take(i) }
	:: atomic { state[2] == BACK && state[1] != BACK && state[0] != BACK -> n = 2; take(i) }
	:: state[0] != BACK && state[1] != BACK && state[2] != BACK ->
		walk_head();
		n = NODES;
		if
		:: there ->
			atomic { if :: state[m] == QUEUED && ticket[m] == h -> n = m; take(i) :: else fi };
			atomic { if :: n < NODES && head < h + 1 -> head = h + 1 :: else fi }
		:: else
		fi
	fi;
	if
	:: n < NODES -> atomic { done[id[n]] = true; state[n] = FREE }
	:: else
	fi
}

proctype taker(byte i)
{
	byte n, m, h;
	bool there;
	{
		do
		:: !(OVER(1) && OVER(2)) -> (tail > head || OVER(1) && OVER(2) || cell_lap[CELL(head)] == LAP(head)); take_one(i)
		:: OVER(1) && OVER(2) -> break
		od;
		ended[i] = true
	} unless { dead[i] }
}

inline sweep_node(i, n)
{
	if
	:: lane[n] == i ->
		in_cell = cell_lap[CELL(ticket[n])] == LAP(ticket[n]) && cell_node[CELL(ticket[n])] == n; /* before the header */
#ifdef FAULT
		in_cell = false;
#endif
		atomic {
			if
			:: state[n] == ALLOC && lane[n] == i -> state[n] = FREE
			:: state[n] == QUEUED && lane[n] == i && !in_cell -> state[n] = FREE
			:: state[n] == TAKEN && lane[n] == i -> state[n] = BACK; attempt[n]++
			:: else
			fi
		}
	:: else
	fi
}

inline sweep(i)
{
	sweep_node(i, 0);
	sweep_node(i, 1);
	sweep_node(i, 2)
}

bool in_cell;
SWEEPER

init
{
	byte n, m, h;
	bool there;
	atomic { run putter(1); run putter(2); run taker(3); run sweeper(); run killer() }
	OVER(1) && OVER(2) && OVER(3) ->
	do
	:: take_one(5); if :: n == NODES -> break :: else fi
	od;
	for (n : 0 .. 2) { assert(done[n] == put[n]) }
	assert(state[0] == FREE && state[1] == FREE && state[2] == FREE)
}
