//! Keys of records as bytes whose order is the order of [`RecordKey`]: a table tag, then the key's parts.
//!
//! Tags are part of the image format and are never reused. Numbers are big-endian; a text is always the last part.

use crate::license::{AlertKind, RecordKey};

/// The encoded form of `key`.
#[must_use]
pub fn encode_key(key: &RecordKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(17);
    match key {
        RecordKey::Meta => out.push(1),
        RecordKey::Settings => out.push(2),
        RecordKey::Account(id) => numbers(&mut out, 3, &[id.0]),
        RecordKey::VirtualAccount(id) => numbers(&mut out, 4, &[id.0]),
        RecordKey::License(id) => numbers(&mut out, 5, &[id.0]),
        RecordKey::Pool(va, license) => numbers(&mut out, 6, &[va.0, license.0]),
        RecordKey::Token(id) => numbers(&mut out, 7, &[id.0]),
        RecordKey::Instance(id) => numbers(&mut out, 8, &[id.0]),
        RecordKey::Events(block) => numbers(&mut out, 9, &[*block]),
        RecordKey::Alert(key) => {
            out.extend_from_slice(&[10, alert_tag(key.kind)]);
            out.extend_from_slice(key.source.as_bytes());
        }
        RecordKey::User(name) => {
            out.push(11);
            out.extend_from_slice(name.as_bytes());
        }
        RecordKey::Member(id) => numbers(&mut out, 12, &[*id]),
        RecordKey::RoleChange(at, term) => numbers(&mut out, 13, &[at.0, *term]),
        RecordKey::Request(id) => {
            out.push(14);
            out.extend_from_slice(&id.to_be_bytes());
        }
        RecordKey::Session(id) => {
            out.push(15);
            out.extend_from_slice(id);
        }
        RecordKey::ApiClient(id) => {
            out.push(16);
            out.extend_from_slice(id.as_bytes());
        }
        RecordKey::Audit(block) => numbers(&mut out, 17, &[*block]),
        RecordKey::Readmitted(id) => numbers(&mut out, 18, &[id.0]),
        RecordKey::ServerCertificate => out.push(19),
        RecordKey::PastAlert(place) => numbers(&mut out, 20, &[*place]),
        RecordKey::Revoked(day, block) => numbers(&mut out, 21, &[*day, *block]),
        RecordKey::RevocationList => out.push(22),
        RecordKey::BrowserCertificate => out.push(23),
        RecordKey::Sealing => out.push(24),
        RecordKey::AdminIdentity(name) => {
            out.push(25);
            out.extend_from_slice(name.as_bytes());
        }
        RecordKey::Usage(va, license) => numbers(&mut out, 26, &[va.0, license.0]),
    }
    out
}

fn numbers(out: &mut Vec<u8>, tag: u8, parts: &[u64]) {
    out.push(tag);
    for part in parts {
        out.extend_from_slice(&part.to_be_bytes());
    }
}

const fn alert_tag(kind: AlertKind) -> u8 {
    match kind {
        AlertKind::InsufficientLicenses => 1,
        AlertKind::SynchronizationOverdue => 2,
        AlertKind::SynchronizationFailed => 3,
        AlertKind::AccountPending => 4,
        AlertKind::ClusterDegraded => 5,
        AlertKind::WitnessLost => 6,
        AlertKind::CommonNamePending => 7,
        AlertKind::CertificateExpiring => 8,
        AlertKind::LicensesExpiring => 9,
        AlertKind::LicensesExpired => 10,
        AlertKind::FailedToConnect => 11,
        AlertKind::FailedToRenew => 12,
        AlertKind::DiskSpace => 13,
        AlertKind::ClockSkew => 14,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::{AccountId, AlertKey, InstanceId, LicenseId, Millis, TokenId, VirtualAccountId};
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = RecordKey> {
        let kinds = prop::sample::select(vec![
            AlertKind::InsufficientLicenses,
            AlertKind::SynchronizationOverdue,
            AlertKind::SynchronizationFailed,
            AlertKind::AccountPending,
            AlertKind::ClusterDegraded,
            AlertKind::WitnessLost,
            AlertKind::CommonNamePending,
            AlertKind::CertificateExpiring,
            AlertKind::LicensesExpiring,
            AlertKind::LicensesExpired,
            AlertKind::FailedToConnect,
            AlertKind::FailedToRenew,
            AlertKind::DiskSpace,
            AlertKind::ClockSkew,
        ]);
        prop_oneof![
            Just(RecordKey::Meta),
            Just(RecordKey::Settings),
            any::<u64>().prop_map(|id| RecordKey::Account(AccountId(id))),
            any::<u64>().prop_map(|id| RecordKey::VirtualAccount(VirtualAccountId(id))),
            any::<u64>().prop_map(|id| RecordKey::License(LicenseId(id))),
            any::<(u64, u64)>().prop_map(|(va, id)| RecordKey::Pool(VirtualAccountId(va), LicenseId(id))),
            any::<u64>().prop_map(|id| RecordKey::Token(TokenId(id))),
            any::<u64>().prop_map(|id| RecordKey::Instance(InstanceId(id))),
            any::<u64>().prop_map(RecordKey::Events),
            (kinds, ".{0,4}").prop_map(|(kind, source)| RecordKey::Alert(AlertKey { kind, source })),
            ".{0,4}".prop_map(RecordKey::User),
            any::<u64>().prop_map(RecordKey::Member),
            any::<(u64, u64)>().prop_map(|(at, term)| RecordKey::RoleChange(Millis(at), term)),
            any::<u128>().prop_map(RecordKey::Request),
            any::<[u8; 32]>().prop_map(RecordKey::Session),
            ".{0,4}".prop_map(RecordKey::ApiClient),
            any::<u64>().prop_map(RecordKey::Audit),
            any::<u64>().prop_map(|id| RecordKey::Readmitted(InstanceId(id))),
            Just(RecordKey::ServerCertificate),
            any::<u64>().prop_map(RecordKey::PastAlert),
            any::<(u64, u64)>().prop_map(|(day, block)| RecordKey::Revoked(day, block)),
            Just(RecordKey::RevocationList),
            Just(RecordKey::BrowserCertificate),
            Just(RecordKey::Sealing),
            ".{0,4}".prop_map(RecordKey::AdminIdentity),
            any::<(u64, u64)>().prop_map(|(va, id)| RecordKey::Usage(VirtualAccountId(va), LicenseId(id))),
        ]
    }

    proptest! {
        #[test]
        fn bytes_sort_as_keys_do(a in key(), b in key()) {
            prop_assert_eq!(encode_key(&a).cmp(&encode_key(&b)), a.cmp(&b));
        }
    }
}
