#!/usr/bin/env bash
# Runs every fuzz target for some seconds each: scripts/fuzz.sh [SECONDS], 20 when none are given.
# The fuzzer needs compiler options that the stable toolchain keeps behind RUSTC_BOOTSTRAP.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-20}
command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked --quiet
export RUSTC_BOOTSTRAP=1
targets=$(cargo fuzz list)
for file in fuzz/targets/*.rs; do
  grep -qx "$(basename "$file" .rs)" <<<"$targets" || { echo "$file is not in fuzz/Cargo.toml" >&2; exit 1; }
done
for target in $targets; do
  echo "-- $target"
  # More units than its default of one, which one processor builds for eight minutes.
  cargo fuzz run --sanitizer none --codegen-units 8 "$target" -- -max_total_time="$seconds" -max_len=4096 -print_final_stats=1 2>&1 |
    grep -aE '^(error|warning: unused|stat::(number_of_executed_units|average_exec_per_sec)|thread |SUMMARY|Base64)|panicked'
done
