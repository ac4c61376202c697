//! Docker and the state of the proxy's container.

use super::published::leads_to_a_listener;
use super::{Confidence, Suspect, suspect};
use crate::diag::code::Code;
use crate::diag::evidence::{Evidence, Found};
use crate::diag::fact::{CheckId, Container, Containers, Pick, Reach, State};

/// Who runs for longer has survived its start; Docker resets the pause between restarts then.
const SURVIVED_MS: u64 = 10_000;

/// So many restarts are no accident.
const OFTEN: u64 = 3;

/// `SIGKILL`, whoever sent it.
const KILLED: i64 = 137;

/// What is wrong with a container, in its own words.
pub(super) fn about(
    code: Code,
    confidence: Confidence,
    (reference, container): Found<'_, Container>,
) -> Suspect {
    let last = container.last();
    let said = last.error.as_ref().or(container.log.last());
    suspect(code, confidence, [reference])
        .with("container", &container.name)
        .with("image", &container.image.name)
        .with_some("said", said)
}

/// `ENOEXEC`: the kernel can't read the program.
const UNREAD: &str = "exec format error";

/// `EADDRINUSE`.
const IN_USE: &str = "address already in use";

/// What iptables says when Docker's own chains are gone.
const NO_CHAIN: &str = "no chain/target";

/// Whether Docker could not start it for want of its own chains.
pub(super) fn lacks_chains(container: &Container) -> bool {
    container.last().state != State::Running && says(container, NO_CHAIN)
}

/// Whether the end of its log, or Docker, says `text`.
fn says(container: &Container, text: &str) -> bool {
    let errors =
        [&container.first, container.last()].into_iter().filter_map(|it| it.error.as_ref());
    let mut lines = errors.chain(&container.log);
    lines.any(|line| line.to_ascii_lowercase().contains(text))
}

/// Whether its end has a cause of which another rule knows.
fn has_a_reason(container: &Container) -> bool {
    [UNREAD, IN_USE, NO_CHAIN].iter().any(|text| says(container, text))
}

/// Nobody answers on Docker's socket.
pub(super) fn docker_not_running(evidence: &Evidence) -> Option<Suspect> {
    let (reference, engine) = evidence.engine()?;
    let confidence = match (engine.reach, engine.process) {
        (Reach::Works | Reach::Forbidden | Reach::Failed, _) => return None,
        (Reach::Refused, Some(false)) => Confidence::Certain,
        // It listens somewhere else.
        (Reach::Missing, Some(true)) => Confidence::Possible,
        (Reach::Missing, Some(false)) if engine.installed == Some(true) => Confidence::Certain,
        // There are servers without Docker; one where something else serves is none of ours.
        (Reach::Missing, _)
            if engine.installed != Some(true) && engine.port_taken != Some(false) =>
        {
            return None;
        }
        (Reach::Missing | Reach::Refused | Reach::Silent, _) => Confidence::Likely,
    };
    Some(suspect(Code::DockerNotRunning, confidence, [reference]).with("socket", &engine.socket))
}

/// Docker is there, and not for this user.
pub(super) fn docker_no_permission(evidence: &Evidence) -> Option<Suspect> {
    let (reference, engine) = evidence.engine()?;
    let forbidden = engine.reach == Reach::Forbidden;
    forbidden.then(|| suspect(Code::DockerNoPermission, Confidence::Certain, [reference]))
}

/// None is the proxy's.
pub(super) fn container_missing(evidence: &Evidence) -> Option<Suspect> {
    let (reference, all) = evidence.one::<Containers>(CheckId::Container)?;
    if !all.containers.is_empty() {
        return None;
    }
    let engine = evidence.engine();
    let taken = engine.and_then(|(_, it)| it.port_taken);
    let confidence = match (taken, all.all) {
        // Something serves there, without Docker.
        (Some(true), _) => Confidence::Possible,
        (Some(false) | None, 0) => Confidence::Certain,
        // One of the others may be it.
        (Some(false) | None, _) => Confidence::Likely,
    };
    let because = engine.map(|(it, _)| it).into_iter().chain([reference]);
    Some(suspect(Code::ContainerMissing, confidence, because).with("container", &all.asked))
}

/// It is there and does not run.
pub(super) fn container_stopped(evidence: &Evidence) -> Option<Suspect> {
    let found = evidence.container()?;
    let (_, container) = found;
    let last = container.last();
    let status = match (last.state, last.exit_code) {
        (State::Running | State::Paused | State::Restarting | State::Unknown, _) => return None,
        (State::Exited | State::Dead, Some(code)) => format!("{} ({code})", last.state.word()),
        (State::Created | State::Exited | State::Dead | State::Removing, _) => {
            last.state.word().to_owned()
        }
    };
    let killed = last.exit_code == Some(KILLED) && !last.oom_killed;
    let suspect = if killed {
        // Who was killed does not know by whom.
        about(Code::ContainerStopped, Confidence::Likely, found)
            .or(Code::ContainerOomKilled, "separate-log-of-the-kernel")
    } else if has_a_reason(container) {
        about(Code::ContainerStopped, Confidence::Likely, found)
    } else {
        about(Code::ContainerStopped, Confidence::Certain, found)
    };
    Some(suspect.with("status", &status).with_some("exit", last.exit_code))
}

