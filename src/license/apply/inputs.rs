//! Checks of what commands carry, the same on every replica.

use super::*;
use core::net::IpAddr;

/// `text` up to `max` bytes, cut at a character.
pub fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

fn invalid(message: String) -> Refusal {
    refuse(Reason::Invalid, message)
}

/// A text for people: at most `max` bytes on one line.
pub fn text(what: &str, text: &str, max: usize) -> Result<(), Refusal> {
    if text.len() > max {
        return Err(invalid(format!("The {what} is {} bytes long; at most {max} are allowed.", text.len())));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(format!("The {what} contains a control character; use printable ones only.")));
    }
    Ok(())
}

/// A name: also not empty, without spaces around it and without `/`, which separates names in paths and alerts.
pub fn name(what: &str, name: &str) -> Result<(), Refusal> {
    text(what, name, MAX_NAME)?;
    if name.is_empty() || name.trim() != name || name.contains('/') {
        return Err(invalid(format!("The {what} must not be empty, begin or end with a space, or contain \"/\".")));
    }
    Ok(())
}

pub fn blob(what: &str, bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.is_empty() || bytes.len() > MAX_BLOB {
        return Err(invalid(format!("The {what} has {} bytes; it must have 1 to {MAX_BLOB}.", bytes.len())));
    }
    Ok(())
}

pub fn chain(certificates: &[Vec<u8>]) -> Result<(), Refusal> {
    if certificates.len() > MAX_CHAIN {
        return Err(invalid(format!("The chain has {} certificates; at most {MAX_CHAIN}.", certificates.len())));
    }
    certificates.iter().try_for_each(|c| blob("certificate", c))
}

pub fn browser_certificate(certificate: &BrowserCertificate) -> Result<(), Refusal> {
    text("common name", &certificate.common_name, MAX_TEXT)?;
    if certificate.hosts.len() > MAX_BROWSER_HOSTS {
        return Err(invalid(format!("A certificate for browsers has at most {MAX_BROWSER_HOSTS} names.")));
    }
    certificate.hosts.iter().try_for_each(|host| text("host name", host, MAX_TEXT))?;
    chain(&certificate.chain)
}

pub fn server_names(names: &ServerNames) -> Result<(), Refusal> {
    let ServerNames { common_name, hosts } = names;
    if hosts.len() > MAX_SERVER_HOSTS || !hosts.contains(common_name) || common_name.is_empty() {
        return Err(invalid(format!("A certificate has 1 to {MAX_SERVER_HOSTS} names, the common name among them.")));
    }
    hosts.iter().try_for_each(|host| text("host name", host, MAX_TEXT))
}

pub fn udi(udi: &Udi) -> Result<(), Refusal> {
    text("product id", &udi.pid, MAX_NAME)?;
    text("serial number", &udi.sn, MAX_NAME)?;
    if udi.pid.is_empty() || udi.sn.is_empty() {
        return Err(invalid("The device identity needs a product id and a serial number.".into()));
    }
    Ok(())
}

/// Further devices of a product whose own is `own`: each once.
pub fn devices(own: &Udi, devices: &[Device]) -> Result<(), Refusal> {
    if devices.len() > MAX_DEVICES {
        let message = format!("{} further devices; a product has at most {MAX_DEVICES}.", devices.len());
        return Err(refuse(Reason::Limit, message));
    }
    let mut seen = std::collections::BTreeSet::from([own]);
    for device in devices {
        udi(&device.udi)?;
        device.host_name.iter().try_for_each(|h| text("host name", h, MAX_TEXT))?;
        if !seen.insert(&device.udi) {
            return Err(invalid(format!("The device {}:{} is named twice.", device.udi.pid, device.udi.sn)));
        }
    }
    Ok(())
}

/// A word that finds a license again; commas separate them on the command line.
pub fn label(label: &str) -> Result<(), Refusal> {
    name("label", label)?;
    if label.len() > MAX_LABEL || label.contains(',') {
        return Err(invalid(format!("A label has at most {MAX_LABEL} bytes and no comma.")));
    }
    Ok(())
}

pub fn user(user: &User) -> Result<(), Refusal> {
    name("user name", &user.name)?;
    text("password hash", &user.password_hash, MAX_PASSWORD_HASH)
}

