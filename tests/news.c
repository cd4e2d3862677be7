/*
 * news.c - what is told of deaths and repairs: crew/news.h
 */
#include "family.h"

#include <signal.h>
#include <crew/crew.h>

static struct shared {
	struct crew_lock lock, saved;
	struct crew_rwlock rwlock;
	struct crew_semaphore semaphore;
	struct crew_queue queue;
	uint64_t word;
	uint32_t ready;
} *s;

#define LONG crew_after(10 * CREW_SECOND)

static struct crew_news_reader reader;

static void begin(void)
{
	s = family_begin(sizeof *s);
	crew_news_begin(&reader);
}

static struct crew_news next(enum crew_news_kind kind)
{
	struct crew_news news;
	do
		must(crew_news_next(&reader, &news, LONG));
	while (news.kind != kind);
	return news;
}

static void *hold_and_end(void *unused)
{
	must(crew_lock_acquire(&s->lock, CREW_FOREVER));
	return unused;
}

TEST(a_broken_lock_is_told_by_its_address)
{
	begin();
	run(hold_and_end, NULL); /* it ends in good order, but for the lock: no death */
	must_be(CREW_OWNER_DIED, crew_lock_acquire(&s->lock, LONG));
	crew_lock_repaired(&s->lock);
	crew_lock_release(&s->lock);
	struct crew_news news = next(CREW_NEWS_LOCK_BROKEN);
	ck_assert_ptr_eq(news.object, &s->lock);
	ck_assert_int_eq(news.pid, getpid());
	ck_assert_uint_eq(news.missed, 0);
	must_be(-ETIMEDOUT, crew_news_next(&reader, &news, CREW_POLL));
	must_be(-ETIMEDOUT, crew_news_next(&reader, &news, crew_after(MS)));
	family_end(s);
	must_be(-ENOTCONN, crew_news_next(&reader, &news, CREW_POLL));
}

static int hold_everything(void *unused, size_t size)
{
	(void)unused;
	(void)size;
	if (crew_lock_acquire(&s->lock, CREW_FOREVER) < 0 || crew_lock_acquire(&s->saved, CREW_FOREVER) < 0 ||
			crew_save(&s->saved, &s->word, sizeof s->word) < 0 || crew_rwlock_read(&s->rwlock, CREW_FOREVER) < 0 ||
			crew_semaphore_acquire(&s->semaphore, CREW_FOREVER) < 0)
		return 1;
	struct crew_message message;
	if (crew_queue_take(&s->queue, &message, CREW_FOREVER) < 0)
		return 1;
	__atomic_store_n(&s->ready, 1, __ATOMIC_RELEASE);
	for (;;)
		pause();
}

TEST(a_death_is_told_once_with_all_that_was_repaired)
{
	begin();
	crew_semaphore_init(&s->semaphore, 1);
	crew_queue_init(&s->queue, 4);
	must(crew_queue_put(&s->queue, "x", 1, LONG));
	struct crew_process *process;
	must(crew_process_start(&process, &(struct crew_process_options){ .function = hold_everything, .method = CREW_FORK }));
	await(__atomic_load_n(&s->ready, __ATOMIC_ACQUIRE));
	pid_t pid = crew_process_pid(process);
	must(crew_process_signal(process, SIGKILL));
	must(crew_process_join(process, LONG, NULL));
	must(crew_process_close(process));
	crew__lane_reap_all();
	bool redelivered = false, died = false, ended = false;
	struct crew_news news;
	while (!(redelivered && died && ended)) {
		must(crew_news_next(&reader, &news, LONG));
		if (news.kind == CREW_NEWS_REDELIVERED) {
			ck_assert_ptr_eq(news.object, &s->queue);
			ck_assert_uint_eq(news.attempt, 2);
			redelivered = true;
		} else if (news.kind == CREW_NEWS_ENDED) {
			ck_assert_int_eq(news.pid, pid);
			ck_assert_int_eq(news.code, CLD_KILLED);
			ck_assert_int_eq(news.status, SIGKILL);
			ended = true;
		} else if (news.kind == CREW_NEWS_DIED) {
			ck_assert(!died);
			ck_assert_int_eq(news.pid, pid);
			ck_assert_uint_eq(news.repaired, CREW_REPAIRED_UNDONE | CREW_REPAIRED_LOCKS | CREW_REPAIRED_READING |
				CREW_REPAIRED_PERMITS);
			died = true;
		}
	}
	struct crew_observation observation;
	must(crew_observe(&observation));
	ck_assert_uint_eq(observation.news[CREW_NEWS_DIED], 1);
	ck_assert_uint_eq(observation.news[CREW_NEWS_REDELIVERED], 1);
	ck_assert_uint_eq(observation.news_dropped, 0);
	char data[8];
	must(crew_queue_get(&s->queue, data, sizeof data, NULL, LONG));
	crew_queue_fini(&s->queue);
	must_be(CREW_OWNER_DIED, crew_lock_acquire(&s->lock, LONG));
	crew_lock_repaired(&s->lock);
	crew_lock_release(&s->lock);
	family_end(s);
}

TEST(a_slow_reader_is_told_how_many_it_has_missed)
{
	enum { DEATHS = 600 };
	begin();
	struct crew_news_reader slow = { 0 };
	for (int i = 0; i < DEATHS; i++) {
		run(hold_and_end, NULL);
		crew__lane_reap_all();
		must_be(CREW_OWNER_DIED, crew_lock_acquire(&s->lock, LONG));
		crew_lock_repaired(&s->lock);
		crew_lock_release(&s->lock);
	}
	struct crew_news news;
	must(crew_news_next(&slow, &news, CREW_POLL));
	ck_assert_uint_eq(news.missed, DEATHS - 511);
	ck_assert_uint_eq(news.number, DEATHS - 511);
	for (unsigned i = 1; i < 511; i++) {
		must(crew_news_next(&slow, &news, CREW_POLL));
		ck_assert_uint_eq(news.missed, 0);
	}
	must_be(-ETIMEDOUT, crew_news_next(&slow, &news, CREW_POLL));
	crew_news_begin(&slow);
	must_be(-ETIMEDOUT, crew_news_next(&slow, &news, CREW_POLL));
	family_end(s);
}

static void *read_one(void *ret)
{
	struct crew_news_reader mine = { 0 };
	must(crew_news_next(&mine, ret, LONG));
	return NULL;
}

TEST(all_readers_sleep_until_there_are_news)
{
	struct crew_news news[3];
	pthread_t thread[3];
	begin();
	for (int i = 0; i < 3; i++)
		thread[i] = start(read_one, &news[i]);
	await(asleep() == 3);
	run(hold_and_end, NULL);
	must_be(CREW_OWNER_DIED, crew_lock_acquire(&s->lock, LONG));
	crew_lock_repaired(&s->lock);
	crew_lock_release(&s->lock);
	for (int i = 0; i < 3; i++) {
		pthread_join(thread[i], NULL);
		ck_assert_uint_eq(news[i].kind, CREW_NEWS_LOCK_BROKEN);
		ck_assert_str_eq(crew_news_name(news[i].kind), "lock broken");
	}
	family_end(s);
}
