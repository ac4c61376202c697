//! The command line of the commands that diagnose.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::render::look::When;
use crate::render::words::Lang;

pub(super) const EXPLAIN: &str = "explain";
pub(super) const CODE: &str = "code";
const LANG: &str = "lang";
pub(super) const CHECK_PORT: &str = "check-port";
pub(super) const TARGETS: &str = "targets";
pub(super) const PROBE: &str = "probe";
pub(super) const DOCTOR: &str = "doctor";
pub(super) const ROLE: &str = "role";
pub(super) const CONTAINER: &str = "container";
pub(super) const PORT: &str = "port";
pub(super) const WITNESS: &str = "witness";
pub(super) const ONLINE: &str = "online";
pub(super) const BUNDLE: &str = "bundle";
pub(super) const PSEUDONYMS: &str = "pseudonyms";
pub(super) const COMPARE: &str = "compare";
pub(super) const WATCH: &str = "watch";
pub(super) const SSH: &str = "ssh";
pub(super) const TOKEN: &str = "token";
pub(super) const WITH: &str = "with";
pub(super) const PROXY: &str = "proxy";
pub(super) const TARGET: &str = "target";
pub(super) const LLM: &str = "llm";
pub(super) const REPEATS: &str = "repeats";
pub(super) const IDLE: &str = "idle";
pub(super) const USER: &str = "user";
pub(super) const CA: &str = "ca";
pub(super) const PIN: &str = "pin";
pub(super) const JSON: &str = "json";
pub(super) const DNS: &str = "dns";
pub(super) const TIMEOUT: &str = "timeout";
pub(super) const FROM: &str = "from";
const COLOR: &str = "color";
pub(super) const VERBOSE: &str = "verbose";
pub(super) const IPV4: &str = "ipv4";
pub(super) const IPV6: &str = "ipv6";
/// What a double click does, for tests.
pub(super) const WINDOW: &str = "window";

/// All of them.
pub(in crate::cli) fn commands() -> [Command; 5] {
    [check_port(), probe(), doctor(), explain(), Command::new(WINDOW).hide(true)]
}

fn explain() -> Command {
    Command::new(EXPLAIN)
        .about("Tell what a cause means and how to mend it, or list all causes")
        .arg(Arg::new(CODE).value_name("CODE").help("As a report names it, such as port-filtered"))
        .arg(language())
}

fn language() -> Arg {
    Arg::new(LANG)
        .long(LANG)
        .value_name("LANG")
        .value_parser(Lang::ALL.map(Lang::word))
        .help("The language of the texts; else SAMI_PROXY_LANG, then the system's language")
}

fn color() -> Arg {
    Arg::new(COLOR)
        .long(COLOR)
        .value_name("WHEN")
        .value_parser(When::ALL.map(When::word))
        .help("Colours; auto: on a terminal, unless NO_COLOR is set [default: auto]")
}

const PORT_EXIT_CODES: &str = "Exit code: 0 every port is open and a proxy answers, 1 a problem was \
found, 2 bad usage, 3 it could not be told.";

const PROBE_EXIT_CODES: &str = "Exit code: 0 the proxy works, 1 a problem was found, 2 bad usage, 3 it \
could not be told.";

fn check_port() -> Command {
    Command::new(CHECK_PORT)
        .about("Is the port of a proxy reachable, and if not, who says no")
        .after_help(PORT_EXIT_CODES)
        .arg(Arg::new(TARGETS).value_name("HOST:PORT").num_args(0..).help("What to check"))
        .args(examining("15"))
}

fn probe() -> Command {
    let one = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new(PROBE)
        .about("Does a proxy work end to end, how fast, and for which services")
        .override_usage("sami-proxy probe [OPTIONS] PROXY")
        .after_help(PROBE_EXIT_CODES)
        // More than one is our error and not clap's, which would repeat it with its password.
        .arg(Arg::new(PROXY).value_name("PROXY").num_args(0..).help(
            "HOST:PORT, http://…, https://… or socks5://…, with USER:PASSWORD@ if it wants them",
        ))
        .arg(
            one(
                TARGET,
                "URL",
                "What to reach through it [default: www.google.com] (may be repeated)",
            )
            .action(ArgAction::Append),
        )
        .arg(
            Arg::new(LLM)
                .long(LLM)
                .action(ArgAction::SetTrue)
                .help("Reach every LLM service we know"),
        )
        .arg(
            Arg::new(REPEATS)
                .short('n')
                .value_name("COUNT")
                .allow_hyphen_values(true)
                .help("So often"),
        )
        .arg(
            one(IDLE, "SECONDS", "Does a tunnel live through so much silence")
                .allow_hyphen_values(true),
        )
        .arg(one(USER, "USER:PASSWORD", "For the proxy, as they are: nothing encoded"))
        .arg(one(CA, "FILE", "Trust the certificates in this PEM file too"))
        .arg(one(PIN, "SHA256", "The pin that an https:// proxy printed at its start"))
        .args(examining("15"))
}

