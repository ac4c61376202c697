//! What is seen on a server with a real Docker engine comes to the cause that was made there; and
//! looking changes nothing.
//!
//! With `RECORD_CASES` set the evidence becomes that of `tests/cases`; read what has changed.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code"
)]

mod common;
mod lab;

use std::path::Path;
use std::time::{Duration, SystemTime};

use lab::docker::{Engine, NAME};
use lab::docker_faults::{DOCKER_FAULTS, DOCKER_HEALTHY, DOCKER_PAIRS, DockerFault};
use lab::rows::all_on_engines;
use lab::{Lab, PROXY, Place};
use sami_proxy::diag::ask::Ask;
use sami_proxy::diag::code::{Code, Severity};
use sami_proxy::diag::diagnosis::{Alternative, Diagnosis, State, diagnose};
use sami_proxy::diag::evidence::{Asked, Command, Evidence, Family, Role, Subject};
use sami_proxy::diag::infer::{Confidence, RULES};
use sami_proxy::diag::run::run;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Set in the process that looks: the port to look at, and the seconds to wait for knocks.
const LOOK: [&str; 2] = ["SAMI_LAB_LOOK", "SAMI_LAB_WITNESS"];

/// What the server takes for its own address.
const HERE: &str = "81.85.76.10";

/// The client has come by ssh, and complains.
const VISITOR: (&str, &str) = ("SSH_CONNECTION", "10.1.0.2 51234 81.85.76.10 22");

/// Where a witness stands by while the client knocks: whether its packets arrive.
const WITNESSED: [&str; 3] = ["cloud-firewall", "docker-user-drop", "reverse-path-filter"];

/// What is certain as well, and no other trouble: the rule that drops the clients' packets drops the
/// answers to the container, too, and that is seen only by trying.
const AS_WELL: [(&str, Code); 1] = [("forward-drop", Code::ContainerNoEgress)];

/// Docker's rule is there, and nothing leads to it.
const HALF: [&str; 2] = ["nat-jump-missing", "nat-half-restored"];

/// A whole look has to be done by then, whatever is broken.
const BUDGET: Duration = Duration::from_secs(20);

