/*
 * named.c - a region with a name: programs that do not know each other, and one guest book
 *
 *     shared_mem --meet=NAME      enter the book of that name, in any terminal, as often as you like; the book stays
 *     shared_mem --forget=NAME    and goes
 *
 * Here the program starts itself three times, as a stranger each: two write in the book at the same time until one is killed
 * with SIGKILL, wherever it is; the third comes when both are gone. An entry and the count of entries are changed in
 * one section with an undo log (crew/undo.h), so the dead has made an entry or has not, and nobody has to repair the book.
 */
#include "shared_mem.h"
#include "stats.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLACES 16 /* entries that the book keeps */

struct book { /* in the region: pointers and locks are good for all programs */
	struct crew_lock lock;
	uint64_t entries;
	struct entry { uint64_t number; int32_t pid; uint32_t visit; } entry[PLACES];
};

/* 0, or what went wrong: nobody finds the book half written. */
static int enter(struct book *book, uint32_t visit)
{
	int r = crew_lock_acquire(&book->lock, crew_after(PATIENCE));
	if (r == CREW_OWNER_DIED) { /* it had the lock, and had not begun to write */
		crew_lock_repaired(&book->lock);
		r = 0;
	}
	if (r < 0)
		return r;
	struct entry *entry = &book->entry[book->entries % PLACES];
	r = crew_save(&book->lock, entry, sizeof *entry);
	if (r == 0)
		r = crew_save(&book->lock, &book->entries, sizeof book->entries);
	if (r == 0) {
		*entry = (struct entry){ book->entries + 1, (int32_t)getpid(), visit };
		book->entries++;
	}
	crew_lock_release(&book->lock);
	return r;
}

/* Whether the entries that are kept are the last ones, each whole. */
static bool is_whole(const struct book *book)
{
	for (uint64_t i = book->entries > PLACES ? book->entries - PLACES : 0; i < book->entries; i++)
		if (book->entry[i % PLACES].number != i + 1 || book->entry[i % PLACES].pid <= 0)
			return false;
	return true;
}

int meet(const char *name, uint64_t visits)
{
	struct book *book;
	int r = crew_init(&(struct crew_init_options){ .name = name });
	if (r == 0)
		r = crew_root("guest book", sizeof *book, (void **)&book);
	if (r < 0)
		cli_lack("--meet=%s: %s", name, crew_strerror(r));
	report = report_open(&cli);
	report_say(report, "pid %d has come; there are %" PRIu64 " entries in the book\n", (int)getpid(), book->entries);
	cli_flush();
	double begin = stats_clock();
	uint64_t made = 0;
	while (made < visits && (r = enter(book, (uint32_t)made + 1)) == 0)
		made++;
	struct json_t *line = report_row(report);
	report_str(line, "case", "guest book");
	report_uint(line, "made", made);
	report_real(line, "seconds", stats_clock() - begin);
	must("crew_lock_acquire", crew_lock_acquire(&book->lock, crew_after(PATIENCE)));
	report_uint(line, "entries", book->entries);
	report_check(report, r == 0 && is_whole(book), "the guest book %s is not whole: %s", name, crew_strerror(r));
	for (uint64_t i = book->entries > 3 ? book->entries - 3 : 0; i < book->entries; i++)
		report_say(report, "entry %" PRIu64 ": pid %d, its visit number %u\n", i + 1, book->entry[i % PLACES].pid,
			book->entry[i % PLACES].visit);
	crew_lock_release(&book->lock);
	return report_finish(report);
}

int forget(const char *name)
{
	int r = crew_region_unlink(name);
	if (r < 0)
		cli_lack("--forget=%s: %s", name, crew_strerror(r));
	return 0;
}

/* --- three strangers --- */

struct stranger {
	struct crew_process *process;
	FILE *says;
};

