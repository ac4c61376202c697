//! An accepted authority is unambiguous: shown and read again it is the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sami_proxy::proxy::policy::Rule;
use sami_proxy::target::Target;

fuzz_target!(|text: &str| {
    if let Ok(target) = Target::from_authority(text) {
        assert_eq!(Target::from_authority(&target.to_string()), Ok(target));
    }
    if let Ok(rule) = text.parse::<Rule>() {
        assert_eq!(rule.to_string().parse(), Ok(rule));
    }
});
