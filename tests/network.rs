//! Clusters on real networks: hosts are network namespaces, nodes are processes, the virtual address is put on by the
//! kernel, and only the operator's commands are used. Needs root.

#![allow(clippy::unwrap_used)] // A test that panics has failed, as it should.

#[allow(dead_code, reason = "the stories use more of it")]
#[path = "network/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "the store's tests use more of it")]
#[path = "store/disk.rs"]
mod disk;
#[path = "network/lab.rs"]
mod lab;
#[path = "store/mount.rs"]
mod mount;
#[path = "network/observer.rs"]
mod observer;
#[path = "support/site.rs"]
mod site;

#[path = "network/address.rs"]
mod address;
#[path = "network/administration.rs"]
mod administration;
#[path = "network/alerts.rs"]
mod alerts;
#[path = "network/backup.rs"]
mod backup;
#[path = "network/bad_input.rs"]
mod bad_input;
#[path = "network/certificates.rs"]
mod certificates;
#[path = "network/digests.rs"]
mod digests;
#[path = "network/failures.rs"]
mod failures;
#[path = "network/fencing.rs"]
mod fencing;
#[path = "network/files.rs"]
mod files;
#[path = "network/growth.rs"]
mod growth;
#[path = "network/preflight.rs"]
mod preflight;
#[path = "network/promotion.rs"]
mod promotion;
#[path = "network/story_a.rs"]
mod story_a;
#[path = "network/story_b.rs"]
mod story_b;
#[path = "network/story_c.rs"]
mod story_c;
#[path = "network/two_nodes.rs"]
mod two_nodes;
