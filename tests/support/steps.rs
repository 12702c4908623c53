//! Random steps, made into commands with the state at hand so that most of them mean something.

use super::rig::*;
use licraft::license::*;
use proptest::prelude::*;

/// Numbers from which a step is made with the state at hand; small, so that things meet.
#[derive(Clone, Debug)]
pub struct Step {
    kind: u8,
    a: usize,
    b: usize,
    n: u64,
    time: u8,
    clock: u8,
    restore: bool,
}

pub fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (0u8..100, 0usize..64, 0usize..64, 0u64..12, 0u8..100, 0u8..100, prop::bool::weighted(0.1));
    let step = step.prop_map(|(kind, a, b, n, time, clock, restore)| Step { kind, a, b, n, time, clock, restore });
    prop::collection::vec(step, 1..length)
}

/// Sound ones, and some with a day or a minute that there is not.
fn some_schedule(step: &Step) -> Schedule {
    let (day, minute) = ((step.n % 9) as u8, if step.n == 7 { 1440 } else { 61 });
    match step.a % 4 {
        0 => Schedule::Off,
        1 => Schedule::Daily { minute },
        2 => Schedule::Weekly { weekday: day, minute },
        _ => Schedule::Monthly { day: day * 4, minute },
    }
}

fn pick<T>(things: Vec<T>, n: usize) -> Option<T> {
    let len = things.len();
    things.into_iter().nth(n % len.max(1))
}

impl Rig {
    fn any_account(&self, n: usize) -> AccountId {
        pick(self.state.accounts().map(|a| a.id).collect(), n).unwrap_or(AccountId(999))
    }

    fn any_va(&self, n: usize) -> VirtualAccountId {
        let vas = self.state.accounts().flat_map(|a| self.state.virtual_accounts(a.id)).map(|v| v.id);
        pick(vas.collect(), n).unwrap_or(VirtualAccountId(999))
    }

    fn any_token(&self, n: usize) -> Option<(TokenId, Digest32)> {
        let vas = self.state.accounts().flat_map(|a| self.state.virtual_accounts(a.id));
        let tokens: Vec<&Token> = vas.flat_map(|v| self.state.tokens(v.id)).collect();
        let now = self.state.meta().now;
        let valid: Vec<&Token> = tokens.iter().copied().filter(|t| t.refusal(now).is_none()).collect();
        let token = if n % 8 < 7 && !valid.is_empty() { pick(valid, n) } else { pick(tokens, n) };
        token.map(|t| (t.id, t.hash))
    }

    fn any_instance(&self, n: usize) -> InstanceId {
        pick(self.state.instances(None).map(|i| i.id).collect(), n).unwrap_or(InstanceId(999))
    }

    fn some_terms(&self, step: &Step) -> Vec<Entitlement> {
        // Starts recur, ends move: a transferred quantity must find its term again.
        let start = |k: u64| Millis(START + k * Millis::DAY);
        let end = |k: u64| Some(Millis(START + (k + 20 + step.n % 3 * 20) * Millis::DAY));
        let mut all = catalog(step.n % 4 * 3);
        for (k, e) in all.iter_mut().enumerate() {
            let k = k as u64;
            match (step.b as u64 + k) % 4 {
                0 => e.terms.push(Term { quantity: 4, start: start(k), end: end(k), billing: Billing::Usage }),
                1 => e.terms.push(Term { quantity: 2, start: Millis(0), end: end(k + 10), billing: Billing::Prepaid }),
                2 => e.terms.clear(),
                _ => e.name = format!("Renamed {}", step.n),
            }
            // A chain, a ring, two coverers, none, by the step.
            let covers = [&[][..], &[1], &[2, 1], &[1, 4]][step.a % 4].iter();
            e.covered_by = covers.map(|by| TAGS[(k as usize + by) % TAGS.len()].to_owned()).collect();
        }
        all.truncate(3 + step.a % 3);
        all
    }

