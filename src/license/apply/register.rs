//! Registration of a product: with a token, or with what a restored server had certified and forgot.

use super::*;

impl Apply<'_> {
    /// A repeat with the same token and key is the same instance, whatever has become of the token since; while it is
    /// valid, a repeat may name other further devices. The same device with another key or token replaces its old instance, so it never counts
    /// twice.
    pub fn register(&mut self, command: &Command) -> Done {
        let Command::Register { token_hash, udi, host_name, product_type, software_version, certificate, devices } =
            command
        else {
            unreachable!("dispatched by carry_out")
        };
        let host_name = host_name.as_deref();
        let newcomer = Newcomer { udi, host_name, product_type, software_version, certificate, devices };
        newcomer.check()?;
        let unknown = || refuse(Reason::TokenUnknown, "This registration token is not known here; create a new one.");
        let token = self.state.token_by_hash(token_hash).ok_or_else(unknown)?;
        let (token_id, va, export_controlled) = (token.id, token.va, token.export_controlled);
        let account = self.active_account(self.va(va)?.account)?.id;
        let own = self.state.instance_by_udi(account, udi).filter(|i| *i.udi == *udi);
        let same = |i: &&Instance| {
            let current = &i.certificate;
            i.token == token_id && current.key_hash == certificate.key_hash && self.now < current.not_after
        };
        if let Some(instance) = own.filter(same) {
            let instance = instance.clone();
            // Other devices are no repeat: the token must still let somebody in, be it that its uses are used up.
            let barred = token.refusal(self.now).is_some_and(|why| why != Reason::TokenExhausted);
            if barred && instance.devices() != devices.as_slice() {
                self.check_token(token)?;
            }
            self.take_devices(account, &newcomer, Some(instance.id));
            let outcome = self.repeat(instance.clone());
            self.set_devices(account, instance.id, devices);
            return Ok(outcome);
        }
        self.check_token(token)?;
        inputs::certificate(certificate, self.now)?;
        if own.is_none() {
            self.check_room()?;
        }
        self.take_devices(account, &newcomer, None);
        let registered = self.admit(va, account, token_id, export_controlled, &newcomer);
        let message = format!("{} was registered as instance {}.", newcomer.name(), registered.instance);
        self.change_token(token_id, |t| t.uses += 1);
        self.inform_about(account, "instance-registered", message, registered.subjects());
        Ok(Outcome::Registered(registered))
    }

    /// The ID certificate stands for the token, which is not known here. It does so once.
    pub fn readmit(&mut self, command: &Command) -> Done {
        let Command::Readmit { former, account, udi, host_name, product_type, software_version, certificate, devices } =
            command
        else {
            unreachable!("dispatched by carry_out")
        };
        let account = self.active_account(*account)?;
        // Its certificate is no title to devices that others have registered since.
        let free = |d: &&Device| self.state.instance_by_udi(account.id, &d.udi).is_none();
        let devices: Vec<Device> = devices.iter().filter(free).cloned().collect();
        let host_name = host_name.as_deref();
        let newcomer = Newcomer { udi, host_name, product_type, software_version, certificate, devices: &devices };
        newcomer.check()?;
        let (account, va) = (account.id, account.default_va);
        let known = self.state.instance_by_udi(account, udi);
        let same = |i: &&Instance| i.certificate.key_hash == certificate.key_hash && self.now < i.certificate.not_after;
        if let Some(instance) = known.filter(same) {
            return Ok(self.repeat(instance.clone()));
        }
        if known.is_some() || !self.state.readmits(*former) {
            let message = format!("Instance {former} was removed or replaced; register again with a token.");
            return Err(refuse(Reason::InstanceUnknown, message));
        }
        inputs::certificate(certificate, self.now)?;
        self.check_room()?;
        // No token has an id of 0.
        let registered = self.admit(va, account, TokenId(0), false, &newcomer);
        self.state.readmitted.insert(*former);
        self.changes.insert(RecordKey::Readmitted(*former));
        let message = format!(
            "{}, which had registered after the backup as instance {former}, is instance {} now.",
            newcomer.name(),
            registered.instance
        );
        self.inform_about(account, "instance-readmitted", message, registered.subjects());
        Ok(Outcome::Registered(registered))
    }

    fn repeat(&mut self, instance: Instance) -> Outcome {
        let registered = Registered {
            instance: instance.id,
            va: instance.va,
            repeated: true,
            export_controlled: instance.export_controlled,
            certificate: instance.certificate.clone(),
        };
        self.put_instance(Instance { last_contact: self.now, ..instance });
        Outcome::Registered(registered)
    }

    /// Takes the newcomer's devices out of whatever has them, but for the instance `except`: an instance whose own device
    /// it is is replaced, and one that has it as a further device goes on without.
    fn take_devices(&mut self, account: AccountId, newcomer: &Newcomer<'_>, except: Option<InstanceId>) {
        let own = std::iter::once(newcomer.udi);
        for udi in own.chain(newcomer.devices.iter().map(|d| &*d.udi)) {
            let holder = self.state.instance_by_udi(account, udi).filter(|i| Some(i.id) != except);
            let Some((id, owns)) = holder.map(|i| (i.id, *i.udi == *udi)) else { continue };
            if !owns {
                let kept = self.state.instance(id).into_iter().flat_map(Instance::devices).filter(|d| *d.udi != *udi);
                let kept: Vec<Device> = kept.cloned().collect();
                self.set_devices(account, id, &kept);
            } else if let Some(old) = self.release_instance(id, RevocationReason::Superseded) {
                let message = match *udi == *newcomer.udi {
                    true => format!("{} was registered again; its old instance {id} was replaced.", old.name()),
                    false => {
                        format!("{} belongs to {} now; its instance {id} was replaced.", old.name(), newcomer.name())
                    }
                };
                self.inform_about(account, "instance-replaced", message, old.subjects());
            }
        }
    }

    fn set_devices(&mut self, account: AccountId, id: InstanceId, devices: &[Device]) {
        let Some(old) = self.state.instances.get(&id).filter(|i| i.devices() != devices).cloned() else { return };
        let new = Instance { devices: some_devices(devices), ..(*old).clone() };
        self.state.index.remove_instance(account, &old);
        self.state.index.add_instance(account, &new);
        self.state.instances.insert(id, Arc::new(new));
        self.changes.insert(RecordKey::Instance(id));
    }

    fn check_room(&self) -> Result<(), Refusal> {
        if self.state.instance_count() >= MAX_INSTANCES {
            let message = format!("{MAX_INSTANCES} product instances are registered, the most there can be.");
            return Err(refuse(Reason::Limit, message));
        }
        Ok(())
    }

    /// Makes an instance.
    fn admit(
        &mut self,
        va: VirtualAccountId,
        account: AccountId,
        token: TokenId,
        export_controlled: bool,
        newcomer: &Newcomer<'_>,
    ) -> Registered {
        let id = InstanceId(self.next_id());
        let mut instance = Instance {
            id,
            va,
            udi: Arc::new(newcomer.udi.clone()),
            host_name: newcomer.host_name.map(Arc::from),
            product_type: newcomer.product_type.into(),
            software_version: newcomer.software_version.into(),
            registered: self.now,
            last_contact: self.now,
            certificate: newcomer.certificate.clone(),
            token,
            export_controlled,
            usage: Arc::from([]),
            authorized_until: None,
            last_request: None,
            devices: some_devices(newcomer.devices),
        };
        if let Some((_, newest)) = self.state.instances.get_max() {
            instance.share_texts(newest);
        }
        self.state.index.add_instance(account, &instance);
        let instance = Arc::new(instance);
        self.state.instances.insert(id, instance.clone());
        self.follow_faults(None, Some(&instance));
        self.changes.insert(RecordKey::Instance(id));
        self.change_va(va, |va| va.instances += 1);
        self.change_account(account, |a| a.instances += 1);
        let certificate = newcomer.certificate.clone();
        Registered { instance: id, va, repeated: false, export_controlled, certificate }
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

impl Registered {
    fn subjects(&self) -> Vec<Subject> {
        vec![Subject::Instance(self.instance), Subject::VirtualAccount(self.va)]
    }
}

/// What a product says of itself when it comes, with the certificate made for it.
struct Newcomer<'a> {
    udi: &'a Udi,
    host_name: Option<&'a str>,
    product_type: &'a str,
    software_version: &'a str,
    certificate: &'a IdCertificate,
    devices: &'a [Device],
}

/// Few products have any.
fn some_devices(devices: &[Device]) -> Option<Arc<[Device]>> {
    (!devices.is_empty()).then(|| devices.into())
}

impl Newcomer<'_> {
    fn check(&self) -> Result<(), Refusal> {
        inputs::udi(self.udi)?;
        self.host_name.iter().try_for_each(|h| inputs::text("host name", h, MAX_TEXT))?;
        inputs::text("product type", self.product_type, MAX_NAME)?;
        inputs::text("software version", self.software_version, MAX_NAME)?;
        inputs::devices(self.udi, self.devices)
    }

    fn name(&self) -> String {
        instance_name(self.host_name, self.udi)
    }
}
