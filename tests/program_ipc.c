/* program_ipc.c - every message arrives exactly once, and what survivors of a kill are told */
#include "harness.h"
#include "program.h"

#include <jansson.h>
#include <string.h>

static json_t *rows_of(const char *options)
{
	struct program_run run = program_run("ipc --json --quick %s", options);
	ck_assert_msg(run.status == 0, "%s: status %d, %s", options, run.status, run.err);
	json_t *top = json_loads(run.out, 0, NULL);
	ck_assert_ptr_nonnull(top);
	json_t *rows = json_incref(json_object_get(top, "rows"));
	json_decref(top);
	program_forget(&run);
	return rows;
}

static const char *text(const json_t *row, const char *key)
{
	const char *value = json_string_value(json_object_get(row, key));
	ck_assert_msg(value != NULL, "no %s", key);
	return value;
}

/* The program itself counts how often each message arrived. */
TEST(many_talk_to_many_and_each_message_arrives_once, .timeout = 120)
{
	json_t *rows = rows_of("--pattern=all --workers=3"), *row;
	ck_assert_uint_eq(json_array_size(rows), 20);
	size_t i, queues = 0;
	json_array_foreach(rows, i, row) {
		ck_assert_int_gt(json_integer_value(json_object_get(row, "messages")), 0);
		queues += strcmp(text(row, "mechanism"), "crew_queue") == 0;
	}
	ck_assert_uint_eq(queues, 4);
	json_decref(rows);
}

TEST(survivors_of_a_kill_are_told, .timeout = 120)
{
	json_t *rows = rows_of("--kill"), *row;
	size_t i, seen = 0;
	json_array_foreach(rows, i, row) {
		const char *mechanism = text(row, "mechanism"), *killed = text(row, "killed"), *meets = text(row, "survivor_meets");
		if (strcmp(mechanism, "crew_pipe") == 0) {
			ck_assert_str_eq(meets, strcmp(killed, "receiver") == 0 ? "EPIPE" : "end of file");
			seen++;
		} else if (strcmp(mechanism, "crew_queue") == 0) {
			ck_assert_ptr_null(strstr(meets, "torn"));
			if (strcmp(killed, "holder") == 0)
				ck_assert_str_eq(text(row, "message_taken"), "comes back");
			seen++;
		}
	}
	ck_assert_uint_eq(seen, 6);
	json_decref(rows);
}

static void check_usage(const char *arguments, const char *named)
{
	struct program_run run = program_run("ipc %s", arguments);
	ck_assert_msg(run.status == 2 && strstr(run.err, named), "%s: status %d, %s", arguments, run.status, run.err);
	program_forget(&run);
}

TEST(refuses_wrong_options)
{
	check_usage("--pattern=star", "--pattern");
	check_usage("--pattern=all --kill", "--kill");
	check_usage("--mechanism=pigeon", "--mechanism");
	check_usage("pipe", "pipe");
}
