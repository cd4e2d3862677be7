/*
 * data_parallelism - one operation over much data
 *
 *     data_parallelism FILE                  lines "name;12.3" -> {name=min/mean/max, ...}
 *     data_parallelism --generate=ROWS FILE  make such a file         (generate.c)
 *     data_parallelism --words DIR           the most frequent words  (words.c)
 *     data_parallelism                       make a table in memory, aggregate it, and say how
 *                                            near that comes to merely counting its lines
 *
 * The lesson is one pattern: cut the data, work on the pieces without talking, combine.
 *
 *     cut      A file is cut at every n-th byte; a line belongs to the piece in which it begins.
 *              Each worker finds that place by itself, so nobody has to read the file first.
 *     work     Each piece gets a hash table of its own. Nothing is shared, so nothing is locked,
 *              and a worker that dies takes with it only a piece that is simply done again.
 *     combine  Tables are small, so one process adds them up. Sum, count, minimum and maximum may
 *              be added up in any order because they are integers (tenths); the mean comes last.
 *
 * The text is mapped before the family starts: every worker has the same mapping, and a pointer
 * into it means the same everywhere. Nothing is copied but the tables.
 *
 * A malformed line ends the program: "FILE:LINE: reason", status 2, nothing on stdout. Several
 * pieces may find one; the first in the file is the one that is told.
 */
#include "data_parallelism/data_parallelism.h"
#include "data_parallelism/utf8.h"
#include "stats.h"
#include "stop.h"
#include "text.h"

#include <crew/memory.h>
#include <crew/task.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	NAME_BYTES = 100,             /* the longest name */
	NAMES = 10000,                /* the most different names */
	LINE_BYTES = NAME_BYTES + 7,  /* the longest line: name;-99.9 and its end */
	MARGIN = 128,                 /* a line that begins so far from the end is read a word at a time */
	SLOTS_LOG2 = 14, SLOTS = 1 << SLOTS_LOG2,
	CHECKED_BYTES = 16 << 20      /* so much is done again, differently */
};
#define NOWHERE UINT64_MAX

/* --- a line: name and value, eight bytes at a time --- */

static inline uint64_t load(const char *p)
{
	uint64_t word;
	memcpy(&word, p, sizeof word);
	return le64toh(word);
}

/* The top bit of the first byte that is ';' (and perhaps of later ones); 0 if there is none. */
static inline uint64_t semicolon(uint64_t word)
{
	uint64_t x = word ^ UINT64_C(0x3b3b3b3b3b3b3b3b);
	return (x - UINT64_C(0x0101010101010101)) & ~x & UINT64_C(0x8080808080808080);
}

/* All bits of the bytes before that one. */
static inline uint64_t before(uint64_t mark)
{
	return (mark ^ (mark - 1)) >> 8;
}

/* A name: its length and first 16 bytes, zero-padded, tell nearly all names apart. */
struct key {
	uint64_t word[2];
	uint64_t hash;
	uint32_t length;
};

static inline uint64_t hash(uint64_t a, uint64_t b)
{
	return (a ^ (b * UINT64_C(0x9e3779b97f4a7c15))) * UINT64_C(0xd1342543de82ef95);
}

/* The name that begins at p; false if it is empty or no ';' follows in time. */
static inline bool read_name(const char *p, struct key *key)
{
	uint64_t a = load(p), b = load(p + 8), in_a = semicolon(a), in_b = semicolon(b);
	if (in_a | in_b) { /* masks instead of branches: nobody can predict which of both it is */
		uint64_t beyond = in_a ? 0 : UINT64_MAX, mark = in_a | (in_b & beyond);
		key->length = (uint32_t)((unsigned)__builtin_ctzll(mark) / 8 + (8 & beyond));
		key->word[0] = a & (before(in_a) | beyond);
		key->word[1] = b & before(in_b) & beyond;
		key->hash = hash(key->word[0], key->word[1]);
		return key->length > 0;
	}
	const char *end = memchr(p + 16, ';', NAME_BYTES - 15);
	if (!end)
		return false;
	key->length = (uint32_t)(end - p);
	key->word[0] = a;
	key->word[1] = b;
	key->hash = hash(a, b);
	for (const char *q = p + 16; q < end; q += 8)
		key->hash = hash(key->hash, q + 8 <= end ? load(q) : load(end - 8));
	return true;
}

