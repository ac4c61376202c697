#!/usr/bin/env bash
# Installs sami-proxy on a Debian or Ubuntu server, in Docker, and prints what to enter in Sami. Run it again at any time:
# it changes only what is not as it should be. What it needs to know of itself, and the password, are in /etc/sami-llm-proxy,
# for root alone; settings of `sami-proxy serve` may be added to settings.toml there, and hold after the next run.
#
# Exit code: 0 it is installed and runs; 1 it is not, or the doctor has found a problem; 2 bad usage.
# Sends nothing anywhere; apt and docker fetch what is missing.
set -Eeuo pipefail
shopt -s inherit_errexit
umask 077
export PATH=$PATH:/usr/sbin:/sbin

readonly name=sami-llm-proxy folder=/etc/sami-llm-proxy
readonly settings=$folder/settings.toml record=$folder/install images=$folder/images
readonly owner=65532 inside=8080 # of the image
readonly program=/usr/local/bin/sami-proxy

# ------------------------------------------------------------------------------------------------------------- the words

# Both languages of everything that is said, as formats of printf.
declare -A words=(
  [usage.en]='usage: sudo scripts/install-server.sh [OPTION]…

Installs sami-proxy in Docker on this server and prints what to enter in Sami.

  --user NAME           the name that Sami gives (sami)
  --password-file FILE  its first line is the password; else one is made
  --port PORT           where Sami connects (8080)
  --image IMAGE         do not build: this image; it is pulled if it is not here
  --yes                 ask nothing
  --dry-run             show each command, change nothing
  --uninstall           remove everything that this script made; Docker stays
  --lang ru|en          else the language of the system
  --help
'
  [usage.ru]='Использование: sudo scripts/install-server.sh [КЛЮЧ]…

Ставит sami-proxy в Docker на этом сервере и печатает, что ввести в Sami.

  --user ИМЯ            имя, которое сообщает Sami (sami)
  --password-file ФАЙЛ  первая строка — пароль; без этого ключа пароль придумывается
  --port ПОРТ           куда подключается Sami (8080)
  --image ОБРАЗ         не собирать, а взять этот образ; если его здесь нет, он скачивается
  --yes                 ни о чём не спрашивать
  --dry-run             показать каждую команду, ничего не менять
  --uninstall           удалить всё, что сделал этот скрипт; Docker остаётся
  --lang ru|en          иначе язык системы
  --help
'
  [unknown.en]='unknown option: %s (see --help)'
  [unknown.ru]='неизвестный ключ: %s (см. --help)'
  [value.en]='%s needs a value (see --help)'
  [value.ru]='ключу %s нужно значение (см. --help)'
  [bad_lang.en]='--lang %s: only ru and en'
  [bad_lang.ru]='--lang %s: только ru или en'
  [bad_port.en]='--port %s: not a number from 1 to 65535'
  [bad_port.ru]='--port %s: не число от 1 до 65535'
  [bad_user.en]='this user name will not do: 1 to 64 letters (A-Z, a-z), digits, "-", "_" and "."'
  [bad_user.ru]='такое имя не подойдёт: от 1 до 64 латинских букв, цифр и знаков «-», «_», «.»'
  [bad_image.en]='--image %s: not the name of an image'
  [bad_image.ru]='--image %s: это не имя образа'
  [no_password_file.en]='--password-file %s: it can not be read'
  [no_password_file.ru]='--password-file %s: файл не читается'
  [bad_password.en]='--password-file %s: 8 to 128 letters (A-Z, a-z), digits, "-" and "_"; anything else gets lost in URLs'
  [bad_password.ru]='--password-file %s: от 8 до 128 латинских букв, цифр и знаков «-», «_»; остальное теряется в URL'
  [not_root.en]='only root can do this: sudo %s'
  [not_root.ru]='это может только root: sudo %s'
  [no_terminal.en]='there is no terminal to ask on: give --yes'
  [no_terminal.ru]='спросить негде, нет терминала: добавьте --yes'
  [not_fetched.en]='this failed, see above: %s'
  [not_fetched.ru]='не получилось, см. выше: %s'
  [no_apt.en]='Docker is missing and so is apt-get: install Docker and run this again'
  [no_apt.ru]='нет ни Docker, ни apt-get: установите Docker и запустите скрипт снова'
  [snap.en]='this Docker is a snap, which can not read %s: snap remove docker, then run this again'
  [snap.ru]='этот Docker установлен из snap и не может читать %s: snap remove docker, затем запустите скрипт снова'
  [no_docker.en]='Docker is installed and does not answer: journalctl -u docker -n 20'
  [no_docker.ru]='Docker установлен, но не отвечает: journalctl -u docker -n 20'
  [remap.en]='this Docker maps user ids (userns-remap, rootless), and the container could not read its settings: not supported'
  [remap.ru]='этот Docker подменяет номера пользователей (userns-remap, rootless), контейнер не прочёл бы настройки: так нельзя'
  [no_checkout.en]='this is not a checkout of sami-proxy, there is nothing to build: give --image IMAGE'
  [no_checkout.ru]='это не копия репозитория sami-proxy, собирать нечего: укажите --image ОБРАЗ'
  [foreign.en]='a container %s is here that this script has not made; if nobody needs it: docker rm -f %s'
  [foreign.ru]='здесь уже есть контейнер %s, и сделал его не этот скрипт; если он не нужен: docker rm -f %s'
  [taken.en]='port %s is taken by %s: stop that, or give another --port'
  [taken.ru]='порт %s занят: %s. Остановите его или укажите другой --port'
  [container.en]='the container %s'
  [container.ru]='контейнер %s'
  [somebody.en]='a program that does not say its name'
  [somebody.ru]='программа, которая не называет себя'
  [bad_settings.en]='%s has no line auth = ["NAME:PASSWORD"] that this script could read: mend it, or --uninstall'
  [bad_settings.ru]='в %s нет строки auth = ["ИМЯ:ПАРОЛЬ"], понятной скрипту: исправьте или --uninstall'
  [failed.en]='line %s failed: %s'
  [failed.ru]='сбой в строке %s: %s'
  [ask_user.en]='User name for Sami [sami]: '
  [ask_user.ru]='Имя пользователя для Sami [sami]: '
  [ask_uninstall.en]='Remove the proxy, its image and its password from this server? [y/N] '
  [ask_uninstall.ru]='Удалить с этого сервера прокси, его образ и пароль? [y/N] '
  [dry.en]='Nothing is changed. What would be run:'
  [dry.ru]='Ничего не меняется. Были бы выполнены команды:'
  [write.en]='# write %s: the user and a password (mode 0400, for the container alone)'
  [write.ru]='# записать %s: имя и пароль (права 0400, только для контейнера)'
  [same.en]='The container is as it should be: nothing changed.'
  [same.ru]='Контейнер уже такой, как нужно: ничего не изменено.'
  [not_started.en]='the container does not start: %s'
  [not_started.ru]='контейнер не запускается: %s'
  [unhealthy.en]='the container does not get healthy: docker logs --tail 20 %s'
  [unhealthy.ru]='контейнер так и не заработал: docker logs --tail 20 %s'
  [ufw_no.en]='ufw is on, but it does not govern ports that Docker publishes: port %s is open as far as this server is concerned; nothing changed in ufw.'
  [ufw_no.ru]='ufw включён, но портами, которые публикует Docker, он не управляет: со стороны сервера порт %s открыт; в ufw ничего не изменено.'
  [ufw_nft.en]='This Docker filters with nftables, where ufw may stop what is forwarded. If Sami gets no answer: ufw route allow proto tcp from any to any port %s'
  [ufw_nft.ru]='Этот Docker фильтрует через nftables, и ufw может не пропускать пересылаемое. Если Sami не получает ответа: ufw route allow proto tcp from any to any port %s'
  [firewalld_no.en]='firewalld is on, but it does not govern ports that Docker publishes: port %s is open as far as this server is concerned; nothing changed in firewalld.'
  [firewalld_no.ru]='firewalld включён, но портами, которые публикует Docker, он не управляет: со стороны сервера порт %s открыт; в firewalld ничего не изменено.'
  [firewalld_strict.en]='firewalld has StrictForwardPorts=yes and stops the ports that Docker publishes. Set it to no in /etc/firewalld/firewalld.conf, then: firewall-cmd --reload'
  [firewalld_strict.ru]='В firewalld включено StrictForwardPorts=yes: порты Docker закрыты. Поставьте no в /etc/firewalld/firewalld.conf, затем: firewall-cmd --reload'
  [opened.en]='Here Docker leaves port %s to a program of its own, which %s governs: the port is open there.'
  [opened.ru]='Здесь порт %s держит программа Docker, а ею управляет %s: порт в нём открыт.'
  [cloud.en]='The firewall of the hosting can not be opened from here. If Sami gets no answer, allow incoming TCP %s there%s.'
  [cloud.ru]='Брандмауэр хостинга отсюда не открыть. Если Sami не получает ответа, разрешите там входящий TCP %s%s.'
  [console.en]=' (%s)'
  [console.ru]=' (%s)'
  [doctor.en]='What the doctor says:'
  [doctor.ru]='Что говорит doctor:'
  [doctor_no.en]='The program of the image does not run on this server itself, so the doctor was not asked.'
  [doctor_no.ru]='Программа из образа не запускается на самом сервере, поэтому doctor не спрошен.'
  [doctor_bad.en]='the proxy is installed, but the doctor has found a problem: see above'
  [doctor_bad.ru]='прокси установлен, но doctor нашёл неисправность: см. выше'
  [then_doctor.en]='# then the program of the image looks at this server (doctor), and the values for Sami are printed'
  [then_doctor.ru]='# затем программа из образа осматривает сервер (doctor) и печатаются значения для Sami'
  [unsure.en]='The server itself knows only the address %s, which may not be the one that others see: compare it with that in the panel of the hosting.'
  [unsure.ru]='Сам сервер знает только адрес %s, и снаружи он может быть другим: сверьте его с адресом в панели хостинга.'
  [address.en]='ADDRESS-OF-THIS-SERVER'
  [address.ru]='АДРЕС-СЕРВЕРА'
  [enter.en]='Enter in the proxy settings of Sami:'
  [enter.ru]='Введите в настройках прокси в Sami:'
  [kept.en]='(the password is the one of before; it stands in %s)'
  [kept.ru]='(пароль прежний, он записан в %s)'
  [values.en]='    Type:      http\n    Host:      %s\n    Port:      %s\n    Username:  %s\n    Password:  %s\n'
  [values.ru]='    Тип (Type):                http\n    Хост (Host):               %s\n    Порт (Port):               %s\n    Пользователь (Username):   %s\n    Пароль (Password):         %s\n'
  [nothing.en]='Nothing of sami-proxy is installed here.'
  [nothing.ru]='Здесь ничего от sami-proxy не установлено.'
  [left.en]='Nothing removed.'
  [left.ru]='Ничего не удалено.'
  [removed.en]='Removed. Docker stays; BuildKit, where it was used, keeps its cache until: docker builder prune'
  [removed.ru]='Удалено. Docker остаётся; кэш BuildKit, если он был, удаляет docker builder prune'
)

