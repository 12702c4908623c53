use super::*;
use crate::license::*;
use crate::store::LeaderId;

const PASSPHRASE: &str = "correct horse battery";

/// A server with so many events that its backup takes several chunks.
fn backup() -> Backup {
    let hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo".into();
    let administrator = User::new("admin".into(), Role::SystemAdministrator, hash, false);
    let mut state = State::default();
    let note = |n: u64| {
        let (kind, message) = ("test".into(), format!("{n} {}", "long ".repeat(90)));
        Command::NoteEvent { event: NewEvent { severity: Severity::Minor, account: None, kind, message } }
    };
    let initialize = Command::Initialize { server_uid: "00ff".into(), administrator };
    for (at, command) in std::iter::once(initialize).chain((0..500).map(note)).enumerate() {
        let request = Request { id: 0, actor: "test".into(), command };
        state.apply(Stamp::at(Millis(at as u64)), &request, &mut Changes::new());
    }
    let applied = LogId { leader_id: LeaderId { term: 2, node_id: 1 }, index: 501 };
    let lag = Some(Lag { entries: 3, silence_ms: None });
    let manifest = Manifest::of(&state, applied, "a".into(), Millis(1_000), lag);
    let ca = Authority::self_signed("test CA", 10, Millis(0)).unwrap();
    Backup { manifest, sealer: Sealer::generate(), ca, state }
}

fn written(backup: &Backup) -> Vec<u8> {
    let mut file = Vec::new();
    backup.write_at(Costs::CHEAP, PASSPHRASE, &mut file).unwrap();
    file
}

/// Why it is refused, whoever reads it.
fn refused(file: &[u8]) -> String {
    let why = Backup::read(PASSPHRASE, file).unwrap_err().to_string();
    assert_eq!(Backup::look_through(PASSPHRASE, file).unwrap_err().to_string(), why);
    why
}

/// Where each chunk begins and ends.
fn chunks(file: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut chunks = Vec::new();
    let mut at = sealed::HEAD_LEN;
    while at < file.len() {
        let length = u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) & !(1 << 31);
        chunks.push(at..at + 4 + length as usize);
        at = chunks[chunks.len() - 1].end;
    }
    chunks
}

#[test]
fn all_that_is_written_is_read_again() {
    let backup = backup();
    let file = written(&backup);
    assert!(chunks(&file).len() > 3, "several chunks");
    let read = Backup::read(PASSPHRASE, file.as_slice()).unwrap();
    assert_eq!(Backup::look_through(PASSPHRASE, file.as_slice()).unwrap(), backup.manifest);
    assert_eq!((read.manifest, read.state), (backup.manifest.clone(), backup.state.clone()));
    assert_eq!((read.sealer.to_bytes(), read.ca.key_pkcs8()), (backup.sealer.to_bytes(), backup.ca.key_pkcs8()));
    assert_eq!(read.ca.cert_der(), backup.ca.cert_der());
    assert_ne!(written(&backup)[30..], file[30..], "another salt each time");
    let secret = |needle: &[u8]| file.windows(needle.len()).any(|window| window == needle);
    assert!(!secret(b"argon2id") && !secret(&backup.sealer.to_bytes()), "nothing is in the clear");
}

#[test]
fn another_passphrase_file_or_format_is_told_from_damage() {
    let mut file = written(&backup());
    let wrong = Backup::read("correct horse battery ", file.as_slice()).unwrap_err();
    assert!(matches!(wrong, BackupError::WrongPassphrase));
    assert_eq!(refused(b""), "it is no licraft backup");
    assert_eq!(refused(b"#!/bin/sh and so on"), "it is no licraft backup");
    file[8] = 9;
    assert_eq!(refused(&file), "it has format 9, this version knows 1; use the newer version");
}

#[test]
fn a_backup_that_is_cut_short_is_refused_wherever_that_is() {
    let file = written(&backup());
    let chunks = chunks(&file);
    let ends = chunks.iter().map(|chunk| chunk.start);
    let inside = chunks.iter().flat_map(|chunk| [chunk.start + 2, chunk.start + 4, chunk.end - 1]);
    for length in ends.chain(inside).chain([8, 20, sealed::HEAD_LEN - 1]) {
        assert_eq!(refused(&file[..length]), "it is cut short", "at {length} of {}", file.len());
    }
    // With the mark of the last chunk moved to where the cut is.
    let mut cut = file[..chunks[1].end].to_vec();
    cut[chunks[1].start + 3] |= 0x80;
    assert_eq!(refused(&cut), "it is damaged: chunk 1 is not what was written there");
}

