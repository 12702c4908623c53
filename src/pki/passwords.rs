//! Checks and makes password hashes (Argon2id) away from the threads that serve, a few at a time.

use super::random;
use crate::license::MAX_PASSWORD_BYTES;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Hashes computed at once: each takes 19 MiB and tens of milliseconds of one core.
const AT_ONCE: usize = 2;
/// How long a sign-in waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// What stands in for the hash of a user who does not exist, so that both cost the same.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash_now(&random::token()).unwrap_or_default());

/// Why a password could not be checked or hashed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("too many people sign in at this moment; try again in a few seconds")]
    Busy,
    #[error("the password must have {shortest} to {MAX_PASSWORD_BYTES} bytes")]
    Length { shortest: u64 },
    #[error("the password must not be the user's name")]
    Name,
    #[error("the password could not be hashed: {0}")]
    Failed(String),
}

/// The places for hashing.
#[derive(Clone)]
pub struct Passwords(Arc<Semaphore>);

impl Default for Passwords {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Passwords {
    /// Whether `password` is the one behind `hash`; None takes as long and is false.
    ///
    /// # Errors
    /// When too much is hashed at once, or the hash is damaged.
    pub async fn verify(&self, password: Zeroizing<String>, hash: Option<String>) -> Result<bool, PasswordError> {
        self.work(move || {
            let known = hash.is_some();
            let text = hash.as_deref().unwrap_or(&NOBODY);
            let parsed = PasswordHash::new(text).map_err(|e| PasswordError::Failed(e.to_string()))?;
            Ok(Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok() && known)
        })
        .await
    }

    /// The hash of a new password for the user `name`, in PHC string format; `shortest` is from the settings.
    ///
    /// # Errors
    /// When the password is not allowed, or too much is hashed at once.
    pub async fn hash(&self, name: &str, password: Zeroizing<String>, shortest: u64) -> Result<String, PasswordError> {
        if !(shortest..=MAX_PASSWORD_BYTES).contains(&(password.len() as u64)) {
            return Err(PasswordError::Length { shortest });
        }
        if password.eq_ignore_ascii_case(name) {
            return Err(PasswordError::Name);
        }
        self.work(move || hash_now(&password)).await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.0).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(PasswordError::Busy) };
        let work = tokio::task::spawn_blocking(move || {
            // Held by the work, which goes on when the caller has gone.
            let _turn = turn;
            work()
        });
        work.await.map_err(|e| PasswordError::Failed(e.to_string()))?
    }
}

fn hash_now(password: &str) -> Result<String, PasswordError> {
    let salt: [u8; 16] = random::bytes();
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    hash.map(|h| h.to_string()).map_err(|e| PasswordError::Failed(e.to_string()))
}
