# Sourced by ./run, ./test and ./bench, which set $top: install what is missing, build quietly.
# All it says goes to stderr.

say() { echo "${0##*/}: $*" >&2; }

# The names in the list of packages.
packages() { sed 's/[[:space:]]*#.*//; /^$/d' "$top/packages"; }

# Install the packages that are missing; exit 3 if that is not in our power.
install_packages()
{
	installed=
	command -v dpkg-query >/dev/null || return 0 # not Debian: the build says what it misses
	missing=$(for p in $(packages); do
		case $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null) in
		installed) ;;
		*) echo "$p" ;;
		esac
	done | tr '\n' ' ')
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" = 0 ]; then
		as_root='env'
	elif command -v sudo >/dev/null; then
		as_root='sudo'
	else
		say "packages are missing, and neither root nor sudo is here to install them; as root run"
		echo "apt-get install --no-install-recommends $missing" >&2
		exit 3
	fi
	say "installing $missing"
	log=$(mktemp)
	if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive \
			apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 $missing
			} </dev/null >"$log" 2>&1; then
		tail -n 40 "$log" >&2
		rm -f "$log"
		say "apt-get failed; the packages are: $missing"
		exit 3
	fi
	rm -f "$log"
	installed=yes
}

# build DIR [MESON-SETUP-ARGS...]: one build at a time in this checkout, told only if it fails.
build()
{
	dir=$1
	shift
	if ! build_log=$(
		exec 9<"$top" 2>&1 </dev/null
		flock 9
		cd "$top" || exit
		if [ ! -f "$dir/build.ninja" ]; then
			meson setup "$@" "$dir" 9<&- || exit
		elif [ -n "$installed" ]; then
			meson setup --reconfigure --clearcache "$@" "$dir" 9<&- || exit
		fi
		ninja -C "$dir" 9<&-
	); then
		printf '%s\n' "$build_log" | grep -v '^\[[0-9/]*\]' | tail -n 60 >&2
		say "building $dir failed"
		exit 1
	fi
}
