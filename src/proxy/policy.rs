//! Which target may be reached, and which of its addresses. Pure.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

use super::destinations::special;
use super::known_hosts;
use crate::target::{Host, Target};

/// Mail ports: a proxy that reaches them is a spam relay sooner or later.
const MAIL_PORTS: [u16; 3] = [25, 465, 587];

/// How much a client may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Every public destination.
    Trusted,
    /// The built-in list only.
    Stranger,
}

/// What the operator allows and denies.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Special addresses too.
    pub allow_private: bool,
    /// When there are any: only these.
    pub allow: Vec<Rule>,
    /// Never these, whatever else is allowed.
    pub deny: Vec<Rule>,
}

/// One `--allow-to` or `--deny-to`: `HOST`, `.SUFFIX` or `CIDR`, each with an optional `:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    what: What,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Host(Box<str>),
    Suffix(Box<str>),
    Net(IpNet),
}

/// A text is no rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host, .suffix, address or CIDR with an optional :port")]
pub struct RuleError;

/// Why a target is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A stranger asked for something else than the built-in list.
    Stranger,
    /// A mail port.
    MailPort(u16),
    /// A `--deny-to` rule.
    Denied,
    /// There are `--allow-to` rules and none fits.
    NotAllowed,
    /// Every address lies in a special block; this is the block of the first.
    Special(&'static str),
    /// The proxy itself.
    Own,
}

/// An address that policy has allowed. Only [`Policy::approve`] makes one.
///
/// `egress` dials these and nothing else: a name that resolves differently a moment later cannot
/// slip past the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approved(SocketAddr);

impl Approved {
    /// The address.
    pub const fn address(self) -> SocketAddr {
        self.0
    }
}

impl Policy {
    /// Judges what can be judged before any name is resolved.
    ///
    /// # Errors
    ///
    /// The [`Refusal`].
    pub fn judge(&self, target: &Target, trust: Trust) -> Result<(), Refusal> {
        let port = target.port.get();
        if MAIL_PORTS.contains(&port) {
            return Err(Refusal::MailPort(port));
        }
        if trust == Trust::Stranger && !on_the_list(target) {
            return Err(Refusal::Stranger);
        }
        if self.deny.iter().any(|rule| rule.fits_target(target)) {
            return Err(Refusal::Denied);
        }
        // A network may still fit one of the addresses that the name will have.
        let hope = |rule: &Rule| rule.fits_target(target) || rule.may_fit_an_address(target);
        if !self.allow.is_empty() && !self.allow.iter().any(hope) {
            return Err(Refusal::NotAllowed);
        }
        Ok(())
    }

    /// Judges a target whose addresses will be found by somebody else, a parent: what cannot be
    /// judged by its name is not allowed.
    ///
    /// # Errors
    ///
    /// The [`Refusal`].
    pub fn judge_unresolved(&self, target: &Target) -> Result<(), Refusal> {
        let Host::Name(name) = &target.host else { return Ok(()) };
        let fits = |rule: &Rule| rule.fits_target(target);
        if !self.allow.is_empty() && !self.allow.iter().any(fits) {
            return Err(Refusal::NotAllowed);
        }
        // RFC 6761 §6.3: it is whoever resolves it.
        let local = &**name == "localhost" || name.ends_with(".localhost");
        if local && !self.allow_private {
            return Err(Refusal::Special("loopback"));
        }
        Ok(())
    }

    /// Keeps the addresses of `target` that may be dialed. `own` tells whether an address is one
    /// that this proxy listens on.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first address, when none is left.
    pub fn approve(
        &self,
        target: &Target,
        addresses: &[IpAddr],
        own: impl Fn(SocketAddr) -> bool,
    ) -> Result<Vec<Approved>, Refusal> {
        let mut approved = Vec::with_capacity(addresses.len());
        let mut refusal = None;
        for ip in addresses {
            let address = SocketAddr::new(*ip, target.port.get());
            let judged =
                if own(address) { Err(Refusal::Own) } else { self.judge_address(target, address) };
            match judged {
                Ok(()) => approved.push(Approved(address)),
                Err(reason) => refusal = refusal.or(Some(reason)),
            }
        }
        match refusal {
            Some(reason) if approved.is_empty() => Err(reason),
            _ => Ok(approved),
        }
    }

