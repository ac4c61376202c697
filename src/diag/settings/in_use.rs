//! The proxy that applications take from the settings of a system.

use crate::diag::fact::{ProxySettings, SetProxy, SettingOf};

/// Whose settings applications follow; the environment is read where its passwords are.
const FOLLOWED: [SettingOf; 3] = [SettingOf::Windows, SettingOf::Macos, SettingOf::Gnome];
/// For what a proxy stands there, the best first: LLM APIs are asked by `https`.
const FOR: [&str; 4] = ["https", "all", "http", "socks"];

/// The URL of that proxy, without user and password; `None` when there is none or only a script
/// knows it.
pub fn in_use(all: &ProxySettings) -> Option<String> {
    let followed = |of| all.settings.iter().find(|it| it.of == of);
    let best = |proxies: &[SetProxy]| {
        FOR.iter().find_map(|name| proxies.iter().find(|it| it.name == *name).and_then(url))
    };
    FOLLOWED.into_iter().filter_map(followed).find_map(|it| best(it.used()))
}

/// `None` when its port is not said.
fn url(proxy: &SetProxy) -> Option<String> {
    proxy.port?;
    let spoken = if proxy.name == "socks" { "socks5" } else { "http" };
    let scheme = proxy.scheme.as_deref().unwrap_or(spoken);
    Some(format!("{scheme}://{}", proxy.authority()))
}

#[cfg(test)]
mod tests {
    use super::in_use;
    use crate::diag::fact::ProxySettings;
    use crate::diag::settings::{WinInet, of_wininet};

    fn of(enable: u32, server: &str) -> Option<String> {
        let values =
            WinInet { enable: Some(enable), server: Some(server.to_owned()), ..WinInet::default() };
        in_use(&ProxySettings { settings: vec![of_wininet(&values)], ..ProxySettings::default() })
    }

    #[test]
    fn the_one_for_https_counts() {
        for (enable, server, url) in [
            (1, "h:8080", Some("http://h:8080")),
            (1, "http=a:1;https=b:2;socks=c:3", Some("http://b:2")),
            (1, "socks=c:3", Some("socks5://c:3")),
            (1, "http=[::1]:1", Some("http://[::1]:1")),
            (1, "h", None),
            (1, "ftp=f:21", None),
            (1, "", None),
            (0, "h:8080", None),
        ] {
            assert_eq!(of(enable, server).as_deref(), url, "{server}");
        }
        assert_eq!(in_use(&ProxySettings::default()), None);
    }
}
