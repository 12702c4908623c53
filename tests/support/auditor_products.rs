//! The model's answers to products.

use super::*;

impl Auditor {
    pub(super) fn register(&mut self, command: &Command) -> Result<Outcome, Reason> {
        let Command::Register { token_hash, udi, certificate, devices, .. } = command else { unreachable!() };
        ensure(!udi.pid.is_empty() && !udi.sn.is_empty(), Reason::Invalid)?;
        let all: Vec<Udi> = devices.iter().map(|d| (*d.udi).clone()).chain([udi.clone()]).collect();
        ensure(all.iter().collect::<BTreeSet<_>>().len() == all.len(), Reason::Invalid)?;
        let token = self.tokens.iter().find(|(_, t)| t.hash == *token_hash).map(|(id, _)| *id);
        let token_id = token.ok_or(Reason::TokenUnknown)?;
        let (va, export) = (self.tokens[&token_id].va, self.tokens[&token_id].export);
        let account = self.account_of(va);
        self.active(account)?;
        let known =
            self.instances.iter().find(|(_, i)| i.udi == *udi && self.account_of(i.va) == account).map(|(id, _)| *id);
        let registered = |id, va, repeated, export_controlled, certificate: &IdCertificate| {
            let (instance, va, certificate) = (InstanceId(id), VirtualAccountId(va), certificate.clone());
            Ok(Outcome::Registered(Registered { instance, va, repeated, export_controlled, certificate }))
        };
        if let Some(id) = known {
            let now = self.now;
            let open = unended(&self.tokens[&token_id], now);
            let old = self.instances.get_mut(&id).unwrap();
            if old.token == token_id
                && old.certificate.key_hash == certificate.key_hash
                && now < old.certificate.not_after.0
            {
                if old.devices != *devices {
                    open?;
                }
                old.contact = now;
                old.devices.clone_from(devices);
                let (va, export, certificate) = (old.va, old.export, old.certificate.clone());
                self.displace(account, &all, Some(id));
                return registered(id, va, true, export, &certificate);
            }
        }
        let token = self.tokens.get_mut(&token_id).unwrap();
        unended(token, self.now)?;
        ensure(token.max_uses == 0 || token.uses < token.max_uses, Reason::TokenExhausted)?;
        ensure(plausible(certificate, self.now), Reason::Invalid)?;
        token.uses += 1;
        self.displace(account, &all, None);
        let id = self.id();
        let instance = InstanceModel {
            va,
            udi: udi.clone(),
            devices: devices.clone(),
            token: token_id,
            export,
            certificate: certificate.clone(),
            usage: BTreeMap::new(),
            contact: self.now,
            last: None,
        };
        self.instances.insert(id, instance);
        registered(id, va, false, export, certificate)
    }

    /// Nothing else in the account has these devices any more.
    fn displace(&mut self, account: u64, devices: &[Udi], except: Option<u64>) {
        let vas: Vec<u64> = self.vas.iter().filter(|(_, va)| va.0 == account).map(|(id, _)| *id).collect();
        let others = self.instances.iter().filter(|(id, i)| Some(**id) != except && vas.contains(&i.va));
        let replaced: Vec<_> = others.filter(|(_, i)| devices.contains(&i.udi)).map(|(id, _)| *id).collect();
        for id in replaced {
            self.remove(id, RevocationReason::Superseded);
        }
        for (_, other) in self.instances.iter_mut().filter(|(id, i)| Some(**id) != except && vas.contains(&i.va)) {
            other.devices.retain(|d| !devices.contains(&d.udi));
        }
    }

