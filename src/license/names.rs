//! Stable kebab-case names of the licensing vocabulary, used by protocols, APIs and the command line.

use super::*;
use std::fmt;

macro_rules! names {
    ($type:ident { $($variant:pat => $name:literal,)* }) => {
        impl $type {
            /// Stable name.
            #[must_use]
            pub const fn as_str(&self) -> &'static str {
                match self {
                    $($variant => $name,)*
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

names!(AccountStatus {
    Self::Requested => "requested",
    Self::Approved => "approved",
    Self::Active => "active",
    Self::Inactive => "inactive",
    Self::Rejected => "rejected",
});

names!(Billing {
    Self::Prepaid => "prepaid",
    Self::Usage => "usage",
});

names!(Severity {
    Self::Informational => "informational",
    Self::Minor => "minor",
    Self::Major => "major",
});

names!(AlertKind {
    Self::InsufficientLicenses => "insufficient-licenses",
    Self::SynchronizationOverdue => "synchronization-overdue",
    Self::SynchronizationFailed => "synchronization-failed",
    Self::AccountPending => "account-pending",
    Self::ClusterDegraded => "cluster-degraded",
    Self::WitnessLost => "witness-lost",
    Self::CommonNamePending => "common-name-pending",
    Self::CertificateExpiring => "certificate-expiring",
    Self::LicensesExpiring => "licenses-expiring",
    Self::LicensesExpired => "licenses-expired",
    Self::FailedToConnect => "product-instance-failed-to-connect",
    Self::FailedToRenew => "product-instance-failed-to-renew",
    Self::DiskSpace => "disk-space",
    Self::ClockSkew => "clock-skew",
});

names!(Role {
    Self::SystemAdministrator => "system-administrator",
    Self::SystemOperator => "system-operator",
    Self::LocalAccountAdministrator => "local-account-administrator",
    Self::VirtualAccountAdministrator => "virtual-account-administrator",
    Self::ReadOnly => "read-only",
});

names!(StartPage {
    Self::Licensing => "licensing",
    Self::Administration => "administration",
});

names!(Reason {
    Self::Invalid => "invalid",
    Self::NotFound => "not-found",
    Self::Exists => "exists",
    Self::State => "state",
    Self::NotEmpty => "not-empty",
    Self::Limit => "limit",
    Self::TokenUnknown => "token-unknown",
    Self::TokenExpired => "token-expired",
    Self::TokenExhausted => "token-exhausted",
    Self::TokenRevoked => "token-revoked",
    Self::AccountInactive => "account-inactive",
    Self::LicenseUnknown => "license-unknown",
    Self::ExportControlled => "export-controlled",
    Self::InstanceUnknown => "instance-unknown",
    Self::StaleRequest { .. } => "stale-request",
    Self::RequestMismatch { .. } => "request-mismatch",
    Self::CertificateExpired => "certificate-expired",
    Self::NotInitialized => "not-initialized",
});

impl AlertKind {
    /// The title people read, as operators and their scripts know it.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        match self {
            Self::InsufficientLicenses => "Insufficient Licenses",
            Self::SynchronizationOverdue => "Synchronization Overdue",
            Self::SynchronizationFailed => "Synchronization Failed",
            Self::AccountPending => "Account Pending",
            Self::ClusterDegraded => "Cluster Degraded",
            Self::WitnessLost => "Witness Lost",
            Self::CommonNamePending => "Common Name Pending",
            Self::CertificateExpiring => "Certificate Expiring",
            Self::LicensesExpiring => "Licenses Expiring",
            Self::LicensesExpired => "Licenses Expired",
            Self::FailedToConnect => "Product Instance Failed to Connect",
            Self::FailedToRenew => "Product Instance Failed to Renew",
            Self::DiskSpace => "Disk Space",
            Self::ClockSkew => "Clock Skew",
        }
    }
}
