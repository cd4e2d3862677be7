/*
 * runner.c - see runner.h
 *
 * Each lane takes the next line, builds the job's arguments, runs it, and passes on what it
 * printed. Two locks: `input` for reading, `output` for everything that is told. A lane may sleep
 * in read(2) with the input lock held; those with a job go on, and their output is not held back.
 *
 * Memory stays bounded whatever the jobs print and however many there are: output goes to
 * nameless files, two for each lane, and a line is forgotten when its job has ended.
 */
#include "runner.h"
#include "stats.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <crew/error.h>

#define LINE_MAX_BYTES (128 * 1024 - 1) /* the kernel's MAX_ARG_STRLEN, less the final zero */
#define FAILED_MAX 101

struct runner {
	const struct runner_options *options;
	const struct cli *cli;
	struct report *report;
	char host[256];

	pthread_mutex_t input;
	uint64_t line;            /* read so far */
	uint64_t jobs;            /* handed out so far: numbers them */
	bool over;                /* no more lines are wanted, or there are none */
	const char *refused;      /* why line number `line` is not good, */
	int unreadable;           /*   or the error of reading on */

	pthread_mutex_t output;
	FILE *joblog;
	uint64_t finished, failed;
};

struct job {
	uint64_t number;
	char *line;               /* LINE_MAX_BYTES + 1 */
	char **argv;
};

static void *need(void *pointer)
{
	if (!pointer)
		cli_lack("out of memory");
	return pointer;
}

/* --- from a line to a command --- */

/* The next line that is not empty into job->line. False: there are no more. */
static bool next_line(struct runner *runner, struct job *job)
{
	bool found = false;
	pthread_mutex_lock(&runner->input);
	while (!found && !__atomic_load_n(&runner->over, __ATOMIC_RELAXED)) {
		size_t size = 0;
		int c;
		runner->line++;
		while ((c = getc_unlocked(stdin)) != EOF && c != '\n') {
			if (c == 0)
				runner->refused = "holds a zero byte, which no argument can; is this text?";
			else if (size == LINE_MAX_BYTES)
				runner->refused = "is longer than 131071 bytes, the most that an argument can be";
			if (runner->refused)
				break;
			job->line[size++] = (char)c;
		}
		job->line[size] = 0;
		if (c == EOF && ferror(stdin))
			runner->unreadable = errno;
		if (runner->refused || c == EOF)
			__atomic_store_n(&runner->over, true, __ATOMIC_RELAXED);
		found = size > 0 && !runner->refused && !runner->unreadable;
		job->number = runner->jobs += found;
	}
	pthread_mutex_unlock(&runner->input);
	return found;
}

/* The word with the line for every "{}". */
static char *fill_in(const char *word, const char *line)
{
	size_t size = strlen(word) + 1, length = strlen(line);
	for (const char *p = word; (p = strstr(p, "{}")); p += 2)
		size += length;
	char *text = need(malloc(size)), *end = text;
	for (const char *p; (p = strstr(word, "{}")); word = p + 2)
		end = mempcpy(mempcpy(end, word, (size_t)(p - word)), line, length);
	strcpy(end, word);
	return text;
}

static char **command_of(char *const *words, const char *line)
{
	size_t count = 0;
	bool named = false;
	for (; words[count]; count++)
		named |= strstr(words[count], "{}") != NULL;
	char **argv = need(calloc(count + 2, sizeof *argv));
	for (size_t i = 0; i < count; i++)
		argv[i] = fill_in(words[i], line);
	if (!named)
		argv[count] = need(strdup(line));
	return argv;
}

static void command_free(char **argv)
{
	for (size_t i = 0; argv[i]; i++)
		free(argv[i]);
	free(argv);
}

/* For people, and for a shell: words with anything unusual in them are quoted. */
static char *command_text(char *const *argv)
{
	char *text;
	size_t size;
	FILE *stream = need(open_memstream(&text, &size));
	for (size_t i = 0; argv[i]; i++) {
		const char *usual = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_";
		bool plain = *argv[i] && !argv[i][strspn(argv[i], usual)];
		fputs(i ? " " : "", stream);
		if (!plain)
			putc('\'', stream);
		for (const char *p = argv[i]; *p; p++) {
			if (*p == '\'')
				fputs("'\\''", stream);
			else
				putc(*p, stream);
		}
		if (!plain)
			putc('\'', stream);
	}
	if (fclose(stream) != 0)
		cli_lack("out of memory");
	return text;
}

