/*
 * sweep.c - what the dead held in this layer
 *
 * First all words that name the dead (locks before guards, so that "not repaired" stands before a writer's mark goes),
 * then what is given back inside sections. A section here may wait for a guard whose owner is dead too; that one
 * is then swept by the same rules, and it holds nothing of ours any more: there is no circle.
 */
#include "base/sys.h"
#include "sync/internal.h"
#include "sync/news.h"
#include "sync/sync.h"
#include "sync/undo.h"

static bool free_word(uint32_t *word, uint32_t dead, uint32_t mark, uint32_t keep)
{
	uint32_t v = __atomic_load_n(word, __ATOMIC_ACQUIRE);
	bool named = false;
	while ((v & CREW__OWNER) == dead && !named)
		named = __atomic_compare_exchange_n(word, &v, mark | (v & keep), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	crew__wake(word, UINT32_MAX); /* also the wake-up that a release owed */
	return named;
}

void crew__word_free_as_is(uint32_t *word, uint32_t dead)
{
	free_word(word, dead, 0, CREW__BROKEN);
}

/* The object of a hold; NULL where there cannot be one. */
static void *object_of(uint64_t hold, size_t size)
{
	return crew__inside(hold & ~(UINT64_C(0xff) << 56), size);
}

/* Free the words of holds of that kind. Which of them named the dead; returns how many. */
static unsigned free_words(struct crew__lane *dead, uint32_t id, enum crew__hold kind, uint32_t mark, void *freed[CREW__HOLDS])
{
	unsigned count = 0;
	for (int i = 0; i < CREW__HOLDS; i++) {
		uint64_t hold = __atomic_load_n(&dead->hold[i], __ATOMIC_ACQUIRE);
		if (!hold || crew__hold_kind(hold) != kind)
			continue;
		uint32_t *word = object_of(hold, sizeof *word);
		if (word && free_word(word, id, mark, 0))
			freed[count++] = word;
		crew__hold_drop(dead, i);
	}
	return count;
}

/* Whether the dead is still in a section, so that nobody can have freed what belongs to it. */
static bool is_inside(const struct crew__lane *dead, uint32_t id)
{
	for (int i = 0; i < CREW__HOLDS; i++) {
		uint64_t hold = __atomic_load_n(&dead->hold[i], __ATOMIC_ACQUIRE);
		const uint32_t *word = crew__hold_kind(hold) == CREW__HOLD_GUARD ? object_of(hold, sizeof *word) : NULL;
		if (word && (__atomic_load_n(word, __ATOMIC_ACQUIRE) & CREW__OWNER) == id)
			return true;
	}
	return false;
}

/* Whoever has looked and is about to sleep is not woken by a wake-up now, so the bells themselves must change. */
static void change_owed(struct crew__lane *dead)
{
	for (unsigned i = 0; i < CREW__BELLS; i++) {
		uint32_t *bell = crew__inside(dead->owed[i], sizeof *bell);
		if (bell)
			crew__bell_change(bell, UINT32_MAX);
	}
}

static void wake_owed(uint64_t *offset)
{
	uint32_t *word = crew__inside(__atomic_load_n(offset, __ATOMIC_ACQUIRE), sizeof *word);
	if (word)
		crew__wake(word, UINT32_MAX);
	__atomic_store_n(offset, 0, __ATOMIC_RELEASE);
}

/* Its holds for reading go, and writers that wait for it hear of it: also of those that another sweeper has taken away. */
static void stop_reading(struct crew__lane *dead)
{
	for (int i = 0; i < CREW__HOLDS; i++)
		if (crew__hold_kind(__atomic_load_n(&dead->hold[i], __ATOMIC_ACQUIRE)) == CREW__HOLD_READ)
			__atomic_store_n(&dead->hold[i], 0, __ATOMIC_SEQ_CST);
	crew__bell_change(&dead->gone, UINT32_MAX);
	crew__wake(&dead->gone, UINT32_MAX);
}

/* For the news: what is there to be repaired. A former sweeper may have done some of it. */
static uint32_t look(const struct crew__lane *dead)
{
	uint32_t found = 0;
	for (int i = 0; i < CREW__HOLDS; i++) {
		enum crew__hold kind = crew__hold_kind(__atomic_load_n(&dead->hold[i], __ATOMIC_ACQUIRE));
		found |= kind == CREW__HOLD_READ ? CREW_REPAIRED_READING : kind == CREW__HOLD_PERMIT ? CREW_REPAIRED_PERMITS :
			kind == CREW__HOLD_PARTY ? CREW_REPAIRED_BARRIER : kind == CREW__HOLD_OWED ? CREW_REPAIRED_LATCH : 0;
	}
	return found;
}

static void tell(struct crew__lane *dead, uint32_t found, bool clean, void *const *broken, unsigned count)
{
	const struct crew__slot *slot = crew__slot_get(__atomic_load_n(&dead->process, __ATOMIC_ACQUIRE));
	struct crew_news news = { .kind = CREW_NEWS_LOCK_BROKEN, .pid = slot ? slot->pid : 0, .tid = (pid_t)dead->tid };
	for (unsigned i = 0; i < count; i++) {
		news.object = broken[i];
		crew__tell(&news, NULL);
	}
	if (clean)
		return;
	news.kind = CREW_NEWS_DIED;
	news.object = NULL;
	news.repaired = found | (count ? CREW_REPAIRED_LOCKS : 0);
	crew__tell(&news, &dead->told);
}

static void sweep(struct crew__lane *dead, uint32_t id, bool clean)
{
	void *broken[CREW__HOLDS], *guards[CREW__HOLDS];
	uint32_t found = look(dead) | (crew__undo_sweep(dead, id) ? CREW_REPAIRED_UNDONE : 0);
	unsigned broken_count = free_words(dead, id, CREW__HOLD_LOCK, CREW__BROKEN, broken);
	if (is_inside(dead, id)) {
		if (crew__inside(__atomic_load_n(&dead->publish[0], __ATOMIC_ACQUIRE), sizeof(uint64_t)))
			crew__publish_owed(dead);
		change_owed(dead);
	}
	free_words(dead, id, CREW__HOLD_GUARD, 0, guards);
	for (unsigned i = 0; i < CREW__BELLS; i++)
		wake_owed(&dead->owed[i]);
	wake_owed(&dead->bell);
	wake_owed(&dead->asleep_on);
	wake_owed(&dead->waited_on);
	stop_reading(dead);
	crew__sweep_settle(dead); /* from here on in sections */
	for (int i = 0; i < CREW__HOLDS; i++) {
		uint64_t hold = __atomic_load_n(&dead->hold[i], __ATOMIC_ACQUIRE);
		enum crew__hold kind = crew__hold_kind(hold);
		size_t size = kind == CREW__HOLD_PERMIT ? sizeof(struct crew_semaphore) :
			kind == CREW__HOLD_PARTY ? sizeof(struct crew_barrier) : sizeof(struct crew_latch);
		void *object = object_of(hold, size);
		if (!object && (kind == CREW__HOLD_PERMIT || kind == CREW__HOLD_PARTY || kind == CREW__HOLD_OWED))
			crew__hold_drop(dead, i); /* scribbled over */
		switch (object ? kind : CREW__HOLD_NONE) {
		case CREW__HOLD_PERMIT: crew__semaphore_sweep(object, dead, i); break;
		case CREW__HOLD_PARTY: crew__barrier_sweep(object, dead, i, clean); break;
		case CREW__HOLD_OWED: crew__latch_sweep(object, dead, i); break;
		case CREW__HOLD_NONE: case CREW__HOLD_LOCK: case CREW__HOLD_GUARD: case CREW__HOLD_READ: case CREW__HOLD_QUEUE: break;
		}
	}
	tell(dead, found, clean, broken, broken_count);
}

void crew__sync_init(void)
{
	crew__sweep_register(sweep);
}
