# Sourced by the scripts that install what tests and benchmarks need: `need PROGRAM PACKAGE` for
# each, then `install_missing`. Quick when everything is there; safe to run twice at once; leaves no
# service running.

exec 9>"${TMPDIR:-/tmp}/ringway-setup.lock"
flock 9

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# The program that proves a package is there, and the package.
missing=()
need() {
    local program=$1 package=$2
    [ -x "/usr/sbin/$program" ] || command -v "$program" >/dev/null || missing+=("$package")
}

install_missing() {
    if [ ${#missing[@]} = 0 ]; then return 0; fi
    if ! command -v apt-get >/dev/null; then
        echo "$0: not a Debian system; install by hand: ${missing[*]}" >&2
        return 1
    fi
    echo "$0: installing ${missing[*]}" >&2
    as_root apt-get update -qq </dev/null >&2
    # Packages that bring a service would start it at once; ours are started on free ports.
    local policy=/usr/sbin/policy-rc.d made=no status=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        made=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >&2 || status=$?
    if [ "$made" = yes ]; then as_root rm -f "$policy"; fi
    return "$status"
}
