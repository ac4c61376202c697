#!/usr/bin/env bash
# Tests the package on a clean Debian: installs it, boots systemd with it, and removes it without a trace.
#
#   scripts/test-deb.sh [PACKAGE]      PACKAGE: what scripts/deb.sh has built; without one it is built
#
# One line a check; the last line is `N passed, M failed`, with `, K skipped` when something can't run here. Needs root and,
# the first time, a Debian mirror; the clean system is kept in target/debian-root. Nothing outside target/ is changed: the
# system runs in namespaces of its own, without a network, on a file system that is thrown away.
set -Eeuo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/apt.sh

nothing() { echo "skipped: $1"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
# What can be installed is not lacking in CI.
lacking() { [ "${CI:-}" != true ] || { echo "FAIL $1"; echo "0 passed, 1 failed"; exit 1; }; nothing "$1"; }

if [ -z "${INSIDE:-}" ]; then
  [ "$(id -u)" = 0 ] || nothing "not root"
  apt debootstrap || lacking "debootstrap can't be installed here"
  unshare --mount true 2>/dev/null || nothing "no mount namespaces here"
  package=$(realpath "${1:-$(scripts/deb.sh)}")
  base=${DEBIAN_ROOT:-target/debian-root}
  if [ ! -e "$base/complete" ]; then
    rm -rf "$base"
    mkdir -p "$(dirname "$base")"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,man-db,ca-certificates stable "$base" \
      http://deb.debian.org/debian >/dev/null || lacking "no Debian mirror within reach"
    touch "$base/complete"
  fi
  INSIDE=1 exec unshare --mount --propagation private "${BASH_SOURCE[0]}" "$package" "$(realpath "$base")"
fi

package=$1 base=$2
work=$(mktemp -d)
root=$work/root
. scripts/checks.sh
init="" group=""

cleanup() {
  if [ -n "$init" ]; then kill -9 "$init" 2>/dev/null || true; wait 2>/dev/null || true; fi
  if [ -n "$group" ]; then
    for _ in $(seq 50); do
      find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
      [ -e "$group" ] || break
      sleep 0.1
    done
  fi
  umount -l "$work" 2>/dev/null || true
  rmdir "$work" || true
}
trap 'cleanup; tell_broken' EXIT
trap 'broken="line $LINENO: $BASH_COMMAND"' ERR

# WHAT WANTED GOT
same() { if [ "$2" = "$3" ]; then ok "$1"; else fail "$1" "wanted: $2"$'\n'"got:    $3"; fi; }

# COMMAND…: again until it succeeds, at most 20 s
until_it() {
  local end=$((SECONDS + 20))
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || { "$@"; return; }
    sleep 0.1
  done
}

# every file, whom it belongs to and its mode; not the books that dpkg, the man pages and the journal keep
files() {
  (cd "$root" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp \
    -o -path ./var/lib/dpkg -o -path ./var/log -o -path ./var/cache \) -prune -o -printf '%p %u:%g %m %l\n' | sort)
}

fresh() {
  mount -t tmpfs tmpfs "$work"
  mkdir "$work"/{upper,scratch,root}
  mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/upper,workdir=$work/scratch" "$root"
  cp "$package" "$root/tmp/sami-proxy.deb"
}

in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "$@"; }

# ------------------------------------------------------------------------------------------------- without a systemd

fresh
before=$(files)
check "dpkg installs it" in_root dpkg -i /tmp/sami-proxy.deb
check "dpkg finds every file as it was packed" in_root dpkg --verify sami-proxy
check "the program runs" in_root sami-proxy --version
same "it needs no library" "" "$(in_root ldd /usr/bin/sami-proxy 2>/dev/null | grep -v 'statically linked' || true)"
same "the configuration is a conffile that only root can read" "600 root /etc/sami-proxy/sami-proxy.toml" \
  "$(in_root stat -c '%a %U %n' /etc/sami-proxy/sami-proxy.toml)"
same "dpkg keeps what the user writes there" "/etc/sami-proxy/sami-proxy.toml" \
  "$(in_root dpkg-query -W -f='${Conffiles}' sami-proxy | awk 'NF { print $1 }')"
check "serve --check-config reads it" in_root sami-proxy serve --check-config --config /etc/sami-proxy/sami-proxy.toml
for page in sami-proxy sami-proxy-serve sami-proxy-probe sami-proxy-check-port sami-proxy-explain sami-proxy-healthcheck; do
  check "man $page" bash -c "chroot '$root' env -i PATH=/usr/bin:/bin LC_ALL=C MANPAGER=cat man $page | grep -q SYNOPSIS"
done
check "bash reads the completions" in_root bash -n /usr/share/bash-completion/completions/sami-proxy
same "bash completes a command" "healthcheck" "$(in_root bash -c '
  . /usr/share/bash-completion/completions/sami-proxy
  COMP_WORDS=(sami-proxy heal) COMP_CWORD=1
  _sami__proxy sami-proxy heal sami-proxy && echo "${COMPREPLY[@]}"')"
