//! The catalogue of the server: what can be wrong with Docker, its rules and the host, made on a
//! real engine. The client's sockets see the effect; what proves the cause is seen on the server.

use std::time::{Duration, SystemTime};

use sami_proxy::diag::code::Code;

use super::deeds::{Deed, Lacking, Trouble};
use super::docker::{Engine, NAME};
use super::faults::Look;
use super::observe::{HOST_UNREACHABLE, REFUSED, Shows, Step};
use super::place::Place;
use super::{PROXY, PROXY6, SSH, WEB};

use Place::{Client, Isp, Net, Vps};

/// How the server becomes well again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heal {
    /// README's container in place of what is there, and Docker's rules as they were.
    Baseline,
    /// Besides, the daemon is started anew.
    Daemon,
}

/// One trouble of the server.
#[derive(Debug, Clone, Copy)]
pub struct DockerFault {
    pub name: &'static str,
    /// The cause that a look at the server can at best conclude.
    pub code: Code,
    /// The proxy, as the client has it.
    pub proxy: &'static str,
    /// Who looks at the server.
    pub user: u32,
    /// A script that says whether this machine can; the empty one says so.
    pub needs: &'static str,
    /// `/etc/docker/daemon.json`; the daemon starts anew with it.
    pub settings: &'static str,
    /// As root on the server, where README's container runs; the first failure is one of the test.
    pub script: &'static str,
    /// What is done to the network after that.
    pub deeds: &'static [Deed],
    /// What the baseline does not take back.
    pub back: &'static str,
    pub heal: Heal,
    /// What bare sockets see in the client's place.
    pub step: Step,
    pub shows: Shows,
    /// What stays well meanwhile.
    pub control: Look,
    /// Whether the client's packets come to the server's network card.
    pub knocks: bool,
    /// Scripts on the server and a text that each shows, or does not show (`!`), after the client
    /// has looked.
    pub proofs: &'static [(&'static str, &'static str)],
}

const CONNECT: &str = "CONNECT www.google.com:443 HTTP/1.1\r\nHost: www.google.com:443\r\n\r\n";
const LITERAL: &str = "CONNECT 81.85.80.2:443 HTTP/1.1\r\nHost: 81.85.80.2:443\r\n\r\n";
const NEUTRAL: &str =
    "CONNECT neutral.example.com:443 HTTP/1.1\r\nHost: neutral.example.com:443\r\n\r\n";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

const SSH_OPEN: Look = (Client, Step::Connect(SSH), Shows::Open);
const PROXY_OPEN: Look = (Client, Step::Connect(PROXY), Shows::Open);
const OPEN_ELSEWHERE: Look = (Net, Step::Connect(PROXY), Shows::Open);
const PROXY_LIVES: Look = (Client, Step::Say(PROXY, HEALTH), Shows::Answer(&["HTTP/1.1 200"]));
const LITERAL_WORKS: Look = (Client, Step::Say(PROXY, LITERAL), Shows::Answer(&["HTTP/1.1 200"]));
const SERVER_REACHES_WEB: Look = (Vps, Step::Connect(WEB), Shows::Open);

const REACH: Step = Step::Connect(PROXY);
const ASK: Step = Step::Say(PROXY, CONNECT);
const ASK_LITERAL: Step = Step::Say(PROXY, LITERAL);
const GOOGLE: Step = Step::Https(PROXY, "www.google.com");
const OK: Shows = Shows::Answer(&["200 OK", "hi"]);
const IS_REFUSED: Shows = Shows::Errno(REFUSED);

/// Refused, unless something else is said.
const fn fault(
    name: &'static str,
    code: Code,
    script: &'static str,
    proofs: &'static [(&'static str, &'static str)],
) -> DockerFault {
    DockerFault {
        name,
        code,
        proxy: PROXY,
        user: 0,
        needs: "",
        settings: "",
        script,
        deeds: &[],
        back: "",
        heal: Heal::Baseline,
        step: REACH,
        shows: IS_REFUSED,
        control: SSH_OPEN,
        knocks: true,
        proofs,
    }
}

impl DockerFault {
    const fn seen(self, step: Step, shows: Shows) -> Self {
        Self { step, shows, ..self }
    }

    /// The client is served all the same.
    const fn unseen(self) -> Self {
        self.seen(GOOGLE, OK)
    }

    const fn with(self, deeds: &'static [Deed]) -> Self {
        Self { deeds, ..self }
    }

    const fn back(self, back: &'static str) -> Self {
        Self { back, ..self }
    }

    const fn needs(self, needs: &'static str) -> Self {
        Self { needs, ..self }
    }

    const fn control(self, control: Look) -> Self {
        Self { control, ..self }
    }

    const fn via(self, proxy: &'static str) -> Self {
        Self { proxy, ..self }
    }

    /// The client's packets do not come to the server.
    const fn lost(self) -> Self {
        Self { knocks: false, ..self }
    }

    const fn configured(self, settings: &'static str) -> Self {
        Self { settings, heal: Heal::Daemon, ..self }
    }

    const fn asked_by(self, user: u32) -> Self {
        Self { user, ..self }
    }

    const fn healed_by(self, heal: Heal) -> Self {
        Self { heal, ..self }
    }

    /// The one of this name.
    pub fn named(name: &str) -> &'static Self {
        DOCKER_FAULTS.iter().find(|fault| fault.name == name).unwrap()
    }
}

/// Another container in place of README's.
macro_rules! run {
    ($options:literal, $arguments:literal) => {
        concat!(
            "docker rm -f sami-llm-proxy; docker run -d --name sami-llm-proxy ",
            $options,
            " sami-llm-proxy ",
            $arguments
        )
    };
}

/// The same, and somebody listens in it.
macro_rules! serve {
    ($options:literal) => {
        serve!($options, "")
    };
    ($options:literal, $arguments:literal) => {
        concat!(run!($options, $arguments), "; ", listening!())
    };
}

