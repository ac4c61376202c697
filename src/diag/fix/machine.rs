//! What mends the machine that asks; in the form of [`super::Row`]. An argument of the cause that a
//! command needs and that is not there leaves the command out.

use super::{Place, Row};
use crate::diag::code::Code;

/// In the order in which to try.
pub(super) const FIXES: &[Row] = &[
    (Code::NoRoute, Place::Windows, Some("sami-proxy probe [{mapped}]:{port}"), "fix-use-mapped"),
    (Code::NoRoute, Place::Sami, None, "fix-use-ipv-six"),
    (Code::ProxyNamePoisoned, Place::Windows, Some("notepad {hosts}"), "fix-remove-the-line"),
    (Code::ProxyNamePoisoned, Place::Windows, Some("sudo nano {etc}"), "fix-remove-the-line"),
    (
        Code::SystemProxyDiffers,
        Place::Windows,
        Some(
            "reg add \"HKCU\\Software\\Microsoft\\Windows\\CurrentVersion\\Internet Settings\" /v ProxyEnable /t REG_DWORD /d 0 /f",
        ),
        "fix-switch-off-windows-proxy",
    ),
    (
        Code::SystemProxyDiffers,
        Place::Windows,
        Some(
            "reg add \"HKLM\\Software\\Microsoft\\Windows\\CurrentVersion\\Internet Settings\" /v ProxyEnable /t REG_DWORD /d 0 /f",
        ),
        "fix-switch-off-proxy-for-all",
    ),
    (
        Code::SystemProxyDiffers,
        Place::Windows,
        Some(
            "reg delete \"HKCU\\Software\\Microsoft\\Windows\\CurrentVersion\\Internet Settings\" /v AutoConfigURL /f",
        ),
        "fix-remove-the-script",
    ),
    (
        Code::SystemProxyDiffers,
        Place::Windows,
        Some("[Environment]::SetEnvironmentVariable('{variable}', $null, 'User')"),
        "fix-remove-the-variable",
    ),
    (Code::SystemProxyDiffers, Place::Windows, Some("unset {unset}"), "fix-unset-the-variable"),
    (
        Code::SystemProxyDiffers,
        Place::Windows,
        Some("netsh winhttp reset proxy"),
        "fix-reset-services",
    ),
    (
        Code::SystemProxyDiffers,
        Place::Windows,
        Some("gsettings set org.gnome.system.proxy mode none"),
        "fix-switch-off-gnome",
    ),
    (
        Code::SystemProxyDiffers,
        Place::Windows,
        Some("networksetup -setwebproxystate Wi-Fi off"),
        "fix-switch-off-macos",
    ),
    (Code::SystemProxyDiffers, Place::Sami, None, "fix-own-settings"),
    (
        Code::AppBypassesProxy,
        Place::Windows,
        Some("start ms-settings:network-proxy"),
        "fix-edit-exceptions",
    ),
    (Code::AppBypassesProxy, Place::Windows, None, "fix-edit-no-proxy"),
    (Code::AppBypassesProxy, Place::Windows, None, "fix-start-it-anew"),
    (Code::AppBypassesProxy, Place::Sami, None, "fix-own-settings"),
    (
        Code::VpnCapturesRoute,
        Place::Windows,
        Some("route add {address} mask 255.255.255.255 {gateway}"),
        "fix-past-the-vpn",
    ),
    (Code::VpnCapturesRoute, Place::Windows, None, "fix-without-vpn"),
];

/// Sentences that are for one kind of setting only, by what the cause says of it.
pub(super) const ONLY: &[(&str, &[&str])] = &[
    ("fix-use-ipv-six", &["ipv6-only"]),
    ("fix-switch-off-windows-proxy", &["windows"]),
    ("fix-switch-off-proxy-for-all", &["windows-for-all"]),
    ("fix-remove-the-script", &["windows-script"]),
    ("fix-reset-services", &["windows-services"]),
    ("fix-switch-off-gnome", &["gnome"]),
    ("fix-switch-off-macos", &["macos"]),
    ("fix-edit-exceptions", &["windows", "windows-for-all"]),
    ("fix-edit-no-proxy", &["variables", "gnome", "macos", "windows-services"]),
    ("fix-start-it-anew", &["late"]),
    ("fix-open-the-port-there", &["provider"]),
];