# Hosting → its name, and where in its console the firewall is: those of src/diag/packets/provider.rs.
declare -A consoles=(
  [hetzner]='Hetzner: Cloud Console → Firewalls; Robot → Server → Firewall'
  [digital-ocean]='DigitalOcean: Networking → Firewalls → Inbound Rules'
  [aws]='AWS: EC2 → Security Groups → Inbound rules; VPC → Network ACLs'
  [google]='Google Cloud: VPC network → Firewall'
  [azure]='Azure: Virtual machine → Networking → Inbound port rules'
  [oracle]='Oracle Cloud: Networking → VCN → Security Lists, Network Security Groups'
  [ovh]='OVHcloud: Network → IP → Network Firewall'
  [vultr]='Vultr: Network → Firewall'
  [linode]='Akamai (Linode): Networking → Firewalls → Rules'
  [yandex]='Yandex Cloud: Virtual Private Cloud → Security groups'
  [selectel]='Selectel: Cloud → Network → Firewalls; Port security groups'
  [timeweb]='Timeweb Cloud: Network → Firewall'
  [vk]='VK Cloud: Cloud networks → Firewall settings'
  [scaleway]='Scaleway: Compute → Instances → Security Groups'
  [alibaba]='Alibaba Cloud: ECS → Network & Security → Security Groups'
  [tencent]='Tencent Cloud: CVM → Security Groups; Lighthouse → Firewall'
  [up-cloud]='UpCloud: Servers → Firewall'
  [ionos-cloud]='IONOS: Server & Cloud → Network → Firewall Policies'
  [open-stack]='OpenStack: Network → Security Groups'
)

