//! Message heads: finding their end, reading them.

use std::mem::MaybeUninit;

use bytes::{Buf, BytesMut};

use super::fields::Fields;

/// The longest request-target; longer is 414 (RFC 9110 §15.5.15). RFC 9112 §3 asks for at least
/// 8,000 bytes; signed URLs get longer than that.
pub const MAX_TARGET: usize = 16 * 1024;
/// The longest head, all lines together; longer is 431 (RFC 6585 §5). 64 KiB is what reverse
/// proxies in front of large cookies settled on.
pub const MAX_HEAD: usize = 64 * 1024;
/// The most field lines of a head; more is 431.
pub const MAX_FIELDS: usize = 128;

/// The most members of `Connection`: each is compared with each field, and real messages have one
/// or two.
const MAX_NOMINATED: usize = 64;

/// Why bytes are no message head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// LF without CR. RFC 9112 §2.2 lets a recipient accept it; recipients that differ in this are
    /// how requests are smuggled.
    #[error("a line ends in LF without CR")]
    BareLf,
    /// The request-target is longer than [`MAX_TARGET`].
    #[error("the request-target is longer than {MAX_TARGET} bytes")]
    TargetTooLong,
    /// The head is longer than [`MAX_HEAD`].
    #[error("the head is longer than {MAX_HEAD} bytes")]
    TooLong,
    /// There are more than [`MAX_FIELDS`] field lines, or `Connection` is a list of dozens.
    #[error(
        "the head has more than {MAX_FIELDS} field lines, or names too many of them in Connection"
    )]
    TooManyFields,
    /// Not `method SP request-target SP HTTP/1.x` (RFC 9112 §3).
    #[error("the request line is malformed")]
    RequestLine,
    /// Another major version.
    #[error("the HTTP version is not 1.0 or 1.1")]
    Version,
    /// Not `HTTP/1.x SP status` (RFC 9112 §4).
    #[error("the status line is malformed")]
    StatusLine,
    /// A field name that is no token, white space before the colon, or a folded line
    /// (RFC 9112 §5.1, §5.2).
    #[error("a field name is malformed")]
    FieldName,
    /// CR, NUL or another control character in a value (RFC 9110 §5.5).
    #[error("a field value has a forbidden character")]
    FieldValue,
}

/// HTTP/1.0 or HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// No persistence, no chunked coding.
    Http10,
    /// RFC 9112.
    Http11,
}

/// A request head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead<'b> {
    /// Case-sensitive.
    pub method: &'b str,
    /// The request-target as received.
    pub target: &'b str,
    /// The client's version.
    pub version: Version,
    /// The field lines.
    pub fields: Fields<'b>,
}

/// A response head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead<'b> {
    /// 100..=999.
    pub status: u16,
    /// What stands after the status; may be empty.
    pub reason: &'b str,
    /// The origin's version.
    pub version: Version,
    /// The field lines.
    pub fields: Fields<'b>,
}

/// Looks for the end of a head that arrives piece by piece, each byte once.
#[derive(Debug, Default)]
pub struct HeadScan {
    line_start: usize,
}

impl HeadScan {
    /// The length of the head including its empty line, or `None` while it is incomplete.
    ///
    /// `bytes` is everything received so far, from the first byte of the head.
    ///
    /// # Errors
    ///
    /// [`HeadError::BareLf`], [`HeadError::TargetTooLong`], [`HeadError::TooLong`].
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        let mut rest = bytes.get(self.line_start..).unwrap_or_default();
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(at + 1);
            let Some(line) = line.strip_suffix(b"\r\n") else { return Err(HeadError::BareLf) };
            self.check_first(line.len())?;
            self.line_start += at + 1;
            if line.is_empty() {
                return if self.line_start <= MAX_HEAD {
                    Ok(Some(self.line_start))
                } else {
                    Err(HeadError::TooLong)
                };
            }
            rest = after;
        }
        self.check_first(rest.len())?;
        if bytes.len() > MAX_HEAD { Err(HeadError::TooLong) } else { Ok(None) }
    }

    /// Takes a complete head off `buffer`, or `None` while it is incomplete; as [`Self::advance`].
    ///
    /// # Errors
    ///
    /// Those of [`Self::advance`].
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Vec<u8>>, HeadError> {
        let Some(length) = self.advance(buffer)? else { return Ok(None) };
        let head = buffer.get(..length).unwrap_or_default().to_vec();
        buffer.advance(length);
        Ok(Some(head))
    }

    /// A first line that is too long can only have a long target: methods and versions are short.
    const fn check_first(&self, line: usize) -> Result<(), HeadError> {
        if self.line_start == 0 && line > MAX_TARGET + 32 {
            return Err(HeadError::TargetTooLong);
        }
        Ok(())
    }
}

/// How many bytes of empty lines stand before a request line; RFC 9112 §2.2 lets a server ignore
/// them. At most two lines are, more is not a request.
pub fn leading_blank(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    for _ in 0..2 {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    }
    bytes.len() - rest.len()
}

