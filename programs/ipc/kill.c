/*
 * kill.c - the other process is killed with SIGKILL in the middle: who notices, and what becomes of the messages?
 *
 *     sender     dies while it sends: does the survivor get half a message? does it learn that there will be no more?
 *     receiver   dies while it receives: does the sender learn it? how many messages did it believe to be delivered?
 *     holder     dies when it has taken a message and not yet dealt with it: is that message lost?
 */
#include "ipc.h"
#include "stats.h"
#include "talk.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define LARGE (256u << 10) /* more than most of the mechanisms hold at once, so the sender is in the middle of one */
#define SILENCE 150        /* ms without news after which a survivor gives up, where no news is to be expected */
#define MOST 200           /* messages that the survivor sends or receives before it gives up */

/* What is found out of one death. */
struct finding {
	const char *victim, *survivor;
	int result;    /* of the survivor's last call */
	int64_t whole; /* messages that arrived whole after the death; or that the sender believed delivered, and nobody dealt with */
	const char *fate;
	double seconds; /* until the survivor knew; NaN: never */
};

static const char *in_words(int result)
{
	switch (result) {
	case 0: return "all is well";
	case CREW_END_OF_DATA: return "end of file";
	case -EBADMSG: return "a torn message, end of file";
	case -ETIME: return "a torn message, then nothing";
	case -ETIMEDOUT: return "nothing: would wait for ever";
	default: return crew_errname(result);
	}
}

static void tell(struct report *report, const struct mechanism *m, const struct finding *f, json_t *aside)
{
	json_t *row = aside ? json_object() : (json_t *)report_row(report);
	report_str(row, "mechanism", m->name);
	report_str(row, "killed", f->victim);
	report_str(row, "survivor_meets", f->survivor);
	report_real(row, "notice_seconds", f->seconds);
	if (strcmp(f->victim, "receiver") == 0)
		report_int(row, "undelivered", f->whole);
	else
		report_null(row, "undelivered");
	report_str(row, "message_taken", f->fate);
	if (aside) {
		json_array_append_new(aside, row);
		report_say(report, "%-15s %-9s %-30s %s\n", m->name, f->victim, f->survivor, f->fate);
	}
}

static bool begin(struct report *report, struct talk *talk, const struct mechanism *m, enum task task, size_t size)
{
	*talk = (struct talk){ 0 };
	int r = talk_begin(talk, m, task, size, 0);
	if (r == 0)
		r = side_set_patience(&talk->side, (int)(PATIENCE / CREW_MILLISECOND));
	return report_check(report, r == 0, "%s: %s", m->name, crew_strerror(r));
}

/* Until the child is busy with that message: it says so before it begins. */
static void await_number(const struct talk *talk, uint64_t number)
{
	crew_time patience = crew_after(PATIENCE);
	while (__atomic_load_n(&talk->job->number, __ATOMIC_ACQUIRE) < number && crew_now() < patience)
		sched_yield();
}

static double kill_partner(struct report *report, struct talk *talk, const struct mechanism *m)
{
	int r = crew_process_signal(talk->child, SIGKILL);
	report_check(report, r == 0, "%s: killing the partner: %s", m->name, crew_strerror(r));
	if (m->silent)
		talk->side.patience_ms = SILENCE;
	return stats_clock();
}

static void kill_sender(struct report *report, const struct mechanism *m, json_t *aside)
{
	static unsigned char data[LARGE], expected[LARGE];
	struct talk talk;
	if (!begin(report, &talk, m, SEND_ON, LARGE))
		return;
	message_pattern(expected, LARGE);
	int r = 0;
	uint64_t n = 1, wrong = 0;
	for (; r == 0 && n <= 2; n++) {
		r = m->receive(&talk.side, data, LARGE);
		wrong += r == 0 && !message_is(data, expected, LARGE, n);
	}
	report_check(report, r == 0, "%s: %s", m->name, crew_strerror(r));
	await_number(&talk, 3);
	double killed = kill_partner(report, &talk, m), last = killed;
	struct finding f = { .victim = "sender", .fate = "" };
	while ((r = m->receive(&talk.side, data, LARGE)) == 0 && f.whole < MOST) {
		wrong += !message_is(data, expected, LARGE, n++);
		f.whole++;
		last = stats_clock();
	}
	f.result = r;
	f.survivor = in_words(r);
	f.seconds = r == -ETIMEDOUT || r == -ETIME ? NAN : stats_clock() - last;
	report_check(report, wrong == 0, "%s: %llu messages arrived damaged", m->name, (unsigned long long)wrong);
	report_check(report, !strstr(m->name, "crew") || (r != -EBADMSG && r != -ETIME), "%s: a torn message arrived", m->name);
	report_check(report, strcmp(m->name, "crew_pipe") != 0 || r == CREW_END_OF_DATA, "crew_pipe: the survivor met %s", f.survivor);
	tell(report, m, &f, aside);
	(void)!talk_end(&talk);
}