/// Waits until somebody listens in the container, on 8080 or 3128.
macro_rules! listening {
    () => {
        concat!(
            "until grep -qE ':(1F90|0C38) 00000000:0000 0A' ",
            "/proc/$(docker inspect -f '{{.State.Pid}}' sami-llm-proxy)/net/tcp; do sleep 0.05; done"
        )
    };
}

/// What `docker inspect` says of the container.
macro_rules! inspect {
    ($field:literal) => {
        concat!("docker inspect -f '{{json ", $field, "}}' sami-llm-proxy")
    };
}

/// Waits until what `docker inspect` says is this.
macro_rules! until {
    ($field:literal, $is:literal) => {
        concat!(
            "; until docker inspect -f '{{",
            $field,
            "}}' sami-llm-proxy | grep -qx ",
            $is,
            "; do sleep 0.05; done"
        )
    };
}

/// A program that is not ours and has the port; back when it listens.
macro_rules! nginx {
    () => {
        r#"perl -MIO::Socket::INET -e '
$l = IO::Socket::INET->new(LocalAddr => "0.0.0.0:8080", Listen => 9, ReuseAddr => 1) or die;
exit if fork;
open $f, ">", "/run/lab/other"; print $f $$; close $f;
while ($c = $l->accept) { $c->recv($x, 4096); print $c "HTTP/1.1 405 Not Allowed\r\nServer: nginx\r\n\r\n"; close $c }
' </dev/null >/dev/null 2>&1; "#
    };
}
const NGINX_ENDS: &str =
    "other=$(cat /run/lab/other); kill $other; timeout 15 tail --pid=$other -f /dev/null";

/// Nobody listens on the server itself any more.
macro_rules! without_docker_proxy {
    () => {
        "kill -9 $(pidof docker-proxy); while ss -ltn 'sport = :8080' | grep -q LISTEN; do sleep 0.05; done"
    };
}

/// The table of a container's listeners.
const LISTENERS: &str = "cat /proc/$(docker inspect -f '{{.State.Pid}}' sami-llm-proxy)/net/tcp /proc/$(docker inspect -f '{{.State.Pid}}' sami-llm-proxy)/net/tcp6";
const UFW: &str = "command -v ufw";
const NFT: &str = "command -v nft";

