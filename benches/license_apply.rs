//! How fast the licensing state applies commands, and what an instance costs: `cargo bench --bench license_apply`.
//!
//! A batch is 64 commands, after which a reader takes a clone, as the node does; so every batch pays for its copies.

use licraft::license::*;
use std::time::Instant;

const START: u64 = 1_750_000_000_000;
const BATCH: u64 = 64;

fn request(command: Command) -> Request {
    Request { id: 0, actor: "bench".into(), command }
}

fn digest(n: u64) -> Digest32 {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&n.to_be_bytes());
    digest
}

fn run(state: &mut State, command: Command) -> Outcome {
    let outcome = state.apply(Stamp::at(Millis(START)), &request(command), &mut Changes::new());
    assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    outcome
}

fn prepared() -> (State, Digest32) {
    let mut state = State::default();
    let administrator = User::new("admin".to_owned(), Role::SystemAdministrator, "x".into(), false);
    run(&mut state, Command::Initialize { server_uid: "bench".into(), administrator });
    let (name, requested_by) = ("Bench".to_owned(), "admin".to_owned());
    let (smart_account, virtual_account) = ("Smart".into(), "Virtual".into());
    run(&mut state, Command::RequestAccount { name, requested_by, smart_account, virtual_account });
    let (account, va) = state.accounts().map(|a| (a.id, a.default_va)).next().expect("just made");
    let (ca_key, signer_key) = (Sealed(vec![1; 64]), Sealed(vec![1; 64]));
    let keys = AccountKeys { ca_csr: vec![1; 512], ca_key, signer_key, ca_chain: vec![], signer_cert: vec![] };
    run(&mut state, Command::ApproveAccount { account, keys });
    let entitlements = (0..100).map(|n| Entitlement {
        tag: format!("regid.2026-01.com.example.LICENSE_{n},1.0"),
        name: format!("Example License {n}"),
        export_controlled: false,
        terms: vec![Term { quantity: 1 << 30, start: Millis(0), end: None, billing: Billing::Prepaid }],
        covered_by: Vec::new(),
    });
    let entitlements = entitlements.collect();
    let (ca_chain, signer_cert, response) = (vec![vec![1; 600]; 3], vec![1; 600], [0; 32]);
    run(&mut state, Command::ActivateAccount { account, ca_chain, signer_cert, entitlements, response });
    let (hash, sealed, description) = ([7; 32], Sealed(vec![1; 64]), String::new());
    let (expires_days, max_uses, export_controlled) = (30, 0, false);
    run(&mut state, Command::CreateToken { va, hash, sealed, description, expires_days, max_uses, export_controlled });
    (state, hash)
}

fn register(token_hash: Digest32, n: u64) -> Command {
    let serial = u128::from(n).to_be_bytes();
    let (not_before, not_after) = (Millis(START), Millis(START + CERTIFICATE_LIFE));
    Command::Register {
        token_hash,
        udi: Udi { pid: "EX-9300-48P".into(), sn: format!("FCW{n:08}") },
        host_name: Some(format!("switch-{n}.example.net")),
        product_type: "Example Switch 9300".into(),
        software_version: "17.12.4".into(),
        certificate: IdCertificate { serial, key_hash: digest(n), not_before, not_after },
        devices: vec![],
    }
}

fn authorize(instance: InstanceId, number: u64, license: u64, count: u64) -> Command {
    let usage = vec![(format!("regid.2026-01.com.example.LICENSE_{license},1.0"), count)];
    Command::Numbered { instance, number, digest: digest(number), action: InstanceAction::Authorize { usage } }
}

/// Resident memory of this process in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Processor time of this thread in nanoseconds: what counts where others share the machine.
fn processor_time() -> u64 {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    line.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// Applies the commands in batches and prints the processor time of each command.
fn measure(what: &str, state: &mut State, count: u64, command: impl Fn(u64) -> Command) {
    let mut shown = state.clone();
    let (mut changed, mut spent) = (0, 0);
    for batch in 0..count / BATCH {
        let requests: Vec<Request> = (0..BATCH).map(|n| request(command(batch * BATCH + n))).collect();
        let began = processor_time();
        let mut changes = Changes::new();
        for request in &requests {
            let outcome = state.apply(Stamp::at(Millis(START)), request, &mut changes);
            assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        }
        changed += changes.len() as u64;
        shown = state.clone();
        spent += processor_time() - began;
    }
    println!("{what:<44} {:>7} ns  ({:.1} records each)", spent / count, changed as f64 / count as f64);
    drop(shown);
}

fn main() {
    let (mut state, token) = prepared();
    let before = resident();
    let many = 100_032;
    measure("register, up to 100,000 instances", &mut state, many, |n| register(token, n));
    let ids: Vec<InstanceId> = state.instances(None).map(|i| i.id).collect();
    let id = |n: u64| ids[n as usize % ids.len()];
    measure("authorize, first time, 100 pools", &mut state, many, |n| authorize(id(n), 1, n % 100, 1));
    println!("100,000 instances: {} MiB more resident memory", resident().saturating_sub(before));
    let hot = |n: u64| authorize(id(n % 64), 2 + n / 64, 0, n / 64 + 1);
    measure("authorize, 64 instances, one hot pool", &mut state, 200_000, hot);
    let spread = |n: u64| authorize(id(n * 7919), (1 << 30) + n, 5, 2 + n % 2);
    measure("authorize, 100,000 instances, one hot pool", &mut state, many, spread);
    let renew = |n: u64| Command::Numbered {
        instance: id(n),
        number: 1 << 31,
        digest: [0; 32],
        action: InstanceAction::RenewAuthorization,
    };
    measure("renew, 100,000 instances", &mut state, many, renew);
    let began = Instant::now();
    let copy = State::from_records(state.records());
    println!("records and back: {:?}", began.elapsed());
    assert_eq!(copy, state);
    let began = Instant::now();
    assert_eq!(state.check(), Vec::<String>::new());
    println!("recount: {:?}", began.elapsed());
}
