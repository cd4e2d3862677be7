/* utf8.h - characters of UTF-8 text, by ICU, whose macros need quieter compilers than ours */
#ifndef UTF8_H
#define UTF8_H

#include <stddef.h>
#include <unicode/utf8.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"

/* The character at *at, which moves behind it; negative, and behind at least one byte, if it is no UTF-8. */
static inline int32_t utf8_next(const char *text, size_t *at, size_t end)
{
	int32_t c;
	U8_NEXT(text, *at, end, c);
	return c;
}

/* Append a valid character: at most U8_MAX_LENGTH bytes. */
static inline void utf8_append(char *text, size_t *length, int32_t c)
{
	U8_APPEND_UNSAFE(text, *length, c);
}

#pragma GCC diagnostic pop
#endif
