//! Whether names and connections work from where the proxy is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::proxy::egress;
use crate::proxy::server::Shared;
use crate::target::Target;

/// What is looked for: the first of the connectivity checks that operating systems do themselves.
const TARGET: &str = "www.google.com:443";
/// An answer holds for so long: the service must not be a way to make the proxy knock.
const FRESH: Duration = Duration::from_secs(5);
/// For the name, and for each connection.
const LIMIT: Duration = Duration::from_secs(4);

/// The last answer, and when it was found. Whoever comes while it is being found waits for it.
#[derive(Debug, Default)]
pub struct Health(Mutex<Option<(Instant, Arc<str>)>>);

impl Health {
    /// What is known, at most a few seconds old, as JSON.
    pub async fn report(&self, shared: &Shared) -> Arc<str> {
        let mut last = self.0.lock().await;
        if let Some((at, text)) = &*last
            && at.elapsed() < FRESH
        {
            return Arc::clone(text);
        }
        let text: Arc<str> = examine(shared).await.to_string().into();
        *last = Some((Instant::now(), Arc::clone(&text)));
        text
    }
}

async fn examine(shared: &Shared) -> Value {
    let Ok(target) = Target::from_authority(TARGET) else { return Value::Null };
    if let Some(upstream) = &shared.settings.upstream {
        let start = Instant::now();
        let parent = egress::reach_parent(shared, upstream, start + LIMIT).await;
        return json!({ "target": TARGET, "upstream": outcome(start, parent) });
    }
    let start = Instant::now();
    let found = egress::resolve(shared, &target, start + LIMIT).await;
    let addresses = match found {
        Ok(addresses) => addresses,
        Err(stop) => {
            let error = stop.failure().word();
            let dns = json!({ "ok": false, "ms": millis(start), "error": error });
            return json!({ "target": TARGET, "dns": dns });
        }
    };
    let count = |is: fn(&IpAddr) -> bool| addresses.iter().filter(|ip| is(ip)).count();
    let dns = json!({
        "ok": true, "ms": millis(start),
        "ipv4": count(IpAddr::is_ipv4), "ipv6": count(IpAddr::is_ipv6),
    });
    let family = async |is: fn(&IpAddr) -> bool| {
        let some: Vec<IpAddr> = addresses.iter().copied().filter(is).take(2).collect();
        if some.is_empty() {
            return json!({ "ok": null, "why": "the name has no such address" });
        }
        let start = Instant::now();
        outcome(start, egress::reach(shared, &target, &some, start + LIMIT).await)
    };
    let (v4, v6) = tokio::join!(family(IpAddr::is_ipv4), family(IpAddr::is_ipv6));
    json!({ "target": TARGET, "dns": dns, "ipv4": v4, "ipv6": v6 })
}

fn outcome(start: Instant, reached: Result<egress::Reached, Failure>) -> Value {
    match reached {
        Ok(reached) => json!({
            "ok": true, "ms": millis(start),
            "address": reached.dialed.to_string(), "egress": reached.egress.map(|ip| ip.to_string()),
        }),
        Err(failure) => json!({ "ok": false, "ms": millis(start), "error": failure.word() }),
    }
}

#[allow(clippy::cast_precision_loss, reason = "seconds at most")]
fn millis(start: Instant) -> f64 {
    (start.elapsed().as_micros() / 100) as f64 / 10.0
}
