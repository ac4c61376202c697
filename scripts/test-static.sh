#!/usr/bin/env bash
# Tests that a program needs nothing but itself: in a folder that holds nothing else, on a network without anything outside,
# it starts, finds names, serves and tells what is wrong.
#
#   scripts/test-static.sh PROGRAM      PROGRAM: what scripts/static.sh has built; of another processor, with QEMU
#
# One line a check; the last line is `N passed, M failed`, with `, K skipped` when it can't run here. Needs root.
set -Eeuo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/apt.sh

nothing() { echo "skipped: $1"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
# What can be installed is not lacking in CI.
lacking() { [ "${CI:-}" != true ] || { echo "FAIL $1"; echo "0 passed, 1 failed"; exit 1; }; nothing "$1"; }

program=$(realpath "${1:?usage: scripts/test-static.sh PROGRAM}")
if [ -z "${INSIDE:-}" ]; then
  [ "$(id -u)" = 0 ] || nothing "not root"
  apt curl python3 iproute2 binutils || lacking "curl, python3, ip or readelf can't be installed here"
  unshare --mount --net true 2>/dev/null || nothing "no namespaces here"
  INSIDE=1 exec unshare --mount --net --propagation private "${BASH_SOURCE[0]}" "$program"
fi

work=$(mktemp -d)
. scripts/checks.sh
started=()
cleanup() {
  ((${#started[@]} == 0)) || kill "${started[@]}" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap 'cleanup; tell_broken' EXIT
trap 'broken="line $LINENO: $BASH_COMMAND"' ERR

same() { [ "$1" = "$2" ] || { echo "wanted: $1"; echo "got:    $2"; return 1; }; }
fetch() { curl -q -sS -m 20 "$@" || return; }
# COMMAND…: again until it succeeds, at most 20 s
until_it() {
  local end=$((SECONDS + 20))
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || { "$@"; return; }
    sleep 0.05
  done
}

headers=$(readelf -hldW "$program")
check "it is a program for Linux" has "$headers" "Type:"
check "it names no loader and no library" same "" "$(grep -E 'INTERP|NEEDED' <<<"$headers" || true)"

root=$work/root
mkdir "$root"
cp "$program" "$root/sami-proxy"
run=(env -i "$(command -v chroot)" "$root" /sami-proxy)
machine=$(sed -n 's/^ *Machine: *//p' <<<"$headers")
case "$(uname -m) $machine" in
  "x86_64 Advanced Micro Devices X86-64" | "aarch64 AArch64") ;;
  "x86_64 AArch64")
    apt qemu-user-static || lacking "it is for aarch64, and QEMU can't be installed here"
    cp /usr/bin/qemu-aarch64-static "$root/qemu"
    run=(env -i "$(command -v chroot)" "$root" /qemu /sami-proxy)
    echo "     (it is for aarch64: under QEMU)"
    ;;
  *) nothing "it is for $machine" ;;
esac

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | sed -n 1p)
check "alone in a folder, it starts" same "sami-proxy $version" "$("${run[@]}" --version)"
began=$(date +%s%N)
"${run[@]}" --version >/dev/null
echo "     $(stat -c %s "$program") bytes, starts and ends in $((($(date +%s%N) - began) / 1000000)) ms"
check "it explains in English" has "$("${run[@]}" explain --lang en port-refused 2>&1 || true)" port-refused
check "and in Russian" has "$("${run[@]}" explain --lang ru port-refused 2>&1 || true)" "сервер"

# A web server, a name server that knows it by name, and the proxy; nobody else is on this network, so ports may be fixed.
ip link set lo up
mkdir "$work/www"
echo "the page" >"$work/www/index.html"
python3 -m http.server --directory "$work/www" --bind 127.0.0.1 80 >/dev/null 2>&1 &
started+=($!)
PYTHONPATH=tests/clients python3 -c '
import nameserver, time
with nameserver.running_nameserver("origin.example") as server:
    print(server.address, flush=True)
    time.sleep(600)' >"$work/nameserver" &
started+=($!)
check "the page is there" until_it fetch http://127.0.0.1/
until_it test -s "$work/nameserver"
"${run[@]}" serve --listen 127.0.0.1:8080 --auth sami:secret --allow-private --dns "$(<"$work/nameserver")" \
  >"$work/log" 2>&1 &
started+=($!)
proxy=$!
check "it serves" until_it fetch http://127.0.0.1:8080/healthz
check "it finds a name: http" same "the page" "$(fetch -x http://sami:secret@127.0.0.1:8080 http://origin.example/ || true)"
check "it finds a name: CONNECT" same "the page" "$(fetch -p -x http://sami:secret@127.0.0.1:8080 http://origin.example/ || true)"
check "SOCKS5" same "the page" "$(fetch -x socks5h://sami:secret@127.0.0.1:8080 http://origin.example/ || true)"
check "healthcheck" "${run[@]}" healthcheck
check "check-port finds it" "${run[@]}" check-port 127.0.0.1:8080
check "doctor looks around without a Docker, a shell and a /proc" has \
  "$("${run[@]}" doctor --lang en 127.0.0.1:8080 --timeout 20 2>&1 || true)" 127.0.0.1:8080
kill "$proxy" || true
code=0
wait "$proxy" || code=$?
check "SIGTERM ends it in order" same 0 "$code"
check "the log says so" grep -q "stopped" "$work/log"
[ "$failed" = 0 ] || sed 's/^/log: /' "$work/log"

finish
