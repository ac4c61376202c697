//! A token that is read can be written again, no longer than before, and says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sami_proxy::diag::token::{LONGEST, read, write};

fuzz_target!(|text: &str| {
    if let Ok(digest) = read(text) {
        let token = write(&digest);
        assert!(token.len() <= LONGEST);
        let again = read(&token).unwrap();
        assert_eq!(again.port, digest.port);
        assert_eq!(write(&again), token);
    }
});