pub const DOCKER_FAULTS: &[DockerFault] = &[
    // The daemon.
    fault(
        "docker-stopped",
        Code::DockerNotRunning,
        "daemon=$(cat /run/docker.pid); kill $daemon; timeout 15 tail --pid=$daemon -f /dev/null",
        &[("docker ps 2>&1 || true", "Cannot connect to the Docker daemon")],
    )
    .healed_by(Heal::Daemon),
    // Its containers and rules outlive it: the client notices nothing.
    fault(
        "docker-killed",
        Code::DockerNotRunning,
        "daemon=$(cat /run/docker.pid); kill -9 $daemon; timeout 15 tail --pid=$daemon -f /dev/null",
        &[
            ("docker ps 2>&1 || true", "Cannot connect to the Docker daemon"),
            ("pidof sami-proxy | wc -w", "1"),
        ],
    )
    .unseen()
    .healed_by(Heal::Daemon),
    fault(
        "docker-no-permission",
        Code::DockerNoPermission,
        "true",
        &[(
            "setpriv --reuid 65534 --regid 65534 --clear-groups docker ps 2>&1 || true",
            "permission denied",
        )],
    )
    .asked_by(65534)
    .unseen(),
    // The container's state.
    fault(
        "container-missing",
        Code::ContainerMissing,
        "docker rm -f sami-llm-proxy",
        &[("docker ps -aq | wc -l", "0\n"), ("docker images", NAME)],
    ),
    fault(
        "container-stopped",
        Code::ContainerStopped,
        "docker stop sami-llm-proxy",
        &[
            (inspect!(".State"), "\"ExitCode\":0"),
            ("docker logs --tail 3 sami-llm-proxy 2>&1", "stopped: "),
        ],
    ),
    fault(
        "container-failed",
        Code::ContainerStopped,
        concat!(
            run!("-p 8080:8080", "serve --listen nonsense"),
            until!(".State.Status", "exited")
        ),
        &[
            (inspect!(".State"), "\"ExitCode\":2"),
            ("docker logs --tail 5 sami-llm-proxy 2>&1", "nonsense"),
        ],
    ),
    // 137, and not for want of memory.
    fault(
        "container-killed",
        Code::ContainerStopped,
        "docker kill sami-llm-proxy",
        &[(inspect!(".State"), "\"OOMKilled\":false,\"Dead\":false,\"Pid\":0,\"ExitCode\":137")],
    ),
    fault(
        "container-created-only",
        Code::ContainerStopped,
        "docker rm -f sami-llm-proxy; docker create --name sami-llm-proxy -p 8080:8080 sami-llm-proxy",
        &[(inspect!(".State"), "\"Status\":\"created\"")],
    ),
    fault(
        "container-restarting",
        Code::ContainerRestarting,
        concat!(
            run!("-p 8080:8080 --restart unless-stopped -e SAMI_PROXY_WORKERS=many", ""),
            "; until [ $(docker inspect -f '{{.RestartCount}}' sami-llm-proxy) -ge 4 ]; do sleep 0.05; done",
            until!(".State.Status", "restarting")
        ),
        &[
            ("docker logs --tail 5 sami-llm-proxy 2>&1", "SAMI_PROXY_WORKERS"),
            (inspect!(".RestartCount"), "!0"),
        ],
    ),
    fault(
        "container-paused",
        Code::ContainerPaused,
        "docker pause sami-llm-proxy",
        &[(inspect!(".State"), "\"Paused\":true")],
    )
    .seen(ASK, Shows::Mute)
    .control(PROXY_OPEN),
    fault(
        "container-oom-killed",
        Code::ContainerOomKilled,
        concat!(
            run!("-p 8080:8080 -m 16m --entrypoint sh", "-c 'x=aaaaaaaa; while :; do x=$x$x; done'"),
            until!(".State.Status", "exited")
        ),
        &[(inspect!(".State"), "\"OOMKilled\":true"), (inspect!(".State"), "\"ExitCode\":137")],
    )
    .needs("docker info -f '{{.MemoryLimit}}' | grep true"),
    // Only the check is broken.
    fault(
        "container-unhealthy",
        Code::ContainerUnhealthy,
        concat!(
            serve!("-p 8080:8080 --health-cmd /bin/missing --health-interval 300ms --health-retries 1"),
            until!(".State.Health.Status", "unhealthy")
        ),
        &[(inspect!(".State.Health"), "/bin/missing")],
    )
    .unseen(),
    fault(
        "wrong-architecture",
        Code::WrongArchitecture,
        concat!(
            // e_machine of the ELF header: AArch64 in place of what this is, or x86-64.
            "cp -a $FOLDER/image $FOLDER/arm; ",
            "case $(uname -m) in aarch64) other='\\076' ;; *) other='\\267' ;; esac; ",
            "printf $other | dd of=$FOLDER/arm/usr/local/bin/sami-proxy bs=1 seek=18 conv=notrunc; ",
            "docker rm -f sami-llm-proxy; ",
            "tar -C $FOLDER/arm -c . | docker import -c 'CMD [\"/usr/local/bin/sami-proxy\"]' - sami-llm-proxy:arm; ",
            "docker run -d --name sami-llm-proxy -p 8080:8080 sami-llm-proxy:arm || true",
            until!(".State.Running", "false")
        ),
        &[
            ("docker logs sami-llm-proxy 2>&1; docker inspect -f '{{.State.Error}}' sami-llm-proxy", "exec format error"),
            (inspect!(".State"), "!\"ExitCode\":0"),
        ],
    )
    .back("docker rm -f sami-llm-proxy; docker rmi sami-llm-proxy:arm; rm -r $FOLDER/arm"),
    // Where it is published.
    fault(
        "not-published",
        Code::PortNotPublished,
        serve!(""),
        &[(inspect!(".HostConfig.PortBindings"), "{}"), (LISTENERS, ":1F90")],
    ),
    fault(
        "published-on-loopback",
        Code::PortPublishedLoopbackOnly,
        serve!("-p 127.0.0.1:8080:8080"),
        &[("docker port sami-llm-proxy", "127.0.0.1:8080"), ("ss -ltn", "127.0.0.1:8080")],
    )
    .control((Vps, Step::Say("127.0.0.1:8080", HEALTH), Shows::Answer(&["HTTP/1.1 200"]))),
    fault(
        "published-on-loopback-by-the-daemon",
        Code::PortPublishedLoopbackOnly,
        serve!("-p 8080:8080"),
        &[("docker port sami-llm-proxy", "127.0.0.1:8080"), ("ss -ltn", "127.0.0.1:8080")],
    )
    .configured("{\"ip\": \"127.0.0.1\"}"),
    fault(
        "published-on-another-port",
        Code::PortPublishedElsewhere,
        serve!("-p 8081:8080"),
        &[("docker port sami-llm-proxy", "0.0.0.0:8081")],
    )
    .control((Client, Step::Say("81.85.76.10:8081", HEALTH), Shows::Answer(&["HTTP/1.1 200"]))),
    fault(
        "published-on-another-address",
        Code::PortPublishedElsewhere,
        serve!("-p 172.17.0.1:8080:8080"),
        &[("docker port sami-llm-proxy", "172.17.0.1:8080")],
    )
    .control((Vps, Step::Connect("172.17.0.1:8080"), Shows::Open)),
    // `docker ps` looks perfect.
    fault(
        "published-for-another-port",
        Code::PortPublishedElsewhere,
        serve!("-p 8080:3128"),
        &[("docker port sami-llm-proxy", "3128/tcp -> 0.0.0.0:8080"), (LISTENERS, ":1F90")],
    ),
    fault(
        "network-none",
        Code::ContainerNetworkMode,
        serve!("--network none -p 8080:8080"),
        &[(inspect!(".HostConfig.NetworkMode"), "none"), (inspect!(".NetworkSettings.Ports"), "{}")],
    ),
    // `-p 3128:8080` is not heeded.
    fault(
        "network-host-ignores-publishing",
        Code::ContainerNetworkMode,
        serve!("--network host -p 3128:8080"),
        &[(inspect!(".HostConfig.NetworkMode"), "host"), (inspect!(".NetworkSettings.Ports"), "{}")],
    )
    .via("81.85.76.10:3128")
    .seen(Step::Connect("81.85.76.10:3128"), IS_REFUSED)
    .control(PROXY_OPEN),
    fault(
        "network-internal",
        Code::ContainerNetworkMode,
        concat!("docker network create --internal inner; ", serve!("--network inner -p 8080:8080")),
        &[("docker network inspect -f '{{.Internal}}' inner", "true")],
    ),
    // Who listens.
    fault(
        "listens-on-loopback",
        Code::ListenerLoopbackOnly,
        serve!("-p 8080:8080", "serve --listen 127.0.0.1:8080"),
        &[(LISTENERS, "0100007F:1F90")],
    ),
    fault(
        "listens-on-another-port",
        Code::ListenerOtherPort,
        serve!("-p 8080:8080", "serve --listen 0.0.0.0:3128"),
        &[(LISTENERS, "00000000:0C38")],
    ),
    fault(
        "nobody-listens",
        Code::ListenerMissing,
        run!("-p 8080:8080 --entrypoint sleep", "infinity"),
        &[(LISTENERS, "!:1F90")],
    ),
    fault(
        "port-taken-by-a-program",
        Code::PortTaken,
        concat!("docker rm -f sami-llm-proxy; ", nginx!(), run!("-p 8080:8080", ""), " || true"),
        &[
            (inspect!(".State"), "\"Status\":\"created\""),
            (inspect!(".State.Error"), "address already in use"),
            ("ss -ltnp", "perl"),
        ],
    )
    .needs("command -v perl")
    .seen(ASK, Shows::Answer(&["405", "nginx"]))
    .back(NGINX_ENDS),
    fault(
        "port-taken-by-a-container",
        Code::PortTaken,
        concat!(
            "docker rm -f sami-llm-proxy; ",
            "docker run -d --name other -p 8080:8080 --entrypoint sleep sami-llm-proxy infinity; ",
            run!("-p 8080:8080", ""),
            " || true"
        ),
        &[
            (inspect!(".State"), "\"Status\":\"created\""),
            (inspect!(".State.Error"), "port is already allocated"),
        ],
    ),
    fault(
        "backlog-overflow",
        Code::BacklogOverflow,
        concat!(
            serve!("-p 8080:8080 --sysctl net.core.somaxconn=2"),
            "; ",
            "process=$(docker inspect -f '{{.State.Pid}}' sami-llm-proxy); kill -STOP $process; ",
            "until grep -q '^State:.T' /proc/$process/status; do sleep 0.05; done"
        ),
        &[(
            "nsenter -n -t $(docker inspect -f '{{.State.Pid}}' sami-llm-proxy) ss -ltn 'sport = :8080'",
            "LISTEN 3 ",
        )],
    )
    .with(&[Deed::Held, Deed::Held, Deed::Held])
    .seen(REACH, Shows::Silence),
    fault(
        "fd-limit",
        Code::FdLimit,
        concat!(
            serve!("-p 8080:8080 --ulimit nofile=12:12 -e SAMI_PROXY_MAX_CONNECTIONS=1000")
        ),
        &[
            (
                "cat /proc/$(docker inspect -f '{{.State.Pid}}' sami-llm-proxy)/limits",
                "open files            12 ",
            ),
            ("ls /proc/$(docker inspect -f '{{.State.Pid}}' sami-llm-proxy)/fd | wc -l", "12"),
            ("docker logs sami-llm-proxy 2>&1", "Too many open files"),
        ],
    )
    .with(&[Deed::Held, Deed::Held])
    .seen(ASK, Shows::Mute),
    // Docker's rules.
    // docker-proxy steps in: all clients have the bridge's address now. Nothing gets out.
    fault(
        "nat-flushed",
        Code::DockerNatMissing,
        "iptables -t nat -F",
        &[
            ("iptables -t nat -S", "!DNAT"),
            ("iptables -t nat -S", "!MASQUERADE"),
            ("docker logs --tail 3 sami-llm-proxy 2>&1", "172.17.0.1"),
        ],
    )
    .seen(ASK_LITERAL, Shows::Answer(&["HTTP/1.1 504", "connection_timeout"]))
    .control(PROXY_LIVES),
    fault(
        "nat-jump-missing",
        Code::DockerNatMissing,
        "iptables -t nat -F PREROUTING",
        &[
            ("iptables -t nat -S DOCKER", "DNAT"),
            ("iptables -t nat -S PREROUTING", "!-j DOCKER"),
            ("docker logs --tail 3 sami-llm-proxy 2>&1", "172.17.0.1"),
        ],
    )
    .unseen(),
    // Docker was told to leave the rules alone, and nobody else makes any.
    fault(
        "nat-not-made",
        Code::DockerNatMissing,
        concat!(
            "docker rm -f sami-llm-proxy; iptables -F; iptables -t nat -F; iptables -P FORWARD ACCEPT; ",
            serve!("-p 8080:8080")
        ),
        &[
            ("iptables -t nat -S", "!MASQUERADE"),
            ("docker logs --tail 3 sami-llm-proxy 2>&1", "172.17.0.1"),
        ],
    )
    .configured("{\"iptables\": false}")
    .seen(ASK_LITERAL, Shows::Answer(&["HTTP/1.1 504", "connection_timeout"]))
    .control(PROXY_LIVES),
    // The rule leads to an address that no container has any more.
    fault(
        "nat-stale",
        Code::DockerNatMissing,
        "true",
        &[("ip neigh show 172.17.0.99", "!lladdr")],
    )
    .with(&[
        Deed::Rule(
            Vps,
            "nat PREROUTING",
            "-p tcp -d 81.85.76.10 --dport 8080 -j DNAT --to-destination 172.17.0.99:8080",
        ),
        Deed::Rule(Vps, "filter DOCKER", "-d 172.17.0.99/32 -p tcp --dport 8080 -j ACCEPT"),
    ])
    .seen(Step::ConnectPatiently(PROXY), Shows::SlowErrno(HOST_UNREACHABLE)),
    fault(
        "nat-flushed-without-userland-proxy",
        Code::DockerNatMissing,
        concat!("iptables -t nat -F; ", without_docker_proxy!()),
        &[("iptables -t nat -S", "!DNAT"), ("docker ps", "0.0.0.0:8080->8080/tcp")],
    ),
    // It looks healed in the DOCKER chain, but nothing comes to it.
    fault(
        "nat-half-restored",
        Code::DockerNatMissing,
        concat!("iptables -t nat -F; docker restart sami-llm-proxy; ", without_docker_proxy!()),
        &[("iptables -t nat -S DOCKER", "DNAT"), ("iptables -t nat -S PREROUTING", "!-j DOCKER")],
    ),
    // "nft flush ruleset", and then somebody starts the container anew.
    fault(
        "docker-chains-missing",
        Code::DockerNatMissing,
        "iptables -t nat -F; iptables -t nat -X DOCKER; ! docker restart sami-llm-proxy 2>/run/lab/said",
        &[
            ("cat /run/lab/said", "No chain/target/match by that name"),
            (inspect!(".State.Error"), "No chain/target/match by that name"),
            (inspect!(".State.Running"), "false"),
        ],
    )
    .back("iptables -t nat -N DOCKER"),
    fault(
        "ip-forward-off",
        Code::IpForwardOff,
        "true",
        &[("cat /proc/sys/net/ipv4/ip_forward", "0")],
    )
    .with(&[Deed::Switch(Vps, "ipv4/ip_forward", ["0", "1"])])
    .seen(REACH, Shows::Silence)
    .control((Vps, Step::Connect("127.0.0.1:8080"), Shows::Open)),
    fault("docker-user-drop", Code::DockerUserDrop, "true", &[])
        .with(&[Deed::Rule(Vps, "filter DOCKER-USER", "-i eth0 -p tcp --dport 8080 -j DROP")])
        .seen(REACH, Shows::Silence),
    fault("docker-user-rejects", Code::PortRejected, "true", &[])
        .with(&[Deed::Rule(
            Vps,
            "filter DOCKER-USER",
            "-i eth0 -p tcp --dport 8080 -j REJECT --reject-with icmp-admin-prohibited",
        )])
        .seen(REACH, Shows::Errno(HOST_UNREACHABLE)),
    // The host's firewall.
    fault(
        "ufw-denies-network-host",
        Code::HostFirewallDrop,
        concat!(
            serve!("--network host"),
            "; ufw allow 22/tcp; ufw deny 8080/tcp; ufw --force enable",
        ),
        &[
            ("ufw status verbose", "Status: active"),
            ("ufw status", "DENY"),
            ("iptables -nvxL ufw-user-input | grep 8080", "DROP"),
        ],
    )
    .needs(UFW)
    .seen(REACH, Shows::Silence)
    .back("ufw --force reset"),
    // docker-proxy listens as any program of the host does.
    fault(
        "nat-flushed-and-ufw",
        Code::DockerNatMissing,
        "ufw allow 22/tcp; ufw --force enable; iptables -t nat -F",
        &[("iptables -t nat -S", "!DNAT"), ("ufw status", "!8080")],
    )
    .needs(UFW)
    .seen(REACH, Shows::Silence)
    .back("ufw --force reset"),
    // What `ufw-docker` writes to /etc/ufw/after.rules.
    fault(
        "ufw-docker-without-a-route",
        Code::DockerUserDrop,
        concat!(
            "cp /etc/ufw/after.rules /run/lab/; printf '%s\\n' '*filter' ':ufw-user-forward - [0:0]' ",
            "':DOCKER-USER - [0:0]' '-A DOCKER-USER -j ufw-user-forward' ",
            "'-A DOCKER-USER -j RETURN -s 172.16.0.0/12' ",
            "'-A DOCKER-USER -j DROP -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -d 172.16.0.0/12' ",
            "'-A DOCKER-USER -j RETURN' COMMIT >>/etc/ufw/after.rules; ",
            "ufw allow 22/tcp; ufw allow 8080/tcp; ufw --force enable"
        ),
        &[("iptables -nvxL DOCKER-USER", "DROP"), ("ufw status", "8080/tcp")],
    )
    .needs(UFW)
    .seen(REACH, Shows::Silence)
    .back("ufw --force reset; cp /run/lab/after.rules /etc/ufw/"),
    fault("input-drop", Code::HostFirewallDrop, serve!("--network host"), &[])
        .with(&[Deed::Rule(Vps, "filter INPUT", "-p tcp --dport 8080 -j DROP")])
        .seen(REACH, Shows::Silence),
    fault("input-rejects", Code::PortRejected, serve!("--network host"), &[])
        .with(&[Deed::Rule(
            Vps,
            "filter INPUT",
            "-p tcp --dport 8080 -j REJECT --reject-with icmp-host-prohibited",
        )])
        .seen(REACH, Shows::Errno(HOST_UNREACHABLE)),
    fault(
        "nftables-input-drop",
        Code::HostFirewallDrop,
        concat!(
            serve!("--network host"),
            "; nft 'table inet filter { chain input { type filter hook input priority 0; policy accept; ",
            "ct state established,related accept; iif lo accept; tcp dport 22 accept; counter drop; }; }'"
        ),
        &[("nft list table inet filter", "counter packets"), ("nft list table inet filter", "!packets 0")],
    )
    .needs(NFT)
    .seen(REACH, Shows::Silence)
    .back("nft delete table inet filter"),
    fault(
        "nftables-forward-drop",
        Code::HostFirewallDrop,
        concat!(
            "nft 'table inet filter { chain forward { type filter hook forward priority 10; ",
            "policy accept; counter drop; }; }'"
        ),
        &[("nft list table inet filter", "!packets 0")],
    )
    .needs(NFT)
    .seen(REACH, Shows::Silence)
    .back("nft delete table inet filter"),
    // In the tables that `iptables` and `nft` do not show.
    fault(
        "iptables-legacy-drop",
        Code::HostFirewallDrop,
        "iptables-legacy -I FORWARD -i eth0 -p tcp --dport 8080 -j DROP",
        &[
            ("iptables-legacy -nvxL FORWARD", "DROP"),
            ("iptables-legacy -nvxL FORWARD", "! 0        0 DROP"),
        ],
    )
    .needs("iptables-legacy -S")
    .seen(REACH, Shows::Silence)
    .back("iptables-legacy -F FORWARD"),
    fault("forward-drop", Code::HostFirewallDrop, "true", &[])
        .with(&[Deed::Rule(Vps, "filter FORWARD", "-i eth0 -j DROP")])
        .seen(REACH, Shows::Silence),
    // A firewall script has flushed Docker's rules of FORWARD.
    fault(
        "forward-policy-drop",
        Code::HostFirewallDrop,
        "iptables -F FORWARD; iptables -P FORWARD DROP",
        &[("iptables -nvxL FORWARD", "policy DROP"), ("iptables -S FORWARD", "!docker0")],
    )
    .seen(REACH, Shows::Silence),
    fault(
        "banned-by-crowdsec",
        Code::ClientBanned,
        concat!(
            "nft 'table ip crowdsec { set crowdsec-blacklists { type ipv4_addr; flags timeout; ",
            "elements = { 10.1.0.2 timeout 4h }; }; ",
            "chain crowdsec-chain-forward { type filter hook forward priority -10; policy accept; ",
            "ip saddr @crowdsec-blacklists counter drop; }; ",
            "chain crowdsec-chain-input { type filter hook input priority -10; policy accept; ",
            "ip saddr @crowdsec-blacklists counter drop; }; }'"
        ),
        &[
            ("nft list set ip crowdsec crowdsec-blacklists", "10.1.0.2"),
            ("nft list chain ip crowdsec crowdsec-chain-forward", "!packets 0"),
        ],
    )
    .needs(NFT)
    .seen(REACH, Shows::Silence)
    .back("nft delete table ip crowdsec")
    .control(OPEN_ELSEWHERE),
    fault(
        "banned-by-fail2ban",
        Code::ClientBanned,
        concat!(
            "iptables -N f2b-sami-proxy; iptables -A f2b-sami-proxy -s 10.1.0.2 -j REJECT; ",
            "iptables -A f2b-sami-proxy -j RETURN; iptables -I DOCKER-USER -p tcp -j f2b-sami-proxy"
        ),
        &[("iptables -nvxL f2b-sami-proxy", "10.1.0.2"), ("iptables -nvxL f2b-sami-proxy", "!  0        0 REJECT")],
    )
    .control(OPEN_ELSEWHERE),
    // As with a VPN: the client's network is behind it, and answers go back where they came from
    // by a mark. That is well until the way of a request is held against the table.
    fault(
        "reverse-path-filter",
        Code::ReversePathFilter,
        concat!(
            "ip link add vpn0 type bridge; ip addr add 10.8.0.1/24 dev vpn0; ip link set vpn0 up; ",
            "ip route add 10.1.0.0/24 dev vpn0; ip route add default via 81.85.76.1 dev eth0 table 100; ",
            "ip rule add fwmark 1 lookup 100"
        ),
        &[(
            "nstat -asz TcpExtIPReversePathFilter | tail -1",
            "!TcpExtIPReversePathFilter       0 ",
        )],
    )
    .with(&[
        Deed::Run(
            Vps,
            "iptables -t mangle -A PREROUTING -i docker0 -j MARK --set-mark 1",
            "iptables -t mangle -F PREROUTING",
        ),
        Deed::Switch(Vps, "ipv4/conf/eth0/rp_filter", ["1", "0"]),
    ])
    .seen(REACH, Shows::Silence)
    .back("ip rule del fwmark 1 lookup 100; ip link del vpn0; ip route flush table 100")
    .control(OPEN_ELSEWHERE),
    // Outward.
    fault(
        "dns-server-dead",
        Code::ContainerDnsBroken,
        serve!("-p 8080:8080 --dns 192.0.2.1"),
        &[("cat $(docker inspect -f '{{.ResolvConfPath}}' sami-llm-proxy)", "192.0.2.1")],
    )
    .seen(ASK, Shows::Answer(&["HTTP/1.1 504", "dns_timeout"]))
    .control(LITERAL_WORKS),
    fault(
        "dns-on-loopback",
        Code::ContainerDnsBroken,
        serve!("-p 8080:8080 --dns 127.0.0.53"),
        &[("cat $(docker inspect -f '{{.ResolvConfPath}}' sami-llm-proxy)", "127.0.0.53")],
    )
    .seen(ASK, Shows::Answer(&["HTTP/1.1 50", "dns_"]))
    .control(LITERAL_WORKS),
    fault("dns-blocked", Code::ContainerDnsBroken, "true", &[])
        .with(&[Deed::Rule(Vps, "filter DOCKER-USER", "-i docker0 -p udp --dport 53 -j DROP")])
        .seen(Step::Say(PROXY, NEUTRAL), Shows::Answer(&["HTTP/1.1 50", "dns_"]))
        .control(LITERAL_WORKS),
    // What the host says to itself is of no use in a container, and what Docker puts in its place
    // may be out of reach.
    fault(
        "dns-of-the-host-on-loopback",
        Code::ContainerDnsBroken,
        concat!("echo nameserver 127.0.0.1 >/etc/resolv.conf; ", serve!("-p 8080:8080")),
        &[("cat $(docker inspect -f '{{.ResolvConfPath}}' sami-llm-proxy)", "!81.85.80.53")],
    )
    .seen(ASK, Shows::Answer(&["HTTP/1.1 50", "dns_"]))
    .control(LITERAL_WORKS)
    .back("echo nameserver 81.85.80.53 >/etc/resolv.conf"),
    fault(
        "masquerade-missing",
        Code::ContainerNoEgress,
        "iptables -t nat -D POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
        &[("iptables -t nat -S POSTROUTING", "!-s 172.17.0.0/16")],
    )
    .seen(ASK_LITERAL, Shows::Answer(&["HTTP/1.1 504", "connection_timeout"]))
    .control(PROXY_LIVES),
    fault("egress-blocked", Code::ContainerNoEgress, "true", &[])
        .with(&[Deed::Rule(
            Vps,
            "filter DOCKER-USER",
            "-i docker0 -o eth0 -p tcp --dport 443 -j DROP",
        )])
        .seen(ASK, Shows::Answer(&["HTTP/1.1 504", "connection_timeout"]))
        .control(SERVER_REACHES_WEB),
    // The host can't, either.
    fault("provider-blocks-egress", Code::ProxyNoEgress, "true", &[])
        .with(&[Deed::Rule(Isp, "filter FORWARD", "-i vps -p tcp --dport 443 -j DROP")])
        .seen(ASK, Shows::Answer(&["HTTP/1.1 504", "connection_timeout"]))
        .control(PROXY_LIVES),
    fault(
        "container-mtu",
        Code::ContainerMtu,
        "ip link set eth0 mtu 1400",
        &[
            ("ip link show eth0", "mtu 1400"),
            ("nsenter -n -t $(docker inspect -f '{{.State.Pid}}' sami-llm-proxy) ip link show eth0", "mtu 1500"),
        ],
    )
    .with(&[Deed::Rule(
        Vps,
        "filter OUTPUT",
        "-o docker0 -p icmp --icmp-type fragmentation-needed -j DROP",
    )])
    .back("ip link set eth0 mtu 1500")
    .seen(Step::Down(PROXY, 65536), Shows::StopsAfter(0, 1400))
    .control(PROXY_LIVES),
    // Resources.
    fault(
        "disk-full",
        Code::DiskFull,
        concat!(
            "docker rm -f sami-llm-proxy; ",
            "mount -o remount,size=$(($(df -k --output=used /var/lib/docker | tail -1) + 8))k /var/lib/docker; ",
            "! docker run -d --name sami-llm-proxy -p 8080:8080 sami-llm-proxy 2>/run/lab/said"
        ),
        &[("cat /run/lab/said", "no space left on device"), ("df /var/lib/docker", "100%")],
    )
    .back("mount -o remount,size=400m /var/lib/docker"),
    // Staged: the machine's own numbers can't be changed for one lab, and the client sees nothing.
    fault(
        "memory-short",
        Code::MemoryShort,
        concat!(
            "sed 's/^\\(MemAvailable\\|MemFree\\|SwapFree\\): .*/\\1: 9000 kB/' ",
            "/proc/meminfo >/run/lab/meminfo; mount --bind /run/lab/meminfo /proc/meminfo"
        ),
        &[("cat /proc/meminfo", "MemAvailable: 9000 kB")],
    )
    .unseen()
    .back("umount /proc/meminfo"),
    fault(
        "conntrack-full",
        Code::ConntrackFull,
        concat!(
            "cat /proc/sys/net/netfilter/nf_conntrack_max >/run/lab/count; ",
            "mount --bind /run/lab/count /proc/sys/net/netfilter/nf_conntrack_count"
        ),
        &[(
            "paste /proc/sys/net/netfilter/nf_conntrack_count /proc/sys/net/netfilter/nf_conntrack_max | grep -E '^([0-9]+)[^0-9]+\\1$' | wc -l",
            "1\n",
        )],
    )
    .needs("cat /proc/sys/net/netfilter/nf_conntrack_max")
    .unseen()
    .back("umount /proc/sys/net/netfilter/nf_conntrack_count"),
    // Warnings.
    // On the server all is well.
    fault("cloud-firewall", Code::CloudFirewallSuspected, "true", &[])
        .with(&[Deed::Rule(Isp, "filter FORWARD", "-o vps -p tcp --dport 8080 -j DROP")])
        .seen(REACH, Shows::Silence)
        .lost(),
    fault(
        "open-proxy",
        Code::OpenProxy,
        serve!("-p 8080:8080 -e SAMI_PROXY_OPEN=true -e SAMI_PROXY_TRUST_CLIENT=192.0.2.1/32"),
        &[(inspect!(".Config.Env"), "SAMI_PROXY_OPEN=true")],
    )
    .unseen()
    .control((Net, Step::Say(PROXY, NEUTRAL), Shows::Answer(&["HTTP/1.1 200"]))),
    // By IPv6 only docker-proxy leads to a container that has no IPv6 address.
    fault(
        "client-address-hidden",
        Code::ClientAddressHidden,
        "true",
        &[("docker logs --tail 3 sami-llm-proxy 2>&1", "172.17.0.1")],
    )
    .via(PROXY6)
    .seen(Step::Https(PROXY6, "www.google.com"), OK),
];

