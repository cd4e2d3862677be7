/* data_parallelism.h - what the files of this program have of each other */
#ifndef DATA_PARALLELISM_H
#define DATA_PARALLELISM_H

#include "input.h"
#include "report.h"
#include "start.h"

/* generate.c. The stations are read before the family starts, so that every worker has them. */
void generate_read_stations(void);

/* Write `rows` lines to fd; returns how many bytes. `path` is for messages. */
uint64_t generate(struct report *report, struct crew_pool *pool, const struct cli *cli,
		uint64_t rows, int fd, const char *path);

/* The most that `rows` lines can take. */
uint64_t generate_bytes_max(uint64_t rows);

/* words.c: the whole of --words. Returns the exit status. */
int words(const struct cli *cli, const char *directory);

#endif
