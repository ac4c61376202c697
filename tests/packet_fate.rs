//! What becomes of a client's first packet, by rules that real tools have listed
//! (`tests/rulesets/NAME`), and by random ones that a real kernel has decided.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::format_push_string,
    reason = "test code"
)]

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sami_proxy::diag::fact::{
    Backend, Interface, Kernel, Layer, PacketFilter, Read, Reading, Tool, Way,
};
use sami_proxy::diag::packets::syn::{Kind, sight};
use sami_proxy::diag::packets::walk::{Course, Fate, World};
use sami_proxy::diag::packets::{MOST_RULES, nft, provider, save, tables, ufw};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rulesets").join(name)
}

/// The rules of a folder, as the check puts them together.
fn filter(name: &str) -> PacketFilter {
    let read = |file: &str| fs::read_to_string(folder(name).join(file)).ok();
    let mut found = PacketFilter::default();
    let mut took = |tool, ruleset: sami_proxy::diag::packets::Ruleset| {
        assert!(!ruleset.cut, "{name}");
        found.read.push(Reading { tool, outcome: Read::Whole });
        found.tables.extend(ruleset.tables);
    };
    let whole = |text: &str, family| save::parse(text, family).unwrap_or_else(|| panic!("{name}"));
    took(Tool::Iptables, whole(&read("iptables").unwrap(), Layer::Ip));
    if let Some(text) = read("ip6tables") {
        took(Tool::Ip6tables, whole(&text, Layer::Ip6));
    }
    if let Some(text) = read("iptables-legacy") {
        took(Tool::OtherIptables, whole(&text, Layer::Ip));
    }
    if let Some(text) = read("nft.json") {
        let iptables = |family, table: &str| {
            matches!(family, Layer::Ip | Layer::Ip6) && ["filter", "nat"].contains(&table)
        };
        took(Tool::Nft, nft::parse(&text, iptables).unwrap());
    }
    found.sets = tables::ipsets(&read("sets").unwrap_or_default());
    found.ufw = ufw::parse(&read("ufw").unwrap_or_default(), "");
    found
}

fn way(to: &str, bits: u8, interface: &str) -> Way {
    let (to, interface) = (to.parse().unwrap(), interface.to_owned());
    Way { to, bits, interface, gateway: None, metric: 0, reject: false }
}

fn interface(name: &str, addresses: &[&str]) -> Interface {
    let addresses = addresses.iter().map(|it| it.parse().unwrap()).collect();
    Interface { name: name.to_owned(), addresses, ..Interface::default() }
}

/// A server with Docker's usual network.
fn kernel(forward: Option<bool>) -> Kernel {
    Kernel {
        forward4: forward,
        forward6: forward,
        interfaces: vec![
            interface("lo", &["127.0.0.1"]),
            interface("eth0", &["81.85.76.10", "2a01:76::10"]),
            interface("docker0", &["172.17.0.1"]),
        ],
        routes: vec![
            way("81.85.76.0", 24, "eth0"),
            way("2a01:76::", 64, "eth0"),
            way("172.17.0.0", 16, "docker0"),
            way("0.0.0.0", 0, "eth0"),
            way("::", 0, "eth0"),
        ],
        ..Kernel::default()
    }
}

fn course(name: &str, source: &str, port: u16) -> Course {
    let (filter, kernel) = (filter(name), kernel(Some(true)));
    let world = World { filter: &filter, kernel: &kernel };
    let packet = world.knock(source.parse().unwrap(), port).unwrap();
    world.inward(packet)
}

/// The fate in a word, with the chain that decided.
fn told(course: &Course) -> String {
    match (&course.fate, course.to) {
        (Fate::Accepted, None) => "accepted".to_owned(),
        (Fate::Accepted, Some(to)) => format!("to {to}"),
        (Fate::Dropped(spot), _) if spot.number.is_none() => format!("policy of {}", spot.chain),
        (Fate::Dropped(spot), _) => format!("dropped by {}", spot.chain),
        (Fate::Rejected(spot, with), _) => format!("{with} by {}", spot.chain),
        (Fate::NotForwarded, _) => "not forwarded".to_owned(),
        (Fate::NoRoute, _) => "no route".to_owned(),
        (Fate::Unknown(spot), _) => {
            format!("unknown by {}", spot.as_ref().map_or("nobody", |spot| &spot.chain))
        }
    }
}