/* --- what a job has printed --- */

static uint64_t size_of(int fd)
{
	struct stat stat;
	return fstat(fd, &stat) == 0 ? (uint64_t)stat.st_size : 0;
}

/* False: the stream does not take it. */
static bool pass_on(int fd, FILE *stream)
{
	char buffer[16 << 10];
	ssize_t n;
	for (off_t at = 0; (n = pread(fd, buffer, sizeof buffer, at)) > 0; at += n)
		if (fwrite(buffer, 1, (size_t)n, stream) != (size_t)n)
			return false;
	return fflush(stream) == 0;
}

/* The length of the UTF-8 character at p, or 0 if there is none. */
static size_t character(const unsigned char *p, size_t size)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : *p >= 0xe0 && *p < 0xf0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;
	if (n <= 1 || n > size)
		return n > size ? 0 : n;
	uint32_t code = *p & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	return code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : n;
}

/* A whole file as a JSON string; what is no UTF-8 becomes U+FFFD. */
static json_t *json_file(int fd)
{
	size_t size = size_of(fd);
	unsigned char *bytes = need(malloc(size + 1));
	size_t got = 0;
	ssize_t n;
	while (got < size && (n = pread(fd, bytes + got, size - got, (off_t)got)) > 0)
		got += (size_t)n;
	json_t *string = json_stringn((char *)bytes, got);
	if (!string) {
		char *clean = need(malloc(3 * got + 1)), *end = clean;
		for (size_t at = 0, length; at < got; at += length ? length : 1) {
			length = character(bytes + at, got - at);
			end = length ? mempcpy(end, bytes + at, length) : mempcpy(end, "\xef\xbf\xbd", 3);
		}
		string = json_stringn(clean, (size_t)(end - clean));
		free(clean);
	}
	free(bytes);
	return need(string);
}

/* --- what is told about a job --- */

static void write_row(struct runner *runner, const struct lane *lane, const struct job *job,
		const char *command, const char *outcome, const struct job_result *result)
{
	json_t *row = report_row(runner->report);
	report_str(row, "task", command);
	report_str(row, "mode", "command");
	report_str(row, "outcome", outcome);
	report_uint(row, "attempts", result->attempts);
	report_int(row, "signal", result->signal);
	report_real(row, "seconds", result->seconds);
	report_uint(row, "job", job->number);
	report_int(row, "exit", result->code);
	json_object_set_new(row, "output", json_file(lane->out));
	json_object_set_new(row, "errors", json_file(lane->err));
}

/* The columns of GNU parallel. Like there, a job that timed out has exit value -1. */
static void write_joblog(struct runner *runner, const struct lane *lane, const struct job *job,
		const char *command, const struct job_result *result)
{
	fprintf(runner->joblog, "%" PRIu64 "\t%s\t%" PRIi64 ".%03ld\t%10.3f\t%d\t%" PRIu64 "\t%d\t%d\t%s\n",
		job->number, runner->host, (int64_t)result->when.tv_sec, result->when.tv_nsec / 1000000,
		result->seconds, 0, size_of(lane->out),
		result->ending == JOB_TIMED_OUT ? -1 : result->code, result->signal, command);
	fflush(runner->joblog);
}

static void tell(struct runner *runner, const struct lane *lane, const struct job *job, const struct job_result *result)
{
	bool failed = result->ending != JOB_DONE;
	bool strange = failed && result->ending != JOB_EXIT; /* plain exit codes are the command's own affair */
	char *command = runner->joblog || runner->options->gather || strange ? command_text(job->argv) : NULL;
	char outcome[JOB_TEXT_MAX];
	job_text(result, outcome);
	pthread_mutex_lock(&runner->output);
	runner->finished++;
	runner->failed += failed;
	bool taken = true;
	if (runner->options->gather) {
		write_row(runner, lane, job, command, outcome, result);
	} else {
		if (size_of(lane->out))
			taken = pass_on(lane->out, stdout);
		if (size_of(lane->err))
			pass_on(lane->err, stderr);
	}
	if (runner->joblog)
		write_joblog(runner, lane, job, command, result);
	if (strange)
		cli_note("job %" PRIu64 ": %s: %s", job->number, outcome, command);
	pthread_mutex_unlock(&runner->output);
	free(command);
	if (!taken) /* nobody would see what further jobs print */
		__atomic_store_n(&runner->over, true, __ATOMIC_RELAXED);
}

