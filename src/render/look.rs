//! How a report looks on a terminal: colours and marks. What is decided here is decided from what
//! the caller has found out; nothing is looked up.

use colored::{Color, Colorize};

use crate::diag::diagnosis::State;
use crate::diag::report::Health;

/// When colours are wanted, as `--color` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// On a terminal that can and may.
    #[default]
    Auto,
    /// Whatever it is.
    Always,
    /// Nowhere.
    Never,
}

impl When {
    /// All.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Always, Self::Never];

    /// As it is typed.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }

    /// The one that is typed so.
    pub fn find(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }
}

/// Where the report goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// A terminal.
    Terminal,
    /// A file or a pipe.
    Other,
}

/// Whether there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// Yes.
    On,
    /// No.
    Off,
}

impl Colours {
    /// The flag decides; where it leaves it open, there are colours on a terminal unless `NO_COLOR`
    /// is set and not empty (no-color.org) or `TERM` is `dumb`.
    pub fn choose(
        flag: When,
        environment: impl Fn(&str) -> Option<String>,
        output: Output,
    ) -> Self {
        let refused = || {
            environment("NO_COLOR").is_some_and(|value| !value.is_empty())
                || environment("TERM").is_some_and(|value| value == "dumb")
        };
        match flag {
            When::Always => Self::On,
            When::Auto if output == Output::Terminal && !refused() => Self::On,
            When::Auto | When::Never => Self::Off,
        }
    }
}

/// What the marks are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glyphs {
    /// ✓ ✗ ! ?
    Unicode,
    /// + x ! ?
    Ascii,
}

impl Glyphs {
    /// Unicode where the first of `LC_ALL`, `LC_CTYPE`, `LANG` that is set and not empty says UTF-8.
    pub fn choose(environment: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| environment(name).filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") {
            Self::Unicode
        } else {
            Self::Ascii
        }
    }
}

/// How it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether there are colours.
    pub colours: Colours,
    /// What the marks are made of.
    pub glyphs: Glyphs,
}

impl Look {
    /// No colours, and marks of Unicode.
    pub const PLAIN: Self = Self { colours: Colours::Off, glyphs: Glyphs::Unicode };

    fn mark(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        match self.glyphs {
            Glyphs::Unicode => unicode,
            Glyphs::Ascii => ascii,
        }
    }

