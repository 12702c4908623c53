//! Registration of a product with a token.

use super::*;

impl Apply<'_> {
    /// A repeat with the same token and key is the same instance, whatever has become of the token since. The same
    /// device with another key or token replaces its old instance, so it never counts twice.
    pub fn register(&mut self, command: &Command) -> Done {
        let Command::Register { token_hash, udi, host_name, product_type, software_version, certificate } = command
        else {
            unreachable!("dispatched by carry_out")
        };
        inputs::udi(udi)?;
        host_name.iter().try_for_each(|h| inputs::text("host name", h, MAX_TEXT))?;
        inputs::text("product type", product_type, MAX_NAME)?;
        inputs::text("software version", software_version, MAX_NAME)?;
        let unknown = || refuse(Reason::TokenUnknown, "This registration token is not known here; create a new one.");
        let token = self.state.token_by_hash(token_hash).ok_or_else(unknown)?;
        let (token_id, va, export_controlled) = (token.id, token.va, token.export_controlled);
        let account = self.active_account(self.va(va)?.account)?.id;
        let existing = self.state.instance_by_udi(account, udi);
        let same = |i: &&Instance| {
            let current = &i.certificate;
            i.token == token_id && current.key_hash == certificate.key_hash && self.now < current.not_after
        };
        if let Some(instance) = existing.filter(same) {
            let registered = Registered {
                instance: instance.id,
                va: instance.va,
                repeated: true,
                export_controlled: instance.export_controlled,
                certificate: instance.certificate.clone(),
            };
            self.put_instance(Instance { last_contact: self.now, ..instance.clone() });
            return Ok(Outcome::Registered(registered));
        }
        let replaced = existing.map(|i| i.id);
        self.check_token(token)?;
        inputs::certificate(certificate, self.now)?;
        if replaced.is_none() && self.state.instance_count() >= MAX_INSTANCES {
            let message = format!("{MAX_INSTANCES} product instances are registered, the most there can be.");
            return Err(refuse(Reason::Limit, message));
        }
        if let Some(old) = replaced.and_then(|id| self.release_instance(id)) {
            let message = format!("{} was registered again; its old instance {} was replaced.", old.name(), old.id);
            self.inform(account, "instance-replaced", message);
        }
        let id = InstanceId(self.next_id());
        let mut instance = Instance {
            id,
            va,
            udi: Arc::new(udi.clone()),
            host_name: host_name.as_deref().map(Arc::from),
            product_type: product_type.as_str().into(),
            software_version: software_version.as_str().into(),
            registered: self.now,
            last_contact: self.now,
            certificate: certificate.clone(),
            token: token_id,
            export_controlled,
            usage: Arc::from([]),
            authorized_until: None,
            last_request: None,
        };
        if let Some((_, newest)) = self.state.instances.get_max() {
            instance.share_texts(newest);
        }
        let message = format!("{} was registered as instance {id}.", instance.name());
        self.state.index.add_instance(account, &instance);
        self.state.instances.insert(id, Arc::new(instance));
        self.changes.insert(RecordKey::Instance(id));
        self.change_token(token_id, |t| t.uses += 1);
        self.change_va(va, |va| va.instances += 1);
        self.change_account(account, |a| a.instances += 1);
        self.inform(account, "instance-registered", message);
        let certificate = certificate.clone();
        Ok(Outcome::Registered(Registered { instance: id, va, repeated: false, export_controlled, certificate }))
    }

    fn check_token(&self, token: &Token) -> Result<(), Refusal> {
        let Some(reason) = token.refusal(self.now) else { return Ok(()) };
        let what = match reason {
            Reason::TokenRevoked => "was revoked",
            Reason::TokenExpired => "has expired",
            _ => "has been used as often as it may be",
        };
        Err(refuse(reason, format!("Registration token {} {what}; create a new one.", token.id)))
    }
}
