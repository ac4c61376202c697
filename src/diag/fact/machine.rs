//! What is measured of the machine that asks: its adapters, and which proxies it has been told of.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Outcome;

/// Every adapter of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Adapters {
    /// In the order of the operating system.
    pub adapters: Vec<Adapter>,
    /// The address from which packets to the Internet leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_source: Option<IpAddr>,
    /// The address of the proxy that was asked about; `None` when it is given by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<IpAddr>,
    /// The address from which packets to [`Self::to`] leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Whether this machine itself listens for others on the port that was asked about; `None` where
    /// that can't be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listens: Option<bool>,
}

/// A network adapter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Adapter {
    /// As people know it: `Ethernet 2`, `eth0`.
    pub name: String,
    /// What it is, in the words of its driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its kind.
    pub kind: AdapterKind,
    /// Whether it is switched on and connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// With the length of their networks' prefixes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpNet>,
    /// Who passes on what is for other networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<IpAddr>,
    /// Name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub name_servers: Vec<IpAddr>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// What an adapter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdapterKind {
    /// This machine only.
    Loopback,
    /// A cable, or what looks like one.
    Ethernet,
    /// IEEE 802.11.
    WiFi,
    /// A mobile network.
    Mobile,
    /// Packets in packets.
    Tunnel,
    /// PPP, as modems and VPN clients of Windows have it.
    Ppp,
    /// Anything else.
    #[default]
    Other,
}

/// Words in an adapter's name or description, and whose it is.
///
/// The first ones are whole products; the last ones are drivers that several products use.
const PRODUCTS: [(&str, &str); 25] = [
    ("happ", "Happ"),
    ("v2ray", "v2ray"),
    ("xray", "Xray"),
    ("sing-box", "sing-box"),
    ("singbox", "sing-box"),
    ("hiddify", "Hiddify"),
    ("nekoray", "Nekoray"),
    ("clash", "Clash"),
    ("mihomo", "mihomo"),
    ("meta tunnel", "Clash Meta"),
    ("amnezia", "AmneziaVPN"),
    ("anyconnect", "Cisco AnyConnect"),
    ("fortinet", "Fortinet"),
    ("fortissl", "Fortinet"),
    ("globalprotect", "GlobalProtect"),
    ("pangp", "GlobalProtect"),
    ("check point virtual", "Check Point"),
    ("nordlynx", "NordVPN"),
    ("tailscale", "Tailscale"),
    ("zerotier", "ZeroTier"),
    ("openvpn", "OpenVPN"),
    ("tap-windows", "OpenVPN (TAP)"),
    ("wireguard", "WireGuard"),
    ("wintun", "Wintun"),
    ("kaspersky vpn", "Kaspersky VPN"),
];

/// How the operating systems name adapters that only programs make.
const MADE: [&str; 5] = ["tun", "tap", "wg", "utun", "ppp"];

/// How adapters begin that lead to virtual machines and containers of this machine.
const INNER: [&str; 8] =
    ["docker", "br-", "veth", "virbr", "cni", "vEthernet", "VMware", "VirtualBox"];

impl Adapter {
    /// Whether it is not this machine's alone.
    pub fn is_outward(&self) -> bool {
        self.kind != AdapterKind::Loopback
    }

    /// Whether `ip` is one of its addresses.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|net| net.addr() == ip)
    }

    /// Whether it is the adapter of a VPN by its kind or name, and of which, if that is known.
    pub fn vpn(&self) -> Option<Option<&'static str>> {
        let described = self.description.as_deref().unwrap_or_default();
        let texts = [self.name.to_ascii_lowercase(), described.to_ascii_lowercase()];
        let known = PRODUCTS.iter().find(|(word, _)| texts.iter().any(|text| text.contains(word)));
        if let Some((_, product)) = known {
            return Some(Some(product));
        }
        let numbered = |made: &&str| {
            let rest = texts.first().and_then(|name| name.strip_prefix(*made));
            rest.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let tunnel = matches!(self.kind, AdapterKind::Tunnel | AdapterKind::Ppp);
        // Teredo, ISATAP and 6to4 carry IPv6 for Windows itself.
        let own =
            ["teredo", "isatap", "6to4"].iter().any(|it| texts.iter().any(|t| t.contains(it)));
        ((tunnel || MADE.iter().any(numbered)) && !own).then_some(None)
    }
}

impl Adapters {
    /// The adapter that has `ip`.
    pub fn of(&self, ip: IpAddr) -> Option<&Adapter> {
        self.adapters.iter().find(|it| it.has(ip))
    }

