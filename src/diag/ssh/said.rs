//! What `ssh` and the server behind it said. Pure.

use serde_json::{Deserializer, Value};

use crate::diag::evidence::Evidence;
use crate::diag::saved::{self, Unread};
use crate::diag::server::{Heard, Silence};

/// What `ssh` ends with when it was not let in, or the connection broke (ssh(1)).
const OF_SSH: i32 = 255;
/// What `sh` or a login shell ends with when there is no such program.
const NO_SUCH_PROGRAM: i32 = 127;
/// How `server.sh` says why it has no report.
const MARK: &str = "sami-proxy-ssh: ";

/// Messages of OpenSSH, the same on every system; the first that is there counts.
const COMPLAINTS: &[(&str, Silence)] = &[
    ("HOST IDENTIFICATION HAS CHANGED", Silence::KeyChanged),
    ("Host key verification failed", Silence::KeyUnknown),
    ("Permission denied", Silence::Denied),
    ("Too many authentication failures", Silence::Denied),
    ("Could not resolve hostname", Silence::NoName),
    ("Connection refused", Silence::Refused),
    ("timed out", Silence::TimedOut),
    ("No route to host", Silence::TimedOut),
    ("Network is unreachable", Silence::TimedOut),
];

/// What was heard, by what was printed and how it ended.
pub(super) fn heard(out: &str, complaint: &str, status: Option<i32>) -> Heard {
    let mut silence = None;
    let mut at = 0;
    for line in out.split_inclusive('\n') {
        let rest = out.get(at..).unwrap_or_default();
        at += line.len();
        let marked = line.strip_prefix(MARK).map(|word| Value::from(word.trim()));
        if let Some(why) = marked.and_then(|word| serde_json::from_value(word).ok()) {
            return Heard::Nothing(why);
        }
        // Before the report stands what the server greets everybody with.
        if !line.starts_with('{') {
            continue;
        }
        match report(rest) {
            Ok(evidence) => return Heard::Evidence(Box::new(evidence)),
            Err(why) => silence = silence.or(Some(why)),
        }
    }
    Heard::Nothing(silence.unwrap_or_else(|| nothing(complaint, status)))
}

/// The evidence in the document at the beginning of `text`.
///
/// # Errors
///
/// Why there is none.
pub(in crate::diag) fn report(text: &str) -> Result<Evidence, Silence> {
    let document = Deserializer::from_str(text).into_iter::<Value>().next();
    let Some(Ok(document)) = document else { return Err(Silence::Unreadable) };
    saved::one(&document).map_err(|why| match why {
        Unread::NoReport => Silence::Unreadable,
        Unread::OtherVersion => Silence::OtherVersion,
    })
}

fn nothing(complaint: &str, status: Option<i32>) -> Silence {
    match status {
        Some(OF_SSH) => {
            let known = COMPLAINTS.iter().find(|(words, _)| complaint.contains(words));
            known.map_or(Silence::Failed, |(_, why)| *why)
        }
        Some(NO_SUCH_PROGRAM) => Silence::NoProgram,
        // The program there did not understand what it was to do.
        Some(2) => Silence::OtherVersion,
        Some(_) => Silence::NoReport,
        None => Silence::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::heard;
    use crate::diag::server::{Heard, Silence};

    const REPORT: &str = r#"{"schema":1,"evidence":{"subject":
        {"host":"10.0.0.1","port":8080,"family":"any"},"facts":[]}}"#;

    fn why(out: &str, complaint: &str, status: i32) -> Silence {
        match heard(out, complaint, Some(status)) {
            Heard::Nothing(why) => why,
            other @ (Heard::Evidence(_) | Heard::Digest(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_report_is_found_behind_a_greeting() {
        let greeted = format!("Welcome!\n{{ not a report }}\n{REPORT}\nbye\n");
        for (out, status) in [(REPORT, 0), (&greeted, 1), (REPORT, 255)] {
            let Heard::Evidence(it) = heard(out, "", Some(status)) else { panic!("{out}") };
            assert_eq!(it.subject.host, "10.0.0.1");
        }
    }

    #[test]
    fn each_failure_is_told_from_the_others() {
        let changed = "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n\
            Host key verification failed.";
        for (complaint, silence) in [
            (changed, Silence::KeyChanged),
            ("Host key verification failed.\r\n", Silence::KeyUnknown),
            ("a@b: Permission denied (publickey,password).", Silence::Denied),
            ("ssh: Could not resolve hostname x: Name or service not known", Silence::NoName),
            ("ssh: connect to host b port 22: Connection refused", Silence::Refused),
            ("ssh: connect to host b port 22: Connection timed out", Silence::TimedOut),
            ("kex_exchange_identification: read: Connection reset by peer", Silence::Failed),
        ] {
            assert_eq!(why("", complaint, 255), silence, "{complaint}");
        }
        assert_eq!(why("hi\nsami-proxy-ssh: no-program\n", "", 0), Silence::NoProgram);
        assert_eq!(why("sami-proxy-ssh: needs-password\n", "", 0), Silence::NeedsPassword);
        assert_eq!(why("sami-proxy-ssh: nonsense\n", "", 0), Silence::NoReport);
        assert_eq!(why("", "bash: sh: command not found", 127), Silence::NoProgram);
        assert_eq!(why("", "error: unexpected argument '--witness'", 2), Silence::OtherVersion);
        assert_eq!(why("{\"schema\":2}\n", "", 0), Silence::OtherVersion);
        assert_eq!(why("{\"schema\":1,\"evidence\":1}\n", "", 0), Silence::OtherVersion);
        assert_eq!(why("{\"schema\":1}\n", "", 0), Silence::Unreadable);
        assert_eq!(why("{ cut", "", 0), Silence::Unreadable);
        let hostile = REPORT.replace("10.0.0.1", "a; rm -rf /");
        assert_eq!(why(&hostile, "", 0), Silence::Unreadable);
    }
}