    pub(super) fn numbered(
        &mut self,
        id: u64,
        number: u64,
        digest: &Digest32,
        action: &InstanceAction,
    ) -> Result<Outcome, Reason> {
        let Some(instance) = self.instances.get(&id) else {
            let gone = matches!(action, InstanceAction::Deregister);
            return if gone { Ok(Outcome::Deregistered) } else { Err(Reason::InstanceUnknown) };
        };
        let newest = instance.last.as_ref().map_or(0, |last| last.0);
        ensure(number > 0, Reason::StaleRequest { current: newest })?;
        if let Some((current, first, outcome)) = &instance.last {
            ensure(number >= *current, Reason::StaleRequest { current: *current })?;
            if number == *current {
                ensure(digest == first, Reason::RequestMismatch { current: *current })?;
                return Ok(self.renamed(outcome.clone()));
            }
        }
        let account = self.account_of(instance.va);
        let end = instance.certificate.not_after.0;
        if matches!(action, InstanceAction::Deregister) {
            self.remove(id, RevocationReason::CessationOfOperation);
            return Ok(Outcome::Deregistered);
        }
        self.active(account)?;
        ensure(self.expiry < end || self.spared(), Reason::CertificateExpired)?;
        match action {
            InstanceAction::Authorize { usage } => {
                let usage = self.wanted(account, instance.export, usage)?;
                self.instances.get_mut(&id).unwrap().usage = usage;
            }
            InstanceAction::RenewCertificate { certificate } => {
                ensure(plausible(certificate, self.now), Reason::Invalid)?;
                let instance = self.instances.get_mut(&id).unwrap();
                let old = std::mem::replace(&mut instance.certificate, certificate.clone());
                self.revoke(account, &old, RevocationReason::Superseded);
            }
            InstanceAction::RenewAuthorization | InstanceAction::Deregister => {}
        }
        self.instances.get_mut(&id).unwrap().contact = self.now;
        self.recount();
        if matches!(action, InstanceAction::RenewCertificate { .. }) {
            return Ok(Outcome::CertificateRenewed { instance: InstanceId(id) });
        }
        Ok(Outcome::Authorized(self.authorization(id)))
    }

    /// Takes an instance out; its certificate is revoked.
    pub(super) fn remove(&mut self, id: u64, reason: RevocationReason) {
        let Some(instance) = self.instances.remove(&id) else { return };
        self.revoke(self.account_of(instance.va), &instance.certificate, reason);
    }

    fn revoke(&mut self, account: u64, certificate: &IdCertificate, reason: RevocationReason) {
        let end = certificate.not_after.0;
        if self.now < end {
            self.revoked.insert(certificate.serial, (account, self.now, reason, end));
        }
    }

    /// License names are shown as they are now, in repeated answers too.
    fn renamed(&self, mut outcome: Outcome) -> Outcome {
        if let Outcome::Authorized(a) = &mut outcome {
            let account = self.account_of(self.instances[&a.instance.0].va);
            for status in &mut a.licenses {
                let license = self.licenses.values().find(|l| l.0 == account && l.1 == status.tag).unwrap();
                status.name.clone_from(&license.2);
            }
        }
        outcome
    }

    fn wanted(&self, account: u64, export: bool, asked: &[(String, u64)]) -> Result<BTreeMap<u64, u64>, Reason> {
        ensure(asked.len() <= 64, Reason::Limit)?;
        let mut usage = BTreeMap::new();
        let mut twice = false;
        for (tag, count) in asked {
            let license = self.licenses.iter().find(|(_, l)| l.0 == account && l.1 == *tag);
            let (id, (.., controlled)) = license.ok_or(Reason::LicenseUnknown)?;
            ensure(*count <= 1 << 40, Reason::Invalid)?;
            ensure(!*controlled || *count == 0 || export, Reason::ExportControlled)?;
            twice |= usage.insert(*id, *count).is_some();
        }
        ensure(!twice, Reason::Invalid)?;
        usage.retain(|_, count| *count > 0);
        Ok(usage)
    }

    fn authorization(&self, id: u64) -> Authorization {
        let instance = &self.instances[&id];
        let since = |license: &u64| self.short_since.get(&(instance.va, *license)).copied();
        let licenses: Vec<LicenseStatus> = (instance.usage.iter())
            .map(|(id, count)| {
                let (_, tag, name, _) = self.licenses[id].clone();
                LicenseStatus { tag, name, count: *count, in_compliance: since(id).is_none() }
            })
            .collect();
        let first = instance.usage.keys().filter_map(since).min();
        let next = if first.is_none() { 30 * DAY } else { 12 * HOUR };
        Authorization {
            instance: InstanceId(id),
            at: Millis(self.now),
            licenses,
            next_contact: Millis(self.now + next),
            expires: Millis(self.now + 90 * DAY),
            enforce_from: first.map(|f| Millis(f + 90 * DAY)),
            export_controlled: instance.export,
        }
    }
}

/// Neither revoked nor expired.
fn unended(token: &TokenModel, now: u64) -> Result<(), Reason> {
    ensure(!token.revoked, Reason::TokenRevoked)?;
    ensure(now < token.expires, Reason::TokenExpired)
}

fn plausible(certificate: &IdCertificate, now: u64) -> bool {
    let (from, to) = (certificate.not_before.0, certificate.not_after.0);
    from < to && to - from <= 366 * DAY && (from + 300_000).abs_diff(now.max(300_000)) <= DAY
}
