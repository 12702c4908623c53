//! What virtual accounts purchased, and the history of it.

use super::{AdminReply, Caller, Entitle};
use crate::central::change::Change;
use crate::central::document::{LicenseTerms, TermTerms};
use crate::central::records::*;
use crate::central::refusal::{RefusalReason, Result, check_text, refused};
use crate::central::service::Service;
use crate::license::{MAX_COUNT, MAX_COVERS, MAX_LICENSES_PER_ACCOUNT, MAX_TERMS, Millis};

impl Service {
    /// Sets the term with this billing and end; a quantity of 0 leaves only the catalog entry.
    pub(super) fn entitle(&self, entitle: Entitle, change: &mut Change) -> Result<AdminReply> {
        let now = change.now;
        check_entitle(&entitle, now)?;
        let (smart, va, tag) = (&entitle.smart_account, &entitle.virtual_account, &entitle.tag);
        self.virtual_account(smart, va)?;
        let key = EntitlementRecord::key(smart, va, tag);
        let known = self.store.get::<EntitlementRecord>(&key)?;
        if known.is_none() && self.entitlements(smart, va)?.len() >= MAX_LICENSES_PER_ACCOUNT {
            let message =
                format!("{smart}/{va} has {MAX_LICENSES_PER_ACCOUNT} licenses, which is the most one answer carries");
            return Err(refused(RefusalReason::Invalid, message));
        }
        let before = known.clone().map(|k| (k.license.terms, k.license.covered_by));
        let (terms, covered_before) = before.unwrap_or_default();
        let terms = new_terms(&entitle, terms, now)?;
        let covered_by = match &entitle.covered_by {
            None => covered_before,
            Some(tags) => self.check_covers(smart, va, tag, tags)?,
        };
        let done = format!("{smart}/{va} has {} of {tag} ({}).", entitle.quantity, entitle.name);
        let license = LicenseTerms {
            tag: entitle.tag,
            name: entitle.name,
            export_controlled: entitle.export_controlled,
            terms,
            covered_by,
        };
        let record = EntitlementRecord {
            smart_account: entitle.smart_account,
            virtual_account: entitle.virtual_account,
            license,
        };
        if known.as_ref().is_none_or(|known| known.license != record.license) {
            change.order(known.as_ref(), Some(&record));
        }
        change.batch.put(&key, &record);
        Ok(AdminReply::Done(done))
    }

    /// The rule that `tag` is covered by `tags`, which must be other licenses there that it does not cover itself.
    fn check_covers(&self, smart: &str, va: &str, tag: &str, tags: &[String]) -> Result<Vec<String>> {
        let invalid = |message: String| Err(refused(RefusalReason::Invalid, message));
        if tags.len() > MAX_COVERS {
            return invalid(format!("a license is covered by at most {MAX_COVERS} others"));
        }
        let licenses = self.entitlements(smart, va)?;
        let mut seen: Vec<&str> = Vec::new();
        for cover in tags {
            if seen.contains(&cover.as_str()) {
                return invalid(format!("{cover} is named twice; name each license once"));
            }
            seen.push(cover);
            if !licenses.iter().any(|l| l.tag == *cover) {
                let message = format!("{smart}/{va} has no license {cover} that could cover {tag}; entitle it first");
                return Err(refused(RefusalReason::NotFound, message));
            }
        }
        let mut next = 0;
        while let Some(cover) = seen.get(next).copied() {
            if cover == tag {
                return invalid(format!("{tag} would cover itself; a higher license covers a lower one, never back"));
            }
            let above = licenses.iter().filter(|l| l.tag == cover).flat_map(|l| &l.covered_by);
            let above: Vec<&str> = above.map(String::as_str).filter(|tag| !seen.contains(tag)).collect();
            seen.extend(above);
            next += 1;
        }
        Ok(tags.to_vec())
    }

    /// The newest first, of the smart account, virtual account and license that are given.
    pub(super) fn list_orders(
        &self,
        caller: &Caller,
        wanted: (Option<&str>, Option<&str>, Option<&str>),
        limit: u64,
    ) -> Result<AdminReply> {
        let last = self.meta()?.last_order;
        let is = |wanted: Option<&str>, found: &str| wanted.is_none_or(|wanted| wanted == found);
        let mut orders = Vec::new();
        for seq in (last.saturating_sub(Order::RING) + 1..=last).rev() {
            let Some(order) = self.store.get::<Order>(&Order::key(seq))? else { break };
            let (smart, va, tag) = wanted;
            let named = is(smart, &order.smart_account) && is(va, &order.virtual_account) && is(tag, &order.tag);
            if named && caller.sees(&order.smart_account) {
                orders.push(order);
            }
            if orders.len() as u64 >= limit {
                break;
            }
        }
        Ok(AdminReply::Orders(orders))
    }
}

/// The terms with the one that has this billing and end replaced; a quantity of 0 leaves none.
fn new_terms(entitle: &Entitle, mut terms: Vec<TermTerms>, now: Millis) -> Result<Vec<TermTerms>> {
    if entitle.quantity == 0 {
        return Ok(Vec::new());
    }
    let end = entitle.term_end.map(|e| e.0);
    // Kept when not given anew: on-prem, transfers follow a term by its start.
    let same = |t: &TermTerms| (t.billing, t.end) == (entitle.billing, end);
    let known_start = terms.iter().find(|t| same(t)).map(|t| Millis(t.start));
    terms.retain(|t| !same(t));
    let start = entitle.term_start.or(known_start).unwrap_or(now).0;
    terms.push(TermTerms { quantity: entitle.quantity, start, end, billing: entitle.billing });
    if terms.len() > MAX_TERMS {
        return Err(refused(RefusalReason::Invalid, format!("a license has at most {MAX_TERMS} terms")));
    }
    Ok(terms)
}

fn check_entitle(entitle: &Entitle, now: Millis) -> Result<()> {
    check_text("license tag", &entitle.tag)?;
    check_text("license name", &entitle.name)?;
    if entitle.quantity > MAX_COUNT {
        return Err(refused(RefusalReason::Invalid, format!("the quantity is at most {MAX_COUNT}")));
    }
    let start = entitle.term_start.unwrap_or(now);
    if entitle.term_end.is_some_and(|end| end <= start) {
        return Err(refused(RefusalReason::Invalid, "the term must end after it starts"));
    }
    Ok(())
}