/// Two troubles at once: the one whose mending comes first is the cause, and the other one stands
/// beside it if it is one still when the first is mended.
pub const DOCKER_PAIRS: &[(DockerFault, Option<Code>)] = &[
    // Without Docker's rules the port would be one of those that ufw guards.
    (
        fault(
            "stopped-beside-ufw",
            Code::ContainerStopped,
            "docker stop sami-llm-proxy; ufw allow 22/tcp; ufw --force enable",
            &[("ufw status", "!8080")],
        )
        .needs(UFW)
        .seen(REACH, Shows::Silence)
        .back("ufw --force reset"),
        None,
    ),
    (
        fault(
            "on-loopback-beside-ufw",
            Code::PortPublishedLoopbackOnly,
            concat!(serve!("-p 127.0.0.1:8080:8080"), "; ufw allow 22/tcp; ufw --force enable"),
            &[("ufw status", "!8080")],
        )
        .needs(UFW)
        .seen(REACH, Shows::Silence)
        .back("ufw --force reset"),
        None,
    ),
    // In the network of the host it guards it for good.
    (
        fault(
            "stopped-in-the-hosts-network-and-ufw",
            Code::ContainerStopped,
            concat!(
                serve!("--network host"),
                "; docker stop sami-llm-proxy; ufw allow 22/tcp; ufw --force enable"
            ),
            &[("ufw status", "!8080")],
        )
        .needs(UFW)
        .seen(REACH, Shows::Silence)
        .back("ufw --force reset"),
        Some(Code::HostFirewallDrop),
    ),
    (
        fault("paused-and-dropped", Code::ContainerPaused, "docker pause sami-llm-proxy", &[])
            .with(&[Deed::Rule(Vps, "filter DOCKER-USER", "-i eth0 -p tcp --dport 8080 -j DROP")])
            .seen(REACH, Shows::Silence),
        Some(Code::DockerUserDrop),
    ),
    (
        fault(
            "deaf-and-dropped",
            Code::ListenerLoopbackOnly,
            serve!("-p 8080:8080", "serve --listen 127.0.0.1:8080"),
            &[(LISTENERS, "0100007F:1F90")],
        )
        .with(&[Deed::Rule(Vps, "filter FORWARD", "-i eth0 -p tcp --dport 8080 -j DROP")])
        .seen(REACH, Shows::Silence),
        Some(Code::HostFirewallDrop),
    ),
    (
        fault(
            "no-jump-and-no-way-out",
            Code::DockerNatMissing,
            "iptables -t nat -F PREROUTING",
            &[("iptables -t nat -S PREROUTING", "!-j DOCKER")],
        )
        .with(&[Deed::Rule(
            Vps,
            "filter DOCKER-USER",
            "-i docker0 -o eth0 -p tcp --dport 443 -j DROP",
        )])
        .seen(ASK, Shows::Answer(&["HTTP/1.1 504", "connection_timeout"]))
        .control(PROXY_LIVES),
        Some(Code::ContainerNoEgress),
    ),
];

