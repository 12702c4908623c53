//! Reads requests: from bytes to a checked meaning, without side effects.

use super::message::{DeviceMember, LicenseCount, NONCE_LEN, PROTOCOL, REQUEST_TYP, RequestPayload, RequestType};
use super::problem::{Code, Problem};
use crate::license::{Device, Digest32, Udi};
use crate::pki::ca::csr_public_key;
use crate::pki::jws::{Header, Jws, PublicKey};
use crate::pki::sha256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// A request before its signature is checked.
#[derive(Debug)]
pub(super) struct Envelope {
    pub jws: Jws,
    pub header: Header,
    /// The key it says it is signed with; whether that key may speak is for the service to decide.
    pub key: PublicKey,
}

impl Envelope {
    pub(super) fn read(body: &[u8]) -> Result<Self, Problem> {
        let jws: Jws = serde_json::from_slice(body).map_err(|e| {
            malformed(format!(
                "the body is not a flattened JWS in JSON with the members protected, payload and signature: {e}"
            ))
        })?;
        let header = jws.header().map_err(|e| malformed(e.to_string()))?;
        if header.typ.as_deref() != Some(REQUEST_TYP) {
            return Err(malformed(format!("the protected header must have \"typ\": \"{REQUEST_TYP}\"")));
        }
        let jwk = header.jwk.as_ref().ok_or_else(|| malformed("the protected header must have the product's jwk"))?;
        let key = PublicKey::from_jwk(jwk).map_err(|e| malformed(format!("the protected header's jwk is {e}")))?;
        Ok(Self { jws, header, key })
    }

    /// The payload, once the signature is found to be the key's.
    pub(super) fn verify(&self) -> Result<Vec<u8>, Problem> {
        self.jws.verify(&self.key).map_err(|e| {
            let detail = format!("{e}; sign the bytes protected + \".\" + payload with the key in the header's jwk");
            Problem::new(Code::BadSignature, detail)
        })
    }
}

/// A registration's meaning.
#[derive(Debug)]
pub(super) struct Registration {
    pub csr: Vec<u8>,
    pub udi: Udi,
    pub host_name: Option<String>,
    pub product_type: String,
    pub software_version: String,
    pub devices: Vec<Device>,
}

/// A numbered request's meaning.
#[derive(Debug)]
pub(super) struct Numbered {
    pub number: u64,
    /// What a repeat must have in common with the first: all but time, nonce and signature.
    pub digest: Digest32,
    pub asked: Asked,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Authorize(Vec<(String, u64)>),
    RenewAuthorization,
    RenewId { csr: Vec<u8>, key_hash: Digest32 },
    Deregister,
}

/// Reads a payload as JSON and checks what all requests have in common.
pub(super) fn payload(bytes: &[u8]) -> Result<RequestPayload, Problem> {
    #[derive(Deserialize)]
    struct Version {
        protocol: u32,
    }
    let payload: RequestPayload =
        serde_json::from_slice(bytes).map_err(|e| match serde_json::from_slice::<Version>(bytes) {
            Ok(Version { protocol }) if protocol != PROTOCOL => unsupported(protocol),
            _ => malformed(format!("the payload is not a request of protocol {PROTOCOL}: {e}")),
        })?;
    if payload.protocol != PROTOCOL {
        return Err(unsupported(payload.protocol));
    }
    if !NONCE_LEN.contains(&payload.nonce.len()) {
        let (min, max) = (NONCE_LEN.start(), NONCE_LEN.end());
        return Err(malformed(format!(
            "nonce must have {min} to {max} characters, fresh and random for every attempt"
        )));
    }
    Ok(payload)
}

/// The ID certificate of a registration that has one in place of a token.
pub(super) fn certificate(payload: &RequestPayload) -> Result<Vec<u8>, Problem> {
    let text = match (&payload.token, &payload.certificate) {
        (None, Some(text)) => text,
        (None, None) => {
            let detail = "a register request needs token, or certificate; other requests need the instance id in the \
                          header's kid";
            return Err(malformed(detail));
        }
        _ => return Err(malformed("a register request has token or certificate, not both")),
    };
    STANDARD.decode(text).map_err(|_| malformed("certificate is not base64 (RFC 4648, section 4) of DER"))
}

