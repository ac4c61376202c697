//! A SOCKS message is decided at its last byte and not before, whatever follows it; an accepted
//! target is unambiguous.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sami_proxy::target::Target;
use sami_proxy::wire::socks::{Request, SocksError, greeting, login, request4, request5};

/// What `read` accepts.
fn follow<T>(
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Result<Option<(T, usize)>, SocksError>,
) -> Option<T> {
    let whole = read(bytes);
    let decided =
        (0..=bytes.len()).find_map(|end| read(&bytes[..end]).transpose().map(|step| (end, step)));
    match (&whole, decided) {
        (Ok(None), None) => {}
        (Ok(Some((_, used))), Some((end, Ok((_, first))))) => {
            assert!(*used == end && first == end && end <= bytes.len());
        }
        (Err(error), Some((_, Err(first)))) => assert_eq!(*error, first),
        _ => panic!("another outcome when the bytes arrive in pieces"),
    }
    whole.ok().flatten().map(|(value, _)| value)
}

fuzz_target!(|bytes: &[u8]| {
    follow(bytes, greeting);
    follow(bytes, login);
    for request in [follow(bytes, request4), follow(bytes, request5)] {
        if let Some(Request::Connect(target)) = request {
            assert_eq!(Target::from_authority(&target.to_string()), Ok(target));
        }
    }
});
