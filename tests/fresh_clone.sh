#!/usr/bin/env bash
# What a newcomer does first: clone, `make run`, then curl and a WebSocket client against it. Then
# `make install` and `make deb`, which have nothing left to build, and the package is put to the test.
# Builds in the clone, or in CARGO_TARGET_DIR if that is set. Needs what tests/setup.sh installs.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scratch=$(mktemp -d)
run=
clean_up() {
    # make and the program it runs are one process group, ours alone.
    if [ -n "$run" ]; then kill -TERM -- "-$run" 2>/dev/null || true; fi
    rm -rf "$scratch"
}
trap clean_up EXIT

git clone --quiet "$root" "$scratch/ringway"
log=$scratch/log
setsid make -C "$scratch/ringway" run ARGS='--listen 127.0.0.1:0' >"$log" 2>&1 </dev/null &
run=$!

fail() {
    echo "fresh_clone: $1" >&2
    tail -40 "$log" >&2
    exit 1
}

# The build comes first and takes minutes; the limit is for a machine with two busy cores.
address=
for _ in $(seq 1 6000); do
    if grep -q 'INFO ready' "$log"; then
        address=$(sed -n 's/.*INFO listening .*address=\([0-9.:]*\).*/\1/p' "$log")
        break
    fi
    kill -0 "$run" 2>/dev/null || fail "make run ended"
    sleep 0.1
done
[ -n "$address" ] || fail "never ready"

page=$(curl --silent --show-error --fail --max-time 10 --noproxy '*' "http://$address/") ||
    fail "no page"
grep -qi '<html' <<<"$page" || fail "the page is no page: $page"
servers=$(for _ in 1 2 3 4 5 6 7 8; do
    curl --silent --show-error --fail --max-time 10 --noproxy '*' "http://$address/whoami"
    echo
done | grep . | sort | uniq -c | awk '{ print $1 }' | xargs)
[ "$servers" = "2 2 2 2" ] || fail "eight requests went $servers"
node "$root/tests/node/ws_client.js" "--url=ws://$address/ws" --skip=1 || fail "no WebSocket echo"

kill -TERM -- "-$run"
wait "$run" || true
run=
grep -q 'INFO stopped' "$log" || fail "it did not stop in good order"

# Without cargo at hand: what is there must do.
make -C "$scratch/ringway" install CARGO=false DESTDIR="$scratch/root" >"$log" 2>&1 </dev/null ||
    fail "make install failed, or had to build"
"$scratch/root/usr/local/bin/ringway" check "$scratch/root/etc/ringway/ringway.json" >>"$log" 2>&1 ||
    fail "what is installed does not work"
make -C "$scratch/ringway" deb >"$log" 2>&1 </dev/null || fail "make deb failed"
packages=("${CARGO_TARGET_DIR:-$scratch/ringway/target}"/debian/ringway_*.deb)
[ ${#packages[@]} = 1 ] || fail "more than one package: ${packages[*]}"
"$root/tests/package.sh" "${packages[0]}" "$scratch/root"

echo "fresh_clone: make run serves a page, balances evenly and echoes WebSockets; make install, deb"
