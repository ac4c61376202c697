//! Who may authenticate: `--auth` and the lines of `--auth-file`.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use ring::hmac::{self, HMAC_SHA256, Key, Tag};
use ring::rand::SystemRandom;

use crate::secret::Secret;
use crate::wire::basic_auth::Credentials;

/// A user table. Passwords are not kept: only their HMAC under a key that lives as long as the
/// table, which makes every comparison constant in time and blind to length.
pub struct Users {
    key: Key,
    table: HashMap<Box<str>, Entry>,
    /// A hash that unknown names are checked against, so that they take as long as known ones.
    decoy: Option<Arc<Hash>>,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users").field("count", &self.table.len()).finish_non_exhaustive()
    }
}

enum Entry {
    Plain(Tag),
    /// The tag is there once the password has been verified: the hash costs once, not per
    /// request.
    Hashed(Arc<Hash>, RwLock<Option<Tag>>),
}

/// Each step doubles the time; 16 is several seconds a login, and 31 would be a day.
const MAX_BCRYPT_COST: u32 = 16;

/// A password hash of a kind that is meant for passwords.
enum Hash {
    Bcrypt(Box<str>),
    Argon2(Box<PasswordHash>),
}

/// Why a user table can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsersError {
    /// A line of the file is not `user:hash`.
    #[error("line {0}: not user:hash")]
    Line(usize),
    /// A kind of hash that is too weak or unknown.
    #[error(
        "line {line}: the hash of user {user} is neither bcrypt (cost up to {MAX_BCRYPT_COST}) nor argon2; make one with: htpasswd -nB {user}"
    )]
    Hash {
        /// Which line.
        line: usize,
        /// Whose.
        user: Box<str>,
    },
    /// A name that is there twice.
    #[error("user {0} is given twice")]
    Twice(Box<str>),
    /// The operating system has no random numbers.
    #[error("no random numbers from the operating system")]
    Random,
}

/// What a quick look at credentials tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glance {
    /// These are right.
    Right,
    /// These are wrong.
    Wrong,
    /// A password hash has to be computed to know.
    Unsure,
}

impl Users {
    /// A table of plain users and of the lines of an htpasswd file.
    ///
    /// # Errors
    ///
    /// [`UsersError`], naming the line; never contains a password or a hash.
    pub fn new(plain: &[(Box<str>, Secret)], file: &str) -> Result<Self, UsersError> {
        let key =
            Key::generate(HMAC_SHA256, &SystemRandom::new()).map_err(|_| UsersError::Random)?;
        let mut users = Self { key, table: HashMap::new(), decoy: None };
        for (user, password) in plain {
            let tag = users.tag(password);
            users.insert(user, Entry::Plain(tag))?;
        }
        for (at, line) in file.lines().enumerate().map(|(at, line)| (at + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (user, hash) = line
                .split_once(':')
                .filter(|(user, _)| !user.is_empty())
                .ok_or(UsersError::Line(at))?;
            let hash = Hash::read(hash)
                .map(Arc::new)
                .ok_or_else(|| UsersError::Hash { line: at, user: user.into() })?;
            users.decoy = Some(Arc::clone(&hash));
            users.insert(user, Entry::Hashed(hash, RwLock::new(None)))?;
        }
        Ok(users)
    }

    /// How many users there are.
    pub fn count(&self) -> usize {
        self.table.len()
    }

    /// Judges without computing a password hash.
    pub fn glance(&self, credentials: &Credentials) -> Glance {
        match self.table.get(&credentials.user) {
            Some(Entry::Plain(tag)) if self.fits(credentials, tag) => Glance::Right,
            Some(Entry::Plain(_)) => Glance::Wrong,
            Some(Entry::Hashed(_, verified)) => {
                let tag = verified.read().unwrap_or_else(PoisonError::into_inner);
                match tag.as_ref() {
                    Some(tag) if self.fits(credentials, tag) => Glance::Right,
                    _ => Glance::Unsure,
                }
            }
            None if self.decoy.is_some() => Glance::Unsure,
            None => {
                // As long as a wrong password of a known name takes.
                let _same_time = self.tag(&credentials.password);
                Glance::Wrong
            }
        }
    }

    /// Judges by computing the password hash: tens of milliseconds on a thread that may block.
    pub fn verify(&self, credentials: &Credentials) -> bool {
        let password = credentials.password.reveal();
        match self.table.get(&credentials.user) {
            Some(Entry::Plain(tag)) => self.fits(credentials, tag),
            Some(Entry::Hashed(hash, verified)) => {
                let right = hash.fits(password);
                if right {
                    let tag = self.tag(&credentials.password);
                    *verified.write().unwrap_or_else(PoisonError::into_inner) = Some(tag);
                }
                right
            }
            None => {
                let _same_time = self.decoy.as_ref().map(|hash| hash.fits(password));
                false
            }
        }
    }

    fn insert(&mut self, user: &str, entry: Entry) -> Result<(), UsersError> {
        match self.table.insert(user.into(), entry) {
            None => Ok(()),
            Some(_) => Err(UsersError::Twice(user.into())),
        }
    }

    fn tag(&self, password: &Secret) -> Tag {
        hmac::sign(&self.key, password.reveal().as_bytes())
    }

    fn fits(&self, credentials: &Credentials, tag: &Tag) -> bool {
        hmac::verify(&self.key, credentials.password.reveal().as_bytes(), tag.as_ref()).is_ok()
    }
}

impl Hash {
    /// Reads what `htpasswd -B` or an argon2 tool wrote; `None` for MD5, SHA-1, crypt and plain.
    fn read(text: &str) -> Option<Self> {
        if text.starts_with("$argon2") {
            return PasswordHash::new(text).ok().map(|hash| Self::Argon2(Box::new(hash)));
        }
        let parts = text.parse::<bcrypt::HashParts>().ok()?;
        (parts.get_cost() <= MAX_BCRYPT_COST).then(|| Self::Bcrypt(text.into()))
    }

