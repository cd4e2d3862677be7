/* openmp.c - see openmp.h. Chunks are taken as they come, as crew's workers take theirs. */
#include "openmp.h"

#ifndef _OPENMP
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#endif

bool openmp_is_here(void)
{
#ifdef _OPENMP
	return true;
#else
	return false;
#endif
}

static size_t chunk_end(size_t begin, size_t grain, size_t end)
{
	return end - begin < grain ? end : begin + grain;
}

void openmp_for(size_t end, size_t grain, unsigned threads, crew_for_fn *body, void *context)
{
	(void)threads; /* unused by a compiler without OpenMP */
#pragma omp parallel for schedule(dynamic) num_threads((int)threads)
	for (size_t begin = 0; begin < end; begin += grain)
		body(begin, chunk_end(begin, grain, end), context);
}

uint64_t openmp_sum(size_t end, size_t grain, unsigned threads, crew_reduce_fn *body, void *context)
{
	uint64_t sum = 0;
	(void)threads;
#pragma omp parallel for schedule(dynamic) num_threads((int)threads) reduction(+ : sum)
	for (size_t begin = 0; begin < end; begin += grain) {
		uint64_t part = 0;
		body(begin, chunk_end(begin, grain, end), &part, context);
		sum += part;
	}
	return sum;
}
