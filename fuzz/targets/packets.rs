//! Rulesets as tools list them, a packet through what comes of them, and packets themselves.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sami_proxy::diag::fact::{Interface, Kernel, Layer, PacketFilter, Read, Reading, Tool, Way};
use sami_proxy::diag::packets::walk::World;
use sami_proxy::diag::packets::{nft, save, syn, tables, ufw};

fn kernel() -> Kernel {
    let addresses = vec!["81.85.76.10".parse().unwrap()];
    let interface = Interface { name: "eth0".into(), addresses, ..Interface::default() };
    let to = "0.0.0.0".parse().unwrap();
    let interface_name = "eth0".to_owned();
    let way =
        Way { to, bits: 0, interface: interface_name, gateway: None, metric: 0, reject: false };
    Kernel {
        forward4: Some(true),
        interfaces: vec![interface],
        routes: vec![way],
        ..Kernel::default()
    }
}

fuzz_target!(|data: &[u8]| {
    syn::sight(data, 8080);
    let text = String::from_utf8_lossy(data);
    let kernel = kernel();
    for ruleset in [save::parse(&text, Layer::Ip), nft::parse(&text, |_, _| false)] {
        let Some(ruleset) = ruleset else { continue };
        let read = vec![Reading { tool: Tool::Iptables, outcome: Read::Whole }];
        let sets = tables::ipsets(&text);
        let filter =
            PacketFilter { read, tables: ruleset.tables, sets, ..PacketFilter::default() };
        let world = World { filter: &filter, kernel: &kernel };
        let packet = world.knock("81.2.69.160".parse().unwrap(), 8080).unwrap();
        let course = world.inward(packet.clone());
        world.answer(&packet, &course);
    }
    ufw::parse(&text, &text);
    tables::sockets(&text).count();
    tables::routes(&text, &text);
});