/// Everything of `probe`, and this machine; or the server on which it runs.
fn doctor() -> Command {
    let one = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    probe()
        .name(DOCTOR)
        .override_usage("sami-proxy doctor [OPTIONS] [PROXY]")
        .about("What is wrong with a proxy and the way to it, and what to do: with PROXY from here, without it on the proxy's own server, or of the proxy that this system is set to")
        .arg(
            one(ROLE, "ROLE", "From where to look; else it is found out")
                .value_parser(["client", "host", "container"]),
        )
        .arg(one(CONTAINER, "NAME", "On the server: the proxy's container [default: sami-llm-proxy]"))
        .arg(
            one(PORT, "PORT", "On the server: the port that clients use [default: 8080]")
                .allow_hyphen_values(true),
        )
        .arg(
            one(WITNESS, "SECONDS", "On the server, as root: count who knocks at the port meanwhile")
                .allow_hyphen_values(true),
        )
        .arg(one(SSH, "USER@HOST[:PORT]", "Ask the proxy's server, too, with the system's ssh and its keys"))
        .arg(one(WITH, "TOKEN", "What `doctor --token` has printed on the server"))
        .arg(
            Arg::new(TOKEN)
                .long(TOKEN)
                .action(ArgAction::SetTrue)
                .help("On the server: print what was found as a token for --with, too"),
        )
        .arg(
            Arg::new(ONLINE)
                .long(ONLINE)
                .action(ArgAction::SetTrue)
                .help("Ask public services, too, whether this network leads to the Internet"),
        )
        .args(keeping())
}

/// What is made of a report besides.
fn keeping() -> [Arg; 4] {
    let one = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    [
        one(BUNDLE, "FILE.zip").help("Write the report without secrets into one file to send"),
        Arg::new(PSEUDONYMS)
            .long(PSEUDONYMS)
            .action(ArgAction::SetTrue)
            .help("In the bundle: other addresses instead of public ones, the same for the same"),
        one(COMPARE, "OLD.json").help("What has changed since an earlier --json"),
        one(WATCH, "SECONDS")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("30")
            .help("Look again and again, and tell only what changes [default: 30]"),
    ]
}

/// What every examining command takes.
fn examining(seconds: &str) -> [Arg; 9] {
    let switch = |name: &'static str| Arg::new(name).action(ArgAction::SetTrue);
    [
        switch(JSON).long(JSON).help("Print one JSON document"),
        Arg::new(TIMEOUT)
            .long(TIMEOUT)
            .value_name("SECONDS")
            .allow_hyphen_values(true)
            .help(format!("For everything [default: {seconds}]")),
        Arg::new(FROM)
            .long(FROM)
            .value_name("FILE")
            .help("Diagnose what an earlier --json has measured, without a network"),
        switch(VERBOSE).long(VERBOSE).short('v').help("Show every check"),
        Arg::new(DNS).long(DNS).value_name("SERVER").action(ArgAction::Append).help(
            "Compare this name server's answer with the system's: IP[:PORT], tls://… or https://… (may be repeated)",
        ),
        switch(IPV4).short('4').help("Only IPv4 addresses"),
        switch(IPV6).short('6').help("Only IPv6 addresses"),
        language(),
        color(),
    ]
}

/// The flags of an examining command as they were given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags<'a>(&'a ArgMatches);

impl<'a> Flags<'a> {
    pub(super) const fn new(flags: &'a ArgMatches) -> Self {
        Self(flags)
    }

    /// Whether the switch `name` was given.
    pub(super) fn has(self, name: &str) -> bool {
        self.0.get_flag(name)
    }

    /// The value of `name`.
    pub(super) fn one(self, name: &str) -> Option<&'a str> {
        self.0.get_one::<String>(name).map(String::as_str)
    }

    /// All values of `name`.
    pub(super) fn many(self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.get_many::<String>(name).into_iter().flatten().map(String::as_str)
    }

    /// Whether `name`, of whatever kind, was given.
    pub(super) fn is_given(self, name: &str) -> bool {
        self.0.value_source(name) == Some(ValueSource::CommandLine)
    }
}

/// How a person types the flag `name`.
pub(super) fn spelled(name: &str) -> String {
    match name {
        IPV4 => "-4".to_owned(),
        IPV6 => "-6".to_owned(),
        REPEATS => "-n".to_owned(),
        TARGETS => "HOST:PORT".to_owned(),
        PROXY => "the proxy".to_owned(),
        _ => format!("--{name}"),
    }
}

/// The language that was asked for.
pub(super) fn lang(flags: &ArgMatches) -> Option<Lang> {
    flags.get_one::<String>(LANG).and_then(|word| Lang::find(word))
}

/// When colours are wanted.
pub(super) fn when(flags: &ArgMatches) -> When {
    flags.get_one::<String>(COLOR).and_then(|word| When::find(word)).unwrap_or_default()
}
