/*
 * crew/base.h - what every crew header stands on: export marks and time
 *
 * Time. Every call that can block takes one absolute deadline: nanoseconds on
 * CLOCK_MONOTONIC, a crew_time. One deadline serves a whole sequence of calls;
 * nothing has to be subtracted in between.
 *
 *     crew_time deadline = crew_after(2 * CREW_SECOND);
 *     r = crew_lock_acquire(&lock, deadline);
 *     if (r == 0)
 *         r = crew_queue_get(&queue, buffer, sizeof buffer, &size, deadline);
 *
 * CREW_POLL never sleeps, CREW_FOREVER never times out. Signals do not cut a
 * wait short.
 */
#ifndef CREW_BASE_H
#define CREW_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CREW_API __attribute__((visibility("default")))
#define CREW_CHECKED __attribute__((warn_unused_result))

#ifdef __cplusplus
#define CREW_BEGIN extern "C" {
#define CREW_END }
#else
#define CREW_BEGIN
#define CREW_END
#endif

CREW_BEGIN

/* Nanoseconds: a point on CLOCK_MONOTONIC, or a length of time. */
typedef int64_t crew_time;

#define CREW_POLL INT64_C(0)          /* a deadline long past, as is every one below it: never sleep */
#define CREW_FOREVER INT64_MAX        /* no deadline */
#define CREW_MICROSECOND INT64_C(1000)
#define CREW_MILLISECOND INT64_C(1000000)
#define CREW_SECOND INT64_C(1000000000)

/* Now, in ns on CLOCK_MONOTONIC. */
CREW_API crew_time crew_now(void);

/* The deadline `length` ns from now; CREW_POLL for 0 or less, CREW_FOREVER where the sum overflows. */
CREW_API crew_time crew_after(crew_time length);

/* The library's version, as in "0.1.0". */
CREW_API const char *crew_version(void);

CREW_END
#endif
