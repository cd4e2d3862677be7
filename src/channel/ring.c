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
 *          (A), (B), then a look at the bells; sleepers arm a bell, then look at the ring: all sequentially consistent.
 * A stopped process delays nobody: its node is ALLOC or TAKEN, or its message is in the ring and anybody takes it.
 * Death    ALLOC, or QUEUED and not in its cell: nothing was put; the sweep makes it FREE. TAKEN: it makes it BACK.
 *          A block moves between a node and the lane's hand by the lane's undo log, without a guard: both words
 *          belong to this lane alone. lane->queue_block names a chunk until it is in place: the sweep looks whether it is.
 * ABA      A late CAS of a header needs the same ticket and node: 2^38 messages later. One of a cell the same lap: 2^40 laps.
 * Source   After the MPMC queue of LCRQ and Vyukov's ring, with the claim by name in the node (Friedman et al., PPoPP'18).
 */
#include <string.h>
#include "channel/ring.h"
#include "memory/heap.h"

#define LEAST 16u
#define ALIGNMENT 128u
#define DEFAULT_CAPACITY 1024u
#define LOOK_EVERY 64u /* tickets: at the length, for `highest` */

static uint32_t shift_for(uint64_t count)
{
	uint32_t shift = 4;
	while (UINT64_C(1) << shift < count)
		shift++;
	return shift;
}

static uint64_t load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* A hint grows; if a late store makes it smaller that costs a walk, no more. */
static void raise_to(uint64_t *hint, uint64_t value)
{
	if ((int64_t)(value - __atomic_load_n(hint, __ATOMIC_RELAXED)) > 0)
		__atomic_store_n(hint, value, __ATOMIC_RELEASE);
}

static uint64_t chunk_nodes(const struct crew__ring *ring, uint32_t chunk)
{
	return UINT64_C(1) << (ring->nodes_shift + (chunk ? chunk - 1 : 0));
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

int crew__ring_make(struct crew_queue *queue, struct crew__lane *lane, struct crew__ring **ret)
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
	ring->capacity = capacity;
	ring->cells_shift = cells;
	ring->nodes_shift = nodes;
	ring->chunk[0] = at + front;
	place_block(lane, &queue->ring_, at);
	*ret = crew__ring_of(queue);
	return 0;
}

uint32_t crew__nodes(const struct crew__ring *ring)
{
	uint32_t chunks = 1;
	while (chunks < CREW__CHUNKS && load(&ring->chunk[chunks]))
		chunks++;
	return UINT32_C(1) << (ring->nodes_shift + chunks - 1);
}

void crew__node_at(struct crew__ring *ring, uint32_t index, struct crew__claim *ret)
{
	uint32_t high = index >> ring->nodes_shift;
	uint32_t chunk = high ? 32u - (uint32_t)__builtin_clz(high) : 0;
	uint64_t count = chunk_nodes(ring, chunk), inside = chunk ? index - count : index;
	struct crew__node *nodes = crew__at(load(&ring->chunk[chunk]));
	ret->index = index;
	ret->node = nodes + inside;
	ret->kept = (struct crew__kept *)(void *)(nodes + count) + inside;
}

static int add_chunk(struct crew__ring *ring, struct crew__lane *lane, uint32_t nodes)
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

int crew__node_claim(struct crew__ring *ring, struct crew__lane *lane, struct crew__claim *ret)
{
	uint64_t mine = crew__header(CREW__ALLOC, crew__lane_id(lane), 0, 0);
	for (;;) {
		/* Messages come and go in the order of tickets, so the next node is nearly always free. */
		uint32_t nodes = crew__nodes(ring), from = (uint32_t)__atomic_load_n(&ring->tail, __ATOMIC_RELAXED);
		for (uint32_t i = 0; i < nodes; i++) {
			crew__node_at(ring, (from + i) & (nodes - 1), ret);
			if (__atomic_load_n(&ret->node->header, __ATOMIC_RELAXED) == 0 && crew__header_move(ret->node, 0, mine)) {
				ret->header = mine;
				return 0;
			}
		}
		int r = add_chunk(ring, lane, nodes);
		if (r < 0)
			return r;
	}
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
	claim->kept->bytes = crew_usable_size(block);
	crew__set64(lane, &claim->kept->block, crew__offset(block));
	crew__set64(lane, &lane->mine[CREW__HAND], 0);
	crew__commit(lane);
	return 0;
}

