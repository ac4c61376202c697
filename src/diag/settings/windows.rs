//! What the registry of Windows holds: `WinINET`'s values, and the binary form that it and `WinHTTP`
//! share.

use super::{address, bypass};
use crate::diag::fact::{ProxySetting, SetProxy, SettingOf};

/// The values of `…\Internet Settings`, as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WinInet {
    /// `ProxyEnable`.
    pub enable: Option<u32>,
    /// `ProxyServer`.
    pub server: Option<String>,
    /// `ProxyOverride`.
    pub bypass: Option<String>,
    /// `AutoConfigURL`.
    pub script: Option<String>,
    /// `Connections\DefaultConnectionSettings`.
    pub connection: Option<Vec<u8>>,
    /// Whether they are those of `HKEY_LOCAL_MACHINE`, because a policy wants it so.
    pub machine_wide: bool,
}

/// `WinINET`'s setting.
pub fn of_wininet(values: &WinInet) -> ProxySetting {
    let blob = values.connection.as_deref().and_then(of_blob);
    ProxySetting {
        machine_wide: Some(values.machine_wide),
        enabled: Some(values.enable.is_some_and(|it| it != 0)),
        proxies: values.server.as_deref().map_or_else(Vec::new, servers),
        script: values.script.as_deref().and_then(address::script),
        detect: blob.map(|it| it.flags & Blob::DETECT != 0),
        bypass: values.bypass.as_deref().map_or_else(Vec::new, bypass::entries),
        ..ProxySetting::of(SettingOf::Windows)
    }
}

/// `WinHTTP`'s setting, from `…\Internet Settings\Connections\WinHttpSettings`. `None` when the bytes
/// are not of that form.
pub fn of_winhttp(bytes: &[u8]) -> Option<ProxySetting> {
    let blob = of_blob(bytes)?;
    Some(ProxySetting {
        enabled: Some(blob.flags & Blob::PROXY != 0),
        proxies: servers(&blob.server),
        bypass: bypass::entries(&blob.bypass),
        ..ProxySetting::of(SettingOf::WindowsServices)
    })
}

/// `h:p` for everything, or `http=h:p;https=h:p;socks=h:p`.
fn servers(text: &str) -> Vec<SetProxy> {
    let parts = text.split([';', ' ']).map(str::trim).filter(|it| !it.is_empty());
    let named = |part: &str| match part.split_once('=') {
        Some((name, server)) => {
            let name: String = name.trim().to_ascii_lowercase().chars().take(16).collect();
            address::proxy(&name, server)
        }
        None => address::proxy("all", part),
    };
    parts.filter_map(named).collect()
}

/// The binary form of a connection's settings: version, counter and flags, four bytes each, little
/// endian; then texts with their length before them. It is not documented; this is what Windows 7 to
/// 11 write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blob {
    /// [`Blob::PROXY`], [`Blob::DETECT`] and others.
    pub flags: u32,
    /// As `ProxyServer`.
    pub server: String,
    /// As `ProxyOverride`.
    pub bypass: String,
}

impl Blob {
    /// A proxy is used (`PROXY_TYPE_PROXY`).
    pub const PROXY: u32 = 2;
    /// A script is looked for in the network (`PROXY_TYPE_AUTO_DETECT`).
    pub const DETECT: u32 = 8;
}

/// Reads the binary form; texts that are not there are empty.
pub fn of_blob(bytes: &[u8]) -> Option<Blob> {
    let (head, mut rest) = bytes.split_at_checked(12)?;
    let (_, flags) = head.split_at_checked(8)?;
    let flags = u32::from_le_bytes(flags.try_into().ok()?);
    let server = text(&mut rest)?;
    let bypass = text(&mut rest)?;
    Some(Blob { flags, server, bypass })
}

