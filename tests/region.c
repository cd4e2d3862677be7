/* region.c - founding a family, membership, lanes, slots */
#include "harness.h"

#include <pthread.h>
#include <string.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <crew/init.h>
#include <crew/lock.h>
#include <crew/memory.h>
#include "base/sys.h"
#include "region/lane.h"

TEST(a_second_crew_init_changes_nothing)
{
	must_be(-ENOTCONN, crew_alloc(1, &(void *){ NULL }));
	must(crew_init(NULL));
	ck_assert(crew_is_member());
	must_be(-EALREADY, crew_init(NULL));
	ck_assert(crew_is_member());
	crew_fini();
	ck_assert(!crew_is_member());
	crew_fini();
}

TEST(a_family_can_be_founded_again_and_again)
{
	for (int i = 0; i < 20; i++) {
		void *p;
		must(crew_init(NULL));
		must(crew_alloc(100, &p));
		crew_fini();
	}
}

static void *wait_for_release(void *lock)
{
	pthread_mutex_lock(lock);
	pthread_mutex_unlock(lock);
	return NULL;
}

TEST(crew_init_with_threads_running_is_refused_unless_allowed)
{
	if (CREW__TSAN)
		SKIP("TSan runs threads of its own");
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_t thread;
	pthread_mutex_lock(&lock);
	pthread_create(&thread, NULL, wait_for_release, &lock);
	must_be(-EBUSY, crew_init(NULL));
	must(crew_init(&(struct crew_init_options){ .threads_are_safe = true }));
	crew_fini();
	pthread_mutex_unlock(&lock);
	pthread_join(thread, NULL);
}

TEST(options_out_of_range_are_refused)
{
	must_be(-EINVAL, crew_init(&(struct crew_init_options){ .region_bytes = 1 }));
	must_be(-EINVAL, crew_init(&(struct crew_init_options){ .region_bytes = UINT64_MAX / 2 }));
	struct { struct crew_init_options known; uint64_t unknown; } newer = { { 0 }, 1 };
	must_be(-EINVAL, crew_init_sized(&newer.known, sizeof newer));
	must(crew_init(&(struct crew_init_options){ .region_bytes = UINT64_C(1) << 30 }));
	crew_fini();
}

TEST(a_small_address_space_gets_a_small_region)
{
#if defined(__SANITIZE_ADDRESS__) || CREW__TSAN
	SKIP("sanitizers need their own address space");
#endif
	struct rlimit limit = { UINT64_C(8) << 30, UINT64_C(8) << 30 };
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	void *p;
	must(crew_init(NULL));
	must(crew_alloc(1 << 20, &p));
	crew_fini();
}

static const char *const init_faults[] = { "memfd_create:1:EMFILE", "ftruncate:1:ENOMEM", "mmap:1:ENOMEM",
	"fallocate:1:ENOSPC", "fallocate:2:ENOSPC", "fallocate:3:ENOSPC" };
static const char *fault_label(int i) { return init_faults[i]; }

TEST(a_failing_call_fails_crew_init_cleanly, .count = 6, .label = fault_label)
{
	setenv("CREW_FAULT", init_faults[index], 1);
	int r = crew_init(&(struct crew_init_options){ .region_bytes = UINT64_C(1) << 30 });
	if (strchr(init_faults[index], '3') && r == 0)
		crew_fini(); /* fewer such calls than that: nothing failed */
	else
		ck_assert_int_lt(r, 0);
	ck_assert(!crew_is_member());
	unsetenv("CREW_FAULT");
	must(crew_init(NULL));
	crew_fini();
}

TEST(a_child_of_the_programs_own_fork_is_no_member)
{
	must(crew_init(NULL));
	struct crew_lock *lock;
	must(crew_alloc_zeroed(sizeof *lock, (void **)&lock));
	must(crew_lock_acquire(lock, CREW_FOREVER));
	pid_t child = fork();
	if (child == 0)
		_exit(crew_is_member() ? 1 : crew_lock_acquire(lock, CREW_POLL) != -ENOTCONN ? 2 :
				crew_alloc(1, &(void *){ NULL }) != -ENOTCONN ? 3 : 0);
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert(crew_lock_is_mine(lock));
	crew_lock_release(lock);
	crew_fini();
}

static void *use_a_lock(void *lock)
{
	must(crew_lock_acquire(lock, CREW_FOREVER));
	crew_lock_release(lock);
	return NULL;
}

TEST(lanes_of_ended_threads_are_used_again, .timeout = 60)
{
	must(crew_init(NULL));
	struct crew_lock *lock;
	must(crew_alloc_zeroed(sizeof *lock, (void **)&lock));
	for (int i = 0; i < 2000; i++) {
		pthread_t thread;
		ck_assert_int_eq(pthread_create(&thread, NULL, use_a_lock, lock), 0);
		pthread_join(thread, NULL);
	}
	ck_assert_uint_lt(crew__family.region->lanes_high, 40);
	ck_assert_uint_eq(crew__family.region->deaths, 0);
	crew_fini();
}

TEST(an_id_names_one_life)
{
	must(crew_init(NULL));
	uint32_t a = crew__slot_claim(crew__family.self);
	ck_assert_uint_ne(a, 0);
	ck_assert_ptr_nonnull(crew__slot_get(a));
	ck_assert(crew__process_lives(a));
	crew__slot_release(a);
	ck_assert_ptr_null(crew__slot_get(a));
	ck_assert(!crew__process_lives(a));
	uint32_t b = crew__slot_claim(crew__family.self);
	ck_assert_uint_ne(a, b);
	crew__slot_abandon(crew__number(b), a);
	ck_assert_ptr_nonnull(crew__slot_get(b)); /* it is not a's */
	crew__slot_abandon(crew__number(b), crew__family.self);
	ck_assert_ptr_null(crew__slot_get(b));
	ck_assert_ptr_nonnull(crew__slot_get(crew__family.self));
	crew_fini();
}

static struct crew_lock *lock;

/* Of a thread that has no lane yet, as one would be copied, too. */
static void *clone_bare(void *ret_status)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		int r = crew_lock_acquire(lock, CREW_POLL);
		_exit(r == -EOPNOTSUPP ? 7 : 1);
	}
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitpid(pid, ret_status, 0), pid);
	return NULL;
}

TEST(who_would_die_unnoticed_is_refused)
{
	if (CREW__TSAN)
		SKIP("a bare clone has no place in TSan's books");
	pthread_t thread;
	int status = 0;
	must(crew_init(NULL));
	must(crew_alloc_zeroed(sizeof *lock, (void **)&lock));
	ck_assert_int_eq(pthread_create(&thread, NULL, clone_bare, &status), 0);
	pthread_join(thread, NULL);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 7);
	must(crew_lock_acquire(lock, CREW_POLL));
	crew_lock_release(lock);
	crew_free(lock);
	crew_fini();
}
