//! sami-proxy: a forward proxy for reaching LLM APIs, and the doctor of its own troubles.
//!
//! # The map
//!
//! ```text
//! bin → cli → { config, proxy, diag, render } → net → wire → { target, failure, secret }     journal: log lines
//! ```
//!
//! | layer | knows | never |
//! |---|---|---|
//! | [`cli`] | arguments, standard output, exit codes, signals | decides about traffic |
//! | [`config`] | what the user wrote and where; makes [`proxy::Settings`] | acts on it |
//! | [`proxy`] | who may reach what, and the pipeline that does it | bytes of a protocol |
//! | [`diag`] | what is wrong with the way to a proxy, and how it knows | words, [`proxy`] |
//! | [`render`] | words, Russian and English; reports for people and programs | measures, judges |
//! | [`net`] | sockets: listen, resolve, dial, ask a parent proxy, relay, TLS | why |
//! | [`wire`] | bytes ↔ values | does I/O |
//! | [`target`], [`failure`], [`secret`] | the words of the domain | anything else |
//! | [`tame`] | text of strangers, made harmless | anything else |
//! | [`journal`] | lines to standard output without ever waiting | what they say |
//! | [`worker`] | which thread this is, and what each has for itself | what it does |
//!
//! `tests/architecture.rs` holds this picture as a table and fails on an import against it.
//!
//! What carries traffic, from `net` on and [`proxy`], is the package `core`, because it is compiled for speed and
//! everything else for size; it is re-exported here, and its files lie beside the others (`core.rs` names them).
//! Without the feature `doctor` the program only serves: no `cli/diagnose`, [`diag`] and [`render`].
//!
//! # A tunnel, file by file
//!
//! [`proxy::accept`] takes a place and a socket → [`proxy::spread`] gives it to the worker that has
//! the fewest → [`proxy::connection`] reads who a load balancer's client is
//! ([`wire::proxy_header`]), tells the protocol by its first bytes ([`net::sniff`]) and ends TLS
//! ([`net::tls`]) → [`proxy::front::http`] finds a head ([`wire::http1`]) and its target
//! ([`target`]), [`proxy::front::socks`] a SOCKS request ([`wire::socks`]),
//! [`proxy::front::http2`] makes each stream look like an HTTP/1.1 connection ([`net::h2`]) →
//! [`proxy::authorize`] says who it is → [`proxy::policy`] says whether it may →
//! [`proxy::egress`] resolves ([`net::resolve`]), has every address approved, and dials
//! ([`net::dial`]), or asks a parent for a tunnel ([`proxy::upstream`], [`net::parent`]) → the client hears `200` → [`proxy::tunnel`] hands both sockets to
//! [`net::relay`], [`net::sweep`] ends it when it is silent for too long →
//! [`proxy::access_log`] writes one line when it ends, however it ends.
//!
//! # A plain request
//!
//! The same up to the dial, which [`proxy::origins`] may spare; then [`proxy::forward`] sends the head that [`proxy::rewrite`] made and
//! streams both bodies at once.
//!
//! # What the proxy answers by itself
//!
//! A browser gets [`proxy::page`], a diagnosis talks to [`proxy::internal`] through the proxy, and
//! a machine that watches it asks on the port of `--admin` for what [`proxy::tally`] has counted.
//!
//! # A refusal
//!
//! Every reason not to serve is a [`proxy::stop::Stop`]; [`proxy::reply`] alone makes an answer of
//! it, with the word of [`failure`] in `Proxy-Status`; for SOCKS its front has the table of replies.
//!
//! # A diagnosis
//!
//! `cli/diagnose/check_port.rs` → [`diag::plan`] says what to do, area by area → [`diag::run`] runs
//! `diag/checks`, each a [`diag::fact`] → [`diag::evidence`] → [`diag::infer`] finds suspects →
//! [`diag::diagnosis`] picks one cause → [`diag::fix`], [`diag::report`] → [`render`].
//!
//! # Where do I add …?
//!
//! | I want to add | files |
//! |---|---|
//! | a setting | a row in [`config::table`], a line in [`mod@config::convert`], a field in [`proxy::settings`] |
//! | a host for strangers | `proxy/known_hosts.txt` |
//! | a reason to refuse | [`proxy::stop`]; the compiler lists every place that must answer |
//! | a special address block | a row in [`proxy::destinations`] |
//! | a client protocol | [`net::sniff`], a row in [`proxy::door`], one file in [`proxy::front`] |
//! | a counter | [`proxy::tally`], a line in `proxy/metrics.rs` |
//! | a service of `sami-proxy.internal` | [`proxy::internal`] |
//! | a check | [`diag::fact::CheckId`], a file in `diag/checks`, a step in [`diag::plan`] |
//! | a cause | [`diag::code`] and two messages in each of `locales/en.ftl` and `ru.ftl`, a rule in [`diag::infer`], [`diag::fix`], a case in `tests/cases` |
//! | a text of the doctor | a message in each of `locales/en.ftl` and `ru.ftl`, its arguments in [`render::words`] |
//! | a kind of failure | [`failure`], one row |

pub mod cli;
pub mod config;
#[cfg(feature = "doctor")]
pub mod diag;
#[cfg(feature = "doctor")]
pub mod render;
pub mod tame;

// What is built for speed, in a package of its own (core/Cargo.toml).
pub use sami_proxy_core::{failure, journal, net, proxy, secret, target, wire, worker};
