//! Who a client is and how much it may.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::attempts::Attempts;
use super::policy::{Refusal, Trust};
use super::settings::Access;
use super::stop::Stop;
use super::users::{Glance, Users};
use crate::wire::basic_auth::{self, Credentials};
use crate::wire::http1::fields::Fields;

/// Who a request is from. Only [`Gate::identify`] makes one.
#[derive(Debug, Clone)]
pub struct Identity {
    user: Option<Box<str>>,
    trust: Trust,
}

impl Identity {
    /// The proved user name.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// How much it may.
    pub const fn trust(&self) -> Trust {
        self.trust
    }
}

/// What a request has to say about who sent it.
#[derive(Debug)]
pub enum Offer<'b> {
    /// `Proxy-Authorization`, if it is among these fields.
    Fields(&'b Fields<'b>),
    /// User name and password (RFC 1929).
    Credentials(Credentials),
    /// Nothing.
    Nothing,
}

impl Offer<'_> {
    fn credentials(self) -> Result<Credentials, Stop> {
        match self {
            Self::Nothing => Err(Stop::CredentialsMissing),
            Self::Credentials(credentials) => Ok(credentials),
            Self::Fields(fields) if !fields.has("proxy-authorization") => {
                Err(Stop::CredentialsMissing)
            }
            Self::Fields(fields) => {
                // More than one line: nobody can say which counts.
                let value = fields.only("proxy-authorization").ok_or(Stop::CredentialsWrong)?;
                basic_auth::parse(value).map_err(Stop::CredentialsUnreadable)
            }
        }
    }
}

/// What decides about clients.
#[derive(Debug)]
pub struct Gate {
    access: Access,
    /// `None` when no credentials are configured.
    users: RwLock<Option<Arc<Users>>>,
    attempts: Attempts,
    /// Password hashes computed at once; the rest of the machine stays free for tunnels.
    hashing: Semaphore,
}

impl Gate {
    /// A gate for `access` with the user table made from it.
    pub fn new(access: Access, users: Option<Users>) -> Self {
        Self {
            access,
            users: RwLock::new(users.map(Arc::new)),
            attempts: Attempts::default(),
            hashing: Semaphore::new(1),
        }
    }

    /// The settings it was made from.
    pub const fn access(&self) -> &Access {
        &self.access
    }

    /// Whether everyone has to give credentials.
    pub fn wants_credentials(&self) -> bool {
        self.users.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// How many users are configured.
    pub fn users(&self) -> usize {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        users.as_ref().map_or(0, |users| users.count())
    }

    /// Puts another user table in place; requests under way keep the old one.
    pub fn replace_users(&self, users: Users) {
        *self.users.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(users));
    }

    /// Whether `peer` gets past accept.
    pub fn admits(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let allowed = &self.access.allow_client;
        allowed.is_empty() || allowed.iter().any(|net| net.contains(&peer))
    }

    /// Who sent a request from `peer` with the credentials that it has to `offer`.
    ///
    /// Every request is judged anew: a connection has no identity. Wrong credentials are answered
    /// late when there were many from `peer`; missing ones never are, for many clients send none
    /// before they are asked.
    ///
    /// # Errors
    ///
    /// [`Stop::CredentialsMissing`], [`Stop::CredentialsWrong`], [`Stop::CredentialsUnreadable`];
    /// [`Stop::Refused`] for who would not have got past accept, had it been known there.
    pub async fn identify(&self, offer: Offer<'_>, peer: IpAddr) -> Result<Identity, Stop> {
        if !self.admits(peer) {
            return Err(Stop::Refused(Refusal::NotAllowed));
        }
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(users) = users else {
            return Ok(Identity { user: None, trust: self.trust_without_credentials(peer) });
        };
        let credentials = offer.credentials()?;
        let user = credentials.user.clone();
        if self.verify(users, credentials).await {
            return Ok(Identity { user: Some(user), trust: Trust::Trusted });
        }
        sleep(self.attempts.wrong(peer.to_canonical(), Instant::now())).await;
        Err(Stop::CredentialsWrong)
    }

    fn trust_without_credentials(&self, peer: IpAddr) -> Trust {
        let peer = peer.to_canonical();
        let trusted = self.access.open
            || peer.is_loopback()
            || self.access.trust_client.iter().any(|net| net.contains(&peer));
        if trusted { Trust::Trusted } else { Trust::Stranger }
    }

