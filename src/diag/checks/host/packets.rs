//! The rules in force: `iptables-save`, `ip6tables-save`, both kinds of them where both have rules,
//! `nft -j list ruleset`, `ipset save`, `ufw status`. All of them only list.

use super::{Measured, on_linux};

/// Asks every tool.
pub(in super::super) async fn run() -> Measured {
    on_linux(look).await
}

#[cfg(not(target_os = "linux"))]
fn look() -> Measured {
    (super::Status::Skipped(super::Skip::NotHere), None)
}

#[cfg(target_os = "linux")]
use linux::look;

#[cfg(target_os = "linux")]
mod linux {
    use super::super::tool::ask;
    use super::super::{Measured, file, network_file, visitor};
    use crate::diag::fact::{
        Backend, Data, Layer, PacketFilter, Read, Reading, Status, Table, Tool,
    };
    use crate::diag::packets::walk::ANYBODY;
    use crate::diag::packets::{Ruleset, nft, save, tables, ufw};

    /// The tables that `iptables-nft` keeps in nftables.
    const OF_IPTABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];

    pub(super) fn look() -> Measured {
        let mut found = PacketFilter { visitor: visitor::address(), ..PacketFilter::default() };
        for (family, name, tool, other) in [
            (Layer::Ip, "iptables", Tool::Iptables, Tool::OtherIptables),
            (Layer::Ip6, "ip6tables", Tool::Ip6tables, Tool::OtherIp6tables),
        ] {
            iptables(&mut found, (family, name), (tool, other));
        }
        nftables(&mut found);
        if let Ok(said) = ask("ipset", &["save"]) {
            found.sets = tables::ipsets(&said);
            found.read.push(Reading { tool: Tool::Ipset, outcome: Read::Whole });
        }
        ufw(&mut found);
        found.firewalld = Some(firewalld());
        let addresses: Vec<_> = ANYBODY.into_iter().chain(found.visitor).collect();
        let of_tables = found.tables.iter_mut().flat_map(|table| &mut table.sets);
        of_tables.chain(&mut found.sets).for_each(|set| tables::slim(set, &addresses));
        let seen = found.read.iter().any(|it| it.outcome == Read::Whole);
        let status = if seen { Status::Worked } else { Status::Failed };
        (status, Some(Data::PacketFilter(found)))
    }

    /// Both kinds of `iptables`; the second only where there is something, for asking it in vain
    /// would load it into the kernel.
    fn iptables(
        found: &mut PacketFilter,
        (family, name): (Layer, &str),
        (tool, other): (Tool, Tool),
    ) {
        let read = |program: &str| {
            let said = ask(program, &["-c"])?;
            save::parse(&said, family).ok_or(Read::Failed)
        };
        let default = read(&format!("{name}-save"));
        let first = default.as_ref().ok().and_then(|it| it.tables.first().map(|it| it.backend));
        let prefix = if family == Layer::Ip { "ip" } else { "ip6" };
        let legacy = network_file(&format!("{prefix}_tables_names"));
        let has_legacy = legacy.is_some_and(|names| !names.trim().is_empty());
        take(found, tool, default);
        let second = match first {
            Some(Backend::IptablesLegacy) => Some("nft"),
            Some(Backend::IptablesNft | Backend::Nft) | None if has_legacy => Some("legacy"),
            Some(Backend::IptablesNft | Backend::Nft) | None => None,
        };
        if let Some(kind) = second {
            let asked = read(&format!("{name}-{kind}-save"));
            take(found, other, asked);
        }
    }

    fn take(found: &mut PacketFilter, tool: Tool, asked: Result<Ruleset, Read>) {
        let outcome = match asked {
            Ok(ruleset) => {
                let have: Vec<_> = found
                    .tables
                    .iter()
                    .map(|it| (it.backend, it.family, it.name.clone()))
                    .collect();
                let new = |it: &Table| !have.contains(&(it.backend, it.family, it.name.clone()));
                found.tables.extend(ruleset.tables.into_iter().filter(new));
                if ruleset.cut { Read::Cut } else { Read::Whole }
            }
            Err(why) => why,
        };
        found.read.push(Reading { tool, outcome });
    }

    fn nftables(found: &mut PacketFilter) {
        let asked = ask("nft", &["-j", "list", "ruleset"]).and_then(|said| {
            let known = |family, name: &str| {
                OF_IPTABLES.contains(&name)
                    && found.tables.iter().any(|table| {
                        table.backend == Backend::IptablesNft
                            && table.family == family
                            && table.name == name
                    })
            };
            nft::parse(&said, known).ok_or(Read::Failed)
        });
        take(found, Tool::Nft, asked);
    }

    fn ufw(found: &mut PacketFilter) {
        let defaults = file("/etc/default/ufw").unwrap_or_default();
        let outcome = match ask("ufw", &["status", "verbose"]) {
            Ok(said) => {
                found.ufw = ufw::parse(&said, &defaults);
                if found.ufw.is_some() { Read::Whole } else { Read::Failed }
            }
            Err(why) => why,
        };
        found.read.push(Reading { tool: Tool::Ufw, outcome });
    }

    /// It leaves its number.
    fn firewalld() -> bool {
        let number: Option<u32> = super::super::number("/run/firewalld.pid");
        number.is_some_and(|it| std::path::Path::new(&format!("/proc/{it}")).exists())
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::look;
    use crate::diag::fact::{Data, Read, Status, Tool};

    #[test]
    fn this_machine_is_read_and_left_as_it_is() {
        let rules = || Command::new("iptables-save").output().map(|it| it.stdout).ok();
        let lines = |text: Option<Vec<u8>>| {
            let text = String::from_utf8(text.unwrap_or_default()).unwrap();
            text.lines().filter(|it| it.starts_with('-')).map(str::to_owned).collect::<Vec<_>>()
        };
        let before = lines(rules());
        let (status, data) = look();
        let Some(Data::PacketFilter(found)) = data else { panic!("{status:?}") };
        let of = |tool| found.read.iter().find(|it| it.tool == tool).map(|it| it.outcome);
        if rustix::process::geteuid().is_root() && of(Tool::Iptables) != Some(Read::Missing) {
            assert_eq!((status, of(Tool::Iptables)), (Status::Worked, Some(Read::Whole)));
        }
        assert!(of(Tool::Nft).is_some() && of(Tool::Ufw).is_some(), "{found:?}");
        assert_eq!(lines(rules()), before);
    }
}
