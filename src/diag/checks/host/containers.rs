//! The containers that may be the proxy's.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::models::{ContainerInspectResponse, ContainerSummary};
use bollard::query_parameters::{ListContainersOptionsBuilder, LogsOptionsBuilder};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::super::{Context, Measured};
use super::docker::{LIMIT, connect, socket};
use super::inspect::{architecture, of_inspect, sample};
use super::process::{Whose, listeners, overflows};
use super::redact;
use crate::diag::fact::{
    Container, Containers, Data, Listener, Overflow, Pick, Sample, Skip, State, Status,
};
use crate::diag::plan_host::NAME;

/// Between two looks. Docker waits 100 ms before the first restart, and twice as long before each
/// further one.
const APART: Duration = Duration::from_millis(1300);

/// More than these are not looked at.
const MOST: usize = 6;

/// Lines of a log in which clients are looked for, and those that are kept.
const LINES: (&str, usize) = ("200", 10);

/// The most bytes of a log.
const BYTES: usize = 256 * 1024;

/// Looks at them, twice.
pub(in super::super) async fn run(context: &Context) -> Measured {
    let asked = context.evidence.asked.container.clone().unwrap_or_else(|| NAME.to_owned());
    let port = context.evidence.subject.port;
    let Some(docker) = connect(&socket()).await else {
        return (Status::Skipped(Skip::NoEngine), None);
    };
    let options = ListContainersOptionsBuilder::default().all(true).build();
    let Ok(Ok(all)) = timeout(LIMIT, docker.list_containers(Some(options))).await else {
        return (Status::Skipped(Skip::NoEngine), None);
    };
    let mut picked: Vec<(String, Vec<Pick>)> = all
        .iter()
        .filter_map(|it| Some((it.id.clone()?, reasons(it, &asked, port))))
        .filter(|(_, reasons)| !reasons.is_empty())
        .collect();
    picked.sort_by_key(|(_, reasons)| reasons.iter().min().copied());
    picked.truncate(MOST);
    let mut containers = Vec::new();
    for (id, reasons) in picked {
        if let Some(found) = inspect(&docker, &id).await {
            let container = of_inspect(&found, reasons, SystemTime::now());
            containers.push((id, completed(&docker, &found, container).await));
        }
    }
    if !containers.is_empty() {
        tokio::select! {
            () = tokio::time::sleep(APART) => {}
            () = context.over() => {}
        }
    }
    for (id, container) in &mut containers {
        if let Some(again) = inspect(&docker, id).await {
            look_again(container, sample(&again, SystemTime::now()));
        }
    }
    let containers: Vec<Container> = containers.into_iter().map(|(_, it)| it).collect();
    let well = containers.iter().any(|it| it.last().state == State::Running);
    let all = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let status = if well { Status::Worked } else { Status::Failed };
    (status, Some(Data::Containers(Containers { asked, all, containers })))
}

/// Why a container may be the proxy's.
fn reasons(it: &ContainerSummary, asked: &str, port: u16) -> Vec<Pick> {
    let mut names = it.names.iter().flatten();
    let is_asked = names.any(|name| name.trim_start_matches('/') == asked);
    let image = it.image.as_deref().is_some_and(is_our_image);
    let label = |labels: &HashMap<String, String>| {
        labels.get("org.opencontainers.image.title").is_some_and(|it| it == "sami-proxy")
    };
    let mut ports = it.ports.iter().flatten();
    let reasons = [
        (Pick::Name, is_asked),
        (Pick::Image, image),
        (Pick::Label, it.labels.as_ref().is_some_and(label)),
        (Pick::Port, ports.any(|it| it.public_port == Some(port))),
    ];
    reasons.into_iter().filter(|(_, holds)| *holds).map(|(pick, _)| pick).collect()
}

/// Whether an image is called as ours, whatever its registry and version.
fn is_our_image(image: &str) -> bool {
    let (whole, _digest) = image.split_once('@').unwrap_or((image, ""));
    let last = whole.rsplit('/').next().unwrap_or(whole);
    let name = last.split(':').next().unwrap_or(last);
    name == NAME || name == "sami-proxy"
}

async fn inspect(docker: &Docker, id: &str) -> Option<ContainerInspectResponse> {
    timeout(LIMIT, docker.inspect_container(id, None)).await.ok()?.ok()
}

/// With what is not in `docker inspect` of the container itself.
async fn completed(
    docker: &Docker,
    found: &ContainerInspectResponse,
    mut it: Container,
) -> Container {
    if let Some(image) = &found.image
        && let Ok(Ok(image)) = timeout(LIMIT, docker.inspect_image(image)).await
    {
        it.image.architecture = image.architecture.as_deref().map(architecture);
    }
    for network in &mut it.networks {
        let found = timeout(LIMIT, docker.inspect_network(&network.name, None)).await;
        network.internal = found.ok().and_then(Result::ok).and_then(|it| it.internal);
    }
    // What others write is none of our business.
    if it.picked.iter().any(|pick| *pick != Pick::Port) {
        let lines = timeout(LIMIT, log(docker, &it.id)).await.unwrap_or_default();
        it.clients = clients(&lines);
        let kept = lines.len().saturating_sub(LINES.1);
        it.log = lines.iter().skip(kept).map(|line| redact::line(line)).collect();
    }
    if let Some(pid) = it.first.pid {
        match listeners(pid, whose(&it)) {
            Ok(found) => it.listeners = Some(found),
            Err(why) => it.unseen = Some(why),
        }
        it.overflow = overflows(pid).map(|first| Overflow { first, second: None });
    }
    it
}

