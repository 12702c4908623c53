//! A registered product's numbered requests: answered once, and the same way when repeated.

use super::*;
use std::fmt::Write;

/// Changed counts that an event names; the rest is a number.
const NAMED_CHANGES: usize = 8;
/// Bytes of most messages about use.
const USAGE_MESSAGE: usize = 128;

impl Apply<'_> {
    /// An equal number with an equal payload gets the first outcome again; a license that was renamed since is shown
    /// under its new name. A deregistered instance is gone with its numbers, so deregistering again is done already.
    pub fn numbered(&mut self, id: InstanceId, number: u64, digest: &Digest32, action: &InstanceAction) -> Done {
        let Some(instance) = self.state.instances.get(&id) else {
            if matches!(action, InstanceAction::Deregister) {
                return Ok(Outcome::Deregistered);
            }
            return Err(refuse(Reason::InstanceUnknown, format!("There is no instance {id}; register again.")));
        };
        if number == 0 {
            // Numbers start at 1; 0 is how a server makes sure that an instance is unknown, and changes none.
            let current = instance.last_request.as_ref().map_or(0, |l| l.number);
            return Err(refuse(Reason::StaleRequest { current }, "Request numbers start at 1."));
        }
        if let Some(last) = &instance.last_request
            && number <= last.number
        {
            return self.answer_again(instance, last, number, digest);
        }
        let mut instance = Instance::clone(instance);
        let result = match action {
            InstanceAction::Authorize { usage } => self.authorize(&mut instance, usage),
            InstanceAction::RenewAuthorization => self.renew_authorization(&mut instance),
            InstanceAction::RenewCertificate { certificate } => self.renew_certificate(&mut instance, certificate),
            InstanceAction::Deregister => return self.deregister(id),
        };
        let answer = result.unwrap_or_else(|refusal| LastAnswer::Refused(Box::new(refusal)));
        let last = LastRequest { number, digest: *digest, at: self.now, answer };
        let outcome = self.answer(&instance, &last);
        instance.last_request = Some(last);
        self.put_instance(instance);
        outcome
    }

    fn answer_again(&self, instance: &Instance, last: &LastRequest, number: u64, digest: &Digest32) -> Done {
        let current = last.number;
        if number < current {
            let message = format!("Request {number} is older than the last one, {current}; continue after that.");
            return Err(refuse(Reason::StaleRequest { current }, message));
        }
        if *digest != last.digest {
            let message = format!("Request {number} was already made with other content; continue after it.");
            return Err(refuse(Reason::RequestMismatch { current }, message));
        }
        self.answer(instance, last)
    }

    /// The outcome that the remembered facts stand for: the only place where one is made, for first and repeated
    /// answers alike.
    fn answer(&self, instance: &Instance, last: &LastRequest) -> Done {
        match &last.answer {
            LastAnswer::Authorized { uncovered, enforce_from } => {
                let authorization = self.state.authorization_of(instance, last.at, *uncovered, *enforce_from);
                Ok(Outcome::Authorized(authorization))
            }
            LastAnswer::CertificateRenewed => Ok(Outcome::CertificateRenewed { instance: instance.id }),
            LastAnswer::Refused(refusal) => Err((**refusal).clone()),
        }
    }

    /// Over-consumption is granted and reported; what is not named is released.
    fn authorize(&mut self, instance: &mut Instance, asked: &[(String, u64)]) -> Result<LastAnswer, Refusal> {
        let account = self.may_ask(instance)?;
        let wanted = self.wanted_usage(instance, account, asked)?;
        if *instance.usage != *wanted {
            let mut concerns = vec![Subject::Instance(instance.id), Subject::VirtualAccount(instance.va)];
            for (license, before, after) in differences(&instance.usage, &wanted) {
                self.change_use(instance.va, license, before, after);
                concerns.push(Subject::License(license));
            }
            self.settle_pools();
            let message = self.usage_message(instance, &wanted);
            self.inform_about(account, "usage-changed", message, concerns);
            instance.usage = wanted.into();
        }
        Ok(self.grant(instance))
    }

    fn renew_authorization(&mut self, instance: &mut Instance) -> Result<LastAnswer, Refusal> {
        self.may_ask(instance)?;
        Ok(self.grant(instance))
    }

    /// Moves the dates, and says how the licenses stand.
    fn grant(&self, instance: &mut Instance) -> LastAnswer {
        instance.last_contact = self.now;
        instance.authorized_until = Some(self.now.plus(AUTHORIZATION_LIFE));
        let (uncovered, enforce_from) = self.state.compliance(instance);
        LastAnswer::Authorized { uncovered, enforce_from }
    }

    fn renew_certificate(
        &mut self,
        instance: &mut Instance,
        certificate: &IdCertificate,
    ) -> Result<LastAnswer, Refusal> {
        let account = self.may_ask(instance)?;
        inputs::certificate(certificate, self.now)?;
        self.revoke(account, &instance.certificate, RevocationReason::Superseded);
        instance.last_contact = self.now;
        instance.certificate = certificate.clone();
        Ok(LastAnswer::CertificateRenewed)
    }

    fn deregister(&mut self, id: InstanceId) -> Done {
        let account = self.known_instance(id)?;
        if let Some(old) = self.release_instance(id, RevocationReason::CessationOfOperation) {
            let message = format!("{} (instance {id}) deregistered.", old.name());
            self.inform_about(account, "instance-deregistered", message, old.subjects());
        }
        Ok(Outcome::Deregistered)
    }

    /// The account, if it is active and the instance's certificate holds. After an outage of ours a certificate that
    /// ran out meanwhile holds a day longer, and while the clock is in doubt all do.
    fn may_ask(&self, instance: &Instance) -> Result<AccountId, Refusal> {
        let account = self.active_account(self.va(instance.va)?.account)?.id;
        let end = instance.certificate.not_after;
        if self.state.meta.expiry >= end && !self.state.meta.spares() {
            let message = format!("The ID certificate of instance {} has expired; register again.", instance.id);
            return Err(refuse(Reason::CertificateExpired, message));
        }
        Ok(account)
    }

    /// What was asked for, by license, without zero counts.
    fn wanted_usage(
        &self,
        instance: &Instance,
        account: AccountId,
        asked: &[(String, u64)],
    ) -> Result<Vec<(LicenseId, u64)>, Refusal> {
        if asked.len() > MAX_LICENSES_PER_INSTANCE {
            let message = format!("{} licenses; an instance uses at most {MAX_LICENSES_PER_INSTANCE}.", asked.len());
            return Err(refuse(Reason::Limit, message));
        }
        let mut wanted = Vec::with_capacity(asked.len());
        for (tag, count) in asked {
            let Some(license) = self.state.license_by_tag(account, tag) else {
                let message = format!(
                    "License \"{}\" is not known to this server; check the entitlement tag, or synchronize.",
                    inputs::cut(tag, MAX_TAG)
                );
                return Err(refuse(Reason::LicenseUnknown, message));
            };
            if *count > MAX_COUNT {
                return Err(refuse(Reason::Invalid, format!("\"{tag}\": {count} is more than {MAX_COUNT}.")));
            }
            if license.export_controlled && *count > 0 && !instance.export_controlled {
                let message = format!(
                    "\"{tag}\" is export-controlled; register with a token that allows export-controlled functionality."
                );
                return Err(refuse(Reason::ExportControlled, message));
            }
            wanted.push((license.id, *count));
        }
        wanted.sort_unstable();
        if wanted.windows(2).any(|w| w[0].0 == w[1].0) {
            return Err(refuse(Reason::Invalid, "A license is named twice; give each one count."));
        }
        wanted.retain(|(_, count)| *count > 0);
        Ok(wanted)
    }

    /// "NAME uses 2 of A, 0 of B, and 3 more changed."
    fn usage_message(&self, instance: &Instance, wanted: &[(LicenseId, u64)]) -> String {
        let mut message = String::with_capacity(USAGE_MESSAGE);
        // Writing to a String cannot fail.
        let _ = write!(message, "{} now uses", instance.name());
        let mut separator = " ";
        for (n, (license, _, after)) in differences(&instance.usage, wanted).enumerate() {
            if n == NAMED_CHANGES {
                message.push_str(", and other counts changed");
                break;
            }
            let name = self.state.license(license).map_or("", |l| &l.name);
            let _ = write!(message, "{separator}{after} of \"{name}\"");
            separator = ", ";
        }
        message.push('.');
        message
    }
}