    fn fits(&self, password: &str) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Argon2(hash) => {
                Argon2::default().verify_password(password.as_bytes(), &**hash).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Glance, Users, UsersError};
    use crate::secret::Secret;
    use crate::wire::basic_auth::Credentials;

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials { user: user.into(), password: Secret::new(password) }
    }

    fn plain() -> Vec<(Box<str>, Secret)> {
        vec![("sami".into(), Secret::new("p:ä ss"))]
    }

    #[test]
    fn plain_users_are_known_by_exact_name_and_password() {
        let users = Users::new(&plain(), "").unwrap();
        assert_eq!(users.glance(&credentials("sami", "p:ä ss")), Glance::Right);
        for (user, password) in
            [("sami", "p:ä s"), ("sami", ""), ("Sami", "p:ä ss"), ("sam", "p:ä ss"), ("", "")]
        {
            assert_eq!(users.glance(&credentials(user, password)), Glance::Wrong);
            assert!(!users.verify(&credentials(user, password)));
        }
    }

    #[test]
    fn a_hash_is_computed_once_and_never_trusted_for_another_password() {
        let bcrypt = bcrypt::hash("secret", 4).unwrap();
        let argon2 = "$argon2id$v=19$m=16,t=2,p=1$c29tZXNhbHQ$SCJCLY45m/Xu18bYRFHnNA";
        let users = Users::new(&[], &format!("# file\n\nanna:{bcrypt}\nboris:{argon2}\n")).unwrap();
        let right = credentials("anna", "secret");
        assert_eq!(users.glance(&right), Glance::Unsure);
        assert!(users.verify(&right));
        assert_eq!(users.glance(&right), Glance::Right);
        assert_eq!(users.glance(&credentials("anna", "other")), Glance::Unsure);
        assert!(!users.verify(&credentials("anna", "other")));
        assert_eq!(users.glance(&right), Glance::Right);
        assert_eq!(users.glance(&credentials("nobody", "secret")), Glance::Unsure);
        assert!(!users.verify(&credentials("nobody", "secret")));
        assert!(!users.verify(&credentials("boris", "wrong")));
    }

    #[test]
    fn an_argon2_hash_verifies() {
        use argon2::Argon2;
        use argon2::password_hash::PasswordHasher;
        let hash = Argon2::default().hash_password_with_salt(b"secret", b"saltsaltsalt").unwrap();
        let users = Users::new(&[], &format!("boris:{hash}")).unwrap();
        assert!(users.verify(&credentials("boris", "secret")));
        assert!(!users.verify(&credentials("boris", "Secret")));
    }

    #[test]
    fn a_bad_line_is_named() {
        let of = |file: &str| Users::new(&plain(), file).unwrap_err();
        assert_eq!(of("a:b\n"), UsersError::Hash { line: 1, user: "a".into() });
        assert_eq!(of("\nnonsense\n"), UsersError::Line(2));
        assert_eq!(of(":$2y$05$x"), UsersError::Line(1));
        // Reading computes no hash: this one would take a day.
        let endless = bcrypt::hash("x", 4).unwrap().replacen("$04$", "$31$", 1);
        for hash in
            ["$apr1$x$y", "{SHA}x", "$2y$05$tooshort", "$argon2id$nonsense", "plain", &endless]
        {
            assert!(matches!(of(&format!("a:{hash}")), UsersError::Hash { line: 1, .. }), "{hash}");
        }
        let hash = bcrypt::hash("x", 4).unwrap();
        assert_eq!(of(&format!("sami:{hash}")), UsersError::Twice("sami".into()));
    }
}
