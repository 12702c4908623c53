//! Searches for product instances.

use super::directory::{Directory, GONE, Group};
use super::query::{Column, Listed, Needle, Order, Window, cut};
use crate::license::{AccountId, InstanceId, LicenseId, State, VirtualAccountId};
use memchr::memmem;

/// Where to look.
#[derive(Clone, Copy, Debug)]
pub enum Within<'a> {
    Server,
    Account(AccountId),
    VirtualAccounts(&'a [VirtualAccountId]),
}

/// What instances can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceColumn {
    /// The order in which they were registered.
    Registered,
    Name,
    ProductType,
    VirtualAccount,
    LastContact,
    /// Those out of compliance come first.
    Compliance,
}

impl Column for InstanceColumn {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("registered", Self::Registered),
        ("name", Self::Name),
        ("productType", Self::ProductType),
        ("virtualAccount", Self::VirtualAccount),
        ("lastContact", Self::LastContact),
        ("inCompliance", Self::Compliance),
        ("alerts", Self::Compliance),
    ];
}

/// Which instances are wanted.
#[derive(Clone, Debug)]
pub struct InstanceSearch<'a> {
    pub within: Within<'a>,
    /// In host names, device identities and product types; beyond one account also in the names of accounts.
    pub search: Needle,
    /// Exactly this one.
    pub product_type: Option<&'a str>,
    pub in_compliance: Option<bool>,
    pub order: Order<InstanceColumn>,
    /// Only those registered after this one.
    pub after: Option<InstanceId>,
    pub window: Window,
}

/// What a search decides about a whole group.
#[derive(Clone, Copy)]
struct Verdict {
    wanted: bool,
    /// Has the text that is searched for, whatever its instances are called.
    found: bool,
    /// Its place in the order, where that is the group's.
    rank: u64,
}

impl Directory {
    /// The instances that `wanted` asks for; `total` counts them without regard to `after`.
    #[must_use]
    pub fn find(&self, wanted: &InstanceSearch<'_>) -> Listed<InstanceId> {
        let verdicts = self.verdicts(wanted);
        let hits = (!wanted.search.is_empty()).then(|| self.hits(wanted.search.text()));
        let first = wanted.after.map_or(0, |after| self.ids.partition_point(|id| *id <= after));
        let by = wanted.order.by;
        let mut total = 0;
        let mut found: Vec<(u64, u32)> = Vec::new();
        let mut look = |row: u32, place: u64| {
            let Some(verdict) = verdicts.get(self.group_of[row as usize] as usize) else { return };
            let hit = verdict.found || hits.as_ref().is_none_or(|hits| hits[row as usize]);
            if !verdict.wanted || !hit {
                return;
            }
            total += 1;
            if row as usize >= first {
                let key = match by {
                    InstanceColumn::Registered | InstanceColumn::Name => place,
                    InstanceColumn::LastContact => self.last_contact[row as usize],
                    // The rank of a group and then the name; there are fewer than 2^32 of either.
                    _ => (verdict.rank << 32) | place,
                };
                found.push((key, row));
            }
        };
        match by {
            InstanceColumn::Registered | InstanceColumn::LastContact => {
                (0..self.ids.len() as u32).for_each(|row| look(row, u64::from(row)));
            }
            _ => self.by_name.iter().zip(0..).for_each(|(row, place)| look(*row, place)),
        }
        let page = cut(found, wanted.window, |a, b| wanted.order.turn(a.cmp(b)));
        Listed { rows: page.rows.into_iter().map(|(_, row)| self.ids[row as usize]).collect(), total }
    }

    fn verdicts(&self, wanted: &InstanceSearch<'_>) -> Vec<Verdict> {
        let state = &**self.state();
        let sees_compliance = wanted.in_compliance.is_some() || wanted.order.by == InstanceColumn::Compliance;
        let mut verdicts: Vec<Verdict> = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let va = state.virtual_account(group.va);
            let mut verdict = Verdict { wanted: false, found: false, rank: 0 };
            verdict.wanted = match wanted.within {
                Within::Server => true,
                Within::Account(account) => va.is_some_and(|va| va.account == account),
                Within::VirtualAccounts(vas) => vas.contains(&group.va),
            } && wanted.product_type.is_none_or(|wanted| *wanted == *group.product_type);
            if verdict.wanted && sees_compliance {
                let covered = covered(state, group);
                verdict.wanted = wanted.in_compliance.is_none_or(|wanted| wanted == covered);
                verdict.rank = u64::from(covered);
            }
            if verdict.wanted && !wanted.search.is_empty() {
                let account = va.and_then(|va| state.account(va.account));
                let names = [va.map(|va| va.name.as_str()), account.map(|account| account.name.as_str())];
                let beyond = names.into_iter().flatten().filter(|_| matches!(wanted.within, Within::Server));
                verdict.found = wanted.search.is_in(beyond.chain([&*group.product_type]));
            }
            verdicts.push(verdict);
        }
        match wanted.order.by {
            InstanceColumn::ProductType => self.rank(&mut verdicts, |group| group.product_type.to_lowercase()),
            InstanceColumn::VirtualAccount => self.rank(&mut verdicts, |group| {
                state.virtual_account(group.va).map(|va| va.name.to_lowercase()).unwrap_or_default()
            }),
            _ => {}
        }
        verdicts
    }

    /// Gives groups their ranks in the order of a name; equal names, equal ranks.
    fn rank(&self, verdicts: &mut [Verdict], name: impl Fn(&Group) -> String) {
        let mut names: Vec<(String, usize)> = self.groups.iter().map(name).zip(0..).collect();
        names.sort_unstable();
        let (mut rank, mut last) = (0, None);
        for (name, group) in &names {
            rank += u64::from(last.is_some_and(|last| last != name));
            verdicts[*group].rank = rank;
            last = Some(name);
        }
    }

    /// Row by row, whether its text has `text`, which is in lower case.
    fn hits(&self, text: &str) -> Vec<bool> {
        let mut hits = vec![false; self.ids.len()];
        let finder = memmem::Finder::new(text);
        let (mut row, mut at) = (0, 0);
        // A text with a line end would be found across two rows.
        while let Some(found) = finder.find(&self.texts[at..]).filter(|_| !text.contains('\n')) {
            let place = at + found;
            // The next few rows are the likely ones; far ones are halved down to.
            let near = self.starts[row..].iter().take(8).position(|start| *start as usize > place);
            row = match near {
                Some(ahead) => row + ahead - 1,
                None => self.starts.partition_point(|start| *start as usize <= place) - 1,
            };
            hits[row] = true;
            row += 1;
            match self.starts.get(row) {
                Some(start) => at = *start as usize,
                None => break,
            }
        }
        hits
    }
}

/// Whether every license of the group is covered in its virtual account.
fn covered(state: &State, group: &Group) -> bool {
    let short =
        |license: &LicenseId| state.pool(group.va, *license).is_some_and(|pool| pool.out_of_compliance_since.is_some());
    !group.licenses.iter().any(short)
}

const _: () = assert!(GONE as u64 > crate::license::MAX_INSTANCES);
