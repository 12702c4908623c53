//! Who makes a call, and under which request id.

use super::error::{AdminError, Kind};
use crate::license::{Digest32, Role, State};
use crate::pki::ca::certificate_key;
use crate::pki::equal_secrets;
use crate::pki::tls::uris_of_certificate;
use tonic::metadata::{MetadataMap, MetadataValue};

/// Metadata of a call: 128 random bits in hex, chosen by the caller, by which a repeated change is recognised.
pub const REQUEST_ID_KEY: &str = "licraft-request-id";
/// Metadata that only members of the cluster may send: for whom they pass a call on.
pub const ACTOR_KEY: &str = "licraft-actor-bin";
pub const ROLE_KEY: &str = "licraft-role";

/// URI name in the certificate of a remote administrator, before the identity's name.
pub const ADMIN_URI: &str = "licraft:admin:";

/// A call that a member of the cluster makes for itself, because of what is named by `actor`.
#[must_use]
pub fn on_behalf<T>(message: T, actor: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert_bin(ACTOR_KEY, MetadataValue::from_bytes(actor.as_bytes()));
    metadata.insert(ROLE_KEY, MetadataValue::from_static(Role::SystemAdministrator.as_str()));
    request
}

/// The other end of an admin connection, as proven by the kernel or by its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process on this machine that may open the socket.
    Local { uid: u32 },
    /// A remote administrator: the name and the hash of the key in the certificate. What counts is the record at each call.
    Remote { name: String, key_hash: Digest32 },
    /// A member of the cluster, passing on what its own caller asked.
    Node { name: String, witness: bool },
    /// A node of the cluster by its certificate alone, while this one has just joined and knows no members.
    Founder { node: u64 },
}

impl Peer {
    /// The remote administrator whose certificate this is (DER, leaf); None for what is no admin identity's.
    #[must_use]
    pub fn remote(leaf: &[u8]) -> Option<Self> {
        let uris = uris_of_certificate(leaf).ok()?;
        let name = uris.iter().find_map(|uri| uri.strip_prefix(ADMIN_URI))?.to_owned();
        Some(Self::Remote { name, key_hash: certificate_key(leaf).ok()?.hash() })
    }

    /// Whether the connection is worth keeping: not a revoked administrator's, who could hold a place for good.
    #[must_use]
    pub fn is_known(&self, state: &State) -> bool {
        match self {
            Self::Remote { name, key_hash } => remote_role(name, key_hash, state).is_ok(),
            _ => true,
        }
    }
}

/// The role of a remote administrator now: who was revoked or has expired has none.
pub fn remote_role(name: &str, key_hash: &Digest32, state: &State) -> Result<Role, AdminError> {
    let known = state.admin_identity(name).filter(|i| equal_secrets(&i.key_hash, key_hash));
    let denied = |why: &str| {
        Err(AdminError::new(Kind::Denied, format!("the admin identity \"{name}\" is not valid"))
            .because(why)
            .hint("have another one made: `licraft admin-identity create`"))
    };
    match known {
        None => denied("it was revoked"),
        Some(identity) if !identity.live(state.now()) => denied("it has expired"),
        Some(identity) => Ok(identity.role),
    }
}

/// For whom a call is made. Put into each request by the guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// As recorded in events and the audit log: `uid 0`, `admin ops`.
    pub actor: String,
    pub role: Role,
}

impl Caller {
    /// The caller behind `peer`. A member of the cluster names its own caller; what anybody else says is ignored. A witness
    /// is trusted with no change of anything, so whoever asks through it may only read.
    pub fn of(peer: &Peer, metadata: &MetadataMap, state: &State) -> Result<Self, AdminError> {
        match peer {
            // The kernel lets only root and the group open the socket: both administer this machine.
            Peer::Local { uid } => Ok(Self { actor: format!("uid {uid}"), role: Role::SystemAdministrator }),
            Peer::Remote { name, key_hash } => {
                Ok(Self { actor: format!("admin {name}"), role: remote_role(name, key_hash, state)? })
            }
            Peer::Founder { node } => Ok(Self { actor: format!("node {node}"), role: Role::SystemAdministrator }),
            Peer::Node { name, witness } => {
                let actor = metadata.get_bin(ACTOR_KEY).and_then(|v| v.to_bytes().ok());
                let actor = actor.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
                let role = metadata.get(ROLE_KEY).and_then(|v| v.to_str().ok()).and_then(Role::named);
                match (actor, role) {
                    (Some(actor), Some(role)) => {
                        let role = if *witness { Role::ReadOnly } else { role };
                        Ok(Self { actor: format!("{actor} via {name}"), role })
                    }
                    _ => Err(AdminError::new(Kind::Denied, format!("{name} does not say for whom it asks"))),
                }
            }
        }
    }
}

