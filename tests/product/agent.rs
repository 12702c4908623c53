//! An agent's life: through lost answers, restarts, failovers and impostors.

use super::server::{BASE, Fault, LIFECYCLE, Node, Site, TOKEN};
use licraft::license::Millis;
use licraft::pki::ca::Authority;
use licraft::product::Serving;
use licraft::product::agent::{Agent, AgentError, Product, RootPin, Settings, Status};
use licraft::product::message::LicenseCount;
use licraft::raft::Ledger;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub fn product(sn: &str) -> Product {
    Product {
        pid: "ROUTER".into(),
        sn: sn.into(),
        product_type: "Router Software".into(),
        software_version: "3.1".into(),
        host_name: Some("router-1".into()),
        devices: Vec::new(),
    }
}

pub fn settings(site: &Site, nodes: &[&Node]) -> Settings {
    Settings {
        urls: nodes.iter().map(|n| n.url()).collect(),
        tls_ca_pem: Some(site.ca_pem()),
        root: Some(RootPin::Certificate(site.root_der.clone())),
        ..Settings::default()
    }
}

pub fn open(dir: &Path, settings: Settings) -> Agent {
    Agent::open(dir, settings, Some(product("SN1"))).unwrap().with_patience(Duration::from_secs(5))
}

pub fn reopen(dir: &Path) -> Agent {
    Agent::open(dir, Settings::default(), None).unwrap().with_patience(Duration::from_secs(5))
}

pub async fn registered(site: &Site, nodes: &[&Node]) -> (TempDir, Agent) {
    let dir = tempfile::tempdir().unwrap();
    let mut agent = open(dir.path(), settings(site, nodes));
    agent.register(TOKEN).await.unwrap();
    (dir, agent)
}

pub fn want(licenses: &[(&str, u64)]) -> Vec<LicenseCount> {
    licenses.iter().map(|(tag, count)| LicenseCount { tag: (*tag).into(), count: *count }).collect()
}

fn line(status: &Status, tag: &str) -> (u64, String) {
    let found = status.licenses.iter().find(|l| l.tag == tag).unwrap();
    (found.count, found.status.clone())
}

#[tokio::test]
async fn from_evaluation_to_deregistration() {
    let site = Site::new();
    let node = site.serve().await;
    let dir = tempfile::tempdir().unwrap();
    let mut agent = open(dir.path(), settings(&site, &[&node]));
    let status = agent.status();
    assert_eq!(status.registration, "Unregistered: evaluation, 90 days left");
    assert!(matches!(agent.request(want(&[(BASE, 1)])).await, Err(AgentError::NotRegistered)));

    agent.register(TOKEN).await.unwrap();
    let status = agent.status();
    assert!(status.registration.starts_with("Registered (20"), "{}", status.registration);
    assert_eq!(status.authorization, "No Licenses In Use");
    assert_eq!((status.smart_account.as_str(), status.virtual_account.as_str()), ("TEST", "Default"));
    assert_eq!((status.licensing_mode.as_str(), status.product_name.as_str()), ("Smart Licensing", "Router Software"));
    assert_eq!(
        (status.instance_name.as_str(), status.export_controlled_functionality.as_str()),
        ("router-1", "Not Allowed")
    );

    agent.request(want(&[(BASE, 1), (LIFECYCLE, 34)])).await.unwrap();
    let status = agent.status();
    assert!(status.authorization.starts_with("Out of Compliance (20"), "{}", status.authorization);
    assert_eq!(line(&status, LIFECYCLE), (34, "Out of Compliance".into()));
    assert_eq!(line(&status, BASE), (1, "In Compliance".into()));
    assert!(status.enforcement_date.is_some());
    // All of it survives the process.
    drop(agent);
    let mut agent = reopen(dir.path());
    assert_eq!(agent.status(), status);

    agent.release(&[LIFECYCLE.into()]).await.unwrap();
    let status = agent.status();
    assert!(status.authorization.starts_with("Authorized (20"), "{}", status.authorization);
    assert_eq!((status.licenses.len(), status.enforcement_date), (1, None));
    assert!(matches!(agent.release(&["NOT_HELD".into()]).await, Err(AgentError::NotHeld { .. })));
    agent.renew().await.unwrap();
    agent.renew_id(false).await.unwrap();
    agent.renew_id(true).await.unwrap();
    agent.request(want(&[(BASE, 2)])).await.unwrap();
    assert_eq!((site.in_use(BASE), site.in_use(LIFECYCLE), site.instances()), (2, 0, 1));
    agent.release(&[]).await.unwrap();
    assert_eq!(agent.status().authorization, "No Licenses In Use");
    agent.deregister().await.unwrap();
    assert!(agent.status().registration.starts_with("Unregistered"));
    assert_eq!(site.instances(), 0);
    // And again from the start, with the same key.
    agent.register(TOKEN).await.unwrap();
    agent.request(want(&[(BASE, 1)])).await.unwrap();
    assert_eq!((site.in_use(BASE), site.instances()), (1, 1));
    node.stop().await;
}

