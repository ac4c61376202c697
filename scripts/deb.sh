#!/usr/bin/env bash
# Builds the package for Debian and Ubuntu and prints its path.
#
#   scripts/deb.sh             a static release build for this machine's architecture: about five minutes
#   scripts/deb.sh PROGRAM     a package of a program that is built already, to try the packaging
set -euo pipefail
cd "$(dirname "$0")/.."

program=${1:-}
if (($# > 1)); then echo "usage: scripts/deb.sh [PROGRAM]" >&2; exit 2; fi

command -v cargo-deb >/dev/null || cargo install cargo-deb --locked --quiet >&2

# One file that runs on every release, because it needs no library of the system.
[ -n "$program" ] || program=$(scripts/static.sh)
cargo run --locked --quiet --example manuals -- target/manuals >&2

# cargo-deb looks for the program in a target folder; this one holds nothing else.
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
install -D "$program" "$stage/release/sami-proxy"
mkdir -p target/debian
CARGO_TARGET_DIR=$stage cargo deb --locked --quiet --no-build --no-strip --output target/debian