    fn account_command(&mut self, step: &Step) -> Command {
        let account = self.any_account(step.a);
        let status = self.state.account(account).map(|a| a.status);
        match (step.b % 8, status) {
            (0, _) | (_, None) => {
                let name = ["one", "two", "three", "bad/name"][step.a % 4].to_owned();
                let virtual_account = format!("VA {}", step.n % 5);
                Command::RequestAccount { name, requested_by: "me".into(), smart_account: "S".into(), virtual_account }
            }
            (1, _) => Command::RejectAccount { account, reason: "no".into() },
            (2 | 4..=6, Some(AccountStatus::Inactive)) => self.ending(account, step),
            (2, _) => Command::DeleteAccount { account },
            (3, Some(AccountStatus::Active)) => Command::DeactivateAccount { account, reason: "moved".into() },
            (_, Some(AccountStatus::Requested)) => Command::ApproveAccount { account, keys: keys() },
            (_, Some(AccountStatus::Approved)) => activate(account, self.some_terms(step)),
            (_, Some(AccountStatus::Inactive)) => Command::ReactivateAccount { account },
            _ => Command::CreateVirtualAccount { account, name: format!("Lab {}", step.n % 4) },
        }
    }

    /// What brings an inactive account nearer to its end.
    fn ending(&self, account: AccountId, step: &Step) -> Command {
        let vas = self.state.virtual_accounts(account);
        let registered = vas.flat_map(|va| self.state.instances_of(va.id, None)).map(|i| i.id).next();
        match (step.n, registered) {
            (0..=8, Some(instance)) => Command::RemoveInstance { instance },
            (0..=4, _) => Command::CloseAccount { account },
            (5..=8, _) => Command::AbandonAccount { account },
            _ => Command::DeleteAccount { account },
        }
    }

    fn va_command(&mut self, step: &Step) -> Command {
        let va = self.any_va(step.a);
        let siblings = self.state.virtual_account(va).map(|v| v.account).into_iter();
        let siblings = siblings.flat_map(|a| self.state.virtual_accounts(a)).map(|v| v.id).collect();
        let to = if step.b.is_multiple_of(8) { self.any_va(step.b) } else { pick(siblings, step.b).unwrap_or(va) };
        match step.n % 6 {
            0 => Command::RenameVirtualAccount { va, name: format!("Lab {}", step.b % 4) },
            1 => Command::DeleteVirtualAccount { va },
            2 => {
                let here = self.state.instances_of(va, None).map(|i| i.id).collect();
                Command::TransferInstance { instance: pick(here, step.a).unwrap_or(InstanceId(999)), to }
            }
            _ => {
                let pools: Vec<_> = self.state.pools(va).map(|p| p.license).collect();
                let license = pick(pools, step.b).unwrap_or(LicenseId(999));
                Command::TransferLicense { license, from: va, to, quantity: step.n % 5 }
            }
        }
    }

    fn sync_command(&mut self, step: &Step) -> Command {
        let account = self.any_account(step.a);
        let sync = self.state.account(account).map(|a| a.sync.clone()).unwrap_or_default();
        let seq = if step.n == 0 { sync.seq.saturating_sub(1) } else { sync.seq + u64::from(step.n == 11) };
        match step.b % 5 {
            4 => Command::SetSyncSchedule { account, schedule: some_schedule(step) },
            0 => Command::BeginSync { account },
            1 => Command::FailSync { account, seq, reason: format!("reason {}", step.n % 2) },
            2 if step.a.is_multiple_of(4) => self.want_certificate(step),
            _ if sync.outstanding.is_none() && step.n > 2 => Command::BeginSync { account },
            _ => {
                let mut complete = complete(account, seq, self.some_terms(step));
                if let Command::CompleteSync { signed, .. } = &mut complete {
                    let not_after = self.state.now().plus(step.n * 20 * Millis::DAY);
                    *signed = step.b.is_multiple_of(2).then(|| SignedCertificate { chain: vec![vec![1]], not_after });
                }
                complete
            }
        }
    }

