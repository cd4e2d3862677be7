/*
 * pattern.c - more than two who talk
 *
 *     one_to_many       one hands out, several take: each message goes to exactly one of them
 *     many_to_one       several send, one collects
 *     many_to_many      several send, several take
 *     request_response  clients ask, any of the servers answers, and the answer finds its client
 *
 * Only what keeps messages whole between many can do it: a stream read by two tears (a pipe does not, up to PIPE_BUF bytes,
 * if all messages have the same size). Each message is numbered by its sender; in the end each number must have
 * arrived exactly once.
 */
#include "ipc.h"
#include "mechanism.h"
#include "stats.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BYTES 64
#define MANY 4 /* at most on one side */

const char *const ipc_patterns[] = { "one_to_many", "many_to_one", "many_to_many", "request_response", NULL };

struct letter {
	uint32_t sender; /* MANY: the last letter, no more will come */
	uint32_t spare;
	uint64_t number;
	unsigned char filler[BYTES - 16];
};
static_assert(sizeof(struct letter) == BYTES, "what a mechanism between many keeps whole");

struct party { _Alignas(64) uint64_t letters, wrong, ns; };

/* In shared memory. Senders are parties 0 ... senders - 1, receivers come behind them. */
struct meeting {
	const struct mechanism *mechanism;
	struct side there;        /* all senders to all receivers */
	struct side back[MANY];   /* request_response: to each sender */
	uint32_t senders, receivers;
	bool answers;
	uint64_t count;           /* letters of each sender */
	unsigned char *arrived;   /* [sender * count + number]: how often */
	struct party party[2 * MANY];
	struct crew_event begin;
};

static int channel_open(const struct mechanism *m, struct side *side)
{
	*side = (struct side){ .in = -1, .out = -1, .part = BYTES };
	if (m->one_way) {
		int ends[2];
		int r = m->one_way(ends);
		if (r == 0) {
			side->in = ends[0];
			side->out = ends[1];
		}
		return r;
	}
	struct crew_queue *queues;
	int r = crew_array(2, sizeof *queues, (void **)&queues); /* the second is not used; side_free() knows pairs */
	if (r == 0)
		side->queue_out = side->queue_in = queues;
	return r;
}

static int send_letter(const struct meeting *meeting, const struct side *side, uint32_t sender, uint64_t number)
{
	struct letter letter = { .sender = sender, .number = number };
	memset(letter.filler, (int)(number & 0xff), sizeof letter.filler);
	return meeting->mechanism->send(side, &letter, sizeof letter);
}

static bool is_whole(const struct letter *letter)
{
	for (size_t i = 0; i < sizeof letter->filler; i++)
		if (letter->filler[i] != (letter->number & 0xff))
			return false;
	return true;
}

static int send_all(struct meeting *meeting, uint32_t me)
{
	struct letter answer;
	int r = 0;
	for (uint64_t n = 0; r == 0 && n < meeting->count; n++) {
		crew_time asked = crew_now();
		r = send_letter(meeting, &meeting->there, me, n);
		if (r == 0 && meeting->answers) {
			r = meeting->mechanism->receive(&meeting->back[me], &answer, sizeof answer);
			meeting->party[me].wrong += r == 0 && (answer.sender != me || answer.number != n || !is_whole(&answer));
			meeting->party[me].ns += (uint64_t)(crew_now() - asked);
		}
		meeting->party[me].letters += r == 0;
	}
	return r;
}

static int receive_all(struct meeting *meeting, uint32_t me)
{
	struct letter letter;
	int r;
	while ((r = meeting->mechanism->receive(&meeting->there, &letter, sizeof letter)) == 0 && letter.sender != MANY) {
		if (letter.sender >= meeting->senders || letter.number >= meeting->count || !is_whole(&letter)) {
			meeting->party[me].wrong++;
			continue;
		}
		__atomic_fetch_add(&meeting->arrived[letter.sender * meeting->count + letter.number], 1, __ATOMIC_RELAXED);
		meeting->party[me].letters++;
		if (meeting->answers)
			r = send_letter(meeting, &meeting->back[letter.sender], letter.sender, letter.number);
		if (r < 0)
			break;
	}
	return r;
}

