//! Instances that have failed to connect or to renew: noted by their days, and told in one alert a virtual account.

use super::*;
use imbl::OrdSet;
use std::collections::BTreeSet;

type Mark = (u64, InstanceId);

impl Apply<'_> {
    /// Notes the instances that have failed by now, some at a time, and after an outage of ours not for a day.
    pub fn mark_instances(&mut self) {
        if self.state.meta.spares() {
            return;
        }
        let today = self.state.meta.expiry.0 / Millis::DAY;
        let (marks, index) = (self.state.meta.marks, &self.state.index);
        let certificates = today + ID_CERTIFICATE_EXPIRING / Millis::DAY;
        let (silent, mut found) = advance(&index.lapses, marks.silent, today + SILENT_BEFORE);
        let (lapsed, more) = advance(&index.lapses, marks.lapsed, today + LAPSED_BEFORE);
        found.extend(more);
        let (certificates, more) = advance(&index.certificate_ends, marks.certificates, certificates);
        found.extend(more);
        self.state.meta.marks = Marks { silent, lapsed, certificates };
        let mut vas = BTreeSet::new();
        for instance in found.iter().filter_map(|id| self.state.instances.get(id)) {
            self.state.index.note_faults(instance, self.state.meta.marks.faults(instance));
            vas.insert(instance.va);
        }
        vas.into_iter().for_each(|va| self.alert_instances(va));
    }

    /// An instance changed from `old` to `new`: what is noted of it follows. None: it was not there, or is there no more.
    pub fn follow_faults(&mut self, old: Option<&Instance>, new: Option<&Instance>) {
        let marks = self.state.meta.marks;
        let faulty = |instance: &&Instance| marks.faults(instance).any();
        let (old, new) = (old.filter(faulty), new.filter(faulty));
        old.inspect(|old| self.state.index.forget_faults(old));
        new.inspect(|new| self.state.index.note_faults(new, marks.faults(new)));
        let vas: BTreeSet<_> = old.into_iter().chain(new).map(|instance| instance.va).collect();
        vas.into_iter().for_each(|va| self.alert_instances(va));
    }

    /// Raises, updates or clears the alerts about instances of a virtual account.
    pub fn alert_instances(&mut self, va: VirtualAccountId) {
        for kind in [AlertKind::FailedToConnect, AlertKind::FailedToRenew] {
            let Some(key) = self.state.instances_alert_key(kind, va) else { continue };
            match self.failed_instances(kind, va) {
                Some(alert) => self.put_alert(Alert { key, ..alert }),
                None => self.drop_alert(&key),
            }
        }
    }

    fn failed_instances(&self, kind: AlertKind, va: VirtualAccountId) -> Option<Alert> {
        let set = self.state.index.failed(kind).get(&va)?;
        let (day, id) = set.get_min()?;
        let (first, va) = (self.state.instance(*id)?.name(), self.state.virtual_account(va)?);
        let count = match set.len() {
            1 => "1 product instance".to_owned(),
            n => format!("{n} product instances"),
        };
        let (severity, what, action) = if kind == AlertKind::FailedToConnect {
            let days = (RENEW_IN_COMPLIANCE + CONTACT_GRACE) / Millis::DAY;
            let action = "See the last contacts of the product instances. Look whether these products run and reach their \
                          URL; remove those that are gone, for they keep their licenses until they are released.";
            (Severity::Minor, format!("did not connect for {days} days"), action)
        } else {
            let action = "Look why these products do not renew by themselves: they must run and reach their URL. Else they \
                          lose their registration, and must be registered again with a token.";
            (
                Severity::Major,
                "did not renew: the authorization has lapsed, or the ID certificate ends".to_owned(),
                action,
            )
        };
        Some(Alert {
            key: AlertKey { kind, source: String::new() },
            severity,
            account: Some(va.account),
            raised: self.now,
            due: Some(Millis(day * Millis::DAY)),
            message: inputs::cut(&format!("{count} of \"{}\" {what}. The first one is {first}.", va.name), MAX_MESSAGE)
                .to_owned(),
            action: action.to_owned(),
            acknowledged: None,
        })
    }
}

/// The mark moved on towards the end of `day`, past some instances at most, and these instances.
fn advance(days: &OrdSet<Mark>, mark: Mark, day: u64) -> (Mark, Vec<InstanceId>) {
    let target = (day, InstanceId(u64::MAX));
    if mark >= target {
        return (mark, Vec::new());
    }
    let passed = days.range((core::ops::Bound::Excluded(mark), core::ops::Bound::Included(target)));
    let passed: Vec<Mark> = passed.take(MARKS_PER_APPLY).copied().collect();
    let reached = passed.get(MARKS_PER_APPLY - 1).copied().unwrap_or(target);
    (reached, passed.into_iter().map(|(_, id)| id).collect())
}

/// What an instance has failed to do.
#[derive(Clone, Copy)]
pub(in crate::license) struct Faults {
    pub connect: bool,
    pub renew: bool,
}

impl Faults {
    const fn any(self) -> bool {
        self.connect || self.renew
    }
}

impl Marks {
    pub(in crate::license) fn faults(&self, instance: &Instance) -> Faults {
        let by_release = (instance.lapse_day(), instance.id);
        let by_certificate = (instance.certificate_day(), instance.id);
        let renew = by_release <= self.lapsed || by_certificate <= self.certificates;
        Faults { connect: by_release <= self.silent, renew }
    }
}

impl State {
    /// The identity of an alert about the instances of a virtual account.
    pub(in crate::license) fn instances_alert_key(&self, kind: AlertKind, va: VirtualAccountId) -> Option<AlertKey> {
        let va = self.virtual_account(va)?;
        let account = self.account(va.account)?;
        Some(AlertKey { kind, source: [account.name.as_str(), &va.name].join("/") })
    }

    /// What the instance has failed to do, as alerts call it.
    pub fn failures(&self, instance: &Instance) -> impl Iterator<Item = AlertKind> + use<> {
        let Faults { connect, renew } = self.meta.marks.faults(instance);
        let connect = connect.then_some(AlertKind::FailedToConnect);
        connect.into_iter().chain(renew.then_some(AlertKind::FailedToRenew))
    }
}
