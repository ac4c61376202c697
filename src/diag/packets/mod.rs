//! What a server's packet filter does with a packet: its tools' output ↔ facts, and a walk through
//! the rules. Pure.
//!
//! [`save`], [`nft`], [`ufw`] and [`tables`] read; [`walk`] asks `matches` of each rule and says
//! what becomes of a packet. A condition that is not understood is never guessed: both ways are
//! walked, and only if they come to the same is there an answer.

mod chains;
pub mod matches;
pub mod nft;
mod nft_rule;
pub mod provider;
pub mod save;
pub mod syn;
pub mod tables;
pub mod ufw;
pub mod walk;

use crate::diag::fact::{Field, Match, Rule, Table, Verdict};

/// Rules that are kept at most; who has more gets no answer.
pub const MOST_RULES: usize = 8192;
/// Values of a set that are kept without looking at them.
pub const MOST_VALUES: usize = 256;
/// Characters of a rule that are kept for people.
pub const LONGEST_TEXT: usize = 240;

/// What a tool said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    /// In its order.
    pub tables: Vec<Table>,
    /// Whether it said more than is kept.
    pub cut: bool,
}

/// A condition that asks for one of `values`.
fn asks(field: Field, values: impl IntoIterator<Item = impl Into<String>>) -> Match {
    let values = values.into_iter().map(Into::into).collect();
    Match { field, not: false, values, set: None }
}

/// A condition that nobody here understands.
fn unknown(what: &str) -> Match {
    asks(Field::Unknown, [shortened(what)])
}

/// `text` without control characters, and not too long for a report.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect()
}

impl Verdict {
    /// Whether a packet that comes to a rule of this kind surely goes on with the next one, as it was.
    pub const fn is_next(&self) -> bool {
        matches!(self, Self::Next)
    }
}

impl Table {
    fn rules(&self) -> usize {
        self.chains.iter().map(|chain| chain.rules.len()).sum()
    }
}

/// `rule` at the end of `rules`, with its number.
fn number(rules: &mut Vec<Rule>, mut rule: Rule) {
    rule.number = u32::try_from(rules.len() + 1).unwrap_or(u32::MAX);
    rules.push(rule);
}