# ------------------------------------------------------------------------------------------------------------- helpers

# KEY ARGUMENT…: a text without a line end
text() {
  # shellcheck disable=SC2059 # the table is the only source of formats
  printf -- "${words[$1.$lang]}" "${@:2}"
}

say() { text "$@" && echo; }

# KEY ARGUMENT…
die() {
  printf 'install-server.sh: %s\n' "$(text "$@")" >&2
  exit 1
}

misuse() {
  printf 'install-server.sh: %s\n' "$(text "$@")" >&2
  exit 2
}

# COMMAND…: whatever changes something goes through here.
change() {
  printf '+ %s\n' "$*"
  $dry || "$@"
}

have() { command -v "$1" >/dev/null 2>&1; }

# KEY: what an earlier run has written down; nothing when it did not
recall() { [[ ! -f $record ]] || sed -n "s/^$1=//p" "$record"; }

# KEY VALUE
remember() {
  local kept=""
  $dry || [[ $(recall "$1") == "$2" ]] && return
  mkdir -p "$folder"
  [[ ! -f $record ]] || kept=$(grep -v "^$1=" "$record" || true)
  printf '%s\n' ${kept:+"$kept"} "$1=$2" >"$record.new"
  mv "$record.new" "$record"
}

work=""
at_exit() { [[ -z $work ]] || rm -rf "$work"; }

