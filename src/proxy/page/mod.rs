//! The page that a browser gets which opens the proxy's port, and `proxy.pac`. Pure.
//!
//! `page.html` is the form, `words` has every text. It shows nothing that the visitor does not
//! know already, but for the version and whether credentials are configured, which a `407` tells
//! everybody.

mod language;
mod pac;
mod words;

use std::net::IpAddr;

pub use language::{Language, language};
pub use pac::pac;

use self::words::{Words, words};
use super::known_hosts;
use super::policy::Trust;
use crate::target::{Host, Target};

/// The icon, an SVG image. The page has it inside; it may be served as `image/svg+xml` too.
pub const FAVICON: &str = include_str!("favicon.svg");

/// Header lines for the page, each with its line end: it loads nothing, runs nothing, sends
/// nothing, and stands in no frame.
pub const SECURITY: &str = "Content-Security-Policy: default-src 'none'; \
    style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\n";

/// What is known of who looks.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'v> {
    /// Host and port as the browser used them: its `Host` field, with the port of the scheme when
    /// there is none in it.
    pub authority: &'v Target,
    /// Where the connection comes from.
    pub client: IpAddr,
    /// How the browser speaks to us.
    pub scheme: Scheme,
    /// Whether the proxy asks for them.
    pub credentials: Credentials,
    /// What the client may without credentials; of no account where they are wanted.
    pub trust: Trust,
}

/// How a client speaks to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// Whether user name and password are configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody gets anywhere without.
    Wanted,
    /// There are none.
    NotWanted,
}

/// The page for `visit`, a complete HTML document in UTF-8 of less than 8 KB.
pub fn page(visit: &Visit<'_>, language: Language) -> String {
    let words = words(language);
    let told = Told::new(visit, words);
    let scheme = match visit.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let authority = visit.authority.to_string();
    format!(
        include_str!("page.html"),
        favicon = escaped(FAVICON.trim_end()),
        style = include_str!("style.css"),
        version = env!("CARGO_PKG_VERSION"),
        // ::ffff:192.0.2.1 is 192.0.2.1 for everybody but the socket.
        client = escaped(&visit.client.to_canonical().to_string()),
        host = escaped(&bare(&visit.authority.host)),
        port = visit.authority.port,
        authority = escaped(&authority),
        scheme = scheme,
        proxy = escaped(&argument(&format!("{scheme}://{authority}"))),
        username = told.username,
        password = told.password,
        notes = told.notes,
        reach = told.reach,
        curl_user = told.curl_user,
        answer = told.answer,
        lang = words.lang,
        works = words.works,
        reached = words.reached,
        from = words.from,
        enter_heading = words.enter_heading,
        enter = words.enter,
        reach_heading = words.reach_heading,
        check_heading = words.check_heading,
        check = words.check,
        health = words.health,
        pac_heading = words.pac_heading,
        pac = words.pac,
    )
}

/// The texts that depend on the visit.
#[derive(Debug)]
struct Told {
    username: &'static str,
    password: &'static str,
    notes: String,
    reach: &'static str,
    curl_user: String,
    answer: &'static str,
}

impl Told {
    fn new(visit: &Visit<'_>, words: &Words) -> Self {
        let here = if is_this_machine(&visit.authority.host) {
            note(words.only_here)
        } else {
            String::new()
        };
        match visit.credentials {
            Credentials::Wanted => Self {
                username: words.username,
                password: words.password,
                notes: note(words.where_set) + &here,
                reach: words.reach_with_credentials,
                // Without the password, so that it stays out of the history: curl asks for it.
                curl_user: format!(" -U {}", words.name),
                answer: words.answer_with_credentials,
            },
            Credentials::NotWanted => Self {
                username: words.empty,
                password: words.empty,
                notes: here,
                reach: match visit.trust {
                    Trust::Trusted => words.reach_trusted,
                    Trust::Stranger => words.reach_stranger,
                },
                curl_user: String::new(),
                answer: words.answer,
            },
        }
    }
}

