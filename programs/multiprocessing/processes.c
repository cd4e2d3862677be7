/* processes.c - start a process, hear how it ended, stop it */
#include "tour.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

/*
 * def f(a, b): total.value = a + b
 * p = Process(target=f, args=(2, 3), name='adder'); p.start(); p.join(); p.exitcode
 */
struct sum { int a, b; struct board *board; };

static int add(void *argument, size_t size)
{
	const struct sum *sum = argument; /* a copy */
	sum->board->value = sum->a + sum->b;
	return size != sizeof *sum;
}

static const char *step_process(void)
{
	struct crew_process *p;
	claim(crew_process_start(&p, &(struct crew_process_options){ .function = add, .name = "adder",
		.argument = &(struct sum){ 2, 3, board }, .argument_size = sizeof(struct sum) }) == 0);
	claim(strcmp(crew_process_name(p), "adder") == 0);
	claim(exitcode(p) == 0);
	claim(board->value == 5);
	return NULL;
}

/*
 * p = Process(target=sys.exit, args=(3,)); ...; p.exitcode == 3
 * p.kill(); p.join(); p.exitcode == -signal.SIGKILL
 */
static int returns_3(void *argument, size_t size)
{
	(void)argument, (void)size;
	return 3;
}

static const char *step_exitcode(void)
{
	claim(exitcode(start(returns_3)) == 3);
	struct crew_process *p = start(sleeps);
	claim(crew_process_signal(p, SIGKILL) == 0);
	claim(exitcode(p) == -SIGKILL);
	return NULL;
}

/* p.join(0.01); p.is_alive(); p.terminate() -- and, which Python lacks, all that p has started ends, too */
static int has_a_child(void *argument, size_t size)
{
	board = argument; /* set after crew_init in the parent, so not here */
	start(sleeps);
	int r = crew_event_set(&board->event);
	return r < 0 ? 1 : sleeps(argument, size);
}

static const char *step_terminate(void)
{
	struct crew_status status;
	struct crew_process *p = start(has_a_child);
	claim(crew_event_wait(&board->event, SOON) == 0);
	claim(crew_process_join(p, crew_after(10 * CREW_MILLISECOND), NULL) == -ETIMEDOUT);
	crew_process_status(p, &status);
	claim(status.state == CREW_RUNNING);
	claim(crew_process_stop(p, CREW_SECOND, &status) == 0); /* SIGTERM; SIGKILL to whoever is left after a second */
	claim(status.state == CREW_KILLED && status.signal == SIGTERM);
	claim(crew_process_close(p) == 0);
	return NULL;
}

/* current_process(), parent_process().pid, active_children() */
static int knows_its_parent(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	b->value = crew_parent();
	return crew_event_set(&b->event) < 0 || crew_event_wait(&b->other_event, SOON) < 0;
}

static const char *step_family(void)
{
	struct crew_member members[64];
	struct crew_process *p = start(knows_its_parent);
	claim(crew_event_wait(&board->event, SOON) == 0);
	int count = crew_process_list(members, 64), seen = 0;
	for (int i = 0; i < count && i < 64; i++)
		seen += members[i].pid == crew_process_pid(p) && members[i].parent == getpid();
	claim(crew_event_set(&board->other_event) == 0);
	claim(exitcode(p) == 0);
	claim(board->value == getpid());
	claim(seen == 1);
	claim(crew_self() != 0);
	return NULL;
}

const struct step tour_processes[] = {
	{ "crew_process_start, _join",          "Process(target, args); start(); join()",  step_process },
	{ "struct crew_status",                 "p.exitcode, p.kill()",                    step_exitcode },
	{ "crew_process_stop",                  "p.terminate(), p.is_alive()",             step_terminate },
	{ "crew_process_list, crew_parent",     "active_children(), parent_process()",     step_family },
	{ 0 }
};
