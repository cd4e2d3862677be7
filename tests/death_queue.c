/*
 * death_queue.c - processes killed at every instruction of put, get, take, done, return, close
 *
 * The audit: each message has a number, and in the end each has been seen once, or is gone with the victim where that is allowed.
 */
#include "death/rows.h"

#include <string.h>
#include "channel/ring.h"

enum { OURS = 4, VICTIMS = 7, OTHERS = 8, MARK = 9, NUMBERS = 10 }; /* 0 ... 3 are inside before */

static struct shared {
	struct crew_queue queue;
	struct crew_message message; /* the victim's */
	int dead;                    /* the victim is; nobody need wait for it */
	int done;                    /* the sleeper has its message */
} *s;
static unsigned inside;          /* put before the victim came: 0 ... inside - 1 */
static unsigned seen[NUMBERS];   /* how often others have got this one for good */
static unsigned attempt[NUMBERS]; /* at which attempt */
static unsigned order_of[NUMBERS], received;

static void begin(void)
{
	s = family_begin(sizeof *s);
}

static void end(void)
{
	crew_queue_fini(&s->queue);
	family_end(s);
}

static void put_number(uint32_t n)
{
	must(crew_queue_put(&s->queue, &n, sizeof n, SOON));
}

static int take_number(crew_time deadline)
{
	struct crew_message m;
	int r = crew_queue_take(&s->queue, &m, deadline);
	if (r != 0)
		return r;
	ck_assert_uint_eq(m.size, sizeof(uint32_t));
	uint32_t n = *(const uint32_t *)m.data;
	ck_assert_uint_lt(n, NUMBERS);
	seen[n]++;
	attempt[n] = m.attempt;
	order_of[n] = received++;
	must(crew_queue_done(&s->queue, &m));
	return 0;
}

static uint32_t get_number(void)
{
	uint32_t n;
	must(crew_queue_get(&s->queue, &n, sizeof n, NULL, SOON));
	return n;
}

/* No node is left with the dead, no block but those that the queue consists of; and none of them at its end. */
static void check_nothing_left(void)
{
	sweep_all();
	struct crew__ring *ring = crew__ring_of(&s->queue);
	if (ring)
		ck_assert_uint_eq(crew__nodes_in(ring, 1u << CREW__ALLOC | 1u << CREW__TAKEN), 0);
	check_heap(ring ? crew__ring_blocks(ring) : 0);
	crew_queue_fini(&s->queue);
	check_heap(0);
}

/* ---- start states ---- */

static void fill(unsigned count, uint32_t capacity, unsigned turns)
{
	crew_queue_fini(&s->queue);
	crew_queue_init(&s->queue, capacity);
	for (uint32_t n = 0; n < turns; n++) {
		put_number(n);
		get_number();
	}
	for (uint32_t n = 0; n < count; n++)
		put_number(n);
	inside = count;
	received = 0;
	memset(seen, 0, sizeof seen);
	memset(attempt, 0, sizeof attempt);
}

static void unused(void *shared)
{
	(void)shared;
	fill(0, 0, 0);
}

static void empty(void *shared)
{
	(void)shared;
	fill(0, 0, 1);
}

static void two(void *shared)
{
	(void)shared;
	fill(2, 0, 0);
}

static void wrapped(void *shared)
{
	(void)shared;
	fill(2, 4, 7);
}

static void full_but_one(void *shared)
{
	(void)shared;
	fill(3, 4, 0);
}

static void full(void *shared)
{
	(void)shared;
	fill(4, 4, 1);
}

/* It grows for the message that comes next. */
static void full_and_grows(void *shared)
{
	full(shared);
	crew_queue_fini(&s->queue);
	must(crew_queue_init_with(&s->queue, &(struct crew_queue_options){ .capacity = 4, .unbounded = true }));
	for (uint32_t n = 0; n < 4; n++)
		put_number(n);
}