const ANYBODY: &str = "45.33.32.1";
const CLIENT: &str = "10.1.0.2";
const TO_CONTAINER: &str = "to 172.17.0.2:8080";

#[test]
fn each_ruleset_lets_in_whom_it_lets_in() {
    let cases: &[(&str, &str, u16, &str)] = &[
        ("empty", ANYBODY, 8080, "accepted"),
        ("docker", ANYBODY, 8080, TO_CONTAINER),
        ("docker", ANYBODY, 22, "accepted"),
        ("docker-forward-drop", ANYBODY, 8080, TO_CONTAINER),
        ("forward-drop-flushed", ANYBODY, 8080, "policy of FORWARD"),
        // docker-proxy would take it.
        ("nat-flushed", ANYBODY, 8080, "accepted"),
        ("nat-half", ANYBODY, 8080, "accepted"),
        ("docker-user-drop", ANYBODY, 8080, "dropped by DOCKER-USER"),
        ("docker-user-drop", "10.1.0.77", 8080, TO_CONTAINER),
        ("docker-user-orig-port", ANYBODY, 8080, "dropped by DOCKER-USER"),
        ("oracle", ANYBODY, 8080, "icmp-host-prohibited by FORWARD"),
        ("oracle", ANYBODY, 22, "accepted"),
        ("oracle", ANYBODY, 23, "icmp-host-prohibited by INPUT"),
        ("oracle-host", ANYBODY, 8080, "icmp-host-prohibited by INPUT"),
        ("ufw-deny", ANYBODY, 8080, "dropped by ufw-user-input"),
        ("ufw-deny", ANYBODY, 22, "accepted"),
        ("ufw-deny", ANYBODY, 9999, "policy of INPUT"),
        ("ufw-allow", ANYBODY, 8080, "accepted"),
        ("ufw-reject", ANYBODY, 8080, "tcp-reset by ufw-user-input"),
        // How many there were lately is not known.
        ("ufw-limit", ANYBODY, 8080, "unknown by ufw-user-input"),
        // Docker's ports bypass ufw.
        ("ufw-deny-docker", ANYBODY, 8080, TO_CONTAINER),
        ("ufw-deny-docker", ANYBODY, 9999, "policy of INPUT"),
        ("ufw-docker", ANYBODY, 8080, "dropped by ufw-docker-logging-deny"),
        ("ufw-docker", CLIENT, 8080, TO_CONTAINER),
        ("ufw-docker-allowed", ANYBODY, 8080, TO_CONTAINER),
        // With Docker's own backend it does not.
        ("nft-backend", ANYBODY, 8080, TO_CONTAINER),
        ("nft-backend", ANYBODY, 22, "accepted"),
        ("nft-backend-ufw", ANYBODY, 8080, "policy of FORWARD"),
        ("nft-backend-ufw-route", ANYBODY, 8080, TO_CONTAINER),
        ("nft-native", ANYBODY, 8080, "dropped by input"),
        ("nft-native", "8.8.4.4", 8080, "accepted"),
        ("nft-native", "8.8.4.4", 443, "icmp-admin-prohibited by input"),
        ("nft-native", "81.2.69.160", 22, "dropped by input"),
        ("fail2ban", CLIENT, 22, "icmp-port-unreachable by f2b-sshd"),
        ("fail2ban", ANYBODY, 22, "accepted"),
        // INPUT is not asked about a port of Docker.
        ("fail2ban", CLIENT, 8080, TO_CONTAINER),
        ("crowdsec", CLIENT, 8080, "dropped by crowdsec-chain-input"),
        ("crowdsec", ANYBODY, 8080, "accepted"),
        ("legacy-mix", ANYBODY, 8080, "dropped by FORWARD"),
        ("ipset", "81.2.69.160", 8080, "dropped by INPUT"),
        ("ipset", "8.8.8.8", 8080, "accepted"),
        // IPv6
        ("ufw-deny", "2a02::1", 8080, "dropped by ufw6-user-input"),
        ("ufw-allow", "2a02::1", 8080, "accepted"),
        ("docker", "2a02::1", 8080, "accepted"),
    ];
    for (name, source, port, expected) in cases {
        let course = course(name, source, *port);
        assert_eq!(told(&course), *expected, "{name} {source} {port}: {course:#?}");
    }
}

