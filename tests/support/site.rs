//! A certificate authority of the site's own.

use licraft::license::Millis;
use licraft::pki::ca::{Authority, Leaf, Purpose, certificates_pem, csr};
use licraft::pki::jws::{Algorithm, SigningKey};

/// A certificate for browsers: the file to import, of the certificate for `host`, that of its authority, and its key; and
/// the authority's certificate. PEM.
pub fn site_certificate(host: &str) -> [String; 2] {
    let now = licraft::product::wall_clock()();
    let root = Authority::self_signed("Site Root", 100, now).unwrap();
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let leaf = Leaf {
        common_name: host.into(),
        purpose: Purpose::Server,
        hosts: vec![host.into()],
        uris: Vec::new(),
        crl: None,
        serial: licraft::pki::random::bytes(),
        not_before: Millis(now.0 - Millis::MINUTE),
        not_after: now.plus(90 * Millis::DAY),
    };
    let leaf = root.issue_leaf(&csr(&key, host).unwrap(), &leaf).unwrap();
    let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &*key.to_pkcs8_der().unwrap());
    let authority = certificates_pem([root.cert_der()]);
    let chain = certificates_pem([leaf.as_slice()]);
    let file = format!("{chain}{authority}-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
    [file, authority]
}
