#!/usr/bin/env bash
# Makes a release: whether it may be one, everything that can be built on this machine, and what is left to do.
#
#   scripts/release.sh [--dry-run]      all of it into target/release-VERSION, with SHA256SUMS; about an hour
#   scripts/release.sh --check [TAG]    only whether all places name the same version, and TAG (v1.2.3) too
#   scripts/release.sh --build WHAT…    only linux (for this processor), aarch64 (from x86-64), windows or image
#
# --dry-run checks, and prints each command instead of running it. It refuses when something is not committed, when the
# tests do not pass, and when Cargo.toml, CHANGELOG.md, the Dockerfile, the Debian changelog and the tag differ.
# Nothing leaves this machine: what publishes is printed at the end (.github/workflows/release.yml does it on a tag).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n '4,6s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | sed -n 1p)
folder=target/release-$version
host=$(rustc --print host-tuple)
dry=false
refused=0
lacking=()

say() { printf '\n== %s\n' "$*" >&2; }

# COMMAND…: shows it and runs it; what it prints on standard output stays there
run() {
  printf '$ %s\n' "$*" >&2
  $dry || "$@"
}

refuse() { refused=$((refused + 1)); echo "refused: $1" >&2; }

# ------------------------------------------------------------------------------------------------- may it be a release

# PLACE VERSION
names_it() { [ "$2" = "$version" ] || refuse "Cargo.toml says $version, $1 ${2:-no version}"; }

# [TAG]
check_versions() {
  names_it Cargo.lock "$(sed -n '/^name = "sami-proxy"$/{n;s/^version = "\(.*\)"/\1/p}' Cargo.lock)"
  names_it CHANGELOG.md "$(sed -n 's/^## \([0-9][^ ]*\) - [0-9]\{4\}-[0-9][0-9]-[0-9][0-9]$/\1/p' CHANGELOG.md | sed -n 1p)"
  names_it Dockerfile "$(sed -n 's/^ARG VERSION=//p' Dockerfile)"
  names_it deploy/debian/changelog "$(sed -n '1s/^sami-proxy (\(.*\)-[0-9]*) .*/\1/p' deploy/debian/changelog)"
  case $(awk '/^## / { inside = $0 == "## Unreleased"; seen = seen || inside; next } inside && NF { left = 1 } END { print seen + 0 left + 0 }' CHANGELOG.md) in
    10) ;;
    00) refuse "CHANGELOG.md has no heading 'Unreleased'" ;;
    *) refuse "CHANGELOG.md has changes under 'Unreleased'" ;;
  esac
  [ "${1:-v$version}" = "v$version" ] || names_it "the tag" "${1#v}"
}

check_tree() {
  [ -z "$(git status --porcelain)" ] || refuse "something is not committed: git status"
  local tag
  for tag in $(git tag --points-at HEAD 'v*'); do [ "$tag" = "v$version" ] || refuse "this commit is $tag already"; done
  if git rev-parse -q --verify "refs/tags/v$version" >/dev/null &&
    [ "$(git rev-parse "v$version^{commit}")" != "$(git rev-parse HEAD)" ]; then
    refuse "v$version is another commit already"
  fi
}

# What GitHub says of this commit; without it, all tests here.
check_tests() {
  if command -v gh >/dev/null && gh repo view >/dev/null 2>&1; then
    local said
    said=$(gh run list --workflow test.yml --commit "$(git rev-parse HEAD)" --json conclusion --jq '.[0].conclusion')
    [ "$said" = success ] || refuse "the tests of this commit on GitHub: ${said:-not run}"
  else
    run env CI=true .ci/run >&2 || refuse "the tests do not pass"
  fi
}

enough() { $dry || [ "$refused" = 0 ] || exit 1; }

# ------------------------------------------------------------------------------------------------------- the artefacts

