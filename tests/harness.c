/* harness.c - see harness.h */
#include "harness.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct harness_test *first, **last = &first;
struct harness_note *harness_note;

enum { TEXT_MAX = 4096 };

void harness_add(struct harness_test *test)
{
	*last = test;
	last = &test->next;
}

void harness_skip(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(harness_note->skipped, sizeof harness_note->skipped, format, args);
	va_end(args);
}

void harness_context(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(harness_note->context, sizeof harness_note->context, format, args);
	va_end(args);
}

void harness_pause(void)
{
	struct timespec millisecond = { 0, 1000000 };
	clock_nanosleep(CLOCK_MONOTONIC, 0, &millisecond, NULL);
}

/* What a directory holds: "\nname\nname\n". */
static void list_names(const char *path, char *text, size_t size)
{
	size_t used = (size_t)snprintf(text, size, "\n");
	DIR *dir = opendir(path);
	if (!dir)
		return;
	for (struct dirent *entry; (entry = readdir(dir)) && used < size;)
		used += (size_t)snprintf(text + used, size - used, "%s\n", entry->d_name);
	closedir(dir);
}

/* Inside the test's own process: before it, and after it if nothing failed. */

#define FDS_MAX 4096
static bool open_before[FDS_MAX];

static void note_descriptors(void)
{
	for (int fd = 0; fd < FDS_MAX; fd++) {
		char path[32], target[8];
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		open_before[fd] = readlink(path, target, sizeof target) >= 0;
	}
}

static void check_descriptors(void)
{
	for (int fd = 0; fd < FDS_MAX; fd++) {
		char path[32], target[PATH_MAX];
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		ssize_t size = readlink(path, target, sizeof target);
		if (size >= 0)
			ck_assert_msg(open_before[fd], "left open: descriptor %d, %.*s", fd, (int)size, target);
		else
			ck_assert_msg(!open_before[fd], "closed what it did not open: descriptor %d", fd);
	}
}

static void check_mappings(void)
{
	char line[PATH_MAX + 128];
	FILE *maps = fopen("/proc/self/maps", "re");
	ck_assert_ptr_nonnull(maps);
	while (fgets(line, sizeof line, maps))
		ck_assert_msg(!strstr(line, "/memfd:crew"), "left mapped: %s", line);
	fclose(maps);
}

static void check_children(void)
{
	siginfo_t info = { 0 };
	int r = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);
	ck_assert_msg(r < 0 && errno == ECHILD, "left a child: %s",
		info.si_pid ? "a zombie that nobody has waited for" : "it still runs");
}

/*
 * Where ASan looks for leaks: here, not when some process exits. A worker that calls exit() is
 * not the place to ask for what the runner has allocated.
 */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "leak_check_at_exit=0"; }
__attribute__((weak)) int __lsan_do_recoverable_leak_check(void);

static void check_heap(void)
{
	ck_assert_msg(!__lsan_do_recoverable_leak_check || __lsan_do_recoverable_leak_check() == 0,
		"memory leaks: see the report of LeakSanitizer");
}

static void after(void)
{
	check_heap();
	check_children();
	check_mappings();
	check_descriptors();
}

/* In the runner, which adopts every orphan: wait until none is left; else name and kill them. */

/* Bury the dead; false once no child is left at all. */
static bool children_left(void)
{
	pid_t pid;
	do
		pid = waitpid(-1, NULL, WNOHANG);
	while (pid > 0);
	return pid == 0;
}

static size_t kill_children(char *text, size_t size)
{
	size_t used = 0;
	DIR *proc = opendir("/proc");
	for (struct dirent *entry; proc && (entry = readdir(proc));) {
		if (!isdigit((unsigned char)*entry->d_name))
			continue;
		char path[64], stat[512] = "", state;
		snprintf(path, sizeof path, "/proc/%.20s/stat", entry->d_name);
		FILE *file = fopen(path, "re");
		if (!file)
			continue;
		size_t length = fread(stat, 1, sizeof stat - 1, file);
		fclose(file);
		stat[length] = '\0';
		int parent;
		char *name = strchr(stat, '('), *end = strrchr(stat, ')');
		if (!name || !end || sscanf(end + 1, " %c %d", &state, &parent) != 2 || parent != getpid())
			continue;
		if (used < size)
			used += (size_t)snprintf(text + used, size - used, " %s %.*s,", entry->d_name,
				(int)(end + 1 - name), name);
		kill((pid_t)atoi(entry->d_name), SIGKILL);
	}
	if (proc)
		closedir(proc);
	return used;
}

crew_time harness_grace(void)
{
	const char *slower = getenv("CK_TIMEOUT_MULTIPLIER");
	return (crew_time)((slower ? atof(slower) : 1) * (double)CREW_SECOND);
}

/* What is left after the grace has been left behind. */
static bool no_process_left(char *text, size_t size)
{
	sigset_t child, old;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, &old);
	crew_time until = crew_after(harness_grace()), left;
	bool any;
	while ((any = children_left()) && (left = until - crew_now()) > 0)
		sigtimedwait(&child, NULL, &(struct timespec){ left / CREW_SECOND, left % CREW_SECOND });
	if (any) {
		size_t used = (size_t)snprintf(text, size, "left running:");
		kill_children(text + used, size - used);
		char more[TEXT_MAX]; /* children of the killed come to us in turn */
		while (children_left()) {
			kill_children(more, sizeof more);
			sigtimedwait(&child, NULL, &(struct timespec){ 0, 10000000 });
		}
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	return !any;
}

/* Directories where nothing may be left. The suite sees its own, empty ones: others leave things there at the same time. */
static struct place {
	const char *path;
	bool own; /* where we may not mount, nobody can tell whose a name is: it is not looked at */
	char before[1 << 16];
} places[] = { { "/dev/shm", false, "" }, { "/tmp", false, "" } };
#define PLACES (sizeof places / sizeof *places)

