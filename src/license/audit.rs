//! The audit log: every administrative change in words, chained by hashes, so that an entry that was altered, left out
//! or put in shows.

use super::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// An administrative change that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Counts from 1.
    pub seq: u64,
    pub at: Millis,
    /// Who asked, as in [`Request::actor`].
    pub actor: String,
    /// Stable kebab-case name.
    pub action: String,
    /// What it was about; never a secret.
    pub detail: String,
    /// SHA-256 over the hash of the entry before (zeros before the first) and the members above, each led by its length.
    pub hash: Digest32,
}

impl AuditEntry {
    /// The hash that this entry must have after an entry with the hash `previous`.
    #[must_use]
    pub fn expected_hash(&self, previous: &Digest32) -> Digest32 {
        let mut hash = Sha256::new();
        hash.update(previous);
        hash.update(self.seq.to_be_bytes());
        hash.update(self.at.0.to_be_bytes());
        for text in [&self.actor, &self.action, &self.detail] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.finalize().into()
    }

    /// The first entry that does not follow the one before it, with what is wrong; `previous` is the number and the hash
    /// before the first, where they are known.
    #[must_use]
    pub fn first_fault<'a>(
        entries: impl IntoIterator<Item = &'a Self>,
        mut previous: Option<(u64, Digest32)>,
    ) -> Option<(u64, &'static str)> {
        for entry in entries {
            if let Some((seq, hash)) = previous {
                if entry.seq != seq + 1 {
                    return Some((entry.seq, "an entry before it is missing"));
                }
                if entry.hash != entry.expected_hash(&hash) {
                    return Some((entry.seq, "it, or the one before it, was altered"));
                }
            }
            previous = Some((entry.seq, entry.hash));
        }
        None
    }
}

