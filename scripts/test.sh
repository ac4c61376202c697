#!/usr/bin/env bash
# Passes all tests that this machine can run. The second command of the README.
#
#   scripts/test.sh            everything: installs what the tests need (apt, pip, cargo), about an hour on two processors the first time
#   scripts/test.sh --quick    format, lints, Rust tests: the inner loop
#
# What a machine lacks is skipped with a printed reason and counted; with CI=true only what can't be installed may be.
set -euo pipefail
cd "$(dirname "$0")/.."

quick=false
case "${1:-}" in
  "") ;;
  --quick) quick=true ;;
  *) echo "usage: scripts/test.sh [--quick]" >&2; exit 2 ;;
esac

passed=0 failed=0 skipped=0
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT

say() { printf '\n== %s\n' "$*"; }
skip() { say "skipped: $1"; skipped=$((skipped + 1)); }

# step NAME COMMAND...: runs it, shows it, counts it as one
step() {
  say "$1"
  if "${@:2}"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $1"; fi
}

# counted NAME PATTERN COMMAND...: the same for a runner whose closing lines say how many tests there were
counted() {
  say "$1"
  local out="$log/out" ok=true
  "${@:3}" 2>&1 | tee "$out" || ok=false
  passed=$((passed + $(count "$2 passed" "$out")))
  failed=$((failed + $(count "$2 failed" "$out")))
  skipped=$((skipped + $(count "$2 (skipped|ignored)" "$out")))
  if ! $ok && [ "$(count "$2 failed" "$out")" = 0 ]; then failed=$((failed + 1)); fi
  $ok || echo "FAILED: $1"
}

# the sum of the numbers before a word; 0 when it does not stand there
count() { { grep -aoE "$1" "$2" || true; } | awk '{ sum += $1 } END { print sum + 0 }'; }

have() { command -v "$1" >/dev/null 2>&1; }

. scripts/apt.sh

# ring builds a little C, whatever is tested
have cc || apt gcc libc6-dev || { echo "a C compiler is missing: apt install gcc libc6-dev" >&2; exit 2; }

# network namespaces, for clients that are not on loopback, and foreign proxies for the laboratory
apt iproute2 iptables tinyproxy squid dante-server >/dev/null || true
# a Docker engine in one of them, and the firewalls of its server; the command is a package of its own in newer systems
have dockerd || apt docker.io >/dev/null || true
apt ufw nftables >/dev/null || true
have docker || apt docker-cli >/dev/null || true

# a server that the doctor logs in to
[ -x /usr/sbin/sshd ] && have ssh || apt openssh-server openssh-client >/dev/null || true

step "format" cargo fmt --check
step "lints" cargo clippy --locked --all-targets -- -D warnings
step "lints, without the doctor" cargo clippy --locked --no-default-features -- -D warnings
counted "Rust tests" '[0-9]+' cargo test --locked --no-fail-fast
step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet

if ! $quick; then
  if [ -d /proc/sys ] && apt shellcheck; then
    step "shell scripts" shellcheck --severity=warning .ci/run scripts/*.sh
  else
    skip "shell scripts: shellcheck can't be installed here"
  fi

  have cargo-deny || cargo install cargo-deny --locked --quiet || true
  if have cargo-deny; then
    step "dependencies: licences, bans, sources" cargo deny --log-level error check licenses bans sources
  else
    skip "dependencies: cargo-deny can't be installed here"
  fi

  # Its tests say so when it is missing: Ubuntu has it as a snap only.
  apt chromium || true
  if apt curl wget git strace ca-certificates openssl haproxy prometheus && have python3 &&
    python3 -m venv target/venv &&
    target/venv/bin/pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt; then
    cargo build --locked --quiet
    counted "real clients" '[0-9]+' env SAMI_PROXY_BIN=target/debug/sami-proxy \
      target/venv/bin/python -m pytest -q --color=no tests/clients
  else
    skip "real clients: curl, wget, git, HAProxy, promtool or Python with venv can't be installed here"
  fi

  step "fuzz targets, briefly" scripts/fuzz.sh 10

  if apt valgrind && unshare --net true 2>/dev/null; then
    step "the load generator" cargo clippy --locked --quiet --manifest-path benches/load/Cargo.toml \
      --target-dir target/load -- -D warnings
    step "instructions per tunnel and request" scripts/bench.sh --instructions
  else
    skip "instructions per tunnel and request: valgrind or a network namespace can't be had here"
  fi

  if exe=$(scripts/windows.sh); then
    counted "the program for Windows, under Wine" '[0-9]+' env SAMI_PROXY_EXE="$exe" cargo test --locked --test windows
  elif [ "${CI:-}" = true ]; then
    step "the program for Windows" false
  else
    skip "the program for Windows: its target, mingw or Wine can't be had here"
  fi

  # One release build for both.
  if program=$(scripts/static.sh); then
    counted "the program, alone in a folder" '[0-9]+' scripts/test-static.sh "$program"
    if package=$(scripts/deb.sh "$program"); then
      counted "the Debian package, under systemd" '[0-9]+' scripts/test-deb.sh "$package"
    else
      step "the Debian package" false
    fi
  else
    step "the static program" false
  fi

  apt curl openssl busybox binutils >/dev/null || true
  counted "the READMEs' commands" '[0-9]+' env SAMI_PROXY_BIN=target/debug/sami-proxy scripts/check-docs.sh
  counted "Docker" '[0-9]+' scripts/test-docker.sh
  counted "Install on a server" '[0-9]+' scripts/test-install.sh
fi

printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ]
