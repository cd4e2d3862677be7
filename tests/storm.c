/*
 * storm.c - random programs (storm/program.h), and somebody who kills
 *
 * Up to 1.5 ms apart a worker is killed, or stopped and later continued or killed, or two are killed at once, of which the
 * second has often begun to sweep the first; or the zygote is, which starts workers and sweeps the dead. Workers also
 * execute programs, fork, and end threads that hold something. Several times a second there is rest, and an audit.
 *
 * The seed decides on what is drawn (not on when it happens): CREW_SEED sets it. CREW_STORM_SECONDS: how long.
 */
#include "process_common.h"

#include <time.h>
#include "storm/program.h"

enum { WORKERS = 4 };

static struct crew_process *workers[WORKERS];
static uint64_t seed, state;
static unsigned kills, stops, audits, starts;

static uint32_t draw(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % below;
}

struct duty { struct world *world; unsigned thread; uint64_t random; };

static int work(void *argument, size_t size)
{
	const struct duty *duty = argument;
	(void)size;
	world = duty->world;
	program_run(&(struct program){ .thread = duty->thread, .random = duty->random, .may_start = true }, UINT32_MAX);
	return 0;
}

static void start_worker(unsigned i)
{
	struct duty duty = { world, i, (uint64_t)draw(UINT32_MAX) << 32 | draw(UINT32_MAX) | 1 };
	crew_time until = crew_after(10 * CREW_SECOND);
	int r;
	do /* the zygote may just have been killed */
		r = crew_process_start(&workers[i], options(.function = work, .argument = &duty, .argument_size = sizeof duty,
			.method = draw(8) ? CREW_ZYGOTE : CREW_FORK));
	while (r == -EAGAIN && crew_now() < until);
	must(r);
	starts++;
}

static void bury(unsigned i)
{
	struct crew_status status;
	int r = crew_process_join(workers[i], crew_after(10 * CREW_SECOND), &status);
	if (r < 0 && crew_observe_print(stderr) < 0)
		wrong("observe");
	ck_assert_msg(r == 0, "CREW_SEED=%llu: worker %u does not end (in operation %u): %s", (unsigned long long)seed, i,
		notes->doing[i], crew_errname(r));
	if (status.state == CREW_EXITED ? status.code != 0 : status.state == CREW_KILLED && status.signal != SIGKILL)
		wrong("worker %u ended with code %d, signal %d in operation %u", i, status.code, status.signal, notes->doing[i]);
	must(crew_process_close(workers[i]));
	workers[i] = NULL;
	note_end(i);
	note_end(i + THREADS / 2);
}

static void signal_worker(unsigned i, int signal_number)
{
	int r = crew_process_signal(workers[i], signal_number);
	ck_assert_msg(r == 0 || r == -ESRCH, "signal %d: %s", signal_number, crew_errname(r));
}

static void kill_zygote(void)
{
	pid_t pid = helper("crew-zygote");
	if (pid > 1)
		kill(pid, SIGKILL);
}

static void nap(void)
{
	clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ 0, draw(1500000) }, NULL);
}

static void replace(unsigned i)
{
	bury(i);
	start_worker(i);
}

/* One thing happens. Nobody stays stopped while we wait for the end of another: it may hold what the sweep needs. */
static void strike(void)
{
	unsigned i = draw(WORKERS), other = (i + 1 + draw(WORKERS - 1)) % WORKERS, what = draw(100);
	bool both = draw(4) == 0;
	if (what == 99)
		kill_zygote();
	if (what < 25) {
		signal_worker(i, SIGSTOP);
		stops++;
		nap();
	}
	if (both) {
		signal_worker(other, SIGKILL);
		if (draw(2))
			nap();
	}
	bool goes_on = what < 15;
	signal_worker(i, goes_on ? SIGCONT : SIGKILL);
	kills += (both ? 1u : 0u) + (goes_on ? 0u : 1u);
	if (!goes_on)
		replace(i);
	if (both)
		replace(other);
}

static void start_again_who_has_ended(void)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		struct crew_status status;
		crew_process_status(workers[i], &status);
		if (status.state != CREW_RUNNING) {
			bury(i);
			start_worker(i);
		}
	}
}

static void rest_and_audit(void)
{
	__atomic_store_n(&notes->rest, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < WORKERS; i++)
		bury(i);
	bool fine = audit();
	ck_assert_msg(fine, "CREW_SEED=%llu, after %u kills: %s", (unsigned long long)seed, kills, notes->wrong);
	audits++;
	__atomic_store_n(&notes->rest, 0, __ATOMIC_RELEASE);
}

static void storm(double seconds)
{
	const char *given = getenv("CREW_SEED"), *longer = getenv("CREW_STORM_SECONDS");
	crew_time end = crew_after((crew_time)((longer ? atof(longer) : seconds) * (double)CREW_SECOND));
	seed = given ? strtoull(given, NULL, 0) : (uint64_t)crew_now() % 1000000007;
	state = seed * 2654435761u | 1;
	notes_create();
	must(crew_init(NULL));
	world_create();
	while (crew_now() < end && !notes->is_wrong) {
		for (unsigned i = 0; i < WORKERS; i++)
			start_worker(i);
		for (crew_time rest = crew_after(200 * CREW_MILLISECOND); crew_now() < rest && !notes->is_wrong;) {
			nap();
			start_again_who_has_ended();
			strike();
		}
		rest_and_audit();
	}
	uint64_t done = 0;
	for (int i = 0; i < OPERATIONS; i++)
		done += notes->total[i];
	struct crew_observation seen;
	must(crew_observe(&seen));
	printf("# CREW_SEED=%llu: %u kills, %u stops, %u starts, %llu operations, %u audits, %llu healed by slice\n",
		(unsigned long long)seed, kills, stops, starts, (unsigned long long)done, audits,
		(unsigned long long)seen.healed_by_slice);
	ck_assert_msg(seen.healed_by_slice == 0, "CREW_SEED=%llu: %llu wake-ups were lost", (unsigned long long)seed,
		(unsigned long long)seen.healed_by_slice);
	crew_free(world);
	crew_fini();
}

TEST(nothing_is_lost_in_a_storm, .timeout = 60) { storm(3); }
TEST(nothing_is_lost_in_a_long_storm, .timeout = 36000, .takes_long = true) { storm(60); }
