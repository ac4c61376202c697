//! The parent proxy, and what goes past it.

use super::policy::Rule;
use crate::net::parent::Parent;
use crate::target::Target;

/// A parent proxy.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Where it is, and how it is spoken to.
    pub parent: Parent,
    /// What does not go through it.
    pub bypass: Vec<Rule>,
}

impl Upstream {
    /// Whether the way to `target` is through the parent. Names are compared, not looked up.
    pub fn leads_to(&self, target: &Target) -> bool {
        !self.bypass.iter().any(|rule| rule.fits_target(target))
    }
}