#[test]
fn the_answer_and_the_way_out_are_walked_too() {
    for (name, port, expected) in [
        ("docker-forward-drop", 8080, "accepted"),
        ("ufw-deny-docker", 8080, "accepted"),
        ("ufw-allow", 8080, "accepted"),
        ("nft-backend-ufw-route", 8080, "accepted"),
    ] {
        let (filter, kernel) = (filter(name), kernel(Some(true)));
        let world = World { filter: &filter, kernel: &kernel };
        let packet = world.knock(ANYBODY.parse().unwrap(), port).unwrap();
        let course = world.inward(packet.clone());
        let back = world.answer(&packet, &course);
        assert!(told(&back).starts_with("to ") || told(&back) == expected, "{name}: {back:#?}");
    }
    for (name, masked) in [("docker", true), ("nat-flushed", false), ("nft-backend", true)] {
        let (filter, kernel) = (filter(name), kernel(Some(true)));
        let world = World { filter: &filter, kernel: &kernel };
        let container: IpAddr = "172.17.0.2".parse().unwrap();
        let course = world.outward(container, "8.8.8.8:443".parse().unwrap());
        assert_eq!((course.fate, course.masked), (Fate::Accepted, Some(masked)), "{name}");
    }
}

#[test]
fn what_is_not_known_is_not_guessed() {
    let (mut filter, kernel_known) = (filter("docker"), kernel(Some(true)));
    for (forward, expected) in
        [(Some(false), "not forwarded"), (None, "unknown by nobody"), (Some(true), TO_CONTAINER)]
    {
        let kernel = kernel(forward);
        let world = World { filter: &filter, kernel: &kernel };
        let packet = world.knock(ANYBODY.parse().unwrap(), 8080).unwrap();
        assert_eq!(told(&world.inward(packet)), expected);
    }
    for outcome in [Read::Cut, Read::Forbidden, Read::Late] {
        filter.read[0].outcome = outcome;
        let world = World { filter: &filter, kernel: &kernel_known };
        let packet = world.knock(ANYBODY.parse().unwrap(), 8080).unwrap();
        assert_eq!(told(&world.inward(packet)), "unknown by nobody", "{outcome:?}");
        assert!(!world.is_complete());
    }
}

#[test]
fn facts_of_rules_survive_a_report() {
    for entry in fs::read_dir(folder("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let filter = filter(&name);
        let text = serde_json::to_string(&filter).unwrap();
        assert_eq!(serde_json::from_str::<PacketFilter>(&text).unwrap(), filter, "{name}");
        let unclear = filter.tables.iter().filter(|it| it.backend != Backend::Nft);
        let rules = unclear.flat_map(|it| &it.chains).flat_map(|it| &it.rules);
        assert!(rules.clone().all(|it| it.text.starts_with("-A ")), "{name}");
    }
}

#[test]
fn ufw_is_read() {
    let ufw = filter("ufw-deny").ufw.unwrap();
    assert_eq!(ufw.active, Some(true));
    assert_eq!(ufw.incoming.as_deref(), Some("deny"));
    assert_eq!(ufw.routed.as_deref(), Some("deny"));
    assert!(ufw.rules.contains(&"8080/tcp DENY IN Anywhere".to_owned()), "{ufw:?}");
    assert_eq!(ufw::parse("Status: inactive\n", "").unwrap().active, Some(false));
    assert_eq!(ufw::parse("ERROR: You need to be root", ""), None);
}

/// Every text of the real tools.
fn texts() -> Vec<String> {
    let mut found = Vec::new();
    for folder in fs::read_dir(folder("")).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            found.push(fs::read_to_string(file.unwrap().path()).unwrap());
        }
    }
    found
}

