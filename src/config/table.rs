//! Every setting of `serve`, once.

/// A setting: `--key`, `SAMI_PROXY_KEY` and `key = …` in the file are the same.
#[derive(Debug)]
pub struct Row {
    /// The name, in the form of a flag.
    pub key: &'static str,
    /// What stands for the value in the help; empty for a switch.
    pub value: &'static str,
    /// What holds when nothing is given; empty when that is nothing.
    pub default: &'static str,
    /// Whether it may be given several times, and what parts values that are given at once.
    pub repeat: Repeat,
    /// Never shown.
    pub secret: bool,
    /// One line of help.
    pub help: &'static str,
}

/// Whether a setting takes several values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// One value.
    Once,
    /// Several, parted by commas.
    Commas,
    /// Several, parted by line ends: the values may hold anything else.
    Lines,
}

const fn once(
    key: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Row {
    Row { key, value, default, repeat: Repeat::Once, secret: false, help }
}

const fn several(
    key: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Row {
    Row { key, value, default, repeat: Repeat::Commas, secret: false, help }
}

/// The settings, in the order of the help.
pub const TABLE: &[Row] = &[
    several("listen", "ADDR:PORT", "0.0.0.0:8080", "Where clients connect"),
    Row {
        key: "auth",
        value: "USER:PASSWORD",
        default: "",
        repeat: Repeat::Lines,
        secret: true,
        help: "A user; with any, everyone gives credentials and then reaches every public host",
    },
    once(
        "auth-file",
        "FILE",
        "",
        "Users as `htpasswd -B` or argon2 tools write them; re-read on change and on SIGHUP",
    ),
    once(
        "open",
        "",
        "false",
        "Without credentials: everyone reaches every public host (an open proxy gets abused within hours)",
    ),
    several(
        "trust-client",
        "CIDR",
        "",
        "Without credentials: these clients reach every public host",
    ),
    several("allow-client", "CIDR", "", "Only these clients may connect at all"),
    once(
        "allow-private",
        "",
        "false",
        "Private, loopback and other special addresses may be reached too",
    ),
    several(
        "allow-to",
        "TARGET",
        "",
        "Only these targets: HOST, .SUFFIX or CIDR, with an optional :PORT",
    ),
    several("deny-to", "TARGET", "", "Never these targets; stronger than --allow-to"),
    once(
        "tls-cert",
        "FILE",
        "",
        "Certificate chain in PEM: clients may then speak TLS to the same port",
    ),
    once("tls-key", "FILE", "", "The key of --tls-cert in PEM"),
    once(
        "tls-self-signed",
        "",
        "false",
        "TLS without a certificate of an authority: one is made once and kept in --state-dir; its pin is printed at start",
    ),
    once("state-dir", "DIR", "auto", "Where the self-signed certificate is kept"),
    several(
        "proxy-protocol-from",
        "CIDR",
        "",
        "Load balancers that say who their client is by the PROXY protocol v1 or v2; from there it is required",
    ),
    several(
        "dns",
        "SERVER",
        "",
        "Name servers instead of the system's: IP[:PORT], tls://HOST[:PORT] or https://HOST[:PORT]/PATH",
    ),
    Row {
        key: "upstream",
        value: "URL",
        default: "",
        repeat: Repeat::Once,
        secret: true,
        help: "A parent proxy for everything: http://, https:// or socks5://[USER:PASSWORD@]HOST:PORT",
    },
    once(
        "upstream-pin",
        "PIN",
        "",
        "The pin of an https:// parent whose certificate is self-signed: sha256:…",
    ),
    several(
        "no-upstream",
        "TARGET",
        "",
        "These targets directly and not through the parent: HOST, .SUFFIX or CIDR, with an optional :PORT",
    ),
    once("prefer-family", "FAMILY", "auto", "auto, ipv4, ipv6, ipv4-only or ipv6-only"),
    once(
        "connect-timeout",
        "TIME",
        "10s",
        "For the name and the connection to the target together",
    ),
    once("header-timeout", "TIME", "10s", "For a client to send a complete request head"),
    once("handshake-timeout", "TIME", "10s", "For a client's TLS handshake"),
    once(
        "tunnel-idle-timeout",
        "TIME",
        "off",
        "Silence after which a tunnel is cut; off, because silence of minutes is normal for LLM streams",
    ),
    once(
        "half-close-timeout",
        "TIME",
        "60s",
        "Silence after one side has ended until a tunnel is cut",
    ),
    once(
        "max-connections",
        "NUMBER",
        "auto",
        "Connections altogether; auto follows the limit of open files",
    ),
    once("max-per-client", "NUMBER", "1024", "Connections from one public address"),
    once("drain-timeout", "TIME", "25s", "After SIGTERM: time for open connections to finish"),
    once("no-page", "", "false", "No page for browsers, and no /proxy.pac"),
    once(
        "admin",
        "ADDR:PORT",
        "",
        "Another port for /metrics (Prometheus), /healthz and /readyz; keep it away from the Internet",
    ),
    once("workers", "NUMBER", "auto", "Worker threads; auto is one a core"),
    once("log-format", "FORMAT", "text", "text or json"),
    once("log-level", "LEVEL", "info", "error, warn, info, debug or trace"),
];

/// Variables that look like settings but belong to other commands of the program.
pub const OTHER_COMMANDS: &[&str] = &["SAMI_PROXY_TARGET", "SAMI_PROXY_LANG", "SAMI_PROXY_CONFIG"];

/// The row of `key`.
pub fn row(key: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.key == key)
}

impl Row {
    /// Whether it is on or off rather than a value.
    pub const fn is_switch(&self) -> bool {
        self.value.is_empty()
    }

    /// The name of its environment variable.
    pub fn variable(&self) -> String {
        format!("SAMI_PROXY_{}", self.key.to_ascii_uppercase().replace('-', "_"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Repeat, TABLE, row};

    #[test]
    fn every_key_is_unique_and_a_flag() {
        for (at, row) in TABLE.iter().enumerate() {
            assert!(row.key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
            assert!(TABLE[..at].iter().all(|other| other.key != row.key), "{} twice", row.key);
            assert!(!row.help.is_empty() && !row.help.ends_with('.'), "{}", row.key);
            assert!(!row.is_switch() || row.repeat == Repeat::Once);
        }
    }

    #[test]
    fn the_variable_follows_from_the_key() {
        assert_eq!(row("auth-file").unwrap().variable(), "SAMI_PROXY_AUTH_FILE");
        assert!(row("nonsense").is_none());
    }
}
