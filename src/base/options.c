/* options.c - option structs of callers built against another version of crew */
#include <string.h>
#include "base/sys.h"

int crew__options(void *ret, size_t size, const void *options, size_t options_size)
{
	memset(ret, 0, size);
	if (!options)
		return 0;
	memcpy(ret, options, options_size < size ? options_size : size);
	const unsigned char *bytes = options;
	for (size_t i = size; i < options_size; i++)
		if (bytes[i])
			return -EINVAL; /* it asks for something that this library does not know */
	return 0;
}
