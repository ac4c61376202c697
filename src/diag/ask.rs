//! What a run is told: the subject, and what is never part of a report.

use rustls::pki_types::CertificateDer;

use super::evidence::{Asked, Evidence, Subject};
use super::server::Server;
use super::ssh::Shell;
use crate::net::pin::Pin;
use crate::secret::Secret;

/// What a run is about.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The proxy.
    pub subject: Subject,
    /// What the user wants to know of it.
    pub asked: Asked,
    /// User name and password for the proxy.
    pub login: Option<(Box<str>, Secret)>,
    /// Roots to trust besides, for the proxy and for targets.
    pub roots: Vec<CertificateDer<'static>>,
    /// The key that the proxy's own certificate must have; then nothing else of it matters.
    pub pin: Option<Pin>,
    /// The server itself, to be asked meanwhile.
    pub ssh: Option<Shell>,
    /// What it has said before, in a token.
    pub told: Option<Server>,
}

impl Ask {
    /// About the port of `subject` only.
    pub fn port(subject: Subject) -> Self {
        Self {
            subject,
            asked: Asked::default(),
            login: None,
            roots: Vec::new(),
            pin: None,
            ssh: None,
            told: None,
        }
    }

    pub(super) fn evidence(&self) -> Evidence {
        let server = self.told.clone().map(Box::new);
        Evidence { server, ..Evidence::new(self.subject.clone(), self.asked.clone()) }
    }
}