#[tokio::test]
async fn every_answer_may_be_lost_and_nothing_is_counted_twice() {
    let site = Site::new();
    let node = site.serve().await;
    let dir = tempfile::tempdir().unwrap();
    let mut agent = open(dir.path(), settings(&site, &[&node]));
    let trouble = || [Fault::Busy, Fault::UnknownAfter, Fault::NotActive, Fault::UnknownBefore, Fault::UnknownAfter];
    site.ledger.fail_next(trouble());
    agent.register(TOKEN).await.unwrap();
    assert_eq!(site.instances(), 1);
    site.ledger.fail_next(trouble());
    agent.request(want(&[(LIFECYCLE, 14)])).await.unwrap();
    assert_eq!(site.in_use(LIFECYCLE), 14);
    site.ledger.fail_next(trouble());
    agent.renew().await.unwrap();
    site.ledger.fail_next(trouble());
    agent.renew_id(true).await.unwrap();
    agent.request(want(&[(LIFECYCLE, 15)])).await.unwrap();
    assert_eq!((site.in_use(LIFECYCLE), site.instances()), (15, 1));
    site.ledger.fail_next(trouble());
    agent.deregister().await.unwrap();
    assert_eq!((site.in_use(LIFECYCLE), site.instances()), (0, 0));
    node.stop().await;
}

#[tokio::test]
async fn an_outage_costs_nothing_and_the_request_under_way_is_finished_afterwards() {
    let site = Site::new();
    let node = site.serve().await;
    let (dir, mut agent) = registered(&site, &[&node]).await;
    agent.request(want(&[(BASE, 1)])).await.unwrap();
    let held = agent.status();
    let port = node.port;
    node.stop().await;

    let mut agent = agent.with_patience(Duration::from_millis(300));
    let error = agent.renew_id(true).await.unwrap_err();
    assert!(matches!(error, AgentError::Unreachable { .. }), "{error}");
    let status = agent.status();
    assert_eq!((&status.authorization, &status.licenses), (&held.authorization, &held.licenses));
    assert!(status.last_failure.unwrap().contains(&port.to_string()));
    assert_eq!(status.pending.as_deref(), Some("renew-id number 2"));

    // The product restarts, the server is another one at another address: the old request is settled first.
    drop(agent);
    let node = site.serve().await;
    let moved = Settings { urls: vec![node.url()], ..Settings::default() };
    let mut agent = Agent::open(dir.path(), moved, None).unwrap().with_patience(Duration::from_secs(5));
    agent.request(want(&[(BASE, 2)])).await.unwrap();
    assert_eq!((site.in_use(BASE), agent.status().pending), (2, None));
    node.stop().await;
}

#[tokio::test]
async fn a_lost_answer_to_a_key_renewal_is_found_after_a_restart() {
    let site = Site::new();
    let node = site.serve().await;
    let (dir, agent) = registered(&site, &[&node]).await;
    let mut agent = agent.with_patience(Duration::ZERO);
    site.ledger.fail_next([Fault::UnknownAfter]);
    agent.renew_id(true).await.unwrap_err();
    drop(agent);
    let mut agent = reopen(dir.path());
    agent.request(want(&[(BASE, 1)])).await.unwrap();
    assert_eq!((site.in_use(BASE), site.instances()), (1, 1));
    node.stop().await;
}

#[tokio::test]
async fn a_product_restored_from_a_backup_recovers() {
    let site = Site::new();
    let node = site.serve().await;
    let (dir, mut agent) = registered(&site, &[&node]).await;
    agent.request(want(&[(BASE, 1)])).await.unwrap();
    drop(agent);
    let backup = std::fs::read(dir.path().join("agent.json")).unwrap();
    let mut agent = reopen(dir.path());
    for count in 2..6 {
        agent.request(want(&[(BASE, count)])).await.unwrap();
    }
    drop(agent);
    std::fs::write(dir.path().join("agent.json"), backup).unwrap();
    let mut agent = reopen(dir.path());
    agent.request(want(&[(BASE, 7)])).await.unwrap();
    assert_eq!(site.in_use(BASE), 7);
    agent.request(want(&[(BASE, 1)])).await.unwrap();
    assert_eq!(site.in_use(BASE), 1);
    node.stop().await;
}

