//! The certificate that products see: asked for, signed by central, and about to end.

use super::*;

/// What the alerts about it are about.
const SOURCE: &str = "server certificate";

impl Apply<'_> {
    /// The leader has made a key and a request; central signs it in its first response to a synchronization that begins
    /// from now on, whichever account's.
    pub fn want_server_certificate(&mut self, names: &ServerNames, csr: &[u8], key: &Sealed) -> Done {
        inputs::server_names(names)?;
        inputs::blob("certificate request", csr)?;
        self.check_sealed("key", key)?;
        let wanted = WantedCertificate { names: names.clone(), csr: csr.to_vec(), key: key.clone(), since: self.now };
        self.change_server_certificate(|certificate| certificate.wanted = Some(wanted));
        Ok(Outcome::Done)
    }

    /// Takes what central has signed for `request`, unless another one is wanted by now.
    pub fn take_server_certificate(&mut self, request: &ServerRequest, signed: &SignedCertificate) {
        let certificate = &self.state.server_certificate;
        let Some(wanted) = certificate.wanted.clone().filter(|wanted| wanted.csr == request.csr) else { return };
        let before = certificate.current.as_ref().map(|current| current.names.common_name.clone());
        let name = wanted.names.common_name.clone();
        let (chain, not_after) = (signed.chain.clone(), signed.not_after);
        let current = CurrentCertificate { names: wanted.names, chain, key: wanted.key, not_after };
        self.change_server_certificate(|certificate| {
            *certificate = ServerCertificate { wanted: None, current: Some(current) };
        });
        let message = match before {
            Some(before) if before != name => format!("The products' certificate names {name}, not {before} any more."),
            Some(_) => format!("The products' certificate for {name} was renewed."),
            None => format!("Central has signed the products' certificate for {name}."),
        };
        self.event(Severity::Informational, None, "server-certificate", message);
    }

    fn change_server_certificate(&mut self, change: impl FnOnce(&mut ServerCertificate)) {
        change(Arc::make_mut(&mut self.state.server_certificate));
        self.changes.insert(RecordKey::ServerCertificate);
        let certificate = self.state.server_certificate.clone();
        match (certificate.pending(), &certificate.wanted) {
            (Some(old), Some(wanted)) => {
                let new = &wanted.names.common_name;
                let message = format!("The products' certificate still names {old}; it is to name {new}.");
                let action = "Synchronize an account with central; then see that the products' URLs have the new name.";
                self.alert_server(AlertKind::CommonNamePending, None, message, action);
            }
            _ => self.drop_alert(&about_server(AlertKind::CommonNamePending)),
        }
        if !certificate.expiring(self.state.meta.expiry) {
            self.drop_alert(&about_server(AlertKind::CertificateExpiring));
        }
        self.mark_expiring();
    }

    /// Says so when the certificate in force ends soon: another one was due long before.
    pub fn mark_expiring(&mut self) {
        if !self.state.server_certificate.expiring(self.state.meta.expiry) {
            return;
        }
        let Some(current) = self.state.server_certificate.current.clone() else { return };
        let message =
            format!("The products' certificate for {} ends soon, and no other one came.", current.names.common_name);
        let action = "Synchronize an account with central, over the network or by files: that renews it.";
        self.alert_server(AlertKind::CertificateExpiring, Some(current.not_after), message, action);
    }

    fn alert_server(&mut self, kind: AlertKind, due: Option<Millis>, message: String, action: &str) {
        self.put_alert(Alert {
            key: about_server(kind),
            severity: Severity::Major,
            account: None,
            raised: self.now,
            due,
            message,
            action: action.to_owned(),
            acknowledged: None,
        });
    }
}

fn about_server(kind: AlertKind) -> AlertKey {
    AlertKey { kind, source: SOURCE.to_owned() }
}
