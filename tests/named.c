/* named.c - regions with a name, shared by programs that are not related */
#include "named.h"

#include <sys/mman.h>
#include <sys/ptrace.h>
#include "process/process.h"

static void write_it(void *unused)
{
	(void)unused;
	do_or_exit(crew_init(&here));
	struct shared *s = shared();
	if (!s)
		_exit(8);
	s->a = 42;
	s->self = s;
	void *text;
	do_or_exit(crew_queue_put(&s->queue, "hello", 6, CREW_FOREVER));
	do_or_exit(crew_alloc(1000, &text));
	crew_fini();
}

TEST(what_one_program_leaves_the_next_one_finds)
{
	ck_assert_int_eq(ended(program(write_it, NULL)), 0);
	must(crew_init(&here));
	struct shared *s = shared();
	ck_assert_uint_eq(s->a, 42);
	ck_assert_ptr_eq(s->self, s); /* a pointer is good in both */
	char text[6];
	size_t size;
	must(crew_queue_get(&s->queue, text, sizeof text, &size, CREW_POLL));
	ck_assert_str_eq(text, "hello");
	whole();
	ck_assert_uint_eq(founders(), 1);
	ck_assert_uint_eq(slots(), 3);
	crew_fini();
	must(crew_region_unlink("test"));
	must_be(-ENOENT, crew_region_unlink("test"));
}

TEST(an_unlinked_region_lives_on_for_those_in_it)
{
	must(crew_init(&here));
	must(crew_region_unlink("test"));
	shared()->a = 7;
	ck_assert_int_eq(ended(program(write_it, NULL)) >> 8, EBUSY); /* a child of ours: it has the mapping */
	crew_fini();
	ck_assert_int_eq(ended(program(write_it, NULL)), 0);
	must(crew_init(&here));
	ck_assert_uint_eq(shared()->a, 42); /* another one */
	crew_fini();
	must(crew_region_unlink("test"));
}

TEST(must_exist_and_must_be_new)
{
	struct crew_init_options options = here;
	options.must_exist = true;
	must_be(-ENOENT, crew_init(&options));
	options.must_be_new = true;
	must_be(-EINVAL, crew_init(&options));
	options.must_exist = false;
	must(crew_init(&options));
	must_be(-EALREADY, crew_init(&options));
	crew_fini();
	must_be(-EEXIST, crew_init(&options));
	options.must_exist = true, options.must_be_new = false;
	must(crew_init(&options));
	crew_fini();
	must(crew_region_unlink("test"));
}

TEST(names_that_are_none)
{
	char name[CREW_NAME_MAX + 2];
	memset(name, 'a', sizeof name);
	name[CREW_NAME_MAX + 1] = '\0';
	const char *const bad[] = { "", ".", "..", ".hidden", "a/b", "/a", "a b", "a\n", "\xc3\xa4", "a\\", "*", name };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		must_be(-EINVAL, crew_init(&(struct crew_init_options){ .name = bad[i] }));
		must_be(-EINVAL, crew_region_unlink(bad[i]));
	}
	name[CREW_NAME_MAX] = '\0';
	must(crew_init(&(struct crew_init_options){ .name = name }));
	crew_fini();
	must(crew_region_unlink(name));
}

TEST(roots_are_found_made_once_and_dropped)
{
	must(crew_init(NULL));
	void *a, *b;
	char name[CREW_NAME_MAX + 2] = "";
	must_be(-EINVAL, crew_root("", 8, &a));
	memset(name, 'x', CREW_NAME_MAX + 1);
	must_be(-EINVAL, crew_root(name, 8, &a));
	must_be(-ENOENT, crew_root_drop("a"));
	must(crew_root("a", 100, &a));
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(((char *)a)[i], 0);
	must(crew_root("b", 100, &b));
	ck_assert_ptr_ne(a, b);
	must(crew_root("a", 100, &b));
	ck_assert_ptr_eq(a, b);
	must_be(-EINVAL, crew_root("a", 101, &b));
	must(crew_root_drop("a"));
	must_be(-ENOENT, crew_root_drop("a"));
	must(crew_root("a", 101, &b));
	must(crew_root_drop("a"));
	must(crew_root_drop("b"));
	struct crew_memory_stats stats;
	must(crew_memory_stats(&stats));
	ck_assert_uint_eq(stats.blocks, 0);
	crew_fini();
}

