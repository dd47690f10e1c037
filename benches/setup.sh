#!/usr/bin/env bash
# Installs what `make bench` compares ringway with and loads it by: nginx with its stream module,
# HAProxy, wrk. Quick when everything is there; safe to run twice at once; leaves no service
# running.
set -euo pipefail

exec 9>"${TMPDIR:-/tmp}/ringway-tests-setup.lock"
flock 9

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing=()
need() {
    local program=$1 package=$2
    [ -x "/usr/sbin/$program" ] || command -v "$program" >/dev/null || missing+=("$package")
}
need nginx nginx-light
need haproxy haproxy
need wrk wrk
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing+=(libnginx-mod-stream)
if [ ${#missing[@]} = 0 ]; then exit 0; fi

if ! command -v apt-get >/dev/null; then
    echo "benches/setup.sh: not a Debian system; install by hand: ${missing[*]}" >&2
    exit 1
fi
echo "benches/setup.sh: installing ${missing[*]}" >&2
as_root apt-get update -qq </dev/null >&2

# Packages that bring a service would start it at once; the benchmark starts its own.
policy=/usr/sbin/policy-rc.d
made=no
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    made=yes
fi
status=0
as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >&2 || status=$?
if [ "$made" = yes ]; then as_root rm -f "$policy"; fi
exit "$status"
