//! The hosts file: names that no name server is asked for.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;

use super::super::{Context, Measured};
use super::read;
use crate::diag::evidence::Evidence;
use crate::diag::fact::{Data, HostsFile, HostsLine, Status};
use crate::diag::llm::PROVIDERS;

/// Lists of advertisers have some megabytes.
const LARGEST: u64 = 8 << 20;
/// The most lines that are kept.
const MOST: usize = 50;

/// The lines that name the proxy or a target.
pub(in super::super) async fn run(context: &Context) -> Measured {
    let Ok((path, bytes, done)) = tokio::task::spawn_blocking(read_file).await else {
        return (Status::Failed, None);
    };
    // A machine without one has no line in it.
    let absent = done.as_ref().is_err_and(|it| it.kind() == std::io::ErrorKind::NotFound);
    let read = done.is_ok() || absent;
    let lines = lines(&String::from_utf8_lossy(&bytes), &wanted(&context.evidence));
    let status = if read { Status::Worked } else { Status::Failed };
    let path = path.to_string_lossy().into_owned();
    (status, Some(Data::HostsFile(HostsFile { path, read, lines })))
}

fn read_file() -> (PathBuf, Vec<u8>, std::io::Result<usize>) {
    let path = read::hosts_path();
    let mut bytes = Vec::new();
    let done = File::open(&path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes));
    (path, bytes, done)
}

/// The hosts of the proxy and of the targets.
fn wanted(evidence: &Evidence) -> Vec<String> {
    let mut all = vec![evidence.subject.host.clone()];
    all.extend(evidence.asked.targets.iter().filter_map(|url| host(url)));
    if evidence.asked.llm {
        all.extend(PROVIDERS.iter().filter_map(|it| host(it.url)));
    }
    all.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect()
}

fn host(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(authority.split(':').next()?.to_owned())
}

/// hosts(5): an address, then names; `#` begins a comment.
fn lines(text: &str, wanted: &[String]) -> Vec<HostsLine> {
    let mut found = Vec::new();
    let text = text.trim_start_matches('\u{feff}');
    for (number, line) in (1..).zip(text.lines()) {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(address) = words.next().and_then(|it| it.parse::<IpAddr>().ok()) else { continue };
        let names = words.map(str::to_ascii_lowercase).filter(|name| wanted.contains(name));
        found.extend(names.map(|name| HostsLine { number, address, name }));
        if found.len() >= MOST {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{host, lines};

    #[test]
    fn only_lines_that_count_and_concern_us_are_kept() {
        let text = "\u{feff}# 1.2.3.4 proxy.example\r\n127.0.0.1\tlocalhost\r\n\
            10.0.0.1  other PROXY.example # ours\r\nnonsense proxy.example\r\n::1 api.openai.com";
        let wanted = ["proxy.example".to_owned(), "api.openai.com".to_owned()];
        let found: Vec<_> = lines(text, &wanted)
            .iter()
            .map(|it| (it.number, it.address.to_string(), it.name.clone()))
            .collect();
        let expected = [
            (3, "10.0.0.1".to_owned(), "proxy.example".to_owned()),
            (5, "::1".to_owned(), "api.openai.com".to_owned()),
        ];
        assert_eq!(found, expected);
        assert_eq!(host("https://a.b:8443/x").as_deref(), Some("a.b"));
    }

    proptest! {
        #[test]
        fn no_file_makes_it_fail(text in "(?s).{0,300}") {
            let _any = lines(&text, &[String::new()]);
        }
    }
}
