#!/bin/sh
# house.sh - the structure of the project, and whether the harness itself can fail. Prints TAP.
# From the build: CREW_SOURCE, CREW_BUILD.
set -u
cd "$CREW_SOURCE" || exit 1
number=0
failed=0

# claim NAME COMMAND...: what the command says is shown if it fails; status 77 means skipped.
claim()
{
	name=$1
	shift
	number=$((number + 1))
	output=$("$@" 2>&1)
	case $? in
	0) echo "ok $number - $name" ;;
	77) echo "ok $number - $name # SKIP $(echo "$output" | tail -n 1)" ;;
	*)
		echo "not ok $number - $name"
		echo "$output" | sed 's/^/#   /'
		failed=1 ;;
	esac
}

# Every test of tests/leaky.c leaves something behind, so every one must fail.
harness_sees_leaks()
{
	leaky=$(timeout 60 "$CREW_BUILD/tests/leaky")
	rm -f /dev/shm/crew-left-* /tmp/crew-left-* # seen, then left, where the suite has no own /tmp
	echo "$leaky"
	[ "$(echo "$leaky" | grep -c '^not ok')" = "$(grep -c '^TEST(' tests/leaky.c)" ]
}

# Each check refuses a copy of the project in which one thing is wrong.
checks_see_breaches()
{
	copy=$(mktemp -d) || return
	cp -r include src programs tools crew.map "$copy" && cd "$copy" || return
	echo '#include "pool/none.h"' >>src/base/time.c
	echo 'size_t missing_include(void);' >include/crew/none.h
	sed -i 's/^\tcrew_now;$/\tcrew_then;/' crew.map
	printf '```c\n#include <stdio.h>\nint main(void) { puts("1"); }\n```\n```\n2\n```\n' >README.md
	blind=$(
		tools/check-layers "$CREW_BUILD" | grep -qF pool/none.h || echo check-layers is blind
		tools/check-headers | grep -qF size_t || echo check-headers is blind
		tools/check-exports "$CREW_BUILD" | grep -q crew_then || echo check-exports is blind
		tools/check-readme "$CREW_BUILD" | grep -q 'something else' || echo check-readme is blind
	)
	cd "$CREW_SOURCE" && rm -rf "$copy"
	echo "$blind"
	[ -z "$blind" ]
}

claim harness_sees_leaks harness_sees_leaks
claim checks_see_breaches checks_see_breaches
claim layers_use_only_those_below tools/check-layers "$CREW_BUILD"
claim headers_stand_alone tools/check-headers
claim exports_agree tools/check-exports "$CREW_BUILD"
claim readme_is_true tools/check-readme "$CREW_BUILD"
claim install_is_complete tools/check-install "$CREW_BUILD"

echo "1..$number"
exit $failed
