/* report.c - see report.h */
#include "report.h"
#include "stats.h"
#include "text.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CELL_MAX 128

struct report {
	const struct cli *cli;
	json_t *top;   /* the object; its "rows" are: */
	json_t *rows;
	size_t shown;  /* rows that had their table */
	double started;
	double seconds; /* measured part; negative: from `started` until the end */
	unsigned checks, failures;
	int status;
};

/* jansson fails for want of memory alone, once its arguments are good. */
static json_t *must(json_t *value)
{
	if (!value)
		cli_lack("out of memory");
	return value;
}

static void set(json_t *row, const char *key, json_t *value)
{
	if (json_object_set_new(row, key, must(value)) < 0)
		cli_lack("out of memory");
}

struct report *report_open(const struct cli *cli)
{
	struct report *report = calloc(1, sizeof *report);
	if (!report)
		cli_lack("out of memory");
	report->cli = cli;
	report->top = must(json_object());
	report_str(report->top, "program", program_invocation_short_name);
	report_str(report->top, "version", CREW_VERSION);
	report_uint(report->top, "workers", cli->workers);
	report_null(report->top, "seconds");   /* both take their place in the order now, */
	report_null(report->top, "verified");  /* their value at the end */
	report->rows = must(json_array());
	set(report->top, "rows", report->rows);
	report->seconds = -1;
	report->started = stats_clock();
	return report;
}

json_t *report_row(struct report *report)
{
	json_t *row = must(json_object());
	if (json_array_append_new(report->rows, row) < 0)
		cli_lack("out of memory");
	return row;
}

json_t *report_top(struct report *report)
{
	return report->top;
}

void report_str(json_t *row, const char *key, const char *value)
{
	json_t *string = json_string(value);
	if (!string) { /* not UTF-8: keep what is ASCII */
		static const char mark[] = "\xef\xbf\xbd";
		char *clean = malloc(strlen(value) * (sizeof mark - 1) + 1), *end = clean;
		if (!clean)
			cli_lack("out of memory");
		for (const char *p = value; *p; p++)
			end = (unsigned char)*p < 0x80 ? (*end = *p, end + 1) : mempcpy(end, mark, sizeof mark - 1);
		*end = 0;
		string = json_string(clean);
		free(clean);
	}
	set(row, key, string);
}

void report_int(json_t *row, const char *key, int64_t value)
{
	set(row, key, json_integer(value));
}

void report_uint(json_t *row, const char *key, uint64_t value)
{
	set(row, key, value <= INT64_MAX ? json_integer((json_int_t)value) : json_real((double)value));
}

void report_real(json_t *row, const char *key, double value)
{
	set(row, key, isfinite(value) ? json_real(value) : json_null());
}

void report_bool(json_t *row, const char *key, bool value)
{
	set(row, key, json_boolean(value));
}

void report_null(json_t *row, const char *key)
{
	set(row, key, json_null());
}

void report_say(struct report *report, const char *format, ...)
{
	if (report->cli->json)
		return;
	va_list args;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
}

void report_seconds(struct report *report, double seconds)
{
	report->seconds = seconds;
}

bool report_check(struct report *report, bool ok, const char *format, ...)
{
	report->checks++;
	if (ok)
		return true;
	report->failures++;
	char *text = NULL;
	va_list args;
	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	cli_note("check failed: %s", text ? text : format);
	free(text);
	return false;
}

void report_status(struct report *report, int status)
{
	report->status = status;
}

/* --- the table --- */

static bool ends(const char *key, const char *ending)
{
	size_t n = strlen(key), m = strlen(ending);
	return n >= m && strcmp(key + n - m, ending) == 0;
}

