use super::*;
use crate::pki::ca::{Authority, Leaf, Purpose, certificates_pem, csr};
use crate::pki::jws::{Algorithm, SigningKey};
use crate::pki::random;
use base64::Engine;
use std::path::Path;
use std::process::Command;

const NOW: Millis = Millis(1_760_000_000_000);
const HOST: &str = "lm.example";

/// A root, an authority below it, and a server's certificate with its key.
struct Bundle {
    root: Vec<u8>,
    issuing: Vec<u8>,
    leaf: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

fn bundle(hosts: &[&str], purpose: Purpose) -> Bundle {
    let root = Authority::self_signed("Site Root", 3_650, NOW).unwrap();
    let issuing_key = SigningKey::generate(Algorithm::Es256).unwrap();
    let issuing = root.issue_ca(&csr(&issuing_key, "x").unwrap(), "Site Issuing", NOW, 1_000, 0).unwrap();
    let issuer = Authority::from_parts(issuing.clone(), issuing_key.to_pkcs8_der().unwrap()).unwrap();
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let leaf = Leaf {
        common_name: HOST.into(),
        purpose,
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        uris: Vec::new(),
        crl: None,
        serial: random::bytes(),
        not_before: NOW,
        not_after: NOW.plus(90 * Millis::DAY),
    };
    let leaf = issuer.issue_leaf(&csr(&key, "x").unwrap(), &leaf).unwrap();
    Bundle { root: root.cert_der().to_vec(), issuing, leaf, key: key.to_pkcs8_der().unwrap() }
}

fn pem(certificates: &[&Vec<u8>], key: Option<&[u8]>) -> Vec<u8> {
    let mut text = certificates_pem(certificates.iter().map(|der| der.as_slice()));
    if let Some(key) = key {
        let body = base64::engine::general_purpose::STANDARD.encode(key);
        text.push_str(&format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"));
    }
    text.into_bytes()
}

fn take(file: &[u8], names: &[&str]) -> Result<Brought> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    brought(file, None, "", &names, NOW.plus(Millis::DAY))
}

/// The sentence with which a file is refused.
fn refusal(file: &[u8]) -> String {
    take(file, &[HOST]).unwrap_err().to_string()
}

#[test]
fn a_sound_chain_is_taken_with_its_names_and_its_end() {
    let Bundle { root, issuing, leaf, key } = bundle(&[HOST, "10.0.0.12", "2001:db8::12"], Purpose::Server);
    for chain in [vec![&leaf, &issuing], vec![&leaf, &issuing, &root]] {
        let taken = take(&pem(&chain, Some(&key)), &[HOST, "10.0.0.12"]).unwrap();
        assert_eq!(taken.hosts, [HOST, "10.0.0.12", "2001:db8::12"]);
        assert_eq!((taken.common_name.as_str(), taken.not_after), (HOST, NOW.plus(90 * Millis::DAY)));
        assert_eq!((taken.chain.len(), &taken.key_pkcs8), (chain.len(), &key));
    }
    // The key in a file of its own.
    let (file, own) = (pem(&[&leaf, &issuing], None), pem(&[], Some(&key)));
    brought(&file, Some(&own), "", &[HOST.to_owned()], NOW.plus(1)).unwrap();
    assert!(covers(&leaf, "2001:db8::12") && !covers(&leaf, "other.example"));
    let wild = bundle(&["*.lab.example"], Purpose::Server);
    take(&pem(&[&wild.leaf, &wild.issuing], Some(&wild.key)), &["lm.lab.example"]).unwrap();
}

#[test]
fn each_fault_is_a_sentence_that_says_what_to_do() {
    let Bundle { root, issuing, leaf, key } = bundle(&[HOST], Purpose::Server);
    let (other, client) = (bundle(&[HOST], Purpose::Server), bundle(&[HOST], Purpose::Client));
    let key = Some(key.as_slice());
    let rsa = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".as_slice();
    let two_keys = [pem(&[&leaf, &issuing], key), pem(&[], Some(&other.key))].concat();
    for (file, says) in [
        (b"nothing".to_vec(), "is neither PEM text with certificates nor PKCS#12"),
        (pem(&[], key), "holds no certificate"),
        (pem(&[&leaf, &issuing], None), "there is no private key; put it into the file, or give its own file"),
        (two_keys, "there are 2 private keys"),
        ([&pem(&[&leaf, &issuing], None), rsa].concat(), "the private key is encrypted"),
        (pem(&[&leaf, &issuing], Some(&other.key)), "not that of the first certificate, lm.example"),
        (pem(&[&leaf, &issuing], Some(b"0123")), "of a kind that cannot be used here"),
        (pem(&[&issuing, &leaf], key), "that of certificate 2, lm.example; put the server's certificate first"),
        (pem(&[&leaf, &root, &issuing], key), "certificate 2, Site Root, has not issued the one before it, lm.example"),
        (pem(&[&leaf], key), "the issuer of lm.example, CN=Site Issuing, is not in the file"),
        (pem(&[&leaf, &issuing, &root, &root, &root], key), "there are 5 certificates in the chain, and at most 4"),
        // An authority of the same name that has not signed it.
        (pem(&[&leaf, &other.issuing], key), "the chain does not hold"),
        (pem(&[&client.leaf, &client.issuing], Some(&client.key)), "the chain does not hold"),
    ] {
        let said = refusal(&file);
        assert!(said.contains(says), "{said:?} does not say {says:?}");
    }
    let sound = pem(&[&leaf, &issuing], key);
    let said = take(&sound, &["10.0.0.12"]).unwrap_err().to_string();
    assert!(said.contains("does not cover 10.0.0.12, by which") && said.contains("it covers lm.example."), "{said}");
    let at = |now| brought(&sound, None, "", &[], now).unwrap_err().to_string();
    assert!(
        at(NOW.plus(90 * Millis::DAY)).contains("lm.example ended on 2026-01-07"),
        "{}",
        at(NOW.plus(91 * Millis::DAY))
    );
    assert!(at(Millis(NOW.0 - Millis::DAY)).contains("lm.example is in force from 2025-10-09"));
    assert!(at(NOW.plus(1_001 * Millis::DAY)).contains("ended on"));
}

fn openssl(dir: &Path, args: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(args).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn pkcs12_of_today_and_of_old_is_opened_and_put_in_order() {
    let Bundle { root, issuing, leaf, key } = bundle(&[HOST], Purpose::Server);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("leaf.pem"), pem(&[&leaf], Some(&key))).unwrap();
    std::fs::write(dir.join("above.pem"), pem(&[&root, &issuing], None)).unwrap();
    let export = ["pkcs12", "-export", "-in", "leaf.pem", "-certfile", "above.pem", "-passout", "pass:secret"];
    for old in [&[][..], &["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"]] {
        let file = openssl(dir, &[&export[..], old].concat());
        let names = [HOST.to_owned()];
        let taken = brought(&file, None, "secret", &names, NOW.plus(1)).unwrap();
        assert_eq!(taken.chain, [&leaf, &issuing, &root].map(Clone::clone), "{old:?}");
        let said = brought(&file, None, "wrong", &names, NOW.plus(1)).unwrap_err().to_string();
        assert!(said.contains("does not open with this password"), "{said}");
    }
}

#[test]
fn keys_in_their_older_forms_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let rsa = openssl(dir, &["genrsa", "-traditional", "2048"]);
    let ec = openssl(dir, &["ecparam", "-genkey", "-noout", "-name", "secp384r1"]);
    for (key, form) in [(rsa, "RSA PRIVATE KEY"), (ec, "EC PRIVATE KEY")] {
        assert!(String::from_utf8_lossy(&key).contains(form));
        std::fs::write(dir.join("key"), &key).unwrap();
        let request = ["req", "-x509", "-new", "-key", "key", "-subj", "/CN=lm.example", "-days", "9"];
        let names = ["-addext", "subjectAltName=DNS:lm.example", "-addext", "basicConstraints=critical,CA:FALSE"];
        let usage = ["-addext", "extendedKeyUsage=serverAuth"];
        let certificate = openssl(dir, &[&request[..], &names, &usage].concat());
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = Millis(u64::try_from(since.as_millis()).unwrap());
        let taken = brought(&certificate, Some(&key), "", &[HOST.to_owned()], now).unwrap();
        let identity = tls::Identity { chain: taken.chain, key_pkcs8: taken.key_pkcs8 };
        tls::server_config(&identity, &[b"h2"]).unwrap();
    }
}
