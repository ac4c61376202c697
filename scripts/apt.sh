# shellcheck shell=bash
# apt NAME...: installs Debian packages where that is possible; says why where it is not. For the other scripts to source.

# a removed package may have left its configuration behind, and then dpkg -s still knows it
installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

apt() {
  local missing=() guard=/usr/sbin/policy-rc.d ours=false
  for package in "$@"; do installed "$package" || missing+=("$package"); done
  if ((${#missing[@]} == 0)); then return 0; fi
  if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then echo "not root, or no apt: ${missing[*]}"; return 1; fi
  # A package must not be started as a service, beside a test or a measurement: Debian asks this program first.
  if [ ! -e "$guard" ]; then printf '#!/bin/sh\nexit 101\n' >"$guard" && chmod +x "$guard" && ours=true; fi
  DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || true
  if $ours; then rm -f "$guard"; fi
  for package in "${missing[@]}"; do
    installed "$package" || { echo "can't be installed: $package"; return 1; }
  done
}