/// Somebody else has the port, so that it could not start.
pub(super) fn port_taken(evidence: &Evidence) -> Option<Suspect> {
    let port = evidence.subject.port;
    let (reference, all) = evidence.one::<Containers>(CheckId::Container)?;
    // Where another proxy of ours serves it, all is well.
    if leads_to_a_listener(evidence) == Some(true) {
        return None;
    }
    let ours = |it: &&Container| it.picked.iter().any(|pick| *pick != Pick::Port);
    let (confidence, container) = all.containers.iter().filter(ours).find_map(refused_the_port)?;
    let mut others = all.containers.iter().filter(|it| it.id != container.id);
    let holder = others.find(|it| it.ports.iter().any(|it| it.port == Some(port)));
    let suspect = about(Code::PortTaken, confidence, (reference, container)).with("port", &port);
    Some(suspect.with_some("other", holder.map(|it| &it.name)))
}

/// How sure it is that a container does not run because somebody else has its port.
fn refused_the_port(container: &Container) -> Option<(Confidence, &Container)> {
    let last = container.last();
    if matches!(last.state, State::Running | State::Paused) {
        return None;
    }
    let docker =
        last.error.as_deref().map(str::to_ascii_lowercase).is_some_and(|error| {
            error.contains("port is already allocated") || error.contains(IN_USE)
        });
    let itself = container.network_mode == "host" && says(container, IN_USE);
    match (docker, itself) {
        (true, _) => Some((Confidence::Certain, container)),
        (false, true) => Some((Confidence::Likely, container)),
        (false, false) => None,
    }
}

/// It ends, and Docker starts it again, over and over.
pub(super) fn container_restarting(evidence: &Evidence) -> Option<Suspect> {
    let found = evidence.container()?;
    let (_, container) = found;
    let (first, last) = (&container.first, container.last());
    let waits = [first, last].into_iter().any(|it| it.state == State::Restarting);
    let again = last.restarts > first.restarts;
    let young = last.state == State::Running && last.up_ms.is_some_and(|it| it < SURVIVED_MS);
    let confidence = if waits || again {
        // One end may have been an accident; and another rule may know its cause.
        if has_a_reason(container) {
            Confidence::Likely
        } else if last.restarts >= OFTEN || last.state == State::Restarting {
            Confidence::Certain
        } else {
            Confidence::Likely
        }
    } else if young && last.restarts >= OFTEN {
        Confidence::Likely
    } else {
        return None;
    };
    let suspect = about(Code::ContainerRestarting, confidence, found);
    Some(suspect.with("count", &last.restarts))
}

/// It is frozen.
pub(super) fn container_paused(evidence: &Evidence) -> Option<Suspect> {
    let found = evidence.container()?;
    let paused = found.1.last().state == State::Paused;
    paused.then(|| about(Code::ContainerPaused, Confidence::Certain, found))
}

/// The kernel has ended it. Exit code 137 alone says only that somebody did.
pub(super) fn container_oom_killed(evidence: &Evidence) -> Option<Suspect> {
    let found = evidence.container()?;
    let (_, container) = found;
    let (first, last) = (&container.first, container.last());
    let again = last.restarts > first.restarts;
    let gone = last.state != State::Running || again;
    let killed = first.oom_killed || last.oom_killed;
    (gone && killed).then(|| {
        let suspect = about(Code::ContainerOomKilled, Confidence::Certain, found);
        let megabytes = container.memory_limit.map(|it| it / (1024 * 1024));
        suspect.with_some("limit", megabytes)
    })
}

/// Its own check says no.
pub(super) fn container_unhealthy(evidence: &Evidence) -> Option<Suspect> {
    let found = evidence.container()?;
    let (_, container) = found;
    let health = container.health.as_ref()?;
    let unhealthy = health.status == "unhealthy" && container.last().state == State::Running;
    unhealthy.then(|| {
        let suspect = about(Code::ContainerUnhealthy, Confidence::Likely, found);
        suspect.with("count", &health.failures).with_some("said", health.said.as_ref())
    })
}

/// The kernel can't read the program.
pub(super) fn wrong_architecture(evidence: &Evidence) -> Option<Suspect> {
    /// What shells and Docker end with when the program can't be run.
    const NOT_RUN: [i64; 3] = [1, 126, 255];
    let found = evidence.container()?;
    let (reference, container) = found;
    let last = container.last();
    if matches!(last.state, State::Running | State::Paused) {
        return None;
    }
    let engine = evidence.engine();
    let here = engine.and_then(|(_, it)| it.architecture.as_ref());
    let other = container.image.architecture.as_ref().filter(|it| here.is_some_and(|h| h != *it));
    let unread = says(container, UNREAD);
    // Ours is no script: what can't be read of it is for another processor, or damaged; either way
    // it has to be built anew.
    let ours = container.command.first().is_some_and(|it| it.ends_with("sami-proxy"));
    let confidence = match (unread, other) {
        (true, Some(_)) => Confidence::Certain,
        (true, None) if ours => Confidence::Certain,
        (true, None) => Confidence::Likely,
        (false, Some(_)) if last.exit_code.is_some_and(|it| NOT_RUN.contains(&it)) => {
            Confidence::Likely
        }
        (false, Some(_) | None) => return None,
    };
    let mut suspect = about(Code::WrongArchitecture, confidence, found);
    let because = engine.map(|(it, _)| it).into_iter().chain([reference]);
    suspect.because = super::suspect(Code::WrongArchitecture, confidence, because).because;
    Some(suspect.with_some("other", other).with_some("here", here))
}