/// Runs in a process of its own, in the engine's namespaces.
#[test]
fn a_look_at_the_server() {
    let [port, witness] = LOOK.map(|name| std::env::var(name).ok());
    let Some(port) = port else { return };
    let subject = Subject { host: HERE.into(), port: port.parse().unwrap(), family: Family::Any };
    let witness_s = witness.map(|it| it.parse().unwrap());
    let (command, role, port_given) = (Command::Doctor, Role::Host, true);
    let asked = Asked { command, role, port_given, witness_s, ..Asked::default() };
    let ask = Ask { asked, ..Ask::port(subject) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let evidence = runtime.block_on(run(ask, BUDGET, CancellationToken::new(), |_| {}));
    println!("\nevidence {}", serde_json::to_string(&evidence).unwrap());
}

/// What `user` sees on the server.
fn look(engine: &Engine<'_>, fault: &DockerFault) -> Result<Evidence, String> {
    let user = fault.user.to_string();
    let mut command = engine.command("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "a_look_at_the_server", "--nocapture"]);
    command.env(LOOK[0], port_of(fault).to_string()).env(VISITOR.0, VISITOR.1);
    let child = if WITNESSED.contains(&fault.name) {
        let child = command.env(LOOK[1], "4").spawn().unwrap();
        engine.lab.observe(Place::Client, &fault.step);
        child
    } else {
        command.spawn().unwrap()
    };
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("evidence "));
    let line =
        line.ok_or_else(|| format!("{text}\n{}", String::from_utf8_lossy(&output.stderr)))?;
    serde_json::from_str(line).map_err(|error| error.to_string())
}

/// What must be as it was: rules, containers, configuration.
fn state_of(engine: &Engine<'_>) -> String {
    let counters = r"sed -E 's/\[[0-9]+:[0-9]+\]//; /^#/d'";
    let script = format!(
        "iptables-save | {counters}; ip6tables-save | {counters}; nft -s list ruleset || true; \
         ip rule; ip route | sed 's/ linkdown//'; ip -br addr | sed -E 's/ (UP|DOWN) / /'; \
         docker ps -a --no-trunc --format '{{{{.ID}}}} {{{{.Names}}}}' 2>/dev/null || true; \
         docker images -aq 2>/dev/null || true; docker network ls -q 2>/dev/null || true; \
         find /etc -type f -printf '%p %s %T@\\n' | sort; cat /proc/sys/net/ipv4/ip_forward"
    );
    engine.shell(&script).unwrap()
}

fn port_of(fault: &DockerFault) -> u16 {
    fault.proxy.rsplit(':').next().unwrap().parse().unwrap()
}

fn wanted(fault: &DockerFault) -> bool {
    std::env::var("LAB_ROWS").is_ok_and(|rows| !rows.split(',').any(|row| row == fault.name))
}

fn found(diagnosis: &Diagnosis) -> String {
    let verdict = diagnosis.verdict.as_ref();
    let verdict = verdict.map(|it| format!("{} {:?}", it.code.word(), it.confidence));
    let warnings: Vec<_> = diagnosis.warnings.iter().map(|it| it.code.word()).collect();
    let others = diagnosis.alternatives.iter();
    let others: Vec<_> =
        others.map(|it| format!("{} {:?}", it.code.word(), it.confidence)).collect();
    format!("{verdict:?}, warnings {warnings:?}, or {others:?}")
}

/// Makes the trouble, looks, and heals it: what was found, and how long that took. Nothing may have
/// changed by it.
fn looked_at(
    lab: &Lab,
    engine: &Engine<'_>,
    fault: &DockerFault,
) -> Result<Option<Evidence>, String> {
    let name = fault.name;
    if wanted(fault) {
        return Ok(None);
    }
    let Some(trouble) = engine.inject(fault)? else { return Ok(None) };
    lab.observe(Place::Client, &fault.step);
    let restarts =
        fault.code == Code::ContainerRestarting || fault.code == Code::ContainerUnhealthy;
    let before = state_of(engine);
    let begun = SystemTime::now();
    let evidence = look(engine, fault)?;
    let took = begun.elapsed().unwrap();
    let after = state_of(engine);
    if !restarts && after != before {
        let lines = |a: &str, b: &str| -> Vec<String> {
            a.lines().filter(|line| !b.contains(*line)).map(ToOwned::to_owned).collect()
        };
        let (gone, new) = (lines(&before, &after), lines(&after, &before));
        return Err(format!("{name}: looking has changed something: {gone:?} {new:?}"));
    }
    println!("{name}: {} in {:.1} s", found(&diagnose(&evidence)), took.as_secs_f32());
    if took > BUDGET {
        return Err(format!("{name}: {took:?}"));
    }
    trouble.heal().map_err(|why| format!("{name} does not heal: {why}"))?;
    Ok(Some(evidence))
}

fn wrong(fault: &DockerFault, evidence: &Evidence) -> String {
    let text = serde_json::to_string_pretty(evidence).unwrap();
    format!("{}: {:?} is not {}\n{text}", fault.name, fault.code, found(&diagnose(evidence)))
}

/// The cause, as far as it has to be told.
fn names(diagnosis: &Diagnosis, code: Code) -> bool {
    if code.severity() == Severity::Warning {
        return diagnosis.warnings.iter().any(|it| it.code == code);
    }
    diagnosis.verdict.as_ref().is_some_and(|it| it.code == code)
}

fn is_told(lab: &Lab, engine: &Engine<'_>, fault: &DockerFault) -> Result<bool, String> {
    let Some(evidence) = looked_at(lab, engine, fault)? else { return Ok(false) };
    let diagnosis = diagnose(&evidence);
    // Nothing else is certain of what has one cause.
    let certain = |it: &&Alternative| {
        it.confidence == Confidence::Certain && !AS_WELL.contains(&(fault.name, it.code))
    };
    let half = diagnosis.verdict.as_ref().and_then(|it| it.arguments.get("half"));
    let whole = half.is_none_or(|it| (it == "true") == HALF.contains(&fault.name));
    if !names(&diagnosis, fault.code)
        || !whole
        || diagnosis.alternatives.iter().any(|it| certain(&it))
    {
        return Err(wrong(fault, &evidence));
    }
    record(fault, &evidence);
    Ok(true)
}

/// Both are told, the first to be mended first.
fn are_told(
    lab: &Lab,
    engine: &Engine<'_>,
    (fault, other): &(DockerFault, Option<Code>),
) -> Result<bool, String> {
    let Some(evidence) = looked_at(lab, engine, fault)? else { return Ok(false) };
    let diagnosis = diagnose(&evidence);
    let sure = |it: &&Alternative| it.confidence >= Confidence::Likely;
    let others: Vec<Code> = diagnosis.alternatives.iter().filter(sure).map(|it| it.code).collect();
    let told = names(&diagnosis, fault.code) && others.iter().eq(other);
    if told { Ok(true) } else { Err(wrong(fault, &evidence)) }
}

/// The first fault of each cause is its case.
fn record(fault: &DockerFault, evidence: &Evidence) {
    if std::env::var_os("RECORD_CASES").is_none() {
        return;
    }
    let mut all = DOCKER_FAULTS.iter().chain(DOCKER_HEALTHY);
    let first = all.find(|it| it.code == fault.code).unwrap();
    // Health is the client's case, and packet_causes makes those of packets.
    let packets = (Code::DockerNatMissing..=Code::ReversePathFilter).contains(&fault.code);
    let elsewhere = [Code::Ok, Code::PortRejected, Code::CloudFirewallSuspected];
    if first.name != fault.name || packets || elsewhere.contains(&fault.code) {
        return;
    }
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let path = cases.join(fault.code.word());
    std::fs::create_dir_all(&path).unwrap();
    // Sorted keys, as the other cases have them.
    let value = serde_json::to_value(evidence).unwrap();
    let text = serde_json::to_string_pretty(&value).unwrap();
    std::fs::write(path.join("evidence.json"), text + "\n").unwrap();
}

fn is_well(lab: &Lab, engine: &Engine<'_>, fault: &DockerFault) -> Result<bool, String> {
    let name = fault.name;
    if wanted(fault) {
        return Ok(false);
    }
    let Some(trouble) = engine.inject(fault)? else { return Ok(false) };
    lab.observe(Place::Client, &fault.step);
    let evidence = look(engine, fault)?;
    let diagnosis = diagnose(&evidence);
    println!("{name}: {}", found(&diagnosis));
    record(fault, &evidence);
    if diagnosis.state != State::Ok {
        let text = serde_json::to_string_pretty(&evidence).unwrap();
        return Err(format!("{name}: {}\n{text}", found(&diagnosis)));
    }
    trouble.heal().map_err(|why| format!("{name} does not heal: {why}"))?;
    Ok(true)
}

#[test]
fn every_fault_of_docker_is_told_on_the_server() {
    all_on_engines(DOCKER_FAULTS, is_told);
}

#[test]
fn of_two_causes_the_first_to_be_mended_is_told_first() {
    all_on_engines(DOCKER_PAIRS, are_told);
}

#[test]
fn a_healthy_server_raises_nothing() {
    all_on_engines(DOCKER_HEALTHY, is_well);
}

#[test]
fn every_cause_of_the_server_has_a_rule() {
    for fault in DOCKER_FAULTS {
        assert!(RULES.iter().any(|(code, _)| *code == fault.code), "{:?}", fault.code);
    }
}

/// A program in README's container, and how it ended.
fn inside(engine: &Engine<'_>, arguments: &[&str]) -> (Value, Option<i32>) {
    let output = engine.command("docker").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let document = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    (document, output.status.code())
}

/// Waits until the container's proxy has begun, and looks from inside.
fn looks(engine: &Engine<'_>, options: &str) -> Value {
    let run = format!("docker rm -f {NAME}; docker run -d --name {NAME} {options} {NAME}");
    engine.shell(&run).unwrap();
    let begun = SystemTime::now();
    // `listener-missing` is not sure in its first seconds.
    while !engine.docker(&["logs", NAME]).is_ok_and(|log| log.contains("listening on ")) {
        assert!(begun.elapsed().unwrap() < BUDGET, "it does not listen");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let (document, code) = inside(engine, &["exec", NAME, "sami-proxy", "doctor", "--json"]);
    assert_eq!(code, Some(1), "{document:#}");
    document
}

#[test]
fn the_container_looks_at_itself_and_says_what_to_do_on_its_server() {
    let Some(lab) = Lab::bare() else { return };
    let Some(engine) = Engine::start(&lab) else { return };
    engine.baseline().unwrap();
    let begun = SystemTime::now();
    let (document, code) = inside(&engine, &["exec", NAME, "sami-proxy", "doctor", "--json"]);
    println!("from inside: {:.1} s", begun.elapsed().unwrap().as_secs_f32());
    assert_eq!(code, Some(0), "{document:#}");
    assert_eq!(
        (&document["role"], &document["verdict"]["code"]),
        (&"container".into(), &"ok".into())
    );
    assert_eq!(document["warnings"], json!([]), "{document:#}");
    let state = |segment: &str| {
        let path = document["path"].as_array().unwrap();
        path.iter().find(|it| it["segment"] == segment).unwrap()["state"].clone()
    };
    assert_eq!(["host", "docker", "proxy", "dns"].map(state), ["unknown", "unknown", "ok", "ok"]);
    // The line for the server works as it is printed; only root's own folder is private here.
    let unlock = document["not_checked"][0]["unlock"].as_str().unwrap();
    let (_, line) = unlock.split_once(": ").unwrap();
    let line = line.replace("sudo ", "").replace("/tmp/", "/run/lab/");
    let said = engine.shell(&format!("{line} --json")).unwrap();
    let server: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&server["role"], &server["verdict"]["code"]),
        (&"host".into(), &"ok".into()),
        "{said}"
    );
    // A client that the proxy trusts hears all of it, and is well.
    let begun = SystemTime::now();
    let output = lab.program(&["doctor", PROXY, "--target", "http://www.google.com/", "--json"]);
    println!("the client: {:.1} s", begun.elapsed().unwrap().as_secs_f32());
    let client: Value = serde_json::from_slice(&output.stdout).unwrap();
    let there = &client["evidence"]["server"]["heard"]["evidence"];
    assert_eq!(there["asked"]["role"], "container", "{client:#}");
    assert_eq!(client["verdict"]["code"], "ok", "{client:#}");
    let (alone, code) = inside(&engine, &["run", "--rm", NAME, "doctor", "--json"]);
    assert_eq!((&alone["verdict"]["code"], code), (&Value::Null, Some(3)), "{alone:#}");
    for (options, expected) in [
        ("-p 8080:8080 --dns 127.0.0.53", "container-dns-broken"),
        ("-p 8080:8080 -e SAMI_PROXY_LISTEN=127.0.0.1:8080", "listener-loopback-only"),
        ("--network none", "container-network-mode"),
    ] {
        let document = looks(&engine, options);
        assert_eq!(document["verdict"]["code"], expected, "{options}: {document:#}");
    }
}
