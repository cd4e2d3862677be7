/* process_death.c - what is true after zygote, keeper, starter or founder has been killed */
#include "process_common.h"

#include <sched.h>
#include <time.h>
#include "memory/block.h"
#include "memory/heap.h"
#include "sync/section.h"

/* Deaths of the helpers. */

static int wait_and_give_back(void *argument, size_t size)
{
	(void)size;
	volatile int *go = *(int **)argument;
	while (!*go)
		sched_yield();
	return 33;
}

static void kill_and_see_replaced(const char *name)
{
	pid_t old = helper(name);
	ck_assert_int_gt(old, 0);
	ck_assert_int_eq(kill(old, SIGKILL), 0);
	await(helper(name) > 0 && helper(name) != old && helper("crew-keeper") > 0 && helper("crew-zygote") > 0);
}

TEST(helpers_are_replaced_and_busy_children_run_on, .count = 2)
{
	must(crew_init(NULL));
	const char *name = index ? "crew-keeper" : "crew-zygote", *other = index ? "crew-zygote" : "crew-keeper";
	int *go, nine = 9;
	must(crew_alloc_zeroed(sizeof *go, (void **)&go));
	struct crew_process *busy[4], *idle[2];
	for (int i = 0; i < 4; i++)
		busy[i] = start(options(.function = wait_and_give_back, .argument = &go, .argument_size = sizeof go));
	for (int i = 0; i < 2; i++)
		idle[i] = start(options(.function = sleep_for_ever));
	kill_and_see_replaced(name);
	must_exit(9, start(options(.function = give_back, .argument = &nine, .argument_size = sizeof nine)));
	must(crew_process_signal(idle[0], SIGUSR1));
	must_be_killed(SIGUSR1, idle[0]); /* the truth, whoever has reaped it */
	kill_and_see_replaced(other);
	must_exit(9, start(options(.function = give_back, .argument = &nine, .argument_size = sizeof nine)));
	for (int i = 0; i < 5; i++)
		kill_and_see_replaced(name);
	must_exit(9, start(options(.function = give_back, .argument = &nine, .argument_size = sizeof nine)));
	__atomic_store_n(go, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < 4; i++)
		must_exit(33, busy[i]); /* all who could reap it are dead: it has said so itself */
	must(crew_process_signal(idle[1], SIGUSR1));
	ck_assert_int_eq(end(idle[1]).state, CREW_ENDED_UNKNOWN); /* and this nobody can tell */
	await(slots_in_use() == HOUSEHOLD);
	crew_free(go);
	crew_fini();
}

static struct stopped { struct crew_semaphore semaphore; uint32_t *guard; int inside, held; } *stopped;

static int stop_in_a_section(void *argument, size_t size)
{
	struct stopped *s = *(struct stopped **)argument;
	struct crew__lane *lane;
	(void)size;
	if (crew__enter(&lane, s->guard, CREW_FOREVER) < 0)
		return 1;
	__atomic_store_n(&s->inside, 1, __ATOMIC_RELEASE);
	raise(SIGSTOP);
	crew__leave(lane, s->guard);
	return 0;
}

static int hold_all_kinds(void *argument, size_t size)
{
	struct stopped *s = *(struct stopped **)argument;
	struct crew__lane *lane;
	void *block;
	(void)size;
	if (crew_semaphore_acquire(&s->semaphore, CREW_FOREVER) < 0 || crew__lane_self(&lane) < 0 ||
			crew__alloc_mine(lane, 0, 100000, &block) < 0 || crew__alloc_mine(lane, 1, 100, &block) < 0)
		return 1;
	__atomic_store_n(&s->held, 1, __ATOMIC_RELEASE);
	return sleep_for_ever(NULL, 0);
}

