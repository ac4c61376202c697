#!/usr/bin/env bash
# Checks that both READMEs tell the truth.
#
#   scripts/check-docs.sh
#
# The commands of every block ```sh are run, each by itself, in a copy of what git knows, and must succeed; what a block
# ```console quotes must be what the command after `$` prints today, up to numbers and bars. Blocks ```text are for other
# machines. It all happens on a server of its own in namespaces: port 8080 is free there, the Internet is one other machine,
# and Docker is an engine of its own, in which `docker build` puts the program at hand into an image. What can't be run is
# skipped with the reason. Besides: both READMEs have the same blocks, links and anchors lead somewhere, the tables of flags
# are those of --help, and causes exist.
#
# One line a check; the last line is `N passed, M failed, K skipped`, and the exit code is 1 when M is not 0. The program is
# $SAMI_PROXY_BIN, else the debug build. Needs git; root, iproute2, curl, python3 and openssl for most blocks, and dockerd,
# iptables and busybox for those with Docker. Nothing leaves the namespaces, and all of it ends with this script.
set -Eeuo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8 PATH=$PATH:/usr/sbin:/sbin
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY DOCKER_HOST NO_COLOR
export PROGRAM=${SAMI_PROXY_BIN:-${PROGRAM:-}}
unset "${!SAMI_PROXY_@}"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly readmes=(README.md README.ru.md) name=sami-llm-proxy port=8080
readonly server=81.85.76.160 client=81.85.76.200 # as the READMEs have it, and the rest of the Internet
. scripts/checks.sh
network="" engine="" # why there is none

# What can't be run here, and who does it. The pattern is that of the first line of a block.
declare -rA elsewhere=(
  ["scripts/test.sh"]="it runs this check"
  ["scripts/deb.sh"]="a release build of minutes; scripts/test-deb.sh has its package"
  ["rustup target add *"]="downloads a toolchain; scripts/windows.sh does the same"
)
# What does not end by itself: it has to serve.
declare -rA serving=(["cargo run --release -- serve"]=1)
# The exit code of what ends otherwise than with 0.
declare -rA ends=(["docker logs $name | grep -i error"]=1)
# What a command has to print, as a pattern of grep.
declare -rA prints=(
  ["docker port $name"]="^8080/tcp -> 0.0.0.0:8080"
  ["docker exec $name netstat -tuln | grep 8080"]=LISTEN
  ["docker logs --tail 20 --timestamps $name"]="listening on 0.0.0.0:8080"
  ["docker logs $name | grep pin"]="sha256:"
  ["curl http://localhost:8080/healthz"]="^ok$"
  ["curl -x http://localhost:8080 -o /dev/null -w '%{http_code}\n' https://www.google.com/"]="^200$"
  ["curl -x http://localhost:8080 http://sami-proxy.internal/whoami"]='"trusted":true'
  ["curl -x socks5h://localhost:8080 http://sami-proxy.internal/health"]='"ok":true'
  ["curl -x http://localhost:8080 --data-binary @README.md http://sami-proxy.internal/sink"]='"received":[1-9]'
  ["curl -x http://localhost:8080 -N 'http://sami-proxy.internal/stream?events=5&interval_ms=300'"]='"event":5'
  ["curl -x http://localhost:8080 http://sami-proxy.internal/report"]='"checks":'
  ["sami-proxy explain"]=port-filtered
  ["sami-proxy explain port-filtered --lang ru"]="^где: "
  ["sudo sami-proxy doctor"]=' OK '
)

# ------------------------------------------------------------------------------------------------------------- helpers

# TEXT WANTED: line by line
same() { diff <(printf '%s\n' "$2") <(printf '%s\n' "$1"); }

# --------------------------------------------------------------------------------------------------- what is written there

