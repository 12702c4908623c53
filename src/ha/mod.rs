//! The life of the cluster: pairing, provision, deploy, start, stop, switchover, status.

pub mod identity;
pub mod join;
pub mod pairing;
pub mod ports;
pub mod status;
