//! What Docker says of a container → a fact. Pure.

use std::net::IpAddr;
use std::time::SystemTime;

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, EndpointSettings, Health, HostConfig,
    PortMap,
};

use super::redact;
use crate::diag::fact::{Binding, Container, HealthCheck, Image, Network, Pick, Sample, State};

/// A container as `docker inspect` shows it at `now`, picked for these reasons.
pub(super) fn of_inspect(
    it: &ContainerInspectResponse,
    picked: Vec<Pick>,
    now: SystemTime,
) -> Container {
    let ours = picked.iter().any(|pick| *pick != Pick::Port);
    let config = it.config.as_ref();
    let host = it.host_config.as_ref();
    let settings = it.network_settings.as_ref();
    let words = it.path.iter().chain(it.args.iter().flatten()).map(String::as_str);
    let variables = config.and_then(|it| it.env.as_ref()).into_iter().flatten();
    let networks = settings.and_then(|it| it.networks.as_ref()).into_iter().flatten();
    let mut networks: Vec<Network> = networks.map(|(name, it)| network(name, it)).collect();
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    Container {
        name: it.name.as_deref().unwrap_or_default().trim_start_matches('/').to_owned(),
        id: it.id.as_deref().unwrap_or_default().chars().take(12).collect(),
        picked,
        image: Image {
            name: config.and_then(|it| it.image.clone()).unwrap_or_default(),
            architecture: None,
        },
        command: if ours { redact::command(words) } else { Vec::new() },
        variables: variables.filter(|_| ours).filter_map(|it| redact::variable(it)).collect(),
        first: sample(it, now),
        second: None,
        health: it.state.as_ref().and_then(|it| health(it.health.as_ref()?)),
        network_mode: host.and_then(|it| it.network_mode.clone()).unwrap_or_default(),
        networks,
        bindings: bindings(host.and_then(|it| it.port_bindings.as_ref())),
        ports: bindings(settings.and_then(|it| it.ports.as_ref())),
        restart: host.map(restart).unwrap_or_default(),
        memory_limit: host.and_then(|it| positive(it.memory)),
        nofile: host.and_then(nofile),
        log: Vec::new(),
        clients: Vec::new(),
        listeners: None,
        unseen: None,
        overflow: None,
    }
}

/// The state of a container at `now`.
pub(super) fn sample(it: &ContainerInspectResponse, now: SystemTime) -> Sample {
    let Some(state) = &it.state else { return Sample::default() };
    let error = state.error.as_deref().filter(|it| !it.is_empty());
    let started = state.started_at.as_deref().filter(|it| !it.starts_with("0001-"));
    let up = started
        .and_then(|it| humantime::parse_rfc3339(it).ok())
        .and_then(|started| now.duration_since(started).ok());
    let pid = state.pid.and_then(|pid| i32::try_from(pid).ok());
    Sample {
        state: state.status.map_or(State::Unknown, word),
        exit_code: state.exit_code,
        error: error.map(redact::line),
        oom_killed: state.oom_killed.unwrap_or(false),
        restarts: it.restart_count.and_then(|it| u64::try_from(it).ok()).unwrap_or(0),
        started_at: started.map(ToOwned::to_owned),
        up_ms: up.and_then(|up| u64::try_from(up.as_millis()).ok()),
        pid: pid.filter(|pid| *pid > 0),
    }
}

const fn word(state: ContainerStateStatusEnum) -> State {
    match state {
        ContainerStateStatusEnum::CREATED => State::Created,
        ContainerStateStatusEnum::RUNNING => State::Running,
        ContainerStateStatusEnum::PAUSED => State::Paused,
        ContainerStateStatusEnum::RESTARTING => State::Restarting,
        ContainerStateStatusEnum::REMOVING => State::Removing,
        ContainerStateStatusEnum::EXITED => State::Exited,
        ContainerStateStatusEnum::DEAD => State::Dead,
        ContainerStateStatusEnum::STOPPING | ContainerStateStatusEnum::EMPTY => State::Unknown,
    }
}