# TARGET PROGRAM: an archive with the program, what is in it, and the licences; the same bytes from the same sources
pack() {
  local name=sami-proxy-$version-$1 stage
  stage=$(mktemp -d)
  mkdir "$stage/$name"
  cp "$2" LICENSE LICENSE-APACHE README.md README.ru.md CHANGELOG.md "$stage/$name/"
  scripts/sbom.sh "$1" >"$stage/$name/sami-proxy.cdx.json"
  cp "$stage/$name/sami-proxy.cdx.json" "$folder/$name.cdx.json"
  tar -C "$stage" --sort=name --mtime="@$(git log -1 --format=%ct)" --owner=0 --group=0 --numeric-owner -c "$name" |
    gzip -9n >"$folder/$name.tar.gz"
  rm -r "$stage"
}

# TARGET: builds it, tests it and packs it; sets `program`
static() {
  say "$1"
  if ! program=$(run scripts/static.sh "$1"); then
    lacking+=("$1")
    return
  fi
  program=${program:-target/$1/release/sami-proxy}
  run scripts/test-static.sh "$program" >&2
  run pack "$1" "$program"
}

build_linux() {
  static "${host%%-*}-unknown-linux-musl"
  static "$host"
  say "the Debian package"
  local package
  package=$(run scripts/deb.sh "$program")
  run scripts/test-deb.sh "${package:=target/debian/sami-proxy_$version-1_amd64.deb}" >&2
  run cp "$package" "$folder/"
}

build_aarch64() { static aarch64-unknown-linux-gnu; }

build_windows() {
  say "x86_64-pc-windows-gnu"
  local program
  if ! program=$(run scripts/windows.sh --release); then
    lacking+=(x86_64-pc-windows-gnu)
    return
  fi
  program=${program:-target/x86_64-pc-windows-gnu/release/sami-proxy.exe}
  run env "SAMI_PROXY_EXE=$program" cargo test --locked --quiet --test windows >&2
  run cp "$program" "$folder/sami-proxy.exe"
  run write_sbom x86_64-pc-windows-gnu
}

# TARGET
write_sbom() { scripts/sbom.sh "$1" >"$folder/sami-proxy-$version-$1.cdx.json"; }

# What the test has built is in the engine's cache; this is the same with the labels of the release.
build_image() {
  say "the image"
  run scripts/test-docker.sh >&2
  if ! run docker build --quiet --network host -t "sami-proxy:$version" --build-arg "REVISION=$(git rev-parse HEAD)" . >&2; then
    lacking+=("the image")
    return
  fi
  run save_image
  run docker rmi "sami-proxy:$version" >&2
}

save_image() { docker save "sami-proxy:$version" | gzip -9n >"$folder/sami-proxy-$version-image-${host%%-*}.tar.gz"; }

sums() { (cd "$folder" && find . -type f ! -name SHA256SUMS -printf '%P\n' | sort | xargs sha256sum >SHA256SUMS); }

# WHAT…
build() {
  local what
  for what in "$@"; do
    case $what in linux | aarch64 | windows | image) ;; *) usage ;; esac
  done
  run mkdir -p "$folder"
  for what in "$@"; do "build_$what"; done
  run sums
}

# ------------------------------------------------------------------------------------------------------------ from above

mode=all
while (($# > 0)); do
  case $1 in
    --dry-run) dry=true ;;
    --check | --build) mode=${1#--}; shift; break ;;
    *) usage ;;
  esac
  shift
done

case $mode in
  check)
    check_versions "$@"
    [ "$refused" = 0 ] || exit 1
    echo "all places name $version"
    exit
    ;;
  build)
    (($# > 0)) || usage
    build "$@"
    ;;
  all)
    check_versions
    check_tree
    enough
    check_tests
    enough
    run rm -rf "$folder"
    wanted=(linux)
    [[ $host != x86_64-* ]] || wanted+=(aarch64 windows)
    build "${wanted[@]}" image
    say "left to do"
    echo "git tag -s v$version -m 'sami-proxy $version' && git push origin v$version" >&2
    ;;
esac
$dry || (cd "$folder" && cat SHA256SUMS)
((${#lacking[@]} == 0)) || echo "not to be had on this machine, left to .github/workflows/release.yml: ${lacking[*]}" >&2
[ "$refused" = 0 ]
