#!/usr/bin/env bash
# Installs the real peers the tests talk to: nginx, redis, PostgreSQL, Node with Socket.IO, Python
# with python-socketio and websockets. Quick when everything is there; safe to run twice at once.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
mkdir -p "$target"

exec 9>"${TMPDIR:-/tmp}/ringway-tests-setup.lock"
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
need nginx nginx-light
need redis-server redis-server
need redis-benchmark redis-tools
need psql postgresql-client
need node nodejs
need npm npm
need curl curl
need openssl openssl
need setpriv util-linux
need python3 python3
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)

# Packages that bring a service would start it at once; the tests start their own, on free ports.
install_packages() {
    local policy=/usr/sbin/policy-rc.d made=no
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        made=yes
    fi
    local status=0
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2 || status=$?
    if [ "$made" = yes ]; then as_root rm -f "$policy"; fi
    return "$status"
}

if [ ${#missing[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "tests/setup.sh: not a Debian system; install by hand: ${missing[*]}" >&2
        exit 1
    fi
    echo "tests/setup.sh: installing ${missing[*]}" >&2
    as_root apt-get update -qq </dev/null >&2
    install_packages "${missing[@]}"
fi

# The copy of the lock file beside what was installed from it says whether it is current.
node=$root/tests/node
if ! cmp -s "$node/package-lock.json" "$node/node_modules/.installed-lock"; then
    npm ci --prefix "$node" --no-fund --no-audit --loglevel=error </dev/null >&2
    cp "$node/package-lock.json" "$node/node_modules/.installed-lock"
fi

python=$root/tests/python
if ! cmp -s "$python/requirements.txt" "$target/python/.installed-requirements"; then
    python3 -m venv --clear "$target/python"
    "$target/python/bin/pip" install --quiet --disable-pip-version-check \
        --requirement "$python/requirements.txt" </dev/null >&2
    cp "$python/requirements.txt" "$target/python/.installed-requirements"
fi