/// What is other than README has it, and well: nothing of it may raise an alarm. The client is
/// served.
pub const DOCKER_HEALTHY: &[DockerFault] = &[
    fault("plain", Code::Ok, "true", &[]).unseen(),
    // ufw has no say in what Docker forwards.
    fault(
        "ufw-denies-and-docker-publishes",
        Code::Ok,
        "ufw allow 22/tcp; ufw deny 8080/tcp; ufw --force enable",
        &[
            ("ufw status", "DENY"),
            ("iptables -nvxL ufw-user-input | grep 8080", " 0        0 DROP"),
        ],
    )
    .unseen()
    .needs(UFW)
    .back("ufw --force reset"),
    // Its name server is 127.0.0.11, and that is well.
    fault(
        "network-of-its-own",
        Code::Ok,
        concat!("docker network create own; ", serve!("--network own -p 8080:8080")),
        &[("cat $(docker inspect -f '{{.ResolvConfPath}}' sami-llm-proxy)", "127.0.0.11")],
    )
    .unseen(),
    fault(
        "network-host-and-ufw-allows",
        Code::Ok,
        concat!(
            serve!("--network host"),
            "; ufw allow 22/tcp; ufw allow 8080/tcp; ufw --force enable",
        ),
        &[("ufw status", "8080/tcp")],
    )
    .unseen()
    .needs(UFW)
    .back("ufw --force reset"),
    fault(
        "hardened",
        Code::Ok,
        serve!("-p 8080:8080 --read-only --cap-drop ALL --security-opt no-new-privileges -m 256m"),
        &[(inspect!(".HostConfig.ReadonlyRootfs"), "true")],
    )
    .unseen(),
    fault("userland-proxy-off", Code::Ok, listening!(), &[("ss -ltnp", "!docker-proxy")])
        .configured("{\"userland-proxy\": false}")
        .unseen(),
    fault(
        "another-name",
        Code::Ok,
        "docker rename sami-llm-proxy proxy-1; docker update --restart always proxy-1",
        &[("docker ps", "proxy-1")],
    )
    .unseen(),
    // Once is no loop.
    fault(
        "restarted-once",
        Code::Ok,
        concat!(
            "kill -9 $(docker inspect -f '{{.State.Pid}}' sami-llm-proxy)",
            until!(".RestartCount", "1"),
            until!(".State.Running", "true"),
            "; ",
            listening!()
        ),
        &[(inspect!(".RestartCount"), "1")],
    )
    .unseen(),
    fault(
        "an-old-container-beside",
        Code::Ok,
        "docker run --name sami-llm-proxy-old -p 8081:8080 sami-llm-proxy --version",
        &[("docker ps -a", "Exited (0)")],
    )
    .unseen(),
    fault(
        "another-container-beside",
        Code::Ok,
        "docker run -d --name web -p 8081:80 --entrypoint sleep sami-llm-proxy infinity",
        &[("docker ps", "web")],
    )
    .unseen(),
];

