//! The parts of signing in that do not depend on who keeps the users: the form, the check of a password, and what is
//! said of one that is not accepted.

use super::assets::Assets;
use super::attempts::{Attempts, Secret};
use super::view::{page, problem};
use crate::license::{MAX_NAME, MAX_PASSWORD_BYTES};
use crate::pki::passwords::{PasswordError, Passwords};
use crate::product::listener::Peer;
use askama::Template;
use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header::{HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{Extensions, StatusCode};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// One message for every wrong sign-in: it does not tell whether the user exists.
pub const WRONG: &str = "The user name or the password is wrong.";

#[derive(Template)]
#[template(path = "sign_in.html")]
pub struct SignInPage {
    assets: Assets,
    message: String,
    next: String,
    name: String,
    error: Option<String>,
}

impl SignInPage {
    /// The form that leads to `next`; with the reason why the last attempt did not.
    pub fn new(next: &str, name: &str, error: Option<&Failure>) -> Self {
        let name = if name.len() > MAX_NAME { "" } else { name };
        let error = error.map(ToString::to_string);
        Self { assets: Assets, message: String::new(), next: next.to_owned(), name: name.to_owned(), error }
    }

    /// With what everybody should read who comes here; nothing where that is empty.
    pub fn saying(self, message: &str) -> Self {
        Self { message: message.to_owned(), ..self }
    }
}

/// Checks passwords, and slows down who guesses them.
#[derive(Default)]
pub struct Door {
    attempts: Attempts,
    pub passwords: Passwords,
}

impl Door {
    /// Whether this is the password behind `hash`, the user's who is named. No user costs the same work and gets the same
    /// answer.
    ///
    /// # Errors
    /// `wrong`, or how long to wait.
    pub async fn check(
        &self,
        source: IpAddr,
        name: &str,
        password: Zeroizing<String>,
        hash: Option<String>,
        wrong: &'static str,
    ) -> Result<(), Failure> {
        // Longer ones belong to nobody; cut, so that the table of attempts stays small.
        let name: &str = &name.chars().take(MAX_NAME + 1).collect::<String>();
        self.attempts.begin(source, name, Secret::Password, Instant::now()).map_err(Failure::Wait)?;
        let (short, known) = (password.len() as u64 <= MAX_PASSWORD_BYTES, hash.is_some());
        let hash = hash.filter(|_| short);
        let password = if short { password } else { Zeroizing::default() };
        if !self.passwords.verify(password, hash).await? {
            // Not the name: people type passwords there.
            tracing::warn!(%source, known, "a wrong password was given");
            return Err(Failure::Wrong(wrong));
        }
        self.attempts.succeeded(source, name, Secret::Password);
        Ok(())
    }

    /// Counts a code as wrong before it is looked at.
    ///
    /// # Errors
    /// How long to wait.
    pub fn try_code(&self, source: IpAddr, name: &str) -> Result<(), Failure> {
        self.attempts.begin(source, name, Secret::Code, Instant::now()).map_err(Failure::Wait)
    }

    /// The code tried before was right after all.
    pub fn code_was_right(&self, source: IpAddr, name: &str) {
        self.attempts.succeeded(source, name, Secret::Code);
    }
}

/// Why a password was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Wrong(&'static str),
    #[error("The sign-in took too long, or the user was changed meanwhile. Begin again.")]
    Late,
    #[error("There were too many failed attempts. Try again in {}.", in_words(.0))]
    Wait(Duration),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Unavailable(String),
}

impl From<PasswordError> for Failure {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Wait(Duration::from_secs(5)),
            PasswordError::Length { .. } | PasswordError::Name => Self::Invalid(sentence(&error.to_string())),
            PasswordError::Failed(_) => {
                tracing::error!(%error, "a password could not be checked");
                Self::Unavailable("The password could not be checked; the server's log says why.".into())
            }
        }
    }
}

impl Failure {
    /// The page again, with the reason.
    pub fn answer(&self, template: &impl Template) -> Response {
        let status = match self {
            Self::Wrong(_) | Self::Late => StatusCode::UNAUTHORIZED,
            Self::Wait(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut response = page(status, template);
        if let Self::Wait(wait) = self {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds(wait)));
        }
        response
    }
}

/// An error's clause as a sentence.
pub fn sentence(clause: &str) -> String {
    let mut letters = clause.chars();
    let first = letters.next().map(|c| c.to_uppercase().collect::<String>()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// Rounded up, so that one who waits so long does not come too early.
fn seconds(wait: &Duration) -> u64 {
    wait.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX)
}

fn in_words(wait: &Duration) -> String {
    match seconds(wait) {
        1 => "1 second".into(),
        n if n < 120 => format!("{n} seconds"),
        n => format!("{} minutes", n.div_ceil(60)),
    }
}

/// Whether the new password is one, before anything is checked or hashed.
///
/// # Errors
/// With a sentence.
pub fn check_new(current: &str, new: &str, repeated: &str) -> Result<(), String> {
    if new != repeated {
        return Err("The new password and its repetition differ.".into());
    }
    if new == current {
        return Err("The new password must differ from the current one.".into());
    }
    Ok(())
}

/// Where a request comes from.
pub fn source(extensions: &Extensions) -> IpAddr {
    extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip())
}

/// As [`source`], for handlers that read the request by its parts.
pub struct Source(pub IpAddr);

impl<S: Sync> FromRequestParts<S> for Source {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(source(&parts.extensions)))
    }
}

/// The form did not arrive, or is too large.
pub fn unreadable(status: StatusCode) -> Response {
    problem(status, "The form could not be read", "Go back and send it again.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_password_must_be_new_and_typed_twice_alike() {
        let check = |new, repeated| check_new("old-secret", new, repeated);
        check("new-secret", "new-secret").unwrap();
        assert!(check("new-secret", "new-secreT").unwrap_err().contains("differ"));
        check("old-secret", "old-secret").unwrap_err();
    }

    #[test]
    fn waits_are_rounded_up() {
        assert!(Failure::Wait(Duration::from_millis(1)).to_string().ends_with("Try again in 1 second."));
        assert_eq!(in_words(&Duration::from_millis(1_001)), "2 seconds");
        assert_eq!(in_words(&Duration::from_secs(121)), "3 minutes");
    }
}