/* ---- several at once ---- */

static int gate[2];

static void come_in(void *unused)
{
	char byte;
	(void)unused;
	close(gate[1]);
	if (read(gate[0], &byte, 1) != 0) /* until all are let go */
		_exit(7);
	do_or_exit(crew_init(&here));
	struct shared *s = shared();
	if (!s || crew_counter_post(&s->counter, 1) < 0)
		_exit(8);
	do_or_exit(crew_lock_acquire(&s->lock, CREW_FOREVER));
	s->a++;
	crew_lock_release(&s->lock);
	crew_fini();
}

TEST(of_many_creators_one_wins_and_the_others_attach)
{
	enum { MANY = 6 };
	pid_t pids[MANY];
	for (int round = 0; round < 3; round++) {
		ck_assert_int_eq(pipe(gate), 0);
		for (int i = 0; i < MANY; i++)
			pids[i] = program(come_in, NULL);
		close(gate[1]);
		close(gate[0]);
		for (int i = 0; i < MANY; i++)
			ck_assert_int_eq(ended(pids[i]), 0);
		must(crew_init(&here));
		ck_assert_uint_eq(shared()->a, MANY);
		whole();
		ck_assert_uint_eq(slots(), 3);
		crew_fini();
		must(crew_region_unlink("test"));
	}
}

static int square(const void *argument, void *result, void *context)
{
	(void)context;
	*(int *)result = *(const int *)argument * *(const int *)argument;
	return 0;
}

static int sum_of_squares(void)
{
	struct crew_pool *pool;
	crew_ticket tickets[20];
	int sum = 0;
	if (crew_pool_open(&pool, &(struct crew_pool_options){ .workers = 2 }) < 0)
		return -1;
	for (int i = 0; i < 20; i++)
		do_or_exit(crew_pool_submit(pool, &(struct crew_task){ .function = square, .argument = &i, .argument_size = sizeof i,
				.result_size = sizeof i }, &tickets[i], CREW_FOREVER));
	for (int i = 0, y; i < 20; i++) {
		do_or_exit(crew_pool_wait(pool, tickets[i], &y, CREW_FOREVER, NULL));
		sum += y;
	}
	return crew_pool_close(pool, CREW_FOREVER) < 0 ? -1 : sum;
}

static void be_there(void *unused)
{
	(void)unused;
	do_or_exit(crew_init(&here));
	struct shared *s = shared();
	while (!look(&s->stage))
		usleep(1000);
	if (sum_of_squares() != 2470)
		_exit(6);
	say(&s->stage, 2);
	while (look(&s->stage) != 3)
		usleep(1000);
	crew_fini();
}

TEST(each_program_has_its_own_pool_and_sees_the_others_processes)
{
	ck_assert_int_eq(ended(program(found, (void *)(uintptr_t)&here)), 0);
	pid_t other = program(be_there, NULL);
	must(crew_init(&here));
	struct shared *s = shared();
	await(founders() == 2);
	say(&s->stage, 1);
	ck_assert_int_eq(sum_of_squares(), 2470);
	await(look(&s->stage) == 2);
	struct crew_member members[64];
	int count = crew_process_list(members, 64), seen = 0;
	for (int i = 0; i < count; i++)
		seen += members[i].pid == other || members[i].pid == getpid();
	ck_assert_int_eq(seen, 2);
	struct crew_observation observation;
	must(crew_observe(&observation));
	ck_assert_str_eq(observation.name, "test");
	ck_assert_uint_eq(observation.programs, 2);
	say(&s->stage, 3);
	ck_assert_int_eq(ended(other), 0);
	await(founders() == 1);
	crew_fini();
	must(crew_region_unlink("test"));
}

/* ---- deaths ---- */

