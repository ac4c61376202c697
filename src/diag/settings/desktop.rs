//! The desktops' settings: GNOME's keys, and what macOS' `scutil --proxy` prints.

use super::address;
use crate::diag::fact::{ProxySetting, SetProxy, SettingOf};

/// GNOME's schema `org.gnome.system.proxy`: what `gsettings get` prints for a key, `GVariant` text.
pub type Gnome<'g> = &'g dyn Fn(&str, &str) -> Option<String>;

/// GNOME's setting; `get` has a schema's end (`""`, `http`, `https`, `socks`) and a key. `None` when
/// there is no mode: the schema is not there.
pub fn of_gnome(get: Gnome<'_>) -> Option<ProxySetting> {
    let mode = unquoted(&get("", "mode")?);
    let mut setting = ProxySetting::of(SettingOf::Gnome);
    setting.enabled = Some(mode == "manual");
    for name in ["http", "https", "socks"] {
        let host = get(name, "host").map(|it| unquoted(&it)).unwrap_or_default();
        let port = get(name, "port").and_then(|it| it.trim().parse().ok()).filter(|it| *it != 0);
        setting.proxies.extend(with_port(name, &host, port));
    }
    if mode == "auto" {
        let url = get("", "autoconfig-url").map(|it| unquoted(&it)).unwrap_or_default();
        setting.detect = Some(url.is_empty());
        setting.script = address::script(&url);
    }
    setting.bypass = get("", "ignore-hosts").map_or_else(Vec::new, |it| listed(&it));
    Some(setting)
}

fn with_port(name: &str, host: &str, port: Option<u16>) -> Option<SetProxy> {
    let found = address::proxy(name, host)?;
    Some(SetProxy { port: port.or(found.port), ..found })
}

/// A text of `GVariant`, without its quotes.
fn unquoted(text: &str) -> String {
    text.trim().trim_matches(['\'', '"']).to_owned()
}

/// `['localhost', '127.0.0.0/8']`, or `@as []`.
fn listed(text: &str) -> Vec<String> {
    let inside = text.split_once('[').and_then(|(_, rest)| rest.rsplit_once(']'));
    let items = inside.map_or("", |(inside, _)| inside).split(',');
    items.map(unquoted).filter(|it| !it.is_empty()).take(500).collect()
}

/// macOS' setting, from the dictionary that `scutil --proxy` prints. `None` when it is none.
pub fn of_scutil(text: &str) -> Option<ProxySetting> {
    text.lines().next().filter(|line| line.trim() == "<dictionary> {")?;
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.trim().split_once(" : "));
        lines.find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    let on = |key: &str| value(key) == Some("1");
    let mut setting = ProxySetting::of(SettingOf::Macos);
    for (name, key) in [("http", "HTTP"), ("https", "HTTPS"), ("socks", "SOCKS")] {
        if on(&format!("{key}Enable")) {
            let host = value(&format!("{key}Proxy")).unwrap_or_default();
            let port = value(&format!("{key}Port")).and_then(|it| it.parse().ok());
            setting.proxies.extend(with_port(name, host, port));
        }
    }
    setting.enabled = Some(!setting.proxies.is_empty());
    setting.detect = value("ProxyAutoDiscoveryEnable").map(|it| it == "1");
    if on("ProxyAutoConfigEnable") {
        setting.script = value("ProxyAutoConfigURLString").and_then(address::script);
    }
    let inside = text.split_once("ExceptionsList : <array> {").map(|(_, rest)| rest);
    let inside = inside.and_then(|it| it.split_once('}')).map_or("", |(inside, _)| inside);
    let entries = inside.lines().filter_map(|line| line.split_once(" : "));
    setting.bypass = entries.map(|(_, entry)| entry.trim().to_owned()).take(500).collect();
    Some(setting)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{of_gnome, of_scutil};
    use crate::diag::fact::ProxySetting;

    const SCUTIL: &str = "<dictionary> {
  ExceptionsList : <array> {
    0 : *.local
    1 : 169.254/16
  }
  FTPPassive : 1
  HTTPEnable : 1
  HTTPPort : 7890
  HTTPProxy : 127.0.0.1
  HTTPSEnable : 0
  HTTPSPort : 7891
  HTTPSProxy : other
  ProxyAutoConfigEnable : 1
  ProxyAutoConfigURLString : http://u:p@h/x.pac
  ProxyAutoDiscoveryEnable : 0
}
";

    fn authorities(setting: &ProxySetting) -> Vec<String> {
        setting.used().iter().map(|it| format!("{}={}", it.name, it.authority())).collect()
    }

    #[test]
    fn scutil_is_read() {
        let setting = of_scutil(SCUTIL).unwrap();
        assert_eq!(authorities(&setting), ["http=127.0.0.1:7890"]);
        assert_eq!(setting.bypass, ["*.local", "169.254/16"]);
        assert_eq!(setting.script.as_deref(), Some("http://h/x.pac"));
        assert_eq!((setting.enabled, setting.detect), (Some(true), Some(false)));
        // Nothing printed is not "no proxy".
        assert_eq!(of_scutil(""), None);
        assert_eq!(of_scutil("<dictionary> {\n}\n").unwrap().proxies, []);
    }

    #[test]
    fn gnome_is_read() {
        let gnome = |mode: &'static str| {
            move |schema: &str, key: &str| {
                let value = match (schema, key) {
                    ("", "mode") => mode,
                    ("", "autoconfig-url") => "'http://h/x.pac'",
                    ("", "ignore-hosts") => "['localhost', '127.0.0.0/8', '::1']",
                    ("http", "host") => "'127.0.0.1'",
                    ("http", "port") => "8888",
                    ("socks", "host") => "''",
                    ("socks", "port") => "0",
                    _ => return None,
                };
                Some(format!("{value}\n"))
            }
        };
        let manual = of_gnome(&gnome("'manual'")).unwrap();
        assert_eq!(authorities(&manual), ["http=127.0.0.1:8888"]);
        assert_eq!(manual.bypass, ["localhost", "127.0.0.0/8", "::1"]);
        assert_eq!(manual.script, None);
        let none = of_gnome(&gnome("'none'")).unwrap();
        assert_eq!((none.used().len(), none.script), (0, None));
        let auto = of_gnome(&gnome("'auto'")).unwrap();
        assert_eq!((auto.used().len(), auto.script.as_deref()), (0, Some("http://h/x.pac")));
        assert_eq!(of_gnome(&|_, _| None), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fail(text in "(?s).{0,200}") {
            let _any = of_scutil(&format!("<dictionary> {{\n{text}"));
            let _any = of_gnome(&|_, _| Some(text.clone()));
        }
    }
}
