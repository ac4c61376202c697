//! What a server keeps to itself of its evidence when a client asks for it: other people. Pure.

use std::net::{IpAddr, Ipv4Addr};

use super::evidence::Evidence;
use super::fact::{Container, Data};

/// Stands for every client that is not the host itself.
const SOMEBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// `evidence` without the addresses of clients and what they wanted. What rules ask of it stays:
/// whether all clients look like the host's end of a network, and what the proxy complains of.
pub fn withhold(mut evidence: Evidence) -> Evidence {
    for fact in &mut evidence.facts {
        if let Some(Data::Containers(all)) = &mut fact.data {
            all.containers.iter_mut().for_each(hide);
        } else if let Some(Data::Listeners(it)) = &mut fact.data {
            it.half_open.clear();
        } else if let Some(Data::PacketFilter(it)) = &mut fact.data {
            // Who has started the proxy from afar.
            it.visitor = None;
        } else if let Some(Data::Witness(it)) = &mut fact.data {
            it.knocks.clear();
        }
    }
    evidence
}

fn hide(it: &mut Container) {
    // Lines of the access log, as text and as JSON.
    it.log.retain(|line| !line.contains(" client=") && !line.contains("\"client\":"));
    let gateways: Vec<IpAddr> = it.networks.iter().flat_map(|it| &it.gateways).copied().collect();
    for client in &mut it.clients {
        if !gateways.contains(client) {
            *client = SOMEBODY;
        }
    }
    it.clients.sort_unstable();
    it.clients.dedup();
}

#[cfg(test)]
mod tests {
    use super::withhold;
    use crate::diag::diagnosis::diagnose;
    use crate::diag::evidence::Evidence;
    use crate::diag::fact::{CheckId, Containers, Data};

    #[test]
    fn other_people_are_left_out_and_the_diagnosis_stays() {
        let text = include_str!("../../tests/cases/client-address-hidden.server/evidence.json");
        let mut evidence: Evidence = serde_json::from_str(text).unwrap();
        let line =
            "2026-11-21T12:00:00Z  INFO request id=1 client=81.85.77.9:4711 target=a.example:443";
        for fact in &mut evidence.facts {
            if let Some(Data::Containers(all)) = &mut fact.data {
                all.containers[0].log.push(line.to_owned());
            }
        }
        let before = diagnose(&evidence);
        let shown = withhold(evidence.clone());
        let text = serde_json::to_string(&shown).unwrap();
        assert!(!text.contains("81.85.77.9") && !text.contains("a.example"), "{text}");
        let codes = |it: &crate::diag::diagnosis::Diagnosis| {
            let all = it.verdict.iter().chain(&it.warnings);
            all.map(|it| it.code).collect::<Vec<_>>()
        };
        assert_eq!(codes(&diagnose(&shown)), codes(&before));
        // One client of many that is not the gateway is still not the gateway.
        for fact in &mut evidence.facts {
            if let Some(Data::Containers(all)) = &mut fact.data {
                all.containers[0].clients.push("81.85.77.9".parse().unwrap());
            }
        }
        let shown = withhold(evidence);
        let (_, all) = shown.one::<Containers>(CheckId::Container).unwrap();
        let clients: Vec<String> =
            all.containers[0].clients.iter().map(ToString::to_string).collect();
        assert!(clients.contains(&"0.0.0.0".to_owned()) && clients.len() == 2, "{clients:?}");
    }
}