    async fn verify(&self, users: Arc<Users>, credentials: Credentials) -> bool {
        match users.glance(&credentials) {
            Glance::Right => return true,
            Glance::Wrong => return false,
            Glance::Unsure => {}
        }
        let _turn = self.hashing.acquire().await;
        // Somebody before us in the queue may have proved the same password.
        if users.glance(&credentials) == Glance::Right {
            return true;
        }
        tokio::task::spawn_blocking(move || users.verify(&credentials)).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{Gate, Offer};
    use crate::proxy::policy::Trust;
    use crate::proxy::settings::Access;
    use crate::proxy::stop::Stop;
    use crate::proxy::users::Users;
    use crate::secret::Secret;
    use crate::wire::http1::fields::Fields;

    async fn identify(gate: &Gate, value: &[&str], peer: &str) -> Result<Trust, Stop> {
        let lines = value.iter().map(|value| ("Proxy-Authorization", value.as_bytes()));
        let peer: IpAddr = peer.parse().unwrap();
        gate.identify(Offer::Fields(&Fields::collect(lines)), peer)
            .await
            .map(|identity| identity.trust())
    }

    fn with_users() -> Gate {
        let access = Access { users: vec![("a".into(), Secret::new("b"))], ..Access::default() };
        let users = Users::new(&access.users, "").unwrap();
        Gate::new(access, Some(users))
    }

    #[tokio::test]
    async fn without_credentials_trust_comes_from_the_address() {
        let access =
            Access { trust_client: vec!["81.85.76.0/24".parse().unwrap()], ..Access::default() };
        let gate = Gate::new(access, None);
        for trusted in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "81.85.76.160"] {
            assert_eq!(identify(&gate, &[], trusted).await, Ok(Trust::Trusted), "{trusted}");
        }
        for stranger in ["8.8.8.8", "172.17.0.1", "::ffff:8.8.8.8"] {
            assert_eq!(identify(&gate, &[], stranger).await, Ok(Trust::Stranger), "{stranger}");
        }
        let open = Gate::new(Access { open: true, ..Access::default() }, None);
        assert_eq!(identify(&open, &[], "8.8.8.8").await, Ok(Trust::Trusted));
    }

    #[tokio::test]
    async fn with_credentials_configured_everyone_gives_them_loopback_too() {
        let gate = with_users();
        assert_eq!(identify(&gate, &[], "127.0.0.1").await, Err(Stop::CredentialsMissing));
        assert_eq!(identify(&gate, &["Basic YTpi"], "127.0.0.1").await, Ok(Trust::Trusted));
        assert_eq!(identify(&gate, &["Basic YTpi"], "8.8.8.8").await, Ok(Trust::Trusted));
        assert_eq!(identify(&gate, &["Basic YTpj"], "8.8.8.8").await, Err(Stop::CredentialsWrong));
        let twice = ["Basic YTpi", "Basic YTpi"];
        assert_eq!(identify(&gate, &twice, "8.8.8.8").await, Err(Stop::CredentialsWrong));
        let bearer = identify(&gate, &["Bearer x"], "8.8.8.8").await;
        assert!(matches!(bearer, Err(Stop::CredentialsUnreadable(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_credentials_are_slowed_right_and_missing_ones_are_not() {
        let gate = with_users();
        let took = async |value: &'static [&'static str]| {
            let start = tokio::time::Instant::now();
            let _either_way = identify(&gate, value, "8.8.8.8").await;
            start.elapsed()
        };
        for _ in 0..8 {
            took(&["Basic YTpj"]).await;
        }
        assert!(took(&["Basic YTpj"]).await.as_secs() >= 1);
        assert_eq!(took(&["Basic YTpi"]).await.as_secs(), 0);
        assert_eq!(took(&[]).await.as_secs(), 0);
    }

    #[test]
    fn only_allowed_clients_are_admitted() {
        let access =
            Access { allow_client: vec!["10.0.0.0/8".parse().unwrap()], ..Access::default() };
        let gate = Gate::new(access, None);
        assert!(gate.admits("10.1.2.3".parse().unwrap()));
        assert!(gate.admits("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!gate.admits("11.0.0.1".parse().unwrap()));
        assert!(Gate::new(Access::default(), None).admits("11.0.0.1".parse().unwrap()));
    }
}
