//! Text files as Windows makes them.
//!
//! `sami-proxy … > FILE` in Windows PowerShell 5.1 writes UTF-16 with a byte order mark, and editors
//! put one before UTF-8.

use std::io;
use std::path::Path;

/// The text of a file: UTF-8, or UTF-16 with a byte order mark. The mark is no part of it.
///
/// # Errors
///
/// The operating system's; `InvalidData` when it is no such text.
pub(super) fn read(path: &Path) -> io::Result<String> {
    decode(std::fs::read(path)?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))
}

fn decode(bytes: Vec<u8>) -> Option<String> {
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        _ => String::from_utf8(bytes).ok(),
    }
}

fn utf16(bytes: &[u8], unit: impl Fn([u8; 2]) -> u16) -> Option<String> {
    let (pairs, []) = bytes.as_chunks() else { return None };
    let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn a_byte_order_mark_tells_the_encoding() {
        let text = "{\"имя\": \"🦀\"}\r\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            [b"\xff\xfe", little.as_slice()].concat(),
            [b"\xfe\xff", big.as_slice()].concat(),
        ] {
            assert_eq!(decode(bytes).as_deref(), Some(text));
        }
        assert_eq!(decode(Vec::new()).as_deref(), Some(""));
        assert_eq!(decode(b"\xff\xfe".to_vec()).as_deref(), Some(""));
    }

    #[test]
    fn what_is_no_text_is_an_error() {
        let lone_surrogate = b"\xff\xfe\x00\xd8";
        for bytes in [b"\x80".as_slice(), b"\xff\xfe1", b"\xef\xbb\xbf\xff", lone_surrogate] {
            assert_eq!(decode(bytes.to_vec()), None, "{bytes:?}");
        }
    }
}
