/*
 * crew/trace.h - a trace of what happened, in Chrome's JSON format
 *
 * crew_trace_open() before crew_init() makes every member write into the same
 * file; chrome://tracing or ui.perfetto.dev shows it. Each event is one write(2) of
 * one line in append mode, so a process may die at any instruction and the
 * file is still a valid trace (the format allows the closing bracket to be missing).
 *
 * Without an open trace every call below costs one load and one branch.
 */
#ifndef CREW_TRACE_H
#define CREW_TRACE_H

#include <crew/base.h>

CREW_BEGIN

/* Create (or truncate) the file at `path` and trace into it. Errors: what open(2) says, negative; -EBUSY when a trace is open. */
CREW_API CREW_CHECKED int crew_trace_open(const char *path);

/* Write the closing bracket and close. Only the process that opened it closes the array; others just stop. */
CREW_API void crew_trace_close(void);

/* Whether a trace is open. */
CREW_API bool crew_trace_on(void);

/* A span of work of the calling thread: begin ... end, properly nested. `name` and `category` are copied (JSON-escaped). */
CREW_API void crew_trace_begin(const char *category, const char *name);
CREW_API void crew_trace_end(const char *category, const char *name);

/* Something that happened now; `value` is shown beside it. */
CREW_API void crew_trace_event(const char *category, const char *name, int64_t value);

CREW_END
#endif