/// Reads a registration whose signature is verified; `key` signed it and must be the key of its CSR.
pub(super) fn registration(payload: RequestPayload, key: &PublicKey) -> Result<Registration, Problem> {
    let kind = payload.kind;
    if kind != RequestType::Register {
        return Err(malformed(
            "only a register request comes without a kid; put the instance id into the header's kid",
        ));
    }
    refuse(kind, "number", payload.number.is_some())?;
    refuse(kind, "licenses", payload.licenses.is_some())?;
    let (csr, csr_key) = csr(kind, payload.csr)?;
    if csr_key != *key {
        let detail = "the request is signed with another key than its CSR's; sign a registration with the CSR's key and \
                      put that key into the header's jwk";
        return Err(Problem::new(Code::WrongKey, detail));
    }
    let udi = need(kind, "udi", payload.udi)?;
    Ok(Registration {
        csr,
        udi: Udi { pid: udi.pid, sn: udi.sn },
        host_name: payload.host_name,
        product_type: need(kind, "product_type", payload.product_type)?,
        software_version: need(kind, "software_version", payload.software_version)?,
        devices: payload.devices.into_iter().flatten().map(device).collect(),
    })
}

fn device(device: DeviceMember) -> Device {
    let DeviceMember { pid, sn, host_name } = device;
    Device { udi: Udi { pid, sn }.into(), host_name: host_name.map(Into::into) }
}

/// Reads a numbered request whose signature is verified.
pub(super) fn numbered(mut payload: RequestPayload) -> Result<Numbered, Problem> {
    let kind = payload.kind;
    let asked = match kind {
        RequestType::Register => return Err(malformed("a register request has no kid; leave it out of the header")),
        RequestType::Authorize => Asked::Authorize(usage(need(kind, "licenses", payload.licenses.take())?)?),
        RequestType::RenewAuthorization => Asked::RenewAuthorization,
        RequestType::RenewId => {
            let (csr, key) = csr(kind, payload.csr.take())?;
            Asked::RenewId { csr, key_hash: key.hash() }
        }
        RequestType::Deregister => Asked::Deregister,
    };
    refuse(kind, "licenses", payload.licenses.is_some())?;
    refuse(kind, "csr", payload.csr.is_some())?;
    refuse(kind, "token", payload.token.is_some())?;
    refuse(kind, "certificate", payload.certificate.is_some())?;
    refuse(kind, "udi", payload.udi.is_some())?;
    refuse(kind, "host_name", payload.host_name.is_some())?;
    refuse(kind, "product_type", payload.product_type.is_some())?;
    refuse(kind, "software_version", payload.software_version.is_some())?;
    refuse(kind, "devices", payload.devices.is_some())?;
    let number = need(kind, "number", payload.number)?;
    if number == 0 {
        return Err(malformed("number starts at 1"));
    }
    Ok(Numbered { number, digest: asked.digest(), asked })
}

/// The wanted counts in one order, each license once.
fn usage(licenses: Vec<LicenseCount>) -> Result<Vec<(String, u64)>, Problem> {
    let mut usage: Vec<_> = licenses.into_iter().map(|l| (l.tag, l.count)).collect();
    usage.sort_unstable();
    match usage.windows(2).find(|w| w[0].0 == w[1].0) {
        Some(twice) => Err(malformed(format!("the license {:?} is named twice; add its counts up", twice[0].0))),
        None => Ok(usage),
    }
}

impl Asked {
    /// SHA-256 over an unambiguous form of what is asked.
    fn digest(&self) -> Digest32 {
        let mut form = Vec::new();
        match self {
            Self::Authorize(usage) => {
                form.extend_from_slice(b"authorize");
                for (tag, count) in usage {
                    form.extend_from_slice(&(tag.len() as u64).to_le_bytes());
                    form.extend_from_slice(tag.as_bytes());
                    form.extend_from_slice(&count.to_le_bytes());
                }
            }
            Self::RenewAuthorization => form.extend_from_slice(b"renew-authorization"),
            Self::RenewId { key_hash, .. } => {
                form.extend_from_slice(b"renew-id");
                form.extend_from_slice(key_hash);
            }
            Self::Deregister => form.extend_from_slice(b"deregister"),
        }
        sha256(&form)
    }
}

