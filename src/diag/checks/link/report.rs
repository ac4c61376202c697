//! What the proxy says of the machine on which it runs: its own doctor's report.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::Context;
use super::super::through::entry::Duplex;
use super::ask::{Content, asked, end_of, entered, get, limited};
use crate::diag::evidence::Role;
use crate::diag::fact::{End, How};
use crate::diag::server::{By, Heard, Server, Silence};
use crate::diag::ssh::said;

/// The proxy looks for at most ten seconds.
const LIMIT: Duration = Duration::from_secs(11);

/// The longest report that is read, in bytes.
const LONGEST: usize = 4 << 20;

/// Asks for it, when it is sami-proxy that answers there.
pub(in super::super::super) async fn ask(context: &Context) -> Option<Server> {
    let (_, hello) = context.evidence.hello().filter(|(_, it)| it.nonce_returned == Some(true))?;
    let proxy = context.evidence.primary()?;
    let heard = if hello.trusted == Some(false) {
        Heard::Nothing(Silence::NotTrusted)
    } else {
        hear(proxy, context).await
    };
    Some(Server::new(By::Proxy, heard))
}

async fn hear(proxy: SocketAddr, context: &Context) -> Heard {
    let asking = async {
        let mut entry = entered(proxy, context).await?;
        match listen(&mut *entry.stream, context).await {
            Ok(heard) => Ok(heard),
            Err(How::Malformed) => Ok(Heard::Nothing(Silence::Unreadable)),
            Err(how) => Err(end_of(how)),
        }
    };
    limited(LIMIT, context, asking)
        .await
        .unwrap_or_else(|end| Heard::Nothing(silence(end, context)))
}

fn silence(end: End, context: &Context) -> Silence {
    match end {
        End::Unfinished if context.stop.is_cancelled() => Silence::Interrupted,
        End::Unfinished => Silence::OutOfTime,
        End::Silent => Silence::TimedOut,
        End::Answered | End::Closed | End::Reset | End::NoConnection => Silence::Failed,
    }
}

async fn listen(stream: &mut (dyn Duplex + '_), context: &Context) -> Result<Heard, How> {
    let mut head = asked(stream, &get("/report", context)).await?;
    Ok(match head.status {
        200 => read(&Content::of(&mut head).whole(stream, LONGEST).await?),
        status => Heard::Nothing(of_status(status)),
    })
}

const fn of_status(status: u16) -> Silence {
    match status {
        403 | 407 => Silence::NotTrusted,
        // It has no such path.
        400 | 404 | 405 => Silence::NoReport,
        _ => Silence::Failed,
    }
}

/// A document as `--json` prints it; only its evidence is read.
fn read(text: &[u8]) -> Heard {
    let text = String::from_utf8_lossy(text);
    match said::report(&text) {
        // A client's report is not what was asked for.
        Ok(evidence) if evidence.asked.role != Role::Client => Heard::Evidence(Box::new(evidence)),
        Ok(_) => Heard::Nothing(Silence::Unreadable),
        Err(why) => Heard::Nothing(why),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use serde_json::{Value, json};

    use super::{of_status, read};
    use crate::diag::server::{Heard, Silence};

    fn document(schema: u32, role: &str, host: &str) -> Value {
        json!({ "schema": schema, "verdict": {}, "evidence": {
            "subject": { "host": host, "port": 8080, "family": "any" },
            "asked": { "command": "doctor", "role": role },
            "facts": [],
        } })
    }

    fn silence(value: &Value) -> Option<Silence> {
        match read(value.to_string().as_bytes()) {
            Heard::Nothing(why) => Some(why),
            Heard::Evidence(_) => None,
            Heard::Digest(_) => panic!("a token"),
        }
    }

    #[test]
    fn a_report_of_a_server_is_read_and_nothing_else() {
        assert_eq!(silence(&document(1, "container", "172.17.0.2")), None);
        assert_eq!(silence(&document(1, "host", "192.0.2.1")), None);
        assert_eq!(silence(&document(1, "client", "192.0.2.1")), Some(Silence::Unreadable));
        assert_eq!(silence(&document(1, "host", "$(reboot)")), Some(Silence::Unreadable));
        assert_eq!(silence(&document(2, "host", "192.0.2.1")), Some(Silence::OtherVersion));
        let mut newer = document(1, "host", "192.0.2.1");
        newer["evidence"]["facts"] = json!([{ "check": "not-yet-made" }]);
        assert_eq!(silence(&newer), Some(Silence::OtherVersion));
        assert_eq!(silence(&json!({ "schema": 1 })), Some(Silence::Unreadable));
        for other in [json!({}), json!([]), json!("ok"), json!({ "schema": "1" })] {
            assert_eq!(silence(&other), Some(Silence::Unreadable), "{other}");
        }
    }

    #[test]
    fn a_status_says_why_there_is_none() {
        let cases = [
            (403, Silence::NotTrusted),
            (407, Silence::NotTrusted),
            (404, Silence::NoReport),
            (503, Silence::Failed),
        ];
        for (status, expected) in cases {
            assert_eq!(of_status(status), expected, "{status}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _either = read(&bytes);
        }
    }
}
