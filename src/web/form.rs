//! Reads what forms and addresses carry.

use crate::admin::{AdminError, Kind};
use axum::body::Body;
use http::{StatusCode, Uri};
use std::time::Duration;
use url::form_urlencoded;
use zeroize::Zeroizing;

/// The largest form has 250 ticked rows, each with its numbers and a quantity; three passwords of 256 bytes, at most
/// trebled by encoding, are far less.
const MAX_FORM: usize = 16 * 1024;
/// How long a form may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest address to return to after signing in.
const MAX_NEXT: usize = 512;

/// The fields of a posted form. Dropping it clears them, since some are passwords.
#[derive(Default)]
pub struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    /// # Errors
    /// 413 when it is too large, 408 when it does not arrive, 400 when it breaks off.
    pub async fn read(body: Body) -> Result<Self, StatusCode> {
        let read = tokio::time::timeout(PATIENCE, axum::body::to_bytes(body, MAX_FORM)).await;
        let bytes = match read {
            Err(_) => return Err(StatusCode::REQUEST_TIMEOUT),
            Ok(Err(error)) if too_large(&error) => return Err(StatusCode::PAYLOAD_TOO_LARGE),
            Ok(Err(_)) => return Err(StatusCode::BAD_REQUEST),
            Ok(Ok(bytes)) => bytes,
        };
        let fields = form_urlencoded::parse(&bytes);
        Ok(Self(fields.map(|(k, v)| (k.into_owned(), Zeroizing::new(v.into_owned()))).collect()))
    }

    /// The field's value; empty when it is not there.
    pub fn get(&self, name: &str) -> Zeroizing<String> {
        self.0.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()).unwrap_or_default()
    }
}

impl Form {
    /// All values of a field that may come several times.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(k, _)| k == name).map(|(_, v)| v.to_string()).collect()
    }

    /// A number; none where the field is empty.
    ///
    /// # Errors
    /// When it is no number, with what was meant by it.
    pub fn number(&self, name: &str, what: &str) -> Result<Option<u64>, AdminError> {
        let text = self.get(name);
        match text.trim() {
            "" => Ok(None),
            digits => digits.parse().map(Some).map_err(|_| {
                AdminError::new(Kind::Invalid, format!("{what} is no whole number"))
                    .because(format!("it is `{digits}`"))
            }),
        }
    }
}

fn too_large(error: &axum::Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(|s| s.downcast_ref::<http_body_util::LengthLimitError>().is_some())
}

/// A parameter of the address; empty when it is not there.
pub fn query(uri: &Uri, name: &str) -> String {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs.into_iter().find(|(k, _)| k == name).map(|(_, v)| v.into_owned()).unwrap_or_default()
}

/// `next` if it is a plain path of this server, else `/`: signing in must not lead elsewhere.
pub fn local_path(next: &str) -> &str {
    let local = next.starts_with('/')
        && !next.starts_with("//")
        && next.len() <= MAX_NEXT
        && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if local { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_server_are_returned_to() {
        assert_eq!(local_path("/licenses?q=a%20b&page=2"), "/licenses?q=a%20b&page=2");
        for bad in ["//evil.example", "https://evil.example", "/\\evil.example", "", "x", "/a\r\nb", "/\u{e9}"] {
            assert_eq!(local_path(bad), "/", "{bad:?}");
        }
    }
}
