/*
 * words.c - the most frequent words in a tree of text files
 *
 * The same pattern as with the table of measurements: cut, work, combine.
 *
 *     cut      Files are listed before the family starts, so every worker has the list. A task is a
 *              batch of small files, or a piece of a large one. A piece is cut after an ASCII
 *              character that is no letter, so no word is cut in two.
 *     work     Each task counts into a table of its own, then packs it into shared memory.
 *     combine  One process adds up what was packed.
 *
 * A word is a maximal run of Unicode letters (general category L), in simple case folding, so that
 * "Straße" and "STRAßE" are one word, and so are Greek words with either sigma. Bytes that are no UTF-8
 * are no letters. ICU knows which is which; ASCII is looked up here, because it is most of all text.
 */
#include "data_parallelism.h"
#include "utf8.h"
#include "stats.h"

#include <crew/memory.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unicode/uchar.h>
#include <unistd.h>

enum {
	TOP = 20,
	PIECE_BYTES = 4 << 20,   /* of a large file */
	BATCH_BYTES = 1 << 20,   /* of small ones */
	CHECKED_BYTES = 32 << 20 /* so much is counted again, by one process */
};

/* --- the files, as they were before the family started --- */

struct file { char *path; uint64_t size; };

/* The bytes from begin to end of one file. */
struct piece { uint32_t file; uint64_t begin, end; };

static struct file *files;
static struct piece *pieces;
static size_t file_count, piece_count;

/* Room for one more element: a power of two of them, doubled when it is full. */
static void *grow(void *array, size_t count, size_t size)
{
	if (count & (count - 1))
		return array;
	return cli_need(reallocarray(array, count ? 2 * count : 1, size));
}

static int by_path(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* Every regular file under `directory`; symbolic links are not followed, but the directory may be one. */
static void list_files(const char *directory)
{
	struct stat stat_;
	if (stat(directory, &stat_) < 0)
		cli_die_input(directory, 0, "cannot read: %s", strerror(errno));
	if (!S_ISDIR(stat_.st_mode))
		cli_die_input(directory, 0, "is not a directory");
	char *roots[] = { (char *)directory, NULL };
	FTS *tree = cli_need(fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_path));
	FTSENT *entry;
	while (errno = 0, entry = fts_read(tree)) {
		if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR || entry->fts_info == FTS_NS)
			cli_die_input(entry->fts_path, 0, "cannot read: %s", strerror(entry->fts_errno));
		if (entry->fts_info != FTS_F || !S_ISREG(entry->fts_statp->st_mode))
			continue;
		uint64_t size = (uint64_t)entry->fts_statp->st_size;
		files = grow(files, file_count, sizeof *files);
		files[file_count] = (struct file){ cli_need(strdup(entry->fts_path)), size };
		for (uint64_t at = 0; at == 0 || at < size; at += PIECE_BYTES) { /* an empty file: one, to open it */
			pieces = grow(pieces, piece_count, sizeof *pieces);
			uint64_t end = size - at < PIECE_BYTES ? size : at + PIECE_BYTES;
			pieces[piece_count++] = (struct piece){ (uint32_t)file_count, at, end };
		}
		file_count++;
	}
	if (errno)
		cli_die_input(directory, 0, "cannot read: %s", strerror(errno));
	fts_close(tree);
	if (!file_count)
		cli_die_input(directory, 0, "has no files");
}

/* Map one file, all of it, as it is now. Returns 0, or a negative errno. */
static int map_file(const struct file *file, struct input *ret)
{
	*ret = (struct input){ file->path, NULL, 0 };
	int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat stat;
	if (fd < 0 || fstat(fd, &stat) < 0)
		return -errno;
	void *data = NULL;
	if (stat.st_size > 0)
		data = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	int r = data == MAP_FAILED ? -errno : 0;
	close(fd);
	if (r == 0) {
		ret->data = data;
		ret->size = (size_t)stat.st_size;
	}
	return r;
}

/* --- words --- */

/* ASCII letters in lower case; 0 for all other bytes. */
static char lower[256];

struct scanner {
	const char *data;
	size_t at, end;
	char *word;      /* the word found, folded, */
	size_t length;   /* its length, */
	size_t capacity; /* the room for it */
};

/* The next word; false if there is none. */
static bool next_word(struct scanner *s)
{
	s->length = 0;
	while (s->at < s->end) {
		if (s->length + U8_MAX_LENGTH > s->capacity) {
			s->capacity = 2 * s->capacity + 64;
			s->word = cli_need(realloc(s->word, s->capacity));
		}
		unsigned char byte = (unsigned char)s->data[s->at];
		if (lower[byte]) {
			s->word[s->length++] = lower[byte];
			s->at++;
			continue;
		}
		int32_t c = utf8_next(s->data, &s->at, s->end);
		if (byte >= 0x80 && c >= 0 && u_isalpha(c))
			utf8_append(s->word, &s->length, u_foldCase(c, U_FOLD_CASE_DEFAULT));
		else if (s->length)
			return true;
	}
	return s->length > 0;
}