static void cell(char text[static CELL_MAX], const char *key, const json_t *value)
{
	if (json_is_string(value)) {
		snprintf(text, CELL_MAX, "%s", json_string_value(value));
	} else if (json_is_boolean(value)) {
		strcpy(text, json_is_true(value) ? "yes" : "no");
	} else if (json_is_number(value)) {
		double x = json_number_value(value);
		if (ends(key, "bytes_per_second"))
			text_rate_bytes(text, x);
		else if (ends(key, "bytes"))
			text_bytes(text, x);
		else if (ends(key, "_per_second"))
			text_count(text, x);
		else if (ends(key, "seconds") && !ends(key, "microseconds"))
			text_seconds(text, x);
		else if (ends(key, "_ns"))
			text_seconds(text, x * 1e-9);
		else if (json_is_integer(value))
			snprintf(text, CELL_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		else
			snprintf(text, CELL_MAX, "%.*f", fabs(x) < 100 ? 2 : 1, x);
	} else if (json_is_null(value)) {
		strcpy(text, "-");
	} else { /* an array or object put there by jansson's own calls, or nothing */
		strcpy(text, value ? "..." : "");
	}
}

static void heading(char text[static CELL_MAX], const char *key)
{
	static const char *const units[] = { "_per_second", "/s", "latency_ns", "latency" };
	snprintf(text, CELL_MAX, "%s", key);
	for (size_t i = 0; i < sizeof units / sizeof *units; i += 2)
		if (ends(key, units[i]))
			snprintf(text + strlen(key) - strlen(units[i]), CELL_MAX / 2, "%s", units[i + 1]);
	for (char *p = text; *p; p++)
		if (*p == '_')
			*p = ' ';
}

/* The columns of rows from…: key → whether all its values are numbers. */
static json_t *columns(json_t *rows, size_t from)
{
	json_t *keys = must(json_object());
	for (size_t i = from; i < json_array_size(rows); i++) {
		const char *key;
		json_t *value;
		json_object_foreach(json_array_get(rows, i), key, value) {
			bool number = json_is_number(value) || json_is_null(value);
			const json_t *before = json_object_get(keys, key);
			set(keys, key, json_boolean(number && (!before || json_is_true(before))));
		}
	}
	return keys;
}

void report_table(struct report *report)
{
	json_t *rows = report->rows;
	size_t from = report->shown, count = json_array_size(rows);
	report->shown = count;
	if (report->cli->json || from == count)
		return;
	json_t *keys = columns(rows, from), *number;
	const char *key, *last = NULL;
	char text[CELL_MAX];
	json_t *widths = must(json_object());
	json_object_foreach(keys, key, number) {
		heading(text, key);
		int width = text_width(text);
		for (size_t i = from; i < count; i++) {
			cell(text, key, json_object_get(json_array_get(rows, i), key));
			width = text_width(text) > width ? text_width(text) : width;
		}
		set(widths, key, json_integer(width));
		last = key;
	}
	for (size_t line = from; line <= count; line++) { /* the heading, then the rows */
		json_object_foreach(keys, key, number) {
			if (line == from)
				heading(text, key);
			else
				cell(text, key, json_object_get(json_array_get(rows, line - 1), key));
			int pad = (int)json_integer_value(json_object_get(widths, key)) - text_width(text);
			bool right = json_is_true(number);
			printf("%*s%s%*s", right ? pad : 0, "", text, right || key == last ? 0 : pad, "");
			fputs(key == last ? "\n" : "  ", stdout);
		}
	}
	json_decref(widths);
	json_decref(keys);
}

void report_no_table(struct report *report)
{
	report->shown = json_array_size(report->rows);
}

int report_finish(struct report *report)
{
	double seconds = report->seconds >= 0 ? report->seconds : stats_clock() - report->started;
	int status = report->checks && !report->failures ? report->status : EXIT_WRONG;
	if (!report->checks)
		cli_note("nothing was checked");
	if (report->cli->json) {
		report_real(report->top, "seconds", seconds);
		report_bool(report->top, "verified", status == 0);
		if (json_dumpf(report->top, stdout, JSON_REAL_PRECISION(15)) == 0)
			putchar('\n');
	} else {
		report_table(report);
	}
	if (!cli_flush())
		status = EXIT_WRONG;
	json_decref(report->top);
	free(report);
	return status;
}
