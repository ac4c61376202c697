//! Text of strangers, made harmless for a terminal.

/// `text` without anything that a terminal obeys: control characters, and those that turn the
/// direction of writing.
pub fn tame(text: &str) -> String {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if obeyed(c) { '\u{fffd}' } else { c }).collect()
}
