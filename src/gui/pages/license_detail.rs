//! About one license: the calculation of its substitution, and what happened to it.

use super::events::EventRow;
use super::licenses::name;
use crate::gui::view::{Time, Viewer, severity};
use crate::license::{Account, Alert, License, LicenseId, Loan, Millis, State, Subject, VirtualAccount};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Entries of the history on the page, newest first.
const HISTORY: usize = 50;

/// By which rules of the vendor the license may be covered, and whom it may cover.
pub struct Rules {
    pub covered_by: Vec<String>,
    pub covers: Vec<String>,
}

impl Rules {
    pub fn of(state: &State, license: &License) -> Self {
        let by_tag = |tag: &String| state.license_by_tag(license.account, tag).map(name);
        let covered = state.licenses(license.account).filter(|other| other.covered_by.contains(&license.tag));
        Self { covered_by: license.covered_by.iter().filter_map(by_tag).collect(), covers: covered.map(name).collect() }
    }

    pub fn any(&self) -> bool {
        !self.covered_by.is_empty() || !self.covers.is_empty()
    }
}

/// A license in the calculation: what it has and uses, what it borrowed and lent, and what is left of that.
pub struct Line {
    pub id: u64,
    pub name: String,
    pub purchased: u64,
    pub in_use: u64,
    pub borrowed: u64,
    pub lent: u64,
    pub balance: i64,
}

/// So many of one license stand in for another one.
pub struct LoanRow {
    pub from: String,
    pub to: String,
    pub count: u64,
    pub lacked: u64,
    pub spare: u64,
    /// The rules that allow it, each from a license to the one that covers it.
    pub rules: String,
}

/// Who lends how much to whom in a virtual account, among the licenses that rules connect with one.
pub struct Calculation {
    pub va: String,
    pub lines: Vec<Line>,
    pub loans: Vec<LoanRow>,
}

impl Calculation {
    /// None where nothing is lent.
    pub fn of(state: &State, va: &VirtualAccount, license: &License) -> Option<Self> {
        let loans = state.loans(va.id, license.id);
        if loans.is_empty() {
            return None;
        }
        let named = |id: LicenseId| state.license(id).map(name).unwrap_or_default();
        let line = |id: &LicenseId| {
            let sum = |of: fn(&Loan) -> LicenseId| loans.iter().filter(|l| of(l) == *id).map(|l| l.count).sum();
            let (borrowed, lent): (u64, u64) = (sum(|l| l.to), sum(|l| l.from));
            let pool = state.pool(va.id, *id)?;
            let (purchased, in_use, balance) = (pool.purchased, pool.in_use, pool.balance());
            Some(Line { id: id.0, name: named(*id), purchased, in_use, borrowed, lent, balance })
        };
        let row = |loan: &Loan| LoanRow {
            from: named(loan.from),
            to: named(loan.to),
            count: loan.count,
            lacked: loan.lacked,
            spare: loan.spare,
            rules: state
                .rules_between(loan.to, loan.from)
                .into_iter()
                .map(named)
                .collect::<Vec<_>>()
                .join(" \u{2192} "),
        };
        let lines = state.connected(license.id).iter().filter_map(line).collect();
        Some(Self { va: va.name.clone(), lines, loans: loans.iter().map(row).collect() })
    }
}

/// What happened to a license in these virtual accounts, newest first: events, and alerts that came and went.
pub fn history(
    state: &State,
    viewer: &Viewer,
    vas: &[(&Account, &VirtualAccount)],
    license: &License,
) -> Vec<EventRow> {
    let sources: BTreeSet<String> =
        vas.iter().filter_map(|(_, va)| state.pool_alert_source(va.id, license.id)).collect();
    let about = |alert: &Alert| sources.contains(&alert.key.source);
    let events = state.events(0).filter(|e| e.is_about(Subject::License(license.id)) && viewer.sees_event(e, state));
    let mut rows: Vec<(Millis, EventRow)> = events.map(|event| (event.at, EventRow::of(state, event))).collect();
    for past in state.past_alerts(0).filter(|past| about(&past.alert)) {
        rows.push((past.alert.raised, row(&past.alert, past.alert.raised, "raised", String::new())));
        rows.push((past.cleared, row(&past.alert, past.cleared, "cleared", past.cleared_by.clone())));
    }
    for alert in state.alerts().filter(|alert| about(alert)) {
        rows.push((alert.raised, row(alert, alert.raised, "raised", String::new())));
    }
    // Stable: what happened at one time stays in its order.
    rows.reverse();
    rows.sort_by_key(|(at, _)| Reverse(*at));
    rows.truncate(HISTORY);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// An alert that came or went, as an event.
fn row(alert: &Alert, at: Millis, what: &str, by: String) -> EventRow {
    EventRow {
        at: Time(at),
        severity: severity(alert.severity),
        account: String::new(),
        kind: format!("alert-{what}"),
        message: format!("{} {what}: {}", alert.key.kind.title(), alert.message),
        actor: if by.is_empty() { "\u{2013}".to_owned() } else { by },
    }
}