    fn want_certificate(&mut self, step: &Step) -> Command {
        let common_name = ["a.example", "b.example"][step.n as usize % 2].to_owned();
        let names = ServerNames { hosts: vec![common_name.clone()], common_name };
        Command::WantServerCertificate { names, csr: self.fresh().to_be_bytes().to_vec(), key: Sealed(vec![1]) }
    }

    fn product_command(&mut self, step: &Step) -> Command {
        let instance = self.any_instance(step.a);
        let last = self.state.instance(instance).and_then(|i| i.last_request.as_ref()).map_or(0, |r| r.number);
        let number = match step.n {
            0 => last.saturating_sub(1),
            1 => last,
            n => last + 1 + n % 2,
        };
        let digest = Self::digest(self.fresh());
        let action = match step.b {
            0..2 => InstanceAction::Deregister,
            2..5 => InstanceAction::RenewCertificate { certificate: self.certificate(step.n + 100) },
            5..12 => InstanceAction::RenewAuthorization,
            b => {
                let tags = (0..TAGS.len()).filter(|k| (b >> k) & 1 == 1).map(|k| (TAGS[k], (step.n + k as u64) % 5));
                let unknown = (b == 63).then_some(("NOBODY", 1));
                authorize(&tags.chain(unknown).collect::<Vec<_>>())
            }
        };
        Command::Numbered { instance, number, digest, action }
    }

    fn other_command(&mut self, step: &Step) -> Command {
        let node_id = step.a as u64 % 4;
        let name = format!("node-{node_id}");
        let kind = [AlertKind::WitnessLost, AlertKind::DiskSpace, AlertKind::ClockSkew][step.b % 3];
        let key = AlertKey { kind, source: name.clone() };
        match step.n {
            0 => Command::Resume { node_id, term: step.b as u64, cause: "test".into() },
            1 if self.ahead > 0 => {
                let hours = if step.a.is_multiple_of(4) { 2 } else { 0 };
                Command::AcceptClock { time: Millis(self.now + self.ahead + hours * Millis::HOUR) }
            }
            1 => match step.a % 4 {
                0 => Command::DigestMark { nonce: 1 },
                1 => self.account_certificate(step),
                2 => Command::AcceptClock { time: Millis(self.now) },
                _ => Command::PassTime,
            },
            2 if step.a.is_multiple_of(2) => Command::RaiseIncarnation,
            2 => {
                let number = self.state.revocation_list().number;
                Command::IssueRevocationList { number: number + step.b as u64 % 8 / 2 }
            }
            3 => Command::RetireMember { node_id },
            4 | 5 => {
                let (severity, message, action) = (Severity::Minor, "gone".into(), "look".into());
                let (account, raised, due, acknowledged) = (None, Millis(0), None, None);
                let alert = Alert { key, severity, account, raised, due, message, action, acknowledged };
                Command::RaiseAlert { alert }
            }
            6 => Command::ClearAlert { key },
            7 => {
                let standing: Vec<_> = self.state.alerts().map(|a| a.key.clone()).collect();
                Command::AcknowledgeAlert { key: pick(standing, step.a).unwrap_or(key) }
            }
            8 | 9 => {
                let kind = "address-lost".to_owned();
                let event = NewEvent { severity: Severity::Minor, account: None, kind, message: "x".into() };
                Command::NoteEvent { event }
            }
            10 if step.a.is_multiple_of(2) => self.some_browser_certificate(step),
            10 => Command::SetSettings {
                settings: Settings {
                    licenses_expiring_days: step.b as u64 % 40 * (step.a as u64 % 3),
                    central_url: name,
                    proxy_login: step.b.is_multiple_of(3).then(|| Sealed(vec![1])),
                    message_of_the_day: ["", "\n", "\t", "\u{e4}"][step.b % 4].repeat(step.b * 10),
                    ..Settings::default()
                },
            },
            _ => {
                let (public_address, cluster_address) = ("10.0.0.5".into(), "10.0.0.5:7441".into());
                let (witness, joined, retired) = (false, Millis(0), false);
                let member = Member { node_id, name, public_address, cluster_address, witness, joined, retired };
                Command::PutMember { member }
            }
        }
    }

