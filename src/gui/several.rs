//! What is done to several things that were ticked in a list: a page that says beforehand what will become of each, and
//! one that says afterwards what did.

use super::view::{Shell, Viewer, page};
use crate::admin::{AdminError, Kind};
use crate::license::{Action, Place, Refusal, State, VirtualAccount, VirtualAccountId};
use askama::Template;
use axum::response::Response;
use http::{StatusCode, Uri};
use std::collections::BTreeSet;
use url::form_urlencoded;

/// One of them, and what is to be done to it.
pub struct Item {
    /// Names it in the form.
    pub key: String,
    pub name: String,
    /// Where it is.
    pub place: String,
    pub what: String,
    /// Of so many at most a number is asked for.
    pub most: Option<u64>,
    /// Why it cannot be done.
    pub refused: Option<AdminError>,
}

impl Item {
    /// Something that is not there, or not for this person to see.
    pub fn missing(key: String, error: AdminError) -> Self {
        let (name, place, what) = (String::from("?"), String::new(), String::new());
        Self { key, name, place, what, most: None, refused: Some(error) }
    }

    fn why(&self) -> Option<String> {
        self.refused.as_ref().map(sentence)
    }
}

/// Asks before it is done.
#[derive(Template)]
#[template(path = "several.html")]
pub struct Plan {
    pub shell: Shell,
    /// What it means, a sentence each.
    pub says: Vec<&'static str>,
    pub items: Vec<Item>,
    /// What the form calls them.
    pub named: &'static str,
    /// Fields that go with the form.
    pub fields: Vec<(&'static str, String)>,
    pub button: &'static str,
    pub back: &'static str,
}

impl Plan {
    /// What the rehearsal of those that may be done came to, in their order.
    pub fn rehearsed(items: &mut [Item], refusals: Vec<Option<Refusal>>) {
        let open = items.iter_mut().filter(|item| item.refused.is_none());
        for (item, refusal) in open.zip(refusals) {
            item.refused = refusal.map(AdminError::from);
        }
    }

    pub fn page(self) -> Response {
        page(StatusCode::OK, &self)
    }

    fn possible(&self) -> usize {
        self.items.iter().filter(|item| item.refused.is_none()).count()
    }

    fn numbers(&self) -> bool {
        self.items.iter().any(|item| item.most.is_some())
    }
}

/// What became of one of them.
pub struct Fate {
    pub name: String,
    pub what: String,
    pub error: Option<AdminError>,
}

impl Fate {
    fn why(&self) -> Option<String> {
        self.error.as_ref().map(sentence)
    }
}

#[derive(Template)]
#[template(path = "several_done.html")]
struct DonePage {
    shell: Shell,
    fates: Vec<Fate>,
    back: &'static str,
}

impl DonePage {
    fn done(&self) -> usize {
        self.fates.iter().filter(|fate| fate.error.is_none()).count()
    }
}

/// Says what became of each.
pub fn report(shell: Shell, fates: Vec<Fate>, back: &'static str) -> Response {
    page(StatusCode::OK, &DonePage { shell, fates, back })
}

/// What was ticked, each once.
///
/// # Errors
/// When nothing was.
pub fn ticked(uri: &Uri, name: &str) -> Result<Vec<String>, AdminError> {
    let mut seen = BTreeSet::new();
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let ticked: Vec<String> = pairs
        .filter(|(known, value)| known == name && seen.insert(value.to_string()))
        .map(|(_, value)| value.into_owned())
        .collect();
    if ticked.is_empty() {
        return Err(AdminError::new(Kind::Invalid, "nothing was ticked").hint("go back and tick what is meant"));
    }
    Ok(ticked)
}

/// The virtual account that was chosen to move them to, in which this person may do `action`.
pub fn target<'a>(
    state: &'a State,
    viewer: &Viewer,
    id: &str,
    action: Action,
) -> Result<&'a VirtualAccount, AdminError> {
    let va = id.parse().ok().and_then(|id| state.virtual_account(VirtualAccountId(id)));
    let va = va.filter(|va| viewer.may(Action::Look, Place::VirtualAccount(va.id), state)).ok_or_else(|| {
        AdminError::new(Kind::Invalid, "no virtual account was chosen to move them to").hint("go back and choose one")
    })?;
    viewer.require(action, Place::VirtualAccount(va.id), state).map(|()| va)
}

/// An error as sentences.
fn sentence(error: &AdminError) -> String {
    let parts = [&error.message, &error.why, &error.hint].map(|part| part.trim_end_matches('.'));
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_whole() {
        let error = AdminError::new(Kind::Denied, "you may not.").because("your role").hint("ask");
        assert_eq!(sentence(&error), "you may not; your role; ask");
        assert_eq!(sentence(&AdminError::new(Kind::Invalid, "no")), "no");
    }
}