static int worker(void *argument, size_t size)
{
	struct shared *s = *(struct shared **)argument;
	(void)size;
	do_or_exit(crew_queue_put(&s->queue, "x", 1, CREW_FOREVER));
	for (;;)
		pause();
}

/* With children, the lock, a lease and blocks; then wait to be killed. */
static void hold_it(void *unused)
{
	struct crew_process *process;
	void *block;
	(void)unused;
	do_or_exit(crew_init(&here));
	struct shared *s = shared();
	do_or_exit(crew_process_start(&process, &(struct crew_process_options){
			.function = worker, .argument = &s, .argument_size = sizeof s }));
	do_or_exit(crew_alloc(100, &block));
	do_or_exit(crew_lock_acquire(&s->lock, CREW_FOREVER));
	say(&s->stage, 1);
	for (;;)
		pause();
}

TEST(a_program_that_is_killed_frees_what_it_held)
{
	ck_assert_int_eq(ended(program(found, (void *)(uintptr_t)&here)), 0);
	pid_t other = program(hold_it, NULL);
	must(crew_init(&here));
	struct shared *s = shared();
	await(look(&s->stage) == 1);
	await(crew_queue_length(&s->queue) == 1); /* its child lives */
	kill(other, SIGKILL);
	must_be(CREW_OWNER_DIED, crew_lock_acquire(&s->lock, CREW_FOREVER));
	crew_lock_repaired(&s->lock);
	crew_lock_release(&s->lock);
	ended(other);
	await(founders() == 1 && slots() == 3); /* its keeper has given up its slots */
	whole();
	crew_fini();
	must(crew_region_unlink("test"));
}

/* The same for founder, keeper and zygote at once: the next to attach finds the slots. */
TEST(a_region_whose_programs_were_all_killed_is_good_again)
{
	ck_assert_int_eq(ended(program(found, (void *)(uintptr_t)&here)), 0);
	for (int round = 0; round < 3; round++) {
		pid_t other = program(hold_it, NULL);
		int fd = open(path("test"), O_RDWR | O_CLOEXEC); /* look from outside, without being in it */
		struct stat file;
		ck_assert_int_eq(fstat(fd, &file), 0);
		struct crew__region *region = mmap(NULL, (size_t)file.st_size, PROT_READ, MAP_SHARED, fd, 0);
		ck_assert_ptr_ne(region, MAP_FAILED);
		close(fd);
		const struct crew__slot *table = (const struct crew__slot *)(const void *)((const char *)region + region->slots);
		unsigned running = 0;
		await((running = 0, ({ for (unsigned i = 1; i < region->slots_high; i++) running += table[i].state == CREW__SLOT_RUNNING; }),
			running >= 4));
		for (unsigned i = 1; i < region->slots_high; i++)
			if (table[i].state == CREW__SLOT_RUNNING && table[i].helper)
				kill(table[i].pid, SIGKILL);
		kill(other, SIGKILL);
		munmap(region, (size_t)file.st_size);
		ended(other);
		must(crew_init(&here));
		await((crew__census(false), slots() == 3));
		whole();
		struct shared *s = shared();
		while (crew_queue_length(&s->queue))
			must(crew_queue_get(&s->queue, &(char){ 0 }, 1, &(size_t){ 0 }, CREW_POLL));
		crew_fini();
	}
	must(crew_region_unlink("test"));
}

/* ---- killed on the way in ---- */

static void trace(void *unused)
{
	(void)unused;
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(5);
	raise(SIGSTOP);
	do_or_exit(crew_init(&here));
	_exit(3);
}

/*
 * Kill another program after `stops` stops on its way through crew_init: of system calls (before and after each) or, in
 * single steps, of instructions. Whether it was on the way still; *refused: ptrace is not possible here.
 */
static bool kill_on_the_way(bool calls, unsigned skip, unsigned stops, bool *refused)
{
	pid_t pid = program(trace, NULL);
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	*refused = !WIFSTOPPED(status);
	if (*refused)
		return false;
	for (unsigned i = 0; i < skip + stops; i++) {
		ptrace(calls || i < skip ? PTRACE_SYSCALL : PTRACE_SINGLESTEP, pid, NULL, NULL);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		if (!WIFSTOPPED(status)) {
			ck_assert_int_eq(WEXITSTATUS(status), 3);
			return false;
		}
	}
	kill(pid, SIGKILL);
	ended(pid);
	return true;
}

