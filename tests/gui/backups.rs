//! Backups as downloads, and what the pages find in a file.

use super::*;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use std::time::{Duration, Instant};

const PASSPHRASE: &str = "correct horse battery staple";

/// A field of a form: its name, the file's name where it is one, and what is in it.
pub type Field<'a> = (&'a str, Option<&'a str>, &'a [u8]);

/// A form with files, as browsers send it.
pub fn multipart(fields: &[Field<'_>]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, file, content) in fields {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        body.extend(format!("--limit\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n").into_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--limit--\r\n");
    ("multipart/form-data; boundary=limit".into(), body)
}

impl Gui {
    /// An answer whose body need not be text.
    pub async fn send_bytes(&self, path: &str, cookie: &str, kind: &str, body: impl Into<Body>) -> Response<Vec<u8>> {
        let request = Request::post(path).header(COOKIE, cookie).header(CONTENT_TYPE, kind);
        let request = request.header(HOST, "10.0.0.12:8443").header(ORIGIN, "https://10.0.0.12:8443");
        let request = request.extension(Peer("192.0.2.7:50000".parse().unwrap())).body(body.into()).unwrap();
        let (head, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes().to_vec())
    }

    pub async fn upload(&self, path: &str, cookie: &str, fields: &[Field<'_>]) -> Answer {
        let (kind, body) = multipart(fields);
        let (head, body) = self.send_bytes(path, cookie, &kind, body).await.into_parts();
        Answer(Response::from_parts(head, String::from_utf8(body).unwrap()))
    }

    async fn save(&self, cookie: &str) -> Response<Vec<u8>> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("passphrase", PASSPHRASE).append_pair("repeated", PASSPHRASE);
        self.send_bytes("/backups/save", cookie, "application/x-www-form-urlencoded", form.finish()).await
    }

    async fn verify(&self, cookie: &str, passphrase: &str, file: &[u8]) -> Answer {
        let fields = [("passphrase", None, passphrase.as_bytes()), ("file", Some("a.backup"), file)];
        self.upload("/backups/verify", cookie, &fields).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_saved_and_looked_through() {
    let gui = Gui::new();
    gui.fill("TEST");
    let cookie = gui.sign_in("admin", PASSWORD).await;
    gui.get("/backups", &cookie).await.says("The event log tells of none.");
    gui.get("/administration", &cookie).await.says("Backups None The event log knows of no backup.");
    let before = gui.ledger.state().meta().clone();
    for (passphrase, repeated, why) in [
        (PASSPHRASE, "correct horse battery", "the passphrase and its repetition differ"),
        ("short", "short", "it has 5 bytes, and 15 to 1024 are needed; take several words"),
    ] {
        let fields = [("passphrase", passphrase), ("repeated", repeated)];
        let refused = gui.submit("/backups/save", &cookie, &fields).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        refused.says(why);
        assert!(!refused.0.body().contains(passphrase));
    }
    assert_eq!(*gui.ledger.state().meta(), before, "nothing is told of what was not saved");

    let answer = gui.save(&cookie).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/octet-stream");
    let name = answer.headers()[CONTENT_DISPOSITION].to_str().unwrap();
    assert_eq!(name, "attachment; filename=\"licraft-2026-11-23T02-13-20Z.backup\"");
    let file = answer.into_body();
    let manifest = Backup::look_through(PASSPHRASE, file.as_slice()).unwrap();
    assert_eq!((manifest.server_uid.as_str(), manifest.instances), ("5eed", 2));
    gui.get("/backups", &cookie).await.says("admin admin saved a backup on primary-node.");
    gui.get("/administration", &cookie).await.says("The last one was saved at 2026-11-23T02:13:20Z.");

    let before = gui.ledger.state().meta().clone();
    let whole = gui.verify(&cookie, PASSPHRASE, &file).await;
    assert_eq!(whole.status(), StatusCode::OK, "{}", whole.text());
    whole.says("The backup is whole Of this server Server 5eed As of 2026-11-23 02:13 UTC");
    whole.says("on primary-node, version 0.1.0 Lacks nothing: it was saved on the active node Accounts 1");
    whole.says("Product instances 2 Licenses in use 34 Users 1");
    let mut changed = file.clone();
    changed[500] ^= 1;
    for (passphrase, file, why) in [
        ("another passphrase", file.as_slice(), "the passphrase is wrong. give the passphrase that it was saved with"),
        (PASSPHRASE, &file[..file.len() - 1], "it is cut short"),
        (PASSPHRASE, changed.as_slice(), "it is damaged: chunk 0 is not what was written there"),
        (PASSPHRASE, b"#!/bin/sh", "it is no licraft backup"),
        (PASSPHRASE, b"", "it is no licraft backup"),
    ] {
        let refused = gui.verify(&cookie, passphrase, file).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{why}");
        refused.says(why);
    }
    let none = gui.upload("/backups/verify", &cookie, &[("passphrase", None, b"x")]).await;
    assert_eq!(none.status(), StatusCode::UNPROCESSABLE_ENTITY);
    none.says("no file was chosen");
    let long = gui.verify(&cookie, &"x".repeat(2_000), &file).await;
    long.says("the passphrase is longer than any");
    assert_eq!(*gui.ledger.state().meta(), before, "to look changes nothing");

    let other = Gui::over(Arc::new(Alone(Mutex::default())), false);
    other.done(Command::Initialize { server_uid: "0ther".into(), administrator: user("admin", false) });
    let cookie = other.sign_in("admin", PASSWORD).await;
    other.verify(&cookie, PASSPHRASE, &file).await.says("Of another server Server 5eed");
}

#[tokio::test]
async fn backups_are_for_system_administrators_alone() {
    let gui = Gui::new();
    for role in [Role::SystemOperator, Role::ReadOnly] {
        let user = User::new(role.to_string(), role, weak_hash(PASSWORD), false);
        gui.done(Command::CreateUser { user });
        let cookie = gui.sign_in(role.as_str(), PASSWORD).await;
        let before = gui.ledger.state().meta().clone();
        assert_eq!(gui.get("/backups", &cookie).await.status(), StatusCode::FORBIDDEN, "{role}");
        assert_eq!(gui.save(&cookie).await.status(), StatusCode::FORBIDDEN, "{role}");
        assert_eq!(gui.verify(&cookie, PASSPHRASE, b"x").await.status(), StatusCode::FORBIDDEN, "{role}");
        assert_eq!(*gui.ledger.state().meta(), before);
    }
    assert_eq!(gui.save("").await.headers()[LOCATION], "/sign-in");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_backup_is_looked_through_at_a_time() {
    let gui = Arc::new(Gui::new());
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let (kind, body) = multipart(&[("passphrase", None, PASSPHRASE.as_bytes()), ("file", Some("a"), b"LICRAFTB")]);
    let deadline = Instant::now() + Duration::from_secs(20);
    let first = loop {
        // One whose upload stands still.
        let more = Arc::new(tokio::sync::Notify::new());
        let wanted = more.clone();
        let begin = futures::stream::iter([Ok::<_, std::io::Error>(body[..body.len() - 11].to_vec())]);
        let never = futures::stream::once(async move {
            wanted.notify_one();
            std::future::pending().await
        });
        let still = Body::from_stream(futures::StreamExt::chain(begin, never));
        let (first, with, kind) = (gui.clone(), cookie.clone(), kind.clone());
        let first = tokio::spawn(async move { first.send_bytes("/backups/verify", &with, &kind, still).await });
        more.notified().await;
        let second = gui.verify(&cookie, PASSPHRASE, b"x").await;
        if second.status() == StatusCode::SERVICE_UNAVAILABLE {
            second.says("another backup is being looked through here");
            break first;
        }
        // It was the quicker one.
        first.abort();
        assert!(Instant::now() < deadline, "{}", second.text());
    };
    // It goes away, and the next one has its turn.
    first.abort();
    while gui.verify(&cookie, PASSPHRASE, b"x").await.status() == StatusCode::SERVICE_UNAVAILABLE {
        assert!(Instant::now() < deadline, "the turn is never given back");
    }
}
