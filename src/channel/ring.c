/*
 * ring.c - how a message gets into the ring and out of it, whoever is stopped or dies
 *
 * State    see ring.h. The truth: headers and cells. Hints: tail, head, head_seen, highest.
 * Writers  a header: anybody by CAS while FREE, in the ring or BACK; whom it names by store; the sweeper of whom it
 *          names by CAS. A cell: put, by CAS, once a lap. All else of a node: whom its header names.
 * Moves    put takes effect at the CAS of the cell (A), take and get at the CAS of the header (B).
 * Order    header QUEUED(t), then (A): whoever sees the cell sees the header, or a later one.
 *          A cell is used again only when its last message has left (capacity < cells), so nobody clears cells.
 *          Ticket t is put only by who saw t - 1 put: no holes. Nobody takes t before t - 1 has left.
 * Growth   New cells, in their place before they are used; then a mark, instead of a node, in the cell of the next ticket (C): no
 *          old cell changes any more, as who puts later sees the mark first. Whoever comes to the mark begins the next era with that
 *          ticket, if nobody has: all write the same. Tickets go on, nodes are the same; old cells stay until fini, and are
 *          together fewer than the new ones. (C) needs no more than (A): that what was in the cell has left.
 *          (A), (B), then a look at the bells; sleepers arm a bell, then look at the ring: all sequentially consistent.
 * A stopped process delays nobody: its node is ALLOC or TAKEN, or its message is in the ring and anybody takes it.
 * Death    ALLOC, or QUEUED and not in its cell: nothing was put; the sweep makes it FREE. TAKEN: it makes it BACK.
 *          A block moves between a node and the lane's hand by the lane's undo log, without a guard: both words
 *          belong to this lane alone. lane->queue_block names a chunk, or new cells, until it is in place: the sweep looks whether it is.
 * ABA      A late CAS of a header needs the same ticket and node: 2^38 messages later. One of a cell the same lap: 2^40 laps.
 * Source   After the MPMC queue of LCRQ and Vyukov's ring, with the claim by name in the node (Friedman et al., PPoPP'18).
 */
#include <string.h>
#include "channel/ring_walk.h"
#include "memory/heap.h"

#define LEAST 16u
#define ALIGNMENT 128u
#define DEFAULT_CAPACITY 1024u
#define MOST (UINT64_C(1) << 22) /* messages, of a queue that grows: nodes for them and for as many leases */

static uint32_t shift_for(uint64_t count)
{
	uint32_t shift = 4;
	while (UINT64_C(1) << shift < count)
		shift++;
	return shift;
}

static uint64_t chunk_bytes(uint64_t nodes)
{
	return nodes * (sizeof(struct crew__node) + sizeof(struct crew__kept));
}

/* A zeroed block that nobody but lane->queue_block names. */
static int make_block(struct crew__lane *lane, size_t size, uint64_t *ret)
{
	void *block;
	int r = crew__alloc_mine(lane, CREW__HAND, size, &block);
	if (r < 0)
		return r;
	memset(block, 0, size);
	*ret = crew__offset(block);
	crew__set64(lane, &lane->queue_block, *ret);
	crew__set64(lane, &lane->mine[CREW__HAND], 0);
	crew__commit(lane);
	return 0;
}

/* Put that block where there is none yet; if somebody was quicker it is freed. */
static void place_block(struct crew__lane *lane, uint64_t *where, uint64_t value)
{
	uint64_t none = 0;
	if (!__atomic_compare_exchange_n(where, &none, value, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE))
		crew__block_give_up(lane, &lane->queue_block, CREW__HAND);
	__atomic_store_n(&lane->queue_block, 0, __ATOMIC_RELEASE);
}

