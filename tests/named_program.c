/*
 * named_program.c - named_program NAME: a program that knows another one only by the name of a region (tests/named.c)
 *
 * Until it is told to stop, or killed: a section under the lock, a message put and one got, a block from the heap.
 */
#include <stdbool.h>
#include <string.h>
#include <crew/crew.h>

struct shared { /* as in named.h: nothing but the library's own checks would tell if it were not */
	struct crew_lock lock;
	struct crew_queue queue;
	struct crew_counter counter;
	uint64_t a, b;
	uint32_t stage, stop;
	void *self;
	uint64_t put, got;
};

static int turn(struct shared *s, uint64_t i)
{
	int r = crew_lock_acquire(&s->lock, CREW_FOREVER);
	if (r < 0)
		return r;
	if (s->a != s->b && !(r == CREW_OWNER_DIED && s->a == s->b + 1))
		return -EBADMSG;
	s->b = s->a; /* what a dead one left half done */
	s->a++;
	s->b++;
	crew_lock_repaired(&s->lock);
	crew_lock_release(&s->lock);

	char message[300];
	memset(message, (char)i, sizeof message);
	r = crew_queue_put(&s->queue, message, 1 + i % sizeof message, CREW_FOREVER);
	size_t size;
	if (r == 0)
		r = crew_queue_get(&s->queue, message, sizeof message, &size, CREW_FOREVER);
	for (size_t at = 1; r == 0 && at < size; at++)
		if (message[at] != message[0])
			return -EBADMSG;
	void *block;
	if (r == 0)
		r = crew_alloc(16 + i * 37 % 5000, &block);
	if (r == 0)
		crew_free(block);
	__atomic_fetch_add(&s->put, 1, __ATOMIC_RELAXED);
	return r;
}

int main(int argc, char **argv)
{
	struct shared *s;
	int r = crew_init(&(struct crew_init_options){ .name = argc > 1 ? argv[1] : "", .must_exist = true });
	if (r == 0)
		r = crew_root("shared", sizeof *s, (void **)&s);
	for (uint64_t i = 0; r == 0 && !__atomic_load_n(&s->stop, __ATOMIC_SEQ_CST); i++)
		r = turn(s, i);
	crew_fini();
	return r < 0 ? -r : 0;
}