/* Each system call of crew_init, then as many instructions between them as there is time for. */
static bool kill_at_every_step(void (*before)(void), double seconds)
{
	bool refused = false, more = true;
	unsigned calls = 0;
	crew_time until = crew_after((crew_time)(seconds * (double)CREW_SECOND));
	for (unsigned i = 0; more || (getenv("CREW_TEST_LONG") ? i < 20 * calls : crew_now() < until); i++) {
		unsigned skip = more ? 0 : (i * 7919u) % calls, steps = more ? i : (i * 104729u) % 400;
		before();
		bool there = kill_on_the_way(more, skip, steps, &refused);
		if (refused)
			return false;
		if (more && !there)
			more = false, calls = i;
		must(crew_init(&here));
		whole();
		await((crew__census(false), slots() == 3));
		crew_fini();
	}
	must(crew_region_unlink("test"));
	return true;
}

static void without(void)
{
	(void)!crew_region_unlink("test");
}

TEST(a_creator_killed_on_its_way_leaves_a_whole_region_or_none, .timeout = 60)
{
	if (!kill_at_every_step(without, 1))
		SKIP("ptrace is refused here");
}

static void with_one(void)
{
	ck_assert_int_eq(ended(program(found, (void *)(uintptr_t)&here)), 0);
}

static void nothing(void)
{
}

TEST(an_attacher_killed_on_its_way_leaves_nothing_of_it, .timeout = 60)
{
	with_one();
	if (!kill_at_every_step(nothing, 1))
		SKIP("ptrace is refused here");
}

/* ---- two real programs ---- */

static pid_t execute(const char *name)
{
	pid_t pid = fork();
	if (pid == 0) {
		execl(CREW_BUILD "/tests/named_program", "named_program", name, NULL);
		_exit(126);
	}
	return pid;
}

TEST(two_programs_that_know_nothing_of_each_other_survive_each_others_kills, .timeout = 60)
{
	pid_t pids[2] = { 0, 0 };
	ck_assert_int_eq(ended(program(found, (void *)(uintptr_t)&here)), 0);
	for (int i = 0; i < 2; i++)
		pids[i] = execute("test");
	must(crew_init(&here));
	struct shared *s = shared();
	crew_time until = crew_after(getenv("CREW_TEST_LONG") ? 20 * CREW_SECOND : 1500 * CREW_MILLISECOND);
	unsigned kills = 0;
	for (unsigned turn = 0; crew_now() < until; turn++) {
		uint64_t before = __atomic_load_n(&s->put, __ATOMIC_RELAXED);
		await(__atomic_load_n(&s->put, __ATOMIC_RELAXED) > before + turn % 7); /* they get on */
		kill(pids[turn % 2], SIGKILL);
		ck_assert_int_eq(WTERMSIG(ended(pids[turn % 2])), SIGKILL);
		pids[turn % 2] = execute("test");
		kills++;
	}
	say(&s->stop, 1);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(ended(pids[i]), 0);
	ck_assert_uint_gt(kills, 3);
	int r = crew_lock_acquire(&s->lock, crew_after(5 * CREW_SECOND));
	ck_assert_int_ge(r, 0);
	crew_lock_repaired(&s->lock);
	ck_assert(s->a == s->b || (r == CREW_OWNER_DIED && s->a == s->b + 1));
	crew_lock_release(&s->lock);
	await((crew__census(false), slots() == 3));
	crew_queue_fini(&s->queue);
	must(crew_root_drop("shared"));
	struct crew_memory_stats stats;
	must(crew_memory_stats(&stats));
	must(crew_heap_check());
	ck_assert_uint_le(stats.blocks, kills); /* one that each of the killed had allocated; no message, nothing in hand */
	crew_fini();
	must(crew_region_unlink("test"));
}
