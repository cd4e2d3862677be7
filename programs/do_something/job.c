/*
 * job.c - see job.h
 *
 * The crowd's lock guards every lane's .running and .shot and the two counts. A handle is in
 * .running exactly while chaos may use it; the lane takes it out before it closes it.
 */
#include "job.h"
#include "cli.h"
#include "random.h"
#include "stats.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <crew/error.h>

#define TERM_GRACE (200 * CREW_MILLISECOND) /* between SIGTERM and SIGKILL, once the time is over */
#define LANE_STACK (256 << 10)
#define SHOTS_MAX 3 /* for one job, so that all come to an end however many are shot */

struct crowd {
	pthread_mutex_t lock;
	pthread_cond_t change;     /* an attempt or a lane has ended */
	unsigned running;          /* attempts */
	unsigned working;          /* lanes */
	uint64_t ended;            /* attempts so far */
	void (*work)(struct lane *lane, void *context);
	void *context;
	unsigned count;
	struct lane *lanes;
};

static bool short_of_processes(int r)
{
	return r == -EAGAIN || r == -EMFILE || r == -ENFILE || r == -ENOMEM;
}

/* Start the next attempt; while there is a shortage that others will end, wait for them. */
static int attempt_start(struct lane *lane, const struct crew_process_options *options,
		struct crew_process **ret)
{
	struct crowd *crowd = lane->crowd;
	for (;;) {
		uint64_t ended = __atomic_load_n(&crowd->ended, __ATOMIC_ACQUIRE);
		int r = crew_process_start(ret, options);
		pthread_mutex_lock(&crowd->lock);
		bool again = short_of_processes(r) && (crowd->running || crowd->ended != ended);
		while (again && crowd->running && crowd->ended == ended)
			pthread_cond_wait(&crowd->change, &crowd->lock);
		if (r == 0) {
			lane->running = *ret;
			lane->shot = false;
			crowd->running++;
		}
		pthread_mutex_unlock(&crowd->lock);
		if (!again)
			return r;
	}
}

/* The attempt is over. Returns whether chaos has killed it. */
static bool attempt_end(struct lane *lane)
{
	struct crowd *crowd = lane->crowd;
	pthread_mutex_lock(&crowd->lock);
	lane->running = NULL;
	crowd->running--;
	__atomic_store_n(&crowd->ended, crowd->ended + 1, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&crowd->change);
	bool shot = lane->shot;
	pthread_mutex_unlock(&crowd->lock);
	return shot;
}

/* --- what jobs print --- */

