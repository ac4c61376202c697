//! The parent proxy, and what goes past it.

use super::policy::Rule;
use super::settings::ParentSettings;
use crate::net::parent::{Parent, SetupError};
use crate::target::Target;

/// A parent proxy.
#[derive(Debug)]
pub struct Upstream {
    /// How it is spoken to.
    pub parent: Parent,
    /// Where it is.
    pub address: Target,
    bypass: Vec<Rule>,
}

impl Upstream {
    /// The parent that `settings` name; targets that fit `bypass` do not go through it.
    ///
    /// # Errors
    ///
    /// [`SetupError`].
    pub fn new(settings: &ParentSettings, bypass: &[Rule]) -> Result<Self, SetupError> {
        let ParentSettings { protocol, address, credentials, pin } = settings.clone();
        let parent = Parent::new(protocol, address.clone(), credentials, pin)?;
        Ok(Self { parent, address, bypass: bypass.to_vec() })
    }

    /// Whether the way to `target` is through the parent. Names are compared, not looked up.
    pub fn leads_to(&self, target: &Target) -> bool {
        !self.bypass.iter().any(|rule| rule.fits_target(target))
    }
}
