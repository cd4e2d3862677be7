#!/bin/sh
# check.sh - every model in this directory: spin goes through all its states and finds nothing wrong; with -DFAULT, it does. Prints TAP.
# It takes minutes, so it is done with CREW_TEST_LONG (./test --long) alone. From the build: CREW_SOURCE.
set -u
cd "$CREW_SOURCE/tests/models" || exit 1
number=0
failed=0

# explore MODEL STORE LIMIT OPTION...: prints what pan says. STORE: how it keeps the states it has seen; LIMIT: for pan.
explore()
{
	model=$1 store=$2 limit=$3
	shift 3
	(cd "$work" && spin -a "$@" "$model.pml" && gcc -O2 -w -DSAFETY -DVECTORSZ=2048 $store -o pan pan.c && ./pan -m100000 $limit) 2>&1
}

# explore_all MODEL TITLE STORE LIMIT OPTION...
explore_all()
{
	model=$1 title=$2
	shift 2
	explore "$model" "$@" >"$work/log"
	states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$work/log")
	if grep -q 'errors: 0' "$work/log"; then
		tell ok "${model}_${title}_among_$states" "$work/log"
	else
		tell "not ok" "${model}_$title" "$work/log"
	fi
}

# tell RESULT TEXT LOG
tell()
{
	number=$((number + 1))
	echo "$1 $number - $2"
	[ "$1" = ok ] && return
	failed=1
	tail -n 20 "$3" | sed 's/^/#   /'
}

if [ -z "${CREW_TEST_LONG:-}" ]; then
	echo "1..0 # SKIP in ./test --long"
	exit 0
fi
if ! command -v spin >/dev/null; then
	echo "ok 1 - models # SKIP there is no spin: Debian package spin"
	echo "1..1"
	exit 0
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cp ./*.pml common.h "$work"
for model in *.pml; do
	model=${model%.pml}
	if [ "$model" = queue ]; then # too many states for two kills: all for one, and for two as many as 3 minutes allow
		explore_all queue has_no_wrong_state -DCOLLAPSE -Q20 -DKILLS=1
		explore_all queue killed_twice_has_no_wrong_state -DBITSTATE "-w30 -Q3" -DKILLS=2
	else
		explore_all "$model" has_no_wrong_state -DCOLLAPSE -Q20
	fi
	explore "$model" -DCOLLAPSE -Q5 -DFAULT >"$work/log"
	if grep -q 'errors: 1' "$work/log"; then
		tell ok "${model}_with_a_fault_is_found_out" "$work/log"
	else
		tell "not ok" "${model}_with_a_fault_is_found_out" "$work/log"
	fi
done
echo "1..$number"
exit $failed
