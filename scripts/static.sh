#!/usr/bin/env bash
# Builds one file for Linux that needs no library of the system, and prints its path, and nothing else, on standard output.
#
#   scripts/static.sh [TARGET]      about five minutes
#
# TARGET: without one this machine's own, with glibc in the file; x86_64-unknown-linux-musl or aarch64-unknown-linux-musl
# on such a machine, with musl in it; aarch64-unknown-linux-gnu also on x86-64.
#
# On Debian or Ubuntu as root it installs what is lacking: C compilers with apt, the target with rustup. Where rustup can't
# download it, but the standard library's source is there (rustup component add rust-src), that is compiled.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 3>&1 >&2

. scripts/apt.sh
host=$(rustc --print host-tuple)
target=${1:-$host}
sysroot=$(rustc --print sysroot)
# Random numbers from the kernel at once: looking for a newer glibc's function, which a static one hides, would end at
# /dev/urandom, and an empty root has none.
flags='-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom"'
options=()

give_up() { echo "a static program for $target can't be built here: $1"; exit 1; }
std() { compgen -G "$sysroot/lib/rustlib/$target/lib/libstd-*.rlib" >/dev/null; }

# The C compiler of the target: ring and mimalloc are C.
name=${target//-/_}
case $target in
  "$host") ;;
  "${host%%-*}-unknown-linux-musl")
    command -v musl-gcc >/dev/null || apt musl-tools || give_up "apt install musl-tools"
    export "CC_$name=musl-gcc"
    ;;
  aarch64-unknown-linux-gnu)
    command -v aarch64-linux-gnu-gcc >/dev/null || apt gcc-aarch64-linux-gnu libc6-dev-arm64-cross ||
      give_up "apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
    export "CC_$name=aarch64-linux-gnu-gcc" "CARGO_TARGET_${name^^}_LINKER=aarch64-linux-gnu-gcc"
    ;;
  *) give_up "only $host, ${host%%-*}-unknown-linux-musl and aarch64-unknown-linux-gnu can" ;;
esac

# What the toolchain's own musl brings along: an unwinder. LLVM's of Debian is made for glibc, but needs one function of it
# only that musl lacks.
musl_unwinder() {
  local folder=${CARGO_TARGET_DIR:-target}/$target/unwinder
  apt libunwind-14-dev || give_up "no LLVM libunwind"
  mkdir -p "$folder"
  cp /usr/lib/llvm-14/lib/libunwind.a "$folder/"
  musl-gcc -O2 -c -x c -o "$folder/chk.o" - <<'C'
#include <stdarg.h>
#include <stdio.h>
int __fprintf_chk(FILE *file, int level, const char *format, ...) {
  va_list rest;
  va_start(rest, format);
  int written = vfprintf(file, format, rest);
  va_end(rest);
  return written;
}
C
  ar q "$folder/libunwind.a" "$folder/chk.o"
  export "CARGO_TARGET_${name^^}_LINKER=musl-gcc"
  flags+=" -C link-self-contained=no -L $(realpath "$folder")"
}

if ! std && command -v rustup >/dev/null; then rustup target add "$target" || true; fi
if ! std; then
  [ -d "$sysroot/lib/rustlib/src/rust/library" ] || give_up "no standard library: rustup target add $target"
  echo "the standard library for $target is compiled from its source"
  options+=("-Zbuild-std=std,panic_unwind")
  export RUSTC_BOOTSTRAP=1
  [[ $target != *-musl ]] || musl_unwinder
fi

RUSTFLAGS=$flags cargo build --release --locked --quiet --bin sami-proxy --target "$target" ${options[@]+"${options[@]}"}
realpath "${CARGO_TARGET_DIR:-target}/$target/release/sami-proxy" >&3