TEST(who_is_stopped_in_a_section_holds_up_no_start_and_no_join, .count = 2)
{
	struct crew_memory_stats before, after;
	int nine = 9;
	must(crew_init(NULL));
	must(crew_alloc_zeroed(sizeof *stopped, (void **)&stopped));
	crew_semaphore_init(&stopped->semaphore, 1);
	stopped->guard = index ? &heap_of_family()->guard : &stopped->semaphore.guard_;
	must(crew_memory_stats(&before));
	struct crew_process *holder = start(options(.function = hold_all_kinds, .argument = &stopped, .argument_size = sizeof stopped));
	await(__atomic_load_n(&stopped->held, __ATOMIC_ACQUIRE));
	struct crew_process *inside = start(options(.function = stop_in_a_section, .argument = &stopped, .argument_size = sizeof stopped));
	struct crew__stat stat;
	await(__atomic_load_n(&stopped->inside, __ATOMIC_ACQUIRE) && crew__stat(crew_process_pid(inside), &stat) && stat.stopped);
	must(crew_process_signal(holder, SIGKILL));
	must_be_killed(SIGKILL, holder);
	for (int i = 0; i < 5; i++)
		must_exit(9, start(options(.function = give_back, .argument = &nine, .argument_size = sizeof nine)));
	ck_assert_int_eq((int)crew_semaphore_free(&stopped->semaphore), index);
	must(crew_process_signal(inside, SIGCONT));
	must_exit(0, inside);
	must(crew_semaphore_acquire(&stopped->semaphore, crew_after(10 * CREW_SECOND))); /* whoever waits finds it */
	must(crew_semaphore_release(&stopped->semaphore));
	crew__lane_reap_all();
	must(crew_memory_stats(&after));
	must(crew_heap_check());
	ck_assert_uint_eq(after.blocks, before.blocks);
	crew_free(stopped);
	crew_fini();
}

TEST(without_any_helper_nothing_hangs)
{
	must(crew_init(NULL));
	struct crew_process *p = start(options(.function = sleep_for_ever)), *other;
	pid_t keeper = helper("crew-keeper"), zygote = helper("crew-zygote");
	ck_assert_int_eq(kill(keeper, SIGSTOP), 0); /* so that it cannot fork the next one in between */
	ck_assert_int_eq(kill(zygote, SIGKILL), 0);
	ck_assert_int_eq(kill(keeper, SIGKILL), 0);
	await(is_gone(keeper));
	struct crew_status status;
	must_be(-EPIPE, crew_process_start(&other, options(.function = sleep_for_ever)));
	must_be(-ETIMEDOUT, crew_process_join(p, crew_after(50 * CREW_MILLISECOND), &status));
	must(crew_process_signal(p, SIGKILL));
	must(crew_process_join(p, crew_after(5 * CREW_SECOND), &status));
	ck_assert_int_eq(status.state, CREW_ENDED_UNKNOWN);
	must(crew_process_close(p));
	int four = 4;
	must_exit(4, start(options(.function = give_back, .method = CREW_FORK, .argument = &four, .argument_size = sizeof four)));
	p = start(options(.function = sleep_for_ever, .method = CREW_FORK));
	pid_t left = crew_process_pid(p);
	crew_fini();
	ck_assert(is_gone(left));
	must(crew_process_close(p));
}

struct storm { pid_t keeper, zygote; int stop, kills; };

/* Kill keeper and zygote in turn, each time when it has been replaced. */
static int kill_helpers(void *argument, size_t size)
{
	(void)size;
	struct storm *storm = *(struct storm **)argument;
	unsigned seed = 1;
	for (int i = 0; !__atomic_load_n(&storm->stop, __ATOMIC_ACQUIRE); i++) {
		const char *name = i % 3 ? "crew-zygote" : "crew-keeper";
		pid_t old = helper(name);
		if (old > 0 && helper("crew-keeper") > 0 && helper("crew-zygote") > 0) {
			kill(old, SIGKILL);
			storm->kills++;
			crew_time until = crew_after(5 * CREW_SECOND);
			while ((helper(name) <= 0 || helper(name) == old) && crew_now() < until)
				sched_yield();
		}
		struct timespec moment = { 0, rand_r(&seed) % 3000000 };
		nanosleep(&moment, NULL);
	}
	return 0;
}

TEST(starts_and_joins_survive_a_storm_on_the_helpers, .timeout = 60)
{
	must(crew_init(NULL));
	struct storm *storm;
	must(crew_alloc_zeroed(sizeof *storm, (void **)&storm));
	struct crew_process *killer = start(options(.function = kill_helpers, .method = CREW_FORK, .argument = &storm,
		.argument_size = sizeof storm));
	crew_time until = crew_after(3 * CREW_SECOND);
	int done = 0;
	while (crew_now() < until) {
		struct crew_process *p[4];
		for (int i = 0; i < 4; i++)
			p[i] = start(options(.function = give_back, .argument = &i, .argument_size = sizeof i));
		for (int i = 0; i < 4; i++)
			must_exit(i, p[i]);
		done += 4;
	}
	__atomic_store_n(&storm->stop, 1, __ATOMIC_RELEASE);
	must_exit(0, killer);
	ck_assert_int_gt(storm->kills, 10);
	ck_assert_int_gt(done, 10);
	await(helper("crew-keeper") > 0 && helper("crew-zygote") > 0 && slots_in_use() == HOUSEHOLD);
	crew_free(storm);
	crew_fini();
}

