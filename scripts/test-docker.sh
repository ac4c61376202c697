#!/usr/bin/env bash
# Builds the image from the working tree and tests what is promised of it on the Docker engine of this machine.
#
#   scripts/test-docker.sh [OPTION OF docker build]…
#
# One line a check; the last line is `N passed, M failed`, and the exit code is 1 when M is not 0. Without an engine, or
# without the base images and a registry to get them from, ../shared/docker/base-images.sh is run if it is there; if that
# does not help either, the last line is `0 passed, 0 failed, 1 skipped`. Its containers and images are gone afterwards;
# of the layers, those of the last build are kept for the next.
# Needs Linux, bash, curl, and for the check of SIGKILL root. Sends nothing beyond this machine.
set -Eeuo pipefail
export LC_ALL=C
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly image=sami-llm-proxy main=sami-llm-proxy # as README.md has them
readonly run=sami-test-$$                         # the name of everything else
readonly port=8080
readonly bases=(rust:1-slim-bookworm busybox:stable-musl)
readonly make_bases=../shared/docker/base-images.sh
readonly auth=(-e SAMI_PROXY_AUTH=sami:secret -e SAMI_PROXY_ALLOW_PRIVATE=true)
readonly login=c2FtaTpzZWNyZXQ= # sami:secret
readonly megabyte=1000000
readonly source=https://example.org/sami-proxy revision=0123456789abcdef # as a publisher would give them
readonly labels=(--build-arg "SOURCE=$source" --build-arg "REVISION=$revision")
readonly builds=(-f dangling=true -f label=sami-proxy.stage=build)

containers=() tags=() networks=() volumes=() loads=()
had_image="" # the image that had the tag before
work=$(mktemp -d)
. scripts/checks.sh

