//! What a release is made with: the list of what is in the program (`scripts/sbom.sh`), and the checklist
//! (`scripts/release.sh`), which must refuse what is not ready.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn bill_of_materials(target: &str) -> Value {
    bill(&[target])
}

fn bill(arguments: &[&str]) -> Value {
    let output = Command::new(here().join("scripts/sbom.sh")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn names(bill: &Value) -> HashSet<&str> {
    let components = bill["components"].as_array().unwrap();
    components.iter().map(|it| it["name"].as_str().unwrap()).collect()
}

fn is_checksum(text: &str) -> bool {
    text.len() == 64 && text.chars().all(|it| matches!(it, '0'..='9' | 'a'..='f'))
}

/// The required fields of `CycloneDX` 1.6, and what the guidelines of the NTIA want beyond them: supplier's name for it,
/// version, a unique identifier, dependencies.
#[test]
fn the_bill_of_materials_is_complete() {
    let bill = bill_of_materials("x86_64-unknown-linux-gnu");
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.6".into()));
    assert_eq!(bill["version"], 1);
    let program = &bill["metadata"]["component"];
    assert_eq!((&program["type"], &program["name"]), (&"application".into(), &"sami-proxy".into()));
    assert_eq!(program["version"], VERSION);

    let lock = fs::read_to_string(here().join("Cargo.lock")).unwrap();
    let mut known = HashSet::from([program["bom-ref"].as_str().unwrap()]);
    for component in bill["components"].as_array().unwrap() {
        let text = |key: &str| component[key].as_str().unwrap();
        let (name, version) = (text("name"), text("version"));
        assert_eq!(text("type"), "library", "{name}");
        assert!(known.insert(text("bom-ref")), "{name} is there twice");
        assert_ne!(component["licenses"][0]["expression"].as_str().unwrap(), "", "{name}");
        assert!(!component["licenses"][0]["expression"].as_str().unwrap().contains('/'), "{name}");
        // Ours and Rust's are not from a registry.
        if ["std", "sami-proxy-core"].contains(&name) {
            continue;
        }
        assert_eq!(text("purl"), format!("pkg:cargo/{name}@{version}"));
        let hash = &component["hashes"][0];
        assert!(is_checksum(hash["content"].as_str().unwrap()), "{name}");
        let locked = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        let (_, locked) = lock.split_once(&locked).unwrap();
        let (locked, _) = locked.split_once("\n[[package]]").unwrap_or((locked, ""));
        assert!(
            locked.contains(hash["content"].as_str().unwrap()),
            "{name}: not the checksum of Cargo.lock"
        );
    }
    let mut told = HashSet::new();
    let mut needed = HashSet::new();
    for dependency in bill["dependencies"].as_array().unwrap() {
        assert!(told.insert(dependency["ref"].as_str().unwrap()));
        needed.extend(
            dependency["dependsOn"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()),
        );
    }
    told.insert("rust-std");
    assert_eq!(told, known, "each has its dependencies");
    known.remove(program["bom-ref"].as_str().unwrap());
    assert_eq!(needed, known, "each is there because another one needs it");
}

#[test]
fn the_bill_of_materials_is_that_of_its_target() {
    let linux = bill_of_materials("x86_64-unknown-linux-musl");
    let windows = bill_of_materials("x86_64-pc-windows-gnu");
    for both in ["rustls", "tokio", "ring", "std"] {
        assert!(names(&linux).contains(both) && names(&windows).contains(both), "{both}");
    }
    assert!(names(&linux).contains("mimalloc") && !names(&windows).contains("mimalloc"));
    assert!(
        names(&windows).contains("windows-service") && !names(&linux).contains("windows-service")
    );
    for none in ["proptest", "tempfile", "winresource", "syn", "cc"] {
        assert!(
            !names(&linux).contains(none) && !names(&windows).contains(none),
            "{none} is not in the program"
        );
    }
    assert_eq!(linux, bill_of_materials("x86_64-unknown-linux-musl"));
    let lean = bill(&["x86_64-unknown-linux-musl", "--no-default-features"]);
    for doctors in ["bollard", "netdev", "fluent-bundle", "zip"] {
        assert!(names(&linux).contains(doctors) && !names(&lean).contains(doctors), "{doctors}");
    }
    assert!(names(&lean).is_subset(&names(&linux)));
}

/// A repository that may be released: what `scripts/release.sh` looks at.
struct Repository(TempDir);

impl Repository {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = Self(folder);
        for file in [
            "Cargo.toml",
            "Cargo.lock",
            "Dockerfile",
            "deploy/debian/changelog",
            "scripts/release.sh",
        ] {
            let to = repository.0.path().join(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(here().join(file), to).unwrap();
        }
        let changes = format!(
            "# Changelog\n\n## Unreleased\n\n## {VERSION} - 2026-01-02\n\n- It is there.\n"
        );
        fs::write(repository.0.path().join("CHANGELOG.md"), changes).unwrap();
        repository.git(&["init", "--quiet"]);
        repository.commit();
        repository
    }

    fn git(&self, arguments: &[&str]) {
        let identity = [
            "-c",
            "user.name=test",
            "-c",
            "user.email=test@example.org",
            "-c",
            "commit.gpgsign=false",
        ];
        let mut git = Command::new("git");
        assert!(
            git.args(identity)
                .args(arguments)
                .current_dir(self.0.path())
                .status()
                .unwrap()
                .success()
        );
    }

    fn commit(&self) {
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "-m", "x"]);
    }

    fn change(&self, file: &str, from: &str, to: &str) {
        let path = self.0.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file}: {from}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// The exit code, and what it says.
    fn release(&self, arguments: &[&str]) -> (i32, String) {
        let mut release = Command::new(self.0.path().join("scripts/release.sh"));
        let Output { status, stderr, .. } = release.args(arguments).output().unwrap();
        (status.code().unwrap(), String::from_utf8(stderr).unwrap())
    }
}