pub fn preferences(preferences: &Preferences) -> Result<(), Refusal> {
    if !LIST_ROWS.contains(&preferences.rows) {
        let choices = LIST_ROWS.map(|rows| rows.to_string()).join(", ");
        return Err(invalid(format!("A page of a list has one of {choices} rows, not {}.", preferences.rows)));
    }
    text("time zone", &preferences.time_zone, MAX_TIME_ZONE)
}

/// The dates of a certificate the leader made for a command stamped `now`: so long, and beginning about then.
pub fn certificate(certificate: &IdCertificate, now: Millis) -> Result<(), Refusal> {
    let from = certificate.not_before.0;
    let expected = now.0.saturating_sub(CERTIFICATE_BACKDATE);
    let life = certificate.not_after.0.saturating_sub(from);
    if life == 0 || life > CERTIFICATE_LIFE + CERTIFICATE_SKEW || from.abs_diff(expected) > CERTIFICATE_SKEW {
        let message = format!(
            "The ID certificate is dated {from} to {} (ms), which does not fit the time of this request ({} ms).",
            certificate.not_after.0, now.0
        );
        return Err(invalid(message));
    }
    Ok(())
}

/// Empty, an address, or a host name (RFC 1123, section 2.1).
fn common_name(name: &str) -> Result<(), Refusal> {
    let label = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.is_empty() || name.parse::<IpAddr>().is_ok() || name.len() <= 253 && name.split('.').all(label) {
        return Ok(());
    }
    Err(invalid(format!("\"{name}\" is no host name and no address; write it as in the products' URL.")))
}

pub fn settings(settings: &Settings) -> Result<(), Refusal> {
    common_name(&settings.host_common_name)?;
    text("central address", &settings.central_url, MAX_TEXT)?;
    text("proxy", &settings.proxy, MAX_TEXT)?;
    if settings.proxy.contains('@') {
        return Err(invalid(
            "The proxy's URL must not hold a name or a password: it is shown and logged. Set `proxy-login`.".into(),
        ));
    }
    let message = &settings.message_of_the_day;
    let length = message.chars().count();
    if length > MAX_MESSAGE_OF_THE_DAY || message.chars().any(|c| c.is_control() && c != '\n') {
        return Err(invalid(format!(
            "The message of the day has {length} characters; it may have {MAX_MESSAGE_OF_THE_DAY}, and of control \
             characters line breaks alone."
        )));
    }
    if settings.vendor_root.len() > MAX_PEM {
        return Err(invalid(format!(
            "The vendor root has more than {MAX_PEM} bytes; give the file of one certificate."
        )));
    }
    settings.vip.iter().try_for_each(|v| text("virtual address", v, MAX_TEXT))?;
    if settings.vip.len() > MAX_ADDRESSES {
        return Err(invalid(format!("At most {MAX_ADDRESSES} virtual addresses are allowed.")));
    }
    // Products of either family use one URL.
    let families = |v6| settings.vip.iter().any(|vip| vip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() == v6));
    if families(false) && families(true) && settings.host_common_name.parse::<IpAddr>().is_ok() {
        return Err(invalid(format!(
            "With an IPv4 and an IPv6 virtual address the host common name must be a host name (FQDN), not {}.",
            settings.host_common_name
        )));
    }
    let shortest = settings.min_password_bytes;
    // Nobody would find a new password if it had to be nearly as long as it may be.
    if !(MIN_PASSWORD_BYTES..=MAX_PASSWORD_BYTES / 4).contains(&shortest) {
        return Err(invalid(format!(
            "The shortest password may be set to {MIN_PASSWORD_BYTES} to {} bytes, not {shortest}.",
            MAX_PASSWORD_BYTES / 4
        )));
    }
    let days = settings.licenses_expiring_days;
    if !(1..=MAX_LICENSES_EXPIRING_DAYS).contains(&days) {
        return Err(invalid(format!(
            "Licenses may be told to expire 1 to {MAX_LICENSES_EXPIRING_DAYS} days before, not {days}."
        )));
    }
    let Settings { heartbeat_ms, election_min_ms, election_max_ms, .. } = *settings;
    // An election must not start because one heartbeat was late, and candidates must be able to differ.
    if heartbeat_ms == 0 || election_min_ms < heartbeat_ms.saturating_mul(2) || election_max_ms <= election_min_ms {
        return Err(invalid(format!(
            "Heartbeat {heartbeat_ms} ms and election {election_min_ms} to {election_max_ms} ms do not fit: the \
             shortest election time-out must be at least two heartbeats and below the longest."
        )));
    }
    Ok(())
}

