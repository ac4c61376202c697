//! Gives `sami-proxy.exe` its version and its manifest; for every other target there is nothing to do.

#![allow(clippy::print_stdout, reason = "the way to speak to cargo")]

use std::process::{Command, Stdio};

use winresource::WindowsResource;

const MANIFEST: &str = "src/bin/sami-proxy.manifest";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={MANIFEST}");
    let is = |key: &str, value: &str| std::env::var(key).is_ok_and(|it| it == value);
    if !is("CARGO_CFG_TARGET_OS", "windows") {
        return;
    }
    println!("cargo::rerun-if-env-changed=WINDRES");
    // Where Microsoft's tools link, their own compiler of resources is found by the library.
    if let Some(windres) = (!is("CARGO_CFG_TARGET_ENV", "msvc")).then(windres)
        && !runs(&windres)
    {
        println!(
            "cargo::warning=sami-proxy.exe is built without version and manifest: there is no {windres} \
             (Debian, Ubuntu: apt install gcc-mingw-w64-x86-64; or set WINDRES)"
        );
        return;
    }
    let mut resource = WindowsResource::new();
    resource
        .set_manifest_file(MANIFEST)
        .set("OriginalFilename", "sami-proxy.exe")
        .set("FileDescription", "sami-proxy")
        .set("LegalCopyright", env!("CARGO_PKG_LICENSE"));
    if let Err(error) = resource.compile_for("sami-proxy") {
        println!("cargo::error=version and manifest of sami-proxy.exe: {error}");
    }
}

/// The compiler of resources that `winresource` will take.
fn windres() -> String {
    let set = |name: &str| std::env::var(name).ok();
    set("WINDRES").unwrap_or_else(|| {
        let foreign = std::env::var_os("HOST") != std::env::var_os("TARGET");
        let prefix = if foreign { "x86_64-w64-mingw32-" } else { "" };
        format!("{}windres", set("CROSS_COMPILE").as_deref().unwrap_or(prefix))
    })
}

fn runs(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
