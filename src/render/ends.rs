//! What is known, or not, of the other end, in sentences.

use super::not_checked::NotChecked;
use super::sentences::{about, span};
use super::words::{Arg, Words};
use crate::diag::code::Segment;
use crate::diag::evidence::{Command, Evidence};
use crate::diag::report::Report;
use crate::diag::server::{By, Heard, Server};

use Arg::Text;

/// A token that is older does not tell how the server is now.
const OLD_S: u64 = 3600;
/// What looks at the server from inside README's image, and changes nothing there.
const ON_SERVER: &str = "sudo docker run --rm --privileged -u 0 --network host --pid host \
-v /var/run/docker.sock:/var/run/docker.sock:ro sami-llm-proxy doctor --role host --token --witness 30";

/// What to type on the server, so that it tells what it sees.
fn command(evidence: &Evidence) -> String {
    match evidence.subject.port {
        8080 => ON_SERVER.to_owned(),
        port => format!("{ON_SERVER} --port {port}"),
    }
}

/// That nobody looked at the server, although what is wrong may be there.
pub(super) fn unseen(report: &Report, words: &Words) -> NotChecked {
    let evidence = &report.evidence;
    let at_server = report.code().is_none_or(|code| code.segment() >= Segment::Edge);
    let unlock = if evidence.asked.command == Command::Doctor && at_server {
        let (command, proxy) = (command(evidence), evidence.subject.authority());
        words.text("joint-command", &[("subject", Text(&command)), ("proxy", Text(&proxy))])
    } else {
        about("not-checked-server-unlock", &evidence.subject, words)
    };
    NotChecked {
        what: about("not-checked-server", &evidence.subject, words),
        why: about("not-checked-server-why", &evidence.subject, words),
        unlock,
    }
}

/// What is missing of a server that was asked.
pub(super) fn unheard(server: &Server, report: &Report, words: &Words) -> Option<NotChecked> {
    let evidence = &report.evidence;
    let host = server.host.as_deref().unwrap_or(&evidence.subject.host);
    let command = command(evidence);
    let all = |id: &str| {
        let given = [("host", Text(host)), ("target", Text(host)), ("subject", Text(&command))];
        words.text(id, &given)
    };
    match &server.heard {
        Heard::Nothing(why) => {
            let word = serde_json::to_value(why).unwrap_or_default();
            let word = word.as_str().unwrap_or_default();
            Some(NotChecked {
                what: about("not-checked-server", &evidence.subject, words),
                why: all(&format!("silence-{word}")),
                unlock: all(&format!("unheard-{word}")),
            })
        }
        Heard::Digest(_) => {
            let age = server.age_s.filter(|age| *age > OLD_S)?;
            let age = span(age, words);
            Some(NotChecked {
                what: words.text("joint-old-token", &[]),
                why: words.text("joint-old-token-why", &[("span", Text(&age))]),
                unlock: words.text("joint-old-token-unlock", &[("subject", Text(&command))]),
            })
        }
        Heard::Evidence(_) => None,
    }
}

/// What stands for the proof where a server has told its findings without its facts.
pub(super) fn told(server: &Server, words: &Words) -> Option<String> {
    (server.by == By::Token && server.evidence().is_none()).then(|| {
        let age = span(server.age_s.unwrap_or_default(), words);
        words.text("fact-token", &[("span", Text(&age))])
    })
}
