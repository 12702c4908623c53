//! Accounts that end: central hears of it once, frees the virtual account, and keeps the record.

use super::*;

impl Scene {
    fn deactivate(&self) {
        self.ledger.must(Command::DeactivateAccount { account: self.account, reason: "over".into() });
    }

    async fn closed_at_central(&self) -> Vec<ServerRow> {
        match self.central.ask(AdminRequest::ListServers { closed: true }).await {
            AdminReply::Servers(rows) => rows.into_iter().filter(|row| row.closed.is_some()).collect(),
            other => panic!("{other:?}"),
        }
    }

    async fn bound(&self, virtual_account: &str) -> Option<String> {
        let AdminReply::Accounts(rows) = self.central.ask(AdminRequest::ListAccounts).await else { panic!() };
        rows.into_iter().find(|row| row.virtual_account.as_deref() == Some(virtual_account)).unwrap().account
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_ends_at_central_and_its_virtual_account_and_name_are_free_again() {
    let scene = Scene::new().await;
    scene.node.synchronize(scene.account, "admin").await.unwrap();
    // A lost answer is behind it.
    scene.node.begin_sync(scene.account, "admin").await.unwrap();
    scene.deactivate();
    scene.node.close(scene.account, "admin").await.unwrap();
    let sync = scene.account().sync;
    assert_eq!((sync.seq, sync.closed, sync.due), (3, true, None));
    assert_eq!(schedule::next(&scene.ledger.state(), &scene.account()), None);
    scene.node.close(scene.account, "admin").await.unwrap();
    scene.ledger.must(Command::DeleteAccount { account: scene.account });

    assert_eq!(scene.bound("Default").await, None);
    let rows = scene.central.servers().await;
    assert_eq!((rows.len(), rows[0].account.as_deref()), (1, None), "the server is there, without accounts");
    assert_eq!(scene.closed_at_central().await[0].account.as_deref(), Some("TEST"));
    let events = scene.central.event_kinds().await;
    assert_eq!(events.iter().filter(|kind| *kind == "account-closed").count(), 1);

    // The same name, with other keys, for the same virtual account.
    let again = request_account(&scene.ledger, "TEST", "Default");
    scene.node.approve_account(again, "admin").await.unwrap();
    assert_eq!(scene.node.synchronize(again, "admin").await.unwrap().seq, 1);
    assert_eq!(purchased(&scene.ledger, again, "BASE"), 10);
    assert_eq!(scene.bound("Default").await.as_deref(), Some("TEST"));
    assert_eq!(scene.closed_at_central().await.len(), 1, "the old one is history");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closing_by_files_and_its_lost_response_are_the_same_bytes() {
    let scene = Scene::new().await;
    point_at(&scene.ledger, "");
    scene.deactivate();
    let error = scene.node.close(scene.account, "admin").await.unwrap_err();
    assert!(matches!(error, UpstreamError::NoCentral), "{error}");
    let asked = scene.node.request(scene.account, "admin").await.unwrap();
    let response = scene.central.post(&asked.document).await.unwrap();
    assert_eq!(scene.bound("Default").await, None);
    // Another account draws on it meanwhile; the repeat must not take it away.
    point_at(&scene.ledger, &scene.central.url());
    let second = server("aabb0000000000000000000000000000", &scene.central.url());
    let other = node(&second, &scene.sealer, scene.central.root());
    let account = request_account(&second, "OTHER", "Default");
    other.approve_account(account, "admin").await.unwrap();
    assert_eq!(scene.node.request(scene.account, "admin").await.unwrap(), asked);
    assert_eq!(scene.central.post(&asked.document).await.unwrap(), response);
    scene.node.import(&response, false, "admin").await.unwrap();
    assert!(scene.account().sync.closed);
    assert_eq!(scene.bound("Default").await.as_deref(), Some("OTHER"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_life_of_the_server_hears_again_that_its_account_has_ended() {
    let scene = Scene::new().await;
    scene.deactivate();
    scene.ledger.must(Command::CloseAccount { account: scene.account });
    let asked = scene.node.request(scene.account, "admin").await.unwrap();
    scene.central.post(&asked.document).await.unwrap();
    // The response is lost, and the request with the life that began it.
    scene.ledger.must(Command::RaiseIncarnation);
    assert_eq!(scene.account().sync.outstanding, None);
    scene.node.close(scene.account, "admin").await.unwrap();
    assert!(scene.account().sync.closed);
    let events = scene.central.event_kinds().await;
    assert_eq!(events.iter().filter(|kind| *kind == "account-closed").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_empty_account_ends_and_an_ended_one_does_not_come_back() {
    let scene = Scene::new().await;
    let (copy_ledger, copy) = scene.copy();
    let request = scene.node.begin_sync(scene.account, "admin").await.unwrap();
    let honest: SyncRequest = Unverified::parse(&request).unwrap().claims().unwrap();
    let used = document::TagUsage { tag: "BASE".into(), in_use: 1, substitution: 0 };
    for full in [
        SyncRequest { closing: true, instances: 1, ..honest.clone() },
        SyncRequest { closing: true, usage: vec![used], ..honest },
    ] {
        assert_eq!(scene.central.post(&scene.forge(&full)).await, Err(400));
    }
    assert_eq!(scene.bound("Default").await.as_deref(), Some("TEST"));

    scene.deactivate();
    scene.node.close(scene.account, "admin").await.unwrap();
    // A copy of the server, as from a backup, for which the account is active.
    copy_ledger.must(Command::RaiseIncarnation);
    let error = copy.synchronize(scene.account, "admin").await.unwrap_err();
    assert_eq!(refusal(&error), RefusalReason::AccountUnknown);
    assert!(error.to_string().contains("licraft account delete \"TEST\" --without-central"), "{error}");
}