    fn judge_address(&self, target: &Target, address: SocketAddr) -> Result<(), Refusal> {
        if let Some(block) = special(address.ip()).filter(|_| !self.allow_private) {
            return Err(Refusal::Special(block));
        }
        if self.deny.iter().any(|rule| rule.fits_address(address)) {
            return Err(Refusal::Denied);
        }
        let fits = |rule: &Rule| rule.fits_target(target) || rule.fits_address(address);
        if !self.allow.is_empty() && !self.allow.iter().any(fits) {
            return Err(Refusal::NotAllowed);
        }
        Ok(())
    }
}

fn on_the_list(target: &Target) -> bool {
    match &target.host {
        Host::Name(name) => {
            known_hosts::PORTS.contains(&target.port.get()) && known_hosts::provider(name).is_some()
        }
        Host::Ip(_) => false,
    }
}

impl Rule {
    fn fits_port(&self, port: u16) -> bool {
        self.port.is_none_or(|wanted| wanted == port)
    }

    /// Whether it names `target` by itself, without its addresses being looked up.
    pub fn fits_target(&self, target: &Target) -> bool {
        self.fits_port(target.port.get())
            && match (&self.what, &target.host) {
                (What::Host(host), Host::Name(name)) => host == name,
                (What::Suffix(suffix), Host::Name(name)) => name
                    .strip_suffix(&**suffix)
                    .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
                (What::Net(net), Host::Ip(ip)) => net.contains(&ip.to_canonical()),
                (What::Host(_) | What::Suffix(_), Host::Ip(_)) | (What::Net(_), Host::Name(_)) => {
                    false
                }
            }
    }

    fn fits_address(&self, address: SocketAddr) -> bool {
        self.fits_port(address.port())
            && matches!(&self.what, What::Net(net) if net.contains(&address.ip().to_canonical()))
    }

    fn may_fit_an_address(&self, target: &Target) -> bool {
        self.fits_port(target.port.get())
            && matches!((&self.what, &target.host), (What::Net(_), Host::Name(_)))
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if let Ok(net) = network(text) {
            return Ok(Self { what: What::Net(net), port: None });
        }
        let (what, port) = match text.rsplit_once(':') {
            Some((what, port)) if !what.ends_with(':') => {
                let port = port.parse().ok().filter(|port| *port != 0).ok_or(RuleError)?;
                (what, Some(port))
            }
            _ => (text, None),
        };
        let bare = what.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(what);
        if let Ok(net) = network(bare) {
            return Ok(Self { what: What::Net(net), port });
        }
        let (suffix, name) = match what.strip_prefix('.') {
            Some(name) => (true, name),
            None => (false, what),
        };
        match Host::parse(name) {
            Ok(Host::Name(name)) if suffix => Ok(Self { what: What::Suffix(name), port }),
            Ok(Host::Name(name)) => Ok(Self { what: What::Host(name), port }),
            Ok(Host::Ip(_)) | Err(_) => Err(RuleError),
        }
    }
}