/// The next text; empty at the end of the bytes, `None` when it is longer than they are.
fn text(rest: &mut &[u8]) -> Option<String> {
    let Some((length, after)) = rest.split_first_chunk() else {
        *rest = &[];
        return Some(String::new());
    };
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (text, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Blob, WinInet, of_blob, of_winhttp, of_wininet};

    /// As `netsh winhttp set proxy 10.0.0.1:3128 "*.corp;<local>"` leaves it.
    const WINHTTP: &[u8] =
        b"\x28\0\0\0\0\0\0\0\x03\0\0\0\x0d\0\0\x0010.0.0.1:3128\x0e\0\0\0*.corp;<local>";
    /// After `netsh winhttp reset proxy`.
    const WINHTTP_DIRECT: &[u8] = b"\x28\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0";
    /// Of a fresh Windows: a script is looked for.
    const FRESH: &[u8] = b"\x46\0\0\0\x02\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
        \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    fn encoded(blob: &Blob) -> Vec<u8> {
        let mut bytes = vec![0x46, 0, 0, 0, 1, 0, 0, 0];
        bytes.extend(blob.flags.to_le_bytes());
        for text in [&blob.server, &blob.bypass] {
            bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    fn proxies(server: &str) -> Vec<(String, String)> {
        let values = WinInet { enable: Some(1), server: Some(server.into()), ..WinInet::default() };
        of_wininet(&values).proxies.iter().map(|it| (it.name.clone(), it.authority())).collect()
    }

    #[test]
    fn every_form_of_proxy_server_is_read() {
        let named = |all: &[(&str, &str)]| -> Vec<(String, String)> {
            all.iter().map(|(name, it)| ((*name).to_owned(), (*it).to_owned())).collect()
        };
        assert_eq!(proxies("127.0.0.1:7890"), named(&[("all", "127.0.0.1:7890")]));
        assert_eq!(proxies("proxy.corp:8080"), named(&[("all", "proxy.corp:8080")]));
        assert_eq!(proxies("proxy"), named(&[("all", "proxy")]));
        assert_eq!(
            proxies("http=h:80;https=[::1]:443;ftp=;socks=s:1080"),
            named(&[("http", "h:80"), ("https", "[::1]:443"), ("socks", "s:1080")]),
        );
        assert_eq!(proxies("http://u:p@h:80"), named(&[("all", "h:80")]));
        assert_eq!(proxies(";;"), []);
    }

    #[test]
    fn what_is_switched_off_is_read_and_not_used() {
        let mut values = WinInet { server: Some("h:1".into()), ..WinInet::default() };
        for (enable, used) in [(None, 0), (Some(0), 0), (Some(1), 1)] {
            values.enable = enable;
            let setting = of_wininet(&values);
            assert_eq!((setting.proxies.len(), setting.used().len()), (1, used), "{enable:?}");
        }
        assert_eq!(of_wininet(&values).detect, None);
        values.connection = Some(FRESH.to_vec());
        assert_eq!(of_wininet(&values).detect, Some(true));
    }

    #[test]
    fn recorded_bytes_are_read() {
        let set = of_winhttp(WINHTTP).unwrap();
        assert_eq!((set.enabled, set.used()[0].authority()), (Some(true), "10.0.0.1:3128".into()));
        assert_eq!(set.bypass, ["*.corp", "<local>"]);
        let direct = of_winhttp(WINHTTP_DIRECT).unwrap();
        assert_eq!((direct.enabled, direct.proxies), (Some(false), Vec::new()));
        assert_eq!(of_blob(FRESH).unwrap().flags & Blob::DETECT, Blob::DETECT);
        assert_eq!(of_winhttp(b"\x28\0\0\0"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _any = (of_blob(&bytes), of_winhttp(&bytes));
        }

        #[test]
        fn what_is_encoded_is_decoded(flags: u32, server in "[a-z0-9.:;=]{0,40}", bypass in "[a-z*;<>.]{0,40}") {
            let blob = Blob { flags, server, bypass };
            let bytes = encoded(&blob);
            prop_assert_eq!(of_blob(&bytes), Some(blob.clone()));
            // Cut short it is not of the form, or says less.
            for end in 0..bytes.len() {
                if let Some(less) = of_blob(&bytes[..end]) {
                    prop_assert!(blob.server.starts_with(&less.server) && less.flags == flags);
                }
            }
        }

        #[test]
        fn no_value_makes_it_fail(server in ".{0,80}", bypass in ".{0,80}", script in ".{0,80}") {
            let (server, bypass, script) = (Some(server), Some(bypass), Some(script));
            let _any = of_wininet(&WinInet { server, bypass, script, ..WinInet::default() });
        }
    }
}
