/*
 * ring.h - inside a queue: a ring of cells, and the nodes that they name
 *
 *     cell   lap:40 | node:24             of ticket t: lap t / cells + 1; smaller: nothing put yet. Only put writes it.
 *     era    first ticket, cells          a queue that grows has more cells for the tickets from `start` on; nodes are all eras'
 *     node   ticket:38 | attempt:8 | lane:15 | state:3, then the size, then 16 bytes or a block of the heap
 *
 * The header of a node is the truth about its message and names whoever is at work on it; cells give the order.
 *
 *     FREE -> ALLOC(me) -> QUEUED(me, t) -> TAKEN(me, t) -> FREE          each arrow one step of one word
 *                 ^ on loan         |          ^      |
 *                                   | cell     |      v
 *                              in the ring     +--- BACK(t), taken before all others
 *
 * A message is in the ring from the moment that its cell says (lap of t, node) until its header is no longer QUEUED(t).
 */
#ifndef CREW_CHANNEL_RING_H
#define CREW_CHANNEL_RING_H

#include <crew/queue.h>
#include "channel/message.h"

enum crew__node_state { CREW__FREE, CREW__ALLOC, CREW__QUEUED, CREW__TAKEN, CREW__BACK };

#define CREW__ATTEMPTS 255u
#define CREW__INLINE 16u
#define CREW__KEPT UINT64_C(4096) /* bytes: blocks up to this size stay with their node */
#define CREW__END_MARK 0xffffffu  /* instead of a node: the queue was closed at this ticket */
#define CREW__MORE_MARK 0xfffffeu /* the next era begins with this ticket */
#define CREW__CHUNKS 20u
#define CREW__ERAS 20u
#define CREW__LARGE 8u            /* nodes that keep a block larger than that, up to ... */
#define CREW__KEPT_LARGE (UINT64_C(4) << 20) /* ... this size */
#define CREW__LEASES 64u

struct crew__node {
	uint64_t header;
	uint64_t size; /* bytes; a batch (batch.c): CREW__BATCH | bytes of its block */
	uint64_t word[2];
};
static_assert(sizeof(struct crew__node) == 32, "two to a cache line");
#define CREW__BATCH (UINT64_C(1) << 62)
#define CREW__IN_BLOCK (UINT64_C(1) << 63) /* the payload is in the block, however small */
#define CREW__SIZE (CREW__BATCH - 1)

struct crew__kept { uint64_t block, bytes; }; /* a node's block, 0: none. Belongs to whoever has the node, and stays */

/* Constant from when crew__ring.newest is at least its number; the cells and their block are there before. */
struct crew__era {
	uint64_t start;       /* ticket */
	uint64_t cells;       /* where they are, in bytes from here */
	uint32_t shift;       /* how many cells, as a power of two: more than capacity */
	uint32_t capacity;
	uint64_t block;       /* a struct crew__more; 0: none yet, and of era 0 */
};
struct crew__more {
	uint32_t shift, capacity;
	uint64_t cell[];
};

/*
 * What a queue consists of, in one block made on first use. head, head_seen, tail are hints: never ahead of
 * the truth. All tickets below head have left the ring; all below tail have been put.
 */
struct crew__ring {
	uint64_t block;       /* this one */
	uint32_t newest;      /* era */
	uint32_t nodes_shift; /* how many in chunk 0, as a power of two */
	uint32_t leases;      /* 1: somebody has taken or borrowed, once */
	uint32_t large[CREW__LARGE]; /* number + 1 of those nodes, 0: not yet any. Set once */
	uint32_t spare;
	uint64_t chunk[CREW__CHUNKS]; /* nodes, then a crew__kept each; chunk k > 0 has as many as all before it */
	struct crew__era era[CREW__ERAS];
	uint64_t refused;     /* ticket: not to grow before */
	uint64_t pad0[4];

	uint64_t tail;        /* line of those who put */
	uint64_t head_seen;
	uint64_t highest;     /* length, looked at now and then */
	uint64_t pad1[13];

	uint64_t head;        /* line of those who take */
	uint64_t pad2[15];

	uint64_t back;        /* changes after a node has become BACK */
	uint64_t back_seen;   /* when `back` was this there was none left */
	uint64_t redelivered, dead_letters, dropped, sleeps;
	uint64_t pad3[10];

	uint64_t cell[];      /* of era 0 */
};
static_assert(offsetof(struct crew__ring, tail) % 128 == 0 && offsetof(struct crew__ring, cell) % 128 == 0, "lines of their own");

struct crew__claim {
	struct crew__node *node;
	struct crew__kept *kept;
	uint64_t header;      /* as it was seen, or as it is, if ours */
	uint64_t ticket;
	uint32_t index;
	const struct crew__era *era; /* of the ring's first */
};