/// The request id in a call's metadata, or 0 where the caller gave none.
pub fn request_id(metadata: &MetadataMap) -> Result<u128, AdminError> {
    let Some(value) = metadata.get(REQUEST_ID_KEY) else { return Ok(0) };
    value.to_str().ok().and_then(|text| u128::from_str_radix(text, 16).ok()).ok_or_else(|| {
        AdminError::new(Kind::Invalid, format!("`{REQUEST_ID_KEY}` must be up to 32 hexadecimal digits"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::{Changes, Command, Millis, Outcome, Request, Stamp, User};

    fn claims() -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert_bin(ACTOR_KEY, tonic::metadata::MetadataValue::from_bytes(b"uid 0"));
        metadata.insert(ROLE_KEY, "system-administrator".parse().unwrap());
        metadata
    }

    fn with_identity(name: &str) -> State {
        let mut state = State::default();
        let administrator = User::new("admin".into(), Role::SystemAdministrator, "$argon2id$x".into(), false);
        let (name, expires) = (name.to_owned(), Millis(2 * Millis::DAY));
        for command in [
            Command::Initialize { server_uid: "00ff".into(), administrator },
            Command::CreateAdminIdentity { name, role: Role::ReadOnly, key_hash: [7; 32], expires },
        ] {
            let request = Request { id: 0, actor: "test".into(), command };
            let outcome = state.apply(Stamp::at(Millis(Millis::DAY)), &request, &mut Changes::new());
            assert_eq!(outcome, Outcome::Done);
        }
        state
    }

    fn apply(state: &mut State, at: u64, command: Command) {
        let request = Request { id: 0, actor: "test".into(), command };
        state.apply(Stamp::at(Millis(at)), &request, &mut Changes::new());
    }

    #[test]
    fn only_members_speak_for_others() {
        let state = with_identity("ops");
        let remote = Peer::Remote { name: "ops".into(), key_hash: [7; 32] };
        let caller = Caller::of(&remote, &claims(), &state).unwrap();
        assert_eq!(caller, Caller { actor: "admin ops".into(), role: Role::ReadOnly });
        let node = Peer::Node { name: "secondary-node".into(), witness: false };
        let caller = Caller::of(&node, &claims(), &state).unwrap();
        assert_eq!(caller.actor, "uid 0 via secondary-node");
        assert_eq!(caller.role, Role::SystemAdministrator);
        assert!(Caller::of(&node, &MetadataMap::new(), &state).is_err());
        let witness = Peer::Node { name: "witness".into(), witness: true };
        assert_eq!(Caller::of(&witness, &claims(), &state).unwrap().role, Role::ReadOnly);
    }

    #[test]
    fn a_remote_administrator_is_one_by_key_until_revoked_or_expired() {
        let mut state = with_identity("ops");
        let ask = |state: &State, name: &str, key| {
            let caller =
                Caller::of(&Peer::Remote { name: name.into(), key_hash: [key; 32] }, &MetadataMap::new(), state);
            caller.map(|c| c.role).map_err(|e| (e.kind, e.why))
        };
        assert_eq!(ask(&state, "ops", 7), Ok(Role::ReadOnly));
        let gone = Err((Kind::Denied, "it was revoked".to_owned()));
        assert_eq!((ask(&state, "ops", 8), ask(&state, "eve", 7)), (gone.clone(), gone.clone()));
        let mut later = state.clone();
        apply(&mut later, 2 * Millis::DAY, Command::DigestMark { nonce: 0 });
        assert_eq!(ask(&later, "ops", 7), Err((Kind::Denied, "it has expired".to_owned())));
        apply(&mut state, Millis::DAY, Command::RevokeAdminIdentity { name: "ops".into() });
        assert_eq!(ask(&state, "ops", 7), gone);
    }

    #[test]
    fn request_ids_are_hex() {
        let mut metadata = MetadataMap::new();
        assert_eq!(request_id(&metadata).unwrap(), 0);
        metadata.insert(REQUEST_ID_KEY, "ff".parse().unwrap());
        assert_eq!(request_id(&metadata).unwrap(), 255);
        metadata.insert(REQUEST_ID_KEY, "xyz".parse().unwrap());
        assert!(request_id(&metadata).is_err());
    }
}