/* Deaths of starters. */

static int start_until_killed(void *argument, size_t size)
{
	(void)argument, (void)size;
	for (;;) {
		struct crew_process *p;
		int zero = 0;
		if (crew_process_start(&p, options(.function = give_back, .argument = &zero, .argument_size = sizeof zero)) < 0)
			return 1;
		if (crew_process_join(p, CREW_FOREVER, NULL) < 0 || crew_process_close(p) < 0)
			return 2;
	}
}

TEST(a_starter_killed_at_any_moment_leaves_nothing, .timeout = 60)
{
	must(crew_init(NULL));
	unsigned seed = 7;
	for (int i = 0; i < 200; i++) {
		struct crew_process *p = start(options(.function = start_until_killed,
			.method = i % 2 ? CREW_FORK : CREW_ZYGOTE));
		struct timespec moment = { 0, rand_r(&seed) % 2000000 };
		nanosleep(&moment, NULL);
		must(crew_process_signal(p, SIGKILL));
		must_be_killed(SIGKILL, p);
	}
	await(slots_in_use() == HOUSEHOLD);
	crew_fini();
}

TEST(starters_and_their_reapers_killed_together_leave_nothing, .timeout = 60)
{
	must(crew_init(NULL));
	unsigned seed = 11;
	for (int i = 0; i < 150; i++) {
		struct crew_process *p = start(options(.function = start_until_killed,
			.method = i % 2 ? CREW_FORK : CREW_ZYGOTE));
		struct timespec moment = { 0, rand_r(&seed) % 2000000 };
		nanosleep(&moment, NULL);
		const char *name = rand_r(&seed) % 2 ? "crew-zygote" : "crew-keeper";
		pid_t old = helper(name);
		kill(old, SIGKILL);
		must(crew_process_signal(p, SIGKILL));
		must_be_killed(SIGKILL, p);
		await(helper(name) != old && helper("crew-zygote") > 0 && helper("crew-keeper") > 0);
	}
	await(slots_in_use() == HOUSEHOLD);
	crew_fini();
}

/* A family of its own, in a copy of the test: report all pids, then wait to be killed. */
struct family { pid_t pids[16]; int count, ready; };

static int nest(void *argument, size_t size)
{
	struct family *family = *(struct family **)argument;
	struct crew_process *p;
	family->pids[__atomic_fetch_add(&family->count, 1, __ATOMIC_ACQ_REL)] = getpid();
	if (__atomic_load_n(&family->count, __ATOMIC_ACQUIRE) < 4)
		(void)!crew_process_start(&p, options(.function = nest, .argument = argument, .argument_size = size,
			.method = family->count % 2 ? CREW_ZYGOTE : CREW_FORK));
	else
		__atomic_store_n(&family->ready, 1, __ATOMIC_RELEASE);
	if (family->count == 4) /* deaf to everything */
		for (int s = 1; s < 32; s++)
			signal(s, SIG_IGN);
	return sleep_for_ever(NULL, 0);
}

static void found_family(int report, bool wait_own)
{
	struct family *family, copy;
	struct crew_process *p;
	if (crew_init(NULL) < 0 || crew_alloc_zeroed(sizeof *family, (void **)&family) < 0)
		_exit(1);
	if (crew_process_start(&p, options(.function = nest, .argument = &family, .argument_size = sizeof family)) < 0)
		_exit(2);
	while (!__atomic_load_n(&family->ready, __ATOMIC_ACQUIRE))
		sched_yield();
	const char *const programs[][4] = {
		{ "sleep", "1000", NULL },
		{ "sh", "-c", "sleep 1000 & sleep 1000", NULL },
		{ "bash", "-c", "exec 64<&- 65<&- 66<&- 67<&- 68<&- 69<&- 70<&- 71<&-; exec sleep 1000", NULL },
	};
	for (int i = 0; i < 3; i++) {
		if (crew_process_start(&p, options(.argv = programs[i], .method = i % 2 ? CREW_FORK : CREW_ZYGOTE)) < 0)
			_exit(3);
		family->pids[family->count++] = crew_process_pid(p);
	}
	if (crew_process_start(&p, options(.function = sleep_for_ever)) < 0 || crew_process_signal(p, SIGSTOP) < 0)
		_exit(4);
	family->pids[family->count++] = crew_process_pid(p);
	family->pids[family->count++] = helper("crew-keeper");
	family->pids[family->count++] = helper("crew-zygote");
	pid_t own = fork(); /* the program's own child: no member, and nobody hangs on it */
	if (own == 0) {
		sleep_for_ever(NULL, 0);
		_exit(0);
	}
	memcpy(&copy, family, sizeof copy);
	copy.ready = own;
	if (write(report, &copy, sizeof copy) != sizeof copy)
		_exit(5);
	if (wait_own)
		_exit(0);
	sleep_for_ever(NULL, 0);
}

