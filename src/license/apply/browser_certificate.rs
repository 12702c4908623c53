//! The certificate that browsers see: brought, given up, and about to end.

use super::*;

impl Apply<'_> {
    /// What the leader has checked takes the place of the one in force; none: the cluster CA's is seen again.
    pub fn set_browser_certificate(&mut self, certificate: Option<&BrowserCertificate>) -> Done {
        if let Some(certificate) = certificate {
            inputs::browser_certificate(certificate)?;
            self.check_sealed("key", &certificate.key)?;
        }
        let certificate = certificate.map(|c| BrowserCertificate { imported: self.now, ..c.clone() });
        self.state.browser_certificate = certificate.map(Arc::new);
        self.changes.insert(RecordKey::BrowserCertificate);
        self.drop_alert(&about_browser());
        self.mark_browser_expiring();
        Ok(Outcome::Done)
    }

    /// Says so when it ends soon: nobody but an administrator can bring another one.
    pub fn mark_browser_expiring(&mut self) {
        let certificate = self.state.browser_certificate.clone();
        let Some(certificate) = certificate.filter(|certificate| certificate.expiring(self.state.meta.expiry)) else {
            return;
        };
        let message = format!("The certificate for browsers, of {}, ends soon.", certificate.common_name);
        let action = "Bring another one: `licraft cert import-browser FILE`; after its end the cluster CA's is seen.";
        self.put_alert(Alert {
            key: about_browser(),
            severity: Severity::Major,
            account: None,
            raised: self.now,
            due: Some(certificate.not_after),
            message,
            action: action.to_owned(),
            acknowledged: None,
        });
    }
}

fn about_browser() -> AlertKey {
    AlertKey { kind: AlertKind::CertificateExpiring, source: "browser certificate".to_owned() }
}