static int make(struct crew_queue *queue, struct crew__lane *lane)
{
	uint32_t capacity = queue->capacity_ ? queue->capacity_ : DEFAULT_CAPACITY;
	uint32_t cells = shift_for((uint64_t)capacity + 1), nodes = shift_for(capacity);
	if (nodes > 23)
		return -ENOMEM;
	uint64_t block, front = sizeof(struct crew__ring) + (sizeof(uint64_t) << cells);
	int r = make_block(lane, ALIGNMENT + front + chunk_bytes(UINT64_C(1) << nodes), &block);
	if (r < 0)
		return r;
	uint64_t at = (block + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
	struct crew__ring *ring = crew__at(at);
	ring->block = block;
	ring->era[0] = (struct crew__era){ .cells = (uintptr_t)ring->cell - (uintptr_t)ring->era, .shift = cells, .capacity = capacity };
	ring->nodes_shift = nodes;
	ring->chunk[0] = at + front;
	place_block(lane, &queue->ring_, at);
	return 0;
}

/* That for dead letters too: a sweep, which may need it, allocates nothing. */
int crew__ring_make(struct crew_queue *queue, struct crew__lane *lane, struct crew__ring **ret)
{
	struct crew_queue *late = queue->late_ ? crew__at(queue->late_) : NULL;
	int r = 0;
	if (late && !crew__ring_of(late)) {
		__atomic_store_n(&lane->queue, queue->late_, __ATOMIC_RELEASE); /* where a sweep looks for its block */
		r = make(late, lane);
		__atomic_store_n(&lane->queue, crew__offset(queue), __ATOMIC_RELEASE);
	}
	if (r == 0)
		r = make(queue, lane);
	*ret = crew__ring_of(queue);
	return r;
}

int crew__node_add(struct crew__ring *ring, struct crew__lane *lane, uint32_t nodes)
{
	uint32_t chunk = shift_for(nodes) - ring->nodes_shift + 1;
	uint64_t block;
	if (chunk >= CREW__CHUNKS || (uint64_t)nodes * 2 >= CREW__END_MARK)
		return -ENOMEM;
	int r = make_block(lane, chunk_bytes(nodes), &block);
	if (r == 0)
		place_block(lane, &ring->chunk[chunk], block);
	return r;
}

/* ---- growth ---- */

struct crew__era *crew__era_next(struct crew__ring *ring, struct crew__era *era, uint64_t ticket)
{
	struct crew__era *next = era + 1;
	uint32_t number = (uint32_t)(era - ring->era);
	const struct crew__more *more = crew__at(crew__load(&next->block));
	__atomic_store_n(&next->cells, (uintptr_t)more->cell - (uintptr_t)next, __ATOMIC_RELAXED);
	__atomic_store_n(&next->shift, more->shift, __ATOMIC_RELAXED);
	__atomic_store_n(&next->capacity, more->capacity, __ATOMIC_RELAXED);
	__atomic_store_n(&next->start, ticket, __ATOMIC_RELAXED);
	/* A step, not a store: whoever comes late must not take it back. */
	__atomic_compare_exchange_n(&ring->newest, &number, number + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE);
	return next;
}

/* How many messages are to fit next: twice as many, or as many as the cap allows if they are as large as those now inside; 0: none more. */
static uint32_t next_capacity(struct crew__ring *ring, const struct crew__era *now, uint64_t cap)
{
	uint32_t nodes = crew__nodes(ring);
	uint64_t capacity = crew__era_capacity(now), more = 2 * capacity < MOST ? 2 * capacity : MOST, blocks = 0, used = chunk_bytes(nodes);
	for (uint32_t i = 0; cap && i < nodes; i++) {
		struct crew__claim claim;
		crew__node_at(ring, i, &claim);
		if (crew__load(&claim.kept->block))
			blocks += __atomic_load_n(&claim.kept->bytes, __ATOMIC_RELAXED);
	}
	for (const struct crew__era *era = ring->era; era <= now; era++)
		used += sizeof(uint64_t) << crew__era_shift(era);
	for (; more > capacity + capacity / 8; more -= more / 16) {
		uint64_t cost = (sizeof(uint64_t) << shift_for(more + 1)) + (more > nodes ? chunk_bytes(nodes) : 0) +
			blocks / capacity * (more - capacity);
		if (cap == UINT64_MAX || used + blocks + cost <= cap)
			return (uint32_t)more;
	}
	return 0;
}

int crew__ring_grow(const struct crew_queue *queue, struct crew__ring *ring, struct crew__lane *lane)
{
	struct crew__era *era;
	uint64_t cell, ticket = crew__walk_tail(ring, crew__load(&ring->tail), &era, &cell), block;
	if (!queue->cap_ || era == &ring->era[CREW__ERAS - 1])
		return -EAGAIN;
	if (cell == crew__cell_word(era, ticket, CREW__END_MARK))
		return 0;
	if (!crew__load(&era[1].block)) {
		if (ticket < crew__load(&ring->refused))
			return -EAGAIN;
		uint32_t capacity = next_capacity(ring, era, queue->cap_), shift = shift_for((uint64_t)capacity + 1);
		if (!capacity || make_block(lane, sizeof(struct crew__more) + (sizeof(uint64_t) << shift), &block) < 0) {
			crew__hint(&ring->refused, ticket + crew__era_capacity(era)); /* so not each that waits reckons again */
			return -EAGAIN;
		}
		struct crew__more *more = crew__at(block);
		more->shift = shift;
		more->capacity = capacity;
		place_block(lane, &era[1].block, block);
	}
	if (__atomic_compare_exchange_n(crew__cell(era, ticket), &cell, crew__cell_word(era, ticket, CREW__MORE_MARK), false,
			__ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE)) /* (C) */
		crew__era_next(ring, era, ticket);
	return 0;
}

void crew__block_give_up(struct crew__lane *lane, uint64_t *where, unsigned hand)
{
	if (!*where)
		return;
	crew__set64(lane, &lane->mine[hand], *where);
	crew__set64(lane, where, 0);
	crew__commit(lane);
	crew__free_mine(lane, hand);
}

int crew__node_room(struct crew__lane *lane, struct crew__claim *claim, uint64_t size)
{
	void *block;
	if (claim->kept->block && claim->kept->bytes >= size)
		return 0;
	crew__block_give_up(lane, &claim->kept->block, CREW__HAND);
	int r = crew__alloc_mine(lane, CREW__HAND, size, &block);
	if (r < 0)
		return r;
	__atomic_store_n(&claim->kept->bytes, crew_usable_size(block), __ATOMIC_RELAXED);
	crew__set64(lane, &claim->kept->block, crew__offset(block));
	crew__set64(lane, &lane->mine[CREW__HAND], 0);
	crew__commit(lane);
	return 0;
}

/* Whether the node is one of those that keep a large block, or becomes one. Only who has the node asks. */
static bool keeps_large(struct crew__ring *ring, const struct crew__claim *claim)
{
	if (claim->kept->bytes > CREW__KEPT_LARGE)
		return false;
	for (unsigned i = 0; i < CREW__LARGE; i++) {
		uint32_t none = 0, number = __atomic_load_n(&ring->large[i], __ATOMIC_RELAXED);
		if (number == claim->index + 1 || (!number && (__atomic_compare_exchange_n(&ring->large[i], &none, claim->index + 1,
				false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED) || none == claim->index + 1)))
			return true;
	}
	return false;
}

/* The first that is free: the last one used, nearly always. */
bool crew__node_claim_large(struct crew__ring *ring, struct crew__lane *lane, struct crew__claim *ret)
{
	uint64_t mine = crew__header(CREW__ALLOC, crew__lane_id(lane), 0, 0);
	for (unsigned i = 0; i < CREW__LARGE; i++) {
		uint32_t number = __atomic_load_n(&ring->large[i], __ATOMIC_RELAXED);
		if (!number)
			return false;
		crew__node_at(ring, number - 1, ret);
		if (crew__header_load(ret->node) == 0 && crew__header_move(ret->node, 0, mine)) {
			ret->header = mine;
			return true;
		}
	}
	return false;
}

void crew__node_release(struct crew__ring *ring, struct crew__lane *lane, struct crew__claim *claim, unsigned hand)
{
	if (claim->kept->block && claim->kept->bytes > CREW__KEPT && !keeps_large(ring, claim)) {
		/* The message is gone before its block is. */
		__atomic_store_n(&claim->node->header, crew__header_as(claim->header, CREW__ALLOC,
			crew__header_lane(claim->header)), __ATOMIC_SEQ_CST);
		crew__block_give_up(lane, &claim->kept->block, hand);
	}
	__atomic_exchange_n(&claim->node->header, 0, __ATOMIC_SEQ_CST);
}

void *crew__node_payload(const struct crew__claim *claim)
{
	uint64_t size = __atomic_load_n(&claim->node->size, __ATOMIC_RELAXED);
	return size <= CREW__INLINE ? (void *)claim->node->word : crew__at(claim->kept->block);
}

void crew__ring_mark_end(struct crew__ring *ring)
{
	struct crew__era *era;
	for (uint64_t ticket = crew__load(&ring->tail), cell;;) {
		ticket = crew__walk_tail(ring, ticket, &era, &cell);
		uint64_t mark = crew__cell_word(era, ticket, CREW__END_MARK);
		if (cell == mark || __atomic_compare_exchange_n(crew__cell(era, ticket), &cell, mark, false, __ATOMIC_SEQ_CST,
				__ATOMIC_ACQUIRE))
			return;
	}
}

uint32_t crew__ring_length(struct crew__ring *ring)
{
	struct crew__claim first, again;
	struct crew__era *era;
	uint64_t tail, cell;
	crew__walk_head(ring, crew__load(&ring->head), &again);
	do {
		first = again;
		tail = crew__walk_tail(ring, crew__load(&ring->tail), &era, &cell);
		crew__walk_head(ring, first.ticket, &again);
	} while (again.ticket != first.ticket); /* nobody has left meanwhile: exact when the tail was looked at */
	return (uint32_t)(tail - first.ticket);
}

uint32_t crew__nodes_in(struct crew__ring *ring, unsigned states)
{
	uint32_t nodes = crew__nodes(ring), count = 0;
	for (uint32_t i = 0; i < nodes; i++) {
		struct crew__claim claim;
		crew__node_at(ring, i, &claim);
		count += states >> crew__header_state(crew__header_load(claim.node)) & 1;
	}
	return count;
}

uint32_t crew__ring_blocks(struct crew__ring *ring)
{
	uint32_t nodes = crew__nodes(ring), count = 1;
	for (uint32_t i = 1; i < CREW__CHUNKS; i++)
		count += ring->chunk[i] != 0;
	for (uint32_t i = 1; i < CREW__ERAS; i++)
		count += ring->era[i].block != 0;
	for (uint32_t i = 0; i < nodes; i++) {
		struct crew__claim claim;
		crew__node_at(ring, i, &claim);
		count += claim.kept->block != 0;
	}
	return count;
}

int crew__ring_search_back(struct crew__ring *ring, uint64_t back, struct crew__claim *ret)
{
	uint32_t nodes = crew__nodes(ring);
	bool found = false;
	for (uint32_t i = 0; i < nodes; i++) {
		struct crew__claim claim;
		crew__node_at(ring, i, &claim);
		claim.header = crew__header_load(claim.node);
		claim.ticket = crew__header_ticket(claim.header);
		if (crew__header_state(claim.header) == CREW__BACK && (!found || claim.ticket < ret->ticket)) {
			*ret = claim;
			found = true;
		}
	}
	if (!found) /* whoever comes back after the look at `back` changes it */
		__atomic_store_n(&ring->back_seen, back, __ATOMIC_RELEASE);
	return found ? 0 : -EAGAIN;
}