    /// Some end soon, some are none, some have no key.
    fn some_browser_certificate(&self, step: &Step) -> Command {
        let certificate = |key| BrowserCertificate {
            common_name: "lm.example".into(),
            hosts: vec!["lm.example".into()],
            chain: vec![vec![1]],
            key: Sealed(key),
            not_after: self.state.now().plus(step.b as u64 * Millis::DAY),
            imported: Millis(0),
        };
        let certificate = match step.b % 4 {
            0 => None,
            1 => Some(certificate(vec![])),
            _ => Some(certificate(vec![1])),
        };
        Command::SetBrowserCertificate { certificate }
    }

    fn account_certificate(&mut self, step: &Step) -> Command {
        let account = self.any_account(step.b);
        match step.b % 2 {
            0 => Command::WantAccountCertificate { account },
            _ => {
                let ca_chain = vec![self.fresh().to_be_bytes().to_vec(); step.b % 3];
                Command::CertifyAccount { account, ca_chain, signer_cert: vec![8] }
            }
        }
    }

    /// Mostly the next step of a change of the sealing key.
    fn sealing_command(&mut self, step: &Step) -> Command {
        let next = |n: u64| n.to_be_bytes();
        let Some(Sealing { key, previous, .. }) = self.state.sealing() else {
            return Command::BeginResealing { key: next(self.fresh()), previous: next(0) };
        };
        let key = if step.b.is_multiple_of(9) { next(9) } else { key };
        let left = self.state.sealed_before().take(5 + step.b);
        let secrets: Vec<_> = left
            .enumerate()
            .map(|(n, (place, old))| {
                let old = if n > 2 && step.b.is_multiple_of(5) { Sealed(vec![1]) } else { old.clone() };
                Resealed { place, old, new: Sealed(key.to_vec()) }
            })
            .collect();
        match previous {
            Some(_) if !secrets.is_empty() && !step.b.is_multiple_of(7) => Command::Reseal { secrets },
            Some(_) => Command::EndResealing { key },
            None => Command::BeginResealing { key: next(self.fresh()), previous: key },
        }
    }

    /// Secrets in commands are sealed under the key in force; now and then under one that is not.
    fn seal(&self, step: &Step, command: &mut Command) {
        let key = match self.state.sealing() {
            None => [0; 8],
            Some(_) if step.b == 63 => [7; 8],
            Some(sealing) => sealing.key,
        };
        let seal = |secret: &mut Sealed| {
            if !secret.0.is_empty() {
                secret.0 = [&secret.0[..1], &key].concat();
            }
        };
        match command {
            Command::ApproveAccount { keys, .. } => {
                seal(&mut keys.ca_key);
                seal(&mut keys.signer_key);
            }
            Command::CreateToken { sealed, .. } => seal(sealed),
            Command::EnrolTotp { seed, .. } => seal(seed),
            Command::SetSettings { settings } => settings.proxy_login.iter_mut().for_each(seal),
            Command::WantServerCertificate { key, .. } => seal(key),
            Command::SetBrowserCertificate { certificate: Some(certificate) } => seal(&mut certificate.key),
            _ => {}
        }
    }