    /// The adapters that lead out of this machine and are not known to be down.
    pub fn connected(&self) -> impl Iterator<Item = &Adapter> {
        let virtual_ = |it: &Adapter| INNER.iter().any(|word| it.name.starts_with(word));
        self.adapters
            .iter()
            .filter(move |it| it.is_outward() && it.up != Some(false) && !virtual_(it))
    }
}

/// Which proxies this machine has been told of, setting by setting.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProxySettings {
    /// What could be read; a setting that says nothing is there as well.
    pub settings: Vec<ProxySetting>,
    /// What could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<SettingOf>,
}

/// Whose setting it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingOf {
    /// The variables of this process.
    Environment,
    /// The variables that Windows gives to programs that begin from now on.
    UserEnvironment,
    /// Windows' own, which browsers and most applications follow (`WinINET`).
    Windows,
    /// The one of Windows' services (`WinHTTP`).
    WindowsServices,
    /// GNOME's.
    Gnome,
    /// macOS' own.
    Macos,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxySetting {
    /// Whose.
    pub of: SettingOf,
    /// Whether it is the same for every user of the machine, where that can be chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_wide: Option<bool>,
    /// Whether its proxies are switched on, where there is a switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The proxies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxies: Vec<SetProxy>,
    /// The URL of the script that chooses the proxy (PAC), without user, password and query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// Whether such a script is looked for in the network (WPAD).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detect: Option<bool>,
    /// For whom no proxy is used, entry by entry, as it is written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bypass: Vec<String>,
}

impl ProxySetting {
    /// One that says nothing.
    pub const fn of(of: SettingOf) -> Self {
        Self {
            of,
            machine_wide: None,
            enabled: None,
            proxies: Vec::new(),
            script: None,
            detect: None,
            bypass: Vec::new(),
        }
    }

    /// The proxies that are used.
    pub fn used(&self) -> &[SetProxy] {
        if self.enabled == Some(false) { &[] } else { &self.proxies }
    }
}

/// A proxy in a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetProxy {
    /// For what: `http`, `https`, `socks`, `all`, or the name of a variable.
    pub name: String,
    /// What it is spoken to in, when that is said: `http`, `socks5` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// A name or an address, without brackets, user and password; shortened when it is nonsense.
    pub host: String,
    /// The port, when it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whether user or password stand there, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub credentials: bool,
    /// What a connect to it came to; only asked of this machine itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knock: Option<Outcome>,
}

impl SetProxy {
    /// `host:port`, as people write it.
    pub fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        self.port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
    }

    /// Its address, when it is one; that of `localhost`, too.
    pub fn ip(&self) -> Option<IpAddr> {
        if self.host.eq_ignore_ascii_case("localhost") {
            return Some(std::net::Ipv4Addr::LOCALHOST.into());
        }
        self.host.parse().ok()
    }
}

/// The lines of the hosts file that concern us.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostsFile {
    /// Where it is.
    pub path: String,
    /// Whether it could be read.
    pub read: bool,
    /// Those that name the proxy or a target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<HostsLine>,
}

/// A name in the hosts file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostsLine {
    /// From 1.
    pub number: u32,
    /// What it stands for there.
    pub address: IpAddr,
    /// It.
    pub name: String,
}

/// Whether the network turns IPv4 addresses into IPv6 (RFC 7050).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Nat64 {
    /// Whether this machine would send to IPv4 addresses as it is.
    pub ipv4: bool,
    /// Into what: the addresses of `ipv4only.arpa`; only asked for when [`Self::ipv4`] is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<Prefix>,
}

/// A prefix of RFC 6052.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// Its bits.
    pub address: Ipv6Addr,
    /// How many: 32, 40, 48, 56, 64 or 96.
    pub length: u8,
}

/// Where the bytes of an IPv4 address stand behind a prefix (RFC 6052 §2.2); byte 8 is zero.
const PLACES: [(u8, [usize; 4]); 6] = [
    (96, [12, 13, 14, 15]),
    (64, [9, 10, 11, 12]),
    (56, [7, 9, 10, 11]),
    (48, [6, 7, 9, 10]),
    (40, [5, 6, 7, 9]),
    (32, [4, 5, 6, 7]),
];

impl Prefix {
    /// The prefix of `answer`, an address of `ipv4only.arpa` (RFC 7050 §3).
    pub fn of(answer: Ipv6Addr) -> Option<Self> {
        const KNOWN: [[u8; 4]; 2] = [[192, 0, 0, 170], [192, 0, 0, 171]];
        let octets = answer.octets();
        let (length, _) = PLACES.into_iter().find(|(_, places)| {
            let inside = places.map(|at| octets.get(at).copied().unwrap_or_default());
            KNOWN.contains(&inside)
        })?;
        let address = ipnet::Ipv6Net::new(answer, length).ok()?.network();
        Some(Self { address, length })
    }

