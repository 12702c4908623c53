//! The stories by clicks: a person at Chromium on a host of the lab, against the virtual address of a real cluster. Needs
//! root.

#![allow(clippy::unwrap_used)] // A test that panics has failed, as it should.

#[allow(dead_code, reason = "the network's tests use more of it")]
#[path = "network/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "the browser's tests use more of it")]
#[path = "browser/driver.rs"]
mod driver;
#[allow(dead_code, reason = "the network's tests use more of it")]
#[path = "network/lab.rs"]
mod lab;
#[path = "support/wait.rs"]
mod wait;

#[path = "stories/person.rs"]
mod person;
#[path = "stories/scene.rs"]
mod scene;
#[path = "stories/story_a.rs"]
mod story_a;
#[path = "stories/story_b.rs"]
mod story_b;
#[path = "stories/story_c.rs"]
mod story_c;
