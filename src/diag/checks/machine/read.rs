//! The reading of settings; what they mean is in [`crate::diag::settings`].

use crate::diag::fact::{ProxySettings, SettingOf};
use crate::diag::settings::of_environment;

/// All settings of this machine.
pub(super) fn all() -> ProxySettings {
    let mut found = ProxySettings::default();
    let variable = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
    found.settings.push(of_environment(SettingOf::Environment, variable));
    system::add(&mut found);
    found
}

/// Where the hosts file is.
pub(super) fn hosts_path() -> std::path::PathBuf {
    system::hosts_path()
}

#[cfg(windows)]
mod system {
    use std::path::PathBuf;

    use windows_registry::{CURRENT_USER, Key, LOCAL_MACHINE};

    use crate::diag::fact::{ProxySetting, ProxySettings, SettingOf};
    use crate::diag::settings::{WinInet, of_environment, of_winhttp, of_wininet};

    const SETTINGS: &str = r"Software\Microsoft\Windows\CurrentVersion\Internet Settings";
    const POLICY: &str = r"SOFTWARE\Policies\Microsoft\Windows\CurrentVersion\Internet Settings";
    const TCPIP: &str = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters";

    pub(super) fn add(found: &mut ProxySettings) {
        let machine_wide = key(LOCAL_MACHINE, POLICY)
            .and_then(|it| it.get_u32("ProxySettingsPerUser").ok())
            == Some(0);
        let of = if machine_wide { LOCAL_MACHINE } else { CURRENT_USER };
        match key(of, SETTINGS) {
            Some(settings) => found.settings.push(of_wininet(&wininet(&settings, machine_wide))),
            None => found.unread.push(SettingOf::Windows),
        }
        found.settings.push(services());
        if let Some(variables) = key(CURRENT_USER, "Environment") {
            let get = |name: &str| variables.get_string(name).ok().filter(|it| !it.is_empty());
            found.settings.push(of_environment(SettingOf::UserEnvironment, get));
        }
    }

    fn key(root: &Key, path: &str) -> Option<Key> {
        root.open(path).ok()
    }

    fn wininet(key: &Key, machine_wide: bool) -> WinInet {
        let text = |name: &str| key.get_string(name).ok();
        let connections = key.open("Connections").ok();
        WinInet {
            enable: key.get_u32("ProxyEnable").ok(),
            server: text("ProxyServer"),
            bypass: text("ProxyOverride"),
            script: text("AutoConfigURL"),
            connection: connections.and_then(|it| bytes(&it, "DefaultConnectionSettings")),
            machine_wide,
        }
    }

    /// Who has never set it has no value there, and no proxy.
    fn services() -> ProxySetting {
        let connections = key(LOCAL_MACHINE, SETTINGS).and_then(|it| it.open("Connections").ok());
        let bytes = connections.and_then(|it| bytes(&it, "WinHttpSettings"));
        bytes.as_deref().and_then(of_winhttp).unwrap_or(ProxySetting {
            enabled: Some(false),
            ..ProxySetting::of(SettingOf::WindowsServices)
        })
    }

    fn bytes(key: &Key, name: &str) -> Option<Vec<u8>> {
        key.get_value(name).ok().map(|value| value.to_vec())
    }

    /// `DataBasePath`, with its `%SystemRoot%`.
    pub(super) fn hosts_path() -> PathBuf {
        let root = std::env::var("SystemRoot").unwrap_or_else(|_| r"C:\Windows".to_owned());
        let set = key(LOCAL_MACHINE, TCPIP).and_then(|it| it.get_string("DataBasePath").ok());
        let set = set.filter(|it| !it.is_empty());
        let folder = set.unwrap_or_else(|| r"%SystemRoot%\System32\drivers\etc".to_owned());
        let lower = folder.to_ascii_lowercase();
        let folder = match lower.strip_prefix("%systemroot%") {
            Some(rest) => {
                let at = folder.len() - rest.len();
                format!("{root}{}", folder.get(at..).unwrap_or_default())
            }
            None => folder,
        };
        PathBuf::from(folder).join("hosts")
    }
}

#[cfg(target_os = "macos")]
mod system {
    use std::path::PathBuf;
    use std::process::Command;

    use crate::diag::fact::{ProxySettings, SettingOf};
    use crate::diag::settings::of_scutil;

    pub(super) fn add(found: &mut ProxySettings) {
        // Its output is for machines and the same in every language.
        let output = Command::new("/usr/sbin/scutil").arg("--proxy").output().ok();
        let setting = output.and_then(|it| of_scutil(&String::from_utf8_lossy(&it.stdout)));
        match setting {
            Some(setting) => found.settings.push(setting),
            None => found.unread.push(SettingOf::Macos),
        }
    }

    pub(super) fn hosts_path() -> PathBuf {
        "/etc/hosts".into()
    }
}

#[cfg(not(any(windows, target_os = "macos")))]
mod system {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use crate::diag::fact::{ProxySettings, SettingOf};
    use crate::diag::settings::of_gnome;

    /// Distributions agree on it.
    const GSETTINGS: &str = "/usr/bin/gsettings";

    pub(super) fn add(found: &mut ProxySettings) {
        if !Path::new(GSETTINGS).exists() {
            return;
        }
        let get = |end: &str, key: &str| {
            let dot = if end.is_empty() { "" } else { "." };
            let schema = format!("org.gnome.system.proxy{dot}{end}");
            let output = Command::new(GSETTINGS).args(["get", &schema, key]).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        match of_gnome(&get) {
            Some(setting) => found.settings.push(setting),
            None => found.unread.push(SettingOf::Gnome),
        }
    }

    pub(super) fn hosts_path() -> PathBuf {
        "/etc/hosts".into()
    }
}