    /// The address by which `ip` is reached; `None` when the length is none of RFC 6052's.
    pub fn with(self, ip: std::net::Ipv4Addr) -> Option<Ipv6Addr> {
        let (_, places) = PLACES.into_iter().find(|(length, _)| *length == self.length)?;
        let mut octets = self.address.octets();
        for (at, byte) in places.into_iter().zip(ip.octets()) {
            *octets.get_mut(at)? = byte;
        }
        Some(octets.into())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::{Adapter, AdapterKind, Prefix};

    fn adapter(name: &str, description: &str, kind: AdapterKind) -> Adapter {
        let description = (!description.is_empty()).then(|| description.to_owned());
        Adapter { name: name.to_owned(), description, kind, ..Adapter::default() }
    }

    #[test]
    fn vpn_adapters_are_known_by_kind_or_name() {
        use AdapterKind::{Ethernet, Loopback, Other, Ppp, Tunnel, WiFi};
        for (name, description, kind, expected) in [
            ("Ethernet", "Intel(R) Ethernet Connection", Ethernet, None),
            ("Wi-Fi", "Intel(R) Wi-Fi 6", WiFi, None),
            ("lo", "", Loopback, None),
            ("docker0", "", Ethernet, None),
            ("tunl", "", Ethernet, None),
            ("wg0", "", Other, Some(None)),
            ("tun3", "", Other, Some(None)),
            ("utun4", "", Other, Some(None)),
            ("Work", "WAN Miniport", Ppp, Some(None)),
            ("wg-home", "WireGuard Tunnel", Other, Some(Some("WireGuard"))),
            (
                "Local Area Connection",
                "TAP-Windows Adapter V9",
                Ethernet,
                Some(Some("OpenVPN (TAP)")),
            ),
            (
                "Ethernet 3",
                "Cisco AnyConnect Secure Mobility Client",
                Ethernet,
                Some(Some("Cisco AnyConnect")),
            ),
            (
                "Ethernet 4",
                "Fortinet SSL VPN Virtual Ethernet Adapter",
                Ethernet,
                Some(Some("Fortinet")),
            ),
            ("OpenVPN", "OpenVPN Data Channel Offload", Other, Some(Some("OpenVPN"))),
            ("happ-tun", "sing-tun Tunnel", Tunnel, Some(Some("Happ"))),
            ("Meta", "Meta Tunnel", Tunnel, Some(Some("Clash Meta"))),
            ("singbox_tun", "Wintun Userspace Tunnel", Tunnel, Some(Some("sing-box"))),
            ("Teredo Tunneling Pseudo-Interface", "Teredo", Tunnel, None),
        ] {
            assert_eq!(adapter(name, description, kind).vpn(), expected, "{name}");
        }
    }

    #[test]
    fn prefixes_are_those_of_rfc_6052() {
        let of = |text: &str| Prefix::of(text.parse().unwrap());
        let known = of("64:ff9b::c000:aa").unwrap();
        assert_eq!((known.address.to_string(), known.length), ("64:ff9b::".to_owned(), 96));
        assert_eq!(
            known.with(Ipv4Addr::new(81, 85, 76, 160)).unwrap().to_string(),
            "64:ff9b::5155:4ca0"
        );
        assert_eq!(of("2001:db8::1"), None);
        // §2.4 of RFC 6052.
        for (prefix, length, expected) in [
            ("2001:db8::", 32, "2001:db8:c000:221::"),
            ("2001:db8:100::", 40, "2001:db8:1c0:2:21::"),
            ("2001:db8:122::", 48, "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::", 56, "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::", 64, "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::", 96, "2001:db8:122:344::c000:221"),
        ] {
            let prefix = Prefix { address: prefix.parse().unwrap(), length };
            let mapped = prefix.with(Ipv4Addr::new(192, 0, 2, 33)).unwrap();
            assert_eq!(mapped, expected.parse::<Ipv6Addr>().unwrap());
        }
        assert_eq!(Prefix { length: 95, ..known }.with(Ipv4Addr::LOCALHOST), None);
    }

    proptest! {
        #[test]
        fn a_prefix_is_found_in_the_answer_made_with_it(bits: u64, at in 0_usize..6, last: bool) {
            let length = [32, 40, 48, 56, 64, 96][at];
            // Bits that can't be taken for the address itself.
            let address = Ipv6Addr::from(u128::from(bits & 0x1fff_1fff_1f1f_1f1f) << 64);
            let address = ipnet::Ipv6Net::new(address, length).unwrap().network();
            let prefix = Prefix { address, length };
            let answer = prefix.with(Ipv4Addr::new(192, 0, 0, if last { 170 } else { 171 })).unwrap();
            prop_assert_eq!(Prefix::of(answer), Some(prefix));
        }
    }
}
