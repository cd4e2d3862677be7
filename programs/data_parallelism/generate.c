/*
 * generate.c - a table of measurements, in parallel and yet always the same
 *
 * Rows are made in blocks of BLOCK_ROWS. Block i draws from the random stream (seed, i), so its text
 * depends on nothing else: not on the worker that makes it, not on how often it is made.
 *
 * Workers put blocks into shared memory; what a worker hands back is a pointer. One process writes them
 * to the file in order, with a bounded number of blocks ahead of it, so memory does not grow with the file.
 */
#include "data_parallelism.h"
#include "random.h"

#include <crew/memory.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	BLOCK_ROWS = 1 << 15,
	STATIONS = 1024,    /* room for */
	NAME_BYTES = 100,
	ROW_BYTES = NAME_BYTES + 7,
	VALUE_MAX = 999     /* tenths */
};

static struct {
	char name[NAME_BYTES];
	unsigned length;
	int mean; /* tenths */
} stations[STATIONS];
static unsigned count, longest;

void generate_read_stations(void)
{
	static const char *const places[] = { CREW_SOURCE_DATA, CREW_INSTALLED_DATA };
	const char *path = NULL;
	FILE *file = NULL;
	for (size_t i = 0; i < sizeof places / sizeof *places && !file; i++)
		file = fopen(path = places[i], "re");
	if (!file)
		cli_lack("weather_stations.csv is neither at %s nor at %s", places[0], places[1]);
	char line[ROW_BYTES + 2];
	unsigned number = 0;
	while (fgets(line, sizeof line, file)) {
		if (number++ == 0)
			continue; /* the header */
		const char *comma = strrchr(line, ','); /* the last: names may have one */
		size_t length = comma ? (size_t)(comma - line) : 0;
		double mean;
		if (count == STATIONS || !length || length > NAME_BYTES || sscanf(comma, ",%lf", &mean) != 1)
			cli_die_input(path, number, "not a line 'station,mean'");
		memcpy(stations[count].name, line, length);
		stations[count].length = (unsigned)length;
		stations[count].mean = (int)(mean * 10 + (mean < 0 ? -0.5 : 0.5));
		longest = stations[count].length > longest ? stations[count].length : longest;
		count++;
	}
	fclose(file);
	if (!count)
		cli_die_input(path, 0, "has no stations");
}

uint64_t generate_bytes_max(uint64_t rows)
{
	return rows * (longest + ROW_BYTES - NAME_BYTES);
}

/* Near enough to a normal distribution: the sum of four uniform numbers, its standard deviation 10 degrees. */
static int draw(struct rng *rng, int mean)
{
	uint64_t r = rng_next(rng);
	int sum = (int)(r & 0xffff) + (int)(r >> 16 & 0xffff) + (int)(r >> 32 & 0xffff) + (int)(r >> 48);
	int value = mean + (sum - 2 * 0xffff) * 100 / 37837; /* 2^16 * sqrt(4 / 12) */
	return value > VALUE_MAX ? VALUE_MAX : value < -VALUE_MAX ? -VALUE_MAX : value;
}

static size_t fill(char *text, uint64_t seed, uint64_t block, uint64_t rows)
{
	struct rng rng = rng_of(seed, block);
	char *p = text;
	while (rows-- > 0) {
		uint64_t i = rng_below(&rng, count);
		int value = draw(&rng, stations[i].mean);
		p = mempcpy(p, stations[i].name, stations[i].length);
		*p++ = ';';
		if (value < 0)
			*p++ = '-';
		unsigned size = (unsigned)abs(value);
		if (size >= 100)
			*p++ = (char)('0' + size / 100);
		*p++ = (char)('0' + size / 10 % 10);
		*p++ = '.';
		*p++ = (char)('0' + size % 10);
		*p++ = '\n';
	}
	return (size_t)(p - text);
}

struct block { uint64_t seed, number, rows; };
struct block_text { char *data; size_t size; };

static int make_block(const void *argument, void *result, void *context)
{
	(void)context;
	const struct block *block = argument;
	struct block_text *text = result;
	int r = crew_alloc(generate_bytes_max(block->rows), (void **)&text->data);
	if (r == 0)
		text->size = fill(text->data, block->seed, block->number, block->rows);
	return r;
}

static void write_all(int fd, const char *path, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			cli_lack("%s: cannot write: %s", path, strerror(errno));
		data += n;
		size -= (size_t)n;
	}
}

static struct block block_of(const struct cli *cli, uint64_t number, uint64_t rows)
{
	uint64_t left = rows - number * BLOCK_ROWS;
	return (struct block){ cli->seed, number, left < BLOCK_ROWS ? left : BLOCK_ROWS };
}

uint64_t generate(struct report *report, struct crew_pool *pool, const struct cli *cli,
		uint64_t rows, int fd, const char *path)
{
	uint64_t blocks = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS, started = 0, bytes = 0;
	unsigned ahead = 4 * cli->workers;
	crew_ticket *tickets = calloc(ahead, sizeof *tickets);
	char *again = malloc(generate_bytes_max(BLOCK_ROWS));
	if (!tickets || !again)
		cli_lack("out of memory");
	for (uint64_t done = 0; done < blocks; done++) {
		for (; started < blocks && started < done + ahead; started++) {
			struct block block = block_of(cli, started, rows);
			start_require(crew_pool_submit(pool, &(struct crew_task){ .function = make_block,
				.argument = &block, .argument_size = sizeof block,
				.result_size = sizeof(struct block_text), .index = started },
				&tickets[started % ahead], CREW_FOREVER), NULL);
		}
		struct block_text text;
		struct crew_failure failure;
		start_require(crew_pool_wait(pool, tickets[done % ahead], &text, CREW_FOREVER, &failure), &failure);
		write_all(fd, path, text.data, text.size);
		bytes += text.size;

		/* Every 16th block, and the last, is made again here. */
		if (done % 16 == 0 || done + 1 == blocks) {
			struct block block = block_of(cli, done, rows);
			size_t size = fill(again, cli->seed, done, block.rows), lines = 0;
			for (size_t i = 0; i < text.size; i++)
				lines += text.data[i] == '\n';
			report_check(report, size == text.size && memcmp(again, text.data, size) == 0
				&& lines == block.rows, "block %lu is not what it should be", (unsigned long)done);
		}
		crew_free(text.data);
	}
	free(again);
	free(tickets);
	return bytes;
}
