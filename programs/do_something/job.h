/*
 * job.h - jobs: processes that may fail, hang or be killed, and what is done about it
 *
 * A crowd is a number of lanes. Each lane is a thread that runs one job after the other, every
 * one as a process of its own, by one policy: a time limit, a number of retries. That
 * a lane simply blocks until its job has ended keeps it readable; what costs is the process.
 *
 *     static void work(struct lane *lane, void *context)
 *     {
 *             struct job_result result;
 *             while (... there is another job ...)
 *                     job_run(lane, &(struct crew_process_options){ .argv = argv }, &policy, &result);
 *     }
 *
 *     crowd_run(&(struct crowd_options){ .lanes = 8 }, work, &shared);
 */
#ifndef JOB_H
#define JOB_H

#include <pthread.h>
#include <time.h>
#include <crew/process.h>

struct policy {
	crew_time timeout; /* ns for one attempt; 0: none. Then its whole tree is ended, and that is a failure */
	unsigned retries;  /* further attempts after a failure */
};

enum ending {
	JOB_DONE,        /* exit code 0 */
	JOB_EXIT,        /* another exit code */
	JOB_SIGNAL,      /* killed */
	JOB_TIMED_OUT,
	JOB_NOT_STARTED,
	JOB_UNKNOWN      /* it has ended, and nobody can say how */
};

/* How the last attempt ended. */
struct job_result {
	enum ending ending;
	int code;             /* JOB_EXIT: the exit code; JOB_NOT_STARTED: 127 or 126, as shells have it */
	int signal;           /* JOB_SIGNAL, JOB_TIMED_OUT: what killed it, or 0 */
	int error;            /* JOB_NOT_STARTED: negative errno */
	unsigned attempts;    /* that count: not those that chaos ended */
	struct timespec when; /* wall clock at its start */
	double seconds;
};

/* "done", "exit 3", "SIGSEGV", "timed out", ... */
enum { JOB_TEXT_MAX = 160 };
void job_text(const struct job_result *result, char text[JOB_TEXT_MAX]);

struct crowd;

struct lane {
	struct crowd *crowd;
	pthread_t thread;
	int out, err;                 /* -1, or what the running job, or the last, has printed; see lane_capture */
	pid_t last;                   /* the job before, or 0 */
	struct crew_process *running; /* guarded by the crowd's lock, as is: */
	bool shot;                    /* chaos has killed it, */
	unsigned shots;               /*   and so many attempts of this job */
};

struct crowd_options {
	unsigned lanes;
	double chaos;  /* SIGKILLs per second at running jobs; not charged, the job runs again */
	uint64_t seed;
};

/* Run work(lane, context) in that many threads, or as many as there can be; returns when all have. */
void crowd_run(const struct crowd_options *options, void (*work)(struct lane *lane, void *context), void *context);

/*
 * From now on take what the lane's jobs print, in files without a name, emptied before each attempt: on
 * disk ($TMPDIR, /tmp) if that can be, else in memory. Jobs write there directly: no reader that they
 * could have to wait for, and memory is bounded whatever they print. False: no such files can be made.
 */
bool lane_capture(struct lane *lane);
void lane_release(struct lane *lane);

/* Run a job to its end. If processes are short it waits until another lane's job has ended. */
void job_run(struct lane *lane, const struct crew_process_options *options, const struct policy *policy,
		struct job_result *ret);

#endif