fn whose(it: &Container) -> Whose {
    if it.network_mode == "host" { Whose::Own } else { Whose::All }
}

fn look_again(it: &mut Container, again: Sample) {
    if let Some(pid) = again.pid {
        let later = listeners(pid, whose(it)).unwrap_or_default();
        match &mut it.listeners {
            Some(known) if it.first.pid == Some(pid) => {
                for listener in known.iter_mut() {
                    let same = |it: &&Listener| it.address == listener.address;
                    listener.waiting_later = later.iter().find(same).map(|it| it.waiting);
                }
                // It may have begun to listen meanwhile.
                let new = |it: &Listener| known.iter().all(|old| old.address != it.address);
                let new: Vec<Listener> = later.iter().filter(|it| new(it)).copied().collect();
                known.extend(new);
            }
            known => *known = Some(later),
        }
        if let Some(overflow) = it.overflow.as_mut().filter(|_| it.first.pid == Some(pid)) {
            overflow.second = overflows(pid);
        }
    }
    it.second = Some(again);
}

/// The end of a log, as it is.
async fn log(docker: &Docker, id: &str) -> Vec<String> {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(LINES.0).build();
    let mut stream = std::pin::pin!(docker.logs(id, Some(options)));
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = stream.next().await {
        let (LogOutput::StdErr { message }
        | LogOutput::StdOut { message }
        | LogOutput::StdIn { message }
        | LogOutput::Console { message }) = piece;
        bytes.extend_from_slice(&message);
        if bytes.len() > BYTES {
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    text.lines().filter(|line| !line.trim().is_empty()).map(ToOwned::to_owned).collect()
}

/// The clients in lines of an access log, as text or as JSON, each once: those that wanted to get
/// somewhere, and not the container itself.
fn clients(lines: &[String]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let somewhere = |line: &&String| {
        let own = line.contains(" target=- ") || line.contains("\"target\":null");
        !own && (line.contains(" target=") || line.contains("\"target\":"))
    };
    for line in lines.iter().filter(somewhere) {
        let after = [" client=", "\"client\":\""].iter().find_map(|key| line.split_once(key));
        let word = after.and_then(|(_, rest)| rest.split([' ', '"']).next());
        let ip = word.and_then(|word| {
            let socket = word.parse::<SocketAddr>().ok().map(|it| it.ip());
            socket.or_else(|| word.parse().ok())
        });
        if let Some(ip) = ip.map(|ip| ip.to_canonical()).filter(|ip| !ip.is_loopback())
            && !found.contains(&ip)
            && found.len() < 50
        {
            found.push(ip);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerSummary;

    use super::{clients, is_our_image, reasons};
    use crate::diag::fact::Pick;

    #[test]
    fn an_image_of_ours_is_known_wherever_it_comes_from() {
        for image in [
            "sami-llm-proxy",
            "sami-llm-proxy:arm",
            "ghcr.io/somebody/sami-proxy:0.1",
            "localhost:5000/sami-proxy",
            "sami-proxy@sha256:00",
        ] {
            assert!(is_our_image(image), "{image}");
        }
        for image in ["nginx", "sami-proxy/other", "sami-proxy-exporter", "", "sha256:00"] {
            assert!(!is_our_image(image), "{image}");
        }
    }

    #[test]
    fn a_container_is_picked_for_its_name_image_label_or_port() {
        let cases = [
            (r#"{"Names":["/sami-llm-proxy"],"Image":"x"}"#, vec![Pick::Name]),
            (r#"{"Names":["/p"],"Image":"a/sami-proxy:1"}"#, vec![Pick::Image]),
            (
                r#"{"Labels":{"org.opencontainers.image.title":"sami-proxy"},"Image":"sha256:1"}"#,
                vec![Pick::Label],
            ),
            (
                r#"{"Image":"nginx","Ports":[{"PrivatePort":80,"PublicPort":8080,"Type":"tcp"}]}"#,
                vec![Pick::Port],
            ),
            (r#"{"Image":"nginx","Ports":[{"PrivatePort":8080,"Type":"tcp"}]}"#, vec![]),
        ];
        for (text, expected) in cases {
            let summary: ContainerSummary = serde_json::from_str(text).unwrap();
            assert_eq!(reasons(&summary, "sami-llm-proxy", 8080), expected, "{text}");
        }
    }

    #[test]
    fn clients_are_read_from_both_forms_of_the_log() {
        let lines = [
            "2026-11-21T12:00:00Z  INFO request id=1 client=172.17.0.1:4711 target=a:443 up=1",
            r#"{"time":"x","client":"[2001:db8::1]:99","target":"a:443","up":1}"#,
            "2026-11-21T12:00:00Z  INFO request id=2 client=172.17.0.1:4712 target=b:443 up=1",
            "2026-11-21T12:00:00Z  INFO request id=3 client=127.0.0.1:1 target=b:443 up=1",
            // Somebody asks how the proxy is.
            "2026-11-21T12:00:00Z  INFO request id=4 client=10.0.0.1:1 target=- up=1",
            r#"{"time":"x","client":"10.0.0.2:99","target":null,"up":1}"#,
            "listening on 0.0.0.0:8080",
        ];
        let found = clients(&lines.map(ToOwned::to_owned));
        let expected: Vec<std::net::IpAddr> =
            vec!["172.17.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(found, expected);
    }
}
