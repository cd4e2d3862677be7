/*
 * rival.h - run a program that does the same as ours, for --baseline
 *
 *     char *text = rival_run((const char *const[]){ "python3", "-c", script, NULL });
 *     if (text) ... what it printed ...
 *     free(text);
 */
#ifndef RIVAL_H
#define RIVAL_H

/* What the program printed; NULL, after a note that says why, if it is not installed or fails. */
char *rival_run(const char *const *argv);

#endif
