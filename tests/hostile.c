/* hostile.c - a peer that scribbles over the region: nobody reads or writes outside it, or loops (SECURITY.md) */
#include "harness.h"

#include <stdlib.h>
#include "fuzz/scribble.h"

TEST(what_a_hostile_peer_scribbles_leads_nobody_astray, .timeout = 180)
{
	bool takes_long = getenv("CREW_TEST_LONG");
	crew_time until = crew_after((takes_long ? 60 : 1) * CREW_SECOND);
	unsigned seed = (unsigned)crew_now();
	for (unsigned run = 0; crew_now() < until; run++, seed++) {
		uint8_t data[160];
		srandom(seed);
		for (size_t i = 0; i < sizeof data; i++)
			data[i] = (uint8_t)(random() >> 7);
		/* Small numbers and nearby offsets lead further than noise. */
		for (size_t i = 1; i + 8 < sizeof data; i += 1 + (size_t)random() % 16)
			memset(data + i, 0, (size_t)random() % 8);
		int status = scribble(data, sizeof data);
		ck_assert_msg(status == 0, "seed %u ended by signal %d", seed, WTERMSIG(status));
	}
}

TEST(nobody_waits_for_an_owner_who_never_was)
{
	struct { struct crew_lock lock; struct crew_rwlock rwlock; } *s;
	must(crew_init(NULL));
	must(crew_alloc_zeroed(sizeof *s, (void **)&s));
	const uint32_t forged[] = { 0x3fffffff, crew__id(1, 7), crew__id(CREW__LANES - 1, 1), crew__id(0, 1) };
	for (unsigned i = 0; i < sizeof forged / sizeof forged[0]; i++) {
		s->lock.word_ = forged[i];
		must_be(CREW_OWNER_DIED, crew_lock_acquire(&s->lock, crew_after(10 * CREW_SECOND)));
		crew_lock_repaired(&s->lock);
		crew_lock_release(&s->lock);
		s->rwlock.writer_ = forged[i];
		must(crew_rwlock_read(&s->rwlock, crew_after(10 * CREW_SECOND)));
		crew_rwlock_release(&s->rwlock);
	}
	crew_free(s);
	crew_fini();
}

TEST(libfuzzer_leads_nobody_astray, .takes_long = true, .timeout = 180)
{
	const char *fuzzer = CREW_SOURCE "/build-clang/tests/fuzz_scribble";
	if (access(fuzzer, X_OK) != 0)
		SKIP("clang built no %s: is libclang-rt-14-dev installed?", fuzzer);
	pid_t pid = fork();
	if (pid == 0) {
		execl(fuzzer, fuzzer, "-max_total_time=30", "-max_len=200", "-artifact_prefix=/tmp/", "-verbosity=0", (char *)NULL);
		_exit(126);
	}
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
