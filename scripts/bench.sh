#!/usr/bin/env bash
# Measures the proxy beside others, on this machine: about 12 minutes, two cores, root (or user namespaces).
#
#   scripts/bench.sh                                 the whole table, and target/bench.json with every round
#   scripts/bench.sh --modes sse,mixed --rounds 3    a part of it (benches/load/src/main.rs tells all options)
#   scripts/bench.sh --instructions                  instructions per tunnel and request (callgrind); compares them with
#                                                    benches/instructions.json and fails at +5 %
#   scripts/bench.sh --instructions --record         writes that file
#
# Everything runs in a network namespace of its own, so fixed ports and congestion control concern nobody else.
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/apt.sh

# isolated COMMAND...: in a network namespace with loopback, many ports and a congestion control made for no real network
isolated() {
  local user=()
  [ "$(id -u)" = 0 ] || user=(--map-root-user)
  # shellcheck disable=SC2016
  unshare "${user[@]}" --net -- bash -c '
    ip link set lo up
    echo "10000 65535" >/proc/sys/net/ipv4/ip_local_port_range
    echo cubic >/proc/sys/net/ipv4/tcp_congestion_control 2>/dev/null || echo reno >/proc/sys/net/ipv4/tcp_congestion_control
    ulimit -n "$(ulimit -Hn)"
    exec "$@"' isolated "$@"
}

command -v cargo >/dev/null || { echo "cargo is missing: https://rustup.rs" >&2; exit 2; }
apt gcc libc6-dev iproute2 util-linux >&2 || exit 2
cargo build --release --locked --quiet
cargo build --release --locked --quiet --manifest-path benches/load/Cargo.toml --target-dir target/load
load=target/load/release/load

if [ "${1:-}" = --instructions ]; then
  apt valgrind python3 >&2 || exit 2
  if [ "${2:-}" = --record ]; then
    isolated "$load" --instructions --json benches/instructions.json
    exit
  fi
  isolated "$load" --instructions --json target/instructions.json
  # name → recorded and measured; a tenth of a per cent is the noise of callgrind here
  exec python3 - benches/instructions.json target/instructions.json <<'PYTHON'
import json, sys
recorded, measured = (json.load(open(path)) for path in sys.argv[1:])
worse = False
for name, before in recorded.items():
    change = measured[name] / before - 1
    worse |= change > 0.05
    print(f"{name}: {before} recorded, {measured[name]} now ({change:+.1%})")
sys.exit("more than 5 % more instructions than recorded" if worse else 0)
PYTHON
fi

[ "$(nproc)" -ge 2 ] || { echo "two cores are needed: one for the proxy, one for the load" >&2; exit 2; }
apt haproxy tinyproxy squid privoxy >&2 || exit 2
echo "$(date -u +%F), $(uname -sr), $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2- | xargs), $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg)"
for version in "haproxy -v" "tinyproxy -v" "squid -v" "privoxy --version"; do
  $version 2>&1 | sed -n 1p # not head: it would break the pipe
done
isolated "$load" --json target/bench.json "$@"