/// Reads `text` in every way, and sends a packet through what comes of it.
fn read_all(text: &str) {
    let rules = [save::parse(text, Layer::Ip), nft::parse(text, |_, _| false)];
    for ruleset in rules.into_iter().flatten() {
        let all = ruleset.tables.iter().flat_map(|it| &it.chains).map(|it| it.rules.len());
        assert!(all.sum::<usize>() <= MOST_RULES * 2);
        let read = vec![Reading { tool: Tool::Iptables, outcome: Read::Whole }];
        let filter = PacketFilter { read, tables: ruleset.tables, ..PacketFilter::default() };
        let kernel = kernel(Some(true));
        let world = World { filter: &filter, kernel: &kernel };
        let packet = world.knock(ANYBODY.parse().unwrap(), 8080).unwrap();
        let course = world.inward(packet.clone());
        world.answer(&packet, &course);
        world.is_led_elsewhere(packet);
    }
    tables::ipsets(text);
    ufw::parse(text, text);
    tables::sockets(text).count();
    tables::counter(text, "TcpExt", "ListenDrops");
    tables::routes(text, text);
    tables::addresses4(text);
    tables::addresses6(text).count();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_texts_are_read_without_harm(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        with in "\\PC{0,8}|[\"! \n:*{}\\[\\],-]{0,8}",
    ) {
        let texts = texts();
        let text = which.get(&texts);
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let at = *at.get(&places);
        read_all(&text[..at]);
        read_all(&format!("{}{with}{}", &text[..at], &text[at..]));
    }

    #[test]
    fn any_text_is_read_without_harm(text in ".{0,200}") {
        read_all(&text);
        read_all(&format!("*filter\n:INPUT DROP [0:0]\n-A INPUT {text}\nCOMMIT\n"));
        read_all(&format!("{{\"nftables\":[{{\"rule\":{{\"expr\":[{text}]}}}}]}}"));
    }

    #[test]
    fn any_packet_is_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        sight(&bytes, 8080);
        for first in [0x45, 0x4f, 0x60] {
            let mut packet = bytes.clone();
            if let Some(it) = packet.first_mut() { *it = first; }
            if let Some(it) = packet.get_mut(6) { *it = 0; }
            sight(&packet, 8080);
        }
    }

    #[test]
    fn a_syn_is_seen_whole_and_not_in_part(
        source in any::<[u8; 4]>(), from in 1..u16::MAX, number in any::<u32>(), options in 0_u8..10,
    ) {
        let mut packet = vec![0x45 + options, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0];
        packet.extend(source);
        packet.extend([81, 85, 76, 10]);
        packet.extend(vec![1; usize::from(options) * 4]);
        packet.extend(from.to_be_bytes());
        packet.extend(8080_u16.to_be_bytes());
        packet.extend(number.to_be_bytes());
        packet.extend([0, 0, 0, 0, 0x50, 2]);
        let seen = sight(&packet, 8080).unwrap();
        prop_assert_eq!(seen.kind, Kind::Syn);
        prop_assert_eq!(seen.peer, (source, from).into());
        prop_assert_eq!(seen.sequence, number);
        prop_assert_eq!(sight(&packet, 8081), None);
        for length in 0..packet.len() {
            prop_assert_eq!(sight(&packet[..length], 8080), None);
        }
    }
}

#[test]
fn the_first_that_translates_has_done_it() {
    let iptables = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.9:81\nCOMMIT\n";
    let native = r#"{"nftables":[{"table":{"family":"ip","name":"mine"}},
        {"chain":{"family":"ip","table":"mine","name":"n","type":"nat","hook":"prerouting","prio":-110}},
        {"rule":{"family":"ip","table":"mine","chain":"n","expr":[{"dnat":{"addr":"172.17.0.2","port":8080}}]}}]}"#;
    let mut tables = save::parse(iptables, Layer::Ip).unwrap().tables;
    tables.extend(nft::parse(native, |_, _| false).unwrap().tables);
    let read = vec![Reading { tool: Tool::Iptables, outcome: Read::Whole }];
    let filter = PacketFilter { read, tables, ..PacketFilter::default() };
    let kernel = kernel(Some(true));
    let world = World { filter: &filter, kernel: &kernel };
    let packet = world.knock(ANYBODY.parse().unwrap(), 8080).unwrap();
    assert_eq!(told(&world.inward(packet)), TO_CONTAINER);
}

