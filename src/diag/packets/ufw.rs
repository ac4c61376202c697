//! `ufw status verbose` and `/etc/default/ufw` → what ufw means to do.

use super::shortened;
use crate::diag::fact::Ufw;

/// Rows of its table that are kept.
const MOST_ROWS: usize = 64;

/// Reads what it says with `LC_ALL=C`.
pub fn parse(status: &str, defaults: &str) -> Option<Ufw> {
    let mut found = Ufw::default();
    let mut table = false;
    for line in status.lines().map(str::trim) {
        if let Some(state) = line.strip_prefix("Status:") {
            found.active = Some(state.trim() == "active");
        } else if let Some(words) = line.strip_prefix("Default:") {
            for word in words.split(',').map(str::trim) {
                let (what, of) = word.split_once(' ').unwrap_or((word, ""));
                match of {
                    "(incoming)" => found.incoming = Some(shortened(what)),
                    "(routed)" => found.routed = Some(shortened(what)),
                    _ => {}
                }
            }
        } else if line.starts_with("--") {
            table = true;
        } else if table && !line.is_empty() && found.rules.len() < MOST_ROWS {
            let words: Vec<&str> = line.split_whitespace().collect();
            found.rules.push(shortened(&words.join(" ")));
        }
    }
    found.active?;
    // "disabled (routed)" is what it says when forwarding is off; the file has the policy.
    let policy = |name: &str| {
        let line = defaults.lines().find_map(|line| line.trim().strip_prefix(name))?;
        let word = line.strip_prefix('=')?.trim().trim_matches('"').to_ascii_lowercase();
        Some(if word == "drop" { "deny".to_owned() } else { word })
    };
    if found.incoming.is_none() {
        found.incoming = policy("DEFAULT_INPUT_POLICY");
    }
    if found.routed.as_deref().is_none_or(|it| it == "disabled") {
        found.routed = policy("DEFAULT_FORWARD_POLICY");
    }
    Some(found)
}
