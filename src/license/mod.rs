//! What licenses mean: the pure core.
//!
//! [`State`] is plain data; [`State::apply`] is its only mutator and [`Command`] every change there is. Nothing here
//! does IO, reads a clock, draws random numbers or depends on hashing order, so replicas that apply the same commands
//! are equal, byte for byte.

#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

mod access;
mod apply;
mod audit;
mod browser_certificate;
mod check;
mod command;
mod deletion;
mod ids;
mod image;
mod limits;
mod names;
mod outcome;
mod preview;
mod records;
mod revocation;
mod sealing;
mod server_certificate;
mod state;
mod substitution;
mod usage;

pub use access::{Action, Place, Role};
pub use audit::AuditEntry;
pub use browser_certificate::BrowserCertificate;
pub use command::{Command, Entitlement, InstanceAction, NewEvent, Request, Stamp, UserChange};
pub use deletion::{Finding, Hindrance};
pub use ids::*;
pub use limits::*;
pub use outcome::{Authorization, LicenseStatus, Outcome, Reason, Refusal, Registered};
pub use preview::EntitlementChange;
pub use records::*;
pub use revocation::{Revocation, RevocationList, RevocationReason, RevokedBlock};
pub use sealing::{Resealed, SealedPlace, Sealing, SealingKeyId};
pub use server_certificate::{
    CurrentCertificate, ServerCertificate, ServerNames, SignedCertificate, WantedCertificate,
};
pub use state::{Changes, InstanceChange, State};
pub use substitution::Loan;
pub use usage::UsageTotal;