/// What central says is purchased: no tag twice, sound terms, and sums that stay in range.
pub fn entitlements(entitlements: &[Entitlement]) -> Result<(), Refusal> {
    if entitlements.len() > MAX_LICENSES_PER_ACCOUNT {
        let message = format!("{} licenses; an account has at most {MAX_LICENSES_PER_ACCOUNT}.", entitlements.len());
        return Err(refuse(Reason::Limit, message));
    }
    let mut tags = std::collections::BTreeSet::new();
    for entitlement in entitlements {
        let tag = &entitlement.tag;
        text("entitlement tag", tag, MAX_TAG)?;
        text("license name", &entitlement.name, MAX_TEXT)?;
        if tag.is_empty() || !tags.insert(tag.as_str()) {
            return Err(invalid(format!("The entitlement tag \"{tag}\" is empty or comes twice.")));
        }
        if entitlement.terms.len() > MAX_TERMS {
            let message = format!("\"{tag}\" has {} terms; at most {MAX_TERMS}.", entitlement.terms.len());
            return Err(refuse(Reason::Limit, message));
        }
        let covers = &entitlement.covered_by;
        covers.iter().try_for_each(|cover| text("entitlement tag", cover, MAX_TAG))?;
        if covers.len() > MAX_COVERS || covers.contains(tag) {
            return Err(invalid(format!("\"{tag}\" is covered by itself, or by more than {MAX_COVERS} licenses.")));
        }
        let total = entitlement.terms.iter().fold(0u64, |sum, t| sum.saturating_add(t.quantity));
        let backwards = entitlement.terms.iter().any(|t| t.end.is_some_and(|end| end <= t.start));
        if total > MAX_COUNT || backwards {
            return Err(invalid(format!(
                "A term of \"{tag}\" ends before it starts, or its quantities are too large."
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_printable_and_without_separators() {
        for good in ["a", "TEST 1", "Zürich", &"x".repeat(MAX_NAME)] {
            assert!(name("name", good).is_ok(), "{good}");
        }
        for bad in ["", " a", "a ", "a/b", "a\nb", "a\0", &"x".repeat(MAX_NAME + 1)] {
            assert_eq!(name("name", bad).unwrap_err().reason, Reason::Invalid, "{bad:?}");
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!((cut("abc", 2), cut("aü", 2), cut("ab", 9)), ("ab", "a", "ab"));
    }

    #[test]
    fn a_certificate_fits_the_time_of_its_command() {
        let now = Millis(1_000 * Millis::DAY);
        let dated = |from: u64, life: u64| IdCertificate {
            serial: [1; 16],
            key_hash: [2; 32],
            not_before: Millis(from),
            not_after: Millis(from + life),
        };
        let from = now.0 - CERTIFICATE_BACKDATE;
        assert!(certificate(&dated(from, CERTIFICATE_LIFE), now).is_ok());
        for (from, life) in [(from, 0), (from, 2 * CERTIFICATE_LIFE), (0, CERTIFICATE_LIFE), (2 * from, 1)] {
            assert!(certificate(&dated(from, life), now).is_err(), "{from} {life}");
        }
    }

    #[test]
    fn settings_are_within_their_bounds() {
        let with = |heartbeat_ms, election_min_ms, election_max_ms| Settings {
            heartbeat_ms,
            election_min_ms,
            election_max_ms,
            ..Settings::default()
        };
        assert!(settings(&Settings::default()).is_ok());
        let saying = |message_of_the_day| settings(&Settings { message_of_the_day, ..Settings::default() });
        assert!(saying(format!("two\n{}", "\u{e4}".repeat(MAX_MESSAGE_OF_THE_DAY - 4))).is_ok());
        assert!(saying("x".repeat(MAX_MESSAGE_OF_THE_DAY + 1)).is_err() && saying("a\tb".into()).is_err());
        for bad in [with(0, 150, 300), with(100, 150, 300), with(50, 300, 300)] {
            assert!(settings(&bad).is_err(), "{bad:?}");
        }
    }
}
