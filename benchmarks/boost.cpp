// boost.cpp - Boost.Interprocess as a rival: a mutex in shared memory
#include "bench.h"

#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <new>

using boost::interprocess::interprocess_mutex;

static const unsigned times = 1000000, each = 200000;

static interprocess_mutex *mutex()
{
	static interprocess_mutex *made;
	if (!made)
		made = new (bench_shared(sizeof *made)) interprocess_mutex;
	return made;
}

static void loop(interprocess_mutex *mutex, unsigned n)
{
	while (n--) {
		mutex->lock();
		mutex->unlock();
	}
}

static void side(void *shared, unsigned)
{
	loop(static_cast<interprocess_mutex *>(shared), each);
}

extern "C" double boost_mutex(void)
{
	interprocess_mutex *made = mutex();
	crew_time from = crew_now();
	loop(made, times);
	return per_one(from, times);
}

extern "C" double boost_mutex_two(void)
{
	return bench_two(side, side, mutex()) / (2 * each);
}