#[test]
fn each_flipped_bit_is_found() {
    let file = written(&backup());
    let chunks = chunks(&file);
    let (first, last) = (&chunks[0], &chunks[chunks.len() - 1]);
    let places = (0..first.start + 40).chain(last.start..last.start + 40).chain(file.len() - 40..file.len());
    for place in places.chain((0..file.len()).step_by(4_099)) {
        let mut bad = file.clone();
        bad[place] ^= 1 << (place % 8);
        let why = refused(&bad);
        assert!(why != "the passphrase is wrong", "byte {place}: {why}");
    }
}

#[test]
fn chunks_cannot_be_moved_repeated_dropped_or_taken_from_another_file() {
    let backup = backup();
    let (file, other) = (written(&backup), written(&backup));
    let at = chunks(&file);
    let parts: Vec<&[u8]> = at.iter().map(|chunk| &file[chunk.clone()]).collect();
    let head = &file[..sealed::HEAD_LEN];
    let foreign = &other[at[1].clone()];
    let [a, b, c] = [parts[0], parts[1], parts[2]];
    for (what, order) in
        [("moved", [a, c, b]), ("repeated", [a, b, b]), ("foreign", [a, foreign, c]), ("one", [b, b, c])]
    {
        let bad = [&[head], &order[..], &parts[3..]].concat().concat();
        assert!(refused(&bad).ends_with("is not what was written there"), "{what}");
    }
    let dropped = [&[head, a], &parts[2..]].concat().concat();
    assert!(refused(&dropped).ends_with("is not what was written there"));
    assert_eq!(refused(&[file.as_slice(), b"x"].concat()), "it is damaged: something follows its last chunk");
}

#[test]
fn a_forged_head_cannot_make_the_reader_work_for_good() {
    let mut file = written(&backup());
    file[10..14].copy_from_slice(&u32::MAX.to_le_bytes());
    let crc = crc32c::crc32c(&file[..sealed::HEAD_LEN - 4]);
    file[sealed::HEAD_LEN - 4..sealed::HEAD_LEN].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(refused(&file), "it is damaged: its key would take too much to derive");
    // What a machine of its own may be asked for is too much beside products.
    let mut head = Vec::new();
    SealWriter::new(&mut head, PASSPHRASE, Costs::LARGE).unwrap();
    let read = |result: Result<Manifest, BackupError>| result.unwrap_err().to_string();
    assert_eq!(
        read(Backup::read(PASSPHRASE, head.as_slice()).map(|backup| backup.manifest.clone())),
        "it is cut short"
    );
    let beside = read(Backup::look_through(PASSPHRASE, head.as_slice()));
    assert_eq!(beside, "it is damaged: its key would take too much to derive");
}

#[test]
fn a_key_that_does_not_open_the_secrets_is_refused() {
    let mut backup = backup();
    let mut commands = vec![Command::RequestAccount {
        name: "TEST".into(),
        requested_by: "admin".into(),
        smart_account: "S".into(),
        virtual_account: "V".into(),
    }];
    let sealed = |context| backup.sealer.seal(context, b"key");
    commands.push(Command::ApproveAccount {
        account: AccountId(1),
        keys: AccountKeys {
            ca_csr: vec![1],
            ca_key: sealed(AccountKeys::CA_KEY_CONTEXT),
            signer_key: sealed(AccountKeys::SIGNER_KEY_CONTEXT),
            ca_chain: Vec::new(),
            signer_cert: Vec::new(),
        },
    });
    for command in commands {
        let request = Request { id: 0, actor: "test".into(), command };
        let outcome = backup.state.apply(Stamp::at(Millis(1)), &request, &mut Changes::new());
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    }
    Backup::read(PASSPHRASE, written(&backup).as_slice()).unwrap();
    backup.sealer = Sealer::generate();
    assert!(matches!(Backup::read(PASSPHRASE, written(&backup).as_slice()), Err(BackupError::Unsound(_))));
}
