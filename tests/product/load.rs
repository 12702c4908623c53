//! The load generator drives real requests, and its counts are exact.

use super::server::{BASE, Fault, LIFECYCLE, Node, Site, TOKEN};
use licraft::product::agent::RootPin;
use licraft::product::agent::simulate::{Load, run};
use licraft::product::message::LicenseCount;
use std::time::Duration;

fn load(site: &Site, node: &Node, requests: u64) -> Load {
    Load {
        url: node.url(),
        tls_ca_pem: site.ca_pem(),
        root: Some(RootPin::Certificate(site.root_der.clone())),
        token: TOKEN.into(),
        instances: 7,
        connections: 3,
        licenses: vec![LicenseCount { tag: LIFECYCLE.into(), count: 2 }],
        duration: None,
        requests: Some(requests),
        verify: 1.0,
        timeout: Duration::from_secs(2),
        prefix: "L-".into(),
    }
}

#[tokio::test]
async fn all_instances_are_registered_and_all_requests_granted_and_verified() {
    let site = Site::new();
    let node = site.serve().await;
    let report = run(load(&site, &node, 50)).await.unwrap();
    assert_eq!((report.requests, report.verified, site.instances()), (50, 50, 7));
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(site.in_use(LIFECYCLE), 14);
    assert!(report.p50_ms > 0.0 && report.p50_ms <= report.p99_ms && report.p99_ms <= report.max_ms);
    let sampled = run(Load { verify: 0.1, prefix: "M-".into(), ..load(&site, &node, 60) }).await.unwrap();
    assert_eq!(sampled.requests, 60);
    assert!((3..=9).contains(&sampled.verified), "{}", sampled.verified);
    let only = run(Load { prefix: "N-".into(), ..load(&site, &node, 0) }).await.unwrap();
    assert_eq!((only.requests, site.instances()), (0, 21));
    node.stop().await;
}

#[tokio::test]
async fn trouble_is_counted_and_outlived() {
    let site = Site::new();
    let node = site.serve().await;
    site.ledger.fail_next([Fault::Busy, Fault::UnknownAfter, Fault::NotActive]);
    let report = run(load(&site, &node, 30)).await.unwrap();
    assert_eq!((report.requests, site.instances(), site.in_use(LIFECYCLE)), (30, 7, 14));
    let counted: u64 = report.errors.values().sum();
    assert_eq!(counted, 3, "{:?}", report.errors);
    node.stop().await;
}

#[tokio::test]
async fn refusals_are_counted_apart_and_a_wrong_token_ends_it() {
    let site = Site::new();
    let node = site.serve().await;
    let unknown = vec![LicenseCount { tag: "NO_SUCH".into(), count: 1 }];
    let report = run(Load { licenses: unknown, ..load(&site, &node, 5) }).await.unwrap();
    assert_eq!((report.requests, report.errors.get("refused: license-unknown")), (0, Some(&5)));
    run(Load { token: "wrong".into(), ..load(&site, &node, 5) }).await.unwrap_err();
    assert_eq!(site.in_use(BASE), 0);
    node.stop().await;
}
