//! Administrators elsewhere.

use super::*;

impl Apply<'_> {
    /// One that has expired makes room for another of its name.
    pub fn create_admin_identity(&mut self, name: &str, role: Role, key_hash: Digest32, expires: Millis) -> Done {
        inputs::name("identity's name", name)?;
        // It stands in a URI of the certificate and in names of files.
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            let message = "An identity's name has letters and digits of ASCII, \"-\", \"_\" and \".\" only.";
            return Err(refuse(Reason::Invalid, message));
        }
        if !role.is_for_server() {
            return Err(refuse(Reason::Invalid, format!("{role} is no role for the whole server.")));
        }
        // The leader's clock, by which the end was chosen, may be behind state time or ahead of it.
        let latest = self.now.plus(MAX_ADMIN_IDENTITY_DAYS * Millis::DAY + CERTIFICATE_SKEW);
        if expires <= self.now || expires > latest {
            let message = format!("An admin identity is valid for 1 to {MAX_ADMIN_IDENTITY_DAYS} days.");
            return Err(refuse(Reason::Invalid, message));
        }
        let known = self.state.admin_identity(name);
        if known.is_some_and(|known| known.live(self.now)) {
            let message = format!("There already is an admin identity \"{name}\"; revoke it first.");
            return Err(refuse(Reason::Exists, message));
        }
        if known.is_none() && self.state.admin_identities.len() >= MAX_ADMIN_IDENTITIES {
            let message = format!("There are {MAX_ADMIN_IDENTITIES} admin identities, the most there can be.");
            return Err(refuse(Reason::Limit, message));
        }
        let (created, created_by) = (self.now, inputs::cut(self.actor, MAX_NAME).to_owned());
        let identity = AdminIdentity { name: name.to_owned(), role, key_hash, created, created_by, expires };
        self.state.admin_identities.insert(name.to_owned(), Arc::new(identity));
        self.changes.insert(RecordKey::AdminIdentity(name.to_owned()));
        let message = format!("Admin identity \"{name}\" is {role}.");
        self.event(Severity::Informational, None, "admin-identity-created", message);
        Ok(Outcome::Done)
    }

    pub fn revoke_admin_identity(&mut self, name: &str) -> Done {
        if self.state.admin_identities.remove(name).is_none() {
            return Err(refuse(Reason::NotFound, format!("There is no admin identity \"{name}\".")));
        }
        self.changes.insert(RecordKey::AdminIdentity(name.to_owned()));
        let message = format!("Admin identity \"{name}\" was revoked.");
        self.event(Severity::Informational, None, "admin-identity-revoked", message);
        Ok(Outcome::Done)
    }
}
