/*
 * team.h - several processes that do the same thing with the same shared memory
 *
 *     static int member(void *shared, unsigned number) { ...; return 0; }
 *
 *     struct team *team = team_start(4, "reader", member, shared);
 *     unsigned failed = team_join(team, crew_after(10 * CREW_SECOND));
 *
 * `shared` is passed as it is: a pointer into the family's memory. Members begin together, once all are there.
 */
#ifndef TEAM_H
#define TEAM_H

#include <crew/base.h>

struct team;
typedef int team_fn(void *shared, unsigned number); /* its result is the exit code: 0 is good */

/* Start `count` members, numbered from 0. Ends the program with status 3 if the machine has no room for them. */
struct team *team_start(unsigned count, const char *name, team_fn *function, void *shared);

/* SIGKILL one member, wherever it is, and wait until it is dead. */
void team_kill(struct team *team, unsigned number);

/*
 * Wait for all, and kill those that run on at the deadline. Returns how many ended otherwise than by
 * returning 0, without those that team_kill() has ended. The team is gone.
 */
unsigned team_join(struct team *team, crew_time deadline);

#endif