for file in copyright changelog.Debian.gz README.md examples/sami-proxy.socket; do
  check "/usr/share/doc/sami-proxy/$file" in_root test -s "/usr/share/doc/sami-proxy/$file"
done
same "the version of the package is that of the program" "sami-proxy $(in_root dpkg-query -W -f='${Version}' sami-proxy)" \
  "$(in_root sami-proxy --version)-1"
check "systemd-analyze verify: the service" in_root systemd-analyze verify --man=no /lib/systemd/system/sami-proxy.service
in_root cp /usr/share/doc/sami-proxy/examples/sami-proxy.socket /etc/systemd/system/
check "systemd-analyze verify: the socket of the examples" in_root systemd-analyze verify --man=no /etc/systemd/system/sami-proxy.socket
rm "$root/etc/systemd/system/sami-proxy.socket"
score=$(in_root systemd-analyze security --offline=yes --no-pager sami-proxy.service | tail -1)
echo "     systemd-analyze security: ${score#* }"
check "systemd-analyze security: 2.0 at most" in_root systemd-analyze security --offline=yes --threshold=20 --no-pager sami-proxy.service
check "dpkg removes it" in_root dpkg --remove sami-proxy
check "its configuration stays" in_root test -e /etc/sami-proxy/sami-proxy.toml
check "dpkg purges it" in_root dpkg --purge sami-proxy
same "nothing is left" "" "$(diff <(echo "$before") <(files) || true)"
umount "$root"
umount "$work"

# ---------------------------------------------------------------------------------------------------- with a systemd

# the first process of the system: mounts, then systemd; kernel settings are out of its reach
boot() {
  cat <<'BOOT'
set -e
root=$1
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s null "$root/dev/console"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
ip link set lo up
cd "$root"
mkdir run/old
pivot_root . run/old
cd /
umount -l /run/old
rmdir /run/old
# As on a machine of its own; without it credentials can't be handed to services.
mount --make-rshared /
exec env -i container=sami-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --show-status=no
BOOT
}

inside() { nsenter -t "$init" -m -p -n -u -i -C -r -w env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "$@"; }
state() { inside systemctl show sami-proxy --value -p "$1"; }
state_is() { [ "$(state "$1")" = "$2" ]; }
well() { inside sami-proxy healthcheck; }
# systemd refuses the sixth start within ten seconds, and this test is quick.
anew() { inside systemctl reset-failed sami-proxy; }
# WORD: the service log has it
logged() { inside journalctl --no-pager -q -u sami-proxy | grep -qF -- "$1"; }
# NUMBER: it was started again more often than that, and is up
restarted() { [ "$(state NRestarts)" -gt "$1" ] && state_is ActiveState active && well; }

start_system() {
  local hierarchy
  hierarchy=$(findmnt -t cgroup2 -n -o TARGET | head -1)
  [ -n "$hierarchy" ] || return 1
  group=$hierarchy/sami-test-$$
  mkdir "$group" || { group=""; return 1; }
  boot >"$work/boot"
  # In a group of its own, which is then the root of what systemd sees of the groups.
  sh -c 'echo $$ >"$1/cgroup.procs" && exec unshare --mount --pid --fork --net --uts --ipc --cgroup --kill-child sh "$2" "$3"' \
    sh "$group" "$work/boot" "$root" >/dev/null 2>&1 </dev/null &
  local outer=$!
  until_it pgrep -P "$outer" >/dev/null || return 1
  init=$(pgrep -P "$outer")
  until_it inside systemctl is-active -q basic.target
}

fresh
# What has nothing to do with it, or would reach for the machine.
in_root systemctl mask -q console-getty.service getty@.service systemd-sysctl.service systemd-modules-load.service \
  systemd-timesyncd.service systemd-networkd-wait-online.service sys-kernel-debug.mount sys-kernel-tracing.mount \
  sys-kernel-config.mount sys-fs-fuse-connections.mount dev-hugepages.mount 2>/dev/null || true
before=$(files)
cp "$package" "$root/root/sami-proxy.deb"
if ! start_system; then
  skip "a running systemd: it can't be booted in namespaces here"
