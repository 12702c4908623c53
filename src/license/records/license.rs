//! Licenses, and what a virtual account has of each.

use super::*;

/// How a quantity is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Billing {
    Prepaid,
    Usage,
}

/// One purchased quantity. `end` none: perpetual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    pub quantity: u64,
    pub start: Millis,
    pub end: Option<Millis>,
    pub billing: Billing,
}

impl Term {
    /// Whether it counts at `at`.
    #[must_use]
    pub fn in_force(&self, at: Millis) -> bool {
        self.start <= at && self.end.is_none_or(|end| at < end)
    }
}

/// A license known to this server. Comes from central's catalog; a tag not in it is an unknown license.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct License {
    pub id: LicenseId,
    pub account: AccountId,
    /// The entitlement tag products ask for, unique within the account.
    pub tag: String,
    /// What people read.
    pub name: String,
    pub export_controlled: bool,
    /// Entitlement tags of the licenses whose spare ones cover what lacks of this one, the preferred first.
    pub covered_by: Vec<String>,
    /// What operators call it by to find it again, sorted; at most [`crate::license::MAX_LABELS`]. Central knows nothing of
    /// them.
    pub labels: Vec<String>,
}

/// What one virtual account has and uses of one license.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    pub va: VirtualAccountId,
    pub license: LicenseId,
    /// At most [`crate::license::MAX_TERMS`] terms.
    pub terms: Vec<Term>,
    /// Sum of the terms in force when the pool was last evaluated; kept.
    pub purchased: u64,
    /// When `purchased` was computed; the next term boundary after it is where it changes.
    pub evaluated: Millis,
    /// Sum over the instances of this virtual account; kept.
    pub in_use: u64,
    /// Net count lent (negative) or borrowed (positive) by substitution.
    pub substitution: i64,
    /// Since when `in_use` exceeds what covers it.
    pub out_of_compliance_since: Option<Millis>,
    /// The last day on which these counts changed; none while nothing was ever purchased or used. The days before are in
    /// the [`UsageHistory`], which outlives the pool.
    pub last_day: Option<UsageDay>,
}

impl Pool {
    /// Purchased plus substituted minus in use: below zero is out of compliance.
    #[must_use]
    pub const fn balance(&self) -> i64 {
        // Counts are limited to MAX_COUNT (2^40), so these casts are exact.
        self.purchased as i64 + self.substitution - self.in_use as i64
    }

    /// Sum of the terms in force at `at`: a term is in force from its start up to, not including, its end.
    #[must_use]
    pub fn purchased_at(&self, at: Millis) -> u64 {
        self.terms.iter().filter(|t| t.in_force(at)).map(|t| t.quantity).sum()
    }

    /// When, after the last evaluation, something follows from the terms: one starts or ends, ends within `lead`, or its
    /// end is no news any more.
    pub(in crate::license) fn next_boundary(&self, lead: u64) -> Option<Millis> {
        let starts = self.terms.iter().map(|t| t.start);
        let ends = self.terms.iter().filter_map(|t| t.end);
        let ends = ends.flat_map(|end| [Millis(end.0.saturating_sub(lead)), end, end.plus(LICENSES_EXPIRED_SHOWN)]);
        starts.chain(ends).filter(|b| *b > self.evaluated).min()
    }

    /// The next end of a term, at most `lead` after the last evaluation, that leaves fewer licenses, and how many fewer.
    #[must_use]
    pub fn expiring(&self, lead: u64) -> Option<(Millis, u64)> {
        let ends = self.terms.iter().filter_map(|t| t.end);
        let soon = ends.filter(|end| *end > self.evaluated && *end <= self.evaluated.plus(lead));
        let fewer = |end: Millis| self.purchased_before(end).saturating_sub(self.purchased_at(end));
        soon.map(|end| (end, fewer(end))).filter(|(_, fewer)| *fewer > 0).min()
    }

    /// The newest end of a term that is still news, and how many licenses fewer there are since.
    #[must_use]
    pub fn expired(&self) -> Option<(Millis, u64)> {
        let ends = self.terms.iter().filter_map(|t| t.end);
        let news = ends.filter(|end| *end <= self.evaluated && self.evaluated < end.plus(LICENSES_EXPIRED_SHOWN));
        let fewer = |end: Millis| self.purchased_before(end).saturating_sub(self.purchased);
        news.map(|end| (end, fewer(end))).filter(|(_, fewer)| *fewer > 0).max()
    }

    fn purchased_before(&self, at: Millis) -> u64 {
        self.purchased_at(Millis(at.0.saturating_sub(1)))
    }
}