/* One message in the old cells, one in the new ones. */
static void grown(void *shared)
{
	full_and_grows(shared);
	for (unsigned i = 0; i < 4; i++)
		get_number();
	for (uint32_t n = 0; n < 5; n++)
		put_number((n + 2) % 5);
	for (unsigned i = 0; i < 3; i++)
		get_number();
	inside = 2;
}

static void *take_and_end(void *nothing)
{
	struct crew_message m;
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	return nothing;
}

/* One of the two has come back, or will when somebody notices. */
static void one_comes_back(void *shared)
{
	static unsigned turn;
	two(shared);
	run(take_and_end, NULL);
	if (turn++ % 4)
		crew__lane_reap_all();
}

/* ---- operations ---- */

static void join_in(void *shared)
{
	static struct crew_queue *other; /* once through everything, so that lane and symbols are there */
	uint32_t n = 0;
	struct crew_message m;
	(void)shared;
	do_or_exit(crew_alloc_zeroed(sizeof *other, (void **)&other));
	do_or_exit(crew_queue_put(other, &n, sizeof n, CREW_FOREVER));
	do_or_exit(crew_queue_take(other, &m, CREW_FOREVER));
	do_or_exit(crew_queue_done(other, &m));
	crew_queue_fini(other);
	crew_free(other);
}

static void put(void *shared)
{
	uint32_t n = VICTIMS;
	(void)shared;
	do_or_exit(crew_queue_put(&s->queue, &n, sizeof n, CREW_FOREVER));
}

static void try_to_put(void *shared)
{
	uint32_t n = VICTIMS;
	(void)shared;
	int r = crew_queue_put(&s->queue, &n, sizeof n, CREW_POLL);
	do_or_exit(r == -ETIMEDOUT ? 0 : r);
}

static void get_one(void *shared)
{
	uint32_t n;
	(void)shared;
	do_or_exit(crew_queue_get(&s->queue, &n, sizeof n, NULL, CREW_FOREVER));
}

static void take_one(void *shared)
{
	(void)shared;
	do_or_exit(crew_queue_take(&s->queue, &s->message, CREW_FOREVER));
}

static void take_and_done(void *shared)
{
	take_one(shared);
	do_or_exit(crew_queue_done(&s->queue, &s->message));
}

static void take_and_return(void *shared)
{
	take_one(shared);
	do_or_exit(crew_queue_return(&s->queue, &s->message));
}

static void lend_and_publish(void *shared)
{
	struct crew_loan loan;
	(void)shared;
	do_or_exit(crew_queue_loan(&s->queue, sizeof(uint32_t), &loan));
	*(uint32_t *)loan.data = VICTIMS;
	do_or_exit(crew_queue_publish(&s->queue, &loan, CREW_FOREVER));
}

/* A batch of 0 and 1 inside. */
static void batch(void *shared)
{
	uint32_t n[2] = { 0, 1 };
	struct iovec both[2] = { { &n[0], sizeof n[0] }, { &n[1], sizeof n[1] } };
	(void)shared;
	fill(0, 0, 1);
	must(crew_queue_put_many(&s->queue, both, 2, SOON));
	inside = 2;
}

static void get_two(void *shared)
{
	uint32_t n[2];
	unsigned got;
	struct iovec both[2] = { { &n[0], sizeof n[0] }, { &n[1], sizeof n[1] } };
	(void)shared;
	do_or_exit(crew_queue_get_many(&s->queue, both, 2, &got, CREW_FOREVER));
}

static void put_two(void *shared)
{
	uint32_t n[2] = { VICTIMS, OURS };
	struct iovec both[2] = { { &n[0], sizeof n[0] }, { &n[1], sizeof n[1] } };
	(void)shared;
	do_or_exit(crew_queue_put_many(&s->queue, both, 2, CREW_FOREVER));
}

/* ---- others, and the audit ---- */

static void others_take_and_put(void *shared, int order)
{
	uint32_t n = OTHERS;
	(void)shared;
	for (int i = 0; i < 2; i++) {
		int r = i == order ? take_number(CREW_POLL) : crew_queue_put(&s->queue, &n, sizeof n, CREW_POLL);
		ck_assert(r == 0 || r == -ETIMEDOUT);
		if (i != order && r == 0)
			inside |= 1u << 8; /* so it must be seen */
	}
}

