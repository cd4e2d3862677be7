/*
 * report.h - what a program answers: rows, told as a table or as one JSON object
 *
 *     struct report *report = report_open(&cli);
 *     report_say(report, "Transfers between shared accounts\n");
 *     struct json_t *row = report_row(report);
 *     report_str(row, "strategy", "lock");
 *     report_uint(row, "transfers", 100000);
 *     report_real(row, "seconds", 0.1);
 *     report_check(report, missing == 0, "lock: %ld cents are missing", missing);
 *     return report_finish(report);
 *
 * Columns are derived from the rows: the keys in the order in which they first
 * appear. The table shows values in units for people, by the ending of the key
 * (seconds, _ns, bytes, _per_second); JSON has them exact.
 */
#ifndef REPORT_H
#define REPORT_H

#include "cli.h"

struct report;
struct json_t; /* a jansson object: a program may add to it by jansson's own calls */

/* The clock of "seconds" starts here, unless report_seconds() says otherwise. `cli` must outlive it. */
struct report *report_open(const struct cli *cli);

/* A new row, owned by the report. Keys are strings that stay valid only during the call. */
struct json_t *report_row(struct report *report);

/* The object that holds it all, for members beside "rows" (they show in JSON alone). */
struct json_t *report_top(struct report *report);

void report_str(struct json_t *row, const char *key, const char *value); /* not UTF-8: U+FFFD instead */
void report_int(struct json_t *row, const char *key, int64_t value);
void report_uint(struct json_t *row, const char *key, uint64_t value);
void report_real(struct json_t *row, const char *key, double value);     /* nan, inf: null */
void report_bool(struct json_t *row, const char *key, bool value);
void report_null(struct json_t *row, const char *key);

/* Text for people: headings, lessons, answers. Nothing under --json. */
void report_say(struct report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Print now, as a table, the rows added since the last call; report_finish() prints the rest. */
void report_table(struct report *report);

/* The rows so far need no table: report_say() has told them. */
void report_no_table(struct report *report);

/* The measured part, in seconds. */
void report_seconds(struct report *report, double seconds);

/*
 * One check of the answer; if it failed, the text goes to stderr in one line. A
 * report without any check is not verified. Returns ok.
 */
bool report_check(struct report *report, bool ok, const char *format, ...)
		__attribute__((format(printf, 3, 4)));

/* An exit status of the program's own, for report_finish() to return instead of 0. */
void report_status(struct report *report, int status);

/*
 * Print what is left and free the report. Returns the exit status: 0 verified;
 * 1 a check failed, or stdout could not be written; else what report_status() set.
 */
int report_finish(struct report *report);

#endif