/*
 * The value at p, in tenths, and its line end: [-]d.d or [-]dd.d. Returns the next line, or NULL. Where that
 * begins is known as soon as the point is found: the first byte from the second on in which bit 4 is clear.
 * Then, shifted so that it reads "dd.d\n", made zero where it should be that, the value is checked at once.
 */
static inline const char *read_value(const char *p, int *ret)
{
	uint64_t text = load(p);
	unsigned point = (unsigned)__builtin_ctzll((~text & 0x10101000) | 1U << 31) / 8;
	unsigned minus = (text & 0xff) == '-';
	text >>= 8 * minus;
	text = point == 1 + minus ? text << 8 | '0' : text;
	uint64_t x = text ^ UINT64_C(0x0a302e3030); /* "00.0\n", first byte lowest */
	if ((x | (x + UINT64_C(0x0006000606))) & UINT64_C(0xfff0fff0f0)) /* a digit above 9 carries */
		return NULL;
	int tenths = (int)(x & 15) * 100 + (int)(x >> 8 & 15) * 10 + (int)(x >> 24 & 15);
	*ret = minus ? -tenths : tenths;
	return p + point + 3;
}

/* --- a table: name -> minimum, maximum, sum, count --- */

/* Empty while .length is 0. */
struct station {
	uint64_t word[2], hash;
	const char *name; /* where it first stands in the text */
	int64_t sum;      /* tenths */
	uint64_t count;
	uint32_t length;
	int16_t min, max; /* tenths */
	uint64_t unused;  /* makes it a cache line */
};

struct table {
	struct station slots[SLOTS] __attribute__((aligned(64)));
	uint16_t used[NAMES]; /* the slots that are not empty, in order of their first line */
	uint32_t count;
};

/* Names are looked at closely only when they are new: whatever equals a good name is good. */
static bool name_is_good(const char *name, uint32_t length)
{
	if (length > NAME_BYTES)
		return false;
	for (size_t i = 0; i < length;) {
		int32_t c = utf8_next(name, &i, length);
		if (c <= 0 || c == '\n') /* no UTF-8, or NUL */
			return false;
	}
	return true;
}

/*
 * The place of this name; a new one if need be, which will find its name at `home`. NULL: the name is
 * not good, or the table is full.
 */
static inline struct station *find(struct table *table, const struct key *key, const char *name,
		const char *home)
{
	for (size_t i = key->hash >> (64 - SLOTS_LOG2);; i = (i + 1) % SLOTS) {
		struct station *s = &table->slots[i];
		if (s->word[0] == key->word[0] && s->word[1] == key->word[1] && s->length == key->length
				&& (key->length <= 16 || memcmp(s->name + 16, name + 16, key->length - 16) == 0))
			return s;
		if (s->length)
			continue;
		if (table->count == NAMES || !name_is_good(name, key->length))
			return NULL;
		table->used[table->count++] = (uint16_t)i;
		*s = (struct station){ { key->word[0], key->word[1] }, key->hash, home, 0, 0,
			key->length, INT16_MAX, INT16_MIN, 0 };
		return s;
	}
}

static inline void add(struct station *s, int64_t sum, uint64_t count, int16_t min, int16_t max)
{
	s->sum += sum;
	s->count += count;
	s->min = min < s->min ? min : s->min;
	s->max = max > s->max ? max : s->max;
}

/*
 * Add the lines from p until end; p + home is where they stand in the text. Reads up to MARGIN bytes past
 * the start of a line. Returns where it stopped: at or past end, or at a line that is malformed or
 * has one name too many.
 */