# ------------------------------------------------------------------------------------------------------------- arguments

user="" password_file="" port="" image="" yes=false dry=false uninstall=false
case ${LC_ALL:-${LC_MESSAGES:-${LANG:-}}} in ru*) lang=ru ;; *) lang=en ;; esac
trap at_exit EXIT
# In a subshell in silence: whoever waits for it says it.
trap 'trap - ERR; ((BASH_SUBSHELL == 0)) || exit 1; die failed "$LINENO" "$BASH_COMMAND"' ERR

# The language first: it is that of what is wrong with the others.
find_language() {
  while (($#)); do
    if [[ $1 == --lang ]]; then
      case ${2:-} in
        ru | en) lang=$2 ;;
        "") misuse value --lang ;;
        *) misuse bad_lang "$2" ;;
      esac
      shift
    fi
    shift
  done
}

read_arguments() {
  while (($#)); do
    case $1 in
      --user | --password-file | --port | --image | --lang) [[ -n ${2:-} ]] || misuse value "$1" ;;&
      --user) user=$2 && shift ;;
      --password-file) password_file=$2 && shift ;;
      --port) port=$2 && shift ;;
      --image) image=$2 && shift ;;
      --lang) shift ;;
      --yes) yes=true ;;
      --dry-run) dry=true ;;
      --uninstall) uninstall=true ;;
      --help | -h)
        text usage
        exit 0
        ;;
      *) misuse unknown "$1" ;;
    esac
    shift
  done
  [[ -z $port || $port =~ ^[1-9][0-9]{0,4}$ && $port -le 65535 ]] || misuse bad_port "$port"
  [[ -z $image || $image =~ ^[A-Za-z0-9][A-Za-z0-9._:/@-]*$ ]] || misuse bad_image "$image"
  [[ -z $user ]] || is_user "$user" || misuse bad_user
  [[ -z $password_file || -r $password_file ]] || misuse no_password_file "$password_file"
}

is_user() { [[ $1 =~ ^[A-Za-z0-9_.-]{1,64}$ ]]; }

# ------------------------------------------------------------------------------------------------------------------ Docker

answers() { have docker && docker info >/dev/null 2>&1; }

get_docker() {
  if ! have docker; then
    have apt-get || die no_apt
    # A new server is busy with its own updates first.
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o "DPkg::Lock::Timeout=300")
    change "${apt[@]}" update || die not_fetched "apt-get update"
    change "${apt[@]}" install -y docker.io || die not_fetched "apt-get install docker.io"
    $dry && ! have docker && return
    # The command is a package of its own in newer systems.
    have docker || change "${apt[@]}" install -y docker-cli || die not_fetched "apt-get install docker-cli"
  fi
  [[ $(readlink -f "$(command -v docker)") != */snap ]] || die snap "$folder"
  if ! answers; then
    if have systemctl && [[ -d /run/systemd/system ]]; then
      change systemctl enable --now docker || die no_docker
    else
      change service docker start || die no_docker
    fi
    $dry && return
    within 30 answers || die no_docker
  fi
  case $(docker info -f '{{.SecurityOptions}}') in *name=userns* | *name=rootless*) die remap ;; esac
}