void crew__node_release(struct crew__lane *lane, struct crew__claim *claim, unsigned hand)
{
	if (claim->kept->block && claim->kept->bytes > CREW__KEPT) {
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

/* From `ticket`, which has been put or is the next: the first that has not been put, or that is the end mark. */
static uint64_t walk_tail(struct crew__ring *ring, uint64_t ticket, uint64_t *ret_cell)
{
	for (;;) {
		uint64_t cell = load(crew__cell(ring, ticket)), lap = crew__lap(ring, ticket);
		*ret_cell = cell;
		if (cell >> 24 < lap || cell == crew__cell_word(ring, ticket, CREW__END_MARK))
			return ticket;
		ticket += cell >> 24 > lap ? ((cell >> 24) - lap) << ring->cells_shift : 1; /* what others put there came after this */
	}
}

/* From `ticket`, below which all have left: the first that has not left, or not come. -EAGAIN: that; or the end mark. */
static int walk_head(struct crew__ring *ring, uint64_t ticket, struct crew__claim *ret)
{
	for (;; ticket++) {
		uint64_t cell = load(crew__cell(ring, ticket)), lap = crew__lap(ring, ticket);
		ret->ticket = ticket;
		if (cell >> 24 < lap)
			return -EAGAIN;
		if (cell >> 24 > lap) { /* all up to one lap before what is there now have left */
			ticket += ((cell >> 24) - lap - 1) << ring->cells_shift;
			continue;
		}
		if ((cell & CREW__END_MARK) == CREW__END_MARK)
			return CREW_END_OF_DATA;
		crew__node_at(ring, cell & CREW__END_MARK, ret);
		ret->header = crew__header_load(ret->node);
		if (crew__header_state(ret->header) == CREW__QUEUED &&
				crew__header_ticket(ret->header) == (ticket & ((UINT64_C(1) << 38) - 1)))
			return 0;
	}
}

/* Whether ticket t must wait until others have left. */
static bool no_room(struct crew__ring *ring, uint64_t ticket)
{
	struct crew__claim first;
	uint64_t length = ticket - __atomic_load_n(&ring->head_seen, __ATOMIC_RELAXED);
	if (length < ring->capacity && ticket % LOOK_EVERY)
		return false;
	walk_head(ring, load(&ring->head), &first);
	raise_to(&ring->head_seen, first.ticket);
	length = ticket - first.ticket;
	if ((int64_t)length < 0) /* it is long taken */
		return false;
	raise_to(&ring->highest, length < ring->capacity ? length + 1 : length);
	return length >= ring->capacity;
}

bool crew__ring_is_full(struct crew__ring *ring)
{
	uint64_t cell, tail = __atomic_load_n(&ring->tail, __ATOMIC_RELAXED);
	if (tail - __atomic_load_n(&ring->head_seen, __ATOMIC_RELAXED) < ring->capacity)
		return false;
	tail = walk_tail(ring, load(&ring->tail), &cell);
	return cell != crew__cell_word(ring, tail, CREW__END_MARK) && no_room(ring, tail);
}

int crew__ring_publish(struct crew__ring *ring, struct crew__claim *claim)
{
	uint32_t number = crew__header_lane(claim->header);
	for (uint64_t ticket = load(&ring->tail), cell;;) {
		ticket = walk_tail(ring, ticket, &cell);
		if (cell == crew__cell_word(ring, ticket, CREW__END_MARK))
			return -EPIPE;
		if (no_room(ring, ticket))
			return -EAGAIN;
		claim->header = crew__header(CREW__QUEUED, number, 1, ticket);
		__atomic_store_n(&claim->node->header, claim->header, __ATOMIC_RELEASE);
		if (!__atomic_compare_exchange_n(crew__cell(ring, ticket), &cell, crew__cell_word(ring, ticket, claim->index),
				false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE)) /* (A) */
			continue;
		raise_to(&ring->tail, ticket + 1);
		return 0;
	}
}

void crew__ring_mark_end(struct crew__ring *ring)
{
	for (uint64_t ticket = load(&ring->tail), cell;;) {
		ticket = walk_tail(ring, ticket, &cell);
		uint64_t mark = crew__cell_word(ring, ticket, CREW__END_MARK);
		if (cell == mark || __atomic_compare_exchange_n(crew__cell(ring, ticket), &cell, mark, false, __ATOMIC_SEQ_CST,
				__ATOMIC_ACQUIRE))
			return;
	}
}

int crew__ring_first(struct crew__ring *ring, struct crew__claim *ret)
{
	uint64_t from = load(&ring->head);
	int r = walk_head(ring, from, ret);
	if (ret->ticket != from)
		raise_to(&ring->head, ret->ticket);
	return r;
}

int crew__ring_first_back(struct crew__ring *ring, struct crew__claim *ret)
{
	uint64_t back = __atomic_load_n(&ring->back, __ATOMIC_SEQ_CST);
	if (__builtin_expect(back == __atomic_load_n(&ring->back_seen, __ATOMIC_RELAXED), 1))
		return -EAGAIN;
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

void crew__ring_left(struct crew__ring *ring, uint64_t ticket)
{
	raise_to(&ring->head, ticket + 1);
}

uint32_t crew__ring_length(struct crew__ring *ring)
{
	struct crew__claim first, again;
	uint64_t tail, cell;
	walk_head(ring, load(&ring->head), &again);
	do {
		first = again;
		tail = walk_tail(ring, load(&ring->tail), &cell);
		walk_head(ring, first.ticket, &again);
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
	for (uint32_t i = 0; i < nodes; i++) {
		struct crew__claim claim;
		crew__node_at(ring, i, &claim);
		count += claim.kept->block != 0;
	}
	return count;
}
