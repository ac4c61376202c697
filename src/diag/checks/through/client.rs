//! The request as an application makes it: an ordinary HTTP client with a proxy configured.

use std::error::Error;
use std::fmt::Write;
use std::net::SocketAddr;

use reqwest::redirect::Policy;
use reqwest::{Client as Reqwest, Proxy};
use tokio::time::{Instant, timeout_at};

use super::super::{Context, Measured, micros};
use super::goal::Goal;
use super::journey::latest;
use super::message::shown;
use crate::diag::ask::Ask;
use crate::diag::evidence::Scheme;
use crate::diag::fact::{Client, Data, Skip, Status};
use crate::net::judge::ordinary;

/// The longest error that is kept, in characters.
const LONGEST: usize = 300;

/// Texts shorter than this are in every text by chance.
const SECRET: usize = 4;

/// One request; what it answers is not followed.
pub(in super::super) async fn run(target: &str, proxy: SocketAddr, context: &Context) -> Measured {
    let until = latest(context);
    let begun = Instant::now();
    let Some(goal) = Goal::parse(target) else { return (Status::Skipped(Skip::NoProxy), None) };
    let asked = async {
        match client(proxy, &context.ask).await {
            Ok(client) => client.get(&goal.shown).send().await.map_err(told),
            Err(error) => Err(error),
        }
    };
    let answered = tokio::select! {
        biased;
        () = context.stop.cancelled() => return (Status::Skipped(Skip::Interrupted), None),
        answered = timeout_at(until, asked) => answered,
    };
    let elapsed_us = micros(begun.elapsed());
    let answered = answered.unwrap_or_else(|_| Err("operation timed out".to_owned()));
    let (status, error) = match answered {
        Ok(answer) => (Some(answer.status().as_u16()), None),
        Err(error) => (None, Some(harmless(error, &context.ask))),
    };
    let worked = if status.is_some() { Status::Worked } else { Status::Failed };
    (worked, Some(Data::Client(Client { target: goal.shown, status, error, elapsed_us })))
}

/// As applications make it; only that what the name stands for has been looked up already, and
/// that a file of roots or a pin counts besides the system's trust.
async fn client(proxy: SocketAddr, ask: &Ask) -> Result<Reqwest, String> {
    let (roots, pin) = (ask.roots.clone(), ask.pin);
    let tls = tokio::task::spawn_blocking(move || ordinary(&roots, pin)).await;
    let tls = tls.map_err(chain)?.map_err(chain)?;
    Reqwest::builder()
        .no_proxy()
        .proxy(Proxy::all(url(ask)).map_err(told)?)
        .redirect(Policy::none())
        .resolve(&ask.subject.host, proxy)
        .user_agent(concat!("sami-proxy/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls)
        .build()
        .map_err(chain)
}

/// With user and password in their encoded form (RFC 3986 §3.2.1). A SOCKS proxy is to resolve names.
fn url(ask: &Ask) -> String {
    let scheme = match ask.asked.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
        Scheme::Socks5 => "socks5h",
    };
    let login = ask
        .login
        .as_ref()
        .map(|(user, password)| format!("{}:{}@", encoded(user), encoded(password.reveal())));
    format!("{scheme}://{}{}", login.unwrap_or_default(), ask.subject.authority())
}

/// Everything but the unreserved characters (RFC 3986 §2.3) as `%XX`.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _never_fails = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn told(error: reqwest::Error) -> String {
    chain(error.without_url())
}

/// An error with its causes, in one line.
fn chain(error: impl Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}

/// `error` as printable ASCII without user and password, in case a library ever repeats them.
fn harmless(mut error: String, ask: &Ask) -> String {
    let login = ask.login.as_ref();
    let secrets = login.map_or_else(Vec::new, |(user, password)| vec![password.reveal(), user]);
    for secret in secrets {
        for spelling in [secret.to_owned(), encoded(secret)] {
            if spelling.len() >= SECRET {
                error = error.replace(&spelling, "***");
            }
        }
    }
    shown(error.as_bytes(), LONGEST)
}
