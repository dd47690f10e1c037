#!/usr/bin/env bash
# A Debian package as its users meet it: installed, started by a real systemd, reloaded, watched,
# activated by its socket, removed and purged without a trace. Then what `make install` has put into
# a folder, in the same way. Nothing of it touches this host: it all happens in namespaces, over a
# copy-on-write view of / (unshare(1), overlayfs). Needs root.
set -euo pipefail

if [ $# != 2 ]; then
    echo "usage: $0 PACKAGE.deb FOLDER" >&2
    exit 2
fi
package=$(realpath "$1")
if [ "$(id -u)" != 0 ]; then
    echo "package: left out, needs root" >&2
    exit 0
fi

scratch=$(mktemp -d)
# A control group for systemd to be the root of.
hierarchy=/sys/fs/cgroup
if [ -d /sys/fs/cgroup/unified ]; then hierarchy=/sys/fs/cgroup/unified; fi
group=$hierarchy/ringway-package-$$
init=
clean_up() {
    # The first process of a pid namespace takes all others along.
    if [ -n "$init" ]; then kill -KILL "$init" 2>/dev/null || true; fi
    wait 2>/dev/null || true
    for _ in $(seq 50); do
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
        if [ ! -e "$group" ]; then break; fi
        sleep 0.1
    done
    rm -rf "$scratch"
}
trap clean_up EXIT

fail() {
    tail -60 "$scratch/log" >&2 || true
    echo "package: $1" >&2
    exit 1
}

cat >"$scratch/init" <<'INIT'
set -euo pipefail
cd "$1"
mount --make-rprivate /
mount -t tmpfs tmpfs over
mkdir over/upper over/work over/root
root=$1/over/root
mount -t overlay overlay -o "lowerdir=/,upperdir=over/upper,workdir=over/work" "$root"
mount -t proc proc "$root/proc"
# Settings of this kernel are not for this systemd to change.
mount --bind -o ro "$root/proc/sys" "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for folder in run tmp dev; do mount -t tmpfs tmpfs "$root/$folder"; done
cp --archive /dev/{null,zero,full,random,urandom,tty} "$root/dev/"
mkdir "$root/dev/shm" "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/package"
cp -r package.deb installed inside "$root/package/"
# Nothing of this host's is started there.
rm -rf "$root"/etc/systemd/system/*.wants "$root/usr/sbin/policy-rc.d"
printf '[Unit]\nWants=dbus.socket\n' >"$root/etc/systemd/system/package.target"
ip link set lo up
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    chroot "$root" /lib/systemd/systemd --unit=package.target --show-status=no --log-target=null
INIT
cp "$package" "$scratch/package.deb"
cp -r "$2" "$scratch/installed"
mkdir "$scratch/over"

cat >"$scratch/inside" <<'INSIDE'
set -euo pipefail
fail() {
    journalctl --no-pager --unit ringway.service | tail -20 >&2
    echo "inside: $1" >&2
    exit 1
}
# Where packages and services leave things, but for what changes by itself.
everything() {
    find /etc /usr /var -xdev \( -path '/etc/*-' -o -path /etc/machine-id -o -path /var/cache \
        -o -path /var/log/journal -o -path /var/lib/systemd -o -path '/var/lib/dpkg/*-old' \) -prune \
        -o -print | sort
}
property() { systemctl show ringway.service --value --property "$1"; }
said() { journalctl --no-pager --output cat --unit ringway.service; }
# Looks again until it is so: the journal and systemd hear a little later.
eventually() {
    for _ in $(seq 300); do
        if "$@"; then return 0; fi
        sleep 0.1
    done
    fail "never came: $*"
}
has_said() { grep -q -- "$1" <(said); }
status() { curl --silent --max-time 10 --output /dev/null --write-out '%{http_code}' "$@" || true; }
is_503() { [ "$(status "$@")" = 503 ]; }

everything >/package/before
# It is started more often here than systemd has patience for (StartLimitBurst=).
mkdir -p /run/systemd/system/ringway.service.d
printf '[Unit]\nStartLimitIntervalSec=0\n' >/run/systemd/system/ringway.service.d/often.conf
dpkg --install /package/package.deb >/dev/null

# It runs, as its user, confined, on io_uring, and has said so to systemd.
[ "$(property ActiveState)" = active ] || fail "not started"
[ "$(property UnitFileState)" = enabled ] || fail "not enabled"
[ "$(property StatusText)" = "serving: 0 sessions, 2 of 2 servers up" ] || fail "no status"
[ "$(systemctl is-enabled ringway.socket || true)" = disabled ] || fail "the socket is enabled"
eventually has_said 'confined user=ringway capabilities=cap_net_bind_service'
has_said 'landlock=abi.* seccomp=on' || fail "its own sandbox is not whole"
has_said 'ready .*engine="io_uring"' || fail "io_uring is refused"
example=(--unix-socket /run/ringway/example.sock http://example/)
is_503 "${example[@]}" || fail "the example does not answer"
admin=/run/ringway/admin.sock
[ "$(curl --silent --unix-socket $admin http://ringway/readyz)" = ready ] || fail "no admin API"
[ "$(stat --format '%U %G %a' $admin)" = "ringway ringway 660" ] || fail "anybody is its admin"
ringway check /etc/ringway/ringway.json | grep -q '^ok: ' || fail "the example is wrong"
# Images for containers may leave out what nobody reads there (dpkg.cfg(5)).
grep -qrs '^path-exclude.*/man' /etc/dpkg/dpkg.cfg.d || man --path ringway-run ringway.json >/dev/null ||
    fail "no manual"

# A wrong file never reaches it; a right one does, with a low port.
file=/etc/ringway/ringway.json
cp $file /package/example.json
echo '{}' >$file
if systemctl reload ringway.service 2>/dev/null; then fail "a wrong file was reloaded"; fi
has_said 'listeners: ' || fail "what is wrong was not said"
is_503 "${example[@]}" || fail "it went away with a wrong file"
sed 's|unix:/run/ringway/example.sock|127.0.0.1:80|' /package/example.json >$file
systemctl reload ringway.service
eventually is_503 http://127.0.0.1/
pid=$(property MainPID)
[ "$(property ActiveState)" = active ] || fail "not active after a reload"

# Its access log is rotated, and goes on in a new file.
logs=/var/log/ringway
log='"access_log": {"to": "/var/log/ringway/access.log"}, "listeners"'
sed "s|\"listeners\"|$log|; s|unix:/run/ringway/example.sock|127.0.0.1:80|" /package/example.json >$file
systemctl restart ringway.service
has_lines() { [ -s "$1" ]; }
is_503 http://127.0.0.1/
eventually has_lines $logs/access.log
logrotate --force --state /package/rotated /etc/logrotate.d/ringway
has_lines $logs/access.log.1 || fail "not rotated"
eventually test -e $logs/access.log
is_503 http://127.0.0.1/
eventually has_lines $logs/access.log
[ "$(stat --format '%U %a' $logs)" = "ringway 750" ] || fail "its logs are open to all"
pid=$(property MainPID)

# systemd starts it anew when it hangs.
printf '[Service]\nWatchdogSec=2s\n' >/run/systemd/system/ringway.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart ringway.service
[ "$(property MainPID)" != "$pid" ] || fail "not restarted"
pid=$(property MainPID)
kill -STOP "$pid"
is_another() { [ "$(property MainPID)" != "$pid" ] && [ "$(property ActiveState)" = active ]; }
eventually is_another
eventually is_503 http://127.0.0.1/
rm /run/systemd/system/ringway.service.d/watchdog.conf
systemctl daemon-reload

# With its socket, clients are never refused, even when it restarts.
sed 's|unix:/run/ringway/example.sock|systemd:web|' /package/example.json >$file
systemctl stop ringway.service
systemctl start ringway.socket
is_503 http://127.0.0.1/ || fail "its socket did not start it"
systemctl restart ringway.service &
for _ in $(seq 20); do is_503 http://127.0.0.1/ || fail "refused while it restarts"; done
wait
is_503 'http://[::1]/' || fail "not on IPv6"

# The configuration stays until the package is purged, and then nothing does.
dpkg --remove ringway >/dev/null
[ -e $file ] || fail "the configuration went with the package"
[ ! -e /usr/bin/ringway ] || fail "the program is still there"
if status http://127.0.0.1/ | grep -q 503; then fail "it still runs"; fi
dpkg --purge ringway >/dev/null
if getent passwd ringway || getent group ringway; then fail "its user is still there"; fi
everything >/package/after
diff /package/before /package/after || fail "something was left behind, or is gone"

# From the source: the commands of the README.
systemctl stop ringway.socket 2>/dev/null || true
cp -r /package/installed/. /
systemd-sysusers 2>/dev/null && systemctl daemon-reload
systemctl enable --now ringway 2>/dev/null
[ "$(property StatusText)" = "serving: 0 sessions, 2 of 2 servers up" ] || fail "no status"
is_503 "${example[@]}" || fail "the example does not answer"
systemctl disable --now ringway 2>/dev/null
[ "$(property Result)" = success ] || fail "it did not end well"
INSIDE

mkdir "$group"
(
    echo "$BASHPID" >"$group/cgroup.procs"
    exec unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child \
        bash "$scratch/init" "$scratch" >"$scratch/log" 2>&1 </dev/null
) &
unshared=$!
for _ in $(seq 300); do
    kill -0 "$unshared" 2>/dev/null || fail "no namespaces here, or no systemd in them"
    init=$(pgrep --parent "$unshared" || true)
    inside=(nsenter --target "${init:-0}" --mount --pid --ipc --net --uts --cgroup --root --wd)
    state=$("${inside[@]}" systemctl is-system-running 2>/dev/null || true)
    if [[ $state =~ running|degraded ]]; then break; fi
    sleep 0.1
done
[[ $state =~ running|degraded ]] || fail "systemd did not start"
timeout --kill-after=5 150 "${inside[@]}" bash /package/inside >"$scratch/log" 2>&1 </dev/null ||
    fail "$(basename "$package") is not what it should be"
echo "package: served under $(systemctl --version | head -1), removed without a trace"
