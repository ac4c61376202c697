#!/usr/bin/env bash
# Tests scripts/install-server.sh on a server of its own: private namespaces with a real Docker engine, real ufw, and a
# client at the other end of a cable. apt, firewalld, and the service manager are fakes that write down what they are told;
# the lines of these checks say so.
#
#   scripts/test-install.sh
#
# One line a check; the last line is `N passed, M failed, K skipped`, and the exit code is 1 when M is not 0.
# Needs Linux, root, dockerd, curl, iproute2, iptables, python3; ufw and strace where they can be had. The program is
# $SAMI_PROXY_BIN, else the debug build. Nothing leaves the namespaces, and all of it ends with this script.
set -Eeuo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY DOCKER_HOST
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly main=sami-llm-proxy folder=/etc/sami-llm-proxy # as the script has them
readonly script=$PWD/scripts/install-server.sh
readonly server=81.85.76.160 client=81.85.76.200
. scripts/checks.sh

# ------------------------------------------------------------------------------------------------------------- helpers

# TEXT PATTERN
matches() { [[ $1 =~ $2 ]] || { printf 'not like %s:\n%s\n' "$2" "$1"; return 1; }; }

# ---------------------------------------------------------------------------------------------------- outside: namespaces

outside() {
  local tool program=${SAMI_PROXY_BIN:-${CARGO_TARGET_DIR:-target}/debug/sami-proxy} code=0
  [[ $EUID == 0 ]] || skip_all "this needs root, for a Docker engine of its own"
  for tool in docker dockerd unshare setpriv ip ss iptables curl python3 script strip; do
    command -v "$tool" >/dev/null || skip_all "there is no $tool"
  done
  unshare --mount --pid --net --fork true 2>/dev/null || skip_all "there are no namespaces to be had"
  work=$(mktemp -d)
  export work group=sami-install-$$
  trap 'clean_up' EXIT
  [[ -n ${SAMI_PROXY_BIN:-} ]] || cargo build --locked --quiet
  cp "$program" "$work/sami-proxy"
  setpriv --pdeathsig KILL unshare --mount --pid --net --fork --kill-child bash "${BASH_SOURCE[0]}" --inside || code=$?
  exit "$code"
}

clean_up() {
  # Control groups are all that is left of the engine.
  find /sys/fs/cgroup -depth -type d -path "*/$group*" -exec rmdir {} + 2>/dev/null || true
  rm -rf "$work"
}

# ------------------------------------------------------------------------------------------------------ inside: the server

make_server() {
  mount --make-rprivate /
  mount -t proc proc /proc
  mount -t tmpfs tmpfs /run
  mkdir -p /run/lab/etc /run/lab/work /run/lock /run/netns "$work/fakes" "$work/image"
  mount -t overlay -o lowerdir=/etc,upperdir=/run/lab/etc,workdir=/run/lab/work overlay /etc
  rm -rf /etc/docker /etc/sami-llm-proxy
  echo "nameserver $client" >/etc/resolv.conf
  mkdir -p /etc/docker /var/lib/docker
  mount -t tmpfs -o size=1g tmpfs /var/lib/docker
  ip link set lo up
  ip netns add client
  ip link add wan type veth peer name wan netns client
  ip address add $server/24 dev wan
  ip link set wan up
  ip route add default via $client
  ip netns exec client sh -ec "ip link set lo up; ip address add $client/24 dev wan; ip link set wan up"
  mkdir "$work/www"
  echo "the page" >"$work/www/index.html"
  for port in 80 443; do
    ip netns exec client python3 -m http.server -b $client -d "$work/www" $port >/dev/null 2>&1 &
  done
  # Every name is the client's, so that the doctor finds a way out.
  ip netns exec client python3 -c '
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
while True:
    query, asker = server.recvfrom(512)
    end = query.index(0, 12) + 5
    wanted = query[end - 4 : end - 2] == b"\0\1"
    head = query[:2] + b"\x81\x80\0\1\0" + bytes([wanted]) + bytes(4) + query[12:end]
    address = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(sys.argv[1])
    try:
        server.sendto(head + address * wanted, asker)
    except OSError:  # the asker has got another address
        pass
' $client &
}

