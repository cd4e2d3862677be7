/* class.c - the table of block sizes: a process's own copy, the same in all */
#include <assert.h>
#include "memory/class.h"

struct crew__class crew__classes[CLASSES];

static uint32_t size_of(uint32_t class)
{
	uint32_t step = class % 4, doubling = class / 4;
	uint32_t size = (UINT32_C(32) << doubling) + (step * (UINT32_C(8) << doubling));
	return (size + 15) & ~UINT32_C(15);
}

/* Blocks begin at a multiple of the largest power of two in their size, up to a page, so that they are aligned to that. */
static void lay_out(struct crew__class *class)
{
	uint32_t bytes = class->run * (uint32_t)SPAN_BYTES, natural = class->size & -class->size;
	uint32_t alignment = natural > 4096 ? 4096 : natural;
	for (class->count = bytes / (class->size + 8);; class->count--) {
		class->start = (class->count * 8 + alignment - 1) & ~(alignment - 1);
		if (class->start + class->count * class->size <= bytes)
			break;
	}
}

void crew__classes_init(void)
{
	static_assert(CLASSES == 4 * 10 + 1, "up to 32 << 10");
	for (uint32_t i = 0; i < CLASSES; i++) {
		struct crew__class *class = &crew__classes[i];
		class->size = size_of(i);
		class->run = class->size <= 4096 ? 1 : 4;
		class->inverse = (uint32_t)((UINT64_C(1) << 32) / class->size + 1);
		lay_out(class);
	}
}
