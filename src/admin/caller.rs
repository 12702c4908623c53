//! Who makes a call, and under which request id.

use super::error::{AdminError, Kind};
use crate::license::Role;
use tonic::metadata::{MetadataMap, MetadataValue};

/// Metadata of a call: 128 random bits in hex, chosen by the caller, by which a repeated change is recognised.
pub const REQUEST_ID_KEY: &str = "licraft-request-id";
/// Metadata that only members of the cluster may send: for whom they pass a call on.
pub const ACTOR_KEY: &str = "licraft-actor-bin";
pub const ROLE_KEY: &str = "licraft-role";

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
    /// A remote administrator.
    Remote { name: String, role: Role },
    /// A member of the cluster, passing on what its own caller asked.
    Node { name: String, witness: bool },
    /// A node of the cluster by its certificate alone, while this one has just joined and knows no members.
    Founder { node: u64 },
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
    pub fn of(peer: &Peer, metadata: &MetadataMap) -> Result<Self, AdminError> {
        match peer {
            // The kernel lets only root and the group open the socket: both administer this machine.
            Peer::Local { uid } => Ok(Self { actor: format!("uid {uid}"), role: Role::SystemAdministrator }),
            Peer::Remote { name, role } => Ok(Self { actor: format!("admin {name}"), role: *role }),
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

    fn claims() -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert_bin(ACTOR_KEY, tonic::metadata::MetadataValue::from_bytes(b"uid 0"));
        metadata.insert(ROLE_KEY, "system-administrator".parse().unwrap());
        metadata
    }

    #[test]
    fn only_members_speak_for_others() {
        let remote = Peer::Remote { name: "ops".into(), role: Role::ReadOnly };
        let caller = Caller::of(&remote, &claims()).unwrap();
        assert_eq!(caller, Caller { actor: "admin ops".into(), role: Role::ReadOnly });
        let node = Peer::Node { name: "secondary-node".into(), witness: false };
        let caller = Caller::of(&node, &claims()).unwrap();
        assert_eq!(caller.actor, "uid 0 via secondary-node");
        assert_eq!(caller.role, Role::SystemAdministrator);
        assert!(Caller::of(&node, &MetadataMap::new()).is_err());
        let witness = Peer::Node { name: "witness".into(), witness: true };
        assert_eq!(Caller::of(&witness, &claims()).unwrap().role, Role::ReadOnly);
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
