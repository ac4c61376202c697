//! The token: what a server has found, in a text that a person can carry to the client.
//!
//! Base32 (RFC 4648 §6, without padding) of a version, the findings as far as they fit, and a CRC-32
//! (ISO 3309) of it all. No secrets; of names only those that its sentences need.

use std::net::IpAddr;

use data_encoding::BASE32_NOPAD;
use thiserror::Error;

use super::code::{Code, Severity};
use super::diagnosis::Diagnosis;
use super::evidence::{Evidence, Role};
use super::fact::{Blind, CheckId, Knocks, OwnAddresses, Provider, Witness};
use super::infer::{Confidence, NAMES, Suspect};
use super::server::{Digest, Finding};

/// The most characters of a token.
pub const LONGEST: usize = 500;
/// So many bytes become so many characters.
const ROOM: usize = LONGEST * 5 / 8;
/// Of the form below.
const VERSION: u8 = 1;
const CHECK_BYTES: usize = 4;
/// A longer value of an argument is left out: half a name would be a wrong one.
const LONGEST_VALUE: usize = 64;
const MOST_KNOCKS: usize = 6;
const MOST_ADDRESSES: usize = 3;

/// What is wrong with a text that is to be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Flaw {
    /// A character that no token has.
    #[error("{0:?} stands in no token; a token has the letters A to Z and the digits 2 to 7")]
    Letter(char),
    /// An end is missing.
    #[error("it is too short: an end is missing")]
    Short,
    /// More than a token has.
    #[error("it is too long: a token has at most {LONGEST} characters")]
    Long,
    /// A character is wrong, missing, or one too many.
    #[error("its check sum is wrong: a character is wrong or missing; copy it again")]
    Sum,
    /// Of another release.
    #[error("it is of another version of sami-proxy; use the same one on both sides")]
    Version,
}

impl Digest {
    /// What a server's `evidence` comes to, at `when` (seconds since 1970).
    pub fn new(evidence: &Evidence, diagnosis: &Diagnosis, when: u64) -> Self {
        let witness = evidence.one::<Witness>(CheckId::Witness).map(|(_, it)| it.clone());
        let own = evidence.one::<OwnAddresses>(CheckId::PublicAddress);
        let others = diagnosis.alternatives.iter().filter_map(|it| {
            // What only looks alike was not found.
            it.separate_by.is_none().then(|| Finding {
                code: it.code.word().to_owned(),
                confidence: it.confidence.word().to_owned(),
                warning: false,
                arguments: Vec::new(),
            })
        });
        let verdict = diagnosis.verdict.iter().map(finding);
        Self {
            role: evidence.asked.role,
            port: evidence.subject.port,
            when,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            findings: verdict.chain(others).chain(diagnosis.warnings.iter().map(finding)).collect(),
            witness,
            addresses: own.map(|(_, it)| it.clone()).unwrap_or_default(),
        }
    }
}

fn finding(it: &Suspect) -> Finding {
    Finding {
        code: it.code.word().to_owned(),
        confidence: it.confidence.word().to_owned(),
        warning: it.severity == Severity::Warning,
        arguments: it.arguments.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
    }
}

/// The token of `digest`: at most [`LONGEST`] characters, what does not fit left out from the end.
pub fn write(digest: &Digest) -> String {
    let mut bytes = vec![VERSION, role(digest.role)];
    bytes.extend(digest.port.to_be_bytes());
    bytes.extend(u32::try_from(digest.when).unwrap_or(u32::MAX).to_be_bytes());
    text(&mut bytes, &digest.version);
    addresses(&mut bytes, &digest.addresses);
    witness(&mut bytes, digest.witness.as_ref());
    for finding in &digest.findings {
        let mut one = Vec::new();
        if findings(&mut one, finding, ROOM.saturating_sub(bytes.len() + CHECK_BYTES)).is_none() {
            break;
        }
        bytes.extend(one);
    }
    bytes.extend(check(&bytes).to_be_bytes());
    BASE32_NOPAD.encode(&bytes)
}

