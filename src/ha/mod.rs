//! The life of the cluster: pairing, provision, deploy, start, stop, switchover, status.

mod address;
pub mod control;
mod deploy;
pub mod desk;
mod drill;
mod epoch;
mod fence;
pub mod finding;
pub mod gray;
pub mod identity;
pub mod join;
mod leave;
pub mod leftover;
pub mod pairing;
pub mod ports;
mod preflight;
mod promote;
pub mod running;
mod set_aside;
pub mod shared;
pub mod status;
pub mod supervisor;
pub mod switch;
mod switchover;
mod teardown;
mod upstream;
