//! What mends a cause that lies in Docker or in the proxy's container.

use super::{Place, Row};
use crate::diag::code::Code;

/// README's container, when there is none.
const MAKE: &str = "docker run -d --name {container} -p {port}:8080 --restart unless-stopped \
sami-llm-proxy";

/// The container made anew, for the port at which it listens.
const ANEW: &str = "docker rm -f {container} && docker run -d --name {container} \
-p {port}:{inside} --restart unless-stopped {image}";

/// The same for one that is to listen where it usually does.
const ANEW_USUAL: &str = "docker rm -f {container} && docker run -d --name {container} \
-p {port}:8080 --restart unless-stopped {image}";

pub(super) const FIXES: &[Row] = &[
    (
        Code::DockerNotRunning,
        Place::Server,
        Some("sudo systemctl start docker && sudo systemctl enable docker"),
        "fix-start-docker",
    ),
    (
        Code::DockerNotRunning,
        Place::Server,
        Some("sudo journalctl -u docker -n 50 --no-pager"),
        "fix-log-of-docker",
    ),
    (Code::DockerNoPermission, Place::Server, Some("sudo sami-proxy doctor"), "fix-with-sudo"),
    (
        Code::ContainerMissing,
        Place::Docker,
        Some("docker ps -a --format 'table {{.Names}}\t{{.Image}}\t{{.Status}}\t{{.Ports}}'"),
        "fix-another-name",
    ),
    (Code::ContainerMissing, Place::Docker, Some(MAKE), "fix-make-the-container"),
    (
        Code::ContainerStopped,
        Place::Docker,
        Some("docker logs --tail 50 {container}"),
        "fix-why-it-ended",
    ),
    (Code::ContainerStopped, Place::Docker, Some("docker start {container}"), "fix-start-it"),
    (
        Code::ContainerStopped,
        Place::Docker,
        Some("docker update --restart unless-stopped {container}"),
        "fix-start-with-the-server",
    ),
    (
        Code::ContainerRestarting,
        Place::Docker,
        Some("docker logs --tail 50 {container}"),
        "fix-why-it-ends",
    ),
    (Code::ContainerRestarting, Place::Docker, Some(ANEW), "fix-make-it-anew"),
    (Code::ContainerPaused, Place::Docker, Some("docker unpause {container}"), "fix-unpause"),
    (
        Code::ContainerOomKilled,
        Place::Docker,
        Some(
            "docker update --memory 256m --memory-swap 512m {container} && docker start {container}",
        ),
        "fix-more-memory",
    ),
    (
        Code::ContainerUnhealthy,
        Place::Docker,
        Some("docker exec {container} sami-proxy healthcheck && echo ok"),
        "fix-ask-it-again",
    ),
    (
        Code::ContainerUnhealthy,
        Place::Docker,
        Some("docker restart {container}"),
        "fix-restart-it-all",
    ),
    (
        Code::WrongArchitecture,
        Place::Docker,
        Some(
            "docker build -t sami-llm-proxy . && docker rm -f {container} && docker run -d --name {container} -p {port}:8080 --restart unless-stopped sami-llm-proxy",
        ),
        "fix-build-here",
    ),
    (
        Code::PortTaken,
        Place::Server,
        Some("sudo ss -ltnp 'sport = :{port}'; docker ps --filter publish={port}"),
        "fix-stop-who-has-it",
    ),
    (Code::PortTaken, Place::Docker, Some("docker start {container}"), "fix-start-it-then"),
    (Code::PortNotPublished, Place::Docker, Some(ANEW), "fix-anew-published"),
    (Code::PortPublishedLoopbackOnly, Place::Docker, Some(ANEW), "fix-anew-for-all"),
    (Code::PortPublishedElsewhere, Place::Sami, None, "fix-enter-what-is-published"),
    (Code::PortPublishedElsewhere, Place::Docker, Some(ANEW), "fix-anew-published"),
    (Code::ContainerNetworkMode, Place::Docker, Some(ANEW), "fix-anew-in-a-usual-network"),
    (
        Code::ListenerMissing,
        Place::Docker,
        Some("docker logs --tail 50 {container}"),
        "fix-why-nobody-listens",
    ),
    (Code::ListenerMissing, Place::Docker, Some(ANEW_USUAL), "fix-make-it-anew"),
    (Code::ListenerLoopbackOnly, Place::Docker, Some(ANEW_USUAL), "fix-anew-listening-to-all"),
    (Code::ListenerOtherPort, Place::Docker, Some(ANEW), "fix-anew-for-its-port"),
    (
        Code::BacklogOverflow,
        Place::Docker,
        Some("docker restart {container}"),
        "fix-restart-it-all",
    ),
    (
        Code::FdLimit,
        Place::Docker,
        Some(
            "docker rm -f {container} && docker run -d --name {container} -p {port}:8080 --ulimit nofile=65536:65536 --restart unless-stopped {image}",
        ),
        "fix-anew-with-more-files",
    ),
    (
        Code::ContainerDnsBroken,
        Place::Docker,
        Some(
            "docker rm -f {container} && docker run -d --name {container} -p {port}:8080 --dns 1.1.1.1 --dns 8.8.8.8 --restart unless-stopped {image}",
        ),
        "fix-anew-with-name-servers",
    ),
    (
        Code::ContainerNoEgress,
        Place::Server,
        Some("sudo systemctl restart docker"),
        "fix-restart-docker",
    ),
    (
        Code::ContainerNoEgress,
        Place::Server,
        Some("sudo iptables -nvL DOCKER-USER; sudo iptables -t nat -S POSTROUTING"),
        "fix-who-forbids-it",
    ),
    (Code::ProxyNoEgress, Place::Provider, None, "fix-ask-the-provider-for-a-way-out"),
    (
        Code::ContainerMtu,
        Place::Server,
        Some(
            "[ -e /etc/docker/daemon.json ] || echo '{\"mtu\": {limit}}' | sudo tee /etc/docker/daemon.json; sudo systemctl restart docker",
        ),
        "fix-smaller-packets",
    ),
    (
        Code::DiskFull,
        Place::Server,
        Some("df -h {path}; docker system df"),
        "fix-what-fills-the-disk",
    ),
    (
        Code::DiskFull,
        Place::Docker,
        Some("docker image prune && docker builder prune"),
        "fix-remove-old-images",
    ),
    (
        Code::MemoryShort,
        Place::Server,
        Some("free -h; docker stats --no-stream"),
        "fix-who-has-the-memory",
    ),
    (
        Code::OpenProxy,
        Place::Docker,
        Some(
            "docker rm -f {container} && docker run -d --name {container} -p {port}:8080 --restart unless-stopped -e SAMI_PROXY_AUTH=USER:PASSWORD {image}",
        ),
        "fix-anew-with-a-password",
    ),
];
