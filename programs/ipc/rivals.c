/* rivals.c - the same two tests with CPython's multiprocessing.Pipe and Queue, in turn with ours, for --baseline */
#include "ipc.h"
#include "rival.h"
#include "stats.h"
#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 3
#define BYTES 8
#define ECHOES 2000
#define MESSAGES 20000

/* Prints, for Pipe and Queue: seconds of a one-way trip, and of a message one behind the other. */
static const char script[] =
	"import sys, time, multiprocessing as mp\n"
	"def serve(get, put, done, echoes, messages):\n"
	"    for i in range(echoes): put(get())\n"
	"    for i in range(messages): get()\n"
	"    done.set()\n"
	"def measure(get, put, start):\n"
	"    echoes, messages = int(sys.argv[1]), int(sys.argv[2])\n"
	"    done = mp.Event()\n"
	"    p = start(done, echoes, messages)\n"
	"    data = bytes(8)\n"
	"    a = time.monotonic()\n"
	"    for i in range(echoes):\n"
	"        put(data); get()\n"
	"    b = time.monotonic()\n"
	"    for i in range(messages): put(data)\n"
	"    done.wait()\n"
	"    c = time.monotonic()\n"
	"    p.join()\n"
	"    print((b - a) / echoes / 2, (c - b) / messages)\n"
	"def run(*args):\n"
	"    p = mp.Process(target=serve, args=args); p.start(); return p\n"
	"mp.set_start_method('fork')\n"
	"x, y = mp.Pipe()\n"
	"measure(x.recv_bytes, x.send_bytes, lambda *a: run(y.recv_bytes, y.send_bytes, *a))\n"
	"p, q = mp.Queue(), mp.Queue()\n"
	"measure(p.get, q.put, lambda *a: run(q.get, p.put, *a))\n";

struct figures { double latency[2], message[2]; }; /* s: of pipe, of queue */

static bool measure_python(struct figures *f)
{
	char echoes[16], messages[16];
	snprintf(echoes, sizeof echoes, "%d", ECHOES);
	snprintf(messages, sizeof messages, "%d", MESSAGES);
	char *text = rival_run((const char *const[]){ "python3", "-c", script, echoes, messages, NULL });
	bool good = text && sscanf(text, "%lf %lf %lf %lf", &f->latency[0], &f->message[0], &f->latency[1], &f->message[1]) == 4;
	free(text);
	return good;
}

static bool measure_ours(struct report *report, struct figures *f)
{
	static const char *const names[] = { "crew_pipe", "crew_queue" };
	for (unsigned i = 0; i < 2; i++) {
		const struct mechanism *m = mechanisms;
		while (strcmp(m->name, names[i]) != 0)
			m++;
		struct measure echoed = talk_measure(m, PING_PONG, BYTES, ECHOES), sent = talk_measure(m, ONE_WAY, BYTES, MESSAGES);
		int r = echoed.result ? echoed.result : sent.result;
		if (!report_check(report, r == 0 && echoed.wrong + sent.wrong == 0, "%s beside CPython: %s", m->name, crew_strerror(r)))
			return false;
		f->latency[i] = echoed.seconds / (2 * ECHOES);
		f->message[i] = sent.seconds / MESSAGES;
	}
	return true;
}

void ipc_rivals(struct report *report)
{
	static const char *const names[] = { "CPython Pipe", "CPython Queue" };
	struct figures ours[ROUNDS], theirs[ROUNDS];
	for (unsigned i = 0; i < ROUNDS; i++)
		if (!measure_ours(report, &ours[i]) || !measure_python(&theirs[i]))
			return;
	for (unsigned k = 0; k < 2; k++) {
		double latency[2][ROUNDS], message[2][ROUNDS];
		for (unsigned i = 0; i < ROUNDS; i++) {
			latency[0][i] = ours[i].latency[k];
			latency[1][i] = theirs[i].latency[k];
			message[0][i] = ours[i].message[k];
			message[1][i] = theirs[i].message[k];
		}
		struct json_t *row = report_row(report);
		report_str(row, "mechanism", names[k]);
		report_uint(row, "bytes", BYTES);
		report_real(row, "latency_ratio", stats_ratio(latency[0], latency[1], ROUNDS));
		report_real(row, "messages_ratio", stats_ratio(message[0], message[1], ROUNDS));
		report_real(row, "latency_ns", stats_median(latency[1], ROUNDS) * 1e9);
		double seconds = stats_median(message[1], ROUNDS);
		report_real(row, "messages_per_second", 1 / seconds);
		report_real(row, "bytes_per_second", BYTES / seconds);
		report_uint(row, "parts", 1);
	}
}
