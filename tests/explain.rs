//! `explain`, with the real program.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "test code"
)]

mod common;

use std::process::{Command, Output};

use common::process::{command, run};
use sami_proxy::config::table::{OTHER_COMMANDS, TABLE};
use sami_proxy::diag::code::{Code, Segment};

/// Standard output of a run that must succeed and complain of nothing.
fn page(output: Output) -> String {
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), complaint.as_str()), (Some(0), ""));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.ends_with('\n') && !text.contains('\u{1b}'), "{text}");
    text
}

fn with(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command: Command = command(arguments);
    command.envs(variables.iter().copied()).output().unwrap()
}

#[test]
fn without_a_code_all_are_listed_by_segment() {
    for lang in ["en", "ru"] {
        let list = page(run(&["explain", "--lang", lang]));
        let mut at = 0;
        for segment in Segment::ALL {
            for code in Code::ALL.iter().filter(|code| code.segment() == segment) {
                let line = format!("\n    {} ", code.word());
                let found = list.find(&line).unwrap_or_else(|| panic!("{lang}: {line}"));
                assert!(found > at, "{lang}: {line} out of order");
                at = found;
            }
        }
        let indented = list.lines().filter(|line| line.starts_with(' ')).count();
        assert_eq!(indented, Code::ALL.len(), "{lang}");
        assert!(list.contains("sami-proxy explain"), "{lang}");
    }
}

#[test]
fn every_code_has_a_page_in_both_languages() {
    for code in Code::ALL {
        let english = page(run(&["explain", code.word()]));
        let russian = page(run(&["explain", code.word(), "--lang", "ru"]));
        for (text, cyrillic) in [(&english, false), (&russian, true)] {
            assert!(text.starts_with(&format!("{} (", code.word())), "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= 105), "{text}");
            let found = text.chars().any(|c| ('а'..='я').contains(&c));
            assert_eq!(found, cyrillic, "{text}");
        }
    }
}

#[test]
fn a_page_says_where_how_bad_and_what_to_do() {
    let english = page(run(&["explain", "port-filtered"]));
    let mut lines = english.lines();
    assert_eq!(lines.next(), Some("port-filtered (problem)"));
    assert_eq!(
        lines.next(),
        Some(
            "port <port> of <host> stays silent, although the server itself answers on port <another port>"
        )
    );
    assert_eq!(lines.next(), Some("where: the edge of the server's hosting"));
    assert_eq!(lines.next(), Some(""));
    assert!(english.contains("\n    sudo tcpdump -ni any tcp port 8080\n"), "{english}");
    assert!(english.contains("SERVER stands for"), "{english}");
    let russian = page(run(&["explain", "port-filtered", "--lang", "ru"]));
    assert!(russian.starts_with("port-filtered (проблема)\n"), "{russian}");
    assert!(russian.contains("\nгде: вход в сеть хостинга"), "{russian}");
    assert!(russian.contains("\n    sudo tcpdump -ni any tcp port 8080\n"), "{russian}");
}

#[test]
fn pages_name_only_settings_that_exist() {
    let mut seen = 0;
    for code in Code::ALL {
        let text = page(run(&["explain", code.word()]));
        for rest in text.split("SAMI_PROXY_").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_');
            let name = format!("SAMI_PROXY_{}", &rest[..end.unwrap_or(rest.len())]);
            let known = TABLE.iter().any(|row| row.variable() == name);
            assert!(known || OTHER_COMMANDS.contains(&name.as_str()), "{}: {name}", code.word());
            seen += 1;
        }
        for line in text.lines().filter(|line| line.starts_with("    sami-proxy serve")) {
            for flag in line.split(" --").skip(1) {
                let key = flag.split(' ').next().unwrap();
                assert!(TABLE.iter().any(|row| row.key == key), "{}: --{key}", code.word());
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "only {seen}");
}

#[test]
fn capitals_do_not_matter() {
    assert_eq!(page(run(&["explain", "Port-FILTERED"])), page(run(&["explain", "port-filtered"])));
}

#[test]
fn an_unknown_code_is_one_line_that_names_near_ones() {
    for (typed, words) in [
        ("port-filterd", &["port-filterd", "did you mean", "port-filtered"][..]),
        ("REGION", &["did you mean", "target-region-blocked"]),
        ("timeout", &["timeout", "explain` lists them all"]),
        ("", &["explain` lists them all"]),
        ("a\u{1b}[31mb\nc", &["\"a[31mbc\""]),
    ] {
        let output = run(&["explain", typed]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(output.stdout.is_empty());
        assert!(text.starts_with("error: ") && text.lines().count() == 1, "{text}");
        for word in words {
            assert!(text.contains(word), "{typed}: {text}");
        }
    }
    let output = run(&["explain", "port-filterd", "--lang", "ru"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("может быть, вы имели в виду: port-filtered"), "{text}");
}

#[test]
fn the_language_is_that_of_the_flag_then_of_the_variables() {
    let russian = |output: Output| page(output).contains("где: ");
    let arguments = &["explain", "ok"][..];
    assert!(!russian(with(&[], arguments)));
    assert!(russian(with(&[("LANG", "ru_RU.UTF-8")], arguments)));
    assert!(!russian(with(&[("LANG", "ru_RU.UTF-8"), ("LC_ALL", "C")], arguments)));
    assert!(russian(with(&[("SAMI_PROXY_LANG", "ru"), ("LC_ALL", "C")], arguments)));
    assert!(!russian(with(&[("SAMI_PROXY_LANG", "ru")], &["explain", "ok", "--lang", "en"])));
}

#[test]
fn a_language_that_is_not_spoken_and_a_second_code_are_bad_usage() {
    for arguments in
        [&["explain", "--lang", "de"][..], &["explain", "ok", "ok"], &["explain", "--lang"]]
    {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    let output = run(&["explain", "--lang", "de"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("ru") && text.contains("en"), "{text}");
}

#[test]
fn a_reader_that_goes_away_is_no_crash() {
    let mut child = command(&["explain"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