cleanup() {
  ((${#loads[@]} == 0)) || kill "${loads[@]}" 2>/dev/null || true
  ((${#containers[@]} == 0)) || docker rm -f "${containers[@]}" >/dev/null 2>&1 || true
  ((${#networks[@]} == 0)) || docker network rm "${networks[@]}" >/dev/null 2>&1 || true
  ((${#volumes[@]} == 0)) || docker volume rm -f "${volumes[@]}" >/dev/null 2>&1 || true
  ((${#tags[@]} == 0)) || docker rmi "${tags[@]}" >/dev/null 2>&1 || true
  [[ -z $had_image ]] || { docker tag "$run:before" "$image" && docker rmi "$run:before"; } >/dev/null 2>&1 || true
  # 1.5 GB each, of which the next build needs the last.
  docker images -q "${builds[@]}" 2>/dev/null | sed 1d | xargs -r docker rmi >/dev/null 2>&1 || true
  rm -rf "$work"
}
at_exit() {
  cleanup
  tell_broken
}
trap at_exit EXIT
trap 'broken="line $LINENO: $BASH_COMMAND"' ERR
trap 'broken="a signal"; exit 130' INT TERM

# ------------------------------------------------------------------------------------------------------------- helpers

# Before the counts: what is left is a failure.
leave() {
  if ((failed == 0)); then
    cleanup
    containers=() networks=() volumes=() tags=()
    check "nothing of the test is left" is "$(left)" ""
  fi
  finish
}

# What the engine still has of this test.
left() {
  docker ps -aq -f "name=^$run" -f "name=^$main\$"
  docker images -q "$run"
  docker network ls -q -f "name=^$run"
  docker volume ls -q -f "name=^$run"
  [[ -n $had_image ]] || docker images -q "$image"
}

# LOWEST VALUE HIGHEST
between() { (($1 <= $2 && $2 <= $3)) || { echo "$2 is not from $1 to $3"; return 1; }; }

# Any curl, without the user's settings and bounded.
fetch() { curl -q -sS -m 10 "$@"; }

field() { docker inspect -f "$2" "$1"; }
exit_code() { field "$1" '{{.State.ExitCode}}'; }
address() { field "$1" "{{(index .NetworkSettings.Networks \"$run\").IPAddress}}"; }
logs() { docker logs "$1" 2>/dev/null; }
logged() { has "$(logs "$1")" "$2"; }
error_lines() { logs "$1" | grep -i error || true; }
healthz() { is "$(fetch "http://$1/healthz")" ok; }
is_healthy() { is "$(field "$1" '{{.State.Health.Status}}')" healthy; }

# NAME OPTION…: a proxy beside the origin; ready when this returns.
proxy() {
  local name=$run-$1 tag=${tag:-$image}
  shift
  containers+=("$name")
  docker run -d --name "$name" --network "$run" "$@" "$tag" >/dev/null
  within 10 healthz "$(address "$name"):$port" || { docker logs "$name"; return 1; }
}

# PROXY OPTION OF curl…: gets the origin's page
page() {
  local via=$1
  shift
  is "$(fetch -x "http://$(address "$run-$via"):$port" "$@" http://origin/)" "the page"
}

# PROXY: sets `tunnel` to a file descriptor of an open tunnel to the origin.
open_tunnel() {
  local line
  exec {tunnel}<>"/dev/tcp/$(address "$run-$1")/$port"
  printf 'CONNECT origin:80 HTTP/1.1\r\nHost: origin:80\r\nProxy-Authorization: Basic %s\r\n\r\n' "$login" >&"$tunnel"
  read -r -t 10 line <&"$tunnel" || line="no answer"
  check "$1: a tunnel opens" is "$line" $'HTTP/1.1 200 Connection established\r'
  read -r -t 10 line <&"$tunnel" || true
}

# PROXY: stops it as a person would (with patience) and prints how many milliseconds that took.
stop() {
  local began
  began=$(now)
  docker stop "$run-$1" >/dev/null
  echo $(($(now) - began))
}

# ------------------------------------------------------------------------------------------------------ engine and image

engine_answers() { timeout 30 docker info >/dev/null 2>&1; }

bases_are_here() {
  local base
  for base in "${bases[@]}"; do
    docker image inspect "$base" >/dev/null 2>&1 || timeout 300 docker pull -q "$base" >/dev/null 2>&1 || return 1
  done
}

get_engine() {
  local lacking
  command -v curl >/dev/null || skip_all "there is no curl"
  if ! engine_answers; then
    lacking="no Docker engine answers"
  elif ! bases_are_here; then
    lacking="the base images are neither here nor to be had: ${bases[*]}"
  else
    return 0
  fi
  [[ -f $make_bases ]] || skip_all "$lacking (and there is no $make_bases)"
  [[ $EUID == 0 ]] || skip_all "$lacking (and $make_bases needs root)"
  bash "$make_bases" >"$work/bases.log" 2>&1 || skip_all "$lacking ($make_bases: $(tail -1 "$work/bases.log"))"
  { engine_answers && bases_are_here; } || skip_all "$lacking ($make_bases did not help)"
}

# TAG OPTION…
build() {
  local began tag=$1
  began=$(now)
  shift
  # --network host: where only the host reaches the crate registry.
  if ! nice docker build --network host -t "$tag" "$@" . >"$work/build.log" 2>&1; then
    fail "$tag builds" "$(tail -40 "$work/build.log")"
    leave
  fi
  ok "$tag builds ($((($(now) - began) / 1000)) s)"
}

# The program needs no library: neither the images nor this check would do with another.
is_static() {
  docker cp "$1:/usr/local/bin/sami-proxy" "$work/sami-proxy" >/dev/null &&
    if command -v readelf >/dev/null; then
      lacks "$(readelf -lW "$work/sami-proxy")" INTERP
    else
      has "$(ldd "$work/sami-proxy" 2>&1)" "static"
    fi
}

megabytes() { awk -v bytes="$(docker image inspect -f '{{.Size}}' "$1")" 'BEGIN { printf "%.1f MB", bytes / 1e6 }'; }

bytes() { docker image inspect -f '{{.Size}}' "$1"; }

# TAG NAME: the value of a label of the Open Containers Initiative
label() { docker image inspect -f "{{index .Config.Labels \"org.opencontainers.image.$2\"}}" "$1"; }

# TAG
says_what_it_is() {
  local version
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | sed -n 1p)
  is "$(label "$1" title)" sami-proxy && is "$(label "$1" licenses)" "MIT OR Apache-2.0" && is "$(label "$1" version)" "$version" &&
    is "$(label "$1" source)" "$source" && is "$(label "$1" revision)" "$revision" && has "$(label "$1" description)" "forward proxy" &&
    is "$(docker image inspect -f '{{.Config.User}} {{.Config.ExposedPorts}} {{.Config.StopSignal}}' "$1")" \
      "65532:65532 map[8080/tcp:{}] SIGTERM" &&
    is "$(docker image inspect -f '{{.Config.Healthcheck.Test}}' "$1")" "[CMD /usr/local/bin/sami-proxy healthcheck]"
}

# TAG [FEATURES]: tests/shipping.rs reads it closely
says_what_is_in_it() {
  local name=$run-sbom
  containers+=("$name")
  docker create --name "$name" "$1" >/dev/null
  docker cp "$name:/usr/local/share/sami-proxy/sami-proxy.cdx.json" "$work/sbom" >/dev/null
  docker rm "$name" >/dev/null
  is "$(<"$work/sbom")" "$(scripts/sbom.sh "$(uname -m)-unknown-linux-gnu" "${@:2}")"
}

test_images() {
  check "the image is at most 15 MB ($(megabytes $image))" between 0 "$(bytes $image)" $((15 * megabyte))
  check "the one with nothing but the proxy at most 10 MB ($(megabytes "$run:scratch"))" \
    between 0 "$(bytes "$run:scratch")" $((10 * megabyte))
  local tag
  for tag in "$image" "$run:scratch"; do
    check "$tag: labels, user, port, stop signal and health check" says_what_it_is "$tag"
  done
  check "$image: what is in it" says_what_is_in_it "$image"
  check "$run:scratch: what is in it" says_what_is_in_it "$run:scratch" --no-default-features
}

# ------------------------------------------------------------------------------------------ the command that is promised

published_port() { docker port "$main" 8080/tcp | sed -n 's/^0\.0\.0\.0://p'; }

# Sets `published` to the port of this machine.
start_main() {
  local command=(docker run -d --name "$main" -p 8080:8080 --restart unless-stopped "$image") said
  containers+=("$main")
  if said=$("${command[@]}" 2>&1); then
    ok "${command[*]}"
    published=8080
  elif [[ $said == *"already allocated"* || $said == *"already in use"* ]]; then
    echo "info port 8080 of this machine is taken: published on another"
    docker rm -f "$main" >/dev/null
    command=("${command[@]/8080:8080/8080}")
    check "${command[*]}" "${command[@]}"
    published=$(published_port)
  else
    fail "${command[*]}" "$said"
    leave
  fi
}

becomes_healthy() {
  local began=$1 took
  if ! within 15 is_healthy "$main"; then
    fail "healthy within 5 s" "$(field "$main" '{{json .State.Health}}')"
    return
  fi
  took=$(($(now) - began))
  check "healthy within 5 s ($took ms after the command was typed)" between 0 "$took" 5000
}

refuses_a_stranger() {
  local answer
  answer=$(fetch -D - -x "http://localhost:$published" http://127.0.0.1:1/)
  has "$answer" "HTTP/1.1 403 " && has "$answer" "Proxy-Status: sami-proxy; error="
}

is_process_one() {
  local status
  status=$(docker exec "$main" cat /proc/1/status)
  has "$status" $'Name:\tsami-proxy\n' && has "$status" $'Uid:\t65532\t65532\t65532\t65532\n' &&
    has "$status" $'Gid:\t65532\t65532\t65532\t65532\n'
}

test_main() {
  local began
  began=$(now)
  start_main
  check "docker ps shows it Up" has "$(docker ps --filter "name=^$main\$" --format '{{.Status}}')" "Up "
  check "docker port shows 8080/tcp -> 0.0.0.0:$published" \
    has "$(docker port $main)" "8080/tcp -> 0.0.0.0:$published"
  check "docker logs --tail 20 --timestamps has 'listening on 0.0.0.0:8080'" \
    within 5 eval "has \"\$(docker logs --tail 20 --timestamps $main)\" 'listening on 0.0.0.0:8080'"
  check "docker logs | grep -i error is empty after a clean start" is "$(error_lines $main)" ""
  check "docker exec $main netstat -tuln | grep 8080" \
    has "$(docker exec $main netstat -tuln | grep 8080)" LISTEN
  check "it is process 1, and uid and gid are 65532" is_process_one
  check "the program is static" is_static "$main"
  becomes_healthy "$began"
  # It says 1 where there is no way out to the internet.
  check "docker exec $main sami-proxy doctor sees where it listens" \
    has "$(docker exec "$main" sami-proxy doctor --verbose --lang en || true)" "listens at 0.0.0.0:8080"
  check "GET /healthz through the published port is ok" healthz "localhost:$published"
  check "curl -x http://localhost:$published http://127.0.0.1:1/ is refused: 403 with Proxy-Status" refuses_a_stranger
  check "… and docker logs | grep -i error shows it" within 5 eval "has \"\$(error_lines $main)\" 127.0.0.1:1"
}

published_healthz() { healthz "localhost:$(published_port)"; }
started_again() { is "$(field "$main" '{{.RestartCount}} {{.State.Running}}')" "$1 true"; }
answers_through_itself() {
  has "200 429" "$(fetch -o /dev/null -w '%{http_code}' -x "http://localhost:$(published_port)" http://sami-proxy.internal/health)"
}
load() { while :; do fetch -o /dev/null -x "http://localhost:$published" 'http://sami-proxy.internal/bytes?n=1000000' || true; done; }
# How long the container has been running, at least.
has_run() { (($(now) - $1 >= 10500)) || { echo "not yet"; return 1; }; }

# Ten times, under load. The engine restarts what dies by itself, but not what `docker kill` killed. A port that the engine
# chose is another one after each, and is known a moment after the container runs.
test_kill() {
  local what="killed with SIGKILL" killed round since longest=0 took
  killed=$(field "$main" '{{.State.Pid}}')
  if ! kill -0 "$killed" 2>/dev/null; then
    skip "$what" "process $killed can't be killed from here (root of the engine's machine could)"
    return
  fi
  for _ in 1 2 3 4; do
    load >/dev/null 2>&1 &
    loads+=($!)
  done
  since=$(now)
  for round in 1 2 3 4 5 6 7 8 9 10; do
    # It waits 0.1 s before it starts it again, and twice as long each time, until one has run for 10 s.
    ((round != 6)) || within 15 has_run "$since"
    killed=$(field "$main" '{{.State.Pid}}')
    since=$(now)
    kill -9 "$killed"
    { within 15 started_again "$round" && within 10 published_healthz && within 10 answers_through_itself; } >"$work/kill" 2>&1 || break
    took=$(($(now) - since))
    since=$(now)
    ((took <= longest)) || longest=$took
  done
  kill "${loads[@]}" 2>/dev/null || true
  loads=()
  check "$what ten times under load, it is started again each time and serves (at most $longest ms later)" \
    is "$(tail -5 "$work/kill") $(field "$main" '{{.RestartCount}} {{.State.Running}}')" " 10 true"
  check "… and is healthy in the end" within 15 is_healthy "$main"
}

# ------------------------------------------------------------------------------------------------ traffic, in a network

# A web server with a page, and with an answer that comes to its end when there is a file /go.
start_origin() {
  local name=$run-origin
  mkdir -p "$work/www/cgi-bin"
  echo "the page" >"$work/www/index.html"
  cat >"$work/www/cgi-bin/slow" <<'CGI'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\nbegin\n'
tries=0
until [ -e /go ] || [ $tries -gt 300 ]; do
  sleep 0.1
  tries=$((tries + 1))
done
echo end
CGI
  chmod -R a+rX "$work/www"
  chmod +x "$work/www/cgi-bin/slow"
  networks+=("$run")
  # Nothing in it reaches anything outside, the engine's name server included.
  docker network create --internal "$run" >/dev/null
  containers+=("$name")
  docker create --name "$name" --network "$run" --network-alias origin "${bases[1]}" httpd -f -p 80 -h /www >/dev/null
  docker cp "$work/www" "$name:/www" >/dev/null
  docker start "$name" >/dev/null
  within 10 docker exec "$name" wget -q -O /dev/null http://127.0.0.1/
}

test_credentials() {
  local via
  proxy auth "${auth[@]}"
  via=http://$(address "$run-auth"):$port
  check "credentials: the page by http" page auth -U sami:secret
  check "credentials: the page by CONNECT" page auth -U sami:secret -p
  check "no credentials: 407" is "$(fetch -o /dev/null -w '%{http_code}' -x "$via" http://origin/)" 407
  check "no credentials: 407 to CONNECT" \
    is "$(fetch -o /dev/null -w '%{http_connect}' -p -x "$via" http://origin/ 2>/dev/null || true)" 407
  check "wrong credentials: 407" \
    is "$(fetch -o /dev/null -w '%{http_code}' -U sami:secreT -x "$via" http://origin/)" 407
  check "the user is in the log" within 5 logged "$run-auth" "user=sami "
  check "the password is not" lacks "$(docker logs "$run-auth" 2>&1 | grep -i -e secret -e "$login" || true)" "e"
}

# ------------------------------------------------------------------------------------------------------------- docker stop

test_idle_stop() {
  local took
  took=$(stop auth)
  check "idle: docker stop takes at most 2 s ($took ms)" between 0 "$took" 2000
  check "idle: exit code 0" is "$(exit_code "$run-auth")" 0
}

# Whether something still listens.
listens() { (exec 3<>"/dev/tcp/$1/$port") 2>/dev/null; }
refuses() { ! listens "$1"; }

test_drain() {
  local line="" stopping via
  proxy drain "${auth[@]}"
  via=$(address "$run-drain")
  open_tunnel drain
  printf 'GET /cgi-bin/slow HTTP/1.0\r\n\r\n' >&"$tunnel"
  while [[ $line != begin ]] && read -r -t 10 line <&"$tunnel"; do :; done
  check "drain: an answer has begun in the tunnel" is "$line" begin
  docker stop -t 20 "$run-drain" >/dev/null {tunnel}>&- &
  stopping=$!
  check "drain: docker stop begins to drain" within 5 logged "$run-drain" "stopping: "
  check "drain: nobody new gets in" within 5 refuses "$via"
  check "drain: docker stop waits" kill -0 "$stopping"
  docker exec "$run-origin" touch /go
  check "drain: the answer comes to its end" is "$(timeout 10 cat <&"$tunnel")" end
  exec {tunnel}>&-
  wait "$stopping" || true
  check "drain: exit code 0" is "$(exit_code "$run-drain")" 0
  check "drain: the log says that nothing was cut" logged "$run-drain" "stopped: every connection had finished"
}

test_cut() {
  local took
  proxy cut "${auth[@]}"
  open_tunnel cut
  took=$(stop cut)
  exec {tunnel}>&-
  check "cut: a tunnel that stays open is cut before the engine's 10 s are over ($took ms)" between 7900 "$took" 9900
  check "cut: exit code 0" is "$(exit_code "$run-cut")" 0
}

# ---------------------------------------------------------------------------------------------------------------- the rest

test_hardened() {
  proxy hard "${auth[@]}" --read-only --cap-drop ALL --security-opt no-new-privileges
  check "read-only, without capabilities and privileges: the page" page hard -U sami:secret
}

test_scratch() {
  local took
  tag=$run:scratch proxy scratch "${auth[@]}"
  check "scratch: the page, by a name" page scratch -U sami:secret -p
  check "scratch: healthy" within 10 is_healthy "$run-scratch"
  check "scratch: says that it has no doctor" \
    has "$(docker exec "$run-scratch" /usr/local/bin/sami-proxy doctor --verbose h:1 2>&1)" "\`doctor\` is not in this program"
  took=$(stop scratch)
  check "scratch: docker stop: exit code 0 after $took ms" is "$(exit_code "$run-scratch")" 0
}

# PROXY: the pin that it prints at the start
pin() { logs "$run-$1" | grep -o 'sha256:[A-Za-z0-9+/=]*' | sed -n 1p; }

# A certificate of its own, kept in a volume when the container is replaced.
test_self_signed() {
  local options=("${auth[@]}" -e SAMI_PROXY_TLS_SELF_SIGNED=true -v "$run:/var/lib/sami-proxy") first
  volumes+=("$run")
  proxy tls1 "${options[@]}" --read-only --cap-drop ALL
  # Log lines may come a little after the first answer.
  within 5 logged "$run-tls1" sha256:
  first=$(pin tls1)
  check "self-signed: the pin is in docker logs" has "$first" sha256:
  check "self-signed: the page through TLS" is "$(fetch --proxy-insecure \
    -x "https://$(address "$run-tls1"):$port" -U sami:secret -p http://origin/)" "the page"
  docker rm -f "$run-tls1" >/dev/null
  tag=$run:scratch proxy tls2 "${options[@]}"
  within 5 logged "$run-tls2" sha256:
  check "self-signed: another container with the volume has the same pin" is "$(pin tls2)" "$first"
}

# NAME VALUE: one line on stderr that names the variable, nothing on stdout, exit code 2
refuses_setting() {
  local code=0
  docker run --rm --name "$run-bad" -e "$1=$2" "$image" >"$work/out" 2>"$work/err" || code=$?
  is "exit code $code" "exit code 2" && is "$(<"$work/out")" "" && has "$(<"$work/err")" "$1" &&
    is "$(wc -l <"$work/err")" 1
}

test_bad_settings() {
  containers+=("$run-bad")
  check "SAMI_PROXY_TRUST_CLIENT=nonsense: exit code 2 and one line that names it" \
    refuses_setting SAMI_PROXY_TRUST_CLIENT nonsense
  check "an empty SAMI_PROXY_AUTH is refused likewise" refuses_setting SAMI_PROXY_AUTH ""
}

# The container of README.md with a wrong variable: it ends, and is started again, for ever.
test_restart_loop() {
  local said
  loops() { (($(field "$main" '{{.RestartCount}}') >= 4)) && is "$(field "$main" '{{.State.Status}}')" restarting; }
  # As on a server, where this is the only one.
  docker rm -f "${containers[@]}" >/dev/null 2>&1 || true
  docker run -d --name "$main" -p "$published:8080" --restart unless-stopped -e SAMI_PROXY_WORKERS=many "$image" >/dev/null
  check "SAMI_PROXY_WORKERS=many: it restarts again and again" within 20 loops
  check "… docker logs names the variable" has "$(docker logs "$main" 2>&1 | sed -n 1p)" SAMI_PROXY_WORKERS
  if [[ $EUID != 0 || ! -S /var/run/docker.sock ]]; then
    skip "… doctor names it" "not root of the engine's machine"
    return
  fi
  said=$("$work/sami-proxy" doctor --role host --lang en --port "$published" 2>&1 || true)
  check "… doctor names the cause" has "$said" container-restarting
}

test_compose() {
  if docker compose version >/dev/null 2>&1; then
    check "docker compose config -q" docker compose -f compose.yaml config -q
  else
    skip "docker compose config -q" "docker has no compose plugin here"
  fi
}

get_engine
if docker container inspect "$main" >/dev/null 2>&1; then
  fail "no container $main is here before the test" "one is, and it is not ours. If nobody needs it: docker rm -f $main"
  leave
fi
had_image=$(docker images -q "$image")
[[ -z $had_image ]] || docker tag "$had_image" "$run:before"
tags+=("$image" "$run:scratch")
build "$image" "${labels[@]}" "$@"
build "$run:scratch" "${labels[@]}" "$@" --target scratch --build-arg FEATURES=--no-default-features
test_images
test_main
test_kill
start_origin
test_credentials
test_idle_stop
test_drain
test_cut
test_self_signed
test_hardened
test_scratch
test_bad_settings
test_restart_loop
test_compose
leave