# OPTION OF dockerd…
start_engine() {
  dockerd -H unix:///var/run/docker.sock --storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs \
    --cgroup-parent "/$group" "$@" >>"$work/dockerd.log" 2>&1 &
  within 30 docker version || { tail -5 "$work/dockerd.log" && return 1; }
}

stop_engine() {
  local daemon
  daemon=$(</run/docker.pid)
  kill "$daemon"
  timeout 30 tail --pid="$daemon" -f /dev/null
}

# What a program needs, at the same place.
add() {
  local library
  cp -L "$1" "$work/image/$2/"
  { ldd "$1" 2>/dev/null || true; } | { grep -o '/[^ ]*' || true; } | while read -r library; do
    mkdir -p "$work/image/${library%/*}"
    cp -L "$library" "$work/image/$library"
  done
}

# NAME OPTION OF docker import…: as the Dockerfile makes it, of the program at hand, and with a quicker health check
import() {
  local tag=$1
  shift
  tar -C "$work/image" -c . | docker import -c 'USER 65532:65532' -c 'EXPOSE 8080' \
    -c 'HEALTHCHECK --interval=300ms --timeout=5s --retries=20 CMD ["/usr/local/bin/sami-proxy", "healthcheck"]' \
    -c 'ENV PATH=/usr/local/bin:/bin SAMI_PROXY_DRAIN_TIMEOUT=1s SAMI_PROXY_STATE_DIR=/var/lib/sami-proxy' \
    -c 'ENTRYPOINT ["/usr/local/bin/sami-proxy"]' -c 'CMD ["serve"]' - "$tag" >/dev/null
}

make_images() {
  local root=$work/image
  mkdir -p "$root"/{usr/local/bin,bin,etc,var/lib/sami-proxy,tmp}
  strip -s "$work/sami-proxy"
  add "$work/sami-proxy" usr/local/bin
  add "$(command -v sh)" bin
  chown 65532:65532 "$root/var/lib/sami-proxy"
  import lab/proxy
  # The same, with a program that this machine can't run: its interpreter is in the image only.
  mv "$root/usr/local/bin/sami-proxy" "$root/usr/local/bin/real"
  cp "$root/bin/sh" "$root/bin/only-here"
  # shellcheck disable=SC2016 # for the other shell
  printf '#!/bin/only-here\nexec real "$@"\n' >"$root/usr/local/bin/sami-proxy"
  chmod +x "$root/usr/local/bin/sami-proxy"
  import lab/elsewhere
}

# Everything that an installation could leave, and a run that changes nothing could change.
state() {
  docker ps -a --no-trunc --format '{{.ID}} {{.Names}} {{.Ports}} {{.State}}'
  docker images -a --no-trunc --format '{{.ID}} {{.Repository}}' | sort
  docker volume ls -q
  find /etc -xdev -newer "$work/began" -type f ! -path '/etc/mtab' -exec sha256sum {} + | sort
  ls -d $folder 2>/dev/null || true
  iptables-save | grep '^-A' | grep -v DOCKER || true
}

# OPTION…: the script without questions; sets out, err, code, and what it printed for Sami
install() {
  code=0
  "${with[@]}" "${at:-$script}" --yes "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
  out=$(<"$work/out") err=$(<"$work/err")
  host=$(value Host) port=$(value Port) user=$(value Username) password=$(value Password)
}
with=()

value() { sed -n "s/^    .*$1[:)][: ]*//p" "$work/out"; }

# Exit code and one line, which has this.
complains() { is "exit code $code" "exit code $1" && is "$(wc -l <"$work/err")" 1 && has "$err" "$2"; }

installed() {
  has "$out" "What the doctor says:" || has "$out" "Что говорит doctor:" || { echo "$err" && return 1; }
  is "$(docker container inspect -f '{{.State.Health.Status}}' $main)" healthy
}

id() { docker container inspect -f '{{.Id}} {{.State.StartedAt}}' $main; }