struct invitation { struct meeting *meeting; uint32_t me; }; /* copied to the party */

static int attend(void *argument, size_t size)
{
	(void)size;
	const struct invitation *invitation = argument;
	struct meeting *meeting = invitation->meeting;
	int r = crew_event_wait(&meeting->begin, crew_after(PATIENCE));
	if (r == 0)
		r = invitation->me < meeting->senders ? send_all(meeting, invitation->me) : receive_all(meeting, invitation->me);
	return r != 0;
}

/* The descriptors of all channels, in the order in which the parties find them from 3 on; renumbers the channels so. */
static unsigned hand_out(struct meeting *meeting, int descriptors[2 + 2 * MANY])
{
	unsigned count = 0;
	struct side *sides[1 + MANY] = { &meeting->there };
	for (uint32_t i = 0; i < meeting->senders; i++)
		sides[1 + i] = &meeting->back[i];
	for (uint32_t i = 0; i <= (meeting->answers ? meeting->senders : 0); i++) {
		if (sides[i]->in < 0)
			continue;
		descriptors[count] = sides[i]->in;
		descriptors[count + 1] = sides[i]->out;
		sides[i]->in = 3 + (int)count;
		sides[i]->out = 4 + (int)count;
		count += 2;
	}
	return count;
}

static int start_parties(struct meeting *meeting, struct crew_process **process, const int *descriptors, unsigned count)
{
	for (uint32_t i = 0; i < meeting->senders + meeting->receivers; i++) {
		struct invitation invitation = { meeting, i };
		int r = crew_process_start(&process[i], &(struct crew_process_options){ .function = attend, .argument = &invitation,
			.argument_size = sizeof invitation, .descriptors = descriptors, .descriptor_count = count,
			.name = i < meeting->senders ? "sender" : "receiver" });
		if (r < 0)
			return r;
	}
	return crew_event_set(&meeting->begin);
}

/* 0 if it ended well by itself in time; it is gone in any case. */
static int end_party(struct crew_process *process, crew_time deadline)
{
	struct crew_status status = { 0 };
	if (!process)
		return 0;
	int r = crew_process_join(process, deadline, &status);
	if (r < 0)
		(void)!crew_process_stop(process, 0, &status);
	(void)!crew_process_close(process);
	return r < 0 ? r : status.state == CREW_EXITED && status.code == 0 ? 0 : -ECHILD;
}

/* Until all letters have arrived: the senders end, then each receiver gets a last letter. */
static int hold_meeting(struct meeting *meeting, double *seconds)
{
	struct crew_process *process[2 * MANY] = { 0 };
	struct side mine = meeting->there;
	int descriptors[2 + 2 * MANY];
	unsigned count = hand_out(meeting, descriptors);
	int r = start_parties(meeting, process, descriptors, count);
	double begin = stats_clock();
	crew_time deadline = r < 0 ? CREW_POLL : crew_after(PATIENCE);
	for (uint32_t i = 0; i < meeting->senders; i++) {
		int ended = end_party(process[i], r < 0 ? CREW_POLL : deadline);
		r = r ? r : ended;
	}
	for (uint32_t i = 0; r == 0 && i < meeting->receivers; i++)
		r = send_letter(meeting, &mine, MANY, 0);
	for (uint32_t i = meeting->senders; i < meeting->senders + meeting->receivers; i++) {
		int ended = end_party(process[i], r < 0 ? CREW_POLL : deadline);
		r = r ? r : ended;
	}
	*seconds = stats_clock() - begin;
	for (unsigned i = 0; i < count; i++)
		close(descriptors[i]);
	return r;
}

static int open_channels(struct meeting *meeting)
{
	int r = channel_open(meeting->mechanism, &meeting->there);
	for (uint32_t i = 0; r == 0 && meeting->answers && i < meeting->senders; i++)
		r = channel_open(meeting->mechanism, &meeting->back[i]);
	return r;
}

