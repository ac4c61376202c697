//! Which container, and which port of it, when there is a choice.

use super::docker_server::{Server, binding, container, well};
use crate::diag::fact::{Binding, Pick, State};

#[test]
fn the_port_that_nobody_has_named_is_the_published_one() {
    let taken = |server: Server, given| {
        let mut evidence = server.evidence();
        evidence.asked.port_given = given;
        evidence.take_published_port();
        evidence.subject.port
    };
    let published = |ports: &[Binding]| well().with(|it| it.ports = ports.to_vec());
    let other = binding("0.0.0.0", 9090, 8080);
    assert_eq!(taken(published(&[other]), false), 9090);
    assert_eq!(taken(published(&[other]), true), 8080);
    let v6 = binding("::", 9090, 8080);
    assert_eq!(taken(published(&[other, v6]), false), 9090);
    // Which of two nobody knows; and one for the server itself is a mistake, not a wish.
    assert_eq!(taken(published(&[other, binding("0.0.0.0", 9091, 8080)]), false), 8080);
    assert_eq!(taken(published(&[binding("127.0.0.1", 9090, 8080)]), false), 8080);
    assert_eq!(taken(published(&[]), false), 8080);
    let stopped = published(&[other]).sampled(|it| it.state = State::Exited);
    assert_eq!(taken(stopped, false), 8080);
    let foreign = published(&[other]).with(|it| it.picked = vec![Pick::Port]);
    assert_eq!(taken(foreign, false), 8080);
}

#[test]
fn the_container_that_was_named_is_looked_at() {
    let mut server = well();
    let mut other = container();
    (other.name, other.id, other.picked) =
        ("other".into(), "other".into(), vec![Pick::Image, Pick::Port]);
    server.containers.containers.push(other);
    server.containers.containers[0].ports.clear();
    let evidence = server.evidence();
    let seen = |named: Option<&str>| {
        let mut evidence = evidence.clone();
        evidence.asked.container = named.map(str::to_owned);
        evidence.container().map(|(_, it)| it.name.clone())
    };
    assert_eq!(seen(None).as_deref(), Some("other"));
    assert_eq!(seen(Some("sami-llm-proxy")).as_deref(), Some("sami-llm-proxy"));
}
