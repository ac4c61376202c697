//! What the proxy itself can reach.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

use super::super::through::entry::Duplex;
use super::super::through::message::shown;
use super::super::{Context, Measured};
use super::ask::{Content, asked, end_of, entered, get, limited};
use crate::diag::fact::{Data, End, Far, Health, How, Status};

/// The proxy gives a name and then each connection four seconds.
const LIMIT: Duration = Duration::from_secs(9);

/// The answer has a few hundred bytes.
const LONGEST: usize = 16 * 1024;

/// Longer than any word of RFC 9209 §2.3.
const LONGEST_WORD: usize = 64;

/// One request.
pub(in super::super) async fn run(proxy: SocketAddr, context: &Context) -> Measured {
    let asking = async {
        let mut entry = entered(proxy, context).await?;
        ask(&mut *entry.stream, context).await.map_err(end_of)
    };
    let told = limited(LIMIT, context, asking).await;
    let health = told.unwrap_or_else(|end| Health { failure: Some(end), ..Health::default() });
    let status = if health.failure.is_none() { Status::Worked } else { Status::Failed };
    (status, Some(Data::Health(health)))
}

async fn ask(stream: &mut (dyn Duplex + '_), context: &Context) -> Result<Health, How> {
    let mut head = asked(stream, &get("/health", context)).await?;
    if head.status != 200 {
        let (failure, status) = (Some(End::Closed), Some(head.status));
        return Ok(Health { failure, status, ..Health::default() });
    }
    let text = Content::of(&mut head).whole(stream, LONGEST).await?;
    read(&text).ok_or(How::Malformed)
}

/// As the service says it.
#[derive(Deserialize)]
struct Said {
    target: Option<String>,
    dns: Option<SaidOf>,
    ipv4: Option<SaidOf>,
    ipv6: Option<SaidOf>,
    upstream: Option<SaidOf>,
}

#[derive(Deserialize)]
struct SaidOf {
    ok: Option<bool>,
    ms: Option<f64>,
    error: Option<String>,
    egress: Option<IpAddr>,
}

/// Reads the answer; what it has besides is for others.
fn read(text: &[u8]) -> Option<Health> {
    let said: Said = serde_json::from_slice(text).ok()?;
    let each = [said.dns, said.ipv4, said.ipv6, said.upstream];
    if each.iter().all(Option::is_none) {
        return None;
    }
    let [dns, ipv4, ipv6, upstream] = each.map(|of| of.map(far));
    let target = said.target.map(|it| shown(it.as_bytes(), LONGEST_WORD));
    Some(Health { target, dns, ipv4, ipv6, upstream, ..Health::default() })
}

fn far(said: SaidOf) -> Far {
    let word = |text: &String| {
        text.len() <= LONGEST_WORD && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    Far {
        ok: said.ok,
        ms: said.ms.and_then(whole),
        error: said.error.filter(word),
        egress: said.egress.map(|ip| ip.to_string()),
    }
}

/// Milliseconds without their fraction.
fn whole(ms: f64) -> Option<u64> {
    Duration::try_from_secs_f64(ms / 1000.0).ok().and_then(|it| u64::try_from(it.as_millis()).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::read;
    use crate::diag::fact::{Far, Health};

    fn far(ok: Option<bool>, ms: u64) -> Far {
        Far { ok, ms: Some(ms), ..Far::default() }
    }

    #[test]
    fn each_form_of_the_answer_is_read() {
        let whole = read(
            br#"{"target":"www.google.com:443","dns":{"ok":true,"ms":12.3,"ipv4":1,"ipv6":1},
            "ipv4":{"ok":true,"ms":1.9,"address":"192.0.2.1:443","egress":"198.51.100.7"},
            "ipv6":{"ok":null,"why":"the name has no such address"}}"#,
        );
        let egress = Some("198.51.100.7".to_owned());
        let expected = Health {
            target: Some("www.google.com:443".to_owned()),
            dns: Some(far(Some(true), 12)),
            ipv4: Some(Far { egress, ..far(Some(true), 1) }),
            ipv6: Some(Far::default()),
            ..Health::default()
        };
        assert_eq!(whole, Some(expected));
        let no_names = read(br#"{"dns":{"ok":false,"ms":4000.0,"error":"dns_timeout"}}"#);
        let error = Some("dns_timeout".to_owned());
        let dns = Some(Far { error, ..far(Some(false), 4000) });
        assert_eq!(no_names, Some(Health { dns, ..Health::default() }));
        let parent =
            read(br#"{"upstream":{"ok":true,"ms":5,"address":"192.0.2.1:1","egress":null}}"#);
        let upstream = Some(far(Some(true), 5));
        assert_eq!(parent, Some(Health { upstream, ..Health::default() }));
    }

    #[test]
    fn what_is_odd_is_not_believed() {
        let odd = read(br#"{"dns":{"ok":true,"ms":-1,"error":"<b>","egress":null}}"#).unwrap();
        assert_eq!(odd.dns, Some(Far { ok: Some(true), ..Far::default() }));
        let long = format!(r#"{{"dns":{{"error":"{}"}}}}"#, "x".repeat(65));
        assert_eq!(read(long.as_bytes()).unwrap().dns, Some(Far::default()));
        for text in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"dns":1}"#,
            r#"{"dns":{"ok":"yes"}}"#,
            r#"{"dns":{"ms":"1"}}"#,
            r#"{"dns":{"egress":"x"}}"#,
            r#"{"dns":null}"#,
            r#"{"dns":{"ok":true}"#,
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _either = read(&bytes);
        }
    }
}