/// Reads a complete request head.
///
/// # Errors
///
/// [`HeadError`], the first rule that is broken.
pub fn parse_request(head: &[u8]) -> Result<RequestHead<'_>, HeadError> {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    complete(request.parse_with_uninit_headers(head, &mut lines), HeadError::RequestLine)?;
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(HeadError::RequestLine);
    };
    if target.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(HeadError::RequestLine);
    }
    let fields = collect(request.headers)?;
    Ok(RequestHead { method, target, version: version_of(version), fields })
}

/// Reads a complete response head.
///
/// # Errors
///
/// [`HeadError`], the first rule that is broken.
pub fn parse_response(head: &[u8]) -> Result<ResponseHead<'_>, HeadError> {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        head,
        &mut lines,
    );
    complete(parsed, HeadError::StatusLine)?;
    let (Some(status), Some(version)) = (response.code, response.version) else {
        return Err(HeadError::StatusLine);
    };
    if status < 100 {
        return Err(HeadError::StatusLine);
    }
    let reason = response.reason.unwrap_or_default();
    let fields = collect(response.headers)?;
    Ok(ResponseHead { status, reason, version: version_of(version), fields })
}

/// Reads a trailer section including its empty line (RFC 9112 §7.1.2).
///
/// # Errors
///
/// [`HeadError`], the first rule that is broken.
pub fn parse_trailers(section: &[u8]) -> Result<Fields<'_>, HeadError> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_FIELDS];
    match httparse::parse_headers(section, &mut lines) {
        Ok(httparse::Status::Complete((_, found))) => collect(found),
        Ok(httparse::Status::Partial) => Err(HeadError::FieldName),
        Err(error) => Err(reason(error, HeadError::FieldName)),
    }
}

fn collect<'b>(lines: &[httparse::Header<'b>]) -> Result<Fields<'b>, HeadError> {
    let fields = Fields::collect(lines.iter().map(|line| (line.name, line.value)));
    if fields.members("connection").nth(MAX_NOMINATED).is_some() {
        return Err(HeadError::TooManyFields);
    }
    Ok(fields)
}

const fn version_of(minor: u8) -> Version {
    if minor == 0 { Version::Http10 } else { Version::Http11 }
}

fn complete(outcome: httparse::Result<usize>, first_line: HeadError) -> Result<(), HeadError> {
    match outcome {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        Ok(httparse::Status::Partial) => Err(first_line),
        Err(error) => Err(reason(error, first_line)),
    }
}