/* The directory just below `place` in which `path` lies: false if it lies elsewhere. */
static bool top_below(const char *place, const char *path, char *ret)
{
	size_t size = strlen(place);
	if (strncmp(path, place, size) != 0 || path[size] != '/')
		return false;
	snprintf(ret, PATH_MAX, "%.*s", (int)(size + 1 + strcspn(path + size + 1, "/")), path);
	return true;
}

/* Mount an empty directory over `place`, through which what lies below it and is needed here (a checkout in /tmp) still shows. */
static bool mount_own(const char *place, const char *const *needed, unsigned count)
{
	char top[PATH_MAX], under[64];
	int kept[4];
	bool ok = true;
	for (unsigned i = 0; i < count; i++)
		kept[i] = top_below(place, needed[i], top) ? open(top, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	if (mount("tests", place, "tmpfs", 0, "mode=1777") < 0)
		ok = false;
	for (unsigned i = 0; i < count; i++) {
		if (kept[i] < 0)
			continue;
		top_below(place, needed[i], top);
		snprintf(under, sizeof under, "/proc/self/fd/%d", kept[i]);
		if (ok && mkdir(top, 0755) == 0) /* else it is there already, for another path */
			ok = mount(under, top, NULL, MS_BIND | MS_REC, NULL) == 0;
		close(kept[i]);
	}
	return ok;
}

static void make_own_places(void)
{
	char self[PATH_MAX] = "", here[PATH_MAX] = "";
	if (readlink("/proc/self/exe", self, sizeof self - 1) < 0 || !getcwd(here, sizeof here))
		return;
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return;
	for (size_t i = 0; i < PLACES; i++)
		places[i].own = mount_own(places[i].path, (const char *[]){ self, here, CREW_SOURCE, CREW_BUILD }, 4);
	if (chdir(here) < 0)
		abort();
}

static void note_places(void)
{
	for (size_t i = 0; i < PLACES; i++)
		list_names(places[i].path, places[i].before, sizeof places[i].before);
}

static bool no_name_left(char *text, size_t size)
{
	static char now[1 << 16];
	for (size_t i = 0; i < PLACES; i++) {
		if (!places[i].own)
			continue;
		list_names(places[i].path, now, sizeof now);
		for (char *name = strtok(now, "\n"); name; name = strtok(NULL, "\n")) {
			char line[NAME_MAX + 3];
			snprintf(line, sizeof line, "\n%s\n", name);
			if (strstr(places[i].before, line))
				continue;
			snprintf(text, size, "left behind: %s/%s", places[i].path, name);
			return false;
		}
	}
	return true;
}

/* Run one test; false and a text if it failed. */
static bool run(const struct harness_test *test, int index, const char *name, char *text, size_t size)
{
	Suite *suite = suite_create("crew");
	TCase *tcase = tcase_create(name);
	tcase_set_timeout(tcase, test->timeout > 0 ? test->timeout : 20);
	tcase_add_checked_fixture(tcase, note_descriptors, after);
	tcase_add_loop_test(tcase, test->test, index, index + 1);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);

	*harness_note = (struct harness_note){ .file = test->test->file, .line = test->test->line };
	note_places();
	srunner_run(runner, NULL, name, CK_SILENT);
	TestResult **results = srunner_results(runner);
	bool passed = srunner_ntests_run(runner) == 1 && tr_rtype(results[0]) == CK_PASS;
	if (!passed) {
		bool told = tr_rtype(results[0]) == CK_FAILURE;
		int used = snprintf(text, size, "%s:%d: %s\n", told ? tr_lfile(results[0]) : harness_note->file,
			told ? tr_lno(results[0]) : harness_note->line, tr_msg(results[0]));
		if (*harness_note->context && (size_t)used < size)
			snprintf(text + used, size - (size_t)used, "%s\n", harness_note->context);
	}
	free(results);
	srunner_free(runner);

	size_t used = passed ? 0 : strlen(text);
	bool processes = no_process_left(text + used, size - used);
	used = processes ? used : strlen(text);
	bool names = no_name_left(text + used, size - used);
	return passed && processes && names;
}

/* As TAP comments. */
static void print_comment(char *text)
{
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		printf("#   %s\n", line);
}

int main(void)
{
	const char *only = getenv("CK_RUN_CASE");
	bool with_long = getenv("CREW_TEST_LONG");
	int number = 0;
	bool all_passed = true;

	setvbuf(stdout, NULL, _IOLBF, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	make_own_places();
	harness_note = mmap(NULL, sizeof *harness_note, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (harness_note == MAP_FAILED)
		return EXIT_FAILURE;
	for (struct harness_test *test = first; test; test = test->next)
		for (int i = 0; i < (test->count ? test->count : 1); i++) {
			char name[256], text[TEXT_MAX] = "";
			const char *label = test->label ? test->label(i) : "";
			if (!label)
				continue;
			if (*label)
				snprintf(name, sizeof name, "%s", label);
			else if (test->count)
				snprintf(name, sizeof name, "%s_%d", test->test->name, i);
			else
				snprintf(name, sizeof name, "%s", test->test->name);
			if ((only && strcmp(only, name) != 0) || (test->takes_long && !with_long))
				continue;
			bool passed = run(test, i, name, text, sizeof text);
			printf("%sok %d - %s%s%s\n", passed ? "" : "not ", ++number, name,
				passed && *harness_note->skipped ? " # SKIP " : "", passed ? harness_note->skipped : "");
			print_comment(text);
			all_passed = all_passed && passed;
		}
	printf("1..%d\n", number);
	return all_passed ? EXIT_SUCCESS : EXIT_FAILURE;
}
