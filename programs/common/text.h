/* text.h - numbers for people. Each writes at most 32 bytes, the final zero included. */
#ifndef TEXT_H
#define TEXT_H

void text_bytes(char *text, double bytes);           /* "512 B", "1.5 MiB" */
void text_rate_bytes(char *text, double per_second); /* "1.50 GB/s" */
void text_count(char *text, double count);           /* "950", "12.3 k", "4.56 M" */
void text_seconds(char *text, double seconds);       /* "23 ns", "1.20 ms", "3.40 s" */

/* Columns that UTF-8 text takes on a terminal, one per character; never less than 0. */
int text_width(const char *text);

#endif