/// The digest in `text`; white space and small letters do not matter.
///
/// # Errors
/// What is wrong with it.
pub fn read(text: &str) -> Result<Digest, Flaw> {
    let letters: String =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_uppercase()).collect();
    if let Some(letter) = letters.chars().find(|c| !matches!(c, 'A'..='Z' | '2'..='7')) {
        return Err(Flaw::Letter(letter));
    }
    if letters.len() > LONGEST {
        return Err(Flaw::Long);
    }
    let bytes = BASE32_NOPAD.decode(letters.as_bytes()).map_err(|_| Flaw::Sum)?;
    let at = bytes.len().checked_sub(CHECK_BYTES).filter(|at| *at > 0).ok_or(Flaw::Short)?;
    let (content, sum) = bytes.split_at_checked(at).ok_or(Flaw::Short)?;
    if check(content).to_be_bytes() != sum {
        return Err(Flaw::Sum);
    }
    let mut bytes = Bytes(content);
    if bytes.one() != Some(VERSION) {
        return Err(Flaw::Version);
    }
    // The sum is right, so it is whole: what is not understood is of another version.
    bytes.digest().ok_or(Flaw::Version)
}

const fn role(role: Role) -> u8 {
    match role {
        Role::Client => 0,
        Role::Host => 1,
        Role::Container => 2,
    }
}

/// CRC-32 of ISO 3309, as zip has it.
fn check(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let step = |sum: u32| (sum >> 1) ^ if sum & 1 == 1 { POLYNOMIAL } else { 0 };
    let byte = |sum: u32, byte: &u8| (0..8).fold(sum ^ u32::from(*byte), |sum, _| step(sum));
    !bytes.iter().fold(!0, byte)
}

/// Its name in two bytes: places in the registry move.
fn short(code: &str) -> u16 {
    let [.., a, b] = check(code.as_bytes()).to_be_bytes();
    u16::from_be_bytes([a, b])
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).unwrap_or(0);
    bytes.push(length);
    bytes.extend(text.as_bytes().iter().take(length.into()));
}

fn number(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend(u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes());
}

fn address(bytes: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            bytes.push(4);
            bytes.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            bytes.push(6);
            bytes.extend(ip.octets());
        }
    }
}

fn addresses(bytes: &mut Vec<u8>, own: &OwnAddresses) {
    bytes.push(own.provider.map_or(0, Provider::number));
    for some in [&own.public, &own.private] {
        let some = some.get(..MOST_ADDRESSES).unwrap_or(some);
        bytes.push(u8::try_from(some.len()).unwrap_or(0));
        some.iter().for_each(|ip| address(bytes, *ip));
    }
}

fn witness(bytes: &mut Vec<u8>, witness: Option<&Witness>) {
    let Some(it) = witness else { return bytes.push(0) };
    bytes.push(match it.blind {
        None => 1,
        Some(Blind::NoPermission) => 2,
        Some(Blind::NotLinux) => 3,
        Some(Blind::Failed) => 4,
    });
    number(bytes, it.ms / 100);
    number(bytes, it.total);
    let knocks = it.knocks.get(..MOST_KNOCKS).unwrap_or(&it.knocks);
    bytes.push(u8::try_from(knocks.len()).unwrap_or(0));
    for it in knocks {
        address(bytes, it.source);
        [it.syns, it.answers, it.resets].into_iter().for_each(|count| number(bytes, count));
    }
}

/// One finding in at most `room` bytes; `None` when not even its code fits.
fn findings(bytes: &mut Vec<u8>, it: &Finding, room: usize) -> Option<()> {
    let sure = Confidence::ALL.iter().position(|known| known.word() == it.confidence)?;
    bytes.extend(short(&it.code).to_be_bytes());
    let flags = u8::try_from(sure).ok()? | if it.warning { 4 } else { 0 };
    bytes.extend([flags, 0]);
    (bytes.len() <= room).then_some(())?;
    let mut count = 0;
    for (name, value) in &it.arguments {
        let Some(name) = NAMES.iter().position(|known| known == name) else { continue };
        if value.len() <= LONGEST_VALUE && bytes.len() + 2 + value.len() <= room {
            bytes.push(u8::try_from(name).ok()?);
            text(bytes, value);
            count += 1;
        }
    }
    *bytes.get_mut(3)? = count;
    Some(())
}

