//! The change of the sealing key: begun once every data node has the new one, ended once nothing is sealed under the old.

use super::*;

impl Apply<'_> {
    /// From now on everything is sealed under `key`, which every data node has; `previous` goes when all is sealed anew.
    pub fn begin_resealing(&mut self, key: SealingKeyId, previous: SealingKeyId) -> Done {
        if let Some(sealing) = self.state.sealing {
            if sealing.key == key {
                return Ok(Outcome::Done);
            }
            if sealing.previous.is_some() || sealing.key != previous {
                let message = "The sealing key is being changed already; wait until that has ended.";
                return Err(refuse(Reason::State, message));
            }
        }
        if key == previous {
            return Err(refuse(Reason::Invalid, "The new sealing key is the one in force."));
        }
        self.put_sealing(Sealing { key, previous: Some(previous), since: self.now });
        self.event(Severity::Informational, None, "sealing-key", "The sealing key is being changed.".into());
        Ok(Outcome::Done)
    }

    /// Whether a secret that a command brings may be kept: one under a key that the nodes are about to forget, or have
    /// forgotten, could not be opened any more.
    pub fn check_sealed(&self, what: &str, secret: &Sealed) -> Result<(), Refusal> {
        inputs::blob(what, &secret.0)?;
        let Some(sealing) = self.state.sealing else { return Ok(()) };
        if secret.key_id() == Some(sealing.key) || sealing.previous.is_some() && secret.key_id() == sealing.previous {
            return Ok(());
        }
        let message = format!("The {what} is sealed under a key that is not in force any more; repeat the request.");
        Err(refuse(Reason::State, message))
    }

    /// Secrets that were sealed anew. One that has changed meanwhile is left as it is.
    pub fn reseal(&mut self, secrets: &[Resealed]) -> Done {
        if secrets.len() > RESEALED_PER_COMMAND {
            return Err(refuse(Reason::Limit, format!("At most {RESEALED_PER_COMMAND} secrets are sealed at once.")));
        }
        secrets.iter().try_for_each(|secret| self.check_sealed("sealed secret", &secret.new))?;
        for secret in secrets {
            self.reseal_one(secret);
        }
        Ok(Outcome::Done)
    }

    fn reseal_one(&mut self, Resealed { place, old, new }: &Resealed) {
        let replace = |kept: &mut Sealed| {
            if kept == old {
                kept.clone_from(new);
            }
        };
        match *place {
            SealedPlace::AccountCa(id) => {
                self.change_account(id, |account| account.keys.iter_mut().for_each(|keys| replace(&mut keys.ca_key)));
            }
            SealedPlace::AccountSigner(id) => self.change_account(id, |account| {
                account.keys.iter_mut().for_each(|keys| replace(&mut keys.signer_key));
            }),
            SealedPlace::Token(id) => self.change_token(id, |token| replace(&mut token.sealed)),
            SealedPlace::WantedCertificate | SealedPlace::ServerCertificate => {
                let wanted = *place == SealedPlace::WantedCertificate;
                let certificate = Arc::make_mut(&mut self.state.server_certificate);
                let key = match wanted {
                    true => certificate.wanted.as_mut().map(|wanted| &mut wanted.key),
                    false => certificate.current.as_mut().map(|current| &mut current.key),
                };
                if let Some(key) = key {
                    replace(key);
                    self.changes.insert(RecordKey::ServerCertificate);
                }
            }
            SealedPlace::BrowserCertificate => {
                if let Some(certificate) = &mut self.state.browser_certificate {
                    replace(&mut Arc::make_mut(certificate).key);
                    self.changes.insert(RecordKey::BrowserCertificate);
                }
            }
            SealedPlace::Totp(id) => {
                let user =
                    self.state.users().find(|user| user.totp.as_ref().is_some_and(|totp| totp.id == id)).cloned();
                if let Some(mut user) = user {
                    user.totp.iter_mut().for_each(|totp| replace(&mut totp.seed));
                    self.store_user(user);
                }
            }
            SealedPlace::ProxyLogin => {
                Arc::make_mut(&mut self.state.settings).proxy_login.iter_mut().for_each(replace);
                self.changes.insert(RecordKey::Settings);
            }
        }
    }

    /// The nodes forget the old key.
    pub fn end_resealing(&mut self, key: SealingKeyId) -> Done {
        let Some(sealing) = self.state.sealing.filter(|sealing| sealing.key == key) else {
            return Err(refuse(Reason::State, "Another sealing key is in force."));
        };
        if sealing.previous.is_none() {
            return Ok(Outcome::Done);
        }
        let left = self.state.sealed_before().count();
        if left > 0 {
            let message = format!("{left} secrets are still sealed under the old key; it cannot go yet.");
            return Err(refuse(Reason::State, message));
        }
        self.put_sealing(Sealing { previous: None, ..sealing });
        let message = "Everything is sealed under the new sealing key; the old one is forgotten.";
        self.event(Severity::Informational, None, "sealing-key", message.into());
        Ok(Outcome::Done)
    }

    fn put_sealing(&mut self, sealing: Sealing) {
        self.state.sealing = Some(sealing);
        self.changes.insert(RecordKey::Sealing);
    }
}
