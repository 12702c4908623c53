//! Alerts: those raised by others about nodes, and those the state keeps itself.

use super::*;

/// Kinds that follow from the records; nobody else may raise or clear them.
const fn kept(kind: AlertKind) -> bool {
    match kind {
        AlertKind::InsufficientLicenses
        | AlertKind::SynchronizationOverdue
        | AlertKind::SynchronizationFailed
        | AlertKind::AccountPending
        | AlertKind::CommonNamePending
        | AlertKind::CertificateExpiring => true,
        AlertKind::ClusterDegraded | AlertKind::WitnessLost => false,
    }
}

fn refuse_kept(kind: AlertKind) -> Result<(), Refusal> {
    if kept(kind) {
        let message = format!("\"{}\" alerts are raised and cleared by the licensing state itself.", kind.title());
        return Err(refuse(Reason::Invalid, message));
    }
    Ok(())
}

impl Apply<'_> {
    /// From outside; raised again, it keeps its date and whether it was acknowledged.
    pub fn raise_alert(&mut self, alert: &Alert) -> Done {
        refuse_kept(alert.key.kind)?;
        inputs::text("source of the alert", &alert.key.source, MAX_TEXT)?;
        inputs::text("message of the alert", &alert.message, MAX_MESSAGE)?;
        inputs::text("action of the alert", &alert.action, MAX_MESSAGE)?;
        let raised = self.state.alerts().filter(|a| !kept(a.key.kind)).count();
        if self.state.alert(&alert.key).is_none() && raised >= MAX_RAISED_ALERTS {
            return Err(refuse(Reason::Limit, format!("{MAX_RAISED_ALERTS} alerts are raised; clear some first.")));
        }
        self.put_alert(alert.clone());
        Ok(Outcome::Done)
    }

    /// From outside; clearing what is not raised is done already.
    pub fn clear_alert(&mut self, key: &AlertKey) -> Done {
        refuse_kept(key.kind)?;
        self.drop_alert(key);
        Ok(Outcome::Done)
    }

    pub fn acknowledge_alert(&mut self, key: &AlertKey) -> Done {
        let Some(alert) = self.state.alerts.get_mut(key) else {
            let message = format!("There is no alert \"{}\" about {}.", key.kind.title(), key.source);
            return Err(refuse(Reason::NotFound, message));
        };
        if !alert.acknowledged {
            Arc::make_mut(alert).acknowledged = true;
            self.changes.insert(RecordKey::Alert(key.clone()));
        }
        Ok(Outcome::Done)
    }

    /// Raises or updates; the date and the acknowledgement of a standing alert remain.
    pub fn put_alert(&mut self, mut alert: Alert) {
        let standing = self.state.alert(&alert.key);
        alert.raised = standing.map_or(self.now, |a| a.raised);
        alert.acknowledged = standing.is_some_and(|a| a.acknowledged);
        if standing != Some(&alert) {
            self.changes.insert(RecordKey::Alert(alert.key.clone()));
            self.state.alerts.insert(alert.key.clone(), Arc::new(alert));
        }
    }

    pub fn drop_alert(&mut self, key: &AlertKey) {
        if self.state.alerts.remove(key).is_some() {
            self.changes.insert(RecordKey::Alert(key.clone()));
        }
    }

    /// Raises an alert about an account.
    pub fn alert_account(&mut self, kind: AlertKind, id: AccountId, severity: Severity, message: String, action: &str) {
        let Some(account) = self.state.account(id) else { return };
        let key = AlertKey { kind, source: account.name.clone() };
        let due = account.sync.due;
        let action = action.to_owned();
        let (raised, acknowledged) = (self.now, false);
        self.put_alert(Alert { key, severity, account: Some(id), raised, due, message, action, acknowledged });
    }

    pub fn drop_account_alert(&mut self, kind: AlertKind, id: AccountId) {
        if let Some(account) = self.state.account(id) {
            let key = AlertKey { kind, source: account.name.clone() };
            self.drop_alert(&key);
        }
    }
}
