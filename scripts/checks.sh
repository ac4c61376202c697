# What the scripts that check have in common; they source it. One line a check, and the last line has the counts, which
# scripts/test.sh adds up.
# shellcheck shell=bash disable=SC2034

passed=0 failed=0 skipped=0
# Whether the counts are printed; and where it broke off, when they are not.
over=false broken=""

ok() {
  passed=$((passed + 1))
  echo "ok   $1"
}

# WHAT OUTPUT
fail() {
  failed=$((failed + 1))
  echo "FAIL $1"
  [[ -z ${2:-} ]] || sed 's/^/       /' <<<"$2"
}

# WHAT [WHY]
skip() {
  skipped=$((skipped + 1))
  echo "skip $1${2:+: $2}"
}

# WHAT COMMAND…: the command decides, and what it says is shown when it says no.
check() {
  local what=$1 said
  shift
  if said=$("$@" 2>&1); then ok "$what"; else fail "$what" "$said"; fi
}

finish() {
  over=true
  echo "$passed passed, $failed failed, $skipped skipped"
  ((failed == 0)) || exit 1
  exit 0
}

# WHY
skip_all() {
  over=true
  echo "skip everything: $1"
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
}

# For a trap on EXIT: what broke off has not passed.
tell_broken() {
  $over || { echo "FAIL the check itself broke off: $broken" && echo "$passed passed, $((failed + 1)) failed, $skipped skipped"; }
}

# Milliseconds of a clock that nobody sets.
now() {
  local up
  read -r up _ </proc/uptime
  echo $((10#${up/./} * 10))
}

# SECONDS COMMAND…: runs the command until it succeeds.
within() {
  local deadline said
  deadline=$(($(now) + $1 * 1000))
  shift
  until said=$("$@" 2>&1); do
    if (($(now) > deadline)); then
      printf '%s\nnot in time: %s\n' "$said" "$*"
      return 1
    fi
    sleep 0.05
  done
}

# GOT WANTED
is() { [[ $1 == "$2" ]] || { printf 'got:    %s\nwanted: %s\n' "$1" "$2"; return 1; }; }

# TEXT WANTED
has() { [[ $1 == *"$2"* ]] || { printf 'without "%s":\n%s\n' "$2" "$1"; return 1; }; }

# TEXT UNWANTED
lacks() { [[ $1 != *"$2"* ]] || { printf 'with "%s":\n%s\n' "$2" "$1"; return 1; }; }