static bool others_have_put(void)
{
	return inside >> 8;
}

/* All that is inside has been seen once, but for at most `may_be_gone`; how many are gone. The queue works, and nothing is left. */
static unsigned audit(unsigned may_be_gone)
{
	unsigned count = (inside & 0xff) + others_have_put(), gone = 0;
	int r = 0;
	while (received + may_be_gone < count && r == 0) /* without a sweep of ours */
		r = take_number(SOON);
	must(r);
	sweep_all();
	while ((r = take_number(CREW_POLL)) == 0)
		;
	must_be(-ETIMEDOUT, r);
	put_number(MARK);
	must(take_number(SOON));
	for (unsigned n = 0; n < NUMBERS; n++) {
		bool wanted = n < (inside & 0xff) || n == MARK || (n == OTHERS && others_have_put());
		ck_assert_uint_le(seen[n], 1);
		ck_assert(wanted || n == VICTIMS || n == OURS || !seen[n]);
		gone += wanted && !seen[n];
	}
	ck_assert_uint_le(gone, may_be_gone);
	ck_assert_uint_eq(crew_queue_length(&s->queue), 0);
	must(crew_queue_join(&s->queue, SOON));
	check_nothing_left();
	return gone;
}

/* How many more attempts than one there were, of all that were seen. */
static unsigned attempts_more(void)
{
	unsigned more = 0;
	for (unsigned n = 0; n < NUMBERS; n++)
		more += attempt[n] > 1 ? attempt[n] - 1 : 0;
	return more;
}

static void check_put(void *shared, bool completed)
{
	(void)shared;
	audit(0);
	ck_assert(seen[VICTIMS] || !completed);
	ck_assert_uint_eq(attempts_more(), 0);
	for (unsigned n = 0; n < (inside & 0xff); n++) /* in order */
		ck_assert(order_of[n] == n + (others_have_put() && order_of[OTHERS] < order_of[n]) &&
			(!seen[VICTIMS] || order_of[n] < order_of[VICTIMS]));
}

static void check_try_to_put(void *shared, bool completed)
{
	(void)completed;
	check_put(shared, false);
}

static void check_get(void *shared, bool completed)
{
	(void)shared;
	unsigned gone = audit(1);
	ck_assert(gone == 1 || !completed);
	ck_assert_uint_eq(attempts_more(), 0);
}

/* Of a batch one may be gone and the other have come back, flagged; or both may be gone. */
static void check_get_of_batch(void *shared, bool completed)
{
	(void)shared;
	unsigned gone = audit(1);
	ck_assert(gone == 1 || !completed);
	ck_assert_uint_le(attempts_more(), 2);
}

static void check_get_two(void *shared, bool completed)
{
	(void)shared;
	unsigned gone = audit(2);
	ck_assert(gone == 2 || (gone == 0 && !completed));
	ck_assert_uint_le(attempts_more(), 2);
}

static void check_put_two(void *shared, bool completed)
{
	(void)shared;
	audit(0);
	ck_assert_uint_eq(seen[VICTIMS], seen[OURS]);
	ck_assert(seen[VICTIMS] || !completed);
	ck_assert(!seen[OURS] || order_of[OURS] > order_of[VICTIMS]);
}

static void check_take_of_batch(void *shared, bool completed)
{
	(void)shared;
	audit(0);
	ck_assert_uint_ge(attempts_more(), completed);
	ck_assert_uint_le(attempts_more(), 2);
}

static void check_take(void *shared, bool completed)
{
	(void)shared;
	audit(0);
	ck_assert_uint_ge(attempts_more(), completed);
	ck_assert_uint_le(attempts_more(), 1);
}

static void check_take_back(void *shared, bool completed)
{
	(void)shared;
	audit(0);
	ck_assert_uint_ge(attempts_more(), 1u + completed);
	ck_assert_uint_le(attempts_more(), 2);
}

