//! A secret that neither prints nor compares in a hurry.

use std::fmt;

/// A password or token.
///
/// `Debug` shows `***`; there is no `Display`. The bytes are given only to who asks by name, and
/// comparison goes through a keyed digest (`proxy::users`), never through `==`.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The secret itself; the caller answers for where it goes.
    pub const fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_output_hides_the_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    }
}
