/* error.c - names and texts of results, from the one list in crew/error.h */
#include <string.h>
#include <crew/error.h>

const char *crew_strerror(int result)
{
	switch (result) {
#define X(code, name, text) case code: return text;
	CREW_ERROR_MAP(X)
#undef X
	}
	const char *text = result < 0 ? strerrordesc_np(-result) : NULL;
	return text ? text : "unknown result";
}

const char *crew_errname(int result)
{
	switch (result) {
#define X(code, name, text) case code: return name;
	CREW_ERROR_MAP(X)
#undef X
	}
	const char *name = result < 0 ? strerrorname_np(-result) : NULL;
	return name ? name : "UNKNOWN";
}
