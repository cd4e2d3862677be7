/* scribble.c - the hostile peer of scribble.h for libFuzzer: build-clang/tests/fuzz_scribble [DIRECTORY] -max_total_time=60 */
#include <stdlib.h>
#include "scribble.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (scribble(data, size))
		abort();
	return 0;
}
