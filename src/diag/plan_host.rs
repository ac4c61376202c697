//! What to do on the server itself. Pure.

use super::evidence::{Evidence, Role};
use super::fact::{CheckId, Skip, State};
use super::plan::{Area, Step};

/// The name of the container in README.
pub const NAME: &str = "sami-llm-proxy";

/// The steps of `area`, given what is known.
pub(super) fn steps(area: Area, evidence: &Evidence) -> Vec<Step> {
    let name = evidence.asked.container.as_deref().unwrap_or(NAME);
    let step = |check, subject: &str, skip| {
        let subject = subject.to_owned();
        Step { check, address: None, subject, skip }
    };
    match area {
        Area::Docker => {
            vec![step(CheckId::DockerEngine, "docker", None), step(CheckId::Container, name, None)]
        }
        Area::Server => {
            let port = format!("port {}", evidence.subject.port);
            let kernel = [
                CheckId::PacketFilter,
                CheckId::HostListeners,
                CheckId::KernelSettings,
                CheckId::PublicAddress,
            ];
            let witness = evidence.asked.witness_s.map(|_| CheckId::Witness);
            kernel.into_iter().chain(witness).map(|it| step(it, &port, None)).collect()
        }
        Area::Inside => {
            let running = evidence.container().filter(|(_, it)| it.last().state == State::Running);
            let skip = if running.is_some() { None } else { Some(Skip::NoContainer) };
            let name = running.map_or(name, |(_, it)| it.name.as_str());
            let resources = step(CheckId::ServerResources, name, None);
            match evidence.asked.role {
                Role::Client | Role::Host => {
                    vec![step(CheckId::ContainerEgress, name, skip), resources]
                }
                Role::Container => vec![
                    step(CheckId::ContainerInside, name, None),
                    step(CheckId::ContainerEgress, name, None),
                    resources,
                ],
            }
        }
        Area::Machine
        | Area::Names
        | Area::Reach
        | Area::Answer
        | Area::Link
        | Area::Rhythm
        | Area::Through => Vec::new(),
    }
}