static inline uint64_t crew__header(enum crew__node_state state, uint32_t lane, uint32_t attempt, uint64_t ticket)
{
	return (uint64_t)state | (uint64_t)(lane & 0x7fffu) << 3 | (uint64_t)attempt << 18 | ticket << 26;
}
static inline enum crew__node_state crew__header_state(uint64_t header) { return (enum crew__node_state)(header & 7); }
static inline uint32_t crew__header_lane(uint64_t header) { return header >> 3 & 0x7fffu; }
static inline uint32_t crew__header_attempt(uint64_t header) { return header >> 18 & 0xffu; }
static inline uint64_t crew__header_ticket(uint64_t header) { return header >> 26; }
/* The same message in another state. */
static inline uint64_t crew__header_as(uint64_t header, enum crew__node_state state, uint32_t lane)
{
	return (header & ~UINT64_C(0x3ffff)) | crew__header(state, lane, 0, 0);
}

static inline uint64_t crew__header_load(const struct crew__node *node)
{
	return __atomic_load_n(&node->header, __ATOMIC_ACQUIRE);
}
static inline bool crew__header_move(struct crew__node *node, uint64_t from, uint64_t to)
{
	return __atomic_compare_exchange_n(&node->header, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE);
}

/* A branch, not an address that waits for the word: most queues have one era. */
static inline struct crew__era *crew__era_newest(struct crew__ring *ring)
{
	uint32_t newest = __atomic_load_n(&ring->newest, __ATOMIC_ACQUIRE);
	return __builtin_expect(newest == 0, 1) ? ring->era : &ring->era[newest];
}
/* The era of a ticket. Read the ticket first: whoever passed it on knew of its era. */
static inline struct crew__era *crew__era_of(struct crew__ring *ring, uint64_t ticket)
{
	struct crew__era *era = crew__era_newest(ring);
	while (__builtin_expect(era != ring->era, 0) && ticket < __atomic_load_n(&era->start, __ATOMIC_RELAXED))
		era--;
	return era;
}
static inline uint32_t crew__era_shift(const struct crew__era *era)
{
	return __atomic_load_n(&era->shift, __ATOMIC_RELAXED);
}
static inline uint32_t crew__era_capacity(const struct crew__era *era)
{
	return __atomic_load_n(&era->capacity, __ATOMIC_RELAXED);
}
static inline uint64_t crew__lap(const struct crew__era *era, uint64_t ticket)
{
	return (ticket >> crew__era_shift(era)) + 1;
}
static inline uint64_t *crew__cell(const struct crew__era *era, uint64_t ticket)
{
	uint64_t *cells = (uint64_t *)((uintptr_t)era + __atomic_load_n(&era->cells, __ATOMIC_RELAXED));
	return &cells[ticket & ((UINT64_C(1) << crew__era_shift(era)) - 1)];
}
static inline uint64_t crew__cell_word(const struct crew__era *era, uint64_t ticket, uint32_t node)
{
	return crew__lap(era, ticket) << 24 | node;
}
/* Whoever finds the mark in the cell of `ticket` makes sure that the next era has begun, and goes on there. */
struct crew__era *crew__era_next(struct crew__ring *ring, struct crew__era *era, uint64_t ticket);

/* The queue's ring if it has one, or NULL; made if it has none: 0, -ENOMEM, ... */
static inline struct crew__ring *crew__ring_of(const struct crew_queue *queue)
{
	uint64_t at = __atomic_load_n(&queue->ring_, __ATOMIC_ACQUIRE);
	return at ? crew__at(at) : NULL;
}
int crew__ring_make(struct crew_queue *queue, struct crew__lane *lane, struct crew__ring **ret);

/* Room for `size` bytes in the block of a node of ours. */
int crew__node_room(struct crew__lane *lane, struct crew__claim *claim, uint64_t size);
/* A node of ours becomes FREE, and gives a large block back if the queue keeps enough of them. */
void crew__node_release(struct crew__ring *ring, struct crew__lane *lane, struct crew__claim *claim, unsigned hand);
/* The word that names a block of ours, or of nobody else's: the block is freed, and the word 0. */
void crew__block_give_up(struct crew__lane *lane, uint64_t *where, unsigned hand);
void *crew__node_payload(const struct crew__claim *claim);

void crew__ring_mark_end(struct crew__ring *ring);
/* A full queue: 0, look again; -EAGAIN: it does not grow, or not now. */
int crew__ring_grow(const struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane);
/* Messages in the ring, and how many nodes are in one of these states (bits 1 << state). */
uint32_t crew__ring_length(struct crew__ring *ring);
uint32_t crew__nodes_in(struct crew__ring *ring, unsigned states);
/* Blocks of the heap that it consists of, while nobody changes it: for tests. */
uint32_t crew__ring_blocks(struct crew__ring *ring);

#endif
