// boost_queue.cpp - Boost.Interprocess as a rival: message_queue
#include "bench.h"

#include <boost/interprocess/ipc/message_queue.hpp>
#include <string>
#include <unistd.h>

using namespace boost::interprocess;

namespace {
struct setup { char name[64]; unsigned times; size_t size; };

void put(void *shared, unsigned)
{
	setup *s = static_cast<setup *>(shared);
	static char bytes[1024];
	message_queue queue(open_only, s->name);
	for (unsigned i = 0; i < s->times; i++)
		queue.send(bytes, s->size, 0);
}

void get(void *shared, unsigned)
{
	setup *s = static_cast<setup *>(shared);
	static char bytes[1024];
	message_queue queue(open_only, s->name);
	message_queue::size_type size;
	unsigned priority;
	for (unsigned i = 0; i < s->times; i++)
		queue.receive(bytes, s->size, size, priority);
}

double run(size_t size, unsigned times)
{
	static setup *s;
	if (!s)
		s = static_cast<setup *>(bench_shared(sizeof *s));
	snprintf(s->name, sizeof s->name, "crew-bench-%d", static_cast<int>(getpid()));
	s->times = times;
	s->size = size;
	message_queue::remove(s->name);
	message_queue queue(create_only, s->name, 1024, size);
	double seconds = bench_two(put, get, s) / times;
	message_queue::remove(s->name);
	return seconds;
}
}

extern "C" double boost_queue_8(void) { return run(8, 100000); }
extern "C" double boost_queue_1024(void) { return run(1024, 50000); }