fn note(text: &str) -> String {
    format!("<p class=\"quiet\">{text}</p>\n")
}

/// Whether `host` means another machine on every machine.
fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Ip(ip) => ip.is_loopback() || ip.is_unspecified(),
        Host::Name(name) => &**name == "localhost" || name.ends_with(".localhost"),
    }
}

/// `host` as people enter it in a field of its own: an IPv6 address without brackets.
fn bare(host: &Host) -> String {
    match host {
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name.to_string(),
    }
}

/// `text` as an argument on a command line: some shells look for files where there are brackets.
fn argument(text: &str) -> String {
    if text.contains('[') { format!("\"{text}\"") } else { text.to_owned() }
}

/// `text` in HTML, as content or between quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::{Credentials, FAVICON, Language, SECURITY, Scheme, Trust, Visit, page};
    use crate::target::{Host, Target};

    const LANGUAGES: [Language; 2] = [Language::Ru, Language::En];

    fn target(text: &str) -> Target {
        Target::from_authority(text).unwrap()
    }

    fn visit(authority: &Target) -> Visit<'_> {
        Visit {
            authority,
            client: "203.0.113.7".parse().unwrap(),
            scheme: Scheme::Http,
            credentials: Credentials::NotWanted,
            trust: Trust::Stranger,
        }
    }

    /// Every page there is for `authority`.
    fn all(authority: &Target) -> Vec<String> {
        let ways = [
            (Credentials::Wanted, Trust::Trusted),
            (Credentials::Wanted, Trust::Stranger),
            (Credentials::NotWanted, Trust::Trusted),
            (Credentials::NotWanted, Trust::Stranger),
        ];
        let mut pages = Vec::new();
        for (credentials, trust) in ways {
            for scheme in [Scheme::Http, Scheme::Https] {
                let visit = Visit { scheme, credentials, trust, ..visit(authority) };
                pages.extend(LANGUAGES.map(|language| page(&visit, language)));
            }
        }
        pages
    }

    #[test]
    fn it_shows_the_values_to_enter() {
        let authority = target("proxy.example:8080");
        for language in LANGUAGES {
            let found = page(&visit(&authority), language);
            for part in [
                ">Host</th><td><b>proxy.example</b></td>",
                ">Port</th><td><b>8080</b></td>",
                ">Type</th><td><b>http</b></td>",
                "<b>203.0.113.7</b>",
                "curl -x http://proxy.example:8080 https://api.openai.com/v1/models <span>-i</span></code>",
                "curl -x http://proxy.example:8080 http://sami-proxy.internal/health<span></span></code>",
                "<a href=\"/proxy.pac\">",
                "http://proxy.example:8080/proxy.pac</code>",
                env!("CARGO_PKG_VERSION"),
            ] {
                assert!(found.contains(part), "{part} in {found}");
            }
        }
    }

    #[test]
    fn tls_and_ipv6_are_written_where_and_how_they_belong() {
        let authority = target("[2001:db8::1]:8443");
        let client = "::ffff:192.0.2.1".parse().unwrap();
        let visit = Visit { scheme: Scheme::Https, client, ..visit(&authority) };
        for language in LANGUAGES {
            let found = page(&visit, language);
            for part in [
                ">Host</th><td><b>2001:db8::1</b></td>",
                ">Type</th><td><b>https</b></td>",
                "<b>192.0.2.1</b>",
                "curl -x &quot;https://[2001:db8::1]:8443&quot; https://",
                "https://[2001:db8::1]:8443/proxy.pac</code>",
            ] {
                assert!(found.contains(part), "{part} in {found}");
            }
            assert!(!found.contains("http://[") && !found.contains("ffff"));
        }
    }

    #[test]
    fn it_says_what_this_visitor_may() {
        let authority = target("proxy.example:8080");
        let of = |credentials, trust| {
            page(&Visit { credentials, trust, ..visit(&authority) }, Language::En)
        };
        let stranger = of(Credentials::NotWanted, Trust::Stranger);
        assert!(stranger.contains("Only LLM services") && stranger.contains("SAMI_PROXY_AUTH"));
        assert_eq!(stranger.matches("<td>leave empty</td>").count(), 2);
        let trusted = of(Credentials::NotWanted, Trust::Trusted);
        assert!(trusted.contains("You need no user name") && !trusted.contains("SAMI_PROXY_AUTH"));
        for trust in [Trust::Trusted, Trust::Stranger] {
            let wanted = of(Credentials::Wanted, trust);
            assert!(wanted.contains("Without them, nothing") && wanted.contains("SAMI_PROXY_AUTH"));
            assert!(
                wanted.contains("/models <span>-i -U NAME</span></code>") && wanted.contains("407")
            );
            assert!(!wanted.contains("leave empty"));
        }
    }

    #[test]
    fn an_address_that_means_this_machine_is_explained() {
        for (authority, expected) in [
            ("localhost:8080", true),
            ("a.localhost:8080", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("0.0.0.0:8080", true),
            ("notlocalhost:8080", false),
            ("192.168.1.2:8080", false),
        ] {
            for found in all(&target(authority)) {
                let there =
                    found.contains("another computer") || found.contains("другом компьютере");
                assert_eq!(there, expected, "{authority}");
            }
        }
    }

    #[test]
    fn whatever_is_inserted_is_escaped() {
        let name = "<script>alert('\"&{scheme}')</script>".into();
        let harmful = Target { host: Host::Name(name), port: NonZeroU16::MIN };
        for found in all(&harmful) {
            assert!(!found.contains("<script") && !found.contains("alert('"));
            let shown = "&lt;script&gt;alert(&#39;&quot;&amp;{scheme}&#39;)&lt;/script&gt;";
            assert_eq!(found.matches(shown).count(), 4, "{found}");
        }
    }

    #[test]
    fn it_loads_nothing_and_is_small_and_whole() {
        for found in all(&target(&format!("{}:65535", vec!["a".repeat(60); 4].join(".")))) {
            assert!(found.len() < 8192, "{}", found.len());
            assert!(found.starts_with("<!doctype html>\n") && found.ends_with("</html>\n"));
            for word in
                ["<script", "<img", "<iframe", "@import", "url(", "src=", "onclick", "<form"]
            {
                assert!(!found.contains(word), "{word}");
            }
            let links: Vec<&str> =
                found.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
            let [icon, pac] = links.as_slice() else { panic!("{links:?}") };
            assert!(icon.starts_with("data:image/svg+xml,&lt;svg "));
            assert_eq!(*pac, "/proxy.pac");
            for tag in [
                "html", "head", "body", "main", "header", "section", "table", "tr", "p", "pre",
                "code", "b",
            ] {
                let opened = found.matches(&format!("<{tag}>")).count()
                    + found.matches(&format!("<{tag} ")).count();
                assert_eq!(opened, found.matches(&format!("</{tag}>")).count(), "{tag}");
            }
        }
    }

    #[test]
    fn each_language_is_marked_and_written_in_its_own_letters() {
        let authority = target("proxy.example:8080");
        let cyrillic = |text: &str| text.chars().any(|c| ('а'..='я').contains(&c));
        let [ru, en] = LANGUAGES.map(|language| page(&visit(&authority), language));
        assert!(ru.contains("<html lang=\"ru\">") && cyrillic(&ru));
        assert!(en.contains("<html lang=\"en\">") && !cyrillic(&en));
    }

    #[test]
    fn the_icon_and_the_header_lines_can_stand_where_they_are_put() {
        // In a `data:` URI the one would end it and the other begin an escape.
        assert!(!FAVICON.contains(['#', '%']));
        assert!(FAVICON.starts_with("<svg xmlns="));
        assert!(SECURITY.ends_with("\r\n") && !SECURITY.contains("  "));
        let names: Vec<&str> =
            SECURITY.split_terminator("\r\n").filter_map(|line| line.split(": ").next()).collect();
        assert_eq!(names, ["Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy"]);
    }
}
