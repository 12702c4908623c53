//! A product's whole life by the clock that product and server share here: nothing sleeps.

use super::agent::{open, product, registered, reopen, settings, want};
use super::forward::Proxy;
use super::proxy::{agent as command, stderr};
use super::server::{BASE, Fault, LIFECYCLE, Node, Site, TOKEN};
use licraft::license::{Command, InstanceId, Millis, Outcome, VirtualAccountId};
use licraft::product::Serving;
use licraft::product::agent::{Agent, AgentError, DeviceMember, Product, Settings, Status};
use licraft::raft::Ledger;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn days(n: u64) -> u64 {
    n * Millis::DAY
}

/// Milliseconds of a date that a status shows.
fn ms(date: &Option<String>) -> u64 {
    let at: jiff::Timestamp = date.as_ref().unwrap().parse().unwrap();
    at.as_millisecond().try_into().unwrap()
}

/// As `agent run` does, up to its first report.
async fn run_once(agent: &mut Agent) -> (Status, Option<String>) {
    let shutdown = CancellationToken::new();
    let mut told = None;
    let run = agent.run(&shutdown, |status, error| {
        told = Some((status.clone(), error.map(ToString::to_string)));
        shutdown.cancel();
    });
    tokio::time::timeout(Duration::from_secs(20), run).await.expect("it reports").unwrap();
    told.unwrap()
}

