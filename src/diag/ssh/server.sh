# Sent to `sh -s PORT WITNESS TIMEOUT` on the server: looks at it with the program that is there, or
# with the one in the proxy's image. It changes nothing; a container that it starts is gone afterwards.
# A line "sami-proxy-ssh: WORD" says why there is no report (server::Silence).
silence() { echo "sami-proxy-ssh: $1"; exit 0; }

port=$1
set -- doctor --role host --json --port "$1" --witness "$2" --timeout "$3"
PATH=$PATH:/usr/local/bin:/usr/local/sbin:/usr/sbin:/sbin

root=
as=
if [ "$(id -u)" = 0 ]; then
  root=yes
elif sudo -n true </dev/null >/dev/null 2>&1; then
  root=yes
  as='sudo -n'
fi

program=$(command -v sami-proxy)
[ -n "$program" ] && exec $as "$program" "$@" </dev/null

command -v docker >/dev/null || silence no-program
docker=docker
if ! docker ps </dev/null >/dev/null 2>&1; then
  [ -n "$root" ] || silence needs-password
  docker="$as docker"
  $docker ps </dev/null >/dev/null 2>&1 || silence no-docker
fi

# The container that runs, by its port, its name or its image: its program, as it is, on the server.
list() { $docker ps "$@" --no-trunc -q </dev/null 2>/dev/null; }
image=
for id in $(list --filter "publish=$port") $(list --filter name=sami-llm-proxy) \
  $(list --filter ancestor=sami-llm-proxy) $(list -a --filter name=sami-llm-proxy); do
  path=$($docker inspect -f '{{.Path}}' "$id" </dev/null 2>/dev/null)
  case $path in
    /*sami-proxy) ;;
    *) continue ;;
  esac
  [ -n "$image" ] || image=$($docker inspect -f '{{.Image}}' "$id" </dev/null 2>/dev/null)
  pid=$($docker inspect -f '{{.State.Pid}}' "$id" </dev/null 2>/dev/null)
  if [ -n "$root" ] && [ "${pid:-0}" -gt 0 ] && $as test -x "/proc/$pid/root$path"; then
    exec $as "/proc/$pid/root$path" "$@" </dev/null
  fi
done
if [ -z "$image" ] && $docker image inspect sami-llm-proxy </dev/null >/dev/null 2>&1; then
  image=sami-llm-proxy
fi
[ -n "$image" ] || silence no-program
exec $docker run --rm --pull never --privileged -u 0 --network host --pid host \
  -v /var/run/docker.sock:/var/run/docker.sock:ro -e "SSH_CONNECTION=$SSH_CONNECTION" \
  "$image" "$@" </dev/null
