//! Product instances as administrators and time see them: removed, transferred, lapsed.

use super::*;

impl Apply<'_> {
    pub fn remove_instance(&mut self, id: InstanceId) -> Done {
        let account = self.known_instance(id)?;
        if let Some(old) = self.release_instance(id, RevocationReason::PrivilegeWithdrawn) {
            let message = format!("{} (instance {id}) was removed.", old.name());
            self.inform_about(account, "instance-removed", message, old.subjects());
        }
        Ok(Outcome::Done)
    }

    /// Moves an instance with what it uses to another virtual account of the same account.
    pub fn transfer_instance(&mut self, id: InstanceId, to: VirtualAccountId) -> Done {
        let account = self.known_instance(id)?;
        let target = self.va(to)?;
        if target.account != account {
            let message = format!("Virtual account \"{}\" belongs to another account.", target.name);
            return Err(refuse(Reason::Invalid, message));
        }
        let target = target.name.clone();
        let Some(old) = self.state.instances.get(&id).filter(|i| i.va != to).cloned() else {
            return Ok(Outcome::Done);
        };
        for (license, count) in old.usage.iter() {
            self.change_use(old.va, *license, *count, 0);
            self.change_use(to, *license, 0, *count);
        }
        let moved = Instance { va: to, ..(*old).clone() };
        self.state.index.remove_instance(account, &old);
        self.state.index.add_instance(account, &moved);
        let moved = Arc::new(moved);
        self.state.instances.insert(id, moved.clone());
        self.follow_faults(Some(&old), Some(&moved));
        self.changes.insert(RecordKey::Instance(id));
        self.change_va(old.va, |va| va.instances -= 1);
        self.change_va(to, |va| va.instances += 1);
        let mut concerns = old.subjects();
        concerns.push(Subject::VirtualAccount(to));
        let message = format!("{} (instance {id}) moved to \"{target}\".", old.name());
        self.inform_about(account, "instance-transferred", message, concerns);
        Ok(Outcome::Done)
    }

    /// Releases instances that were not heard of through authorization and grace, some at a time; never within a
    /// day after service resumed, nor while the clock is in doubt.
    pub fn lapse_instances(&mut self) {
        if self.state.meta.spares() {
            return;
        }
        for _ in 0..LAPSES_PER_APPLY {
            let Some(&(day, id)) = self.state.index.lapses.get_min() else { break };
            if day > self.state.meta.expiry.0 / Millis::DAY {
                break;
            }
            let Ok(account) = self.known_instance(id) else { break };
            if let Some(old) = self.release_instance(id, RevocationReason::CessationOfOperation) {
                let message = format!("{} (instance {id}) was released after 180 days without contact.", old.name());
                self.event_about(Severity::Minor, Some(account), "instance-lapsed", message, old.subjects());
            }
        }
    }

    /// The account of an instance that exists.
    pub fn known_instance(&self, id: InstanceId) -> Result<AccountId, Refusal> {
        let unknown = || refuse(Reason::InstanceUnknown, format!("There is no instance {id}; register again."));
        let instance = self.state.instance(id).ok_or_else(unknown)?;
        Ok(self.va(instance.va)?.account)
    }

    /// Puts a changed instance in the place of what it was, in the same virtual account.
    pub fn put_instance(&mut self, instance: Instance) {
        let (id, new) = (instance.id, Arc::new(instance));
        self.changes.insert(RecordKey::Instance(id));
        if let Some(old) = self.state.instances.insert(id, new.clone()) {
            self.state.index.move_instance(&old, &new);
            self.follow_faults(Some(&old), Some(&new));
        }
    }

    /// Takes an instance out: its licenses are free at once, its certificate is revoked. Returns what it was.
    pub fn release_instance(&mut self, id: InstanceId, reason: RevocationReason) -> Option<Arc<Instance>> {
        let instance = self.state.instances.remove(&id)?;
        self.changes.insert(RecordKey::Instance(id));
        for (license, count) in instance.usage.iter() {
            self.change_use(instance.va, *license, *count, 0);
        }
        let account = self.state.virtual_account(instance.va)?.account;
        self.state.index.remove_instance(account, &instance);
        self.follow_faults(Some(&instance), None);
        self.change_va(instance.va, |va| va.instances -= 1);
        self.change_account(account, |a| a.instances -= 1);
        self.revoke(account, &instance.certificate, reason);
        Some(instance)
    }
}

impl Instance {
    /// What people call it: its host name, or its device identity.
    #[must_use]
    pub fn name(&self) -> String {
        instance_name(self.host_name.as_deref(), &self.udi)
    }

    /// What an event of it is about.
    pub(in crate::license) fn subjects(&self) -> Vec<Subject> {
        vec![Subject::Instance(self.id), Subject::VirtualAccount(self.va)]
    }
}

pub(super) fn instance_name(host_name: Option<&str>, udi: &Udi) -> String {
    match host_name {
        Some(host) if !host.is_empty() => host.to_owned(),
        _ => format!("UDI_PID:{};UDI_SN:{};", udi.pid, udi.sn),
    }
}