static void check_take_and_done(void *shared, bool completed)
{
	(void)shared;
	unsigned gone = audit(1);
	ck_assert(gone == 1 || !completed);
	ck_assert_uint_le(gone + attempts_more(), 1);
}

static void check_return(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	audit(0);
	ck_assert_uint_le(attempts_more(), 1);
}

/* ---- close ---- */

static void close_at_once(void *shared)
{
	(void)shared;
	do_or_exit(crew_queue_close(&s->queue, false));
}

static void close_to_drain(void *shared)
{
	(void)shared;
	do_or_exit(crew_queue_close(&s->queue, true));
}

static void check_close_at_once(void *shared, bool completed)
{
	(void)shared;
	sweep_all();
	int r = take_number(CREW_POLL);
	ck_assert(r == CREW_END_OF_DATA || (r == 0 && !completed));
	if (r == 0) {
		must(take_number(SOON));
		must_be(-ETIMEDOUT, take_number(CREW_POLL));
	} else {
		ck_assert_uint_eq(crew_queue_length(&s->queue), 0);
	}
	must(crew_queue_join(&s->queue, SOON));
	check_nothing_left();
}

static void check_close_to_drain(void *shared, bool completed)
{
	uint32_t n = MARK;
	(void)shared;
	must(take_number(SOON));
	must(take_number(SOON));
	int r = crew_queue_put(&s->queue, &n, sizeof n, CREW_POLL);
	ck_assert(r == -EPIPE || (r == 0 && !completed));
	if (r == 0)
		must(take_number(SOON));
	must_be(r == 0 ? -ETIMEDOUT : CREW_END_OF_DATA, take_number(CREW_POLL));
	must(crew_queue_join(&s->queue, SOON));
	check_nothing_left();
}

/* ---- others sleep ---- */