fn csr(kind: RequestType, text: Option<String>) -> Result<(Vec<u8>, PublicKey), Problem> {
    let text = need(kind, "csr", text)?;
    let der = STANDARD.decode(text).map_err(|_| malformed("csr is not base64 (RFC 4648, section 4) of DER"))?;
    let key = csr_public_key(&der).map_err(|e| malformed(format!("csr is not a PKCS#10 request we take: {e}")))?;
    Ok((der, key))
}

fn need<T>(kind: RequestType, name: &str, value: Option<T>) -> Result<T, Problem> {
    value.ok_or_else(|| malformed(format!("a {} request needs {name}", name_of(kind))))
}

fn refuse(kind: RequestType, name: &str, present: bool) -> Result<(), Problem> {
    if present {
        return Err(malformed(format!("a {} request has no {name}; leave it out", name_of(kind))));
    }
    Ok(())
}

const fn name_of(kind: RequestType) -> &'static str {
    match kind {
        RequestType::Register => "register",
        RequestType::Authorize => "authorize",
        RequestType::RenewAuthorization => "renew-authorization",
        RequestType::RenewId => "renew-id",
        RequestType::Deregister => "deregister",
    }
}

fn malformed(detail: impl Into<String>) -> Problem {
    Problem::new(Code::MalformedRequest, detail)
}

fn unsupported(protocol: u32) -> Problem {
    Problem::new(
        Code::UnsupportedProtocol,
        format!("the request speaks protocol {protocol}; this server speaks {PROTOCOL} only"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Numbered, Problem> {
        numbered(payload(json.as_bytes())?)
    }

    #[test]
    fn the_digest_does_not_depend_on_order_time_or_nonce() {
        let a = r#"{"type":"authorize","protocol":1,"nonce":"0123456789abcdef","time":5,"number":7,
                    "licenses":[{"tag":"a","count":1},{"tag":"b","count":2}]}"#;
        let b = r#"{"protocol":1,"nonce":"fedcba9876543210","time":6,"type":"authorize","number":7,
                    "licenses":[{"tag":"b","count":2},{"tag":"a","count":1}]}"#;
        let c = b.replace("\"count\":2", "\"count\":3");
        assert_eq!(read(a).unwrap().digest, read(b).unwrap().digest);
        assert_ne!(read(a).unwrap().digest, read(&c).unwrap().digest);
    }

    #[test]
    fn errors_name_the_member_that_is_wrong() {
        let common = r#""protocol":1,"nonce":"0123456789abcdef","time":5"#;
        for (members, expected) in [
            (r#""type":"authorize","number":1"#, "needs licenses"),
            (r#""type":"authorize","licenses":[]"#, "needs number"),
            (r#""type":"authorize","licences":[]"#, "licences"),
            (r#""type":"deregister","number":0"#, "starts at 1"),
            (r#""type":"deregister","number":1,"csr":"AA==""#, "csr"),
            (r#""type":"renew-id","number":1,"csr":"AA==""#, "PKCS#10"),
            (r#""type":"renew-id","number":1,"csr":"@""#, "base64"),
            (r#""type":"authorize","number":1,"licenses":[{"tag":"a","count":1},{"tag":"a","count":2}]"#, "twice"),
            (r#""type":"authorize","number":1,"licenses":[{"tag":"a","count":-1}]"#, "-1"),
        ] {
            let problem = read(&format!("{{{common},{members}}}")).unwrap_err();
            assert!(problem.detail.contains(expected), "{members}: {problem}");
            assert_eq!(problem.code, "malformed-request");
        }
        let future = r#"{"protocol":2,"nonce":"0123456789abcdef","time":5,"type":"dance"}"#;
        assert_eq!(read(future).unwrap_err().code, "unsupported-protocol");
    }
}