# SECONDS COMMAND…: until it succeeds
within() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.5
  done
}

# The container's id; nothing when there is none.
container() { { answers && docker container inspect -f '{{.Id}}' "$name" 2>/dev/null; } || true; }

image_id() { { answers && docker image inspect -f '{{.Id}}' "$image" 2>/dev/null; } || true; }

old_images=""

known_images() { docker images -aq --no-trunc | sort -u; }

# COMMAND…: one that brings images; those that were not here before are written down, for --uninstall
bring() {
  local before fresh
  $dry && { change "$@" && return; }
  before=$(known_images)
  change "$@" || die not_fetched "$*"
  fresh=$(comm -13 <(echo "$before") <(known_images))
  [[ -n $fresh ]] || return 0
  if [[ -f $images ]]; then old_images=$(<"$images"); fi
  echo "$fresh" >>"$images"
}

# What an update has replaced: a gigabyte each time. What is in use, or has children, Docker keeps.
drop_old_images() {
  local id
  for id in $old_images; do docker rmi "$id" >/dev/null 2>&1 || true; done
}

get_image() {
  local here
  here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  image=${image:-$(recall image)} image=${image:-$name}
  if [[ $image == "$name" && -f $here/Dockerfile && -f $here/Cargo.toml ]]; then
    # Without attestations, which have the time in them, the same sources make the same image.
    bring env BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build -t "$image" "$here"
  elif [[ -z $(image_id) ]]; then
    [[ $image != "$name" ]] || die no_checkout
    bring docker pull "$image"
  fi
  remember image "$image"
}

# ------------------------------------------------------------------------------------------------------------- credentials

password="" own_password="" kept=false

# Never as an argument of a program: everybody can read those.
make_password() { head -c 18 /dev/urandom | base64 | tr '+/' '-_'; }

read_password_file() {
  IFS= read -r own_password <"$password_file" || [[ -n $own_password ]] || misuse bad_password "$password_file"
  own_password=${own_password%$'\r'}
  [[ $own_password =~ ^[A-Za-z0-9_-]{8,128}$ ]] || misuse bad_password "$password_file"
}