static void kill_receiver(struct report *report, const struct mechanism *m, json_t *aside)
{
	static unsigned char data[LARGE];
	struct talk talk;
	size_t size = m->most < LARGE ? m->most : LARGE;
	if (!begin(report, &talk, m, RECEIVE_ON, size))
		return;
	message_pattern(data, size);
	int r = 0;
	uint64_t sent = 0;
	for (; r == 0 && sent < 4; sent += r == 0)
		r = m->send(&talk.side, data, size);
	report_check(report, r == 0, "%s: %s", m->name, crew_strerror(r));
	await_number(&talk, 2);
	double killed = kill_partner(report, &talk, m);
	while (sent < MOST && (r = m->send(&talk.side, data, size)) == 0)
		sent++;
	struct finding f = { .victim = "receiver", .survivor = in_words(r), .result = r, .fate = "" };
	f.seconds = r == 0 || r == -ETIMEDOUT ? NAN : stats_clock() - killed;
	f.whole = (int64_t)(sent - (talk.job->number - 1));
	if (talk.side.queue_out) { /* they wait for another receiver */
		f.whole -= (int64_t)crew_queue_length(talk.side.queue_out);
		f.fate = "the others wait for the next receiver";
	}
	report_check(report, strcmp(m->name, "crew_pipe") != 0 || r == -EPIPE, "crew_pipe: the survivor met %s", f.survivor);
	tell(report, m, &f, aside);
	(void)!talk_end(&talk);
}

/* What becomes of the message that the dead one had taken. */
static const char *fate_of_message(const struct side *side, unsigned char *data, size_t size)
{
	size_t got;
	if (!side->queue_out)
		return "lost";
	int r = crew_queue_get(side->queue_out, data, size, &got, crew_after(CREW_SECOND));
	return r == 0 && got == size ? "comes back" : "lost";
}

static void kill_holder(struct report *report, const struct mechanism *m, json_t *aside)
{
	static unsigned char data[64], back[64];
	struct talk talk;
	size_t size = m->most < sizeof data ? m->most : sizeof data;
	if (!begin(report, &talk, m, HOLD, size))
		return;
	message_pattern(data, size);
	int r = m->send(&talk.side, data, size);
	if (r == 0)
		r = m->receive(&talk.side, back, size);
	report_check(report, r == 0, "%s: %s", m->name, crew_strerror(r));
	double killed = kill_partner(report, &talk, m); /* it has taken our message, and not dealt with it */
	r = m->receive(&talk.side, back, size);
	struct finding f = { .victim = "holder", .survivor = in_words(r), .result = r };
	f.seconds = r == -ETIMEDOUT ? NAN : stats_clock() - killed;
	f.fate = fate_of_message(&talk.side, back, size);
	report_check(report, strcmp(m->name, "crew_queue") != 0 || strcmp(f.fate, "comes back") == 0,
		"crew_queue: a message taken by the dead is %s", f.fate);
	tell(report, m, &f, aside);
	(void)!talk_end(&talk);
}

void ipc_kill(struct report *report, const char *only, json_t *aside)
{
	static void (*const victims[])(struct report *, const struct mechanism *, json_t *) = { kill_sender, kill_receiver, kill_holder };
	report_say(report, "\nThe partner is killed with SIGKILL: as it sends, as it receives, when it has taken a message.\n\n");
	if (aside)
		report_say(report, "%-15s %-9s %-30s %s\n", "mechanism", "killed", "the survivor meets", "message taken");
	for (size_t v = 0; v < sizeof victims / sizeof *victims; v++) {
		for (const struct mechanism *m = mechanisms; m < mechanisms + mechanism_count; m++) {
			if ((only && strcmp(only, m->name) != 0) || (v == 0 && m->most < LARGE)) /* an eventfd carries no message to tear */
				continue;
			alarm(60);
			victims[v](report, m, aside);
			alarm(0);
		}
	}
}