fn network(text: &str) -> Result<IpNet, RuleError> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| RuleError)
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Host(name) => f.write_str(name)?,
            What::Suffix(name) => write!(f, ".{name}")?,
            What::Net(IpNet::V6(net)) if self.port.is_some() => write!(f, "[{net}]")?,
            What::Net(net) => write!(f, "{net}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{Policy, Refusal, Rule, Trust};
    use crate::target::Target;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// Judges name and addresses as the proxy does.
    fn outcome(
        policy: &Policy,
        trust: Trust,
        target: &str,
        ips: &[&str],
    ) -> Result<usize, Refusal> {
        let target = Target::from_authority(target).unwrap();
        policy.judge(&target, trust)?;
        let ips: Vec<IpAddr> = ips.iter().map(|text| text.parse().unwrap()).collect();
        policy.approve(&target, &ips, |_| false).map(|approved| approved.len())
    }

    #[test]
    fn a_stranger_reaches_the_built_in_list_and_nothing_else() {
        let policy = Policy::default();
        let of = |target| outcome(&policy, Trust::Stranger, target, &["8.8.8.8"]);
        assert_eq!(of("api.openai.com:443"), Ok(1));
        assert_eq!(of("www.google.com:80"), Ok(1));
        assert_eq!(of("api.openai.com:22"), Err(Refusal::Stranger));
        assert_eq!(of("example.net:443"), Err(Refusal::Stranger));
        assert_eq!(of("8.8.8.8:443"), Err(Refusal::Stranger));
        let inside = outcome(&policy, Trust::Stranger, "api.openai.com:443", &["10.0.0.1"]);
        assert_eq!(inside, Err(Refusal::Special("private (RFC 1918)")));
    }

    #[test]
    fn mail_ports_are_refused_to_everyone() {
        for port in [25, 465, 587] {
            let target = format!("example.com:{port}");
            let found = outcome(&Policy::default(), Trust::Trusted, &target, &["8.8.8.8"]);
            assert_eq!(found, Err(Refusal::MailPort(port)));
        }
    }

    #[test]
    fn only_judged_addresses_are_left() {
        let policy = Policy::default();
        let mixed = ["127.0.0.1", "8.8.8.8", "::ffff:10.0.0.1", "2606:4700::1111"];
        assert_eq!(outcome(&policy, Trust::Trusted, "a.example:443", &mixed), Ok(2));
        let private = Policy { allow_private: true, ..Policy::default() };
        assert_eq!(outcome(&private, Trust::Trusted, "a.example:443", &mixed), Ok(4));
    }

    #[test]
    fn the_proxy_itself_is_refused_even_when_private_addresses_are_allowed() {
        let policy = Policy { allow_private: true, ..Policy::default() };
        let target = Target::from_authority("localhost:8080").unwrap();
        let found = policy.approve(&target, &["127.0.0.1".parse().unwrap()], |_| true);
        assert_eq!(found, Err(Refusal::Own));
    }

    #[test]
    fn deny_wins_over_allow() {
        let policy = Policy {
            allow: rules(&[".example", "8.8.0.0/16:443"]),
            deny: rules(&["bad.example", "8.8.8.8", "evil.example:8443"]),
            ..Policy::default()
        };
        let of = |target, ip| outcome(&policy, Trust::Trusted, target, &[ip]);
        assert_eq!(of("good.example:1", "1.1.1.1"), Ok(1));
        assert_eq!(of("bad.example:1", "1.1.1.1"), Err(Refusal::Denied));
        assert_eq!(of("good.example:1", "8.8.8.8"), Err(Refusal::Denied));
        assert_eq!(of("evil.example:8443", "1.1.1.1"), Err(Refusal::Denied));
        assert_eq!(of("evil.example:443", "1.1.1.1"), Ok(1));
        assert_eq!(of("other.test:443", "8.8.4.4"), Ok(1));
        assert_eq!(of("other.test:443", "1.1.1.1"), Err(Refusal::NotAllowed));
        assert_eq!(of("other.test:80", "8.8.4.4"), Err(Refusal::NotAllowed));
        assert_eq!(of("example:443", "1.1.1.1"), Err(Refusal::NotAllowed));
        assert_eq!(of("badexample:443", "1.1.1.1"), Err(Refusal::NotAllowed));
        assert_eq!(of("[::ffff:8.8.8.8]:443", "::ffff:8.8.8.8"), Err(Refusal::Denied));
    }

    #[test]
    fn without_network_rules_a_name_is_refused_before_it_is_resolved() {
        let policy = Policy { allow: rules(&[".example"]), ..Policy::default() };
        let target = Target::from_authority("other.test:443").unwrap();
        assert_eq!(policy.judge(&target, Trust::Trusted), Err(Refusal::NotAllowed));
    }

    #[test]
    fn what_a_parent_will_resolve_is_judged_by_its_name_alone() {
        let of = |policy: &Policy, target| {
            policy.judge_unresolved(&Target::from_authority(target).unwrap())
        };
        let open = Policy::default();
        assert_eq!(of(&open, "any.test:443"), Ok(()));
        for local in ["localhost:22", "a.localhost:80"] {
            assert_eq!(of(&open, local), Err(Refusal::Special("loopback")), "{local}");
        }
        let nets = Policy { allow: rules(&["8.8.8.0/24", ".example"]), ..Policy::default() };
        assert_eq!(of(&nets, "any.test:443"), Err(Refusal::NotAllowed));
        assert_eq!(of(&nets, "a.example:443"), Ok(()));
        let private = Policy { allow_private: true, ..Policy::default() };
        assert_eq!(of(&private, "localhost:22"), Ok(()));
    }

    #[test]
    fn a_rule_is_read_and_shown() {
        let cases = [
            ("Example.COM", "example.com"),
            (".example.com:443", ".example.com:443"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.1:22", "10.0.0.1/32:22"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("[2001:db8::/32]:443", "[2001:db8::/32]:443"),
            ("[::1]", "::1/128"),
            ("::1", "::1/128"),
        ];
        for (text, shown) in cases {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), shown, "{text}");
        }
        for text in
            ["", ".", "a b", "10.0.0.0/33", "example.com:0", "example.com:x", "*.a.com", "127.1"]
        {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
    }
}
