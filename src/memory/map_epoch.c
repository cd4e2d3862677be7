/*
 * map_epoch.c - free what nobody can be reading any more
 *
 * State    region->root[2]: the epoch, of all maps. lane->reading: 1 + the epoch since which that lane reads, 0: it does not.
 *          shard: `fresh`, blocks retired lately; `aged`, those that were in fresh when the epoch was raised from `stamp`.
 * Writers  reading: its thread; 0 by the sweep of the dead. The epoch: whoever ages a list. The lists: in sections of the shard.
 * Moves    out of reach: a block -> fresh, in the section that publishes its successor. age: fresh -> aged, epoch + 1,
 *          in a later section. free: aged -> hand, in one section each, once no lane reads since `stamp` or before;
 *          or used again for the next entry, which spares the heap.
 * Order    A reader (A) reads the epoch, (B) tells it in its lane, (C) looks at the table. A writer (D) unlinks, (E) raises the
 *          epoch, (F) looks at the lanes. All are sequentially consistent. If (F) sees no reading, (C) of whoever
 *          begins after that sees (D); if it sees one of a later epoch, its (A) came after (E), so its (C) after (D).
 *          impossible: a block freed that somebody can still get to.
 * Death    of a reader: its lane tells "reading" until it is swept; who finds that in the way looks whether it lives.
 *          of a writer: lists are whole, as they change in sections; a block in a hand is freed by the sweep.
 * Source   Epoch-based reclamation (K. Fraser, Practical lock-freedom, 2004), with one word for each thread, which its
 *          death clears; the cost is known: one who is stopped while reading keeps blocks from being freed.
 */
#include "base/sys.h"
#include "memory/map.h"

enum { BATCH = 32, AT_ONCE = 2 };

static uint64_t *epoch(void)
{
	return &crew__family.region->root[2];
}

uint64_t crew__read_begin(struct crew__lane *lane)
{
	uint64_t before = __atomic_load_n(&lane->reading, __ATOMIC_RELAXED);
	if (!before) /* else inside another read: since then */
		__atomic_store_n(&lane->reading, 1 + __atomic_load_n(epoch(), __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST); /* (A) (B) */
	return before;
}

void crew__read_end(struct crew__lane *lane, uint64_t before)
{
	__atomic_store_n(&lane->reading, before, __ATOMIC_RELEASE);
}

void crew__retire(struct shard *shard, struct crew__lane *lane, struct retired *block)
{
	crew__set64(lane, &block->next, shard->fresh);
	crew__set64(lane, &shard->fresh, crew__offset(block));
	crew__set32(lane, &shard->retired, shard->retired + 1);
}

/* (F). Who is in the way may be dead: then it is swept, and no longer. */
static bool nobody_reads_since(uint64_t stamp)
{
	struct crew__lane *lane;
	for (uint32_t number = 1; (lane = crew__lane_at(number)); number++) {
		uint64_t since = __atomic_load_n(&lane->reading, __ATOMIC_SEQ_CST);
		if (since && since <= stamp + 1) {
			crew__lane_reap(crew__lane_id(lane));
			return false;
		}
	}
	return true;
}

static uint32_t limit(void)
{
	return BATCH + __atomic_load_n(&crew__family.region->lanes_high, __ATOMIC_RELAXED) / 4;
}

/* Whether nobody can be reading what is aged: known, or found out, but not by a look at all lanes each time. */
static bool is_safe(struct shard *shard, uint64_t stamp, uint32_t retired)
{
	if (__atomic_load_n(&shard->safe, __ATOMIC_ACQUIRE) == stamp)
		return true;
	if (retired % 16 || !nobody_reads_since(stamp))
		return false;
	__atomic_store_n(&shard->safe, stamp, __ATOMIC_RELEASE);
	return true;
}

/* Put the first that is aged into the hand, if its block has from `least` to `most` bytes. */
static bool take_aged(struct shard *shard, struct crew__lane *lane, uint64_t least, uint64_t most)
{
	uint64_t stamp = __atomic_load_n(&shard->stamp, __ATOMIC_ACQUIRE);
	if (!__atomic_load_n(&shard->aged, __ATOMIC_ACQUIRE) ||
			!is_safe(shard, stamp, __atomic_load_n(&shard->retired, __ATOMIC_RELAXED)) ||
			crew__enter(&lane, &shard->guard, CREW_FOREVER) < 0)
		return false;
	struct retired *block = shard->aged && shard->stamp == stamp ? crew__at(shard->aged) : NULL;
	bool fits = block && least <= block->bytes && block->bytes <= most;
	if (fits) {
		crew__set64(lane, &shard->aged, block->next);
		crew__set32(lane, &shard->retired, shard->retired - 1);
		crew__set64(lane, &lane->mine[HAND_ENTRY], crew__offset(block));
	}
	crew__leave(lane, &shard->guard);
	return fits;
}

/* What is fresh becomes aged, if nothing is. */
static void age(struct shard *shard, struct crew__lane *lane)
{
	if (crew__enter(&lane, &shard->guard, CREW_FOREVER) < 0)
		return;
	if (!shard->aged) {
		crew__set64(lane, &shard->aged, shard->fresh);
		crew__set64(lane, &shard->fresh, 0);
		crew__set64(lane, &shard->stamp, __atomic_fetch_add(epoch(), 1, __ATOMIC_SEQ_CST)); /* (E) */
	}
	crew__leave(lane, &shard->guard);
}

void crew__reclaim(struct shard *shard, struct crew__lane *lane)
{
	uint32_t retired = __atomic_load_n(&shard->retired, __ATOMIC_RELAXED), kept = limit();
	if (retired >= kept && !__atomic_load_n(&shard->aged, __ATOMIC_ACQUIRE))
		age(shard, lane);
	for (unsigned i = 0; i < AT_ONCE && retired > 2 * kept && take_aged(shard, lane, 0, UINT64_MAX); i++)
		crew__free_mine(lane, HAND_ENTRY);
}

bool crew__recycle(struct shard *shard, struct crew__lane *lane, uint64_t bytes)
{
	return take_aged(shard, lane, bytes, 2 * bytes + 64);
}
