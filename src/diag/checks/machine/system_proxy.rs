//! Which proxies this machine has been told of, and whether one that should be on this machine is
//! there.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::super::{Context, Measured};
use super::proxy_settings;
use crate::diag::fact::{Data, Outcome, ProxySetting, ProxySettings, SetProxy, Status};

/// For a connection to this machine itself.
const LIMIT: Duration = Duration::from_millis(500);
/// The most proxies that are knocked at.
const MOST: usize = 8;

/// Reads all settings, then knocks at each proxy on this machine, all at the same time.
pub(in super::super) async fn run(context: &Context) -> Measured {
    let Ok(Some(mut found)) = spawn_blocking(proxy_settings).await else {
        return (Status::Failed, None);
    };
    let addresses = local(&found);
    let mut knocking = tokio::task::JoinSet::new();
    for address in addresses {
        let context = context.clone();
        knocking
            .spawn(async move { (address, context.attempt(address, None, LIMIT).await.outcome) });
    }
    for (address, outcome) in knocking.join_all().await {
        note(&mut found, address, outcome);
    }
    (Status::Worked, Some(Data::ProxySettings(found)))
}

/// Where a proxy is, if it is on this machine.
fn address(proxy: &SetProxy) -> Option<SocketAddr> {
    let ip = proxy.ip().filter(|ip| ip.to_canonical().is_loopback())?;
    Some((ip, proxy.port.unwrap_or(80)).into())
}

/// The proxies on this machine, each once.
fn local(found: &ProxySettings) -> Vec<SocketAddr> {
    let used = found.settings.iter().flat_map(ProxySetting::used);
    let mut all: Vec<SocketAddr> = used.filter_map(address).collect();
    all.sort_unstable();
    all.dedup();
    all.truncate(MOST);
    all
}

fn note(found: &mut ProxySettings, of: SocketAddr, outcome: Outcome) {
    let proxies = found.settings.iter_mut().filter(|it| it.enabled != Some(false));
    for proxy in proxies.flat_map(|it| it.proxies.iter_mut()) {
        if address(proxy) == Some(of) {
            proxy.knock = Some(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{address, local, note};
    use crate::diag::fact::{Outcome, ProxySetting, ProxySettings, SettingOf};
    use crate::diag::settings::proxy;

    #[test]
    fn only_what_is_used_and_on_this_machine_is_knocked_at() {
        let set = |text: &str| ProxySetting {
            proxies: proxy("all", text).into_iter().collect(),
            ..ProxySetting::of(SettingOf::Environment)
        };
        let off = ProxySetting { enabled: Some(false), ..set("127.0.0.1:1") };
        let settings = vec![set("127.0.0.1:7890"), set("localhost:7890"), set("10.0.0.1:1"), off];
        let mut found = ProxySettings { settings, unread: Vec::new() };
        let here = "127.0.0.1:7890".parse().unwrap();
        assert_eq!(local(&found), [here]);
        note(&mut found, here, Outcome::Refused);
        let knocks: Vec<_> = found.settings.iter().map(|it| it.proxies[0].knock).collect();
        assert_eq!(knocks, [Some(Outcome::Refused), Some(Outcome::Refused), None, None]);
        assert_eq!(address(&proxy("all", "[::1]").unwrap()), Some("[::1]:80".parse().unwrap()));
        assert_eq!(address(&proxy("all", "example.org:80").unwrap()), None);
    }
}
