#!/usr/bin/env bash
# Builds sami-proxy.exe and prints its path, and nothing else, on standard output.
#
#   scripts/windows.sh [--release]      without --release for tests: quickly built, large and slow
#
#   exe=$(scripts/windows.sh) && SAMI_PROXY_EXE=$exe cargo test --test windows
#
# On Debian or Ubuntu as root it installs what is lacking: mingw and Wine with apt, the target with rustup. Where rustup
# can't download it, a folder `shared` beside this repository may know how. About 5 minutes the first time.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 3>&1 >&2

case "${1:-}" in
  "") profile=debug ;;
  --release) profile=release ;;
  *) echo "usage: scripts/windows.sh [--release]"; exit 2 ;;
esac
target=x86_64-pc-windows-gnu
. scripts/apt.sh

std() { compgen -G "$(rustc --print sysroot)/lib/rustlib/$target/lib/libstd-*.rlib" >/dev/null; }
have_wine() { [ -x /usr/lib/wine/wine64 ] || command -v wine64 >/dev/null || command -v wine >/dev/null; }

if ! command -v x86_64-w64-mingw32-gcc >/dev/null; then apt gcc-mingw-w64-x86-64; fi
have_wine || apt wine64
if ! std && command -v rustup >/dev/null; then rustup target add "$target" || true; fi
if ! std && [ -x ../shared/windows/install-target.sh ]; then ../shared/windows/install-target.sh; fi
std || { echo "Rust's standard library for $target can't be had: rustup target add $target"; exit 1; }

if [ "$profile" = release ]; then
  cargo build --release --locked --quiet --bin sami-proxy --target "$target"
else
  # Dependencies as fast to build as can be: the tests do not measure.
  CARGO_PROFILE_DEV_DEBUG=none cargo build --locked --quiet --target "$target" --config 'profile.dev.package."*".opt-level=0'
fi

folder=${CARGO_TARGET_DIR:-target}/$target/$profile
# Rust's standard library takes random numbers from this system library, and Wine 8 lacks it. Beside the program it
# stands in; Windows and newer Wines have their own.
if [ ! -f "$folder/bcryptprimitives.dll" ]; then
  x86_64-w64-mingw32-gcc -shared -o "$folder/bcryptprimitives.dll" -x c - -ladvapi32 <<'C'
#include <windows.h>
#include <ntsecapi.h>
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T length) { return RtlGenRandom(bytes, (ULONG)length); }
C
fi
realpath "$folder/sami-proxy.exe" >&3