    /// The mark of a report.
    pub(super) fn of_state(self, state: State) -> &'static str {
        match state {
            State::Ok => self.mark("✓", "+"),
            State::Degraded => "!",
            State::Inconclusive => "?",
            State::Broken => self.mark("✗", "x"),
        }
    }

    /// The mark of a segment or a check.
    pub(super) fn of_health(self, health: Health) -> &'static str {
        match health {
            Health::Ok => self.mark("✓", "+"),
            Health::Bad => self.mark("✗", "x"),
            Health::Warn => "!",
            Health::Unknown => "?",
            Health::Skipped => "-",
        }
    }

    /// `text` in the colour of `state`.
    pub(super) fn paint_state(self, text: &str, state: State) -> String {
        self.paint(text, |text| match state {
            State::Ok => text.color(Color::Green).bold(),
            State::Degraded | State::Inconclusive => text.color(Color::Yellow).bold(),
            State::Broken => text.color(Color::Red).bold(),
        })
    }

    /// `text` in the colour of `health`, if it has one.
    pub(super) fn paint_health(self, text: &str, health: Health) -> String {
        match health {
            Health::Bad => self.paint(text, |text| text.color(Color::Red)),
            Health::Warn => self.paint(text, |text| text.color(Color::Yellow)),
            Health::Ok | Health::Unknown | Health::Skipped => text.to_owned(),
        }
    }

    /// `text` so that it is seen first.
    pub(super) fn bold(self, text: &str) -> String {
        self.paint(text, |text| text.bold())
    }

    fn paint(self, text: &str, with: impl Fn(&str) -> colored::ColoredString) -> String {
        match self.colours {
            Colours::Off => text.to_owned(),
            Colours::On => {
                // It is decided already; the crate would look at the environment again.
                colored::control::set_override(true);
                with(text).to_string()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Colours, Glyphs, Look, Output, When};
    use crate::diag::diagnosis::State;
    use crate::diag::report::Health;

    fn of<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn colours_are_where_they_are_wanted() {
        use Output::{Other, Terminal};
        use When::{Always, Auto, Never};
        type Row<'a> = (When, &'a [(&'a str, &'a str)], Output, Colours);
        let cases: &[Row<'_>] = &[
            (Auto, &[], Terminal, Colours::On),
            (Auto, &[], Other, Colours::Off),
            (Auto, &[("TERM", "xterm")], Terminal, Colours::On),
            (Auto, &[("TERM", "dumb")], Terminal, Colours::Off),
            (Auto, &[("NO_COLOR", "1")], Terminal, Colours::Off),
            (Auto, &[("NO_COLOR", "0")], Terminal, Colours::Off),
            (Auto, &[("NO_COLOR", "")], Terminal, Colours::On),
            (Auto, &[("CLICOLOR_FORCE", "1")], Other, Colours::Off),
            (Always, &[], Other, Colours::On),
            (Always, &[("NO_COLOR", "1"), ("TERM", "dumb")], Other, Colours::On),
            (Never, &[], Terminal, Colours::Off),
        ];
        for (flag, set, output, colours) in cases {
            assert_eq!(Colours::choose(*flag, of(set), *output), *colours, "{flag:?} {set:?}");
        }
        for when in When::ALL {
            assert_eq!(When::find(when.word()), Some(when));
        }
        assert_eq!(When::find("yes"), None);
    }

    #[test]
    fn marks_are_unicode_where_the_locale_is() {
        for (set, glyphs) in [
            (&[][..], Glyphs::Ascii),
            (&[("LANG", "C")], Glyphs::Ascii),
            (&[("LANG", "ru_RU.UTF-8")], Glyphs::Unicode),
            (&[("LANG", "en_US.utf8")], Glyphs::Unicode),
            (&[("LC_CTYPE", "C.UTF-8"), ("LANG", "C")], Glyphs::Unicode),
            (&[("LC_ALL", "POSIX"), ("LANG", "ru_RU.UTF-8")], Glyphs::Ascii),
            (&[("LC_ALL", ""), ("LANG", "ru_RU.UTF-8")], Glyphs::Unicode),
            (&[("LANG", "ru_RU.KOI8-R")], Glyphs::Ascii),
        ] {
            assert_eq!(Glyphs::choose(of(set)), glyphs, "{set:?}");
        }
    }

    #[test]
    fn no_two_marks_are_alike_and_ascii_is_ascii() {
        for glyphs in [Glyphs::Unicode, Glyphs::Ascii] {
            let look = Look { colours: Colours::Off, glyphs };
            let all = [Health::Ok, Health::Bad, Health::Warn, Health::Unknown, Health::Skipped];
            let mut marks = all.map(|it| look.of_health(it)).to_vec();
            marks.sort_unstable();
            marks.dedup();
            assert_eq!(marks.len(), all.len());
            assert!(glyphs == Glyphs::Unicode || marks.iter().all(|it| it.is_ascii()));
        }
    }

    #[test]
    fn paint_is_around_a_text_and_only_when_on() {
        let on = Look { colours: Colours::On, ..Look::PLAIN };
        assert_eq!(on.bold("x"), "\u{1b}[1mx\u{1b}[0m");
        assert_eq!(on.paint_health("x", Health::Bad), "\u{1b}[31mx\u{1b}[0m");
        assert_eq!(on.paint_health("x", Health::Ok), "x");
        assert!(on.paint_state("x", State::Ok).contains("32m"));
        assert!(on.paint_state("x", State::Broken).contains("31m"));
        assert!(on.paint_state("x", State::Inconclusive).contains("33m"));
        assert_eq!(Look::PLAIN.paint_state("x", State::Ok), "x");
    }
}