/// What is written of a command: a stable name and, in words, what it is about.
type Line = (&'static str, String);

impl State {
    /// The audit line of a command that is about to be carried out here; None for what is no administrator's deed.
    pub(super) fn audit_line(&self, command: &Command) -> Option<Line> {
        let account = |id: AccountId| self.account(id).map_or_else(|| format!("#{id}"), |a| a.name.clone());
        let va = |id: VirtualAccountId| match self.virtual_account(id) {
            Some(va) => format!("{}/{}", account(va.account), va.name),
            None => format!("#{id}"),
        };
        let instance = |id: InstanceId| match self.instance(id) {
            Some(instance) => format!("{} (instance {id}) of {}", instance.name(), va(instance.va)),
            None => format!("instance {id}"),
        };
        Some(match command {
            Command::Initialize { administrator, .. } => {
                ("initialize", format!("administrator {}", administrator.name))
            }
            Command::SetSettings { settings } => ("settings-set", settings.differences(&self.settings)),
            Command::RaiseIncarnation => ("incarnation-raise", String::new()),
            Command::PutMember { member } => ("member-put", format!("{} (node {})", member.name, member.node_id)),
            Command::RetireMember { node_id } => ("member-retire", format!("node {node_id}")),
            Command::AcknowledgeAlert { key } => ("alert-acknowledge", format!("{} {}", key.kind, key.source)),
            Command::CreateUser { user } => ("user-create", format!("{}, {}", user.name, user.role)),
            Command::ChangeUser { name, change } => change.audit_line(name),
            Command::DeleteUser { name } => ("user-delete", name.clone()),
            Command::BeginSession { user, source, .. } => ("session-begin", format!("{user} from {source}")),
            Command::CreateApiClient { id, account: of, role, .. } => {
                let of = of.map_or_else(|| "the server".to_owned(), account);
                ("api-client-create", format!("{id} for {of}, {role}"))
            }
            Command::RevokeApiClient { id } => ("api-client-revoke", id.clone()),
            Command::EnrolTotp { name, .. } => ("user-totp-enrol", name.clone()),
            Command::UseTotp { name, .. }
                if self.user(name).is_some_and(|u| u.totp.as_ref().is_some_and(|t| !t.confirmed)) =>
            {
                ("user-totp-confirm", name.clone())
            }
            Command::ResetTotp { name } => ("user-totp-reset", name.clone()),
            Command::EndSessions { name } => ("user-sign-out", name.clone()),
            Command::CreateAdminIdentity { name, role, .. } => ("admin-identity-create", format!("{name}, {role}")),
            Command::RevokeAdminIdentity { name } => ("admin-identity-revoke", name.clone()),
            Command::LabelLicense { license, add, remove } => {
                let signed =
                    |sign: char, labels: &[String]| labels.iter().map(|l| format!(" {sign}{l}")).collect::<String>();
                let tag = self.license(*license).map_or_else(|| format!("#{license}"), |l| l.tag.clone());
                ("license-tag", format!("{tag}{}{}", signed('+', add), signed('-', remove)))
            }
            Command::RequestAccount { name, smart_account, virtual_account, .. } => {
                ("account-request", format!("{name} for {smart_account}/{virtual_account}"))
            }
            Command::ApproveAccount { account: id, .. } => ("account-approve", account(*id)),
            Command::RejectAccount { account: id, reason } => ("account-reject", format!("{}: {reason}", account(*id))),
            Command::ActivateAccount { account: id, entitlements, .. } => {
                ("account-activate", format!("{} with {} licenses", account(*id), entitlements.len()))
            }
            Command::DeactivateAccount { account: id, reason } => {
                ("account-deactivate", format!("{}: {reason}", account(*id)))
            }
            Command::ReactivateAccount { account: id } => ("account-reactivate", account(*id)),
            Command::DeleteAccount { account: id } => ("account-delete", account(*id)),
            Command::AbandonAccount { account: id } => ("account-abandon", account(*id)),
            Command::CloseAccount { account: id } => ("account-close", account(*id)),
            Command::CreateVirtualAccount { account: id, name } => {
                ("virtual-account-create", format!("{}/{name}", account(*id)))
            }
            Command::RenameVirtualAccount { va: id, name } => {
                ("virtual-account-rename", format!("{} to {name}", va(*id)))
            }
            Command::DeleteVirtualAccount { va: id } => ("virtual-account-delete", va(*id)),
            Command::TransferLicense { license, from, to, quantity } => {
                let tag = self.license(*license).map_or_else(|| format!("#{license}"), |l| l.tag.clone());
                ("license-transfer", format!("{quantity} of {tag} from {} to {}", va(*from), va(*to)))
            }
            Command::CreateToken { va: id, description, .. } => ("token-create", format!("{} {description}", va(*id))),
            Command::RevokeToken { token } => ("token-revoke", format!("token {token}")),
            Command::CompleteSync { account: id, seq, .. } => {
                ("sync-complete", format!("{} number {seq}", account(*id)))
            }
            Command::SetSyncSchedule { account: id, schedule } => {
                ("sync-schedule", format!("{} {schedule}", account(*id)))
            }
            Command::SetBrowserCertificate { certificate: Some(c) } => {
                ("browser-certificate-import", c.common_name.clone())
            }
            Command::BeginResealing { .. } => ("sealing-key-rotate", String::new()),
            Command::SetBrowserCertificate { certificate: None } => ("browser-certificate-reset", String::new()),
            Command::RemoveInstance { instance: id } => ("instance-remove", instance(*id)),
            Command::TransferInstance { instance: id, to } => {
                ("instance-transfer", format!("{} to {}", instance(*id), va(*to)))
            }
            Command::AcceptClock { time } => ("clock-accept", format!("{} ms", time.0)),
            Command::Resume { .. }
            | Command::PassTime
            | Command::DigestMark { .. }
            | Command::RaiseAlert { .. }
            | Command::ClearAlert { .. }
            | Command::NoteEvent { .. }
            | Command::BeginSync { .. }
            | Command::FailSync { .. }
            | Command::Register { .. }
            | Command::Readmit { .. }
            | Command::WantServerCertificate { .. }
            | Command::IssueRevocationList { .. }
            | Command::WantAccountCertificate { .. }
            | Command::CertifyAccount { .. }
            | Command::Reseal { .. }
            | Command::EndResealing { .. }
            | Command::Numbered { .. }
            | Command::TouchSession { .. }
            | Command::SetPreferences { .. }
            | Command::UseTotp { .. }
            | Command::EndSession { .. } => return None,
        })
    }
}

impl UserChange {
    fn audit_line(&self, name: &str) -> Line {
        match self {
            Self::Password { .. } => ("user-password", name.to_owned()),
            Self::Role { role, .. } => ("user-role", format!("{name}, {role}")),
            Self::Disabled(true) => ("user-disable", name.to_owned()),
            Self::Disabled(false) => ("user-enable", name.to_owned()),
        }
    }
}

impl Settings {
    /// What differs from `old`, by name and new value.
    fn differences(&self, old: &Self) -> String {
        let texts = |s: &Self| {
            [
                ("host-common-name", s.host_common_name.clone()),
                ("vip", s.vip.join(",")),
                ("central-url", s.central_url.clone()),
                ("vendor-root", s.vendor_root.clone()),
                ("heartbeat-ms", s.heartbeat_ms.to_string()),
                ("election-min-ms", s.election_min_ms.to_string()),
                ("election-max-ms", s.election_max_ms.to_string()),
                ("min-password-bytes", s.min_password_bytes.to_string()),
                ("licenses-expiring-days", s.licenses_expiring_days.to_string()),
                ("proxy", s.proxy.clone()),
                ("proxy-login", s.proxy_login.as_ref().map(|sealed| format!("{:?}", sealed.0)).unwrap_or_default()),
                ("message-of-the-day", s.message_of_the_day.replace('\n', " ")),
            ]
        };
        let changed = texts(self).into_iter().zip(texts(old)).filter(|(new, old)| new != old);
        let named = changed.map(|((name, value), _)| match name {
            "vendor-root" | "proxy-login" => name.to_owned(),
            _ => format!("{name}={value}"),
        });
        named.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(length: u64) -> Vec<AuditEntry> {
        let mut previous = [0; 32];
        let entry = |seq: u64| {
            let (actor, action, detail) = ("uid 0".to_owned(), "token-revoke".to_owned(), format!("token {seq}"));
            let mut entry = AuditEntry { seq, at: Millis(seq), actor, action, detail, hash: [0; 32] };
            entry.hash = entry.expected_hash(&previous);
            previous = entry.hash;
            entry
        };
        (1..=length).map(entry).collect()
    }

    #[test]
    fn a_chain_shows_what_was_altered_left_out_or_moved() {
        let sound = chain(5);
        let fault = |entries: &[AuditEntry]| AuditEntry::first_fault(entries, Some((0, [0; 32]))).map(|(seq, _)| seq);
        assert_eq!(fault(&sound), None);
        let mut altered = sound.clone();
        altered[2].detail = "token 9".into();
        assert_eq!(fault(&altered), Some(3));
        let mut shifted = sound.clone();
        (shifted[2].actor, shifted[2].action) = ("uid 0t".into(), "oken-revoke".into());
        assert_eq!(fault(&shifted), Some(3), "a letter that moved from one member to the next");
        let mut missing = sound.clone();
        missing.remove(1);
        assert_eq!(fault(&missing), Some(3));
        assert_eq!(AuditEntry::first_fault(&sound[2..], None), None, "from the middle on");
        assert_eq!(fault(&sound[1..]), Some(2), "the first one is missing");
    }
}
