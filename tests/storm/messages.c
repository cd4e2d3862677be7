/* messages.c - queues; see operation.h */
#include <string.h>
#include "storm/operation.h"

enum { TEXT = 4096 + sizeof(struct letter) };

/* A letter with an id of its own: its size, or 0: there are no more ids. */
static size_t letter_make(struct program *p, unsigned which, uint8_t *text, uint32_t most, struct fate **ret)
{
	uint32_t id = __atomic_fetch_add(&notes->next_id[which], 1, __ATOMIC_RELAXED);
	if (id >= IDS)
		return 0;
	struct letter letter = { id, draw(p, 8) ? draw(p, 64) : draw(p, 256) * 16 };
	if (letter.size > most - sizeof letter)
		letter.size = (uint32_t)(most - sizeof letter);
	memcpy(text, &letter, sizeof letter);
	for (uint32_t i = 0; i < letter.size; i++)
		text[sizeof letter + i] = LETTER_BYTE(id, i);
	*ret = &notes->fate[which][id];
	__atomic_store_n(&(*ret)->put, TRYING, __ATOMIC_RELEASE);
	return sizeof letter + letter.size;
}

static void put(struct program *p, unsigned which, struct crew_queue *queue)
{
	uint8_t text[TEXT];
	struct fate *fate;
	size_t size = letter_make(p, which, text, TEXT, &fate);
	if (!size)
		return;
	int r = crew_queue_put(queue, text, size, deadline(p));
	__atomic_store_n(&fate->put, r == 0 ? DID : FAILED, __ATOMIC_RELEASE);
	expect("put", r, -ETIMEDOUT, 0);
}

/* In place; sometimes it is given back, or goes with its thread. */
void do_loan(struct program *p)
{
	unsigned which = draw(p, 2);
	struct crew_queue *queue = which ? &world->once : &world->leased;
	struct crew_loan loan;
	struct fate *fate = NULL;
	if (!expect("loan", crew_queue_loan(queue, draw(p, 2) ? TEXT : 200, &loan), 0, 0))
		return;
	loan.size = letter_make(p, which, loan.data, (uint32_t)loan.size, &fate);
	linger(p);
	unsigned end = loan.size ? draw(p, 8) : 0;
	if (end == 1 && p->thread >= THREADS / 2) {
		__atomic_store_n(&fate->put, FAILED, __ATOMIC_RELEASE);
		return;
	}
	int r = end ? crew_queue_publish(queue, &loan, deadline(p)) : -ECANCELED;
	if (fate)
		__atomic_store_n(&fate->put, r == 0 ? DID : FAILED, __ATOMIC_RELEASE);
	if (end)
		expect("publish", r, -ETIMEDOUT, 0);
	if (r != 0)
		expect("drop", crew_queue_drop_loan(queue, &loan), 0, 0);
}

/* All or none. Their ids follow each other. */
void do_put_many(struct program *p)
{
	uint8_t text[MANY][100];
	struct iovec messages[MANY];
	unsigned which = draw(p, 2), count = 2 + draw(p, MANY - 1);
	uint32_t first = __atomic_fetch_add(&notes->next_id[which], count, __ATOMIC_RELAXED);
	if (first >= IDS - MANY)
		return;
	struct fate *fate = &notes->fate[which][first];
	for (uint32_t i = 0; i < count; i++) {
		struct letter letter = { first + i, draw(p, 8) ? draw(p, 8) : draw(p, 92) };
		memcpy(text[i], &letter, sizeof letter);
		for (uint32_t k = 0; k < letter.size; k++)
			text[i][sizeof letter + k] = LETTER_BYTE(letter.id, k);
		messages[i] = (struct iovec){ text[i], sizeof letter + letter.size };
		__atomic_store_n(&fate[i].more, (uint8_t)(count - 1 - i), __ATOMIC_RELEASE);
		__atomic_store_n(&fate[i].put, TRYING, __ATOMIC_RELEASE);
	}
	int r = crew_queue_put_many(which ? &world->once : &world->leased, messages, count, deadline(p));
	for (uint32_t i = 0; i < count; i++)
		__atomic_store_n(&fate[i].put, r == 0 ? DID : FAILED, __ATOMIC_RELEASE);
	expect("put_many", r, -ETIMEDOUT, 0);
}

static struct fate *check_letter(unsigned which, const void *data, size_t size)
{
	struct letter letter;
	const uint8_t *text = data;
	memcpy(&letter, text, sizeof letter);
	if (size < sizeof letter || size != sizeof letter + letter.size || letter.id >= IDS) {
		wrong("queue %u: a torn message of %zu bytes", which, size);
		return NULL;
	}
	for (uint32_t i = 0; i < letter.size; i++)
		if (text[sizeof letter + i] != LETTER_BYTE(letter.id, i)) {
			wrong("queue %u: message %u is torn", which, letter.id);
			return NULL;
		}
	return &notes->fate[which][letter.id];
}

void do_put(struct program *p) { put(p, 0, &world->leased); }
void do_put_once(struct program *p) { put(p, 1, &world->once); }

void do_take(struct program *p)
{
	struct crew_message message;
	int r = crew_queue_take(&world->leased, &message, deadline(p));
	if (!expect("take", r, -ETIMEDOUT, 0))
		return;
	struct fate *fate = check_letter(0, message.data, message.size);
	if (!fate)
		return;
	unsigned earlier = __atomic_fetch_add(&fate->takes, 1, __ATOMIC_SEQ_CST);
	unsigned allowed = message.attempt - 1 + __atomic_load_n(&fate->returns, __ATOMIC_SEQ_CST);
	if (earlier > allowed || __atomic_load_n(&fate->done, __ATOMIC_SEQ_CST) == DID)
		wrong("take: message %ld is taken again, attempt %u, after %u takes, %u returns, done %u",
			(long)(fate - notes->fate[0]), message.attempt, earlier, fate->returns, fate->done);
	linger(p);
	switch (draw(p, 8)) {
	case 0:
		__atomic_fetch_add(&fate->returns, 1, __ATOMIC_SEQ_CST);
		expect("return", crew_queue_return(&world->leased, &message), 0, 0);
		break;
	case 1: /* kept until the thread ends */
		if (p->thread >= THREADS / 2)
			break;
		__attribute__((fallthrough));
	default:
		__atomic_store_n(&fate->done, TRYING, __ATOMIC_SEQ_CST);
		if (expect("done", crew_queue_done(&world->leased, &message), 0, 0))
			__atomic_store_n(&fate->done, DID, __ATOMIC_SEQ_CST);
	}
}

static void got_letter(const void *text, size_t size)
{
	struct fate *fate = check_letter(1, text, size);
	if (fate && __atomic_fetch_add(&fate->got, 1, __ATOMIC_SEQ_CST) > 0)
		wrong("get: message %ld came twice", (long)(fate - notes->fate[1]));
}

void do_get(struct program *p)
{
	uint8_t text[TEXT];
	size_t size;
	if (expect("get", crew_queue_get(&world->once, text, sizeof text, &size, deadline(p)), -ETIMEDOUT, 0))
		got_letter(text, size);
}

void do_get_many(struct program *p)
{
	uint8_t text[MANY][TEXT];
	struct iovec rooms[MANY];
	unsigned got;
	for (unsigned i = 0; i < MANY; i++)
		rooms[i] = (struct iovec){ text[i], TEXT };
	if (expect("get_many", crew_queue_get_many(&world->once, rooms, 1 + draw(p, MANY), &got, deadline(p)), -ETIMEDOUT, 0))
		for (unsigned i = 0; i < got; i++)
			got_letter(text[i], rooms[i].iov_len);
}