#[test]
fn places_that_name_another_version_are_refused() {
    let changed = format!("## {VERSION} - 2026");
    let cases = [
        (
            "Cargo.lock",
            format!("name = \"sami-proxy\"\nversion = \"{VERSION}\""),
            "name = \"sami-proxy\"\nversion = \"9.9.9\"",
            "9.9.9",
        ),
        ("CHANGELOG.md", changed.clone(), "## 9.9.9 - 2026", "9.9.9"),
        ("CHANGELOG.md", format!("{changed}-01-02"), "## some day", "no version"),
        ("Dockerfile", format!("ARG VERSION={VERSION}"), "ARG VERSION=9.9.9", "9.9.9"),
        (
            "deploy/debian/changelog",
            format!("sami-proxy ({VERSION}-"),
            "sami-proxy (9.9.9-",
            "9.9.9",
        ),
    ];
    for (file, from, to, says) in cases {
        let repository = Repository::new();
        assert_eq!(repository.release(&["--check"]), (0, String::new()));
        repository.change(file, &from, to);
        let expected = format!("refused: Cargo.toml says {VERSION}, {file} {says}\n");
        assert_eq!(repository.release(&["--check"]), (1, expected));
    }
}

#[test]
fn another_tag_and_changes_that_have_no_version_are_refused() {
    let repository = Repository::new();
    assert_eq!(repository.release(&["--check", &format!("v{VERSION}")]).0, 0);
    let (code, said) = repository.release(&["--check", "v9.9.9"]);
    assert_eq!((code, said), (1, format!("refused: Cargo.toml says {VERSION}, the tag 9.9.9\n")));
    repository.change("CHANGELOG.md", "## Unreleased\n", "## Unreleased\n\n- More.\n");
    assert_eq!(
        repository.release(&["--check"]),
        (1, "refused: CHANGELOG.md has changes under 'Unreleased'\n".into())
    );
    repository.change("CHANGELOG.md", "## Unreleased\n\n- More.\n", "");
    assert_eq!(
        repository.release(&["--check"]),
        (1, "refused: CHANGELOG.md has no heading 'Unreleased'\n".into())
    );
}

#[test]
fn a_dry_run_prints_every_command_and_builds_nothing() {
    let repository = Repository::new();
    repository.git(&["tag", &format!("v{VERSION}")]);
    let (code, said) = repository.release(&["--dry-run"]);
    assert_eq!(code, 0, "{said}");
    for command in [
        "static.sh",
        "test-static.sh",
        "deb.sh",
        "test-deb.sh",
        "test-docker.sh",
        ".ci/run",
        "git tag -s",
    ] {
        assert!(said.contains(command), "{command}: {said}");
    }
    assert!(!repository.0.path().join("target").exists());
}

#[test]
fn a_tree_that_is_not_the_tagged_one_is_refused() {
    let repository = Repository::new();
    let refuses = |what: &str| {
        let (code, said) = repository.release(&["--dry-run"]);
        assert!(code == 1 && said.contains(what), "{code} {said}");
    };
    fs::write(repository.0.path().join("new"), "").unwrap();
    refuses("refused: something is not committed");
    repository.git(&["tag", &format!("v{VERSION}")]);
    repository.commit();
    refuses(&format!("refused: v{VERSION} is another commit already"));
    repository.git(&["tag", "--delete", &format!("v{VERSION}")]);
    repository.git(&["tag", "v9.9.9"]);
    refuses("refused: this commit is v9.9.9 already");
}
