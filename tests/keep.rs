//! `doctor --bundle`, `--compare` and `--watch` as a process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{process, schema};
use sami_proxy::diag::report::Report;
use sami_proxy::render::json;
use sami_proxy::render::words::{Lang, Words};
use serde_json::Value;

/// In the order of the seeds: a password, a token, a user, a machine, a hardware address.
const SECRETS: [&str; 6] = [
    "Geheim7Wort",
    "sk-proj-Abc123Def456",
    "ivanpetrov",
    "vps-of-ivan",
    "52:54:00:ab:cd:ef",
    "81.85.76.",
];
const SEED: &str = "Proxy-Authorization: Basic Geheim7Wort; sk-proj-Abc123Def456 /home/ivanpetrov/x \
    host=vps-of-ivan ether 52:54:00:ab:cd:ef";

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect()
}

/// A case as `--json` would have printed it.
fn saved(case: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(case);
    let text = fs::read_to_string(file.join("evidence.json")).unwrap();
    let report = Report::new(serde_json::from_str(&text).unwrap());
    json::document(&report, "doctor", &Words::new(Lang::En))
}

fn doctor(arguments: &[&str]) -> Output {
    let mut command = process::command(&["doctor", "--lang", "en"]);
    command.args(arguments).env("USER", "ivanpetrov").env("HOSTNAME", "vps-of-ivan");
    command.output().unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn unpacked(path: &Path) -> Vec<(String, String)> {
    let mut zip = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
    let mut files = Vec::new();
    for number in 0..zip.len() {
        let mut file = zip.by_index(number).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let name = file.name().unwrap().into_owned();
        files.push((name, text));
    }
    files
}

#[test]
fn a_bundle_has_no_secret_and_comes_to_the_same_verdict() {
    let folder = tempfile::tempdir().unwrap();
    for case in cases().into_iter().step_by(4) {
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let mut document = saved(&name);
        for fact in document["evidence"]["facts"].as_array_mut().unwrap() {
            for text in ["description", "details", "detail", "error", "body", "text", "name"] {
                if let Some(old) =
                    fact.pointer_mut(&format!("/data/{text}")).filter(|it| it.is_string())
                {
                    *old = format!("{} {SEED}", old.as_str().unwrap()).into();
                }
            }
            if let Some(Value::Array(log)) = fact.pointer_mut("/data/containers/0/log") {
                log.push(SEED.into());
            }
        }
        let (old, zip) =
            (folder.path().join("old.json"), folder.path().join(format!("{name}.zip")));
        fs::write(&old, document.to_string()).unwrap();
        let (old, target) = (old.to_str().unwrap(), zip.to_str().unwrap());
        let output = doctor(&["--from", old, "--bundle", target, "--pseudonyms"]);
        assert!(
            error(&output).contains("Look into it") && !output.stdout.is_empty(),
            "{}",
            error(&output)
        );
        assert_eq!(fs::metadata(&zip).unwrap().permissions().mode() & 0o777, 0o600);
        let files = unpacked(&zip);
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["README.txt", "evidence.json", "report.txt", "redaction.txt"]);
        for (file, text) in &files {
            for secret in SECRETS {
                assert!(!text.contains(secret), "{name}: {secret} is in {file}");
            }
            assert!(
                !text.contains('\u{1b}') && !text.contains("another one than before"),
                "{name}: {text}"
            );
        }
        let again: Value = serde_json::from_str(&files[1].1).unwrap();
        schema::check(&schema::of_reports(), &again).unwrap();
        assert_eq!(again["verdict"]["code"], document["verdict"]["code"], "{name}");
        let clean = folder.path().join("clean.json");
        fs::write(&clean, &files[1].1).unwrap();
        let replayed = doctor(&["--json", "--from", clean.to_str().unwrap()]);
        let replayed: Value = serde_json::from_slice(&replayed.stdout).unwrap();
        assert_eq!(replayed["verdict"], again["verdict"], "{name}");
    }
}

#[test]
fn a_bundle_is_never_written_over_anything_nor_lost_silently() {
    let folder = tempfile::tempdir().unwrap();
    let (old, there) = (folder.path().join("old.json"), folder.path().join("there.zip"));
    fs::write(&old, saved("ok").to_string()).unwrap();
    fs::write(&there, "mine").unwrap();
    // Decided before the port is even looked at.
    let output = doctor(&["--bundle", there.to_str().unwrap(), "--timeout", "0.1", "127.0.0.1:1"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert_eq!(error(&output).lines().count(), 1);
    assert_eq!(fs::read_to_string(&there).unwrap(), "mine");
    let nowhere = doctor(&["--bundle", "/no/such/folder/a.zip", "127.0.0.1:1"]);
    assert_eq!((nowhere.status.code(), error(&nowhere).lines().count()), (Some(2), 1));
    // Where nothing can be made: the report is there, the exit code is not that of success.
    let failed = doctor(&["--from", old.to_str().unwrap(), "--bundle", "/proc/a.zip"]);
    assert_eq!((failed.status.code(), error(&failed).lines().count()), (Some(2), 1));
    assert!(String::from_utf8(failed.stdout).unwrap().contains("OK"));
}

#[test]
fn changes_stand_below_the_report_and_in_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.json"), folder.path().join("new.json"));
    let mut document = saved("ok");
    document["evidence"]["at"] = 1_700_000_000.into();
    // As Windows PowerShell 5.1 saves it.
    let utf16: Vec<u8> =
        format!("\u{feff}{document}\r\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(&old, utf16).unwrap();
    fs::write(&new, saved("port-refused").to_string()).unwrap();
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    let text = String::from_utf8(doctor(&["--from", new, "--compare", old]).stdout).unwrap();
    assert!(text.contains("what has changed since 2023-11-14T22:13:20Z"), "{text}");
    assert!(text.contains("verdict: ok -> port-refused"), "{text}");
    let json = doctor(&["--json", "--from", new, "--compare", old]).stdout;
    let json: Value = serde_json::from_slice(&json).unwrap();
    schema::check(&schema::of_reports(), &json).unwrap();
    let changes = json["changes"].as_array().unwrap();
    let verdict = changes.iter().find(|it| it["what"] == "verdict").unwrap();
    assert_eq!((&verdict["before"], &verdict["after"]), (&"ok".into(), &"port-refused".into()));
    let same = String::from_utf8(doctor(&["--from", new, "--compare", new]).stdout).unwrap();
    assert!(same.contains("nothing that both reports have seen"), "{same}");
    for bad in ["/no/such/file", "/dev/null"] {
        let output = doctor(&["--from", new, "--compare", bad]);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        assert_eq!(error(&output).lines().count(), 1);
    }
}

#[test]
fn a_watch_has_no_sense_with_what_is_saved() {
    for flags in [
        &["--watch", "--from", "x"][..],
        &["--watch=60", "--bundle", "x.zip", "127.0.0.1:1"],
        &["--watch", "--compare", "x", "127.0.0.1:1"],
        &["--watch=4", "127.0.0.1:1"],
        &["--watch=often", "127.0.0.1:1"],
        &["--pseudonyms", "127.0.0.1:1"],
    ] {
        let output = doctor(flags);
        assert_eq!(
            (output.status.code(), error(&output).lines().count()),
            (Some(2), 1),
            "{flags:?}"
        );
    }
}