    fn people_command(&mut self, step: &Step) -> Command {
        let name = ["admin", "eve", "bob"][step.b % 3].to_owned();
        let role = Role::ALL[step.a % 5];
        // Now and then places that do not fit the role.
        let of = if step.a.is_multiple_of(7) { Role::ReadOnly } else { role };
        let (mut accounts, mut virtual_accounts) = (vec![], vec![]);
        match of {
            Role::LocalAccountAdministrator => accounts.push(self.any_account(step.b)),
            Role::VirtualAccountAdministrator => virtual_accounts.push(self.any_va(step.b)),
            _ => {}
        }
        let id = Self::digest(step.b as u64 % 3);
        if step.kind < 85 {
            return self.access_command(step, role);
        }
        let client = format!("client-{}", step.a % 3);
        // Sessions are short: while one lives, it is used.
        let (state, now) = (&self.state, self.state.now());
        let live: Vec<_> = state.users().flat_map(|u| state.sessions_of(&u.name, now)).map(|s| s.id).collect();
        if let Some(id) = pick(live, step.a).filter(|_| step.n.is_multiple_of(2)) {
            return Command::TouchSession { id };
        }
        match step.n {
            0 | 1 => Command::CreateUser { user: User { role, accounts, virtual_accounts, ..user(&name) } },
            2 | 3 => Command::ChangeUser { name, change: UserChange::Role { role, accounts, virtual_accounts } },
            4 => Command::ChangeUser { name, change: UserChange::Disabled(step.a.is_multiple_of(2)) },
            5 => Command::ChangeUser { name, change: UserChange::Password { hash: "$new".into(), must_change: true } },
            6 => Command::DeleteUser { name: ["eve", "bob"][step.b % 2].into() },
            7 | 8 => Command::BeginSession { id, user: name, source: "10.0.0.9".into() },
            9 => Command::TouchSession { id },
            10 => match step.a % 2 {
                0 => Command::EndSession { id },
                _ => Command::RevokeApiClient { id: client },
            },
            _ => {
                let account = (!step.b.is_multiple_of(3)).then(|| self.any_account(step.b));
                Command::CreateApiClient {
                    id: client,
                    account,
                    role,
                    description: "monitoring".into(),
                    secret_hash: id,
                }
            }
        }
    }

    /// Second factors, sign-outs and admin identities.
    fn access_command(&mut self, step: &Step, role: Role) -> Command {
        // Mostly of somebody to whom it means something.
        let of = |want: fn(&User) -> bool| {
            pick(self.state.users().filter(|u| want(u)).map(|u| u.name.clone()).collect(), step.a)
        };
        let identities = self.state.admin_identities().map(|i| i.name.clone()).collect();
        let name = match step.n {
            1..3 | 8 => of(|_| true),
            0 | 3..8 => of(|u| u.totp.is_some()),
            10 | 11 => pick(identities, step.a),
            _ => None,
        };
        let name = name
            .filter(|_| !step.a.is_multiple_of(16))
            .unwrap_or_else(|| ["admin", "eve", "bob"][step.b % 3].to_owned());
        let totp = self.state.user(&name).and_then(|u| u.totp.as_ref()).map_or((0, 0), |t| (t.id, t.last_step));
        match step.n {
            0..3 => Command::EnrolTotp { name, seed: Sealed(vec![1; 48]) },
            // Now and then a step again, or of another enrolment.
            3..7 => Command::UseTotp { name, id: totp.0 + u64::from(step.a == 7), step: totp.1 + step.a as u64 % 3 },
            7 => Command::ResetTotp { name },
            8 if step.a.is_multiple_of(2) => Command::EndSessions { name },
            8 => {
                let (rows, live) = ([25, 50, 100, 250, 51][step.b % 5], step.b.is_multiple_of(3));
                let preferences = Preferences { rows, live, start: StartPage::Administration, time_zone: "UTC".into() };
                Command::SetPreferences { name, preferences }
            }
            9 | 10 => {
                let expires = self.state.now().plus(step.b as u64 * 7 * Millis::DAY);
                Command::CreateAdminIdentity { name, role, key_hash: Self::digest(step.n), expires }
            }
            _ => Command::RevokeAdminIdentity { name },
        }
    }