#[tokio::test]
async fn a_removed_instance_learns_it_from_a_signed_answer() {
    let site = Site::new();
    let node = site.serve().await;
    let (_dir, mut agent) = registered(&site, &[&node]).await;
    let instance = licraft::license::InstanceId(agent.status().instance.unwrap().parse().unwrap());
    site.ledger.apply(licraft::license::Command::RemoveInstance { instance });
    let error = agent.request(want(&[(BASE, 1)])).await.unwrap_err();
    assert!(error.refused_as("instance-unknown"), "{error}");
    assert!(agent.status().registration.starts_with("Unregistered"));
    agent.register(TOKEN).await.unwrap();
    agent.request(want(&[(BASE, 1)])).await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn products_that_a_restored_server_has_forgotten_come_back_by_their_certificates() {
    let site = Site::new();
    let node = site.serve().await;
    let (_first_dir, mut first) = registered(&site, &[&node]).await;
    first.request(want(&[(BASE, 1)])).await.unwrap();
    let backup = site.ledger.state();
    let late = |sn: &str| {
        let dir = tempfile::tempdir().unwrap();
        let agent = Agent::open(dir.path(), settings(&site, &[&node]), Some(product(sn))).unwrap();
        (dir, agent.with_patience(Duration::from_secs(5)))
    };
    let (dir, mut second) = late("SN2");
    let (_third_dir, mut third) = late("SN3");
    for agent in [&mut second, &mut third] {
        agent.register(TOKEN).await.unwrap();
        agent.request(want(&[(BASE, 2), (LIFECYCLE, 3)])).await.unwrap();
    }
    let forgotten = second.status().instance.unwrap();
    drop(second);
    let stolen = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), stolen.path().join(file.file_name())).unwrap();
    }

    site.ledger.restore(&backup);
    assert_eq!((site.instances(), site.in_use(BASE)), (1, 1));
    first.renew().await.unwrap();
    // The answer is lost, and the agent ends: nothing counts twice, and what it used is asked for again.
    let mut second = reopen(dir.path()).with_patience(Duration::ZERO);
    site.ledger.fail_after(1, Fault::UnknownAfter);
    second.renew().await.unwrap_err();
    drop(second);
    assert_eq!((site.instances(), site.in_use(BASE)), (2, 1));
    let mut second = reopen(dir.path());
    second.renew().await.unwrap();
    third.request(want(&[(BASE, 4)])).await.unwrap();
    assert_eq!((site.instances(), site.in_use(BASE), site.in_use(LIFECYCLE)), (3, 7, 3));
    let status = second.status();
    assert_ne!(status.instance, Some(forgotten));
    assert_eq!((line(&status, BASE).0, line(&status, LIFECYCLE).0), (2, 3));
    second.renew().await.unwrap();
    second.renew_id(true).await.unwrap();
    let events = site.ledger.state();
    assert_eq!(events.events(0).filter(|e| e.kind == "instance-readmitted").count(), 2);

    // Removed is removed, also for a copy of the old certificate; and so is a product that was never lost.
    for agent in [&mut second, &mut first] {
        let instance = licraft::license::InstanceId(agent.status().instance.unwrap().parse().unwrap());
        site.ledger.apply(licraft::license::Command::RemoveInstance { instance });
        let error = agent.renew().await.unwrap_err();
        assert!(error.refused_as("instance-unknown"), "{error}");
        assert!(agent.status().registration.starts_with("Unregistered"));
    }
    let mut thief = reopen(stolen.path());
    let error = thief.renew().await.unwrap_err();
    assert!(error.refused_as("instance-unknown"), "{error}");
    assert_eq!((site.instances(), site.in_use(BASE)), (1, 4));
    node.stop().await;
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_is_standby_or_dead() {
    let site = Site::new();
    let (first, second) = (site.serve().await, site.serve().await);
    let (_dir, mut agent) = registered(&site, &[&first, &second]).await;
    first.become_(Serving::Standby { active: Some("secondary-node".into()) });
    agent.request(want(&[(BASE, 1)])).await.unwrap();
    first.become_(Serving::Active);
    second.stop().await;
    agent.request(want(&[(BASE, 2)])).await.unwrap();
    assert_eq!(site.in_use(BASE), 2);
    first.stop().await;
}

#[tokio::test]
async fn refusals_are_the_servers_word_and_unsigned_errors_are_not() {
    let site = Site::new();
    let node = site.serve().await;
    let (_dir, mut agent) = registered(&site, &[&node]).await;
    agent.request(want(&[(BASE, 1)])).await.unwrap();
    let held = agent.status();
    let error = agent.request(want(&[("NO_SUCH", 1)])).await.unwrap_err();
    assert!(error.is_refusal() && error.refused_as("license-unknown"), "{error}");
    assert_eq!(agent.status().licenses, held.licenses);
    agent.request(want(&[(BASE, 2)])).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let error = open(dir.path(), settings(&site, &[&node])).register("no-such-token").await.unwrap_err();
    assert!(matches!(&error, AgentError::Unsigned(p) if p.code == "token-unknown"), "{error}");
    node.stop().await;
}

