//! licraft: an on-premises license manager that stays up.
//!
//! Each room is one folder; arrows point down only. `license` means things, `store` keeps them, `raft` agrees on
//! them, and everything above asks `raft` to commit a [`license::Command`] and reads the [`license::State`].

pub mod admin;
pub mod api;
pub mod backup;
pub mod central;
pub mod cli;
pub mod config;
pub mod demo;
pub mod gui;
pub mod ha;
pub mod license;
pub mod listing;
pub mod node;
pub mod pki;
pub mod product;
pub mod raft;
pub mod service_manager;
pub mod store;
pub mod telemetry;
pub mod vip;
mod web;

/// Generated from `proto/`.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod proto {
    pub mod admin {
        tonic::include_proto!("licraft.admin");
    }
    pub mod pairing {
        tonic::include_proto!("licraft.pairing");
    }
    pub mod raft {
        tonic::include_proto!("licraft.raft");
    }
}