#[test]
fn rules_that_run_in_circles_end() {
    let mut circle = "*filter\n:INPUT ACCEPT [0:0]\n:A - [0:0]\n-A INPUT -j A\n".to_owned();
    for _ in 0..40 {
        circle.push_str("-A A -m limit --limit 1/s -j A\n");
    }
    read_all(&(circle + "COMMIT\n"));
}

#[test]
fn too_many_rules_are_not_kept_and_not_judged() {
    let mut many = "*filter\n:INPUT ACCEPT [0:0]\n".to_owned();
    many.push_str(&"-A INPUT -s 45.0.0.1/32 -j DROP\n".repeat(MOST_RULES + 1));
    let found = save::parse(&(many + "COMMIT\n"), Layer::Ip).unwrap();
    assert!(found.cut);
    assert_eq!(found.tables[0].chains[0].rules.len(), MOST_RULES);
}

#[test]
fn a_large_set_keeps_what_was_looked_for() {
    let mut text = "create bad hash:net family inet\n".to_owned();
    for at in 0..5000 {
        text.push_str(&format!("add bad 45.{}.{}.0/24\n", at / 250, at % 250));
    }
    let mut sets = tables::ipsets(&text);
    let (banned, free) = ("45.1.7.9".parse().unwrap(), "8.8.8.8".parse().unwrap());
    tables::slim(&mut sets[0], &[banned, free]);
    assert_eq!((sets[0].size, sets[0].values.as_slice()), (5000, &["45.1.7.0/24".to_owned()][..]));
    let rules = fs::read_to_string(folder("ipset").join("iptables")).unwrap();
    let tables = save::parse(&rules, Layer::Ip).unwrap().tables;
    let read = vec![Reading { tool: Tool::Iptables, outcome: Read::Whole }];
    let filter = PacketFilter { read, tables, sets, ..PacketFilter::default() };
    let kernel = kernel(Some(true));
    let world = World { filter: &filter, kernel: &kernel };
    let fate = |source: IpAddr| told(&world.inward(world.knock(source, 8080).unwrap()));
    assert_eq!(fate(banned), "dropped by INPUT");
    assert_eq!(fate(free), "accepted");
    // Nobody looked for this one.
    assert_eq!(fate("45.3.3.3".parse().unwrap()), "unknown by INPUT");
}

#[test]
fn what_the_kernel_lists_is_read() {
    let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000081 00:00000000 00000000  1000        0 4711 1 0\n";
    let found: Vec<_> = tables::sockets(tcp).collect();
    assert_eq!(found[0].local, "127.0.0.1:8080".parse().unwrap());
    assert_eq!((found[0].state, found[0].waiting, found[0].user), (10, 129, 1000));
    assert_eq!(found[0].inode, 4711);
    let six = "head\n 0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 1 1\n";
    assert_eq!(tables::sockets(six).next().unwrap().local, "[::1]:8080".parse().unwrap());
    let stat =
        "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 7 9\nIpExt: A\nIpExt: 1\n";
    assert_eq!(tables::counter(stat, "TcpExt", "ListenDrops"), Some(9));
    assert_eq!(tables::counter(stat, "TcpExt", "Nothing"), None);
    let route = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\neth0 00000000 014C5551 0003 0 0 100 00000000 0 0 0\neth0 004C5551 00000000 0001 0 0 0 00FFFFFF 0 0 0\n";
    let found = tables::routes(route, "");
    assert_eq!((found[0].bits, found[0].to), (24, "81.85.76.0".parse().unwrap()));
    assert_eq!(found[1].gateway, Some("81.85.76.1".parse().unwrap()));
    let told = ["QEMU".to_owned(), "Hetzner".to_owned()];
    assert_eq!(provider::of(&told).map(|it| it.console().0), Some("Hetzner"));
    assert_eq!(provider::of(&["QEMU".to_owned()]), None);
}