static struct stranger start(const char *name, const char *visits)
{
	struct stranger stranger;
	char path[512] = "", meet_option[128], visits_option[64];
	int ends[2];
	if (readlink("/proc/self/exe", path, sizeof path - 1) < 0 || pipe2(ends, O_CLOEXEC) < 0)
		cli_lack("no second program: %s", strerror(errno));
	snprintf(meet_option, sizeof meet_option, "--meet=%s", name);
	snprintf(visits_option, sizeof visits_option, "--visits=%s", visits);
	must("crew_process_start", crew_process_start(&stranger.process, &(struct crew_process_options){
		.argv = (const char *const[]){ path, meet_option, visits_option, NULL }, .out = ends[1] + 1 }));
	close(ends[1]);
	stranger.says = cli_need(fdopen(ends[0], "r"));
	return stranger;
}

/* Until it has come. */
static bool has_come(struct stranger *stranger)
{
	char line[256];
	return fgets(line, sizeof line, stranger->says) && strstr(line, "has come");
}

/* The number of entries that it saw in the end; 0 if it did not end well. */
static uint64_t end(struct stranger *stranger, bool kill)
{
	char line[256];
	uint64_t entries = 0, seen;
	struct crew_status status = { 0 };
	int r = kill ? crew_process_signal(stranger->process, SIGKILL) : 0;
	while (fgets(line, sizeof line, stranger->says)) {
		if (sscanf(line, "entry %" SCNu64, &seen) == 1)
			entries = seen;
	}
	fclose(stranger->says);
	if (r == 0)
		r = crew_process_join(stranger->process, crew_after(PATIENCE), &status);
	(void)!crew_process_stop(stranger->process, 0, NULL);
	(void)!crew_process_close(stranger->process);
	return r == 0 && status.state == CREW_EXITED && status.code == 0 ? entries : 0;
}

/*
 * A name outlives the programs that use it. This one is to go with us, however we end: a child of our own waits until its pipe
 * has no writer any more, which is us, and then takes the name away.
 */
struct janitor { pid_t pid; int fd; };

static struct janitor start_janitor(const char *name)
{
	int ends[2];
	char byte;
	if (pipe2(ends, O_CLOEXEC) < 0)
		cli_lack("pipe: %s", strerror(errno));
	struct janitor janitor = { .pid = fork(), .fd = ends[1] };
	if (janitor.pid < 0)
		cli_lack("fork: %s", strerror(errno));
	if (janitor.pid == 0) {
		setpgid(0, 0); /* Ctrl-C is for the others */
		close(ends[1]);
		while (read(ends[0], &byte, 1) < 0 && errno == EINTR)
			;
		_exit(crew_region_unlink(name) < 0);
	}
	close(ends[0]);
	return janitor;
}

static bool end_janitor(struct janitor janitor)
{
	int status;
	close(janitor.fd);
	return waitpid(janitor.pid, &status, 0) == janitor.pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void show_named(uint64_t visits)
{
	char name[64], text[32];
	snprintf(name, sizeof name, "shared_mem-%d", (int)getpid());
	snprintf(text, sizeof text, "%" PRIu64, visits);
	report_say(report, "A region with a name: three programs, strangers to each other, write in one guest book\n");
	struct janitor janitor = start_janitor(name);
	double begin = stats_clock();
	struct stranger mortal = start(name, "4000000000");
	bool came = has_come(&mortal);
	struct stranger other = start(name, text);
	came = has_come(&other) && came;
	end(&mortal, true);
	uint64_t left = end(&other, false);
	double seconds = stats_clock() - begin;
	struct stranger late = start(name, "1");
	came = has_come(&late) && came;
	uint64_t found = end(&late, false);
	bool gone = end_janitor(janitor);
	struct json_t *line = row("named region, a writer killed", left * sizeof(struct entry), seconds);
	report_uint(line, "deaths", 1);
	report_check(report, came && gone, "named region: %s", came ? "its name stays" : "a program did not come");
	/* The mortal one may have gone on after the other had ended. */
	report_check(report, left >= visits && found > left, "named region: %" PRIu64 " entries, then %" PRIu64, left, found);
	report_table(report);
	report_say(report, "\n");
}
