//! What people write and clients ask for, in all its forms: nothing panics, and what is accepted
//! reads back as itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sami_proxy::config::parent_url;
use sami_proxy::net::pin::Pin;
use sami_proxy::net::sniff::sniff;
use sami_proxy::proxy::internal::Task;
use sami_proxy::proxy::page;
use sami_proxy::proxy::policy::Trust;

fuzz_target!(|bytes: &[u8]| {
    // Six bytes are enough, and more never change the answer.
    let whole = sniff(bytes);
    assert!(whole.is_some() || bytes.len() < 6);
    for length in 0..bytes.len().min(8) {
        if let Some(early) = sniff(&bytes[..length]) {
            assert_eq!(Some(early), whole);
        }
    }
    let _either = page::language(Some(bytes));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(pin) = Pin::parse(text) {
        assert_eq!(Pin::parse(&pin.to_string()), Ok(pin));
    }
    if let Ok(parent) = parent_url::parse(text) {
        assert!(parent.credentials.is_none_or(|(user, _)| !user.is_empty()));
    }
    for trust in [Trust::Stranger, Trust::Trusted] {
        if let Ok(Task::Bytes(bytes)) = Task::read("GET", text, trust) {
            assert!(bytes <= 64 << 20);
        }
    }
});