/* --- tables: word -> count --- */

struct entry {
	uint64_t count, hash;
	size_t begin, length; /* in the bytes of the table */
};

struct table {
	struct entry *slots;  /* empty while .count is 0 */
	size_t size, used;    /* size is a power of two */
	char *bytes;
	size_t bytes_used, bytes_size;
};

static uint64_t hash(const char *word, size_t length)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
	for (size_t i = 0; i < length; i++)
		h = (h ^ (unsigned char)word[i]) * UINT64_C(0x100000001b3);
	return h ^ h >> 32;
}

static struct entry *find(struct table *table, const char *word, size_t length, uint64_t h)
{
	for (size_t i = h & (table->size - 1);; i = (i + 1) & (table->size - 1)) {
		struct entry *e = &table->slots[i];
		if (!e->count || (e->hash == h && e->length == length
				&& memcmp(table->bytes + e->begin, word, length) == 0))
			return e;
	}
}

static void add(struct table *table, const char *word, size_t length, uint64_t count)
{
	if (2 * table->used >= table->size) {
		struct table larger = *table;
		larger.size = table->size ? 2 * table->size : 1024;
		larger.slots = cli_need(calloc(larger.size, sizeof *larger.slots));
		for (size_t i = 0; i < table->size; i++) {
			const struct entry *e = &table->slots[i];
			if (e->count)
				*find(&larger, table->bytes + e->begin, e->length, e->hash) = *e;
		}
		free(table->slots);
		*table = larger;
	}
	uint64_t h = hash(word, length);
	struct entry *e = find(table, word, length, h);
	if (!e->count) {
		if (table->bytes_used + length > table->bytes_size) {
			table->bytes_size = 2 * (table->bytes_size + length);
			table->bytes = cli_need(realloc(table->bytes, table->bytes_size));
		}
		memcpy(table->bytes + table->bytes_used, word, length);
		*e = (struct entry){ 0, h, table->bytes_used, length };
		table->bytes_used += length;
		table->used++;
	}
	e->count += count;
}

static void free_table(struct table *table)
{
	free(table->slots);
	free(table->bytes);
}

/* --- the task --- */

struct batch { uint32_t first, last; }; /* pieces [first, last) */

/* A word in shared memory; its bytes follow all of these. */
struct packed_word { uint64_t count, length; };

struct counted {
	struct packed_word *words;
	size_t count;
	uint64_t total; /* words that were found, whether or not they are the same */
	int error;      /* errno of a file that could not be read, */
	uint32_t file;  /* which */
};

/* The first place from `at` on, before `limit`, that follows an ASCII character that is no letter. */
static size_t cut(const char *data, size_t at, size_t limit)
{
	while (at > 0 && at < limit && ((unsigned char)data[at - 1] >= 0x80 || lower[(unsigned char)data[at - 1]]))
		at++;
	return at;
}

static int pack(const struct table *table, struct counted *result)
{
	int r = crew_alloc(table->used * sizeof *result->words + table->bytes_used, (void **)&result->words);
	if (r < 0)
		return r;
	char *bytes = (char *)(result->words + table->used);
	for (size_t i = 0; i < table->size; i++) {
		const struct entry *e = &table->slots[i];
		if (!e->count)
			continue;
		result->words[result->count++] = (struct packed_word){ e->count, e->length };
		bytes = mempcpy(bytes, table->bytes + e->begin, e->length);
	}
	return 0;
}

static int count_batch(const void *argument, void *result, void *context)
{
	(void)context;
	const struct batch *batch = argument;
	struct counted *counted = result;
	struct table table = { 0 };
	struct scanner scanner = { 0 };
	for (uint32_t i = batch->first; i < batch->last && !counted->error; i++) {
		const struct piece *piece = &pieces[i];
		struct input text;
		counted->error = -map_file(&files[piece->file], &text);
		counted->file = piece->file;
		if (counted->error || !text.size)
			continue;
		/* A file may have shrunk since it was listed. Words of a piece begin in it and end where they end. */
		size_t end = piece->end < text.size ? piece->end : text.size;
		scanner.data = text.data;
		scanner.at = cut(text.data, piece->begin, end);
		scanner.end = scanner.at < end ? cut(text.data, end, text.size) : scanner.at;
		for (; next_word(&scanner); counted->total++)
			add(&table, scanner.word, scanner.length, 1);
		input_unmap(&text);
	}
	int r = table.used && !counted->error ? pack(&table, counted) : 0;
	free_table(&table);
	free(scanner.word);
	return r;
}

/* --- combine, check, tell --- */

struct word { const char *bytes; size_t length; uint64_t count; };

static int by_count(const void *a, const void *b)
{
	const struct word *x = a, *y = b;
	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	int order = memcmp(x->bytes, y->bytes, x->length < y->length ? x->length : y->length);
	return order ? order : (x->length > y->length) - (x->length < y->length);
}

