/*
 * program.h - random programs over all primitives, and the audit of what they leave
 *
 * A thread draws one operation after the other and does it, until it is killed or there is rest. What it does to shared
 * objects it also writes down outside the family's memory, before and after each call: the fate of every message id, and what
 * the thread is doing now. So when nobody runs any more an audit can tell what must be there, and what
 * may be, because somebody died inside the call.
 *
 * To add an operation: a function that checks what it can see, with its name in operation.h, a line in `operations` (program.c),
 * and what must hold of its object at rest in audit.c.
 */
#ifndef STORM_PROGRAM_H
#define STORM_PROGRAM_H

#include <crew/crew.h>

enum { THREADS = 16, IDS = 1 << 17, ACCOUNTS = 4, PERMITS = 3, KEYS = 8, TO_DO = 100, MANY = 6, WAYS = 128 };

/* A message's. Written before the call (TRYING) and after it. */
enum { NEVER, TRYING, DID, FAILED };
struct fate { uint8_t put, done, got; uint8_t more; /* in its batch, after it */ uint16_t takes, returns; };

/* What is done to a number: calls that began, that have returned, and that have changed nothing. */
struct tries { uint32_t begun, done, failed; };

enum operation { OP_NONE, OP_LOCK, OP_TRANSFER, OP_READ, OP_WRITE, OP_SEMAPHORE, OP_POST, OP_COUNT, OP_EVENT, OP_CONDITION,
	OP_BARRIER, OP_ALLOCATE, OP_PUT, OP_TAKE, OP_PUT_ONCE, OP_GET, OP_PIPE, OP_CHILD, OP_FORK, OP_THREAD, OP_EXEC, OP_SAVE,
	OP_RUN_ONCE, OP_LATCH, OP_MAP, OP_MAP_OTHER, OP_MAP_EACH, OP_LOAN, OP_PUT_MANY, OP_GET_MANY, OP_TUBE, OPERATIONS };

/* Outside the family's memory, shared by all: storm_notes(). */
struct notes {
	uint32_t rest;             /* 1: everybody comes to an end */
	uint32_t next_id[2];       /* of messages in each of the queues */
	uint32_t posts, counts;    /* that have returned */
	uint32_t doing[THREADS];   /* enum operation, of each thread that runs */
	uint32_t doubt[OPERATIONS]; /* threads that died inside one */
	uint64_t total[OPERATIONS];
	struct tries key[KEYS];    /* counted up in the map */
	struct tries latch;        /* counts; done: by who owed none */
	uint32_t owed;             /* debts that began */
	uint32_t strangers;        /* values put into the map under keys that come and go */
	uint32_t is_wrong;
	char wrong[256];           /* the first thing that was not as it should be */
	struct fate fate[2][IDS];
};
extern struct notes *notes;

/* In the family's memory. */
struct world {
	struct crew_lock lock;
	uint32_t inside;           /* who is: nobody else may be */
	uint64_t pair[2];          /* equal whenever the lock is free and whole */
	struct crew_lock account_lock[ACCOUNTS];
	int64_t account[ACCOUNTS]; /* sum 0, by undo: always */
	struct crew_rwlock rwlock;
	uint64_t page[8];          /* all equal */
	struct crew_rwlock saved_rwlock;
	uint64_t saved_page[32];   /* all equal, by undo: always */
	struct crew_semaphore semaphore;
	struct crew_counter counter;
	struct crew_event event;
	struct crew_lock turn_lock;
	struct crew_condition turned;
	uint64_t turn;
	struct crew_barrier barrier;
	struct crew_once job;
	uint32_t half, runs;       /* the job is begun; it has been done so often */
	struct crew_latch latch;
	struct crew_map map;
	struct crew_queue leased, once;
	struct way {
		uint32_t in_use;   /* until the audit, if its user is killed: the child may live for a moment yet, and use it */
		struct crew_pipe pipe;
		struct crew_tube tube;
	} way[WAYS];               /* of a thread and its child */
	uint64_t blocks;           /* in the heap, at rest */
};
extern struct world *world;

/* One thread's program: its decisions come from a generator or, one byte each, from `bytes`. */
struct program {
	unsigned thread;
	bool may_start;            /* processes and threads of its own */
	uint64_t random;
	const uint8_t *bytes, *end;
	bool over;                 /* no bytes are left */
};

void notes_create(void);           /* before crew_init */
void world_create(void);           /* after it */
void program_run(struct program *program, unsigned most); /* at most so many operations */

/* A thread has ended, in whatever way, and nobody runs in its place. */
void note_end(unsigned thread);

/* Nobody but the calling process runs: everything is as it must be, and ready for more. False: see notes->wrong. */
bool audit(void);

/* Note the first thing that is wrong. */
void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

struct letter { uint32_t id, size; };
/* A value in the map: text[] is made of the two. Keys that come and go: number is one that was put. */
struct entry { uint32_t key, number; uint8_t text[60]; };
size_t entry_make(struct entry *entry, uint32_t key, uint32_t number); /* its size */
bool entry_is_whole(const struct entry *entry, uint32_t key, size_t size);

#define LETTER_BYTE(id, i) ((uint8_t)((id) * 31 + (i)))

#endif
