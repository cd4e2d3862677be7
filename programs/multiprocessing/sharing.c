/* sharing.c - what processes share: numbers, structures, whole lists */
#include "tour.h"

/* v = Value('q'); a = Array('q', range(16)); with v.get_lock(): v.value += 1; a[i] = -a[i] */
static int negates(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	for (int i = 0; i < 16; i++)
		b->array[i] = -b->array[i];
	__atomic_add_fetch(&b->value, 1, __ATOMIC_SEQ_CST); /* one number needs no lock */
	return 0;
}

static const char *step_value_and_array(void)
{
	for (int i = 0; i < 16; i++)
		board->array[i] = i;
	claim(exitcode(start(negates)) == 0);
	claim(board->value == 1);
	for (int i = 0; i < 16; i++)
		claim(board->array[i] == -i);
	return NULL;
}

/*
 * shm = SharedMemory(create=True, size=...); shm.buf[:5] = b'hello'; shm.unlink()
 * Python shares bytes. Here the child builds a list with pointers, and the parent walks it.
 */
static int builds_a_list(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	for (int64_t i = 10; i > 0; i--) {
		struct link *link;
		if (crew_alloc(sizeof *link, (void **)&link) < 0)
			return 1;
		*link = (struct link){ i, b->list };
		b->list = link;
	}
	return 0;
}

static const char *step_shared_memory(void)
{
	claim(exitcode(start(builds_a_list)) == 0);
	int64_t expected = 1;
	for (struct link *link = board->list, *next; link; link = next) {
		next = link->next;
		claim(link->number == expected++);
		crew_free(link); /* whoever allocated it */
	}
	claim(expected == 11);
	return NULL;
}

/* Manager().Namespace(): any number of readers, one writer; no server process is asked */
static int reads_pairs(void *argument, size_t size)
{
	(void)size;
	struct board *b = argument;
	for (bool more = true; more;) {
		if (crew_rwlock_read(&b->rwlock, SOON) != 0)
			return 1;
		if (b->array[0] != b->array[1])
			return 2; /* half of a change was seen */
		more = b->array[0] < 1000;
		crew_rwlock_release(&b->rwlock);
	}
	return 0;
}

static const char *step_namespace(void)
{
	struct crew_process *p[2] = { start(reads_pairs), start(reads_pairs) };
	for (int i = 1; i <= 1000; i++) {
		claim(crew_rwlock_write(&board->rwlock, SOON) == 0);
		board->array[0]++;
		board->array[1]++;
		crew_rwlock_release(&board->rwlock);
	}
	claim(exitcode(p[0]) == 0 && exitcode(p[1]) == 0);
	return NULL;
}

const struct step tour_sharing[] = {
	{ "numbers in a shared struct",         "Value('q'), Array('q', 16)",              step_value_and_array },
	{ "crew_alloc, pointers and all",       "SharedMemory(create=True)",               step_shared_memory },
	{ "crew_rwlock",                        "Manager().Namespace()",                   step_namespace },
	{ 0 }
};