/* --- a lane --- */

static void work(struct lane *lane, void *context)
{
	struct runner *runner = context;
	const struct runner_options *options = runner->options;
	struct job job = { .line = need(malloc(LINE_MAX_BYTES + 1)) };
	if (!lane_capture(lane))
		cli_lack("cannot take what jobs print: %s", strerror(errno));
	while (next_line(runner, &job)) {
		job.argv = command_of(options->command, job.line);
		struct job_result result;
		job_run(lane, &(struct crew_process_options){ .argv = (const char *const *)job.argv },
			&options->policy, &result);
		tell(runner, lane, &job, &result);
		command_free(job.argv);
	}
	lane_release(lane);
	free(job.line);
}

void runner_check(const struct runner_options *options)
{
	const char *program = options->command[0];
	if (!strstr(program, "{}")) {
		const char *path = getenv("PATH");
		char *rest = need(strdup(path ? path : "/usr/bin:/bin")), *save = rest, *directory;
		bool found = strchr(program, '/') && access(program, X_OK) == 0;
		int error = strchr(program, '/') ? errno : ENOENT;
		while (!found && !strchr(program, '/') && (directory = strsep(&rest, ":"))) {
			char *file = NULL;
			if (asprintf(&file, "%s/%s", *directory ? directory : ".", program) < 0)
				cli_lack("out of memory");
			found = access(file, X_OK) == 0;
			free(file);
		}
		free(save);
		if (!found)
			cli_die_input(program, 0, "cannot run: %s", strerror(error));
	}
	if (options->joblog) {
		FILE *file = fopen(options->joblog, "we");
		if (!file)
			cli_die_input(options->joblog, 0, "cannot write: %s", strerror(errno));
		fputs("Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n", file);
		fclose(file);
	}
}

/*
 * As many lanes as there are descriptors for: a job that is being started takes six. What the kernel allows
 * this process is used up; jobs get the limit as it was, with the zygote.
 */
static unsigned lanes_for(const struct cli *cli)
{
	enum { EACH = 6, OTHERS = 96 }; /* crew keeps its own at 64 and above, to leave the low ones to programs */
	struct rlimit limit;
	unsigned lanes = cli->serial ? 1 : cli->workers;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return lanes;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	rlim_t most = limit.rlim_cur < OTHERS + EACH ? 1 : (limit.rlim_cur - OTHERS) / EACH;
	if (lanes <= most)
		return lanes;
	cli_note("%u jobs at a time instead of %u: more open files are not allowed; raise 'ulimit -n'", (unsigned)most, lanes);
	return (unsigned)most;
}

void runner_run(const struct runner_options *options, const struct cli *cli, struct report *report)
{
	struct runner runner = { .options = options, .cli = cli, .report = report, .host = ":",
		.input = PTHREAD_MUTEX_INITIALIZER, .output = PTHREAD_MUTEX_INITIALIZER };
	if (options->joblog && !(runner.joblog = fopen(options->joblog, "ae")))
		cli_die_input(options->joblog, 0, "cannot write: %s", strerror(errno));

	double begin = stats_clock();
	crowd_run(&(struct crowd_options){ .lanes = lanes_for(cli),
		.chaos = cli->chaos, .seed = cli->seed }, work, &runner);
	report_seconds(report, stats_clock() - begin);

	report_check(report, runner.finished == runner.jobs, "%" PRIu64 " jobs were started, %" PRIu64 " told their end",
		runner.jobs, runner.finished);
	if (runner.joblog)
		report_check(report, !(ferror(runner.joblog) | fclose(runner.joblog)), "%s: cannot write all of it", options->joblog);
	report_no_table(report);
	if (runner.refused)
		cli_die_input("standard input", runner.line, "%s", runner.refused);
	if (runner.unreadable)
		cli_die_input("standard input", 0, "cannot read: %s", strerror(runner.unreadable));
	if (runner.failed)
		cli_note("%" PRIu64 " of %" PRIu64 " jobs failed", runner.failed, runner.jobs);
	report_status(report, runner.failed < FAILED_MAX ? (int)runner.failed : FAILED_MAX);
}