static void tell(struct report *report, const struct meeting *meeting, const char *pattern, double seconds)
{
	uint64_t letters = meeting->senders * meeting->count, least = UINT64_MAX, waited = 0, wrong = 0, astray = 0;
	for (uint32_t i = 0; i < meeting->senders + meeting->receivers; i++) {
		const struct party *party = &meeting->party[i];
		wrong += party->wrong;
		waited += party->ns;
		if (i >= meeting->senders && party->letters < least)
			least = party->letters;
	}
	for (uint64_t i = 0; i < letters; i++)
		astray += meeting->arrived[i] != 1;
	report_check(report, wrong == 0, "%s, %s: %llu messages arrived damaged", pattern, meeting->mechanism->name,
		(unsigned long long)wrong);
	report_check(report, astray == 0, "%s, %s: %llu messages did not arrive exactly once", pattern, meeting->mechanism->name,
		(unsigned long long)astray);
	struct json_t *row = report_row(report);
	report_str(row, "pattern", pattern);
	report_str(row, "mechanism", meeting->mechanism->name);
	report_uint(row, "senders", meeting->senders);
	report_uint(row, "receivers", meeting->receivers);
	report_uint(row, "messages", letters);
	report_real(row, "messages_per_second", (double)letters / seconds);
	report_real(row, "latency_ns", meeting->answers ? (double)waited / (double)letters / 2 : NAN); /* half a round trip, mean */
	report_real(row, "least_share", (double)least * meeting->receivers / (double)letters); /* 1: all got the same */
}

static void meet(struct report *report, const struct cli *cli, const struct mechanism *m, const char *pattern)
{
	struct meeting *meeting;
	uint32_t many = cli->workers < 2 ? 2 : cli->workers < MANY ? cli->workers : MANY;
	int r = crew_alloc_zeroed(sizeof *meeting, (void **)&meeting);
	if (r < 0)
		cli_lack("crew_alloc: %s", crew_strerror(r));
	meeting->mechanism = m;
	meeting->answers = strcmp(pattern, "request_response") == 0;
	meeting->senders = strcmp(pattern, "one_to_many") == 0 ? 1 : many;
	meeting->receivers = strcmp(pattern, "many_to_one") == 0 ? 1 : many;
	meeting->count = (cli->quick ? 2000 : 20000) / meeting->senders / (meeting->answers ? 5 : 1);
	double seconds = 0;
	r = crew_array(meeting->senders * meeting->count, 1, (void **)&meeting->arrived);
	if (r == 0)
		r = open_channels(meeting);
	struct side there = meeting->there;
	if (r == 0)
		r = hold_meeting(meeting, &seconds);
	if (r == -ENOSYS || r == -EMFILE || r == -EACCES)
		cli_note("%s is not to be had here: %s", m->name, crew_strerror(r));
	else if (report_check(report, r == 0, "%s, %s: %s", pattern, m->name, crew_strerror(r)))
		tell(report, meeting, pattern, seconds);
	side_free(&there);
	for (uint32_t i = 0; i < meeting->senders; i++)
		side_free(&meeting->back[i]);
	crew_free(meeting->arrived);
	crew_free(meeting);
}

void ipc_patterns_run(struct report *report, const struct cli *cli, const char *pattern, const char *only)
{
	for (const char *const *p = ipc_patterns; *p; p++) {
		if (pattern && strcmp(pattern, *p) != 0)
			continue;
		for (const struct mechanism *m = mechanisms; m < mechanisms + mechanism_count; m++) {
			bool many = m->one_way || strcmp(m->name, "crew_queue") == 0;
			if (only && strcmp(only, m->name) == 0 && !many)
				cli_note("%s: %s is between two, or keeps no messages apart", *p, m->name);
			if (!many || (only && strcmp(only, m->name) != 0))
				continue;
			alarm(60);
			meet(report, cli, m, *p);
			alarm(0);
		}
	}
}