static bool is_set(const int *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static pthread_t putter;

static void *sleep_in_get(void *before)
{
	/* Behind the victim, if that is to sleep too. */
	await(!before || asleep() >= 1 || is_set(&s->dead));
	slept = (int)get_number();
	__atomic_store_n(&s->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void empty_and_sleeper(void *shared)
{
	empty(shared);
	s->dead = s->done = 0;
	start_sleeper(sleep_in_get);
	await(asleep() == 1);
}

static void join_quietly(void *shared)
{
	(void)shared;
	do_or_exit(crew_queue_length(&s->queue) ? -1 : 0);
}

/* With a message in the queue the sleeper has it, without a slice having to end; else it sleeps on, and gets the test's. */
static void check_sleeper(void *shared, bool completed)
{
	(void)shared;
	__atomic_store_n(&s->dead, 1, __ATOMIC_RELEASE);
	sweep_all();
	bool there = crew_queue_length(&s->queue) > 0;
	if (there)
		await(crew_queue_length(&s->queue) == 0);
	put_number(MARK);
	int first = end_sleeper();
	ck_assert(first == VICTIMS || (first == MARK && !there && !completed));
	if (first == VICTIMS)
		ck_assert_uint_eq(get_number(), MARK);
	check_nothing_left();
}

static void *put_when_two_sleep(void *nothing)
{
	await(asleep() >= 2 || is_set(&s->dead));
	put_number(1);
	await(is_set(&s->done) || is_set(&s->dead));
	if (!is_set(&s->dead)) /* for once it was the other who came first: one more for the victim */
		put_number(2);
	return nothing;
}

/* The victim sleeps first, so the one wake-up of the put goes to it, nearly always. */
static void sleeper_and_putter(void *shared)
{
	static int behind;
	empty(shared);
	s->dead = s->done = 0;
	ck_assert_int_eq(pthread_create(&sleeper, NULL, sleep_in_get, &behind), 0);
	ck_assert_int_eq(pthread_create(&putter, NULL, put_when_two_sleep, NULL), 0);
}

static void check_second_sleeper(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	__atomic_store_n(&s->dead, 1, __ATOMIC_RELEASE);
	pthread_join(putter, NULL);
	sweep_all();
	await(is_set(&s->done) || crew_queue_length(&s->queue) == 0);
	put_number(MARK);
	end_sleeper();
	while (crew_queue_length(&s->queue) > 0)
		get_number();
	check_nothing_left();
}

static const struct killpoint operations[] = {
	{ "queue_put_for_the_first_time", .before = unused, .prepare = join_in, .operation = put, .others = others_take_and_put,
		.check = check_put },
	{ "queue_put_into_empty", .before = empty, .prepare = join_in, .operation = put, .others = others_take_and_put, .lock_free = true,
		.check = check_put },
	{ "queue_put_behind_two", .before = two, .prepare = join_in, .operation = put, .others = others_take_and_put, .lock_free = true,
		.check = check_put },
	{ "queue_put_wrapped", .before = wrapped, .prepare = join_in, .operation = put, .others = others_take_and_put, .lock_free = true,
		.check = check_put },
	{ "queue_put_fills", .before = full_but_one, .prepare = join_in, .operation = try_to_put, .others = others_take_and_put, .lock_free = true,
		.check = check_try_to_put },
	{ "queue_put_into_full", .before = full, .prepare = join_in, .operation = try_to_put, .others = others_take_and_put, .lock_free = true,
		.check = check_try_to_put },
	{ "queue_put_grows", .before = full_and_grows, .prepare = join_in, .operation = put, .others = others_take_and_put,
		.check = check_put },
	{ "queue_close_what_has_grown", .before = grown, .prepare = join_in, .operation = close_to_drain, .check = check_close_to_drain },
	{ "queue_get_beyond_growth", .before = grown, .prepare = join_in, .operation = get_one, .check = check_get },
	{ "queue_get", .before = two, .prepare = join_in, .operation = get_one, .others = others_take_and_put, .lock_free = true,
		.check = check_get },
	{ "queue_get_from_full", .before = full, .prepare = join_in, .operation = get_one, .others = others_take_and_put, .lock_free = true,
		.check = check_get },
	{ "queue_take", .before = two, .prepare = join_in, .operation = take_one, .others = others_take_and_put, .lock_free = true,
		.check = check_take },
	{ "queue_take_what_came_back", .before = one_comes_back, .prepare = join_in, .operation = take_one, .check = check_take_back },
	{ "queue_take_and_done", .before = wrapped, .prepare = join_in, .operation = take_and_done, .others = others_take_and_put, .lock_free = true,
		.check = check_take_and_done },
	{ "queue_take_and_return", .before = two, .prepare = join_in, .operation = take_and_return, .others = others_take_and_put, .lock_free = true,
		.check = check_return },
	{ "queue_loan_and_publish", .before = two, .prepare = join_in, .operation = lend_and_publish, .others = others_take_and_put,
		.lock_free = true, .check = check_put },
	{ "queue_put_many", .before = two, .prepare = join_in, .operation = put_two, .check = check_put_two },
	{ "queue_get_many", .before = batch, .prepare = join_in, .operation = get_two, .check = check_get_two },
	{ "queue_get_of_a_batch", .before = batch, .prepare = join_in, .operation = get_one, .check = check_get_of_batch },
	{ "queue_take_of_a_batch", .before = batch, .prepare = join_in, .operation = take_one, .check = check_take_of_batch },
	{ "queue_close_at_once", .before = two, .prepare = join_in, .operation = close_at_once, .check = check_close_at_once },
	{ "queue_close_to_drain", .before = two, .prepare = join_in, .operation = close_to_drain, .check = check_close_to_drain },
	{ "queue_put_to_a_sleeper", .before = empty_and_sleeper, .prepare = join_quietly, .operation = put, .single = true,
		.check = check_sleeper },
	{ "queue_get_asleep_beside_another", .before = sleeper_and_putter, .prepare = join_quietly, .operation = get_one, .single = true,
		.check = check_second_sleeper, .seconds = 1 },
};
KILL_EVERYWHERE(operations, begin, s, end)