get_credentials() {
  local line="" old_user="" old_password=""
  if [[ -f $settings ]]; then
    line=$(grep -m1 '^auth *=' "$settings" || true)
    [[ $line =~ ^auth\ *=\ *\[\"([A-Za-z0-9_.-]+):([A-Za-z0-9_-]+)\"\]\ *$ ]] || die bad_settings "$settings"
    old_user=${BASH_REMATCH[1]} old_password=${BASH_REMATCH[2]}
  elif [[ -z $user ]] && ! $yes && ! $dry; then
    text ask_user
    read -r user || true
    user=${user:-sami}
    is_user "$user" || misuse bad_user
  fi
  user=${user:-${old_user:-sami}} password=${own_password:-$old_password}
  if [[ $user == "$old_user" && $password == "$old_password" && -n $password ]]; then
    kept=true
    return
  fi
  say write "$settings"
  $dry && return
  [[ -n $password ]] || password=$(make_password)
  write_settings
}

# Other lines stay as they are.
write_settings() {
  local others="# settings of \`sami-proxy serve\`; scripts/install-server.sh puts changes into force"
  mkdir -p "$folder"
  [[ ! -f $settings ]] || others=$(grep -v '^auth *=' "$settings" || true)
  printf 'auth = ["%s:%s"]\n%s\n' "$user" "$password" "$others" >"$settings.new"
  chown "$owner:$owner" "$settings.new"
  chmod 0400 "$settings.new"
  mv "$settings.new" "$settings"
}

# ---------------------------------------------------------------------------------------------------------------- the port

# Who listens at the port, our own container left out; nothing when it is free.
holder() {
  local other="" line
  if answers; then
    other=$(docker ps --filter "publish=$port/tcp" --format '{{.Names}}' | grep -vx "$name" || true)
    [[ -z $other ]] || { text container "${other%%$'\n'*}" && return; }
    [[ -z $(docker ps -q --filter "publish=$port/tcp" --filter "name=^/$name\$") ]] || return 0
  fi
  have ss || return 0
  line=$(ss -Hltnp "sport = :$port")
  [[ -n $line ]] || return 0
  if [[ $line =~ \(\(\"([^\"]*)\",pid=([0-9]+) ]]; then
    echo "${BASH_REMATCH[1]} (pid ${BASH_REMATCH[2]})"
  else
    text somebody
  fi
}

check_port() {
  local who
  who=$(holder)
  [[ -z $who ]] || die taken "$port" "$who"
}

# --------------------------------------------------------------------------------------------------------------- container

check_owner() {
  local here
  here=$(container)
  [[ -z $here || $here == "$(recall container)" ]] || die foreign "$name" "$name"
}

# As in README.md, and as little as it needs.
set_command() {
  command=(docker run -d --name "$name" -p "$port:$inside" --restart unless-stopped
    --read-only --cap-drop ALL --security-opt no-new-privileges
    --log-driver json-file --log-opt max-size=10m --log-opt max-file=3
    --mount "type=bind,src=$settings,dst=/etc/sami-proxy.toml,readonly" -e SAMI_PROXY_CONFIG=/etc/sami-proxy.toml
    "$image")
}

# What makes a new container necessary. It stands in a file of root's and in no label: the settings have the password.
fingerprint() { { echo "${command[*]}" && image_id && cat "$settings"; } 2>/dev/null | sha256sum | cut -c -64; }

is_running() { [[ $(docker container inspect -f '{{.State.Running}}' "$name" 2>/dev/null) == true ]]; }

# Healthy, or no hope: it has ended again and again.
has_decided() { is_healthy || (($(docker container inspect -f '{{.RestartCount}}' "$name") >= 3)); }

is_healthy() { [[ $(docker container inspect -f '{{.State.Health.Status}}' "$name") == healthy ]]; }

run_container() {
  local here said command wanted=""
  set_command
  here=$(container)
  # The settings of a dry run are written when they are the ones of before.
  $dry && ! $kept || wanted=$(fingerprint)
  if [[ -n $here && $wanted == "$(recall wanted)" && -n $wanted ]]; then
    if is_running; then say same; else change docker start "$name"; fi
  else
    if [[ -n $here ]]; then
      change docker stop "$name"
      change docker rm "$name"
    fi
    printf '+ %s\n' "${command[*]}"
    if ! $dry && ! said=$("${command[@]}" 2>&1); then
      docker rm -f "$name" >/dev/null 2>&1 || true
      die not_started "${said//$'\n'/ }"
    fi
    remember container "$(container)"
    remember wanted "$wanted"
    remember port "$port"
  fi
  $dry || { within 60 has_decided && is_healthy; } || die unhealthy "$name"
}

# ---------------------------------------------------------------------------------------------------------------- firewalls

# Whether Docker forwards the port by a rule: then it never passes the rules for programs of this server.
is_forwarded() {
  iptables -t nat -S 2>/dev/null | grep -q -- "^-A DOCKER .*--dport $port .*-j DNAT" ||
    { have nft && nft list ruleset 2>/dev/null | grep -q "dport $port .*dnat "; }
}

open_firewalls() {
  if have ufw && LC_ALL=C ufw status 2>/dev/null | grep -q '^Status: active'; then open_ufw; fi
  if have firewall-cmd && firewall-cmd --state >/dev/null 2>&1; then open_firewalld; fi
}

open_ufw() {
  if $dry || is_forwarded; then
    say ufw_no "$port"
    [[ $(docker info -f '{{json .}}' 2>/dev/null) != *'"FirewallBackend":{"Driver":"nftables'* ]] || say ufw_nft "$inside"
  else
    if ! LC_ALL=C ufw status | grep -Eq "^$port(/tcp)? +ALLOW"; then
      change ufw allow "$port/tcp"
      remember ufw "$port"
    fi
    say opened "$port" ufw
  fi
}

open_firewalld() {
  if $dry || is_forwarded; then
    if grep -Eqs '^StrictForwardPorts=(yes|true)' /etc/firewalld/firewalld.conf; then
      say firewalld_strict
    else
      say firewalld_no "$port"
    fi
  else
    if ! firewall-cmd --query-port="$port/tcp" >/dev/null 2>&1; then
      change firewall-cmd --permanent --add-port="$port/tcp"
      change firewall-cmd --add-port="$port/tcp"
      remember firewalld "$port"
    fi
    say opened "$port" firewalld
  fi
}

# What was opened for another port, or is to be closed at all.
close_firewalls() {
  local ufw firewalld
  ufw=$(recall ufw) firewalld=$(recall firewalld)
  if [[ -n $ufw && $ufw != "${1:-}" ]] && have ufw; then
    change ufw delete allow "$ufw/tcp"
    remember ufw ""
  fi
  if [[ -n $firewalld && $firewalld != "${1:-}" ]] && have firewall-cmd; then
    change firewall-cmd --permanent --remove-port="$firewalld/tcp"
    change firewall-cmd --remove-port="$firewalld/tcp"
    remember firewalld ""
  fi
}

# ------------------------------------------------------------------------------------------------------- doctor and values

public="" console="" problem=false

# The doctor has to see the server: the image's program, which needs no library, runs outside of the container.
ask_doctor() {
  local code=0 of
  # A folder from which programs may be run, which /tmp is not everywhere.
  work=$(mktemp -d "$folder/doctor.XXXXXX")
  docker cp "$name:$program" "$work/sami-proxy" >/dev/null
  if ! "$work/sami-proxy" --version >/dev/null 2>&1; then
    say doctor_no
    return
  fi
  "$work/sami-proxy" doctor --role host --container "$name" --port "$port" --json >"$work/report" || code=$?
  say doctor
  "$work/sami-proxy" doctor --from "$work/report" --lang "$lang" || true
  ((code != 1)) || problem=true
  public=$(known public | awk '!any { any = $0 } /\./ && !v4 { v4 = $0 } END { print v4 ? v4 : any }')
  of=$(addresses | sed -n 's/.*"provider": "\([a-z-]*\)".*/\1/p')
  console=${of:+${consoles[$of]:-$of}}
}

# What the report says of the server's addresses.
addresses() { sed -n '/"kind": "own-addresses"/,/"id": /p; /"id": "public-address"/q' "$work/report"; }

# KEY: the addresses in that list
known() { addresses | sed -n "/\"$1\": \\[/,/\\]/p" | { grep -oE '"[0-9a-f]*[.:][0-9a-f.:]+"' || true; } | tr -d '"'; }

# Nothing is sent for this.
outward() { { have ip && ip -o route get 1.1.1.1 2>/dev/null; } | sed -n 's/.* src \([^ ]*\).*/\1/p'; }

print_values() {
  local host=$public
  echo
  # shellcheck disable=SC2046 # one word or none
  say cloud "$port" "$([[ -z $console ]] || text console "$console")"
  if [[ -z $host ]]; then
    host=$(outward || true)
    say unsure "${host:-?}"
    host=$(text address)
  fi
  echo
  say enter
  ! $kept || say kept "$settings"
  echo
  text values "$host" "$port" "$user" "$password"
}

# --------------------------------------------------------------------------------------------------------------- uninstall

remove_everything() {
  local id here removed=true
  [[ -d $folder ]] || { say nothing && return; }
  if ! $yes && ! $dry; then
    text ask_uninstall
    read -r here || true
    [[ $here == [yYдД]* ]] || { say left && return; }
  fi
  answers || { have docker && die no_docker; }
  check_owner
  [[ -z $(container) ]] || change docker rm -f "$name"
  # An image goes after those that are made of it, and stays when somebody else uses it.
  while $removed && [[ -f $images ]]; do
    removed=false
    while read -r id; do
      docker image inspect "$id" >/dev/null 2>&1 || continue
      if $dry; then change docker rmi "$id"; elif docker rmi "$id" >/dev/null 2>&1; then removed=true; fi
    done <"$images"
  done
  close_firewalls
  change rm -rf "$folder"
  $dry || say removed
}

main() {
  find_language "$@"
  read_arguments "$@"
  [[ $EUID == 0 ]] || die not_root "$0 $*"
  $yes || $dry || [[ -t 0 ]] || misuse no_terminal
  [[ -z $password_file ]] || read_password_file
  ! $dry || say dry
  if $uninstall; then
    remove_everything
    return
  fi
  port=${port:-$(recall port)} port=${port:-8080}
  # What can go wrong at once, before anything is changed.
  check_owner
  check_port
  get_docker
  # Somebody may have been hidden by an engine that did not run.
  check_owner
  check_port
  get_credentials
  get_image
  run_container
  drop_old_images
  close_firewalls "$port"
  open_firewalls
  if $dry; then
    say then_doctor
    return
  fi
  ask_doctor
  print_values
  if $problem; then die doctor_bad; fi
}

main "$@"
