//! Products that open encrypted connections, by the names in the certificates they make. Pure.

/// What somebody has to do about it depends on what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// On this machine, with a switch and exceptions of its own.
    Antivirus,
    /// Of a company, a school or a provider; only its administrator makes exceptions.
    Gateway,
    /// A tool that a developer has started.
    Debugger,
}

impl Kind {
    /// For the arguments of a cause.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Antivirus => "antivirus",
            Self::Gateway => "gateway",
            Self::Debugger => "debugger",
        }
    }
}

/// A product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interceptor {
    /// As its maker calls it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What its issuers have in their names, in small letters.
    mark: &'static str,
}

const fn of(kind: Kind, mark: &'static str, name: &'static str) -> Interceptor {
    Interceptor { name, kind, mark }
}

/// A mark that holds another one stands before it.
const INTERCEPTORS: &[Interceptor] = &[
    of(Kind::Antivirus, "kaspersky", "Kaspersky"),
    of(Kind::Antivirus, "eset ssl", "ESET"),
    of(Kind::Antivirus, "avast", "Avast"),
    of(Kind::Antivirus, "avg web", "AVG"),
    of(Kind::Antivirus, "bitdefender", "Bitdefender"),
    of(Kind::Antivirus, "adguard", "AdGuard"),
    of(Kind::Antivirus, "dr.web", "Dr.Web"),
    of(Kind::Antivirus, "drweb", "Dr.Web"),
    of(Kind::Antivirus, "norton", "Norton"),
    of(Kind::Antivirus, "mcafee web gateway", "McAfee"),
    of(Kind::Gateway, "zscaler", "Zscaler"),
    of(Kind::Gateway, "netskope", "Netskope"),
    of(Kind::Gateway, "fortinet", "Fortinet"),
    of(Kind::Gateway, "fortigate", "Fortinet"),
    of(Kind::Gateway, "palo alto", "Palo Alto"),
    of(Kind::Gateway, "cisco umbrella", "Cisco Umbrella"),
    of(Kind::Gateway, "sophos", "Sophos"),
    of(Kind::Gateway, "check point", "Check Point"),
    of(Kind::Gateway, "blue coat", "Symantec Blue Coat"),
    of(Kind::Gateway, "forcepoint", "Forcepoint"),
    of(Kind::Gateway, "cloudflare for teams", "Cloudflare Gateway"),
    of(Kind::Gateway, "securly", "Securly"),
    of(Kind::Debugger, "mitmproxy", "mitmproxy"),
    of(Kind::Debugger, "fiddler", "Fiddler"),
    of(Kind::Debugger, "charles proxy", "Charles"),
    of(Kind::Debugger, "portswigger", "Burp Suite"),
];

/// Which product calls itself `issuer`; a name proves nothing by itself, anybody may take one.
pub fn interceptor(issuer: &str) -> Option<&'static Interceptor> {
    let issuer = issuer.to_lowercase();
    INTERCEPTORS.iter().find(|it| issuer.contains(it.mark))
}

#[cfg(test)]
mod tests {
    use super::{INTERCEPTORS, Kind, interceptor};

    #[test]
    fn a_product_is_known_by_its_issuer() {
        for (issuer, name, kind) in [
            ("Kaspersky Anti-Virus Personal Root Certificate", "Kaspersky", Kind::Antivirus),
            ("ESET SSL Filter CA", "ESET", Kind::Antivirus),
            ("Avast Web/Mail Shield Root", "Avast", Kind::Antivirus),
            ("Zscaler Root CA", "Zscaler", Kind::Gateway),
            ("FortiGate CA", "Fortinet", Kind::Gateway),
            ("mitmproxy", "mitmproxy", Kind::Debugger),
        ] {
            let found = interceptor(issuer).unwrap();
            assert_eq!((found.name, found.kind), (name, kind), "{issuer}");
        }
        for nobody in ["", "ISRG Root X1", "Reset CA", "DigiCert Global Root G2", "My company"] {
            assert_eq!(interceptor(nobody), None, "{nobody}");
        }
    }

    #[test]
    fn every_mark_can_be_found() {
        for it in INTERCEPTORS {
            assert_eq!(it.mark, it.mark.to_lowercase());
            assert_eq!(interceptor(it.mark), Some(it));
        }
    }
}