/// A trouble of the server that is there until it is dropped.
pub struct DockerTrouble<'lab> {
    engine: &'lab Engine<'lab>,
    fault: &'lab DockerFault,
    /// What was done to the network, until it is taken back.
    network: Option<Trouble<'lab>>,
    healed: bool,
}

impl<'lab> Engine<'lab> {
    /// Makes a trouble where README's container runs; `Ok(None)` where this machine can't, and it
    /// says why.
    pub fn inject(
        &'lab self,
        fault: &'lab DockerFault,
    ) -> Result<Option<DockerTrouble<'lab>>, String> {
        if self.shell(fault.needs).is_err() {
            let must = std::env::var_os("CI").is_some() && fault.needs.starts_with("command -v");
            assert!(!must, "root can install it: {}", fault.needs);
            println!("skipped: {}: not `{}`", fault.name, fault.needs);
            return Ok(None);
        }
        let mut trouble = DockerTrouble { engine: self, fault, network: None, healed: false };
        if !fault.settings.is_empty() {
            let settings = self.lab.folder().join("daemon.json");
            std::fs::write(settings, fault.settings).unwrap();
            self.shell("cp $FOLDER/daemon.json /etc/docker/")?;
            self.restart_daemon()?;
        }
        self.shell(fault.script)?;
        let network = Trouble::make(self.lab, fault.name, fault.deeds);
        trouble.network = Some(network.map_err(|Lacking(why)| why)?);
        Ok(Some(trouble))
    }
}

