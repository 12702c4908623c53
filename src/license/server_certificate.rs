//! The certificate that products see: which names it must have, which one is in force, and which is on the way.

use super::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the products' certificate is for: the common name first, then all names and addresses of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerNames {
    pub common_name: String,
    /// In order, each once; the common name is among them.
    pub hosts: Vec<String>,
}

/// A certificate that central is to sign in its next response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedCertificate {
    pub names: ServerNames,
    /// PKCS#10 (RFC 2986), DER.
    pub csr: Vec<u8>,
    /// Sealed under [`ServerCertificate::KEY_CONTEXT`].
    pub key: Sealed,
    pub since: Millis,
}

/// A certificate that central has signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentCertificate {
    pub names: ServerNames,
    /// DER, the server's first, without the vendor root.
    pub chain: Vec<Vec<u8>>,
    /// Sealed under [`ServerCertificate::KEY_CONTEXT`].
    pub key: Sealed,
    pub not_after: Millis,
}

/// What central has signed for a request, as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedCertificate {
    pub chain: Vec<Vec<u8>>,
    pub not_after: Millis,
}

/// One record. Before the first one is signed, the cluster CA issues what products see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerCertificate {
    pub wanted: Option<WantedCertificate>,
    pub current: Option<CurrentCertificate>,
}

impl ServerCertificate {
    pub const KEY_CONTEXT: &'static str = "server tls key";

    /// The common name in force that the wanted one is to replace; none: nothing is pending.
    #[must_use]
    pub fn pending(&self) -> Option<&str> {
        let (wanted, current) = (self.wanted.as_ref()?, self.current.as_ref()?);
        (wanted.names.common_name != current.names.common_name).then_some(&current.names.common_name)
    }

    /// Whether another certificate must be asked for at `now`, for a server with these names.
    #[must_use]
    pub fn lacks(&self, names: &ServerNames, now: Millis) -> bool {
        if let Some(wanted) = &self.wanted {
            return wanted.names != *names;
        }
        let fresh = |c: &CurrentCertificate| now.plus(SERVER_CERTIFICATE_RENEWAL) < c.not_after;
        !self.current.as_ref().is_some_and(|current| current.names == *names && fresh(current))
    }

    /// Whether the one in force ends so soon that somebody should know.
    #[must_use]
    pub fn expiring(&self, now: Millis) -> bool {
        self.current.as_ref().is_some_and(|current| now.plus(SERVER_CERTIFICATE_EXPIRING) >= current.not_after)
    }
}

impl State {
    #[must_use]
    pub fn server_certificate(&self) -> &ServerCertificate {
        &self.server_certificate
    }

    /// Names that the products' certificate has and will not have any more once the common name is this one: products
    /// whose URL has one of them cannot connect then.
    #[must_use]
    pub fn names_lost(&self, common_name: &str) -> Vec<String> {
        let settings = Settings { host_common_name: common_name.to_owned(), ..self.settings().clone() };
        let Some(now) = self.server_names() else { return Vec::new() };
        let kept = Self { settings: Arc::new(settings), ..self.clone() }.server_names().unwrap_or(now.clone());
        let in_force = self.server_certificate.current.as_ref().map_or(now, |current| current.names.clone());
        in_force.hosts.into_iter().filter(|host| !kept.hosts.contains(host)).collect()
    }

    /// How this server may be called now: its common name, the virtual addresses, and the data nodes. None before
    /// anything is known.
    #[must_use]
    pub fn server_names(&self) -> Option<ServerNames> {
        let nodes = self.members().filter(|m| !m.witness && !m.retired);
        let mut hosts = self.settings.vip.clone();
        hosts.extend(nodes.flat_map(|node| [node.public_address.clone(), node.name.clone()]));
        let common_name = match self.settings.host_common_name.as_str() {
            "" => hosts.first()?.clone(),
            name => name.to_owned(),
        };
        hosts.push(common_name.clone());
        hosts.sort_unstable();
        hosts.dedup();
        Some(ServerNames { common_name, hosts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lacks_one_for_other_names_and_before_it_ends() {
        let names = |name: &str| ServerNames { common_name: name.into(), hosts: vec![name.into()] };
        let wanted =
            |name| WantedCertificate { names: names(name), csr: vec![], key: Sealed(vec![]), since: Millis(1) };
        let current = |name, not_after| CurrentCertificate {
            names: names(name),
            chain: vec![],
            key: Sealed(vec![]),
            not_after: Millis(not_after),
        };
        let none = ServerCertificate::default();
        assert!(none.lacks(&names("a"), Millis(0)) && !none.expiring(Millis(0)) && none.pending().is_none());
        let asked = ServerCertificate { wanted: Some(wanted("a")), current: None };
        assert!(!asked.lacks(&names("a"), Millis(0)) && asked.lacks(&names("b"), Millis(0)));
        assert_eq!(asked.pending(), None, "what the cluster CA issues has the new name at once");
        let year = 365 * Millis::DAY;
        let held = ServerCertificate { wanted: None, current: Some(current("a", year)) };
        assert!(!held.lacks(&names("a"), Millis(0)) && held.lacks(&names("b"), Millis(0)));
        let (renewal, expiring) = (year - SERVER_CERTIFICATE_RENEWAL, year - SERVER_CERTIFICATE_EXPIRING);
        assert!(!held.lacks(&names("a"), Millis(renewal - 1)) && held.lacks(&names("a"), Millis(renewal)));
        assert!(!held.expiring(Millis(expiring - 1)) && held.expiring(Millis(expiring)));
        let changing = ServerCertificate { wanted: Some(wanted("b")), ..held };
        assert_eq!(changing.pending(), Some("a"));
    }
}
