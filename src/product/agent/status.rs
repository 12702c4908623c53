//! What a product shows its user about its licensing.

use super::record::Record;
use crate::license::{LAPSE_GRACE, Millis};
use crate::product::message::{AuthorizationStatus, ComplianceStatus};
use serde::Serialize;

/// Days a product may be used before it is registered.
const EVALUATION_DAYS: u64 = 90;

/// The licensing status, in words where people read it and in dates where programs do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    pub licensing_mode: String,
    pub product_name: String,
    /// `Registered (date)` or `Unregistered`, with what follows from it.
    pub registration: String,
    /// `Authorized (date)`, `Out of Compliance (date)`, `No Licenses In Use`, `Authorization Expired (date)`.
    pub authorization: String,
    pub smart_account: String,
    pub virtual_account: String,
    pub instance_name: String,
    pub instance: Option<String>,
    pub transport: String,
    pub export_controlled_functionality: String,
    pub licenses: Vec<LicenseLine>,
    pub next_contact: Option<String>,
    pub expires: Option<String>,
    /// Until when the server keeps the registration of a product that it does not hear of.
    pub grace_until: Option<String>,
    /// While no server answers: since when, and until when the product goes on.
    pub outage: Option<String>,
    /// Only out of compliance: from when the product may enforce.
    pub enforcement_date: Option<String>,
    pub certificate_expires: Option<String>,
    pub last_contact: Option<String>,
    pub last_failure: Option<String>,
    /// A request whose outcome is not known yet.
    pub pending: Option<String>,
    pub root_fingerprint: Option<String>,
}

/// One license in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LicenseLine {
    pub tag: String,
    pub name: String,
    pub count: u64,
    pub status: String,
}

impl Status {
    pub(super) fn of(record: &Record, now: Millis) -> Self {
        let registration = record.registration.as_ref();
        let authorization = record.authorization.as_ref().filter(|_| registration.is_some());
        let product = record.product.as_ref();
        let udi = product.map(|p| format!("UDI_PID:{};UDI_SN:{}", p.pid, p.sn)).unwrap_or_default();
        let host = product.and_then(|p| p.host_name.clone()).filter(|_| !record.private);
        let held = authorization.map_or(&[][..], |a| &a.licenses);
        Self {
            licensing_mode: "Smart Licensing".into(),
            product_name: product.map(|p| p.product_type.clone()).unwrap_or_default(),
            registration: registration_line(record, now),
            authorization: authorization_line(record, now),
            smart_account: registration.map(|r| r.account.clone()).unwrap_or_default(),
            virtual_account: registration.map(|r| r.virtual_account.clone()).unwrap_or_default(),
            instance_name: host.unwrap_or(udi),
            instance: registration.map(|r| r.instance.clone()),
            transport: transport_line(record),
            export_controlled_functionality: match registration {
                Some(r) if r.export_controlled => "Allowed".into(),
                _ => "Not Allowed".into(),
            },
            licenses: held
                .iter()
                .map(|l| LicenseLine {
                    tag: l.tag.clone(),
                    name: l.name.clone(),
                    count: l.count,
                    status: match l.status {
                        ComplianceStatus::InCompliance => "In Compliance".into(),
                        ComplianceStatus::OutOfCompliance => "Out of Compliance".into(),
                    },
                })
                .collect(),
            next_contact: authorization.map(|a| date(a.next_contact)),
            expires: authorization.map(|a| date(a.expires)),
            grace_until: authorization.map(|a| date(a.expires + LAPSE_GRACE)),
            outage: outage_line(record, now),
            enforcement_date: authorization.and_then(|a| a.enforce_from).map(date),
            certificate_expires: registration.map(|r| date(r.certificate.not_after)),
            last_contact: record.last_contact.map(date),
            last_failure: record.last_failure.as_ref().map(|(at, why)| format!("{}: {why}", date(*at))),
            pending: record.pending.as_ref().map(|p| format!("{} number {}", p.wanted.name(), p.number)),
            root_fingerprint: record.trust.root_fingerprint(),
        }
    }
}

fn registration_line(record: &Record, now: Millis) -> String {
    if let Some(registration) = &record.registration {
        return if now.0 >= registration.certificate.not_after {
            format!("Registration Expired ({}): register again", date(registration.certificate.not_after))
        } else {
            format!("Registered ({})", date(registration.registered))
        };
    }
    let end = record.started + EVALUATION_DAYS * Millis::DAY;
    match end.checked_sub(now.0) {
        Some(left) if left > 0 => format!("Unregistered: evaluation, {} days left", left.div_ceil(Millis::DAY)),
        _ => format!("Unregistered: the evaluation expired on {}", date(end)),
    }
}

fn authorization_line(record: &Record, now: Millis) -> String {
    let Some(authorization) = record.authorization.as_ref().filter(|_| record.registration.is_some()) else {
        return "No Licenses In Use".into();
    };
    let since = date(authorization.authorized);
    match authorization.status {
        AuthorizationStatus::NoLicensesInUse => "No Licenses In Use".into(),
        _ if now.0 >= authorization.expires => format!("Authorization Expired ({})", date(authorization.expires)),
        AuthorizationStatus::Authorized => format!("Authorized ({since})"),
        AuthorizationStatus::OutOfCompliance => format!("Out of Compliance ({since})"),
    }
}

fn outage_line(record: &Record, now: Millis) -> Option<String> {
    let since = date(record.silent_since?);
    let authorization = record.authorization.as_ref().filter(|_| record.registration.is_some());
    let Some(authorization) = authorization else { return Some(format!("No server has answered since {since}")) };
    let (expires, grace) = (authorization.expires, authorization.expires + LAPSE_GRACE);
    let means = match now.0 {
        now if now < expires => format!("the authorization holds until {}", date(expires)),
        now if now < grace => {
            format!("the authorization has expired; the server keeps the registration until {}", date(grace))
        }
        _ => format!("the registration lapsed on {}", date(grace)),
    };
    Some(format!("No server has answered since {since}: {means}"))
}

fn transport_line(record: &Record) -> String {
    let urls: Vec<&str> = record.urls.iter().map(url::Url::as_str).collect();
    let mut line = if urls.is_empty() { "not set".to_owned() } else { urls.join(", ") };
    if let Some(proxy) = &record.proxy {
        // A password in the proxy's URL is nobody's business here.
        line.push_str(&format!(" by the proxy {}", proxy.host_str().unwrap_or("?")));
    }
    if record.private {
        line.push_str(", private");
    }
    line
}

/// RFC 3339, seconds, UTC.
fn date(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1_000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "the end of time".to_owned(), |t| t.to_string())
}
