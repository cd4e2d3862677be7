#!/bin/sh
# check.sh - libFuzzer runs tests/fuzz/api.c for 30 s. Prints TAP; an input that fails is printed in base64.
# Done with CREW_TEST_LONG (./test --long) alone. From the build: CREW_SOURCE. CREW_FUZZ_SECONDS: how long.
set -u
cd "$CREW_SOURCE" || exit 1
if [ -z "${CREW_TEST_LONG:-}" ]; then
	echo "1..0 # SKIP in ./test --long"
	exit 0
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n); int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return !d && n; }' >"$work/none.c"
if ! clang -fsanitize=fuzzer -o "$work/none" "$work/none.c" 2>/dev/null; then
	echo "ok 1 - fuzz # SKIP clang has no libFuzzer: Debian package libclang-rt-14-dev"
	echo "1..1"
	exit 0
fi
if ! clang -std=gnu17 -D_GNU_SOURCE -DCREW_VERSION='"fuzz"' -O1 -g -fsanitize=fuzzer,undefined -fno-sanitize-recover=undefined \
	-Wl,-z,now -Iinclude -Isrc -Itests -o "$work/api" tests/fuzz/api.c tests/storm/*.c \
	src/*/*.c src/crew.c -pthread >"$work/log" 2>&1; then
	echo "not ok 1 - any_program_with_a_kill_in_it_leaves_all_in_order"
	sed 's/^/#   /' "$work/log" | head -n 20
	echo "1..1"
	exit 1
fi
mkdir "$work/corpus"
(cd "$work" && timeout 600 ./api -max_total_time="${CREW_FUZZ_SECONDS:-30}" -max_len=200 -timeout=60 corpus >log 2>&1)
status=$?
runs=$(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' "$work/log")
if [ $status -eq 0 ]; then
	echo "ok 1 - any_program_with_a_kill_in_it_leaves_all_in_order (${runs:-0} runs)"
else
	echo "not ok 1 - any_program_with_a_kill_in_it_leaves_all_in_order"
	grep -vE '^(#|INFO|    #|	NEW_FUNC)' "$work/log" | head -n 15 | sed 's/^/#   /'
	for input in "$work"/crash-* "$work"/timeout-*; do
		[ -f "$input" ] && echo "#   $(base64 -w0 "$input")"
	done
fi
echo "1..1"
exit $status