/// The licenses whose count differs, with both counts; both lists are sorted by license.
fn differences<'a>(
    old: &'a [(LicenseId, u64)],
    new: &'a [(LicenseId, u64)],
) -> impl Iterator<Item = (LicenseId, u64, u64)> + 'a {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    std::iter::from_fn(move || {
        loop {
            let license = match (old.peek(), new.peek()) {
                (None, None) => return None,
                (Some(o), None) => o.0,
                (None, Some(n)) => n.0,
                (Some(o), Some(n)) => o.0.min(n.0),
            };
            let before = old.next_if(|o| o.0 == license).map_or(0, |o| o.1);
            let after = new.next_if(|n| n.0 == license).map_or(0, |n| n.1);
            if before != after {
                return Some((license, before, after));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_each_changed_license_once() {
        let list = |counts: &[(u64, u64)]| counts.iter().map(|(l, c)| (LicenseId(*l), *c)).collect::<Vec<_>>();
        let (old, new) = (list(&[(1, 5), (2, 1), (4, 9)]), list(&[(2, 1), (3, 7), (4, 8)]));
        let found: Vec<_> = differences(&old, &new).map(|(l, before, after)| (l.0, before, after)).collect();
        assert_eq!(found, [(1, 5, 0), (3, 0, 7), (4, 9, 8)]);
        assert_eq!(differences(&old, &old).count(), 0);
    }
}