static const char *how(int i)
{
	static const char *const names[] = { "killed_founder", "leaving_founder", "killed_founder_no_proc", "killed_founder_stopped_helpers" };
	return names[i];
}

TEST(the_founders_death_ends_all_within_a_second, .count = 4, .label = how)
{
	int report[2];
	struct family family;
	ck_assert_int_eq(pipe2(report, O_CLOEXEC), 0);
	if (index == 2)
		setenv("CREW_DISABLE", "proc,close_range", 1);
	fflush(NULL);
	pid_t founder = fork();
	if (founder == 0) {
		close(report[0]);
		found_family(report[1], index == 1);
	}
	close(report[1]);
	ck_assert_int_eq(read(report[0], &family, sizeof family), sizeof family);
	ck_assert_int_eq(family.count, 10);
	for (int i = 0; i < 10; i++)
		ck_assert(index == 1 || !is_gone(family.pids[i]));
	if (index == 3) {
		kill(family.pids[8], SIGSTOP);
		kill(family.pids[9], SIGSTOP);
	}
	crew_time before = crew_now();
	if (index != 1)
		kill(founder, SIGKILL);
	ck_assert_int_eq(waitpid(founder, NULL, 0), founder);
	for (int i = 0; i < 10; i++) {
		if (index == 3 && (i >= 8 || i == 6))
			continue; /* who is stopped stays; and nobody is left to end the one that has closed its lifeline */
		while (!is_gone(family.pids[i])) {
			ck_assert_msg(crew_now() < before + CREW_SECOND, "number %d is left", i);
			harness_pause();
		}
	}
	char c;
	if (index != 3)
		ck_assert_int_eq(read(report[0], &c, 0), 0);
	ck_assert(!is_gone(family.ready)); /* the program's own business */
	kill(family.ready, SIGKILL);
	if (index == 3) {
		kill(family.pids[8], SIGCONT);
		kill(family.pids[9], SIGCONT);
		await(is_gone(family.pids[6]) && is_gone(family.pids[8]) && is_gone(family.pids[9]));
	}
	close(report[0]);
}

TEST(a_dead_parents_children_end_though_the_family_lives)
{
	must(crew_init(NULL));
	struct family *family;
	must(crew_alloc_zeroed(sizeof *family, (void **)&family));
	struct crew_process *p = start(options(.function = nest, .argument = &family, .argument_size = sizeof family));
	await(__atomic_load_n(&family->ready, __ATOMIC_ACQUIRE));
	must(crew_process_signal(p, SIGKILL));
	must_be_killed(SIGKILL, p);
	await(is_gone(family->pids[1]) && is_gone(family->pids[2]) && is_gone(family->pids[3]));
	await(slots_in_use() == HOUSEHOLD);
	crew_free(family);
	crew_fini();
}

TEST(fini_ends_everything_at_once, .count = 2)
{
	must(crew_init(NULL));
	struct crew_process *p[6];
	pid_t pids[6];
	for (int i = 0; i < 6; i++) {
		p[i] = start(options(.function = sleep_for_ever, .method = i < 3 ? CREW_ZYGOTE : CREW_FORK));
		pids[i] = crew_process_pid(p[i]);
		if (i % 3 == 0)
			must(crew_process_signal(p[i], SIGSTOP));
	}
	pid_t keeper = helper("crew-keeper"), zygote = helper("crew-zygote");
	if (index)
		kill(zygote, SIGKILL);
	crew_time before = crew_now();
	crew_fini();
	ck_assert_int_lt(crew_now() - before, CREW_SECOND);
	ck_assert(is_gone(keeper) && is_gone(zygote));
	for (int i = 0; i < 6; i++) {
		struct crew_status status;
		ck_assert(is_gone(pids[i]));
		must(crew_process_join(p[i], CREW_FOREVER, &status)); /* handles outlive the family, but know nothing */
		ck_assert_int_eq(status.state, CREW_ENDED_UNKNOWN);
	}
	must(crew_init(NULL)); /* and the next family has nothing to do with them */
	int two = 2;
	must_exit(2, start(options(.function = give_back, .argument = &two, .argument_size = sizeof two)));
	for (int i = 0; i < 6; i++)
		must(crew_process_close(p[i]));
	crew_fini();
}