# From the client, over the cable, to an origin with a public address.
from_client() { ip netns exec client curl -q -sS -m 10 "$@" "http://$client/"; }
serves() { is "$(from_client -x "http://$host:$port" -U "$user:$password")" "the page"; }
status() { from_client -o /dev/null -w '%{http_code}' -x "http://$host:$port" "$@" || true; }

uninstall() { install --uninstall; }

# NAME SCRIPT: a program in front of the real one
fake() {
  printf '#!/bin/sh\n%s\n' "$2" >"$work/fakes/$1"
  chmod +x "$work/fakes/$1"
}

# ---------------------------------------------------------------------------------------------------------------- the cases

test_words() {
  local key place kind lacking="" said
  # Every text in both languages, and every hosting of the doctor.
  while read -r key; do
    for kind in en ru; do grep -q "^  \[$key\.$kind\]=" "$script" || lacking+=" $key.$kind"; done
  done < <(sed -n 's/^  \[\([a-z_]*\)\.\(en\|ru\)\]=.*/\1/p' "$script" | sort -u)
  check "every text is there in both languages" is "$lacking" ""
  lacking=""
  while IFS='|' read -r name place; do
    grep -qF "='$name: $place'" "$script" || lacking+=" $name"
  done < <(tr '\n' ' ' <src/diag/packets/provider.rs |
    grep -oE 'Self::[A-Za-z]+ => (\{ *)?\("[^"]+", *"[^"]+"\)' | sed -E 's/.*\("([^"]+)", *"([^"]+)"\)/\1|\2/')
  check "the consoles are those of the doctor" is "$lacking" ""
  said=$(tr '\n' ' ' <src/diag/packets/provider.rs | grep -oE 'Self::[A-Za-z]+ => (\{ *)?\(' | wc -l)
  check "… all of them" is "$(grep -c "^  \[[a-z-]*\]='" "$script")" "$said"
}

test_usage() {
  install --help
  check "--help" has "exit $code: $out" "exit 0: usage: "
  install --help --lang ru
  check "--help --lang ru" has "$out" "Использование: "
  install --nonsense
  check "an unknown option: exit code 2 and one line" complains 2 --nonsense
  install --nonsense --lang ru
  check "… in Russian" complains 2 "неизвестный ключ"
  install --port
  check "an option without its value" complains 2 --port
  install --port 70000
  check "a port that is none" complains 2 70000
  install --lang de
  check "a language that it does not speak" complains 2 de
  install --user 'a b'
  check "a user name with a space" complains 2 "user name"
  install --image '-v/:/x'
  check "an image that would be an option of docker" complains 2 "not the name of an image"
  printf 'päss:wörd\n' >"$work/bad"
  install --image lab/proxy --password-file "$work/bad"
  check "a password that URLs mangle: one line, which does not repeat it" complains 2 "--password-file"
  check "…" lacks "$err" wörd
  code=0
  "$script" >"$work/out" 2>"$work/err" </dev/null || code=$?
  err=$(<"$work/err")
  check "no terminal and no --yes: exit code 2" complains 2 "--yes"
  cp "$script" "$work/alone.sh"
  chmod 755 "$work" "$work/alone.sh"
  with=(setpriv --reuid 65534 --regid 65534 --clear-groups) at=$work/alone.sh
  install --image lab/proxy
  check "not root: one line with sudo" complains 1 "sudo $work/alone.sh --yes --image lab/proxy"
  with=()
  install
  check "no checkout and no image: one line" complains 1 "--image"
  at=""
  uninstall
  check "--uninstall takes away what such a try may have left" is "$(ls -d $folder 2>&1 || true)" \
    "ls: cannot access '$folder': No such file or directory"
  uninstall
  check "--uninstall when nothing is installed" has "exit $code: $out" "exit 0: Nothing of sami-proxy"
}

test_dry_run() {
  local before
  before=$(state)
  install --dry-run --image lab/proxy --port 9090
  check "--dry-run shows the command" has "exit $code: $out" "+ docker run -d --name $main -p 9090:8080 --restart unless-stopped"
  check "--dry-run changes nothing" is "$(state)" "$before"
  check "--dry-run has no password" is "$password" ""
}

test_docker_missing() {
  local tool place
  mkdir "$work/bare"
  for place in /usr/local/bin /usr/bin /usr/sbin /bin /sbin; do
    for tool in "$place"/*; do
      [[ ${tool##*/} == docker* || -e $work/bare/${tool##*/} ]] || ln -s "$tool" "$work/bare/"
    done
  done
  rm -f "$work/bare/apt-get"
  # The script appends the folders of root's programs; those have a dockerd and no docker.
  with=(env "PATH=$work/bare")
  if [[ -e /usr/sbin/docker || -e /sbin/docker ]]; then
    skip "Docker missing: here it can not be hidden"
    with=()
    return
  fi
  install --image lab/proxy
  check "neither Docker nor apt-get: one line" complains 1 "apt-get"
  cat >"$work/bare/apt-get" <<FAKE
#!/bin/sh
[ "\$DEBIAN_FRONTEND" = noninteractive ] || exit 1
echo "apt-get \$*" >>$work/told
case "\$*" in *docker-cli*) ln -s $(command -v docker) $work/bare/docker ;; esac
FAKE
  chmod +x "$work/bare/apt-get"
  install --image lab/proxy --dry-run
  check "Docker missing, --dry-run: shows apt-get" has "exit $code: $out" "apt-get -qq -o DPkg::Lock::Timeout=300 install -y docker.io"
  check "… and does not run it (fake apt)" is "$(cat "$work/told" 2>/dev/null || true)" ""
  install --image lab/proxy
  check "Docker missing: apt-get installs docker.io, and docker-cli where that is another (fake apt, which only uncovers docker)" \
    is "$(sed 's/-qq -o DPkg::Lock::Timeout=300 //' "$work/told")" \
    $'apt-get update\napt-get install -y docker.io\napt-get install -y docker-cli'
  check "… and the proxy is installed" installed
  uninstall
  with=()
}

