//! The variables of curl and everybody after it.

use super::{address, bypass};
use crate::diag::fact::{ProxySetting, SettingOf};

/// Variables that name a proxy. The lower case counts where both are set, as with curl; programs
/// differ in that.
const NAMES: [&str; 3] = ["http_proxy", "https_proxy", "all_proxy"];

/// The setting `of` an environment that `get` reads. Where the operating system does not tell upper
/// from lower case, both are the same variable and it is named once.
pub fn of_environment(of: SettingOf, get: impl Fn(&str) -> Option<String>) -> ProxySetting {
    let mut setting = ProxySetting::of(of);
    let either = |name: &str| {
        let upper = name.to_ascii_uppercase();
        // The upper case is how people write it in Windows.
        let found = get(name).map(|value| (name.to_owned(), value));
        match (found, get(&upper)) {
            (Some((_, value)), Some(same)) if value == same => Some((upper, same)),
            (Some(found), _) => Some(found),
            (None, other) => other.map(|value| (upper, value)),
        }
    };
    for name in NAMES {
        let found = either(name);
        setting.proxies.extend(found.and_then(|(name, value)| address::proxy(&name, &value)));
    }
    setting.bypass = either("no_proxy").map_or_else(Vec::new, |(_, it)| bypass::entries(&it));
    setting
}

#[cfg(test)]
mod tests {
    use super::of_environment;
    use crate::diag::fact::SettingOf;

    #[test]
    fn both_cases_are_read_and_the_password_is_not_kept() {
        let set = [
            ("HTTP_PROXY", "http://u:geheim@proxy.corp:3128"),
            ("https_proxy", "http://127.0.0.1:7890"),
            ("HTTPS_PROXY", "http://other:1"),
            ("ALL_PROXY", ""),
            ("NO_PROXY", "localhost, .corp"),
        ];
        let get = |name: &str| {
            set.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned())
        };
        let setting = of_environment(SettingOf::Environment, get);
        let found: Vec<_> =
            setting.proxies.iter().map(|it| (it.name.as_str(), it.authority())).collect();
        let expected = [
            ("HTTP_PROXY", "proxy.corp:3128".to_owned()),
            ("https_proxy", "127.0.0.1:7890".to_owned()),
        ];
        assert_eq!(found, expected);
        assert_eq!(setting.bypass, ["localhost", ".corp"]);
        assert!(!serde_json::to_string(&setting).unwrap().contains("geheim"));
    }

    #[test]
    fn windows_has_one_variable_of_both_names() {
        let get = |name: &str| {
            name.eq_ignore_ascii_case("https_proxy").then(|| "127.0.0.1:7890".to_owned())
        };
        let setting = of_environment(SettingOf::Environment, get);
        assert_eq!(setting.proxies.len(), 1);
        assert_eq!(setting.proxies[0].name, "HTTPS_PROXY");
    }
}
