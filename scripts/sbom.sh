#!/bin/sh
# Prints what the program is made of, as CycloneDX 1.6 (JSON): every crate that is linked into it, with version, licence,
# checksum and what it needs. The same sources give the same text.
#
#   scripts/sbom.sh [TARGET [FLAG]]   TARGET: x86_64-unknown-linux-musl and the like; without one, this machine
#                                     FLAG: --no-default-features, where it was built with that
#
# Needs cargo and awk only, so that it runs in the Dockerfile, too.
set -eu
cd "$(dirname "$0")/.."
target=${1:-$(rustc --print host-tuple)}
features=${2:-}

# Macros and build scripts run while it is built and are not in it.
tree=$(cargo tree --locked --package sami-proxy --target "$target" ${features:+"$features"} --edges normal,no-proc-macro --prefix none --format '{p}|{l}')
rust=$(rustc --version | cut -d' ' -f2)

printf '%s\n' "$tree" | awk -v target="$target" -v rust="$rust" '
  function quoted(text) { gsub(/["\\]/, "\\\\&", text); return "\"" text "\"" }
  function purl(id) { return "pkg:cargo/" id }
  function reference(id) { return quoted(purl(id)) }
  # Older crates write MIT/Apache-2.0, which SPDX does not know.
  function licences(text) { gsub(/ *\/ */, " OR ", text); return text == "" ? "" : ", \"licenses\": [{ \"expression\": " quoted(text) " }]" }
  function component(type, id,    part, sum) {
    split(id, part, "@")
    sum = checksum[id] == "" ? "" : ", \"hashes\": [{ \"alg\": \"SHA-256\", \"content\": " quoted(checksum[id]) " }]"
    return "{ \"type\": " quoted(type) ", \"bom-ref\": " reference(id) ", \"name\": " quoted(part[1]) ", \"version\": " \
      quoted(part[2]) ", \"purl\": " reference(id) licences(licence[id]) sum " }"
  }

  # First what cargo says is in it; the program itself comes first.
  FILENAME == "-" {
    split($0, line, "|")
    split(line[1], word, " ")
    id = word[1] "@" substr(word[2], 2)
    sub(/ \(\*\)$/, "", line[2])
    if (!(id in licence)) { ids[++count] = id; licence[id] = line[2] }
    next
  }
  # Then Cargo.lock.
  /^\[\[package\]\]/ { name = "" }
  /^name = / { split($0, line, "\""); name = line[2] }
  /^version = / && name != "" {
    split($0, line, "\"")
    lock = name "@" line[2]
    if (lock in licence) versions[name] = lock
  }
  /^checksum = / { split($0, line, "\""); checksum[lock] = line[2] }
  # "name", or "name version" where Cargo.lock has several
  /^ "/ { split($0, line, "\""); needs[lock] = needs[lock] "\n" line[2] }

  END {
    print "{"
    print "  \"bomFormat\": \"CycloneDX\","
    print "  \"specVersion\": \"1.6\","
    print "  \"version\": 1,"
    print "  \"metadata\": {"
    print "    \"component\": " component("application", ids[1]) ","
    print "    \"properties\": [{ \"name\": \"sami-proxy:target\", \"value\": " quoted(target) " }]"
    print "  },"
    print "  \"components\": ["
    for (i = 2; i <= count; i++) print "    " component("library", ids[i]) ","
    print "    { \"type\": \"library\", \"bom-ref\": \"rust-std\", \"name\": \"std\", \"version\": " quoted(rust) \
      ", \"description\": \"The standard library of Rust\", \"licenses\": [{ \"expression\": \"MIT OR Apache-2.0\" }] }"
    print "  ],"
    print "  \"dependencies\": ["
    for (i = 1; i <= count; i++) {
      id = ids[i]
      list = "\"rust-std\""
      parts = split(needs[id], needed, "\n")
      for (p = 2; p <= parts; p++) {
        words = split(needed[p], word, " ")
        other = words > 1 ? word[1] "@" word[2] : versions[word[1]]
        if (other in licence) list = list ", " reference(other)
      }
      print "    { \"ref\": " reference(id) ", \"dependsOn\": [" list "] }" (i < count ? "," : "")
    }
    print "  ]"
    print "}"
  }
' - Cargo.lock