test_no_answer() {
  # shellcheck disable=SC2016 # for the fake
  fake service 'echo "service $*" >>$FAKE_LOG; exit 1'
  with=(env "PATH=$work/fakes:$PATH" "FAKE_LOG=$work/service" DOCKER_HOST=unix:///run/nobody.sock)
  install --image lab/proxy
  check "an engine that does not start: one line (fake service manager)" complains 1 "does not answer"
  check "… after it was told to start" is "$(cat "$work/service" 2>/dev/null || true)" "service docker start"
  rm "$work/fakes/service"
  with=()
}

test_fresh() {
  local inspected traced=false
  if strace -qf -o /dev/null true 2>/dev/null; then
    traced=true
    with=(strace -qf -v -s 4096 -e "trace=execve" -o "$work/strace")
  fi
  install --image lab/proxy
  with=()
  check "a fresh installation: the container is healthy" installed
  check "… the values for Sami: host, port, user" is "$host $port $user" "$server 8080 sami"
  check "… a password of 144 bits that URLs leave alone" matches "$password" '^[A-Za-z0-9_-]{24}$'
  check "… the page through the proxy with these values, over the cable" serves
  check "… 407 without them" is "$(status)" 407
  check "… 407 with another password" is "$(status -U "sami:x$password")" 407
  check "… the doctor has looked at it, from outside of the container" has "exit $code: $out" "All is well on the server"
  check "… exit code 0, no complaint" is "$code $err" "0 "
  check "… the settings are for the container alone" is "$(stat -c '%a %u:%g' $folder $folder/settings.toml)" \
    $'700 0:0\n400 65532:65532'
  inspected=$(docker inspect $main)
  check "… docker inspect has no password" lacks "$inspected" "$password"
  check "… nor has docker logs" lacks "$(docker logs $main 2>&1)" "$password"
  check "… nor has the list of what was installed" lacks "$(<$folder/install)" "$password"
  check "… read-only, without capabilities and new privileges, restarted" is "$(docker inspect -f \
    '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.RestartPolicy.Name}}' $main)" \
    "true [ALL] [no-new-privileges] unless-stopped"
  check "… no program of the doctor is left" is "$(ls $folder)" $'install\nsettings.toml'
  if $traced; then
    check "… the password is among no program's arguments and variables ($(grep -c execve "$work/strace") seen)" \
      lacks "$(<"$work/strace")" "$password"
  else
    skip "the password is among no program's arguments: strace can't be had here"
  fi
}

test_again() {
  local before had=$password seen
  before="$(id) $(state)" seen=$(stat -c %Y.%i $folder/settings.toml)
  install
  check "a second run: nothing changed" is "$(id) $(state)" "$before"
  check "… not even the time of the settings" is "$(stat -c %Y.%i $folder/settings.toml)" "$seen"
  check "… the same password, and it says so" is "$password" "$had"
  check "…" has "$out" "the password is the one of before"
  docker stop -t 1 $main >/dev/null
  install
  check "a container that was stopped is started, and stays the same" is "$(id | cut -d' ' -f1)" "${before%% *}"
  check "…" serves
  with=(env LC_ALL= LC_MESSAGES=ru_RU.UTF-8)
  install
  with=()
  check "in Russian, by the locale" has "$out" "Введите в настройках прокси в Sami:"
  check "… the same values" is "$host $port $user $password" "$server 8080 sami $had"
  check "… no text is left in English" lacks "$out" " is "
}

test_changes() {
  local had=$password before
  before=$(id)
  install --dry-run --port 9090 --user anna
  check "--dry-run of a change shows it" has "$out" "+ docker stop $main
+ docker rm $main
+ docker run -d --name $main -p 9090:8080 "
  install --dry-run --uninstall
  check "--dry-run --uninstall too" has "$out" "+ rm -rf $folder"
  check "… and both do nothing" is "$(id)" "$before"
  install --port 9090
  check "another port: served there" serves
  check "… and printed" is "$port" 9090
  check "… by a new container, with the old password" lacks "$(id) $password" "$before $had"
  check "… nothing is left on the old one" lacks "$(docker port $main)" ":8080"
  before=$(id)
  install
  check "the port is remembered" is "$(id) $port" "$before 9090"
  echo "deny-to = [\"$client\"]" >>$folder/settings.toml
  install
  check "a line added to the settings is in force after the next run" is "$(status -U "$user:$password")" 403
  sed -i '/^deny-to/d' $folder/settings.toml
  printf 'another_password-1\r\n' >"$work/good"
  install --user anna --password-file "$work/good"
  check "another user and a password of one's own" serves
  check "…" is "$user $password" "anna another_password-1"
  check "… is not the one of before" lacks "$out" "of before"
  echo 'port = nonsense' >>$folder/settings.toml
  local began=$SECONDS
  install
  check "settings that serve refuses: one line" complains 1 "docker logs --tail 20 $main"
  check "… before the minute is over that a start may take" is "$((SECONDS - began < 45))" 1
  sed -i '/^port/d' $folder/settings.toml
  install --port 8080
  check "… mended" serves
  sed -i 's/^auth/#auth/' $folder/settings.toml
  before=$(id)
  install
  check "settings without credentials: one line, nothing changed" complains 1 "$folder/settings.toml"
  check "…" is "$(id)" "$before"
  sed -i 's/^#auth/auth/' $folder/settings.toml
}

test_taken() {
  local before
  before=$(id)
  python3 -m http.server -b 0.0.0.0 7070 >/dev/null 2>&1 &
  within 10 curl -sS -m 5 -o /dev/null http://127.0.0.1:7070/
  install --port 7070
  check "a port that is taken: one line that names the program" complains 1 "port 7070 is taken by python3 (pid $!)"
  check "… and the container goes on" is "$(id)" "$before"
  kill $!
  wait $! 2>/dev/null || true
  docker run -d --name other -p 7071:8080 lab/proxy >/dev/null
  install --port 7071
  check "a port that another container has: one line that names it" complains 1 "port 7071 is taken by the container other"
  docker rm -f other >/dev/null
}

test_ufw() {
  local before
  if ! command -v ufw >/dev/null; then
    skip "ufw: it can't be had here"
    return
  fi
  ufw --force enable >"$work/ufw" 2>&1 || true
  if ! LC_ALL=C ufw status | grep -q '^Status: active'; then
    skip "ufw: it does not start here: $(tail -1 "$work/ufw")"
    return
  fi
  before=$(LC_ALL=C ufw status verbose)
  install
  check "ufw on: says that it does not govern the port" has "$out" "it does not govern ports that Docker publishes: port 8080"
  check "… changes nothing in it" is "$(LC_ALL=C ufw status verbose)" "$before"
  check "… and it is true: the page, over the cable" serves
}

# Docker without rules of its own: its relay is a program of the server.
test_governed() {
  uninstall
  stop_engine
  iptables -t nat -F
  iptables -F FORWARD
  start_engine --iptables=false --ip-masq=false
  install --image lab/proxy
  if command -v ufw >/dev/null && LC_ALL=C ufw status | grep -q '^Status: active'; then
    check "Docker without iptables, ufw on: the port is opened in it" matches "$(LC_ALL=C ufw status)" '8080/tcp +ALLOW'
    check "… and it says so" has "$out" "which ufw governs: the port is open there"
    check "… the doctor sees that nothing gets out, and it is said last" complains 1 "doctor has found a problem"
    check "… and that was needed: 407, over the cable" is "$(status)" 407
    ufw delete allow 8080/tcp >/dev/null
    check "… nothing without it" is "$(status -m 2 2>/dev/null)" 000
    install --port 9090
    check "another port: that one is opened" matches "$(LC_ALL=C ufw status)" '9090/tcp +ALLOW'
    install --port 8080
    check "… and closed again when it is no longer needed" lacks "$(LC_ALL=C ufw status)" 9090
    uninstall
    check "--uninstall closes it" lacks "$(LC_ALL=C ufw status)" 8080
    ufw --force disable >/dev/null
  else
    skip "a port that ufw governs: ufw does not run here"
    uninstall
  fi
  # shellcheck disable=SC2016 # for the fake
  fake firewall-cmd 'echo "$*" >>$FAKE_LOG; case "$*" in *query*) exit 1 ;; esac'
  with=(env "PATH=$work/fakes:$PATH" "FAKE_LOG=$work/firewalld")
  install --image lab/proxy
  check "the same with firewalld (fake): opened now and for good" is "$(grep add "$work/firewalld")" \
    $'--permanent --add-port=8080/tcp\n--add-port=8080/tcp'
  uninstall
  check "… and closed (fake)" is "$(grep remove "$work/firewalld")" $'--permanent --remove-port=8080/tcp\n--remove-port=8080/tcp'
  stop_engine
  start_engine
  : >"$work/firewalld"
  install --image lab/proxy
  check "firewalld (fake) and Docker's rules: does not govern, nothing changed" \
    is "$(grep -c port "$work/firewalld") $(grep -c 'firewalld is on, but it does not govern' <<<"$out")" "0 1"
  uninstall
  rm "$work/fakes/firewall-cmd"
  with=()
}

# Whose machine it is and which address it has: what the doctor finds out.
test_place() {
  mkdir -p /run/cloud-init
  echo '{"v1": {"cloud_name": "hetzner"}}' >/run/cloud-init/instance-data.json
  echo hetzner >/run/cloud-init/cloud-id
  ip address add 10.5.5.5/24 dev wan
  ip address del $server/24 dev wan
  ip route replace default via 10.5.5.1
  install --image lab/proxy
  check "a hosting that the doctor knows: where its firewall is" has "$out" \
    "(Hetzner: Cloud Console → Firewalls; Robot → Server → Firewall)"
  check "a server with a private address: says so, and prints none" is "$host" ADDRESS-OF-THIS-SERVER
  check "…" has "$out" "knows only the address 10.5.5.5"
  uninstall
  ip address add $server/24 dev wan
  ip address del 10.5.5.5/24 dev wan
  ip route replace default via $client
  rm -r /run/cloud-init
}

test_foreign() {
  docker run -d --name $main lab/proxy >/dev/null
  local before
  before=$(id)
  install --image lab/proxy
  check "a container of that name which it has not made: one line" complains 1 "docker rm -f $main"
  check "… and it stays" is "$(id)" "$before"
  docker rm -f $main >/dev/null
  uninstall
}

test_elsewhere() {
  install --image lab/elsewhere
  check "an image whose program does not run here: says that the doctor was not asked" has "$out" "the doctor was not asked"
  check "… exit code 0, and the address is not certain" has "exit $code: $out" "ADDRESS-OF-THIS-SERVER"
  check "… nor is it hidden" has "exit $code: $out" "knows only the address $server"
  host=$server
  check "… and it serves" serves
  uninstall
}

# With a terminal.
test_questions() {
  local said
  printf 'boris\n' | script -qec "$script --image lab/proxy" /dev/null >"$work/out" 2>&1 || true
  tr -d '\r' <"$work/out" >"$work/clean" && mv "$work/clean" "$work/out"
  host=$(value Host) port=$(value Port) user=$(value Username) password=$(value Password)
  check "on a terminal it asks for the user name" has "$(<"$work/out")" "User name for Sami [sami]: "
  check "… and takes it" serves
  check "…" is "$user" boris
  said=$(printf 'n\n' | script -qec "$script --uninstall" /dev/null 2>&1)
  check "--uninstall asks, and takes no for an answer" has "$said" "Nothing removed."
  check "…" serves
  said=$(printf 'y\n' | script -qec "$script --uninstall" /dev/null 2>&1)
  check "… and yes" has "$said" "Removed."
}

# A checkout whose Dockerfile has two stages, as ours, and takes no minutes.
test_build() {
  local before first old copy=$work/checkout
  before=$(state)
  mkdir -p "$copy/scripts"
  cp "$script" "$copy/scripts/"
  touch "$copy/Cargo.toml"
  cat >"$copy/Dockerfile" <<'D'
FROM lab/proxy AS build
USER 0
RUN echo made >/made
FROM lab/proxy
COPY --from=build /made /made
D
  at=$copy/scripts/install-server.sh
  install
  check "in a checkout it builds the image (a short Dockerfile)" is "$(docker inspect -f '{{.Config.Image}}' $main)" $main
  check "… and that serves" serves
  first=$(id) old=$(docker inspect -f '{{.Image}}' $main)
  install
  check "… a second run changes nothing" is "$(id)" "$first"
  sed -i 's/echo made/echo mended/' "$copy/Dockerfile"
  install
  check "… after a change of the sources the container is a new one" lacks "$(id)" "$first"
  check "… with the old password" serves
  check "… and the old image is gone, with the layers that only it needed" \
    is "$(docker image inspect "$old" 2>/dev/null || docker images -qf dangling=true | wc -l)" $'[]\n1'
  docker run -d --name user-of-it $main >/dev/null
  uninstall
  check "--uninstall leaves what somebody else uses" is "$(docker inspect -f '{{.State.Running}}' user-of-it)" true
  docker rm -f user-of-it >/dev/null
  docker rmi $main >/dev/null
  install
  uninstall
  check "--uninstall leaves nothing: containers, images, layers of the build, files" has "$out" Removed
  docker image prune -f >"$work/pruned"
  check "…" is "$(state)" "$before"
  check "… nothing for docker image prune" is "$(grep -c sha256 "$work/pruned" || true)" 0
  at=""
}

inside() {
  trap tell_broken EXIT
  trap 'broken="line $LINENO: $BASH_COMMAND"' ERR
  trap 'broken="a signal"; exit 130' INT TERM
  make_server
  start_engine >"$work/why" 2>&1 || skip_all "no Docker engine starts here: $(tail -1 "$work/why")"
  make_images
  touch "$work/began"
  before_all=$(state)
  test_words
  test_usage
  test_dry_run
  test_docker_missing
  test_no_answer
  test_fresh
  test_again
  test_changes
  test_taken
  test_ufw
  test_governed
  test_place
  test_foreign
  test_elsewhere
  test_questions
  test_build
  check "after all of it: containers, images and files as before" is "$(state | grep -v ufw)" "$before_all"
  finish
}

case ${1:-} in
  "") outside ;;
  --inside) inside ;;
  *) echo "usage: scripts/test-install.sh" >&2 && exit 2 ;;
esac