/* All files again, or enough of them from all over the tree: whole files, one process, no hash table. */
static void check(struct report *report, const struct word *top, size_t count, uint64_t total, uint64_t bytes)
{
	uint64_t again[TOP] = { 0 }, all = 0;
	size_t step = (size_t)(bytes / CHECKED_BYTES + 1);
	struct scanner scanner = { 0 };
	for (size_t i = 0; i < file_count; i += step) {
		struct input text;
		if (map_file(&files[i], &text) < 0 || !text.size)
			continue;
		scanner.data = text.data;
		scanner.at = 0;
		scanner.end = step == 1 || text.size < CHECKED_BYTES ? text.size : CHECKED_BYTES;
		for (; next_word(&scanner); all++)
			for (size_t j = 0; j < count; j++)
				again[j] += scanner.length == top[j].length
					&& memcmp(scanner.word, top[j].bytes, top[j].length) == 0;
		input_unmap(&text);
	}
	free(scanner.word);
	report_check(report, step == 1 ? all == total : all <= total,
		"%" PRIu64 " words, but a second look finds %" PRIu64, total, all);
	for (size_t j = 0; j < count; j++)
		report_check(report, step == 1 ? again[j] == top[j].count : again[j] <= top[j].count,
			"%.*s: counted %" PRIu64 " times, at second look %" PRIu64,
			(int)top[j].length, top[j].bytes, top[j].count, again[j]);
}

int words(const struct cli *cli, const char *directory)
{
	for (char c = 'a'; c <= 'z'; c++)
		lower[(unsigned char)c] = lower[(unsigned char)(c - 'a' + 'A')] = c;
	list_files(directory);
	start_family(cli);
	struct report *report = report_open(cli);
	struct crew_pool *pool = start_pool(cli, &(struct crew_pool_options){ .name = "words" });
	double begin = stats_clock();

	/* Cut: pieces that follow each other make a batch until it is large enough. */
	struct batch *batches = NULL;
	size_t batch_count = 0;
	uint64_t bytes = 0, in_batch = BATCH_BYTES;
	for (uint32_t i = 0; i < piece_count; i++) {
		uint64_t size = pieces[i].end - pieces[i].begin;
		if (in_batch + size > BATCH_BYTES) {
			batches = grow(batches, batch_count, sizeof *batches);
			batches[batch_count++] = (struct batch){ i, i };
			in_batch = 0;
		}
		batches[batch_count - 1].last = i + 1;
		in_batch += size;
		bytes += size;
	}

	/* Work. */
	struct counted *counted = cli_need(calloc(batch_count, sizeof *counted));
	struct crew_failure failure;
	start_require(crew_pool_map(pool, count_batch, batches, sizeof *batches, counted, sizeof *counted,
		batch_count, &(struct crew_map_options){ .chunk = 1, .failure = &failure }), &failure);

	/* Combine. */
	struct table table = { 0 };
	uint64_t found = 0, total = 0;
	for (size_t i = 0; i < batch_count; i++) {
		found += counted[i].total;
		if (counted[i].error)
			cli_die_input(files[counted[i].file].path, 0, "cannot read: %s", strerror(counted[i].error));
		const char *word = (const char *)(counted[i].words + counted[i].count);
		for (size_t j = 0; j < counted[i].count; j++) {
			add(&table, word, counted[i].words[j].length, counted[i].words[j].count);
			word += counted[i].words[j].length;
		}
		crew_free(counted[i].words);
	}
	struct word *list = cli_need(calloc(table.used, sizeof *list));
	size_t count = 0;
	for (size_t i = 0; i < table.size; i++)
		if (table.slots[i].count) {
			const struct entry *e = &table.slots[i];
			list[count++] = (struct word){ table.bytes + e->begin, e->length, e->count };
			total += e->count;
		}
	if (!count)
		cli_die_input(directory, 0, "has no words in its %zu files", file_count);
	qsort(list, count, sizeof *list, by_count);
	report_seconds(report, stats_clock() - begin);
	size_t top = count < TOP ? count : TOP;
	report_check(report, found == total, "%" PRIu64 " words were found, but %" PRIu64 " counted", found, total);
	check(report, list, top, total, bytes);

	for (size_t i = 0; i < top; i++) {
		char *text = cli_need(strndup(list[i].bytes, list[i].length));
		struct json_t *row = report_row(report);
		report_uint(row, "count", list[i].count);
		report_str(row, "word", text);
		report_say(report, "%" PRIu64 " %s\n", list[i].count, text);
		free(text);
	}
	report_no_table(report);
	report_uint(report_top(report), "words", total);
	report_uint(report_top(report), "different_words", count);
	report_uint(report_top(report), "files", file_count);
	free(list);
	free_table(&table);
	free(counted);
	free(batches);
	crew_pool_close(pool, CREW_FOREVER);
	return report_finish(report);
}
