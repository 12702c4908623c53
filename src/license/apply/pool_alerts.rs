//! Alerts that follow from a pool: too few licenses, and terms that end or have ended.

use super::*;

impl Apply<'_> {
    /// Raises, updates or clears the alert about too few licenses.
    pub fn alert_shortage(&mut self, pool: &Pool) {
        let about = pool.out_of_compliance_since.map(|since| {
            let shortage = pool.balance().min(0).unsigned_abs();
            let action = "Purchase licenses, transfer some from another virtual account, or release some on products.";
            let words = move |va: &str, license: &str| {
                format!("Virtual account \"{va}\" uses {shortage} more of \"{license}\" than it has.")
            };
            (Severity::Major, since.plus(ENFORCE_AFTER), words, action)
        });
        self.alert_pool(AlertKind::InsufficientLicenses, pool, about);
    }

    /// Raises, updates or clears the alerts about terms.
    pub fn alert_terms(&mut self, pool: &Pool) {
        let expiring = pool.expiring(self.state.settings.licenses_expiring()).map(|(end, fewer)| {
            let words = move |va: &str, license: &str| {
                format!("Virtual account \"{va}\" will have {fewer} fewer of \"{license}\": their term ends.")
            };
            (Severity::Minor, end, words, "Renew them with the vendor, then synchronize the account.")
        });
        self.alert_pool(AlertKind::LicensesExpiring, pool, expiring);
        let expired = pool.expired().map(|(end, fewer)| {
            let words = move |va: &str, license: &str| {
                format!("Virtual account \"{va}\" has {fewer} fewer of \"{license}\" since their term ended.")
            };
            (Severity::Major, end, words, "Renew them with the vendor, then synchronize the account.")
        });
        self.alert_pool(AlertKind::LicensesExpired, pool, expired);
    }

    /// Raises an alert that is due at a time, worded with the names of virtual account and license; or clears it.
    fn alert_pool(
        &mut self,
        kind: AlertKind,
        pool: &Pool,
        about: Option<(Severity, Millis, impl Fn(&str, &str) -> String, &str)>,
    ) {
        let Some(key) = self.state.pool_alert_key(kind, pool) else { return };
        let Some((severity, due, words, action)) = about else { return self.drop_alert(&key) };
        let (va, license) = (self.state.virtual_account(pool.va), self.state.license(pool.license));
        let (Some(va), Some(license)) = (va, license) else { return };
        self.put_alert(Alert {
            key,
            severity,
            account: Some(license.account),
            raised: self.now,
            due: Some(due),
            message: words(&va.name, &license.name),
            action: action.to_owned(),
            acknowledged: None,
        });
    }
}

impl State {
    /// The identity of an alert about a pool.
    pub(in crate::license) fn pool_alert_key(&self, kind: AlertKind, pool: &Pool) -> Option<AlertKey> {
        Some(AlertKey { kind, source: self.pool_alert_source(pool.va, pool.license)? })
    }

    /// What alerts about a license in a virtual account name as their source. Names never contain `/`, so it is
    /// unambiguous.
    #[must_use]
    pub fn pool_alert_source(&self, va: VirtualAccountId, license: LicenseId) -> Option<String> {
        let va = self.virtual_account(va)?;
        let account = self.account(va.account)?;
        let license = self.license(license)?;
        Some([account.name.as_str(), &va.name, &license.tag].join("/"))
    }
}
