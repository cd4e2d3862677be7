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

# Every test that tests/behaviours.md names is there.
behaviours_are_tested()
{
	missing=$(awk -F'|' '/^\|/ { print $4 }' tests/behaviours.md | grep -o '`[a-z0-9]*_[a-z_0-9]*`' | tr -d '`' | grep -v '^crew_' | sort -u |
		while read -r name; do grep -qE "(TEST\(|\")$name[,)\"]" tests/*.c || echo "no test $name"; done)
	echo "$missing"
	[ -z "$missing" ]
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

# ./run NAME keeps directory and stdin, and says nothing itself; an unknown name is one line and 2.
run_keeps_to_its_word()
{
	stray=$(mktemp -d) && cd "$stray" || return
	printed=$("$CREW_SOURCE/run" hello --version </dev/null) && [ "${printed% *}" = 'hello (crew)' ] ||
		{ echo "run hello --version: $printed"; return 1; }
	printed=$(echo here | "$CREW_SOURCE/run" do_something -- cp /dev/null {} && echo *) && [ "$printed" = here ] ||
		{ echo "run do_something does not keep directory and stdin: $printed"; return 1; }
	cd "$CREW_SOURCE" && rm -r "$stray"
	printed=$("$CREW_SOURCE/run" nobody 2>&1)
	[ $? = 2 ] && [ "$(echo "$printed" | wc -l)" = 1 ] || { echo "run nobody: $printed"; return 1; }
}

# Without root and sudo, what is missing is told as a command to type.
run_tells_what_to_install()
{
	command -v sudo >/dev/null && { echo "sudo is here"; return 77; }
	fake=$(mktemp -d) || return
	printf '#!/bin/sh\nexit 1\n' >"$fake/dpkg-query"
	printf '#!/bin/sh\necho 1000\n' >"$fake/id"
	chmod +x "$fake/dpkg-query" "$fake/id"
	printed=$(PATH=$fake:$PATH ./run hello --version 2>&1)
	status=$?
	rm -r "$fake"
	echo "$printed"
	[ $status = 3 ] && echo "$printed" | grep -q '^apt-get install .*gcc .*ninja-build'
}

claim harness_sees_leaks harness_sees_leaks
claim behaviours_are_tested behaviours_are_tested
claim checks_see_breaches checks_see_breaches
claim layers_use_only_those_below tools/check-layers "$CREW_BUILD"
claim headers_stand_alone tools/check-headers
claim exports_agree tools/check-exports "$CREW_BUILD"
claim readme_is_true tools/check-readme "$CREW_BUILD"
claim install_is_complete tools/check-install "$CREW_BUILD"
claim run_keeps_to_its_word run_keeps_to_its_word
claim run_tells_what_to_install run_tells_what_to_install

echo "1..$number"
exit $failed