    fn label_command(&mut self, step: &Step) -> Command {
        let licenses = self.state.licenses(self.any_account(step.a)).map(|l| l.id).collect();
        let some = |n: usize| {
            let labels: &[&str] = [&["red"][..], &["blue", "red"], &["green"], &["a,b"], &[]][n % 5];
            labels.iter().map(|l| (*l).to_owned()).collect()
        };
        let license = pick(licenses, step.b).unwrap_or(LicenseId(999));
        Command::LabelLicense { license, add: some(step.a), remove: some(step.b / 4) }
    }

    fn command(&mut self, step: &Step) -> Command {
        match step.kind {
            0..12 => self.account_command(step),
            12 => self.label_command(step),
            13..22 => self.va_command(step),
            22..32 => self.sync_command(step),
            32..37 => {
                let hash = Self::digest(self.fresh());
                create_token(self.any_va(step.a), hash, step.n * 4, step.b as u64 % 3, step.b.is_multiple_of(2))
            }
            37..39 => Command::RevokeToken { token: self.any_token(step.a).map_or(TokenId(999), |t| t.0) },
            39..54 => {
                let hash = self.any_token(step.a).map_or([0; 32], |t| t.1);
                let certificate = self.certificate(step.n % 3);
                let mut register = register(hash, step.b as u64 % 9, certificate);
                if let Command::Register { devices, .. } = &mut register {
                    // Some of them others have; now and then its own, which is wrong.
                    let first = if step.n == 11 { 0 } else { 1 };
                    let further =
                        (0..(step.a as u64).saturating_sub(40) / 6).map(|k| device((step.b as u64 + k + first) % 9));
                    devices.extend(further);
                }
                register
            }
            54..56 => Command::RemoveInstance { instance: self.any_instance(step.a) },
            56..74 => self.product_command(step),
            74..76 => self.account_certificate(step),
            76 => self.some_browser_certificate(step),
            77..80 => self.sealing_command(step),
            80..91 => self.people_command(step),
            _ => self.other_command(step),
        }
    }

    /// As a leader does with each request of a product: no serial number is given twice.
    fn certify_anew(&mut self, command: &mut Command) {
        if let Command::Register { certificate, .. }
        | Command::Numbered { action: InstanceAction::RenewCertificate { certificate }, .. } = command
        {
            certificate.serial = u128::from(self.fresh()).to_be_bytes();
        }
    }

    pub fn step(&mut self, step: &Step) -> Result<(), String> {
        if step.restore {
            self.restore()?;
        }
        self.now += match step.time {
            0..60 => 0,
            60..84 => 1 + step.n,
            84..94 => Millis::HOUR,
            94..98 => Millis::DAY * (1 + step.n),
            98 => Millis::DAY * 31,
            _ => Millis::DAY * 95,
        };
        // The leader's clock jumps, is set right, or is right after all and its peers say so.
        match step.clock {
            0..2 => self.ahead = (1 + step.n * 20) * Millis::DAY,
            2..5 => self.ahead = 0,
            5 => self.now += std::mem::take(&mut self.ahead),
            6 => self.new_leader(),
            _ => {}
        }
        // Now and then the same request comes again, or its stamp is from a clock that is behind.
        if step.kind >= 95 && !self.past.is_empty() {
            let recent = &self.past[self.past.len().saturating_sub(6)..];
            let (asked, mut request) = recent[step.a % recent.len()].clone();
            self.certify_anew(&mut request.command);
            let repeatable = request.id == 0 || self.now < asked + Millis::DAY;
            if repeatable {
                *self.seen.entry("repeated".into()).or_default() += 1;
                return self.apply(request, self.now).map(drop);
            }
        }
        let mut command = self.command(step);
        self.seal(step, &mut command);
        let product = matches!(command, Command::Numbered { .. } | Command::Register { .. });
        let id = if product || step.b.is_multiple_of(3) { 0 } else { u128::from(self.fresh()) };
        let at = if step.time == 0 { self.now - Millis::DAY } else { self.now };
        self.apply(Request { id, actor: "test".into(), command }, at).map(drop)
    }
}
