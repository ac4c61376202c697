//! Docker's engine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use bollard::models::SystemInfo;
use tokio::time::timeout;

use super::super::{Context, Measured};
use super::docker::{LIMIT, connect, reach, socket};
use super::inspect::architecture;
use super::process;
use crate::diag::fact::{Data, Engine, Reach, Status};
use crate::net::knock::source_for;

/// Where the program is.
const PROGRAMS: [&str; 5] = [
    "/usr/bin/dockerd",
    "/usr/sbin/dockerd",
    "/usr/local/bin/dockerd",
    "/snap/bin/dockerd",
    "/usr/bin/dockerd-rootless.sh",
];

/// RFC 5737 and RFC 3849; they stand for the whole Internet.
const ANYWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 77)),
];

/// Looks at it.
pub(in super::super) async fn run(context: &Context) -> Measured {
    let socket = socket();
    let (mut reach, os_error) = reach(&socket).await;
    let mut info = None;
    if reach == Reach::Works {
        info = ask(&socket).await;
        if info.is_none() {
            reach = Reach::Silent;
        }
    }
    let mut outward = Vec::new();
    for ip in ANYWHERE {
        outward.extend(source_for(ip).await.ok());
    }
    let engine = Engine {
        socket,
        reach,
        os_error,
        process: process::runs("dockerd"),
        installed: Some(PROGRAMS.iter().any(|path| Path::new(path).exists())),
        userland_proxy: process::runs("docker-proxy"),
        outward,
        port_taken: process::listens_here(context.evidence.subject.port),
        ..of_info(info.unwrap_or_default())
    };
    let status = if reach == Reach::Works { Status::Worked } else { Status::Failed };
    (status, Some(Data::Engine(engine)))
}

async fn ask(socket: &str) -> Option<SystemInfo> {
    let docker = connect(socket).await?;
    timeout(LIMIT, docker.info()).await.ok()?.ok()
}

/// What Docker says of itself.
fn of_info(info: SystemInfo) -> Engine {
    let rootless = info.security_options.as_ref();
    Engine {
        socket: String::new(),
        reach: Reach::Works,
        os_error: None,
        process: None,
        installed: None,
        version: info.server_version,
        architecture: info.architecture.as_deref().map(architecture),
        firewall: info.firewall_backend.and_then(|it| it.driver),
        cgroup: info.cgroup_version.map(|it| it.to_string()),
        live_restore: info.live_restore_enabled,
        rootless: rootless.map(|all| all.iter().any(|it| it == "name=rootless")),
        userland_proxy: None,
        root: info.docker_root_dir,
        outward: Vec::new(),
        port_taken: None,
    }
}

#[cfg(test)]
mod tests {
    use super::of_info;

    #[test]
    fn a_real_docker_is_understood() {
        let text = include_str!("../../../../tests/recorded/docker/info.json");
        let engine = of_info(serde_json::from_str(text).unwrap());
        assert_eq!(engine.version.as_deref(), Some("20.10.24+dfsg1"));
        assert_eq!(engine.root.as_deref(), Some("/var/lib/docker"));
        assert_eq!((engine.firewall, engine.rootless), (None, Some(false)));
    }

    #[test]
    fn what_docker_says_of_itself_is_taken_over() {
        let text = r#"{"ServerVersion":"29.3.1","Architecture":"x86_64","CgroupVersion":"2",
            "LiveRestoreEnabled":false,"DockerRootDir":"/var/lib/docker",
            "SecurityOptions":["name=seccomp,profile=builtin","name=rootless"],
            "FirewallBackend":{"Driver":"nftables"}}"#;
        let engine = of_info(serde_json::from_str(text).unwrap());
        assert_eq!(engine.architecture.as_deref(), Some("amd64"));
        assert_eq!(engine.firewall.as_deref(), Some("nftables"));
        assert_eq!(engine.cgroup.as_deref(), Some("2"));
        assert_eq!(engine.rootless, Some(true));
        assert_eq!(engine.live_restore, Some(false));
        // Nothing said is not "no".
        assert_eq!(of_info(serde_json::from_str("{}").unwrap()).rootless, None);
    }
}
