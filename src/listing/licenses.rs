//! Licenses: what each virtual account has and uses of each.

use super::query::{Column, Listed, Needle, Order, Window, cut};
use crate::license::{Account, Billing, License, Pool, State, VirtualAccount};
use std::cmp::Ordering;

/// A pool with what it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct LicenseRow<'a> {
    pub account: &'a Account,
    pub va: &'a VirtualAccount,
    pub license: &'a License,
    pub pool: &'a Pool,
}

impl LicenseRow<'_> {
    /// How its first term is paid for; none without a term.
    #[must_use]
    pub fn billing(&self) -> Option<Billing> {
        self.pool.terms.first().map(|term| term.billing)
    }
}

/// What licenses can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LicenseColumn {
    License,
    Tag,
    Account,
    VirtualAccount,
    Billing,
    Purchased,
    InUse,
    Substitution,
    Balance,
    /// Those out of compliance come first.
    Alerts,
}

impl Column for LicenseColumn {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("license", Self::License),
        ("tag", Self::Tag),
        ("virtualAccount", Self::VirtualAccount),
        ("billing", Self::Billing),
        ("billingType", Self::Billing),
        ("purchased", Self::Purchased),
        ("quantity", Self::Purchased),
        ("inUse", Self::InUse),
        ("substitution", Self::Substitution),
        ("balance", Self::Balance),
        ("available", Self::Balance),
        ("alerts", Self::Alerts),
        ("status", Self::Alerts),
        ("account", Self::Account),
    ];
}

/// Which licenses are wanted.
#[derive(Clone, Debug)]
pub struct LicenseSearch {
    /// In names, tags and labels of licenses.
    pub search: Needle,
    /// Only those with this label; empty for all.
    pub label: String,
    pub in_compliance: Option<bool>,
    pub order: Order<LicenseColumn>,
    pub window: Window,
}

/// The licenses of these virtual accounts that `wanted` asks for.
pub fn licenses<'a>(
    state: &'a State,
    vas: impl IntoIterator<Item = &'a VirtualAccount>,
    wanted: &LicenseSearch,
) -> Listed<LicenseRow<'a>> {
    let row = |va: &'a VirtualAccount, pool: &'a Pool| {
        let (account, license) = (state.account(va.account)?, state.license(pool.license)?);
        Some(LicenseRow { account, va, license, pool })
    };
    let all = vas.into_iter().flat_map(|va| state.pools(va.id).filter_map(move |pool| row(va, pool)));
    let found = all.filter(|row| {
        let covered = row.pool.out_of_compliance_since.is_none();
        wanted.in_compliance.is_none_or(|wanted| wanted == covered)
            && (wanted.label.is_empty() || row.license.labels.contains(&wanted.label))
            && wanted
                .search
                .is_in([&row.license.name, &row.license.tag].into_iter().chain(&row.license.labels).map(String::as_str))
    });
    cut(found.collect(), wanted.window, |a, b| wanted.order.turn(compare(wanted.order.by, a, b)))
}

fn compare(by: LicenseColumn, a: &LicenseRow<'_>, b: &LicenseRow<'_>) -> Ordering {
    let by_column = match by {
        LicenseColumn::License => Ordering::Equal,
        LicenseColumn::Tag => a.license.tag.cmp(&b.license.tag),
        LicenseColumn::Account => a.account.name.cmp(&b.account.name),
        LicenseColumn::VirtualAccount => a.va.name.cmp(&b.va.name),
        LicenseColumn::Billing => a.billing().cmp(&b.billing()),
        LicenseColumn::Purchased => a.pool.purchased.cmp(&b.pool.purchased),
        LicenseColumn::InUse => a.pool.in_use.cmp(&b.pool.in_use),
        LicenseColumn::Substitution => a.pool.substitution.cmp(&b.pool.substitution),
        LicenseColumn::Balance => a.pool.balance().cmp(&b.pool.balance()),
        LicenseColumn::Alerts => {
            let covered = |row: &LicenseRow<'_>| row.pool.out_of_compliance_since.is_none();
            covered(a).cmp(&covered(b))
        }
    };
    let name = |row: &LicenseRow<'_>| (row.pool.license, row.pool.va);
    by_column
        .then_with(|| a.license.name.cmp(&b.license.name))
        .then_with(|| a.va.name.cmp(&b.va.name))
        .then_with(|| name(a).cmp(&name(b)))
}