/// What is left to read.
struct Bytes<'b>(&'b [u8]);

impl Bytes<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn one(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.one()?;
        String::from_utf8(self.take(length.into())?.to_vec()).ok()
    }

    fn address(&mut self) -> Option<IpAddr> {
        match self.one()? {
            4 => Some(IpAddr::from(<[u8; 4]>::try_from(self.take(4)?).ok()?)),
            6 => Some(IpAddr::from(<[u8; 16]>::try_from(self.take(16)?).ok()?)),
            _ => None,
        }
    }

    fn addresses(&mut self) -> Option<Vec<IpAddr>> {
        (0..self.one()?).map(|_| self.address()).collect()
    }

    fn digest(mut self) -> Option<Digest> {
        let roles = [Role::Client, Role::Host, Role::Container];
        let role = *roles.get(usize::from(self.one()?))?;
        let port = self.number()?;
        let when = u32::from_be_bytes(self.take(4)?.try_into().ok()?).into();
        let version = self.text()?;
        let provider = match self.one()? {
            0 => None,
            number => Some(Provider::with_number(number)?),
        };
        let (public, private) = (self.addresses()?, self.addresses()?);
        let addresses = OwnAddresses { public, private, provider, ..OwnAddresses::default() };
        let witness = self.witness()?;
        let mut findings = Vec::new();
        while !self.0.is_empty() {
            findings.extend(self.finding()?);
        }
        Some(Digest { role, port, when, version, findings, witness, addresses })
    }

    fn witness(&mut self) -> Option<Option<Witness>> {
        let blind = match self.one()? {
            0 => return Some(None),
            1 => None,
            2 => Some(Blind::NoPermission),
            3 => Some(Blind::NotLinux),
            4 => Some(Blind::Failed),
            _ => return None,
        };
        let (ms, total) = (u64::from(self.number()?) * 100, self.number()?.into());
        let knocks = (0..self.one()?).map(|_| self.knocks()).collect::<Option<_>>()?;
        Some(Some(Witness { ms, blind, knocks, total }))
    }

    fn knocks(&mut self) -> Option<Knocks> {
        let source = self.address()?;
        let [syns, answers, resets] = [self.number()?, self.number()?, self.number()?];
        let (syns, answers, resets) = (syns.into(), answers.into(), resets.into());
        Some(Knocks { source, syns, answers, resets })
    }

    /// The inner one is `None` for a code that this version does not know.
    fn finding(&mut self) -> Option<Option<Finding>> {
        let (code, flags, count) = (self.number()?, self.one()?, self.one()?);
        let code = Code::ALL.iter().find(|known| short(known.word()) == code);
        let confidence = Confidence::ALL.get(usize::from(flags & 3))?;
        let mut arguments = Vec::new();
        for _ in 0..count {
            let (name, value) = (self.one()?, self.text()?);
            let name = NAMES.get(usize::from(name));
            arguments.extend(name.map(|name| ((*name).to_owned(), value)));
        }
        Some(code.map(|code| Finding {
            code: code.word().to_owned(),
            confidence: confidence.word().to_owned(),
            warning: flags & 4 != 0,
            arguments,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::{Flaw, LONGEST, NAMES, check, read, short, write};
    use crate::diag::code::Code;
    use crate::diag::evidence::Role;
    use crate::diag::fact::{Knocks, OwnAddresses, Provider, Witness};
    use crate::diag::infer::Confidence;
    use crate::diag::server::{Digest, Finding};

    fn finding() -> impl Strategy<Value = Finding> {
        let argument = (0..NAMES.len(), "[ -~а-я]{0,40}");
        let arguments = vec(argument, 0..6);
        (0..Code::ALL.len(), 0..3_usize, any::<bool>(), arguments).prop_map(
            |(code, sure, warning, arguments)| Finding {
                code: Code::ALL[code].word().to_owned(),
                confidence: Confidence::ALL[sure].word().to_owned(),
                warning,
                arguments: arguments
                    .into_iter()
                    .map(|(name, value)| (NAMES[name].to_owned(), value))
                    .collect(),
            },
        )
    }

    fn witness() -> impl Strategy<Value = Witness> {
        let knock = (any::<[u8; 4]>(), any::<u16>(), any::<u16>(), any::<u16>()).prop_map(
            |(source, syns, answers, resets)| Knocks {
                source: source.into(),
                syns: syns.into(),
                answers: answers.into(),
                resets: resets.into(),
            },
        );
        (0..3000_u64, vec(knock, 0..6), any::<u16>()).prop_map(|(tenths, knocks, total)| Witness {
            ms: tenths * 100,
            blind: None,
            knocks,
            total: total.into(),
        })
    }

    fn digest(most: usize) -> impl Strategy<Value = Digest> {
        let ips = || vec(any::<[u8; 16]>().prop_map(Into::into), 0..3);
        let findings = vec(finding(), 0..most);
        let rest = (any::<u16>(), any::<u32>(), "[0-9.]{0,12}");
        (findings, proptest::option::of(witness()), ips(), rest).prop_map(
            |(findings, witness, public, (port, when, version))| {
                let provider = Some(Provider::OpenStack);
                let addresses = OwnAddresses { public, provider, ..OwnAddresses::default() };
                let (role, when) = (Role::Container, when.into());
                Digest { role, port, when, version, findings, witness, addresses }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(digest in digest(20)) {
            let token = write(&digest);
            prop_assert!(token.len() <= LONGEST);
            let again = read(&token).unwrap();
            // What does not fit is cut from the end.
            prop_assert!(again.findings.len() <= digest.findings.len());
            for (it, of) in again.findings.iter().zip(&digest.findings) {
                prop_assert_eq!(&it.code, &of.code);
                prop_assert_eq!((&it.confidence, it.warning), (&of.confidence, of.warning));
                prop_assert!(it.arguments.iter().all(|it| of.arguments.contains(it)));
            }
            let same = Digest { findings: digest.findings.clone(), ..again.clone() };
            prop_assert_eq!(&same, &digest);
            // Through a mail program.
            let folded = token.to_ascii_lowercase().replace('a', "a\n ");
            prop_assert_eq!(read(&folded), Ok(again));
        }

        #[test]
        fn every_slip_is_noticed(digest in digest(8), at in any::<prop::sample::Index>(), other in 0..32_usize) {
            let token = write(&digest);
            let at = at.index(token.len());
            let letter = char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[other]);
            let mut flipped = token.clone();
            flipped.replace_range(at..=at, &letter.to_string());
            prop_assert_eq!(read(&flipped).is_ok(), flipped == token);
            let mut cut = token.clone();
            cut.remove(at);
            prop_assert!(cut == token || read(&cut).is_err());
            let mut more = token.clone();
            more.insert(at, letter);
            prop_assert!(read(&more).is_err());
        }

        #[test]
        fn nothing_makes_it_panic(text in "[A-Z2-7]{0,600}", any_text in ".{0,60}", bytes in vec(any::<u8>(), 1..300)) {
            prop_assert!(read(&text).is_err());
            prop_assert!(read(&any_text).is_err());
            // Whole, and nonsense.
            let mut bytes = bytes;
            bytes.extend(check(&bytes).to_be_bytes());
            let token = super::BASE32_NOPAD.encode(&bytes);
            let flaw = read(&token).err();
            prop_assert!(matches!(flaw, None | Some(Flaw::Version)), "{flaw:?}");
        }
    }

    #[test]
    fn a_flaw_is_named() {
        for (text, flaw) in [
            ("", Flaw::Short),
            ("AEBA", Flaw::Short),
            ("AEB0", Flaw::Letter('0')),
            ("ФЯ", Flaw::Letter('Ф')),
            ("AEBAEBAEBAEBAEBA", Flaw::Sum),
        ] {
            assert_eq!(read(text), Err(flaw), "{text}");
        }
        assert_eq!(read(&"A".repeat(501)), Err(Flaw::Long));
    }

    #[test]
    fn codes_have_numbers_of_their_own_and_the_sum_is_the_known_one() {
        let numbers: std::collections::BTreeSet<u16> =
            Code::ALL.iter().map(|code| short(code.word())).collect();
        assert_eq!(numbers.len(), Code::ALL.len());
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(check(b"123456789"), 0xcbf4_3926);
    }
}
