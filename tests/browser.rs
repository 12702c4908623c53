//! The pages in a real browser, Debian's Chromium, over a cluster of real processes.

#![allow(clippy::unwrap_used)] // A test that panics has failed, as it should.

#[allow(dead_code, reason = "the stories use more of it")]
#[path = "browser/driver.rs"]
mod driver;
#[path = "browser/lab.rs"]
mod lab;
#[path = "browser/pages.rs"]
mod pages;
#[path = "support/wait.rs"]
mod wait;

#[path = "browser/administration.rs"]
mod administration;
#[path = "browser/central.rs"]
mod central;
#[path = "browser/failover.rs"]
mod failover;
#[path = "browser/people.rs"]
mod people;
#[path = "browser/requests.rs"]
mod requests;
#[path = "browser/script.rs"]
mod script;
#[path = "browser/soundness.rs"]
mod soundness;
