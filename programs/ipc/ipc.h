/* ipc.h - the parts of program ipc beside the comparison. `only`: a mechanism's name, or NULL for all */
#ifndef IPC_H
#define IPC_H

#include "report.h"

/*
 * Kill the other process in the middle of a conversation, and tell what the survivor meets. A row each, or, if `aside` is
 * a JSON array, an object there and a table on stdout.
 */
void ipc_kill(struct report *report, const char *only, struct json_t *aside);

/* Several senders, several receivers: rows of who gets what, how fast. `pattern`: one of ipc_patterns, or NULL for all. */
void ipc_patterns_run(struct report *report, const struct cli *cli, const char *pattern, const char *only);
extern const char *const ipc_patterns[]; /* ends with NULL */

/* Rows of CPython's Pipe and Queue beside crew_pipe and crew_queue; the ratios: how many times as long they take. */
void ipc_rivals(struct report *report);

#endif