fn health(it: &Health) -> Option<HealthCheck> {
    let status = it.status.map(|it| it.to_string()).filter(|it| !it.is_empty() && it != "none")?;
    let last = it.log.as_ref().and_then(|log| log.last()).and_then(|it| it.output.as_deref());
    let said = last.map(redact::line).filter(|it| !it.is_empty());
    let failures = it.failing_streak.and_then(|it| u64::try_from(it).ok()).unwrap_or(0);
    Some(HealthCheck { status, failures, said })
}

fn network(name: &str, it: &EndpointSettings) -> Network {
    let parsed = |all: [&Option<String>; 2]| -> Vec<IpAddr> {
        all.into_iter().flatten().filter_map(|it| it.parse().ok()).collect()
    };
    Network {
        name: name.to_owned(),
        internal: None,
        addresses: parsed([&it.ip_address, &it.global_ipv6_address]),
        gateways: parsed([&it.gateway, &it.ipv6_gateway]),
    }
}

/// The TCP ports of a table, in order.
fn bindings(ports: Option<&PortMap>) -> Vec<Binding> {
    let mut all = Vec::new();
    for (inside, outside) in ports.into_iter().flatten() {
        let (number, protocol) = inside.split_once('/').unwrap_or((inside, "tcp"));
        let Some(inside) = number.parse().ok().filter(|_| protocol == "tcp") else { continue };
        for it in outside.iter().flatten() {
            let port = it.host_port.as_deref().and_then(|it| it.parse().ok()).filter(|it| *it > 0);
            let ip = it.host_ip.as_deref().and_then(|it| it.parse().ok());
            all.push(Binding { ip, port, inside });
        }
    }
    all.sort_unstable();
    all
}

fn restart(host: &HostConfig) -> String {
    let name = host.restart_policy.as_ref().and_then(|it| it.name);
    name.map(|it| it.to_string()).filter(|it| !it.is_empty()).unwrap_or_else(|| "no".to_owned())
}

fn nofile(host: &HostConfig) -> Option<u64> {
    let limits = host.ulimits.as_ref()?;
    let limit = limits.iter().find(|it| it.name.as_deref() == Some("nofile"))?;
    positive(limit.soft)
}

fn positive(number: Option<i64>) -> Option<u64> {
    number.and_then(|it| u64::try_from(it).ok()).filter(|it| *it > 0)
}

