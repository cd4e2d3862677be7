/* text.c - see text.h */
#include "text.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TEXT_MAX 32

/* Three significant digits in the largest unit that leaves at least 1 before the point. */
static void scaled(char *text, double value, double step, const char *const *units, size_t count)
{
	size_t unit = 0;
	while (unit + 1 < count && fabs(value) >= 0.9995 * step) {
		value /= step;
		unit++;
	}
	bool whole = value == floor(value) && fabs(value) < step;
	int digits = whole ? 0 : fabs(value) < 9.995 ? 2 : fabs(value) < 99.95 ? 1 : 0;
	snprintf(text, TEXT_MAX, "%.*f%s%s", digits, value, *units[unit] ? " " : "", units[unit]);
}

void text_bytes(char *text, double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	scaled(text, bytes, 1024, units, 5);
}

void text_rate_bytes(char *text, double per_second)
{
	static const char *const units[] = { "B/s", "kB/s", "MB/s", "GB/s", "TB/s" };
	scaled(text, per_second, 1000, units, 5);
}

void text_count(char *text, double count)
{
	static const char *const units[] = { "", "k", "M", "G", "T" };
	scaled(text, count, 1000, units, 5);
}

void text_seconds(char *text, double seconds)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	scaled(text, seconds * 1e9, 1000, units, 4);
}

int text_width(const char *text)
{
	int width = 0;
	for (; *text; text++)
		width += (*text & 0xc0) != 0x80;
	return width;
}