# README: its blocks as the files NUMBER.LINE.LANGUAGE in a folder of the same name
cut_blocks() {
  mkdir -p "$work/blocks/$1"
  awk -v folder="$work/blocks/$1" '
    !inside && /^```/ { inside = 1; file = sprintf("%s/%02d.%d.%s", folder, ++count, NR, $0 == "```" ? "none" : substr($0, 4)); printf "" >file; next }
    inside && /^```$/ { inside = 0; close(file); next }
    inside { print >file }' "$1"
}

# README: without the blocks
prose() { awk '/^```/ { inside = !inside; next } !inside' "$1"; }

# README: the anchors of its headings, as GitHub makes them
anchors() {
  local heading
  prose "$1" | sed -n 's/^##* //p' | while IFS= read -r heading; do
    heading=${heading,,}
    heading=${heading//[^[:alnum:] _-]/}
    echo "#${heading// /-}"
  done
}

# README: the languages of its blocks, and the commands in them
outline() {
  local file
  for file in "$work/blocks/$1"/*; do
    echo "block ${file##*.}"
    [[ $file != *.sh ]] || cat "$file"
  done
}

links() {
  local file link bad=0
  for file in "${readmes[@]}"; do
    while IFS= read -r link; do
      case $link in
        https://*) continue ;;
        "#"*) grep -qxF -- "$link" <(anchors "$file") && continue ;;
        *) [[ -e $link ]] && continue ;;
      esac
      echo "$file: $link leads nowhere"
      bad=1
    done < <(prose "$file" | grep -oP '\]\(\K[^)]+')
    link=$(anchors "$file" | sort | uniq -d)
    [[ -z $link ]] || { echo "$file: two headings are $link" && bad=1; }
  done
  return $bad
}

# COMMAND: the flags of --help
help_flags() {
  sami-proxy "$1" --help | sed -n '/^Options:/,/^$/p' | grep -oP '^ +\K(-\w(?=[ ,]|$))?(, )?(--[a-z0-9-]+)?' | grep -oE -- '-[-a-z0-9]+' |
    grep -vxE -- '-h|--help' | sort
}

# README HEADING NUMBER…: the flags in the first column of these tables after the heading
table_flags() {
  awk -v heading="$2" -v numbers=" ${*:3} " '
    $0 == heading { on = 1; next }
    on && /^##/ { exit }
    on && /^\|/ && !table { table = 1; count++ }
    !/^\|/ { table = 0 }
    on && table && index(numbers, " " count " ") { split($0, cell, "|"); print cell[2] }' "$1" | grep -oP -- '`\K--?[a-z0-9][-a-z0-9]*' | sort
}

flags() {
  local file=$1 settings=$2 examining=$3
  check "$file: the flags of serve" same "$(table_flags "$file" "$settings" 1)" "$(help_flags serve)"
  check "$file: the flags of check-port" same "$(table_flags "$file" "$examining" 1)" "$(help_flags check-port)"
  check "$file: the flags of probe" same "$(table_flags "$file" "$examining" 1 2)" "$(help_flags probe)"
  check "$file: the flags of doctor" same "$(table_flags "$file" "$examining" 1 2 3 4 5)" "$(help_flags doctor)"
}

# README: in whatever is quoted as a call of the program, the flags are the command's; a service's stand after --
calls() {
  local call command flag bad=0
  while IFS= read -r call; do
    command=${call#*sami-proxy}
    command=${command#.exe}
    command=${command# }
    command=${command%% *}
    for flag in $(grep -oE -- ' --?[a-z][-a-z0-9]*' <<<"$call"); do
      grep -qxF -- "$flag" <(help_flags "$command") || { echo "no $flag: $call" && bad=1; }
    done
  done < <(grep -oE 'sami-proxy(\.exe)? (serve|check-port|probe|doctor|explain)( [^`]*)?' "$1" | sed 's/ *#.*//')
  return $bad
}

# README: what stands alone as a code, in the tables of causes, and after `explain`
codes() {
  local known code bad=0
  known=$(sami-proxy explain --lang en | awk '/^    / { print $1 }')
  for code in $(
    prose "$1" | awk -F'|' '/^\| (cause|причина) / { on = 1 } !/^\|/ { on = 0 } on { print $(NF - 1) }' | grep -oP '`\K[a-z-]+(?=`)'
    prose "$1" | grep -v '^|' | grep -oP '`\K[a-z]+(-[a-z]+)+(?=`)' | grep -vxE 'check-port|sami-(llm-)?proxy'
    grep -oP 'sami-proxy(\.exe)? explain \K[a-z]+-[a-z-]+' "$1"
  ); do
    grep -qxF -- "$code" <<<"$known" || { echo "no cause $code" && bad=1; }
  done
  return $bad
}

# What is expected here of a command that stands there no longer is expected of nothing.
expectations() {
  local line file bad=0 said=""
  for file in "$work/blocks/README.md"/*.sh; do said+=$(commands "$file")$'\n'; done
  for line in "${!elsewhere[@]}" "${!serving[@]}" "${!ends[@]}" "${!prints[@]}"; do
    # shellcheck disable=SC2053 # it may be a pattern
    grep -qxF -- "$line" <<<"$said" || [[ -n ${elsewhere[$line]:-} && $'\n'$said == *$'\n'$line* ]] ||
      { echo "no block has: $line" && bad=1; }
  done
  return $bad
}

test_text() {
  local file
  for file in "${readmes[@]}"; do cut_blocks "$file"; done
  check "both READMEs have the same blocks in the same order" same "$(outline README.md)" "$(outline README.ru.md)"
  check "each block says what it is: sh, console or text" same "$(outline README.md | grep '^block ' | sort -u)" $'block console\nblock sh\nblock text'
  check "what is expected of commands here is of commands there" expectations
  check "every link and anchor leads somewhere" links
  flags README.md "## Settings" "### Their options"
  flags README.ru.md "## Настройки" "### Их флаги"
  for file in "${readmes[@]}"; do
    check "$file: every call of the program has flags that it knows" calls "$file"
    check "$file: every cause that is named exists" codes "$file"
  done
}

# -------------------------------------------------------------------------------------------------------------- the server

# Names and sites: `www.google.com` and all the others on the client, `localhost:8443` here.
readonly internet='
import http.server, socket, ssl, sys, threading
address, dns, *ports = sys.argv[1:]

class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")
    def log_message(self, *_):
        pass

class Site(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):  # somebody did not trust us
        pass

for port in map(int, ports):
    site = Site((address, port), Page)
    if port != 80:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("site.pem", "site.key")
        site.socket = context.wrap_socket(site.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=site.serve_forever).start()

names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind((address, int(dns)))
while True:
    query, asker = names.recvfrom(512)
    end = query.index(0, 12) + 5
    wanted = query[end - 4 : end - 2] == b"\0\1"
    head = query[:2] + b"\x81\x80\0\1\0" + bytes([wanted]) + bytes(4) + query[12:end]
    names.sendto(head + (b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(address)) * wanted, asker)
'

make_certificates() (
  cd "$work"
  openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj "/CN=Example authority" -days 30
  openssl req -newkey rsa:2048 -nodes -keyout site.key -out site.csr -subj "/CN=localhost"
  openssl x509 -req -in site.csr -CA ca.pem -CAkey ca.key -set_serial 2 -days 20 -out site.pem \
    -extfile <(echo "subjectAltName=DNS:localhost,DNS:www.google.com")
)

# This machine's files, and whatever is changed in them is gone afterwards. A server is no container, as this machine may be.
make_root() {
  local root=/run/lab/root
  mount --make-rprivate /
  mount -t tmpfs tmpfs /run
  mkdir -p $root /run/lab/{upper,work}
  mount -t overlay -o lowerdir=/,upperdir=/run/lab/upper,workdir=/run/lab/work overlay $root
  rm -rf $root/.dockerenv $root/etc/docker $root/etc/resolv.conf
  mkdir -p "$root$work" $root/var/lib/docker
  mount --bind "$work" "$root$work"
  mount --rbind /dev $root/dev
  mount --rbind /sys $root/sys
  mount -t proc proc $root/proc
  mount -t tmpfs tmpfs $root/run
  mkdir $root/run/{lock,netns,old}
  pivot_root $root $root/run/old
  cd "$work/copy"
  umount --lazy /run/old
}

make_network() {
  echo "nameserver $client" >/etc/resolv.conf
  ip link set lo up
  ip netns add client
  ip link add wan type veth peer name wan netns client
  ip address add $server/24 dev wan
  ip link set wan up
  ip route add default via $client
  ip netns exec client sh -ec "ip link set lo up; ip address add $client/24 dev wan; ip link set wan up"
  make_certificates >/dev/null 2>&1
  (cd "$work" && ip netns exec client python3 -c "$internet" $client 53 80 443) &
  (cd "$work" && python3 -c "$internet" 127.0.0.1 5353 8443) &
  within 10 curl -sS --cacert "$work/ca.pem" https://www.google.com/ https://localhost:8443/ >/dev/null
}

# PROGRAM FOLDER: with what it needs, to the same place in the image
add() {
  local library
  mkdir -p "$work/image/$2"
  cp -L "$1" "$work/image/$2/"
  { ldd "$1" 2>/dev/null || true; } | { grep -o '/[^ ]*' || true; } | while read -r library; do
    mkdir -p "$work/image/${library%/*}"
    cp -L "$library" "$work/image/$library"
  done
}

# An engine, and what stands for `docker build` there.
make_engine() {
  local tool docker
  docker=$(command -v docker)
  mkdir -p /etc/docker "$work/image"/{etc,tmp,var/lib/sami-proxy}
  mount -t tmpfs -o size=1g tmpfs /var/lib/docker
  dockerd -H unix:///var/run/docker.sock --storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs \
    --cgroup-parent "/$group" >"$work/dockerd.log" 2>&1 &
  within 30 docker version || { tail -1 "$work/dockerd.log" && return 1; }
  cp "$work/bin/sami-proxy" "$work/stripped"
  strip -s "$work/stripped" -o "$work/image/sami-proxy" && rm "$work/stripped"
  add "$work/image/sami-proxy" usr/local/bin && rm "$work/image/sami-proxy"
  add "$(command -v busybox)" bin
  for tool in sh netstat cat; do ln -s busybox "$work/image/bin/$tool"; done
  chown 65532:65532 "$work/image/var/lib/sami-proxy"
  cat >"$work/bin/docker" <<END
#!/bin/bash
[[ "\$*" == "build -t $name ." ]] || exec $docker "\$@"
tar -C $work/image -c . | exec $docker import -c 'USER 65532:65532' -c 'EXPOSE 8080' \
  -c 'HEALTHCHECK --interval=300ms --timeout=5s --retries=20 CMD ["/usr/local/bin/sami-proxy", "healthcheck"]' \
  -c 'ENV PATH=/usr/local/bin:/bin SAMI_PROXY_DRAIN_TIMEOUT=1s SAMI_PROXY_STATE_DIR=/var/lib/sami-proxy' \
  -c 'ENTRYPOINT ["/usr/local/bin/sami-proxy"]' -c 'CMD ["serve"]' - $name
END
  chmod +x "$work/bin/docker"
}

# ------------------------------------------------------------------------------------------------------------- the commands

# Lines that end with a backslash are one with the next.
commands() { sed -e ':again' -e '/\\$/{N;s/\\\n *//;b again' -e '}' "$1"; }

answers() { [[ $(curl -sS -m 2 "http://localhost:$port/healthz") == ok ]]; }
healthy() { docker exec "$name" sami-proxy healthcheck; }

# LINE: says why it is not what it should be
run_line() {
  local line=$1 said code=0
  if [[ -n ${serving[$line]:-} ]]; then
    setpriv --pdeathsig KILL bash -c "exec $line" >"$work/said" 2>&1 &
    within 20 answers || { cat "$work/said" && return 1; }
    kill $!
    wait $! 2>/dev/null || true
    return
  fi
  said=$(timeout 60 bash -c "$line" 2>&1 </dev/null) || code=$?
  if ((code != ${ends[$line]:-0})); then
    printf '$ %s\n%s\nexit code %d\n' "$line" "$said" "$code"
    return 1
  fi
  if [[ -n ${prints[$line]:-} ]] && ! grep -qE -- "${prints[$line]}" <<<"$said"; then
    printf '$ %s\n%s\nwithout %s\n' "$line" "$said" "${prints[$line]}"
    return 1
  fi
  if [[ $line == "docker run -d "* ]]; then within 20 healthy && within 5 answers; fi
}

# FILE
run_sh() {
  local line
  while IFS= read -r line; do
    run_line "$line" || return
  done < <(commands "$1")
}

# What may be other at another time: numbers and the length of bars.
timeless() { sed -E 's/<?[0-9]+([.,][0-9]+)?/N/g; s/█+//g; s/ +/ /g; s/ $//; /^$/d'; }

# FILE: what is quoted is what is said, in that order; `…` stands for lines that are left out
run_console() {
  local command said wanted=() got=() at=0 line gap=false
  command=$(sed -n '1s/^\$ //p' "$1")
  said=$(timeout 60 bash -c "$command" 2>/dev/null </dev/null) || true
  mapfile -t wanted < <(sed 1d "$1" | timeless)
  mapfile -t got < <(timeless <<<"$said")
  for line in "${wanted[@]}"; do
    if [[ $line == … ]]; then gap=true && continue; fi
    while $gap && ((at < ${#got[@]})) && [[ ${got[at]} != "$line" ]]; do at=$((at + 1)); done
    [[ ${got[at]:-} == "$line" ]] || { printf 'wanted: %s\nit says today:\n%s\n' "$line" "$said" && return 1; }
    at=$((at + 1)) gap=false
  done
  $gap || ((at == ${#got[@]})) || { printf 'it says more today:\n%s\n' "$said" && return 1; }
}

# FILE README
test_block() {
  local file=$1 number line language what first text why="" own=""
  IFS=. read -r number line language <<<"${file##*/}"
  first=$(sed -n 1p "$file") text=$(<"$file")
  [[ $language != console ]] || text=$first
  what="$2:$line $first"
  for pattern in "${!elsewhere[@]}"; do
    # shellcheck disable=SC2053 # it is a pattern
    [[ $first != $pattern ]] || why=${elsewhere[$pattern]}
  done
  case $text in
    *"docker "*) why=${why:-$engine} ;;
    *localhost* | *127.0.0.1* | *serve*) why=${why:-$network} ;;
  esac
  if [[ -n $why ]]; then
    skip "$what" "$why"
    [[ $language != sh ]] || bash -n "$file" || fail "$what: not even the syntax is right"
    return
  fi
  case $text in
    *"docker run "*) docker rm -f "$name" >/dev/null 2>&1 || true ;;
    *"docker "*) docker start "$name" >/dev/null && within 20 healthy ;;
    *"localhost:$port"* | *"127.0.0.1:$port"*)
      # What is quoted of a target on this machine needs that.
      SAMI_PROXY_ALLOW_PRIVATE=$([[ $text != *localhost:8443* ]] && echo false || echo true) sami-proxy serve >"$work/serve" 2>&1 &
      own=$!
      within 20 answers || { fail "$what" "$(<"$work/serve")" && return; }
      ;;
  esac
  check "$what" "run_$language" "$file"
  if [[ -n $own ]]; then
    kill "$own"
    wait "$own" || true
  elif [[ -z $engine && -n $(docker ps -q) ]]; then
    docker stop "$name" >/dev/null
  fi
}

test_commands() {
  local file number
  [[ -z $network ]] || echo "     (without a network of its own: $network)"
  [[ -z $engine ]] || echo "     (without Docker: $engine)"
  echo "     (instead of docker build, cargo run, the Internet: the program at hand, a machine beside this one)"
  for file in "$work/blocks/README.md"/*; do
    number=${file##*/}
    if [[ $file == *.sh ]]; then
      # The other README has the same ones: test_text.
      test_block "$file" README.md
    elif [[ $file == *.console ]]; then
      test_block "$file" README.md
      test_block "$(echo "$work/blocks/README.ru.md/${number%%.*}".*.console)" README.ru.md
    fi
  done
}

# --------------------------------------------------------------------------------------------------------------- all of it

all() {
  trap tell_broken EXIT
  trap 'broken="line $LINENO: $BASH_COMMAND"' ERR
  trap 'broken="a signal"; exit 130' INT TERM
  network=$REASON engine=$REASON
  cd "$work/copy"
  [[ -n $network ]] || make_root
  export PATH=$work/bin:$PATH CURL_CA_BUNDLE=$work/ca.pem
  # shellcheck disable=SC2016 # for the other shell
  printf '#!/bin/sh\n[ "$1 $2 $3 $4" = "run --release -- serve" ] && exec sami-proxy serve\nexit 1\n' >"$work/bin/cargo"
  printf '#!/bin/sh\nPATH=/usr/local/bin:$PATH exec "$@"\n' >"$work/bin/sudo"
  chmod +x "$work/bin"/*
  test_text
  if [[ -z $network ]]; then
    make_network >"$work/why" 2>&1 || network="$(tail -1 "$work/why")" engine=$network
    cp "$work/ca.pem" . 2>/dev/null || true
  fi
  for tool in docker dockerd iptables busybox strip; do
    command -v "$tool" >/dev/null || engine="${engine:-there is no $tool}"
  done
  [[ -n $engine ]] || make_engine >"$work/why" 2>&1 || engine="no engine starts here: $(tail -1 "$work/why")"
  test_commands
  finish
}

clean_up() {
  # Control groups are all that is left of the engine.
  find /sys/fs/cgroup -depth -type d -path "*/$group*" -exec rmdir {} + 2>/dev/null || true
  rm -rf "$work"
}

outside() {
  local program=${PROGRAM:-${CARGO_TARGET_DIR:-target}/debug/sami-proxy} tool code=0
  [[ -n ${PROGRAM:-} ]] || cargo build --locked --quiet
  work=$(mktemp -d)
  export work group=sami-docs-$$ REASON=""
  trap clean_up EXIT
  mkdir -p "$work/bin" "$work/copy"
  cp "$program" "$work/bin/sami-proxy"
  git ls-files -z | tar --null -T - -c | tar -C "$work/copy" -x
  for tool in ip curl python3 openssl setpriv; do
    command -v "$tool" >/dev/null || REASON="there is no $tool"
  done
  unshare --mount --pid --net --fork true 2>/dev/null || REASON="no namespaces can be had"
  unshare --mount sh -c 'mount -t tmpfs tmpfs /run && mkdir -p /run/a /run/b /run/c &&
    mount -t overlay -o lowerdir=/,upperdir=/run/a,workdir=/run/b overlay /run/c' 2>/dev/null || REASON="no overlay can be had"
  [[ $EUID == 0 ]] || REASON="this needs root"
  if [[ -z $REASON ]]; then
    setpriv --pdeathsig KILL unshare --mount --pid --net --fork --kill-child bash "${BASH_SOURCE[0]}" --inside || code=$?
  else
    bash "${BASH_SOURCE[0]}" --inside || code=$?
  fi
  exit "$code"
}

case ${1:-} in
  "") outside ;;
  --inside) all ;;
  *) echo "usage: scripts/check-docs.sh" >&2 && exit 2 ;;
esac
