#!/usr/bin/env bash
# Installs what `make bench` compares ringway with and loads it by: nginx with its stream module,
# HAProxy, wrk.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../tests/packages.sh"

need nginx nginx-light
need haproxy haproxy
need wrk wrk
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing+=(libnginx-mod-stream)
install_missing
