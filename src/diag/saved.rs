//! A report that was saved or sent: its evidence is read again, the rest is made anew from it.

use serde_json::Value;

use super::evidence::Evidence;
use super::report::SCHEMA;
use crate::target::Target;

/// Why a document is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It is no report.
    NoReport,
    /// Another version of this program made it, in a form that this one does not know.
    OtherVersion,
}

/// The evidence in the document of one report.
///
/// # Errors
///
/// Why there is none.
pub fn one(document: &Value) -> Result<Evidence, Unread> {
    let schema = document.get("schema").and_then(Value::as_u64).ok_or(Unread::NoReport)?;
    if schema != u64::from(SCHEMA) {
        return Err(Unread::OtherVersion);
    }
    let evidence = document.get("evidence").cloned().ok_or(Unread::NoReport)?;
    // A later version may have checks that this one does not know.
    let evidence: Evidence = serde_json::from_value(evidence).map_err(|_| Unread::OtherVersion)?;
    // It stands in commands that people copy.
    let subject = Target::from_authority(&evidence.subject.authority());
    subject.map(|_| evidence).map_err(|_| Unread::NoReport)
}

/// The evidence of each target of a document.
///
/// # Errors
///
/// Why there is none, or not all.
pub fn all(document: &Value) -> Result<Vec<Evidence>, Unread> {
    match document.get("targets").and_then(Value::as_array) {
        Some(targets) if targets.is_empty() => Err(Unread::NoReport),
        Some(targets) => targets.iter().map(one).collect(),
        None => one(document).map(|evidence| vec![evidence]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Unread, all, one};

    fn report(host: &str) -> Value {
        json!({ "schema": 1, "evidence": {
            "subject": { "host": host, "port": 8080, "family": "any" }, "facts": [],
        } })
    }

    #[test]
    fn only_a_report_of_this_form_is_read() {
        assert_eq!(one(&report("h")).unwrap().subject.host, "h");
        for (document, why) in [
            (json!({}), Unread::NoReport),
            (json!([1]), Unread::NoReport),
            (json!({ "schema": 1 }), Unread::NoReport),
            (json!({ "schema": "1", "evidence": {} }), Unread::NoReport),
            (json!({ "schema": 2 }), Unread::OtherVersion),
            (json!({ "schema": 1, "evidence": 1 }), Unread::OtherVersion),
            (report("a; rm -rf /"), Unread::NoReport),
        ] {
            assert_eq!(one(&document).unwrap_err(), why, "{document}");
        }
    }

    #[test]
    fn of_several_targets_all_are_read_or_none() {
        let several = |targets: Value| json!({ "schema": 1, "targets": targets });
        assert_eq!(all(&report("a")).unwrap().len(), 1);
        assert_eq!(all(&several(json!([report("a"), report("b")]))).unwrap().len(), 2);
        assert_eq!(all(&several(json!([report("a"), {}]))).unwrap_err(), Unread::NoReport);
        assert_eq!(all(&several(json!([]))).unwrap_err(), Unread::NoReport);
    }
}