#[tokio::test]
async fn only_the_pinned_root_is_believed() {
    let site = Site::new();
    let node = site.serve().await;
    let stranger = Authority::self_signed("Vendor Root", 100, Millis(super::client::now())).unwrap();
    let other = stranger.cert_der().to_vec();
    let hash = licraft::pki::sha256(&other);
    for pin in [RootPin::Certificate(other), RootPin::Fingerprint(hash)] {
        let dir = tempfile::tempdir().unwrap();
        let wrong = Settings { root: Some(pin), ..settings(&site, &[&node]) };
        let mut agent = open(dir.path(), wrong).with_patience(Duration::from_millis(100));
        let error = agent.register(TOKEN).await.unwrap_err();
        assert!(matches!(&error, AgentError::Unreachable { last, .. } if last.contains("trusted")), "{error}");
        assert!(agent.status().registration.starts_with("Unregistered"));
    }
    // The right fingerprint, and trust on first use, which then holds against another vendor's server.
    let text = licraft::pki::ca::fingerprint(&site.root_der);
    let right = RootPin::from_fingerprint(&text).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut agent = open(dir.path(), Settings { root: Some(right), ..settings(&site, &[&node]) });
    agent.register(TOKEN).await.unwrap();
    assert_eq!(agent.status().root_fingerprint, Some(text));
    let dir = tempfile::tempdir().unwrap();
    let mut agent = open(dir.path(), Settings { root: None, ..settings(&site, &[&node]) });
    agent.register(TOKEN).await.unwrap();
    drop(agent);
    let impostor = Site::new();
    let its_node = impostor.serve().await;
    let moved = Settings { root: None, ..settings(&impostor, &[&its_node]) };
    let mut agent = open(dir.path(), moved).with_patience(Duration::from_millis(100));
    agent.register(TOKEN).await.unwrap_err();
    assert!(agent.status().registration.starts_with("Registered"));
    node.stop().await;
    its_node.stop().await;
}

#[tokio::test]
async fn a_name_mismatch_names_both_hosts() {
    let site = Site::new();
    let node = site.serve().await;
    node.tls.renew(&site.identity("vip.example"), &[b"http/1.1"]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut agent = open(dir.path(), settings(&site, &[&node])).with_patience(Duration::from_millis(100));
    let error = agent.register(TOKEN).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1") && error.contains("vip.example"), "{error}");
    node.stop().await;
}

#[tokio::test]
async fn a_private_agent_shares_no_host_name() {
    let site = Site::new();
    let node = site.serve().await;
    let dir = tempfile::tempdir().unwrap();
    let private = Settings { private: Some(true), ..settings(&site, &[&node]) };
    let mut agent = open(dir.path(), private);
    agent.register(TOKEN).await.unwrap();
    assert_eq!(site.ledger.state().instances(None).next().unwrap().host_name, None);
    assert_eq!(agent.status().instance_name, "UDI_PID:ROUTER;UDI_SN:SN1");
    node.stop().await;
}

#[tokio::test]
async fn a_skewed_clock_is_told_and_nothing_changes() {
    let site = Site::new();
    let node = site.serve().await;
    let (_dir, mut agent) = registered(&site, &[&node]).await;
    site.clock.forward(3 * Millis::HOUR);
    let before = site.records();
    let error = agent.request(want(&[(BASE, 1)])).await.unwrap_err();
    assert!(error.refused_as("clock-skew") && error.to_string().contains("behind"), "{error}");
    assert_eq!(site.records(), before);
    site.clock.back(3 * Millis::HOUR);
    agent.request(want(&[(BASE, 1)])).await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn a_running_agent_renews_when_it_is_due_and_survives_an_outage() {
    let site = Site::new();
    let node = site.serve().await;
    let (_dir, mut agent) = registered(&site, &[&node]).await;
    agent.request(want(&[(LIFECYCLE, 1)])).await.unwrap();
    let mut agent = agent.with_clock(site.clock.clock());
    // Out of compliance it is due after twelve hours.
    site.clock.forward(13 * Millis::HOUR);
    site.ledger.fail_next([Fault::UnknownAfter]);
    let shutdown = CancellationToken::new();
    let mut reports = Vec::new();
    let run = agent.run(&shutdown, |status, error| {
        reports.push((status.authorization.clone(), error.is_some()));
        shutdown.cancel();
    });
    tokio::time::timeout(Duration::from_secs(20), run).await.expect("it reports").unwrap();
    assert_eq!(reports.len(), 1);
    assert!(reports[0].0.starts_with("Out of Compliance") && !reports[0].1);
    let status = agent.status();
    assert_eq!(status.pending, None);
    node.stop().await;
}