impl DockerTrouble<'_> {
    /// What proves the cause, after the client has looked; `Err` says what does not.
    pub fn check_evidence(&self) -> Result<(), String> {
        for proof in self.fault.proofs {
            let begun = SystemTime::now();
            // Log lines and states may come a little after the answer.
            while let Err(why) = self.check(proof) {
                if begun.elapsed().unwrap() > Duration::from_secs(5) {
                    return Err(why);
                }
                std::thread::park_timeout(Duration::from_millis(50));
            }
        }
        self.network.as_ref().map_or(Ok(()), Trouble::check_evidence)
    }

    fn check(&self, (script, text): &(&str, &str)) -> Result<(), String> {
        let shown = self.engine.shell(script)?;
        let there = match text.strip_prefix('!') {
            Some(text) => !shown.contains(text),
            None => shown.contains(text),
        };
        if there { Ok(()) } else { Err(format!("{}: {script} shows {shown:?}", self.fault.name)) }
    }

    /// Takes it back; `Err` when the client is not served then.
    pub fn heal(mut self) -> Result<(), String> {
        self.take_back()
    }

    fn take_back(&mut self) -> Result<(), String> {
        self.healed = true;
        if self.fault.heal == Heal::Daemon {
            self.engine.shell("rm -f /etc/docker/daemon.json")?;
            self.engine.restart_daemon()?;
        }
        self.engine.shell(self.fault.back)?;
        // Waits until packets pass, and so comes last.
        drop(self.network.take());
        self.engine.baseline()
    }
}

impl Drop for DockerTrouble<'_> {
    fn drop(&mut self) {
        // A failed test takes its lab down with it, and a second panic would hide the first.
        if !self.healed
            && !std::thread::panicking()
            && let Err(why) = self.take_back()
        {
            println!("{}: not taken back: {why}", self.fault.name);
        }
    }
}