static int nameless_file(void)
{
	const char *directory = getenv("TMPDIR");
	int fd = open(directory && *directory ? directory : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		fd = memfd_create("output", MFD_CLOEXEC);
	return fd;
}

bool lane_capture(struct lane *lane)
{
	lane->out = nameless_file();
	lane->err = lane->out < 0 ? -1 : nameless_file();
	if (lane->err >= 0)
		return true;
	int error = errno;
	lane_release(lane);
	errno = error;
	return false;
}

void lane_release(struct lane *lane)
{
	if (lane->out >= 0)
		close(lane->out);
	if (lane->err >= 0)
		close(lane->err);
	lane->out = lane->err = -1;
}

/* Jobs share the position, and may have moved it. */
static bool empty(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	return size >= 0 && (size == 0 || ftruncate(fd, 0) == 0) && lseek(fd, 0, SEEK_SET) == 0;
}

/* If something of the job before may be left that could write to its files, they are not this job's. */
static void empty_files(struct lane *lane)
{
	if (lane->out < 0)
		return;
	bool ready = true;
	if (lane->last && kill(-lane->last, 0) == 0) {
		lane_release(lane);
		ready = lane_capture(lane);
	}
	if (!ready || !empty(lane->out) || !empty(lane->err))
		cli_lack("cannot take what a job prints: %s", strerror(errno));
}

/* --- a job --- */

/* One attempt. Returns false if chaos ended it: then it shall not count. */
static bool attempt(struct lane *lane, struct crew_process_options options, crew_time timeout,
		struct job_result *ret)
{
	empty_files(lane);
	options.out = lane->out + 1;
	options.err = lane->err + 1;
	clock_gettime(CLOCK_REALTIME, &ret->when);
	crew_time begin = crew_now();
	struct crew_process *process;
	int r = attempt_start(lane, &options, &process);
	if (r < 0) {
		ret->ending = JOB_NOT_STARTED;
		ret->error = r;
		ret->code = r == -ENOENT ? 127 : 126;
		ret->signal = 0;
		ret->seconds = 0;
		return true;
	}
	struct crew_status status;
	bool late = crew_process_join(process, timeout ? crew_after(timeout) : CREW_FOREVER, &status) == -ETIMEDOUT;
	/* Ended or not: nothing that it has started stays. */
	r = crew_process_stop(process, late ? TERM_GRACE : 0, &status);
	lane->last = crew_process_pid(process);
	bool shot = attempt_end(lane);
	if (r < 0 || (r = crew_process_close(process)) < 0)
		cli_lack("cannot end a job: %s", crew_strerror(r));
	ret->seconds = (double)(crew_now() - begin) * 1e-9;
	ret->code = status.state == CREW_EXITED ? status.code : 0;
	ret->signal = status.state == CREW_KILLED ? status.signal : 0;
	ret->error = 0;
	ret->ending = late ? JOB_TIMED_OUT
		: status.state == CREW_KILLED ? JOB_SIGNAL
		: status.state != CREW_EXITED ? JOB_UNKNOWN
		: status.code ? JOB_EXIT : JOB_DONE;
	/* What had already ended when the shot came has ended as it did. */
	return !(shot && status.state == CREW_KILLED && status.signal == SIGKILL);
}

void job_run(struct lane *lane, const struct crew_process_options *options, const struct policy *policy,
		struct job_result *ret)
{
	*ret = (struct job_result){ 0 };
	lane->shots = 0;
	do {
		while (!attempt(lane, *options, policy->timeout, ret))
			;
		ret->attempts++;
	} while (ret->ending != JOB_DONE && ret->attempts <= policy->retries);
}

void job_text(const struct job_result *result, char text[JOB_TEXT_MAX])
{
	switch (result->ending) {
	case JOB_DONE:        snprintf(text, JOB_TEXT_MAX, "done"); break;
	case JOB_EXIT:        snprintf(text, JOB_TEXT_MAX, "exit %d", result->code); break;
	case JOB_SIGNAL:      snprintf(text, JOB_TEXT_MAX, "SIG%s", sigabbrev_np(result->signal) ?: "RT"); break;
	case JOB_TIMED_OUT:   snprintf(text, JOB_TEXT_MAX, "timed out"); break;
	case JOB_NOT_STARTED: snprintf(text, JOB_TEXT_MAX, "not started: %s", crew_strerror(result->error)); break;
	case JOB_UNKNOWN:     snprintf(text, JOB_TEXT_MAX, "ended, nobody knows how"); break;
	}
}

/* --- the crowd --- */

static void *lane_main(void *argument)
{
	struct lane *lane = argument;
	struct crowd *crowd = lane->crowd;
	crowd->work(lane, crowd->context);
	pthread_mutex_lock(&crowd->lock);
	crowd->working--;
	pthread_cond_broadcast(&crowd->change);
	pthread_mutex_unlock(&crowd->lock);
	return NULL;
}

static bool may_be_shot(const struct lane *lane)
{
	return lane->running && !lane->shot && lane->shots < SHOTS_MAX;
}

/* Kill one of the jobs that run, each as likely as the other. With the lock held. */
static void shoot(struct crowd *crowd, struct rng *rng)
{
	unsigned count = 0;
	for (unsigned i = 0; i < crowd->count; i++)
		count += may_be_shot(&crowd->lanes[i]);
	uint64_t victim = count ? rng_below(rng, count) : 0;
	for (unsigned i = 0; i < crowd->count && count; i++) {
		struct lane *lane = &crowd->lanes[i];
		if (!may_be_shot(lane) || victim--)
			continue;
		lane->shot = crew_process_signal(lane->running, SIGKILL) == 0;
		lane->shots += lane->shot;
		return;
	}
}

/* Until all lanes have come to their end, kill at random: the times between shots are exponential. */
static void watch(struct crowd *crowd, double chaos, uint64_t seed)
{
	struct rng rng = rng_of(seed, UINT64_MAX);
	crew_time next = crew_now();
	pthread_mutex_lock(&crowd->lock);
	while (crowd->working && chaos <= 0)
		pthread_cond_wait(&crowd->change, &crowd->lock);
	while (crowd->working) {
		next += (crew_time)(-log1p(-rng_real(&rng)) / chaos * 1e9);
		struct timespec time = { next / CREW_SECOND, next % CREW_SECOND };
		while (crowd->working && pthread_cond_timedwait(&crowd->change, &crowd->lock, &time) != ETIMEDOUT)
			;
		shoot(crowd, &rng);
	}
	pthread_mutex_unlock(&crowd->lock);
}

void crowd_run(const struct crowd_options *options, void (*work)(struct lane *lane, void *context), void *context)
{
	struct crowd crowd = { .lock = PTHREAD_MUTEX_INITIALIZER, .work = work, .context = context,
		.lanes = calloc(options->lanes, sizeof *crowd.lanes) };
	if (!crowd.lanes)
		cli_lack("out of memory");
	pthread_condattr_t clock;
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&crowd.change, &clock);
	pthread_condattr_destroy(&clock);
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, LANE_STACK);

	pthread_mutex_lock(&crowd.lock); /* so that nobody looks before .count and .working are true */
	int r = 0;
	while (crowd.count < options->lanes && r == 0) {
		struct lane *lane = &crowd.lanes[crowd.count];
		*lane = (struct lane){ .crowd = &crowd, .out = -1, .err = -1 };
		r = pthread_create(&lane->thread, &attributes, lane_main, lane);
		crowd.count += r == 0;
	}
	crowd.working = crowd.count;
	pthread_mutex_unlock(&crowd.lock);
	pthread_attr_destroy(&attributes);
	if (crowd.count == 0)
		cli_lack("cannot start a thread: %s; raise 'ulimit -u'", strerror(r));
	if (crowd.count < options->lanes)
		cli_note("%u jobs at a time instead of %u: %s", crowd.count, options->lanes, strerror(r));

	watch(&crowd, options->chaos, options->seed);
	for (unsigned i = 0; i < crowd.count; i++)
		pthread_join(crowd.lanes[i].thread, NULL);
	pthread_cond_destroy(&crowd.change);
	free(crowd.lanes);
}
