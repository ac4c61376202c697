//! Every sentence, by key. `{name}` is filled in from the arguments.
//!
//! A key is `cause-CODE`, a key that `diag` names (`fix-…`, `separate-…`), or one of this layer.

use std::collections::BTreeMap;

/// What fills a sentence.
pub type Arguments = BTreeMap<&'static str, String>;

/// The sentence of `key`; the key itself where there is none, which a test forbids.
pub fn phrase(key: &str, arguments: &Arguments) -> String {
    let template = template(key).unwrap_or(key);
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        text.push_str(&tame(arguments.get(name).map_or("?", String::as_str)));
        rest = after;
    }
    text.push_str(rest);
    text
}

/// `text` without anything that a terminal obeys: control characters, and those that turn the
/// direction of writing.
pub fn tame(text: &str) -> String {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if obeyed(c) { '\u{fffd}' } else { c }).collect()
}

/// The sentence of `key` before it is filled.
pub fn template(key: &str) -> Option<&'static str> {
    PHRASES.iter().find(|(known, _)| *known == key).map(|(_, text)| *text)
}

const PHRASES: &[(&str, &str)] = &[
    // Causes
    ("cause-ok", "The port is open and {what} answers."),
    ("cause-ok-untold", "The port is open; there was not enough time to tell what answers."),
    ("cause-proxy-name-not-found", "There is no address for the name {name}."),
    ("cause-dns-server-unreachable", "No name server answers, so {name} has no address."),
    ("cause-dns-server-failing", "The name server could not tell the address of {name}."),
    ("cause-no-network", "This computer is not connected to any network."),
    ("cause-no-route", "This computer is on a network, but knows no way to {host}."),
    (
        "cause-captive-portal",
        "A box on the way accepts every connection, even to {control}, where nothing is.",
    ),
    ("cause-local-firewall", "A firewall on this computer forbids the connection to port {port}."),
    ("cause-host-unreachable", "A router reports that {host} is not there."),
    ("cause-host-silent", "Nothing at {host} answers on any port that was tried."),
    (
        "cause-port-filtered",
        "{host} is there (port {sibling} answers), but something drops everything sent to port {port}.",
    ),
    ("cause-port-rejected", "A firewall rejects connections to port {port} of {host}."),
    (
        "cause-port-refused",
        "{host} is there, but refuses connections to port {port}: nothing listens, or it is not published.",
    ),
    (
        "cause-accepted-then-closed",
        "Port {port} accepts connections and closes them without a word.",
    ),
    ("cause-silent-peer", "Port {port} accepts connections, but nothing answers there."),
    ("cause-not-a-proxy", "Port {port} is open, but it is not a proxy: {what} answers."),
    ("cause-tls-required", "Port {port} speaks only TLS, not plain HTTP."),
    (
        "cause-ipv6-broken",
        "IPv4 works, but the IPv6 addresses of {host} do not; applications may lose time on them.",
    ),
    ("cause-none", "The time or the facts were not enough to tell what is wrong with {target}."),
    // What answers
    ("speaks-sami-proxy", "sami-proxy"),
    ("speaks-http-proxy", "another HTTP proxy"),
    ("speaks-web-server", "a web server"),
    ("speaks-ssh", "an SSH server"),
    ("speaks-tls", "a TLS server"),
    ("speaks-socks", "a SOCKS proxy without HTTP"),
    ("speaks-unknown", "something unknown"),
    ("speaks-nothing", "nothing"),
    ("speaks-closes", "something that hangs up"),
    ("speaks-untold", "something"),
    ("named", "{what} ({name})"),
    // How sure
    ("confidence-certain", "certain"),
    ("confidence-likely", "likely"),
    ("confidence-possible", "possible"),
    // Fixes
    (
        "fix-correct-the-name",
        "Correct the host name in the settings of Sami, or enter the server's IP address.",
    ),
    ("fix-forget-old-names", "Make Windows forget old names, then try again."),
    ("fix-use-the-address", "Enter the server's IP address instead of its name."),
    (
        "fix-other-name-server",
        "Set another name server, such as 1.1.1.1, in the properties of the network adapter.",
    ),
    ("fix-connect-to-a-network", "Connect to a network: plug in the cable or join a Wi-Fi."),
    (
        "fix-renew-the-address",
        "Ask the router for an address again; if that fails, restart the router.",
    ),
    (
        "fix-sign-in",
        "Open any page in a browser and sign in to the network, or use another network.",
    ),
    (
        "fix-allow-outgoing",
        "Allow outgoing connections to the port in the firewall and in the antivirus program.",
    ),
    (
        "fix-start-the-server",
        "See in the provider's panel whether the server runs and which address it has.",
    ),
    (
        "fix-check-the-address",
        "Compare the host in the settings of Sami with the server's address.",
    ),
    (
        "fix-open-the-port-at-the-provider",
        "Open the TCP port for incoming connections in the provider's firewall.",
    ),
    ("fix-open-the-port", "Open the port in the server's firewall."),
    ("fix-accept-before-reject", "Accept the port before the rule that rejects everything."),
    ("fix-is-it-running", "See whether the container runs and which port it publishes."),
    ("fix-publish-the-port", "Run the container with its port published."),
    ("fix-read-the-log", "Read why the proxy closes the connection."),
    ("fix-restart-it", "Restart the container."),
    ("fix-check-the-port", "Compare the port in the settings of Sami with that of the proxy."),
    ("fix-who-has-the-port", "See which program has the port."),
    ("fix-use-https", "Choose the proxy type https, or the port without TLS."),
    // What tells causes apart
    ("separate-ask-another-resolver", "nslookup {host} 1.1.1.1"),
    ("separate-look-at-interfaces", "ipconfig /all"),
    ("separate-from-another-machine", "the same check from another computer or a phone's network"),
    (
        "separate-provider-console",
        "the provider's panel: does the server run, has it this address, what does its firewall say",
    ),
    ("separate-open-any-site", "open any site in a browser"),
    ("separate-on-the-server", "on the server: sudo ss -ltnp 'sport = :{port}' && docker ps -a"),
    ("separate-log-of-the-proxy", "on the server: docker logs --tail 50 sami-llm-proxy"),
    ("separate-more-time", "the same check with a longer --timeout"),
    ("separate-probe-with-tls", "curl -vk https://{target}/healthz"),
    // Checks
    ("check-resolve", "{subject} is {addresses}"),
    ("check-resolve-failed", "no address for {subject}: {failure}, after {ms} ms"),
    ("check-route", "packets to {to} leave from {source}"),
    ("check-route-failed", "this computer has no way to {to}"),
    ("check-tcp-connect", "{subject}: {outcome} ({times} of {attempts}), {ms} ms"),
    (
        "check-round-trip",
        "{subject}: {outcome} ({times} of {attempts}), {ms} ms (fastest {min} ms, jitter {jitter} ms)",
    ),
    ("check-sibling-ports", "other ports: {ports}"),
    ("check-sibling", "{port} {outcome} ({ms} ms)"),
    ("check-ttl-ladder", "the answer comes from hop {hop}"),
    ("check-ttl-ladder-failed", "it could not be told which hop answers"),
    ("check-control-address", "{control}, where nothing is: {outcome}"),
    ("check-hello", "{what} answers"),
    ("check-hello-closes", "{times} of {times} connections were closed without a word"),
    ("check-hello-nothing", "{times} questions, no answer in {ms} ms"),
    ("check-skipped", "not checked: {why}"),
    ("check-empty", "measured nothing"),
    // Outcomes
    ("outcome-open", "open"),
    ("outcome-refused", "refused"),
    ("outcome-silent", "no answer"),
    ("outcome-host-unreachable", "host unreachable"),
    ("outcome-network-unreachable", "network unreachable"),
    ("outcome-protocol-unreachable", "protocol unreachable"),
    ("outcome-forbidden", "forbidden by this computer"),
    ("outcome-no-source", "no address to send from"),
    ("outcome-reset", "reset"),
    ("outcome-own-limits", "this computer has run out of connections"),
    ("outcome-other", "another error"),
    ("outcome-unfinished", "cut short"),
    // Names
    ("failure-no-such-name", "no such name"),
    ("failure-no-address", "the name has no address of this kind"),
    ("failure-try-again", "temporary failure"),
    ("failure-failed", "the name server refused"),
    ("failure-silent", "no answer"),
    ("failure-other", "another error"),
    // Why not
    ("skip-address-given", "an address was given, not a name"),
    ("skip-no-address", "no address is known"),
    ("skip-loopback", "it is this computer"),
    ("skip-port-open", "the port is open"),
    ("skip-port-not-open", "the port is not open"),
    ("skip-no-answer", "the port does not answer"),
    ("skip-not-public", "the address is not public"),
    ("skip-no-route", "no packet would leave this computer"),
    ("skip-out-of-time", "the time was over"),
    ("skip-interrupted", "interrupted"),
    ("not-checked-server", "the server's firewall and containers"),
    ("not-checked-server-why", "they can only be seen on the server"),
    ("not-checked-server-unlock", "the commands above that are for the server"),
    ("not-checked-beyond", "whether sites can be reached through the proxy"),
    ("not-checked-beyond-why", "check-port looks at the port only"),
    ("not-checked-beyond-unlock", "curl -x http://{target} https://www.google.com/generate_204 -v"),
    ("not-checked-rest", "the rest"),
    ("not-checked-rest-unlock", "the same check with a longer --timeout"),
    // Labels of the report
    ("state-ok", "OK"),
    ("state-degraded", "OK with a warning"),
    ("state-inconclusive", "NOT CLEAR"),
    ("state-broken", "PROBLEM"),
    ("label-because", "because"),
    ("label-fix", "fix"),
    ("label-or", "or else"),
    ("label-way", "way"),
    ("label-warning", "warning"),
    ("label-checks", "checks"),
    ("label-not-checked", "not checked"),
    ("place-windows", "this computer"),
    ("place-server", "server"),
    ("place-docker", "server"),
    ("place-provider", "provider"),
    ("place-sami", "Sami"),
    ("segment-client", "you"),
    ("segment-lan", "router"),
    ("segment-isp", "ISP"),
    ("segment-edge", "provider"),
    ("segment-host", "server"),
    ("segment-docker", "docker"),
    ("segment-proxy", "proxy"),
    ("segment-dns", "names"),
    ("segment-target", "site"),
    ("health-ok", "ok"),
    ("health-bad", "BAD"),
    ("health-warn", "warning"),
    ("health-unknown", "?"),
    ("health-skipped", "-"),
];

#[cfg(test)]
mod tests {
    use super::{Arguments, PHRASES, phrase, template};
    use crate::diag::fix;
    use crate::diag::infer::RULES;

    #[test]
    fn every_cause_that_can_be_found_and_every_fix_has_words() {
        for (code, _) in RULES {
            let key = format!("cause-{}", code.word());
            assert!(template(&key).is_some(), "{key}");
        }
        for key in fix::texts() {
            assert!(template(key).is_some(), "{key}");
        }
    }

    #[test]
    fn every_key_is_there_once_and_every_brace_closes() {
        for (at, (key, text)) in PHRASES.iter().enumerate() {
            assert!(PHRASES[..at].iter().all(|(other, _)| other != key), "{key} twice");
            assert_eq!(text.matches('{').count(), text.matches('}').count(), "{text}");
        }
    }

    #[test]
    fn arguments_are_filled_in_once() {
        let arguments = Arguments::from([("port", "{host}".to_owned()), ("host", "h".to_owned())]);
        let text = phrase("cause-port-rejected", &arguments);
        assert_eq!(text, "A firewall rejects connections to port {host} of h.");
        assert!(phrase("cause-port-rejected", &Arguments::new()).contains('?'));
    }
}