static const char *scan(struct table *table, const char *p, const char *end, ptrdiff_t home)
{
	while (p < end) {
		struct key key;
		int value;
		if (!read_name(p, &key))
			break;
		const char *next = read_value(p + key.length + 1, &value);
		struct station *s = next ? find(table, &key, p, p + home) : NULL;
		if (!s)
			break;
		add(s, value, 1, (int16_t)value, (int16_t)value);
		p = next;
	}
	return p;
}

/* --- a piece of the text --- */

struct piece {
	const char *data;     /* the whole text, */
	uint64_t size;
	uint64_t from, to;    /* of which the lines that begin here are ours */
	uint64_t *first_bad;  /* shared: the earliest malformed line that anybody has seen */
};

struct part {
	struct station *stations; /* in shared memory, */
	uint32_t count;           /* so many */
};

/*
 * The first line that begins at or after `from`. If none does for too long, the line there is malformed;
 * whoever has the piece in which it begins will tell, and any place will do here.
 */
static uint64_t line_start(const char *data, uint64_t size, uint64_t from)
{
	if (from == 0 || from >= size)
		return from < size ? from : size;
	uint64_t left = size - (from - 1);
	const char *end = memchr(data + from - 1, '\n', left < MARGIN ? left : MARGIN);
	return end ? (uint64_t)(end + 1 - data) : from;
}

/*
 * Scan [begin, end) of the text. The last lines of a file are scanned in a copy, so that whole words
 * can be read there too, and so that the last one has a line end.
 */
static uint64_t scan_piece(struct table *table, const char *data, uint64_t size, uint64_t begin, uint64_t end)
{
	uint64_t safe = size > MARGIN ? size - MARGIN : 0, at = begin;
	if (begin < safe)
		at = (uint64_t)(scan(table, data + begin, data + (end < safe ? end : safe), 0) - data);
	if (at >= end || at < safe)
		return at < end ? at : NOWHERE;
	char copy[3 * MARGIN] = "";
	memcpy(copy, data + at, size - at);
	copy[size - at] = '\n'; /* never looked at if the last line has its own */
	const char *copy_end = copy + (end - at), *stop = scan(table, copy, copy_end, data + at - copy);
	return stop < copy_end ? at + (uint64_t)(stop - copy) : NOWHERE;
}