fn instance(status: &Status) -> InstanceId {
    InstanceId(status.instance.as_ref().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_running_agent_keeps_a_product_licensed_for_years() {
    let site = Site::new();
    let node = site.serve().await;
    let (_dir, agent) = registered(&site, &[&node]).await;
    let mut agent = agent.with_clock(site.clock.clock());
    agent.request(want(&[(BASE, 1)])).await.unwrap();
    let started = (site.clock.clock())().0;
    let status = agent.status();
    let about = |date: &Option<String>, wanted: u64| ms(date).abs_diff(wanted) < Millis::MINUTE;
    assert!(about(&status.certificate_expires, started + days(365)), "{status:?}");
    assert!(about(&status.next_contact, started + days(30)), "{status:?}");
    assert!(about(&status.expires, started + days(90)), "{status:?}");
    assert!(about(&status.grace_until, started + days(180)), "{status:?}");
    let id = |site: &Site| site.ledger.state().instances(None).next().unwrap().certificate.clone();
    let first = id(&site);
    assert!(first.not_before.0.abs_diff(started - 5 * Millis::MINUTE) < Millis::MINUTE, "{first:?}");
    let mut renewed_on = None;
    for month in 1..=25 {
        site.clock.forward(days(30) + Millis::HOUR);
        let day = month * 30;
        let (status, error) = run_once(&mut agent).await;
        assert_eq!(error, None, "day {day}");
        if renewed_on.is_none() && id(&site) != first {
            renewed_on = Some(day);
            // Then it is the authorization's turn.
            run_once(&mut agent).await;
        }
        let now = (site.clock.clock())().0;
        assert!(ms(&agent.status().certificate_expires) > now && ms(&agent.status().expires) > now, "{status:?}");
        assert!(agent.status().authorization.starts_with("Authorized"), "{status:?}");
    }
    assert_eq!(renewed_on, Some(180));
    assert_eq!((site.instances(), site.in_use(BASE)), (1, 1));
    node.stop().await;
}

#[tokio::test]
async fn an_agent_goes_on_through_an_outage_by_its_grace_and_says_until_when() {
    let site = Site::new();
    let node = site.serve().await;
    let (_dir, agent) = registered(&site, &[&node]).await;
    let mut agent = agent.with_clock(site.clock.clock()).with_patience(Duration::ZERO);
    agent.request(want(&[(BASE, 1)])).await.unwrap();
    let granted = agent.status();
    assert_eq!(granted.outage, None);

    node.become_(Serving::Standby { active: None });
    site.clock.forward(days(31));
    let since = (site.clock.clock())().0;
    let (status, error) = run_once(&mut agent).await;
    assert!(error.unwrap().contains("no license server answered"));
    assert!(status.authorization.starts_with("Authorized (20"), "{status:?}");
    let outage = status.outage.unwrap();
    let until = granted.expires.clone().unwrap();
    assert!(outage.ends_with(&format!(": the authorization holds until {until}")), "{outage}");

    site.clock.forward(days(60));
    let (status, _) = run_once(&mut agent).await;
    assert_eq!(status.authorization, format!("Authorization Expired ({until})"));
    assert_eq!((&status.licenses, &status.expires), (&granted.licenses, &granted.expires));
    let grace = granted.grace_until.clone().unwrap();
    let outage = status.outage.unwrap();
    assert!(outage.ends_with(&format!("the server keeps the registration until {grace}")), "{outage}");
    let first = outage.split(": ").next().unwrap().rsplit(' ').next().map(str::to_owned);
    assert!(ms(&first).abs_diff(since) < Millis::MINUTE, "since the beginning, not the last attempt: {outage}");

    // The whole grace passes before the server serves again: it waits a day before it gives anybody up.
    site.clock.forward(days(100));
    let (status, _) = run_once(&mut agent).await;
    assert!(status.outage.unwrap().ends_with(&format!("the registration lapsed on {grace}")));
    site.ledger.apply(Command::Resume { node_id: 1, term: 2, cause: "power returned".into() });
    node.become_(Serving::Active);
    let (status, error) = run_once(&mut agent).await;
    assert_eq!((error, &status.outage), (None, &None));
    assert!(status.authorization.starts_with("Authorized (20"), "{status:?}");
    assert_eq!((instance(&status), site.in_use(BASE)), (instance(&granted), 1));
    node.stop().await;
}

#[tokio::test]
async fn a_product_that_was_released_registers_anew() {
    let site = Site::new();
    let node = site.serve().await;
    let (_dir, agent) = registered(&site, &[&node]).await;
    let mut agent = agent.with_clock(site.clock.clock());
    agent.request(want(&[(BASE, 2)])).await.unwrap();
    let first = instance(&agent.status());
    site.clock.forward(days(182));
    site.ledger.apply(Command::DigestMark { nonce: 1 });
    assert_eq!((site.instances(), site.in_use(BASE)), (0, 0));
    let (status, error) = run_once(&mut agent).await;
    assert!(error.unwrap().contains("register again"));
    assert!(status.registration.starts_with("Unregistered"), "{status:?}");
    site.add_token(site.va, "another", 0, 30, false);
    agent.register("another").await.unwrap();
    agent.request(want(&[(BASE, 2)])).await.unwrap();
    assert!(instance(&agent.status()) != first);
    assert_eq!((site.instances(), site.in_use(BASE)), (1, 2));
    node.stop().await;
}

#[tokio::test]
async fn enforcement_has_a_date_that_stays_until_the_licenses_are_there() {
    let site = Site::new();
    let node = site.serve().await;
    let (_dir, agent) = registered(&site, &[&node]).await;
    let mut agent = agent.with_clock(site.clock.clock());
    agent.request(want(&[(LIFECYCLE, 3)])).await.unwrap();
    let date = agent.status().enforcement_date.unwrap();
    let in_90_days = (site.clock.clock())().0 + days(90);
    assert!(ms(&Some(date.clone())).abs_diff(in_90_days) < Millis::MINUTE);
    for _ in 0..4 {
        site.clock.forward(13 * Millis::HOUR);
        let (status, error) = run_once(&mut agent).await;
        assert_eq!((error, status.enforcement_date), (None, Some(date.clone())));
        assert!(status.authorization.starts_with("Out of Compliance"), "{}", status.authorization);
    }
    agent.request(want(&[(BASE, 1)])).await.unwrap();
    assert_eq!(agent.status().enforcement_date, None);
    agent.request(want(&[(LIFECYCLE, 3)])).await.unwrap();
    assert!(agent.status().enforcement_date.unwrap() > date, "a new shortage begins anew");
    node.stop().await;
}

#[tokio::test]
async fn a_forced_registration_is_a_new_instance_and_never_counts_twice() {
    let site = Site::new();
    let node = site.serve().await;
    let (dir, mut agent) = registered(&site, &[&node]).await;
    agent.request(want(&[(BASE, 1), (LIFECYCLE, 4)])).await.unwrap();
    let first = instance(&agent.status());
    agent.register(TOKEN).await.unwrap();
    assert_eq!((instance(&agent.status()), site.in_use(LIFECYCLE)), (first, 4), "with the same key it is the same");
    // The answer is lost, and the product restarts.
    let mut agent = agent.with_patience(Duration::ZERO);
    site.ledger.fail_next([Fault::UnknownAfter]);
    agent.register_anew(TOKEN).await.unwrap_err();
    drop(agent);
    let made = site.ledger.state().instances(None).next().unwrap().id;
    assert!(made != first && site.instances() == 1 && site.in_use(LIFECYCLE) == 0);
    let mut agent = reopen(dir.path());
    agent.register_anew(TOKEN).await.unwrap();
    assert_eq!((instance(&agent.status()), site.instances()), (made, 1));
    agent.request(want(&[(LIFECYCLE, 5)])).await.unwrap();
    assert_eq!((site.in_use(BASE), site.in_use(LIFECYCLE)), (0, 5));
    drop(agent);
    let mut agent = reopen(dir.path());
    agent.register_anew(TOKEN).await.unwrap();
    assert!(instance(&agent.status()) != made && site.instances() == 1);
    node.stop().await;
}

#[tokio::test]
async fn a_product_moves_to_another_virtual_account_with_its_token() {
    let site = Site::new();
    let node = site.serve().await;
    let (_dir, mut agent) = registered(&site, &[&node]).await;
    agent.request(want(&[(BASE, 2)])).await.unwrap();
    let lab = site.ledger.apply(Command::CreateVirtualAccount { account: site.account, name: "Lab".into() });
    let Outcome::Created(lab) = lab else { panic!("{lab:?}") };
    site.add_token(VirtualAccountId(lab), "to-the-lab", 0, 30, false);
    agent.register("to-the-lab").await.unwrap();
    agent.request(want(&[(LIFECYCLE, 2)])).await.unwrap();
    assert_eq!((agent.status().virtual_account.as_str(), site.instances()), ("Lab", 1));
    assert_eq!((site.in_use(BASE), site.in_use(LIFECYCLE)), (0, 0), "nothing is left behind");
    let state = site.ledger.state();
    let license = state.license_by_tag(site.account, LIFECYCLE).unwrap().id;
    assert_eq!(state.pool(VirtualAccountId(lab), license).unwrap().in_use, 2);
    node.stop().await;
}

fn member(sn: &str, host_name: Option<&str>) -> DeviceMember {
    DeviceMember { pid: "ROUTER".into(), sn: sn.into(), host_name: host_name.map(str::to_owned) }
}

fn cluster(sn: &str, devices: Vec<DeviceMember>) -> Product {
    Product { devices, ..product(sn) }
}

fn as_(site: &Site, node: &Node, dir: &std::path::Path, product: Product) -> Agent {
    let agent = Agent::open(dir, settings(site, &[node]), Some(product)).unwrap();
    agent.with_patience(Duration::from_secs(5))
}

#[tokio::test]
async fn one_of_a_products_cluster_registers_for_all_or_each_for_itself() {
    let site = Site::new();
    let node = site.serve().await;
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut second = as_(&site, &node, two.path(), product("SN2"));
    second.register(TOKEN).await.unwrap();
    second.request(want(&[(BASE, 1)])).await.unwrap();

    let all = cluster("SN1", vec![member("SN2", Some("router-2")), member("SN3", None)]);
    let mut first = as_(&site, &node, one.path(), all);
    first.register(TOKEN).await.unwrap();
    first.request(want(&[(BASE, 3)])).await.unwrap();
    assert_eq!((site.instances(), site.in_use(BASE)), (1, 3));
    let shown = |site: &Site| {
        let state = site.ledger.state();
        let of = state.instances(None).flat_map(|i| i.devices().to_vec());
        of.map(|d| (d.udi.sn.clone(), d.host_name.map(|h| h.to_string()))).collect::<Vec<_>>()
    };
    assert_eq!(shown(&site), [("SN2".to_owned(), Some("router-2".to_owned())), ("SN3".into(), None)]);
    let error = second.renew().await.unwrap_err();
    assert!(error.refused_as("instance-unknown"), "its instance was replaced: {error}");

    // The second is exchanged for a fourth, by the first; then it comes back for itself.
    drop(first);
    let all = cluster("SN1", vec![member("SN3", None), member("SN4", None)]);
    let mut first = as_(&site, &node, one.path(), all);
    let before = instance(&first.status());
    first.register(TOKEN).await.unwrap();
    first.renew().await.unwrap();
    assert_eq!((instance(&first.status()), site.in_use(BASE)), (before, 3));
    assert_eq!(shown(&site), [("SN3".to_owned(), None), ("SN4".into(), None)]);
    second.register(TOKEN).await.unwrap();
    second.request(want(&[(BASE, 1)])).await.unwrap();
    assert_eq!((site.instances(), site.in_use(BASE)), (2, 4));

    // What cannot be is refused, and nothing has changed.
    drop(second);
    let wrong = cluster("SN2", vec![member("SN2", None)]);
    let mut second = as_(&site, &node, two.path(), wrong);
    let records = site.records();
    let error = second.register(TOKEN).await.unwrap_err();
    assert!(error.refused_as("invalid") && error.to_string().contains("named twice"), "{error}");
    assert_eq!(site.records(), records);
    node.stop().await;
}

#[tokio::test]
async fn a_restored_server_readmits_a_cluster_without_what_others_have_taken() {
    let site = Site::new();
    let node = site.serve().await;
    let backup = site.ledger.state();
    let (one, three) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let all = cluster("SN1", vec![member("SN2", None), member("SN3", None)]);
    let mut first = as_(&site, &node, one.path(), all);
    first.register(TOKEN).await.unwrap();
    first.request(want(&[(BASE, 2)])).await.unwrap();
    site.ledger.restore(&backup);
    let mut third = as_(&site, &node, three.path(), product("SN3"));
    third.register(TOKEN).await.unwrap();
    first.renew().await.unwrap();
    let state = site.ledger.state();
    let back = state.instance(instance(&first.status())).unwrap();
    let serials: Vec<&str> = back.udis().map(|udi| udi.sn.as_str()).collect();
    assert_eq!((serials, site.instances(), site.in_use(BASE)), (vec!["SN1", "SN2"], 2, 2));
    node.stop().await;
}

/// All that the server keeps, in words.
fn kept(site: &Site) -> String {
    format!("{:?}", site.ledger.state().records().collect::<Vec<_>>())
}

#[tokio::test]
async fn a_private_product_shares_neither_host_name_nor_address() {
    let site = Site::new();
    let node = site.serve().await;
    let dir = tempfile::tempdir().unwrap();
    let private = Settings { private: Some(true), ..settings(&site, &[&node]) };
    let product = cluster("SN1", vec![member("SN2", Some("router-2"))]);
    let mut agent = Agent::open(dir.path(), private, Some(product)).unwrap();
    agent.register(TOKEN).await.unwrap();
    agent.request(want(&[(LIFECYCLE, 1)])).await.unwrap();
    agent.renew_id(true).await.unwrap();
    let text = kept(&site);
    assert!(text.contains("SN1") && text.contains("SN2"));
    for secret in ["router-1", "router-2", "127.0.0.1"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    // Unless it is said again that they may be.
    drop(agent);
    let mut agent = open(dir.path(), Settings { private: Some(false), ..Settings::default() });
    agent.register(TOKEN).await.unwrap();
    drop(agent);
    let mut agent = reopen(dir.path());
    agent.register_anew(TOKEN).await.unwrap();
    assert!(kept(&site).contains("router-1"));
    node.stop().await;
}

/// The same by the command line, with what goes over the network as a proxy sees it.
#[tokio::test]
async fn the_command_registers_for_a_cluster_privately_and_by_force() {
    let site = Site::new();
    let node = site.serve().await;
    let proxy = Proxy::start("200 Connection established", node.port).await;
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(file("ca.pem"), site.ca_pem()).unwrap();
    std::fs::write(file("root.pem"), licraft::pki::ca::certificates_pem([&site.root_der[..]])).unwrap();
    let (state, ca, root, url) = (file("state"), file("ca.pem"), file("root.pem"), node.url().to_string());
    let (proxy_url, device) = (proxy.url(), "ROUTER:SN2=hidden-2");
    let common = ["register", "--dir", &state, "--url", &url, "--ca", &ca, "--root", &root, "--token", TOKEN];
    let more = ["--pid", "ROUTER", "--sn", "SN1", "--host-name", "hidden-1", "--device", device, "--private"];
    let register = [&common[..], &more, &["--proxy", &proxy_url]].concat();
    let run = command(&register).await;
    assert!(run.status.success(), "{}", stderr(&run));
    let first = site.ledger.state().instances(None).next().unwrap().clone();
    assert_eq!((first.devices().len(), first.host_name), (1, None));
    let run = command(&[&register[..], &["--force"]].concat()).await;
    assert!(run.status.success(), "{}", stderr(&run));
    let second = site.ledger.state().instances(None).next().unwrap().clone();
    assert!(second.id != first.id && site.instances() == 1);
    for (line, sent) in proxy.seen.lock().unwrap().iter() {
        assert!(!line.contains("hidden") && !sent.windows(6).any(|w| w == b"hidden"), "{line}");
    }
    assert!(!kept(&site).contains("hidden"));
    let wrong = command(&[&register[..], &["--device", "SN3"]].concat()).await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("expected PID:SN"), "{}", stderr(&wrong));
    proxy.task.abort();
    node.stop().await;
}

#[tokio::test]
async fn an_agent_that_never_got_licenses_says_since_when_nobody_answers() {
    let site = Site::new();
    let node = site.serve().await;
    let (_dir, agent) = registered(&site, &[&node]).await;
    node.become_(Serving::Standby { active: None });
    let mut agent = agent.with_patience(Duration::ZERO);
    let error = agent.request(want(&[(BASE, 1)])).await.unwrap_err();
    assert!(matches!(error, AgentError::Unreachable { .. }), "{error}");
    assert!(agent.status().outage.unwrap().starts_with("No server has answered since 20"));
    node.become_(Serving::Active);
    // A refusal is an answer.
    agent.request(want(&[("NO_SUCH", 1)])).await.unwrap_err();
    assert_eq!(agent.status().outage, None);
    node.stop().await;
}