/// A processor as images name it.
pub(super) fn architecture(machine: &str) -> String {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i686" => "386",
        "armv7l" | "armv6l" => "arm",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use bollard::models::ContainerInspectResponse;

    use super::{architecture, of_inspect, sample};
    use crate::diag::fact::{Binding, Container, Pick, State};

    /// Of Docker 20.10: README's container.
    const RUNNING: &str = include_str!("../../../../tests/recorded/docker/inspect-running.json");
    /// Of Docker 20.10: one whose port another container has, with secrets of every kind.
    const CREATED: &str = include_str!("../../../../tests/recorded/docker/inspect-created.json");
    /// After the types of the newest API.
    const NEWEST: &str = r#"{"Id":"0123456789abcdef","Name":"/p","RestartCount":3,
        "State":{"Status":"restarting","ExitCode":137,"OOMKilled":true,"Pid":0,"Error":"",
            "StartedAt":"2026-11-21T12:00:00.5Z",
            "Health":{"Status":"unhealthy","FailingStreak":4,
                "Log":[{"ExitCode":1,"Output":"old"},{"ExitCode":1,"Output":"token=abc no\n"}]}},
        "Config":{"Image":"ghcr.io/x/sami-proxy:1"},
        "HostConfig":{"NetworkMode":"inner","RestartPolicy":{"Name":"always"},
            "PortBindings":{"8080/tcp":[{"HostIp":"","HostPort":"0"}],"53/udp":[{"HostPort":"53"}]}},
        "NetworkSettings":{"Ports":{"8080/tcp":[{"HostIp":"::","HostPort":"49153"}],"9/tcp":null},
            "Networks":{"inner":{"Gateway":"10.9.0.1","IPAddress":"10.9.0.2",
                "GlobalIPv6Address":"fd00::2","IPv6Gateway":""}}}}"#;

    fn read(text: &str) -> Container {
        let found: ContainerInspectResponse = serde_json::from_str(text).unwrap();
        of_inspect(&found, vec![Pick::Name], SystemTime::now())
    }

    fn binding(ip: Option<&str>, port: Option<u16>, inside: u16) -> Binding {
        Binding { ip: ip.map(|ip| ip.parse().unwrap()), port, inside }
    }

    #[test]
    fn a_running_container_is_taken_over() {
        let it = read(RUNNING);
        assert_eq!((it.name.as_str(), it.id.len()), ("sami-llm-proxy", 12));
        assert_eq!(it.first.state, State::Running);
        assert!(it.first.pid.unwrap() > 0 && it.first.error.is_none());
        assert_eq!(it.command, ["/usr/local/bin/sami-proxy", "serve"]);
        assert_eq!(it.bindings, [binding(None, Some(8080), 8080)]);
        let ports = [binding(Some("0.0.0.0"), Some(8080), 8080)];
        assert_eq!(it.ports.first(), ports.first());
        assert_eq!(it.restart, "unless-stopped");
        assert_eq!((it.memory_limit, it.nofile), (None, None));
        let network = it.networks.first().unwrap();
        assert_eq!(network.name, "bridge");
        assert_eq!(network.gateways, ["172.17.0.1".parse::<std::net::IpAddr>().unwrap()]);
    }

    #[test]
    fn one_that_could_not_start_tells_why_and_no_secret() {
        let it = read(CREATED);
        assert_eq!(it.first.state, State::Created);
        assert_eq!((it.first.pid, it.first.up_ms), (None, None));
        assert!(it.first.error.as_ref().unwrap().ends_with("port is already allocated"));
        assert!(it.ports.is_empty());
        let asked = [binding(None, Some(8080), 8080), binding(Some("127.0.0.1"), Some(8081), 8080)];
        assert_eq!(it.bindings, asked);
        assert_eq!((it.memory_limit, it.nofile), (Some(64 << 20), Some(1024)));
        assert_eq!(it.restart, "on-failure");
        let text = serde_json::to_string(&it).unwrap();
        for secret in ["hunter", "sk-1", "OPENAI"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(it.variables.iter().any(|it| it.name == "SAMI_PROXY_AUTH" && it.value.is_none()));
        assert!(it.command.contains(&"--open".to_owned()));
    }

    #[test]
    fn the_newest_docker_is_understood_too() {
        let it = read(NEWEST);
        assert_eq!((it.first.state, it.first.restarts), (State::Restarting, 3));
        assert_eq!((it.first.exit_code, it.first.oom_killed), (Some(137), true));
        assert_eq!(it.bindings, [binding(None, None, 8080)]);
        assert_eq!(it.ports, [binding(Some("::"), Some(49153), 8080)]);
        let health = it.health.unwrap();
        assert_eq!((health.status.as_str(), health.failures), ("unhealthy", 4));
        assert_eq!(health.said.as_deref(), Some("token=… no"));
        assert_eq!(it.networks.first().unwrap().addresses.len(), 2);
        // Nothing said is nothing known.
        let nothing = read("{}");
        assert_eq!(nothing.first.state, State::Unknown);
    }

    #[test]
    fn a_foreign_container_is_only_looked_at_from_outside() {
        let found: ContainerInspectResponse = serde_json::from_str(CREATED).unwrap();
        let it = of_inspect(&found, vec![Pick::Port], SystemTime::now());
        assert!(it.command.is_empty() && it.variables.is_empty());
    }

    #[test]
    fn the_time_since_its_start_is_counted() {
        let mut found: ContainerInspectResponse = serde_json::from_str(NEWEST).unwrap();
        let started = humantime::parse_rfc3339("2026-11-21T12:00:00.5Z").unwrap();
        let now = started + Duration::from_secs(7);
        assert_eq!(sample(&found, now).up_ms, Some(7000));
        // A clock that was set back.
        assert_eq!(sample(&found, started - Duration::from_secs(1)).up_ms, None);
        found.state.as_mut().unwrap().started_at = Some("0001-01-01T00:00:00Z".into());
        assert_eq!(sample(&found, now).started_at, None);
    }

    #[test]
    fn processors_have_the_names_of_images() {
        let cases = [("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64")];
        for (machine, expected) in cases {
            assert_eq!(architecture(machine), expected);
        }
    }
}
