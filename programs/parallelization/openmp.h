/* openmp.h - the rival: the same loops run by the threads of OpenMP, where the compiler has it */
#ifndef OPENMP_H
#define OPENMP_H

#include <crew/parallel.h>

/* Whether this was compiled with OpenMP; without, the calls below use one thread. */
bool openmp_is_here(void);

/* crew_for() and crew_reduce() of sums, over chunks of `grain`, by so many threads. */
void openmp_for(size_t end, size_t grain, unsigned threads, crew_for_fn *body, void *context);
uint64_t openmp_sum(size_t end, size_t grain, unsigned threads, crew_reduce_fn *body, void *context);

#endif
