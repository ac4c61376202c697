//! Which language the browser asks for.

use std::cmp::Reverse;

/// A language that the page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Russian.
    Ru,
    /// English.
    En,
}

/// Languages whose speakers read Russian rather than English.
const KIN: [&str; 3] = ["uk", "be", "kk"];

/// Weight in thousandths; of equal ones the first in the list counts more.
type Wish = (u16, Reverse<usize>);

#[derive(Debug, Default)]
struct Wishes {
    russian: Option<Wish>,
    kin: Option<Wish>,
    english: Option<Wish>,
    /// `*`: every language that is not named (RFC 4647 §2.1).
    any: Option<Wish>,
}

/// The language for the value of `Accept-Language` (RFC 9110 §12.5.4; several field lines joined
/// with commas).
///
/// Russian if it weighs more than English, or as much and comes first. Ukrainian, Belarusian and
/// Kazakh stand for it unless it is named itself. No field, a malformed one, or neither language:
/// English.
pub fn language(accept_language: Option<&[u8]>) -> Language {
    let Some(wishes) = accept_language.and_then(wishes) else { return Language::En };
    let russian = wishes.russian.or(wishes.kin).or(wishes.any);
    let english = wishes.english.or(wishes.any);
    // Weight 0 is "not acceptable".
    let wanted = russian.is_some_and(|(weight, _)| weight > 0);
    if wanted && russian > english { Language::Ru } else { Language::En }
}

/// `None` when the value is malformed.
fn wishes(value: &[u8]) -> Option<Wishes> {
    let text = std::str::from_utf8(value).ok()?;
    let mut wishes = Wishes::default();
    // Empty elements are to be ignored (RFC 9110 §5.6.1.2).
    let elements = text.split(',').map(trim).filter(|element| !element.is_empty());
    for (position, element) in elements.enumerate() {
        let (range, weight) = match element.split_once(';') {
            Some((range, weight)) => (trim(range), thousandths(trim(weight))?),
            None => (element, 1000),
        };
        let primary = primary_subtag(range)?;
        let is = |tag: &&str| primary.eq_ignore_ascii_case(tag);
        let wish = if is(&"ru") {
            &mut wishes.russian
        } else if is(&"en") {
            &mut wishes.english
        } else if KIN.iter().any(is) {
            &mut wishes.kin
        } else if primary == "*" {
            &mut wishes.any
        } else {
            continue;
        };
        *wish = (*wish).max(Some((weight, Reverse(position))));
    }
    Some(wishes)
}

/// Without optional white space (RFC 9110 §5.6.3).
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// `language-range` is `*` or sub-tags of one to eight letters and digits (RFC 4647 §2.1).
fn primary_subtag(range: &str) -> Option<&str> {
    let primary = range.split('-').next()?;
    let subtag = |text: &str| {
        (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let letters = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphabetic());
    let good = range == "*" || (letters(primary) && range.split('-').all(subtag));
    good.then_some(primary)
}

/// `q=` and 0 to 1 with at most three decimals (RFC 9110 §12.4.2).
fn thousandths(weight: &str) -> Option<u16> {
    let number = weight.strip_prefix(['q', 'Q'])?.strip_prefix('=')?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::Language::{En, Ru};
    use super::language;

    #[test]
    fn the_heavier_language_wins() {
        let cases = [
            ("ru", Ru),
            ("RU-ru", Ru),
            ("ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7", Ru),
            ("en-US,en;q=0.9,ru;q=0.8", En),
            ("en;q=0.8,ru;q=0.801", Ru),
            ("en;q=0.5,ru;q=0.49", En),
            ("en;q=0.8 , ru ; Q=1.000", Ru),
            ("ru,en", Ru),
            ("en,ru", En),
            ("de", En),
            ("de,ru;q=0.5", Ru),
            ("de,fr;q=0.9,ru;q=0.1,en;q=0.2", En),
            ("rus", En),
            ("x-ru", En),
            ("", En),
            (" ,, ru,", Ru),
        ];
        for (value, expected) in cases {
            assert_eq!(language(Some(value.as_bytes())), expected, "{value}");
        }
        assert_eq!(language(None), En);
    }

    #[test]
    fn neighbours_read_russian_unless_they_say_otherwise() {
        let cases = [
            ("uk-UA,uk;q=0.9,en-US;q=0.8,en;q=0.7", Ru),
            ("be", Ru),
            ("kk-KZ", Ru),
            ("uk,en;q=0.9,ru;q=0.8", En),
            ("uk,en;q=0.7,ru;q=0.8", Ru),
            ("uk,ru;q=0", En),
        ];
        for (value, expected) in cases {
            assert_eq!(language(Some(value.as_bytes())), expected, "{value}");
        }
    }

    #[test]
    fn weight_zero_refuses_and_a_star_stands_for_the_unnamed() {
        let cases = [
            ("*", En),
            ("ru;q=0", En),
            ("ru;q=0.000,*", En),
            ("en;q=0", En),
            ("en;q=0,*;q=0.1", Ru),
            ("fr,*;q=0.5,ru;q=0.3", En),
            ("fr,*;q=0.1,ru;q=0.3", Ru),
            ("*;q=0", En),
        ];
        for (value, expected) in cases {
            assert_eq!(language(Some(value.as_bytes())), expected, "{value}");
        }
    }

    #[test]
    fn a_malformed_value_is_english() {
        for value in [
            "ru;q=2",
            "ru;q=1.001",
            "ru;q=0.1234",
            "ru;q=",
            "ru;q=-0",
            "ru;q=.5",
            "ru;q=0,5x;",
            "ru;q=+1",
            "ru;q=0.+5",
            "ru;q=1;q=1",
            "ru;level=1",
            "ru;",
            "ru en",
            "ru,;q=1",
            "ru-",
            "-ru",
            "ru_RU",
            "ru,abcdefghi",
            "ru,1a",
            "*-RU,ru",
            "ru,日本",
        ] {
            assert_eq!(language(Some(value.as_bytes())), En, "{value}");
        }
        assert_eq!(language(Some(b"ru,\xff")), En);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in proptest::collection::vec(0_u8.., 0..64)) {
            let _either = language(Some(&value));
        }

        #[test]
        fn weights_are_compared_as_numbers(russian in 1_u16..1000, english in 0_u16..1000) {
            let value = format!("en;q=0.{english:03},ru;q=0.{russian:03}");
            let expected = if russian > english { Ru } else { En };
            proptest::prelude::prop_assert_eq!(language(Some(value.as_bytes())), expected);
        }
    }
}
