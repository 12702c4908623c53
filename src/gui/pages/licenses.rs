//! Licenses: what each virtual account has and uses of each.

use crate::gui::App;
use crate::gui::list::{Asked, List};
use crate::gui::view::{Badge, Shell, Time, Tone, Viewer, page};
use crate::license::{Account, Billing, License, Pool, State, VirtualAccount};
use askama::Template;
use axum::Extension;
use axum::extract;
use axum::response::Response;
use http::{StatusCode, Uri};
use std::sync::Arc;

/// What an administrator of the incumbent searches for.
const INSUFFICIENT: &str = "Insufficient Licenses";

struct LicenseRow {
    name: String,
    tag: String,
    account: String,
    virtual_account: String,
    billing: &'static str,
    purchased: u64,
    in_use: u64,
    substitution: i64,
    balance: i64,
    alert: Option<Badge>,
    since: Option<Time>,
}

/// A pool with what it belongs to.
struct Found<'a> {
    account: &'a Account,
    va: &'a VirtualAccount,
    license: &'a License,
    pool: &'a Pool,
}

impl LicenseRow {
    fn of(found: &Found<'_>) -> Self {
        let Found { account, va, license, pool } = found;
        Self {
            name: if license.name.is_empty() { license.tag.clone() } else { license.name.clone() },
            tag: license.tag.clone(),
            account: account.name.clone(),
            virtual_account: va.name.clone(),
            billing: billing(pool),
            purchased: pool.purchased,
            in_use: pool.in_use,
            substitution: pool.substitution,
            balance: pool.balance(),
            alert: (pool.balance() < 0).then_some(Badge(Tone::Bad, INSUFFICIENT)),
            since: pool.out_of_compliance_since.map(Time),
        }
    }
}

/// How the terms in force are paid for.
fn billing(pool: &Pool) -> &'static str {
    let has = |billing| pool.terms.iter().any(|t| t.in_force(pool.evaluated) && t.billing == billing);
    match (has(Billing::Prepaid), has(Billing::Usage)) {
        (true, true) => "Prepaid, usage",
        (true, false) => "Prepaid",
        (false, true) => "Usage",
        (false, false) => "\u{2013}",
    }
}

/// The pools that match and are the viewer's to see, by license name.
fn found<'a>(state: &'a State, asked: &Asked, viewer: &Viewer) -> Vec<Found<'a>> {
    let mut all = Vec::new();
    for account in state.accounts() {
        for va in state.virtual_accounts(account.id).filter(|va| viewer.sees_virtual_account(va.id, state)) {
            for pool in state.pools(va.id) {
                let Some(license) = state.license(pool.license) else { continue };
                let alert = if pool.balance() < 0 { INSUFFICIENT } else { "" };
                if asked.matches([license.name.as_str(), &license.tag, &account.name, &va.name, alert]) {
                    all.push(Found { account, va, license, pool });
                }
            }
        }
    }
    all.sort_by_key(|f| (&f.license.name, &f.license.tag, &f.account.name, &f.va.name));
    all
}

#[derive(Template)]
#[template(path = "licenses.html")]
struct LicensesPage {
    shell: Shell,
    list: List<LicenseRow>,
}

pub async fn show(
    extract::State(app): extract::State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    uri: Uri,
) -> Response {
    let state = app.context.ledger.state();
    let asked = Asked::read(&uri);
    let all = found(&state, &asked, &viewer);
    let list = asked.page(|| all.iter(), LicenseRow::of);
    page(StatusCode::OK, &LicensesPage { shell: Shell::new(&state, &viewer, "/licenses", "Licenses"), list })
}
