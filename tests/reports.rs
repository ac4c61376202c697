//! Saved evidence, diagnosed again: `tests/cases/CODE/evidence.json` in, `diagnosis.json` and
//! `human.en.txt`, `human.ru.txt` out. With `UPDATE_CASES` set they are written anew: read what has changed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::schema;
use sami_proxy::diag::code::Code;
use sami_proxy::diag::diagnosis::diagnose;
use sami_proxy::diag::evidence::{Asked, Evidence};
use sami_proxy::diag::infer::RULES;
use sami_proxy::diag::report::Report;
use sami_proxy::diag::saved;
use sami_proxy::render::human::{self, Detail};
use sami_proxy::render::json;
use sami_proxy::render::look::{Colours, Glyphs, Look};
use sami_proxy::render::words::{ARGUMENTS, Lang, Words};
use serde_json::Value;

/// What it is about would stand in commands that people copy.
const HOSTILE: &str = r#"{"schema":1,"evidence":{"subject":
    {"host":"a; rm -rf /","port":80,"family":"any"},"facts":[]}}"#;

const COMMAND: &str = "check-port";

fn english() -> Words {
    Words::new(Lang::En)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Code and evidence of each case.
fn cases() -> Vec<(Code, PathBuf, Evidence)> {
    let mut all: Vec<_> = fs::read_dir(root().join("cases"))
        .unwrap()
        .map(|entry| {
            let folder = entry.unwrap().path();
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            // Causes that are seen from several places have a case of each: CODE.PLACE.
            let word = name.split('.').next().unwrap();
            let code = Code::find(word).unwrap_or_else(|| panic!("{name} is no code"));
            let text = fs::read_to_string(folder.join("evidence.json")).unwrap();
            let evidence = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
            (code, folder, evidence)
        })
        .collect();
    all.sort_by_key(|(code, ..)| *code);
    all
}

fn same(file: &Path, text: &str) {
    if std::env::var_os("UPDATE_CASES").is_some() {
        fs::write(file, text).unwrap();
    }
    let saved = fs::read_to_string(file).unwrap_or_default();
    assert_eq!(saved, text, "{}", file.display());
}

#[test]
fn recorded_cases_come_to_what_they_came_to() {
    let words = Lang::ALL.map(Words::new);
    for (code, folder, evidence) in cases() {
        let report = Report::new(evidence);
        let verdict = report.code();
        let warned = report.diagnosis.warnings.iter().any(|it| it.code == code);
        assert!(verdict == Some(code) || warned, "{}: {verdict:?}", code.word());
        let mut document = json::document(&report, COMMAND, &english());
        let fields = document.as_object_mut().unwrap();
        // The one is beside it, the other changes with every release.
        fields.remove("evidence");
        fields.remove("version");
        same(&folder.join("diagnosis.json"), &format!("{document:#}\n"));
        for words in &words {
            let text = human::text(&report, Detail::Full, words, Look::PLAIN);
            same(&folder.join(format!("human.{}.txt", words.lang().word())), &text);
        }
    }
}

#[test]
fn every_rule_has_a_case_and_a_look_alike_that_is_not_taken_for_it() {
    let cases = cases();
    for (code, rule) in RULES {
        assert!(cases.iter().any(|(of, ..)| of == code), "no case for {}", code.word());
        let mut others = cases.iter().filter(|(of, ..)| of != code);
        assert!(others.any(|(.., evidence)| rule(evidence).is_none()), "{}", code.word());
    }
    // No case is two causes at once.
    for (code, _, evidence) in &cases {
        let diagnosis = diagnose(evidence);
        let surest = diagnosis.verdict.unwrap().confidence;
        let equal = diagnosis.alternatives.iter().find(|it| it.confidence == surest);
        assert!(equal.is_none(), "{}: {equal:?} is as sure", code.word());
    }
}

#[test]
fn three_lines_tell_what_is_wrong_how_we_know_and_what_to_do() {
    let labels = [
        (Lang::En, "✗ PROBLEM  ", "because  ", "fix  "),
        (Lang::Ru, "✗ ПРОБЛЕМА  ", "почему  ", "что делать  "),
    ];
    for (lang, problem, because, fix) in labels {
        let words = Words::new(lang);
        for (code, _, evidence) in cases() {
            let report = Report::new(evidence);
            let text = human::text(&report, Detail::Short, &words, Look::PLAIN);
            let lines: Vec<_> = text.lines().collect();
            assert!(!text.contains("{$"), "an argument is missing: {text}");
            for name in ARGUMENTS {
                let missing = words.text(&format!("argument-{name}"), &[]);
                assert!(!text.contains(&missing), "an argument is missing: {text}");
            }
            if report.code() == Some(Code::Ok) {
                let warned = report.diagnosis.warnings.iter().any(|it| it.code == code);
                assert!(code == Code::Ok || warned, "{text}");
                assert!(lines[0].starts_with(if warned { '!' } else { '✓' }), "{text}");
                continue;
            }
            assert!(lines[0].starts_with(problem) && lines[0].ends_with('.'), "{text}");
            assert!(lines[1].trim_start().starts_with(because), "{text}");
            // A warning may stand beside a cause.
            assert!(text.contains(&format!("({}", code.word())), "{text}");
            assert!(lines[2].trim_start().starts_with(fix), "{text}");
        }
    }
}

#[test]
fn a_report_is_in_one_language() {
    let words = Words::new(Lang::Ru);
    for (code, _, evidence) in cases() {
        let report = Report::new(evidence);
        let text = human::text(&report, Detail::Full, &words, Look::PLAIN);
        // What stands below is made of names and numbers.
        for line in text.lines().take_while(|line| !line.is_empty()) {
            assert!(
                line.chars().any(|c| ('а'..='я').contains(&c)) || line.contains("$ "),
                "{line}"
            );
        }
        // Codes and the words of the schema are never translated; texts are.
        let russian = json::document(&report, COMMAND, &words);
        let english = json::document(&report, COMMAND, &english());
        assert_ne!(russian["verdict"]["summary"], english["verdict"]["summary"]);
        assert_eq!(without_texts(russian), without_texts(english), "{}", code.word());
    }
}

/// A document without what is there for people.
fn without_texts(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|key, _| {
                !["summary", "text", "risk", "separate_by", "not_checked"].contains(&key.as_str())
            });
            fields.values_mut().for_each(|it| *it = without_texts(it.take()));
        }
        Value::Array(all) => all.iter_mut().for_each(|it| *it = without_texts(it.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

#[test]
fn labels_are_aligned_by_letters() {
    for lang in Lang::ALL {
        let words = Words::new(lang);
        for (.., evidence) in cases() {
            let text = human::text(&Report::new(evidence), Detail::Full, &words, Look::PLAIN);
            let begins: Vec<usize> = text
                .lines()
                .skip(1)
                // What stands below is no line with a label.
                .take_while(|line| !line.is_empty())
                .map(|line| {
                    let label = line.trim_start();
                    let indent = line.chars().count() - label.chars().count();
                    let gap = label.split_once("  ").map_or(0, |(it, _)| it.chars().count() + 2);
                    if label.starts_with("$ ") { indent } else { indent + gap }
                })
                .collect();
            assert!(begins.windows(2).all(|two| two[0] == two[1]), "{begins:?}\n{text}");
        }
    }
}

/// `text` without escapes that colour it.
fn without_escapes(text: &str) -> String {
    let mut pieces = text.split('\u{1b}');
    let first = pieces.next().unwrap().to_owned();
    pieces.fold(first, |all, piece| all + piece.split_once('m').unwrap().1)
}

#[test]
fn colours_change_nothing_but_the_colour() {
    let coloured = Look { colours: Colours::On, ..Look::PLAIN };
    for lang in Lang::ALL {
        let words = Words::new(lang);
        let reports: Vec<_> = cases().into_iter().map(|(.., it)| Report::new(it)).collect();
        for detail in [Detail::Short, Detail::Full] {
            for report in &reports {
                let plain = human::text(report, detail, &words, Look::PLAIN);
                let colours = human::text(report, detail, &words, coloured);
                assert!(colours.contains("\u{1b}[") && !plain.contains('\u{1b}'));
                assert_eq!(without_escapes(&colours), plain);
            }
            let plain = human::table(&reports, detail, &words, Look::PLAIN);
            let colours = human::table(&reports, detail, &words, coloured);
            assert_eq!(without_escapes(&colours), plain);
        }
    }
}

#[test]
fn without_unicode_english_is_ascii() {
    let look = Look { glyphs: Glyphs::Ascii, ..Look::PLAIN };
    for (.., evidence) in cases() {
        let text = human::text(&Report::new(evidence), Detail::Full, &english(), look);
        assert!(text.is_ascii(), "{text}");
    }
}

#[test]
fn a_saved_report_can_not_make_the_terminal_obey() {
    let file = root().join("cases/not-a-proxy/evidence.json");
    let text = fs::read_to_string(file).unwrap();
    let hostile = text.replace("nginx", "\\u001b[31m\\u009b2J\\n✓ OK  \\u202e");
    assert_ne!(text, hostile);
    let report = Report::new(serde_json::from_str(&hostile).unwrap());
    for lang in Lang::ALL {
        let words = Words::new(lang);
        let one = human::text(&report, Detail::Full, &words, Look::PLAIN);
        let several =
            human::table(std::slice::from_ref(&report), Detail::Full, &words, Look::PLAIN);
        for text in [one, several] {
            assert!(
                text.chars().all(|c| c == '\n' || !(c.is_control() || c == '\u{202e}')),
                "{text:?}"
            );
            assert!(!text.lines().any(|line| line.starts_with('✓')), "{text}");
        }
    }
}

#[test]
fn what_a_document_holds_can_be_diagnosed_again() {
    let reports: Vec<_> = cases().into_iter().map(|(.., it)| Report::new(it)).collect();
    for report in &reports {
        let saved = json::document(report, COMMAND, &english()).to_string();
        let again = saved::all(&serde_json::from_str(&saved).unwrap()).unwrap();
        assert_eq!(again, std::slice::from_ref(&report.evidence));
    }
    let saved = json::documents(&reports, COMMAND, &english());
    assert_eq!(saved::all(&saved).unwrap().len(), reports.len());
    for nonsense in ["{}", "[]", "1", "{\"schema\":2}", "{\"schema\":1,\"evidence\":{}}", HOSTILE] {
        assert!(saved::all(&serde_json::from_str(nonsense).unwrap()).is_err(), "{nonsense}");
    }
}

#[test]
fn documents_have_the_form_of_the_schema() {
    let schema = schema::of_reports();
    let reports: Vec<_> = cases().into_iter().map(|(.., it)| Report::new(it)).collect();
    for report in &reports {
        schema::check(&schema, &json::document(report, COMMAND, &english())).unwrap();
    }
    schema::check(&schema, &json::documents(&reports, COMMAND, &english())).unwrap();
    let subject = reports[0].evidence.subject.clone();
    let nothing = Report::new(Evidence::new(subject, Asked::default()));
    schema::check(&schema, &json::document(&nothing, COMMAND, &english())).unwrap();
    // And the schema does refuse.
    let good = json::document(&reports[0], COMMAND, &english());
    for (key, bad) in [
        ("schema", Value::from(2)),
        ("role", Value::from("guest")),
        ("verdict", Value::Null),
        ("checks", Value::from("none")),
        ("surprise", Value::from(1)),
    ] {
        let mut broken = good.clone();
        broken.as_object_mut().unwrap().insert(key.to_owned(), bad);
        assert!(schema::check(&schema, &broken).is_err(), "{key}");
    }
    for key in ["verdict", "path", "not_checked", "timings"] {
        let mut broken = good.clone();
        broken.as_object_mut().unwrap().remove(key);
        assert!(schema::check(&schema, &broken).is_err(), "{key}");
    }
}
