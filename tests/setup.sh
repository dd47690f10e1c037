#!/usr/bin/env bash
# Installs the real peers the tests talk to: nginx, HAProxy, redis, PostgreSQL, Node with Socket.IO,
# Python with python-socketio and websockets, Chromium. Quick when everything is there; safe to run
# twice at once.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
mkdir -p "$target"

. "$root/tests/packages.sh"

need nginx nginx-light
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing+=(libnginx-mod-stream)
need haproxy haproxy
need redis-server redis-server
need redis-benchmark redis-tools
need psql postgresql-client
need node nodejs
need npm npm
need chromium chromium
need promtool prometheus
need curl curl
need openssl openssl
need setpriv util-linux
need ip iproute2
need python3 python3
need systemd-socket-activate systemd
need man man-db
need pgrep procps
need logrotate logrotate
need bash bash
need zsh zsh
need fish fish
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)

install_missing

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
