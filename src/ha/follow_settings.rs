//! Brings the ports' certificates and the virtual addresses in line with what is replicated, and with the time.

use super::certificates;
use super::identity::NodeIdentity;
use super::ports::{CERTIFICATE_RENEWAL, Ports};
use super::shared::Shared;
use crate::license::{BrowserCertificate, CurrentCertificate, Millis, Settings, State};
use crate::pki::PkiError;
use crate::raft::Ledger;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the records are looked at: changed settings are noticed within this.
const SETTINGS_LOOK: Duration = Duration::from_millis(200);

/// What the certificates of the ports follow from: when it differs, they are made anew.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    settings: Settings,
    /// While they are in force.
    products: Option<CurrentCertificate>,
    browsers: Option<BrowserCertificate>,
    /// What the cluster CA issues is renewed as often as this changes.
    period: u64,
}

impl Seen {
    fn of(state: &State, now: Millis) -> Self {
        let products = state.server_certificate().current.clone();
        Self {
            settings: state.settings().clone(),
            products: products.filter(|certificate| now < certificate.not_after),
            browsers: state.browser_certificate().filter(|certificate| now < certificate.not_after).cloned(),
            period: now.0 / CERTIFICATE_RENEWAL,
        }
    }
}

/// Brings the virtual addresses and the certificate's names in line with the replicated settings.
pub(super) struct FollowSettings {
    pub shared: Arc<Shared>,
    pub identity: Arc<NodeIdentity>,
    pub ports: Arc<Ports>,
    pub vip: watch::Sender<Vec<IpAddr>>,
}

impl FollowSettings {
    pub(super) async fn run(self, ledger: Arc<dyn Ledger>, stop: CancellationToken) {
        let mut seen: Option<Seen> = None;
        while !stop.is_cancelled() {
            let state = ledger.state();
            // A clock that has jumped is noticed before it is in doubt: what was made by it is made again then.
            let new = Seen::of(&state, state.time((self.shared.clock)()));
            if seen.as_ref() != Some(&new) {
                self.apply(&state);
                seen = Some(new);
            }
            tokio::select! {
                () = tokio::time::sleep(SETTINGS_LOOK) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    fn apply(&self, state: &State) {
        if let Err(error) = self.renew(state) {
            tracing::error!(%error, "the server certificate could not be renewed; the old one stays");
        }
        let settings = state.settings();
        let addresses: Vec<IpAddr> = settings.vip.iter().filter_map(|a| a.parse().ok()).collect();
        self.vip.send_if_modified(|current| {
            let change = *current != addresses;
            *current = addresses;
            change
        });
    }

    fn renew(&self, state: &State) -> Result<(), PkiError> {
        // Not by a clock that is in doubt: products would not take a certificate of the future.
        let (now, address) = (state.time((self.shared.clock)()), self.shared.config.address);
        let products = certificates::for_products(&self.identity, address, state, now)?;
        let pages = certificates::for_browsers(&self.identity, address, state, now)?;
        self.ports.renew(&products, &pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::{Changes, Command, Outcome, Request, Role, Sealed, Stamp, User};

    #[test]
    fn certificates_of_the_ports_are_made_anew_in_time_and_when_another_one_ends() {
        let now = Millis(100 * CERTIFICATE_RENEWAL);
        let certificate = BrowserCertificate {
            common_name: "lm.example".into(),
            hosts: vec![],
            chain: vec![vec![1]],
            key: Sealed(vec![1]),
            not_after: now.plus(Millis::DAY),
            imported: now,
        };
        let mut state = State::default();
        let administrator = User::new("a".into(), Role::SystemAdministrator, "x".into(), false);
        for command in [
            Command::Initialize { server_uid: "00".into(), administrator },
            Command::SetBrowserCertificate { certificate: Some(certificate) },
        ] {
            let request = Request { id: 0, actor: "test".into(), command };
            let stamp = Stamp::at(now);
            let outcome = state.apply(stamp, &request, &mut Changes::new());
            assert_eq!(outcome, Outcome::Done);
        }
        let seen = Seen::of(&state, now);
        assert_eq!(Seen::of(&state, now.plus(Millis::DAY - 1)), seen);
        assert_ne!(Seen::of(&state, now.plus(Millis::DAY)), seen, "the brought one has ended");
        assert_ne!(Seen::of(&state, now.plus(CERTIFICATE_RENEWAL)), Seen::of(&state, now.plus(Millis::DAY)));
    }
}
