//! The person behind a request, and what of the server is theirs.

use crate::admin::{AdminError, Caller, Kind, REQUEST_ID_KEY};
use crate::license::{Account, Action, Alert, Event, Instance, Place, State, Subject, User, VirtualAccount};
use crate::pki::{random, sha256};
use crate::web::form::Form;
use tonic::metadata::MetadataValue;

/// The person a request comes from.
#[derive(Clone)]
pub struct Viewer {
    pub user: User,
    pub token: String,
    /// Whether this node is retired.
    pub retired: bool,
}

impl Viewer {
    /// Whether everything waits until the own password is set; on a retired node none can be.
    pub const fn must_change(&self) -> bool {
        self.user.must_change && !self.retired
    }

    /// Whether the role is for the whole server.
    pub const fn whole_server(&self) -> bool {
        self.user.role.is_for_server()
    }

    /// Whether they may change something there; nobody changes anything on a retired node.
    pub fn may(&self, action: Action, place: Place, state: &State) -> bool {
        !(self.retired && action != Action::Look) && self.user.may(action, place, state)
    }

    /// # Errors
    /// When they may not do `action` in `place`.
    pub fn require(&self, action: Action, place: Place, state: &State) -> Result<(), AdminError> {
        if self.may(action, place, state) {
            return Ok(());
        }
        let error = AdminError::new(Kind::Denied, "you may not do this");
        Err(match self.retired {
            true => error.because("this node is retired and read-only"),
            false => error
                .because(format!("your role is {}", self.user.role))
                .hint("ask a system administrator, who gives roles on the page Users"),
        })
    }

    /// The virtual accounts that they see, with their accounts, by name.
    pub fn virtual_accounts<'a>(&self, state: &'a State) -> Vec<(&'a Account, &'a VirtualAccount)> {
        let mut accounts: Vec<_> = state.accounts().collect();
        accounts.sort_by_key(|account| &account.name);
        let all =
            accounts.into_iter().flat_map(|account| state.virtual_accounts(account.id).map(move |va| (account, va)));
        all.filter(|(_, va)| self.user.may(Action::Look, Place::VirtualAccount(va.id), state)).collect()
    }

    /// The accounts that they see as a whole, by name.
    pub fn accounts<'a>(&self, state: &'a State) -> Vec<&'a Account> {
        let sees = |account: &&Account| self.user.may(Action::Look, Place::Account(account.id), state);
        let mut accounts: Vec<_> = state.accounts().filter(sees).collect();
        accounts.sort_by_key(|account| &account.name);
        accounts
    }

    /// The accounts of which they see something, by name.
    pub fn seen_accounts<'a>(&self, state: &'a State) -> Vec<&'a Account> {
        let part = |account: &Account| {
            let mut own = self.user.virtual_accounts.iter().filter_map(|id| state.virtual_account(*id));
            own.any(|va| va.account == account.id)
        };
        let sees = |account: &&Account| self.user.may(Action::Look, Place::Account(account.id), state) || part(account);
        let mut accounts: Vec<_> = state.accounts().filter(sees).collect();
        accounts.sort_by_key(|account| &account.name);
        accounts
    }

    /// Whether an alert is about what they see.
    pub fn sees_alert(&self, alert: &Alert, state: &State) -> bool {
        let place = alert.account.map_or(Place::Server, Place::Account);
        self.user.may(Action::Look, place, state) || self.sees_source(&alert.key.source, state)
    }

    /// Whether the source of an alert lies in a virtual account of theirs: `account/virtual account/license`.
    fn sees_source(&self, source: &str, state: &State) -> bool {
        let own = self.user.virtual_accounts.iter().filter_map(|id| state.virtual_account(*id));
        own.filter_map(|va| Some(format!("{}/{}", state.account(va.account)?.name, va.name)))
            .any(|place| source.strip_prefix(&place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    /// Whether an event is about what they see, and about nothing else.
    pub fn sees_event(&self, event: &Event, state: &State) -> bool {
        let place = event.account.map_or(Place::Server, Place::Account);
        if self.user.may(Action::Look, place, state) {
            return true;
        }
        let mut vas = event.concerns.iter().filter_map(|subject| match subject {
            Subject::VirtualAccount(id) => Some(Place::VirtualAccount(*id)),
            _ => None,
        });
        let sees = |place| self.user.may(Action::Look, place, state);
        vas.next().is_some_and(sees) && vas.all(sees)
    }

    pub fn sees_instance(&self, instance: &Instance, state: &State) -> bool {
        self.user.may(Action::Look, Place::VirtualAccount(instance.va), state)
    }

    /// `message` as they ask it; a form that is sent twice is the same request.
    pub fn ask<T>(&self, form: &Form, message: T) -> tonic::Request<T> {
        let once = form.get("once");
        let once = if once.is_empty() { hex::encode(random::bytes::<16>()) } else { once.to_string() };
        self.ask_once(once, message)
    }

    /// As [`Self::ask`] for one of the several changes that a form asks for, by which of them it is.
    pub fn ask_each<T>(&self, form: &Form, which: &str, message: T) -> tonic::Request<T> {
        let once = form.get("once");
        if once.is_empty() {
            return self.ask(form, message);
        }
        let id = sha256(format!("{} {which}", once.as_str()).as_bytes());
        self.ask_once(hex::encode(&id[..16]), message)
    }

    fn ask_once<T>(&self, once: String, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        // What is no metadata value is no request id either.
        request
            .metadata_mut()
            .insert(REQUEST_ID_KEY, MetadataValue::try_from(once).unwrap_or_else(|_| MetadataValue::from_static("-")));
        self.behind(&mut request);
        request
    }

    /// A question, which changes nothing.
    pub fn look<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        self.behind(&mut request);
        request
    }

    fn behind<T>(&self, request: &mut tonic::Request<T>) {
        request.extensions_mut().insert(Caller { actor: self.user.name.clone(), role: self.user.role });
    }
}