else
  check "under systemd, dpkg installs and starts it" inside dpkg -i /root/sami-proxy.deb
  check "it is up, as it has said itself" until_it state_is ActiveState active
  ((failed == 0)) || inside sh -c 'systemctl status --no-pager sami-proxy; journalctl -q --no-pager -n 30 -u sami-proxy' || true
  same "Type, watchdog" "notify 30s" "$(state Type) $(inside systemctl show sami-proxy --value -p WatchdogUSec)"
  check "it answers" well
  main=$(state MainPID)
  # The range of DynamicUser; the name is known only where libnss-systemd is.
  user=$(inside stat -c %u "/proc/$main")
  check "it runs as a user of its own" test "$user" -ge 61184 -a "$user" -le 65519
  same "with no capability but to bind" "0000000000000400 0000000000000400" \
    "$(inside awk '/^CapEff|^CapBnd/ { printf "%s%s", s, $2; s = " " }' "/proc/$main/status")"
  same "seccomp and no new privileges" "1 2" \
    "$(inside awk '/^NoNewPrivs|^Seccomp:/ { printf "%s%s", s, $2; s = " " }' "/proc/$main/status")"
  files=$(inside awk '/^Max open files/ { print $4 }' "/proc/$main/limits")
  if [ "$files" = "$(ulimit -Hn)" ] && [ "$files" -lt 1048576 ]; then
    skip "LimitNOFILE: no CAP_SYS_RESOURCE here, so nobody gets more than the $files of this shell"
  else
    same "with the limit of open files" 1048576 "$files"
  fi
  check "reload: it says that it is done" inside systemctl reload sami-proxy
  same "the same process, up after it" "$main active" "$(state MainPID) $(state ActiveState)"

  inside sh -c 'printf "%s\n" "auth = [\"sami:secret\"]" "tls-self-signed = true" "listen = [\"0.0.0.0:8080\", \"127.0.0.1:443\"]" \
    >>/etc/sami-proxy/sami-proxy.toml'
  anew
  check "restart with users, a certificate and port 443" inside systemctl restart sami-proxy
  check "it reads its configuration, which only root can" until_it logged "1 user configured"
  check "it may bind port 443" until_it logged "listening on 127.0.0.1:443"
  check "it keeps its certificate in its folder" inside sh -c 'ls /var/lib/sami-proxy/* | grep -q .'

  count=$(state NRestarts)
  anew
  inside sh -c "kill -9 $(state MainPID)"
  check "killed, it is there again" until_it restarted "$count"
  inside mkdir -p /etc/systemd/system/sami-proxy.service.d
  inside sh -c 'printf "[Service]\nWatchdogSec=1s\nTimeoutAbortSec=1s\n" >/etc/systemd/system/sami-proxy.service.d/test.conf'
  inside systemctl daemon-reload
  anew
  check "restart with a watchdog of one second" inside systemctl restart sami-proxy
  sleep 3
  same "fed, the watchdog does nothing" "0" "$(state NRestarts)"
  # A worker that hangs, and not the first one: the kernel stops one thread of it only under a tracer, so all are stopped.
  inside sh -c "kill -STOP $(state MainPID)"
  check "stopped, it is killed by the watchdog and there again" until_it restarted 0
  check "the journal says so" until_it logged "Watchdog timeout"
  inside rm -r /etc/systemd/system/sami-proxy.service.d
  inside systemctl daemon-reload

  anew
  inside sh -c 'echo "nonsense = 1" >>/etc/sami-proxy/sami-proxy.toml'
  inside systemctl restart sami-proxy 2>/dev/null || true
  check "a wrong setting: it fails and is not started again and again" until_it state_is ActiveState failed
  check "the journal names the setting" until_it logged "nonsense"
  inside sed -i '/nonsense/d' /etc/sami-proxy/sami-proxy.toml

  inside cp /usr/share/doc/sami-proxy/examples/sami-proxy.socket /etc/systemd/system/
  inside systemctl daemon-reload
  anew
  check "the socket unit of the examples" inside systemctl enable -q --now sami-proxy.socket
  check "a client that connects starts the service" well
  check "which takes the socket" until_it logged "the service manager listens for us"
  anew
  check "a restart refuses nobody" inside sh -c '
    systemctl restart --no-block sami-proxy
    for _ in 1 2 3 4 5 6 7 8 9 10; do sami-proxy healthcheck || exit 1; done'
  inside systemctl disable -q --now sami-proxy.socket
  inside rm /etc/systemd/system/sami-proxy.socket

  anew
  inside systemctl restart sami-proxy
  check "a stop ends it in order" inside systemctl stop sami-proxy
  same "without a failure" "success" "$(state Result)"
  anew
  inside systemctl start sami-proxy
  check "dpkg purges it while it runs" inside dpkg --purge sami-proxy
  check "no process is left" bash -c "! nsenter -t $init -p -m pgrep -x sami-proxy"
  inside rm /root/sami-proxy.deb
  # What a first boot of systemd leaves, with or without us.
  boots='^[<>] \./(etc|etc/machine-id|etc/\.updated|var/\.updated|var/lib/(systemd|private|dbus)(/[^ ]*)?|var/lib|var/tmp(/[^ ]*)?|root|etc/\.pwd\.lock|etc/resolv.conf|etc/mtab) '
  same "nothing is left" "" "$(diff <(echo "$before") <(files) | grep '^[<>]' | grep -vE "$boots" || true)"
fi

finish