const fn reason(error: httparse::Error, first_line: HeadError) -> HeadError {
    match error {
        httparse::Error::HeaderName => HeadError::FieldName,
        httparse::Error::HeaderValue => HeadError::FieldValue,
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::Version => HeadError::Version,
        httparse::Error::NewLine | httparse::Error::Status | httparse::Error::Token => first_line,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, proptest};

    use super::{
        HeadError, HeadScan, MAX_FIELDS, MAX_HEAD, MAX_TARGET, Version, leading_blank,
        parse_request, parse_response, parse_trailers,
    };

    const GOOD: &[u8] = b"GET http://a/ HTTP/1.1\r\nHost: a\r\nX:\t b \r\n\r\n";

    fn scan_in_pieces(bytes: &[u8], piece: usize) -> Result<Option<usize>, HeadError> {
        let mut scan = HeadScan::default();
        for end in (piece..bytes.len()).step_by(piece).chain([bytes.len()]) {
            if let Some(length) = scan.advance(&bytes[..end])? {
                return Ok(Some(length));
            }
        }
        Ok(None)
    }

    #[test]
    fn the_end_is_found_however_the_bytes_arrive() {
        let mut more = GOOD.to_vec();
        more.extend_from_slice(b"body\r\n\r\n");
        for piece in [1, 2, 3, 7, more.len()] {
            assert_eq!(scan_in_pieces(&more, piece), Ok(Some(GOOD.len())), "pieces of {piece}");
        }
        for cut in 0..GOOD.len() {
            assert_eq!(scan_in_pieces(&GOOD[..cut], 1), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn a_bare_lf_is_refused_at_once() {
        for bytes in [&b"GET / HTTP/1.1\n"[..], b"GET / HTTP/1.1\r\nA: b\n", b"\n"] {
            assert_eq!(scan_in_pieces(bytes, 1), Err(HeadError::BareLf));
        }
    }

    #[test]
    fn sizes_are_bounded_before_the_head_is_complete() {
        let target = [b"GET /".as_slice(), &vec![b'a'; MAX_TARGET + 64]].concat();
        assert_eq!(scan_in_pieces(&target, 1000), Err(HeadError::TargetTooLong));
        let line = b"X-Long: 0123456789\r\n".repeat(MAX_HEAD / 20 + 1);
        let long = [b"GET / HTTP/1.1\r\n".as_slice(), &line].concat();
        assert_eq!(scan_in_pieces(&long, 1000), Err(HeadError::TooLong));
        let many = [b"GET / HTTP/1.1\r\n".as_slice(), &b"a: b\r\n".repeat(MAX_FIELDS + 1), b"\r\n"];
        assert_eq!(parse_request(&many.concat()).unwrap_err(), HeadError::TooManyFields);
        let named = format!("GET / HTTP/1.1\r\nConnection: {}\r\n\r\n", "a,".repeat(1000));
        assert_eq!(parse_request(named.as_bytes()).unwrap_err(), HeadError::TooManyFields);
    }

    #[test]
    fn a_request_head_is_read() {
        let head = parse_request(GOOD).unwrap();
        assert_eq!((head.method, head.target), ("GET", "http://a/"));
        assert_eq!(head.version, Version::Http11);
        assert_eq!(head.fields.only("x"), Some(&b"b"[..]));
    }

    #[test]
    fn malformed_heads_are_refused_with_their_reason() {
        let cases: &[(&[u8], HeadError)] = &[
            (b"GET  / HTTP/1.1\r\n\r\n", HeadError::RequestLine),
            (b"GET / HTTP/1.1 \r\n\r\n", HeadError::RequestLine),
            (b"GET /\r\n\r\n", HeadError::RequestLine),
            (b"G@T / HTTP/1.1\r\n\r\n", HeadError::RequestLine),
            (b" GET / HTTP/1.1\r\n\r\n", HeadError::RequestLine),
            (b"GET /\x00 HTTP/1.1\r\n\r\n", HeadError::RequestLine),
            (b"GET / HTTP/2.0\r\n\r\n", HeadError::Version),
            (b"GET / http/1.1\r\n\r\n", HeadError::Version),
            (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", HeadError::FieldName),
            (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", HeadError::FieldName),
            (b"GET / HTTP/1.1\r\n A: b\r\n\r\n", HeadError::FieldName),
            (b"GET / HTTP/1.1\r\n: b\r\n\r\n", HeadError::FieldName),
            (b"GET / HTTP/1.1\r\nA\r\n\r\n", HeadError::FieldName),
            (b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", HeadError::FieldValue),
            (b"GET / HTTP/1.1\r\nA: b\x00c\r\n\r\n", HeadError::FieldValue),
            (b"GET / HTTP/1.1\r\nA\x00: b\r\n\r\n", HeadError::FieldName),
        ];
        for (head, reason) in cases {
            let shown = String::from_utf8_lossy(head);
            assert_eq!(parse_request(head).unwrap_err(), *reason, "{shown:?}");
        }
    }

    #[test]
    fn a_response_head_is_read_with_or_without_a_reason() {
        let head = parse_response(b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n").unwrap();
        assert_eq!((head.status, head.reason, head.version), (404, "Not Found", Version::Http10));
        assert_eq!(parse_response(b"HTTP/1.1 200\r\n\r\n").unwrap().status, 200);
        assert_eq!(parse_response(b"HTTP/1.1 200 \r\n\r\n").unwrap().reason, "");
        for bad in ["HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 099 x\r\n\r\n"]
        {
            assert_eq!(parse_response(bad.as_bytes()).unwrap_err(), HeadError::StatusLine, "{bad}");
        }
        let folded = b"HTTP/1.1 200 OK\r\nA: b\r\n\tc\r\n\r\n";
        assert_eq!(parse_response(folded).unwrap_err(), HeadError::FieldName);
    }

    #[test]
    fn trailers_are_read() {
        assert!(parse_trailers(b"\r\n").unwrap().iter().next().is_none());
        assert_eq!(parse_trailers(b"A: 1\r\n\r\n").unwrap().only("a"), Some(&b"1"[..]));
        assert_eq!(parse_trailers(b"A 1\r\n\r\n").unwrap_err(), HeadError::FieldName);
    }

    #[test]
    fn at_most_two_empty_lines_are_forgiven() {
        let cases: &[(&[u8], usize)] =
            &[(b"GET", 0), (b"\r\nGET", 2), (b"\r\n\r\n\r\nGET", 4), (b"\r", 0), (b"\n", 0)];
        for (bytes, length) in cases {
            assert_eq!(leading_blank(bytes), *length);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]
        #[test]
        fn no_bytes_make_it_panic_and_pieces_change_nothing(
            bytes in proptest::collection::vec(
                proptest::sample::select(b"GET /:\r\n\r\n\r\n HTP1.0aA\x00\xff,;\t".to_vec()), 0..120),
            piece in 1_usize..9,
        ) {
            let whole = scan_in_pieces(&bytes, bytes.len().max(1));
            assert_eq!(scan_in_pieces(&bytes, piece), whole);
            drop(parse_request(&bytes));
            drop(parse_response(&bytes));
            drop(parse_trailers(&bytes));
        }
    }
}
