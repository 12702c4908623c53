//! Alerts: those raised by others about nodes, and those the state keeps itself.

use super::*;

/// Kinds that follow from the records; nobody else may raise or clear them.
fn kept(key: &AlertKey) -> bool {
    match key.kind {
        AlertKind::InsufficientLicenses
        | AlertKind::SynchronizationOverdue
        | AlertKind::SynchronizationFailed
        | AlertKind::AccountPending
        | AlertKind::CommonNamePending
        | AlertKind::CertificateExpiring
        | AlertKind::LicensesExpiring
        | AlertKind::LicensesExpired
        | AlertKind::FailedToConnect
        | AlertKind::FailedToRenew => true,
        AlertKind::ClusterDegraded | AlertKind::WitnessLost | AlertKind::DiskSpace => false,
        // Others are about the clock of a node that is not the leader.
        AlertKind::ClockSkew => time::is_about_clock(key),
    }
}

fn refuse_kept(key: &AlertKey) -> Result<(), Refusal> {
    if kept(key) {
        let message = format!("\"{}\" alerts are raised and cleared by the licensing state itself.", key.kind.title());
        return Err(refuse(Reason::Invalid, message));
    }
    Ok(())
}

impl State {
    /// Whether this alert follows from the records, so that nobody else may raise or clear it.
    #[must_use]
    pub fn keeps_alert(key: &AlertKey) -> bool {
        kept(key)
    }
}

impl Apply<'_> {
    /// From outside; raised again, it keeps its date and whether it was acknowledged.
    pub fn raise_alert(&mut self, alert: &Alert) -> Done {
        refuse_kept(&alert.key)?;
        inputs::text("source of the alert", &alert.key.source, MAX_TEXT)?;
        inputs::text("message of the alert", &alert.message, MAX_MESSAGE)?;
        inputs::text("action of the alert", &alert.action, MAX_MESSAGE)?;
        let raised = self.state.alerts().filter(|a| !kept(&a.key)).count();
        if self.state.alert(&alert.key).is_none() && raised >= MAX_RAISED_ALERTS {
            return Err(refuse(Reason::Limit, format!("{MAX_RAISED_ALERTS} alerts are raised; clear some first.")));
        }
        self.put_alert(alert.clone());
        Ok(Outcome::Done)
    }

    /// From outside; clearing what is not raised is done already.
    pub fn clear_alert(&mut self, key: &AlertKey) -> Done {
        refuse_kept(key)?;
        self.drop_alert(key);
        Ok(Outcome::Done)
    }

    pub fn acknowledge_alert(&mut self, key: &AlertKey) -> Done {
        let Some(alert) = self.state.alerts.get_mut(key) else {
            let message = format!("There is no alert \"{}\" about {}.", key.kind.title(), key.source);
            return Err(refuse(Reason::NotFound, message));
        };
        if alert.acknowledged.is_none() {
            let by = inputs::cut(self.actor, MAX_NAME).to_owned();
            Arc::make_mut(alert).acknowledged = Some(Acknowledgement { at: self.now, by });
            self.changes.insert(RecordKey::Alert(key.clone()));
        }
        Ok(Outcome::Done)
    }

    /// Raises or updates; the date of a standing alert remains, and so does its acknowledgement unless it got worse.
    pub fn put_alert(&mut self, mut alert: Alert) {
        let standing = self.state.alert(&alert.key);
        alert.raised = standing.map_or(self.now, |a| a.raised);
        alert.acknowledged = standing.filter(|a| a.severity >= alert.severity).and_then(|a| a.acknowledged.clone());
        if standing != Some(&alert) {
            self.changes.insert(RecordKey::Alert(alert.key.clone()));
            self.state.alerts.insert(alert.key.clone(), Arc::new(alert));
        }
    }

    pub fn drop_alert(&mut self, key: &AlertKey) {
        let Some(alert) = self.state.alerts.remove(key) else { return };
        self.changes.insert(RecordKey::Alert(key.clone()));
        // The oldest makes room.
        self.state.meta.last_past_alert += 1;
        let seq = self.state.meta.last_past_alert;
        let cleared_by = inputs::cut(self.actor, MAX_NAME).to_owned();
        let past = PastAlert { seq, alert: Alert::clone(&alert), cleared: self.now, cleared_by };
        if let Some(oldest) = seq.checked_sub(MAX_PAST_ALERTS) {
            self.state.past_alerts.remove(&oldest);
        }
        self.state.past_alerts.insert(seq, Arc::new(past));
        self.changes.insert(RecordKey::PastAlert(seq % MAX_PAST_ALERTS));
    }

    /// What an alert is about has another name: the alert moves along, with its date and acknowledgement.
    pub fn move_alert(&mut self, from: &AlertKey, to: AlertKey) {
        let Some(alert) = self.state.alerts.remove(from) else { return };
        self.changes.extend([RecordKey::Alert(from.clone()), RecordKey::Alert(to.clone())]);
        self.state.alerts.insert(to.clone(), Arc::new(Alert { key: to, ..Alert::clone(&alert) }));
    }

    /// Raises an alert about an account.
    pub fn alert_account(&mut self, kind: AlertKind, id: AccountId, severity: Severity, message: String, action: &str) {
        let Some(account) = self.state.account(id) else { return };
        let key = AlertKey { kind, source: account.name.clone() };
        let due = account.sync.due;
        let action = action.to_owned();
        let (raised, acknowledged) = (self.now, None);
        self.put_alert(Alert { key, severity, account: Some(id), raised, due, message, action, acknowledged });
    }

    pub fn drop_account_alert(&mut self, kind: AlertKind, id: AccountId) {
        if let Some(account) = self.state.account(id) {
            let key = AlertKey { kind, source: account.name.clone() };
            self.drop_alert(&key);
        }
    }
}