static void lower(uint64_t *shared, uint64_t value)
{
	uint64_t old = __atomic_load_n(shared, __ATOMIC_RELAXED);
	while (value < old && !__atomic_compare_exchange_n(shared, &old, value, true,
			__ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/* The task. Its table is private; what it found goes into shared memory once, at the end. */
static int aggregate_piece(const void *argument, void *result, void *context)
{
	(void)context;
	const struct piece *piece = argument;
	struct part *part = result;
	uint64_t begin = line_start(piece->data, piece->size, piece->from);
	uint64_t end = line_start(piece->data, piece->size, piece->to);
	if (begin >= end || begin > __atomic_load_n(piece->first_bad, __ATOMIC_RELAXED))
		return 0; /* nothing to do, or in vain */
	struct table *table = aligned_alloc(_Alignof(struct table), sizeof *table);
	if (!table)
		return -ENOMEM;
	memset(table, 0, sizeof *table);
	lower(piece->first_bad, scan_piece(table, piece->data, piece->size, begin, end));
	int r = table->count ? crew_array(table->count, sizeof *part->stations, (void **)&part->stations) : 0;
	for (uint32_t i = 0; i < table->count && r == 0; i++)
		part->stations[part->count++] = table->slots[table->used[i]];
	free(table);
	return r;
}

/* --- what is wrong with a line, told by looking at it slowly --- */

static const char *fault(const char *line, const char *end)
{
	const char *line_end = memchr(line, '\n', (size_t)(end - line));
	if (!line_end)
		line_end = end;
	const char *mark = memchr(line, ';', (size_t)(line_end - line));
	if (line == line_end)
		return "the line is empty; it should be name;value";
	if (!mark)
		return "no ';' between name and value";
	if (mark == line)
		return "the name is empty";
	if (mark - line > NAME_BYTES)
		return "the name is longer than 100 bytes";
	if (!name_is_good(line, (uint32_t)(mark - line)))
		return "the name is not UTF-8 text";
	const char *p = mark + 1 + (mark + 1 < line_end && mark[1] == '-');
	size_t length = (size_t)(line_end - p);
	bool good = (length == 3 || length == 4) && line_end[-2] == '.';
	for (; good && p < line_end; p++)
		good = p == line_end - 2 || (*p >= '0' && *p <= '9');
	return good ? "more than 10000 different names" :
		"the value is not a number from -99.9 to 99.9 with one decimal";
}

static struct table all; /* the table of all pieces */

/* Some line is bad. Which one, and for what, is found by one process, from the top. */
_Noreturn static void die_of_line(const struct input *text)
{
	memset(&all, 0, sizeof all);
	uint64_t bad = scan_piece(&all, text->data, text->size, 0, text->size), line = 1;
	for (uint32_t i = 0; i < all.count; i++)
		line += all.slots[all.used[i]].count;
	cli_die_input(text->path, line, "%s", fault(text->data + bad, text->data + text->size));
}

/* --- cut, work, combine --- */

struct answer {
	struct station *stations; /* sorted by name, as bytes */
	uint32_t count;
	double seconds;
};

static int by_name(const void *a, const void *b)
{
	const struct station *x = a, *y = b;
	int order = memcmp(x->name, y->name, x->length < y->length ? x->length : y->length);
	return order ? order : (x->length > y->length) - (x->length < y->length);
}

static void *shared_array(size_t count, size_t size)
{
	void *array = NULL;
	start_require(crew_array(count, size, &array), NULL);
	return array;
}

static struct answer aggregate(struct crew_pool *pool, const struct input *text)
{
	double begin = stats_clock();

	/* Cut. Enough pieces that the workers end together, none so small that its table costs more. */
	uint64_t stride = text->size / 64, least = 1 << 20, most = 16 << 20;
	stride = stride < least ? least : stride > most ? most : stride;
	size_t count = (size_t)((text->size + stride - 1) / stride);
	uint64_t *first_bad = shared_array(1, sizeof *first_bad);
	struct piece *pieces = shared_array(count, sizeof *pieces);
	struct part *parts = shared_array(count, sizeof *parts);
	*first_bad = NOWHERE;
	for (size_t i = 0; i < count; i++)
		pieces[i] = (struct piece){ text->data, text->size, i * stride, (i + 1) * stride, first_bad };

	/* Work. */
	struct crew_failure failure;
	start_require(crew_pool_map(pool, aggregate_piece, pieces, sizeof *pieces, parts, sizeof *parts, count,
		&(struct crew_map_options){ .chunk = 1, .failure = &failure }), &failure);

	/* Combine. */
	memset(&all, 0, sizeof all);
	bool good = *first_bad == NOWHERE;
	for (size_t i = 0; i < count; i++) {
		for (uint32_t j = 0; j < parts[i].count && good; j++) {
			const struct station *from = &parts[i].stations[j];
			const struct key key = { { from->word[0], from->word[1] }, from->hash, from->length };
			struct station *to = find(&all, &key, from->name, from->name);
			good = to;
			if (good)
				add(to, from->sum, from->count, from->min, from->max);
		}
		crew_free(parts[i].stations);
	}
	if (!good) /* a malformed line in some piece, or too many names in all of them */
		die_of_line(text);
	struct answer answer = { .count = all.count };
	answer.stations = cli_need(calloc(answer.count, sizeof *answer.stations));
	for (uint32_t i = 0; i < answer.count; i++)
		answer.stations[i] = all.slots[all.used[i]];
	qsort(answer.stations, answer.count, sizeof *answer.stations, by_name);
	crew_free(parts);
	crew_free(pieces);
	crew_free(first_bad);
	answer.seconds = stats_clock() - begin;
	return answer;
}

/* The mean in tenths, rounded half up: floor(sum / count + 1/2). */
static int mean(const struct station *s)
{
	int64_t n = (int64_t)s->count, twice = 2 * s->sum + n, tenths = twice / (2 * n);
	return (int)(tenths - (twice % (2 * n) < 0));
}

/* --- to count lines: little more than to read --- */

struct span { const char *begin, *end; };

static int count_span(const void *argument, void *result, void *context)
{
	(void)context;
	const struct span *span = argument;
	const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
	const char *p = span->begin;
	uint64_t count = 0;
	for (; p + 8 <= span->end; p += 8) {
		uint64_t x = load(p) ^ UINT64_C(0x0a0a0a0a0a0a0a0a), others = ((x & low) + low) | x;
		count += (~others >> 7 & UINT64_C(0x0101010101010101)) * UINT64_C(0x0101010101010101) >> 56;
	}
	for (; p < span->end; p++)
		count += *p == '\n';
	*(uint64_t *)result = count;
	return 0;
}

static uint64_t count_lines(struct crew_pool *pool, const struct input *text, double *seconds)
{
	enum { SPANS = 64 };
	struct span spans[SPANS];
	uint64_t counts[SPANS], lines = text->data[text->size - 1] != '\n';
	for (uint64_t i = 0; i < SPANS; i++)
		spans[i] = (struct span){ text->data + text->size * i / SPANS, text->data + text->size * (i + 1) / SPANS };
	double begin = stats_clock();
	struct crew_failure failure;
	start_require(crew_pool_map(pool, count_span, spans, sizeof *spans, counts, sizeof *counts, SPANS,
		&(struct crew_map_options){ .chunk = 1, .failure = &failure }), &failure);
	*seconds = stats_clock() - begin;
	for (size_t i = 0; i < SPANS; i++)
		lines += counts[i];
	return lines;
}

/* --- the same once more, slowly and in another way --- */

/*
 * Every line must have been counted. Texts up to CHECKED_BYTES are aggregated again by one process, with
 * strtod and binary search, and must agree in everything. Of larger ones that much, from all over the
 * text, must lie within the answer.
 */
static void check(struct report *report, struct crew_pool *pool, const struct input *text,
		const struct answer *answer)
{
	double seconds;
	uint64_t lines = count_lines(pool, text, &seconds), counted = 0;
	for (uint32_t i = 0; i < answer->count; i++)
		counted += answer->stations[i].count;
	report_check(report, counted == lines, "%s: %" PRIu64 " lines, but %" PRIu64 " were aggregated",
		text->path, lines, counted);
	struct station *again = cli_need(calloc(answer->count, sizeof *again));
	uint64_t window = 1 << 20, step = (text->size + CHECKED_BYTES - 1) / CHECKED_BYTES * window;
	bool whole = step == window;
	bool known = true;
	for (uint64_t from = 0; from < text->size; from += step) {
		uint64_t at = line_start(text->data, text->size, from);
		uint64_t end = line_start(text->data, text->size, from + window);
		while (at < end) {
			char line[LINE_BYTES + 1] = "";
			const char *p = text->data + at, *newline = memchr(p, '\n', text->size - at);
			size_t length = newline ? (size_t)(newline - p) : text->size - at;
			memcpy(line, p, length < LINE_BYTES ? length : LINE_BYTES);
			char *value = strchr(line, ';');
			*value++ = 0;
			struct station wanted = { .name = line, .length = (uint32_t)strlen(line) };
			const struct station *s = bsearch(&wanted, answer->stations, answer->count, sizeof *s, by_name);
			at += length + 1;
			if (!s) {
				known = false;
				continue;
			}
			struct station *a = &again[s - answer->stations];
			int16_t tenths = (int16_t)lround(strtod(value, NULL) * 10);
			a->min = !a->count || tenths < a->min ? tenths : a->min;
			a->max = !a->count || tenths > a->max ? tenths : a->max;
			a->sum += tenths;
			a->count++;
		}
	}
	report_check(report, known, "%s: a name is missing", text->path);
	for (uint32_t i = 0; i < answer->count; i++) {
		const struct station *s = &answer->stations[i], *a = &again[i];
		bool same = s->count == a->count && s->sum == a->sum && s->min == a->min && s->max == a->max;
		bool within = s->count >= a->count && (!a->count || (s->min <= a->min && s->max >= a->max));
		long double off = mean(s) - (long double)s->sum / (long double)s->count;
		report_check(report, (whole ? same : within) && s->min <= s->max && off > -0.5 && off <= 0.5,
			"%s: %.*s does not agree with a second look", text->path, (int)s->length, s->name);
	}
	free(again);
}

/* --- telling it --- */

static void print_tenths(int tenths, const char *after)
{
	int size = abs(tenths);
	printf("%s%d.%d%s", tenths < 0 ? "-" : "", size / 10, size % 10, after);
}

static void tell(const struct cli *cli, struct report *report, const struct answer *answer)
{
	if (!cli->json)
		putchar('{');
	for (uint32_t i = 0; i < answer->count; i++) {
		const struct station *s = &answer->stations[i];
		if (cli->json) {
			struct json_t *row = report_row(report);
			json_object_set_new(row, "name", json_stringn(s->name, s->length));
			report_real(row, "min", s->min / 10.0);
			report_real(row, "mean", mean(s) / 10.0);
			report_real(row, "max", s->max / 10.0);
			report_uint(row, "count", s->count);
			continue;
		}
		printf("%s%.*s=", i ? ", " : "", (int)s->length, s->name);
		print_tenths(s->min, "/");
		print_tenths(mean(s), "/");
		print_tenths(s->max, "");
	}
	if (!cli->json)
		puts("}");
}

/* --- the ways to start --- */

static void aggregate_file(const struct cli *cli, struct report *report, struct crew_pool *pool,
		const struct input *text)
{
	struct answer answer = aggregate(pool, text);
	report_seconds(report, answer.seconds);
	check(report, pool, text, &answer);
	tell(cli, report, &answer);
	free(answer.stations);
}

/* The same tasks, run by threads: what do separate address spaces cost? In turn, to meet the same noise. */
static void compare_threads(const struct cli *cli, struct report *report, struct crew_pool *pool,
		const struct input *text)
{
	enum { ROUNDS = 5 };
	double ours[ROUNDS], rival[ROUNDS];
	struct crew_pool *threads = start_pool(cli, &(struct crew_pool_options){ .mode = CREW_POOL_THREADS });
	for (int i = 0; i < ROUNDS; i++) {
		struct answer a = aggregate(pool, text), b = aggregate(threads, text);
		ours[i] = a.seconds;
		rival[i] = b.seconds;
		free(a.stations);
		free(b.stations);
	}
	crew_pool_close(threads, CREW_FOREVER);
	double ratio = stats_ratio(ours, rival, ROUNDS);
	struct json_t *top = report_top(report);
	report_str(top, "rival", "threads");
	report_real(top, "ratio", ratio);
	cli_note("the same with threads takes %.2f times as long", ratio);
}

/* Without a file: rows in a memfd, mapped before the family starts, filled by the family. */
static int demonstrate(const struct cli *cli)
{
	uint64_t rows = cli->quick ? 1000000 : 10000000, size = generate_bytes_max(rows);
	int fd = memfd_create("measurements", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		cli_lack("memfd: %s", strerror(errno));
	void *data = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (data == MAP_FAILED)
		cli_lack("mmap: %s", strerror(errno));
	start_family(cli);
	struct report *report = report_open(cli);
	struct crew_pool *pool = start_pool(cli, &(struct crew_pool_options){ .name = "aggregate" });
	struct input text = { "generated rows", data, generate(report, pool, cli, rows, fd, "memfd") };

	double roof;
	count_lines(pool, &text, &roof); /* the first to touch a page pays for it: warm up */
	count_lines(pool, &text, &roof);
	struct answer answer = aggregate(pool, &text);
	char many[32], size_text[32], rate[32], top[32];
	text_count(many, (double)rows);
	text_bytes(size_text, (double)text.size);
	text_rate_bytes(rate, (double)text.size / answer.seconds);
	text_rate_bytes(top, (double)text.size / roof);
	report_say(report, "%s rows, %s: %u workers aggregate %s; merely counting lines, they reach %s.\n",
		many, size_text, cli->workers, rate, top);
	free(answer.stations);
	aggregate_file(cli, report, pool, &text);
	if (cli->baseline)
		compare_threads(cli, report, pool, &text);
	crew_pool_close(pool, CREW_FOREVER);
	return report_finish(report);
}

static int generate_file(const struct cli *cli, uint64_t rows, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	struct stat stat;
	if (fd < 0 || fstat(fd, &stat) < 0)
		cli_die_input(path, 0, "cannot write: %s", strerror(errno));
	if (S_ISREG(stat.st_mode))
		stop_unlink(path); /* rather none than half of one */
	start_family(cli);
	struct report *report = report_open(cli);
	struct crew_pool *pool = start_pool(cli, &(struct crew_pool_options){ .name = "generate" });
	uint64_t bytes = generate(report, pool, cli, rows, fd, path);
	if (close(fd) < 0)
		cli_lack("%s: %s", path, strerror(errno));
	stop_forget(path);
	crew_pool_close(pool, CREW_FOREVER);
	struct json_t *row = report_row(report);
	report_str(row, "file", path);
	report_uint(row, "rows", rows);
	report_uint(row, "bytes", bytes);
	return report_finish(report);
}

/* --- the command line --- */

struct arguments {
	uint64_t rows;
	const char *file, *words;
};

static const struct argp_option options[] = {
	{ "generate", 'g', "ROWS", 0, "Write ROWS random measurements to FILE; the same for the same --seed", 0 },
	{ "words", 'W', "DIR", 0, "Count the words in all files under DIR, print the 20 most frequent", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *given = state->input;
	switch (key) {
	case 'g':
		given->rows = cli_parse_u64(state, "--generate", arg, 1, UINT64_C(1000000000000));
		return 0;
	case 'W':
		given->words = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (given->file)
			argp_error(state, "one FILE, not '%s' too", arg);
		given->file = arg;
		return 0;
	case ARGP_KEY_END:
		if (given->words && (given->file || given->rows))
			argp_error(state, "--words takes a directory and nothing else, no FILE and no --generate");
		if (given->rows && !given->file)
			argp_error(state, "--generate: needs a FILE to write to");
		return 0;
	case ARGP_KEY_INIT:
		state->child_inputs[0] = NULL;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = { options, parse, "[FILE]",
	"Aggregate a file of lines 'name;value' into the minimum, mean and maximum of each name; make such "
	"a file; or count words. Without arguments: make a table in memory and aggregate it.",
	cli_children, NULL, NULL };

int main(int argc, char **argv)
{
	struct arguments given = { 0 };
	struct cli cli = cli_parse(&argp, argc, argv, &given);
	if (cli.baseline && (given.words || given.rows))
		cli_note("--baseline compares the aggregation with threads; here it has no rival");
	if (given.words)
		return words(&cli, given.words);
	if (given.rows || !given.file)
		generate_read_stations();
	if (given.rows)
		return generate_file(&cli, given.rows, given.file);
	if (!given.file)
		return demonstrate(&cli);

	struct input text = input_map(given.file);
	start_family(&cli);
	struct report *report = report_open(&cli);
	struct crew_pool *pool = start_pool(&cli, &(struct crew_pool_options){ .name = "aggregate" });
	aggregate_file(&cli, report, pool, &text);
	if (cli.baseline)
		compare_threads(&cli, report, pool, &text);
	report_no_table(report);
	crew_pool_close(pool, CREW_FOREVER);
	return report_finish(report);
}
