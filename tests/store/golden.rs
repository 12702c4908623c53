//! Formats that were shipped still decode, byte for byte. `LICRAFT_WRITE_GOLDEN=1` writes the files of a new format;
//! a file that exists is never to be changed.

use super::support::*;
use licraft::license::*;
use licraft::store::*;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use std::path::{Path, PathBuf};

fn golden(name: &str, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if !path.exists() && std::env::var_os("LICRAFT_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, make()).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn only_file(dir: &Path, extension: &str) -> PathBuf {
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths.remove(0)
}

fn membership() -> Entry {
    let node = NodeInfo {
        name: "primary-node".into(),
        public_address: "10.0.0.5".into(),
        cluster_address: "192.168.1.4:7441".into(),
        witness: false,
    };
    let membership =
        openraft::Membership::new(vec![[1].into()], std::collections::BTreeMap::from([(1, node)])).unwrap();
    Entry { log_id: log_id(1, 1), payload: openraft::EntryPayload::Membership(membership) }
}

/// Two entries, a blank one and a membership, a vote and a committed id.
async fn sample(dir: &Path) -> Node {
    let mut node = Node::open(dir, StoreOptions { segment_bytes: 64 << 10, ..options() }).unwrap();
    node.log.save_vote(&Vote::new_committed(3, 2)).await.unwrap();
    let blank = Entry { log_id: log_id(2, 3), payload: openraft::EntryPayload::Blank };
    node.write(vec![entry(1, 0), membership(), entry(1, 2), blank]).await.unwrap();
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn the_batch_of_format_1() {
    let bytes = golden("batch-1.bin", || match entry(1, 0).payload {
        openraft::EntryPayload::Normal(envelope) => envelope.0.to_vec(),
        _ => unreachable!(),
    });
    let batch = Envelope(bytes.clone().into()).open(log_id(1, 0).leader_id, None).unwrap();
    assert_eq!(batch.requests, commands(0));
    assert_eq!(Envelope::seal(&batch, &|_| [0; 32]).unwrap().0, bytes);
}

#[test]
fn the_products_commands_of_format_1() {
    let (instance, number) = (InstanceId(7), 300);
    let numbered = |action| Command::Numbered { instance, number, digest: [9; 32], action };
    let certificate =
        IdCertificate { serial: [3; 16], key_hash: [4; 32], not_before: Millis(1), not_after: Millis(2_000_000) };
    let commands = vec![
        Command::Register {
            token_hash: [7; 32],
            udi: Udi { pid: "EX-9300".into(), sn: "FCW0001".into() },
            host_name: Some("switch.example.net".into()),
            product_type: "Example Switch".into(),
            software_version: "17.12.4".into(),
            certificate: certificate.clone(),
            devices: vec![],
        },
        numbered(InstanceAction::Authorize { usage: vec![("LICENSE_A".into(), 1_000)] }),
        numbered(InstanceAction::RenewAuthorization),
        numbered(InstanceAction::RenewCertificate { certificate }),
        numbered(InstanceAction::Deregister),
    ];
    let bytes = golden("product-commands-1.bin", || codec::encode(&commands).unwrap());
    assert_eq!(codec::decode::<Vec<Command>>(&bytes).unwrap(), commands);
    assert_eq!(codec::encode(&commands).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_records_of_format_1() {
    let records: Vec<Record> = expected(1).records().map(|(_, record)| record).collect();
    let bytes = golden("image-records-1.bin", || codec::encode(&records).unwrap());
    assert_eq!(codec::decode::<Vec<Record>>(&bytes).unwrap(), records);
}

/// A pool and its history: a license that is purchased on three days.
#[test]
fn the_usage_records_of_format_1() {
    let mut state = expected(0);
    let mut carry_out = |day: u64, command| {
        let request = Request { id: 0, actor: "test".into(), command };
        let outcome = state.apply(Stamp::at(Millis(day * Millis::DAY)), &request, &mut Default::default());
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        outcome
    };
    let [name, requested_by, smart_account, virtual_account] = ["A", "B", "C", "D"].map(String::from);
    let request = Command::RequestAccount { name, requested_by, smart_account, virtual_account };
    let Outcome::Created(account) = carry_out(20_000, request) else { panic!("no account") };
    let account = AccountId(account);
    let sealed = || Sealed(vec![1; 9]);
    let keys =
        AccountKeys { ca_csr: vec![1], ca_key: sealed(), signer_key: sealed(), ca_chain: vec![], signer_cert: vec![] };
    carry_out(20_000, Command::ApproveAccount { account, keys });
    let entitlements = |quantity| {
        let term = Term { quantity, start: Millis(0), end: None, billing: Billing::Prepaid };
        let (tag, name) = ("LICENSE_A".into(), "License A".into());
        vec![Entitlement { tag, name, export_controlled: false, terms: vec![term], covered_by: vec![] }]
    };
    let (ca_chain, signer_cert, response) = (vec![vec![1]], vec![1], [1; 32]);
    let entitled = entitlements(10);
    carry_out(20_000, Command::ActivateAccount { account, ca_chain, signer_cert, entitlements: entitled, response });
    for (seq, day) in [(1, 20_001), (2, 20_031)] {
        carry_out(day, Command::BeginSync { account });
        let entitlements = entitlements(seq * 1_000);
        carry_out(day, Command::CompleteSync { account, seq, entitlements, response, signed: None });
    }
    let records = state.records().map(|(_, record)| record);
    let records: Vec<_> = records.filter(|r| matches!(r, Record::Pool(_) | Record::Usage(_))).collect();
    assert_eq!(records.len(), 2);
    let bytes = golden("usage-records-1.bin", || codec::encode(&records).unwrap());
    assert_eq!(codec::decode::<Vec<Record>>(&bytes).unwrap(), records);
    assert_eq!(codec::encode(&records).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_format_1() {
    let made = tempfile::tempdir().unwrap();
    let node = sample(made.path()).await;
    node.close();
    // Without the zeros at its end.
    let bytes = golden("log-1.wal", || {
        let bytes = std::fs::read(only_file(&made.path().join("log"), "wal")).unwrap();
        bytes[..=bytes.iter().rposition(|byte| *byte != 0).unwrap()].to_vec()
    });
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("log")).unwrap();
    let mut segment = bytes;
    segment.resize(64 << 10, 0);
    std::fs::write(dir.path().join("log/0000000000000001.wal"), segment).unwrap();
    let mut node = Node::open(dir.path(), StoreOptions { segment_bytes: 64 << 10, ..options() }).unwrap();
    let mut reader = node.log.get_log_reader().await;
    assert_eq!(reader.read_vote().await.unwrap(), Some(Vote::new_committed(3, 2)));
    assert_eq!(node.log.read_committed().await.unwrap(), Some(log_id(2, 3)));
    let entries = reader.try_get_log_entries(..).await.unwrap();
    assert_eq!(entries[..3], [entry(1, 0), membership(), entry(1, 2)]);
    node.recover().await.unwrap();
    assert_eq!(node.handle.state().events(0).count(), node.handle.state().meta().last_event as usize);
    node.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snapshot_of_format_1() {
    let made = tempfile::tempdir().unwrap();
    let mut node = sample(made.path()).await;
    let built = node.machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    let bytes = golden("snapshot-1.snap", || built.snapshot.read_chunk(0, usize::MAX).unwrap());
    let mut receiver = node.handle.receive_snapshot().unwrap();
    receiver.write(&bytes).unwrap();
    let (meta, file) = receiver.finish().unwrap();
    assert_eq!(meta, built.meta);
    assert_eq!(file.load().unwrap().1, *node.handle.state());
    drop(file);
    node.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inspection_tells_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = sample(dir.path()).await;
    node.machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    assert!(inspect(dir.path()).unwrap().in_use);
    node.close();
    let found = inspect(dir.path()).unwrap();
    let log = found.log.as_ref().unwrap().as_ref().unwrap();
    assert_eq!((log.vote, log.last, log.entries), (Some(Vote::new_committed(3, 2)), Some(log_id(2, 3)), 4));
    let image = found.image.as_ref().unwrap().as_ref().unwrap().as_ref().unwrap();
    assert_eq!((image.position.applied, image.faults.len()), (Some(log_id(2, 3)), 0));
    assert_eq!(found.snapshot.as_ref().unwrap().0.last_log_id, Some(log_id(2, 3)));
    assert!(found.to_string().contains("4 entries"), "{found}");
}
