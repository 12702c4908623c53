//! Whether the replicas have the same state. Equal logs must give equal states; where they do not, a program or a disk is
//! at fault, and which replica is right is what a majority of the voters has.

use std::collections::BTreeMap;

/// SHA-256 of the state and the index of the log entry after which it was taken.
pub type Digest = (u64, [u8; 32]);

/// What the digests of all say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// Nobody is known to differ.
    Equal,
    /// The state here differs from those of `peers`, and is not known to be the wrong one.
    Differs { index: u64, peers: Vec<u64> },
    /// A majority of the voters has one other state than this replica.
    Outvoted { index: u64 },
}

/// The digests that a member took.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    pub node_id: u64,
    pub voter: bool,
    pub digests: &'a [Digest],
}

impl Agreement {
    /// Compares at the newest entries after which both sides took a digest: what differed before may have been healed by
    /// a snapshot.
    #[must_use]
    pub fn of(here: Taken<'_>, peers: &[Taken<'_>], voters: usize) -> Self {
        if let Some(index) = outvoted(here, peers, voters) {
            return Self::Outvoted { index };
        }
        let differing = |peer: &Taken<'_>| {
            let both = here.digests.iter().filter_map(|(index, mine)| Some((*index, *mine == at(*peer, *index)?)));
            both.max_by_key(|(index, _)| *index).and_then(|(index, equal)| (!equal).then_some((index, peer.node_id)))
        };
        let differing: Vec<(u64, u64)> = peers.iter().filter_map(differing).collect();
        match differing.iter().map(|(index, _)| *index).max() {
            Some(index) => Self::Differs { index, peers: differing.into_iter().map(|(_, id)| id).collect() },
            None => Self::Equal,
        }
    }
}

/// A single voter may be the one at fault, so it takes another that agrees.
const AGREE: usize = 2;

/// The newest entry after which a majority has one state, when that is not the state here.
fn outvoted(here: Taken<'_>, peers: &[Taken<'_>], voters: usize) -> Option<u64> {
    let mut digests = here.digests.to_vec();
    digests.sort_unstable_by_key(|(index, _)| std::cmp::Reverse(*index));
    for (index, mine) in digests {
        let mut votes: BTreeMap<[u8; 32], usize> = BTreeMap::new();
        for member in peers.iter().chain([&here]).filter(|member| member.voter) {
            if let Some(digest) = at(*member, index) {
                *votes.entry(digest).or_default() += 1;
            }
        }
        if let Some((digest, _)) = votes.into_iter().find(|(_, count)| *count > voters / 2 && *count >= AGREE) {
            return (digest != mine).then_some(index);
        }
    }
    None
}

fn at(member: Taken<'_>, index: u64) -> Option<[u8; 32]> {
    member.digests.iter().find(|(other, _)| *other == index).map(|(_, digest)| *digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [u8; 32] = [1; 32];
    const B: [u8; 32] = [2; 32];
    const C: [u8; 32] = [3; 32];

    const fn voter(node_id: u64, digests: &[Digest]) -> Taken<'_> {
        Taken { node_id, voter: true, digests }
    }

    #[test]
    fn equal_or_unknown_digests_are_no_difference() {
        let here = voter(1, &[(5, A), (9, B)]);
        assert_eq!(Agreement::of(here, &[], 1), Agreement::Equal);
        assert_eq!(Agreement::of(here, &[voter(2, &[(9, B)]), voter(3, &[])], 3), Agreement::Equal);
        assert_eq!(Agreement::of(here, &[voter(2, &[(7, C)])], 2), Agreement::Equal);
    }

    #[test]
    fn of_two_nobody_is_outvoted() {
        let differs = |peers| Agreement::Differs { index: 9, peers };
        assert_eq!(Agreement::of(voter(1, &[(9, A)]), &[voter(2, &[(9, B)])], 2), differs(vec![2]));
        // Also while one of them has given its vote up.
        let learner = Taken { voter: false, ..voter(1, &[(9, A)]) };
        assert_eq!(Agreement::of(learner, &[voter(2, &[(9, B)])], 1), differs(vec![2]));
        // Nor of three while the third says nothing, or something else again.
        assert_eq!(Agreement::of(voter(1, &[(9, A)]), &[voter(2, &[(9, B)]), voter(3, &[])], 3), differs(vec![2]));
        let all = [voter(2, &[(9, B)]), voter(3, &[(9, C)])];
        assert_eq!(Agreement::of(voter(1, &[(9, A)]), &all, 3), differs(vec![2, 3]));
    }

    #[test]
    fn the_minority_is_outvoted_and_the_majority_is_not() {
        let (one, other) = ([(9, A)], [(9, B)]);
        let all = [voter(1, &one), voter(2, &other), voter(3, &other)];
        assert_eq!(Agreement::of(all[0], &all[1..], 3), Agreement::Outvoted { index: 9 });
        assert_eq!(Agreement::of(all[1], &[all[0], all[2]], 3), Agreement::Differs { index: 9, peers: vec![1] });
        // A learner has no say.
        let learner = Taken { voter: false, ..all[2] };
        assert_eq!(Agreement::of(all[0], &[all[1], learner], 2), Agreement::Differs { index: 9, peers: vec![2, 3] });
        assert_eq!(Agreement::of(learner, &[all[0], voter(4, &one)], 2), Agreement::Outvoted { index: 9 });
    }

    #[test]
    fn the_newest_comparison_counts() {
        let here = voter(1, &[(5, A), (9, B)]);
        let both = [voter(2, &[(5, C), (9, B)]), voter(3, &[(5, C), (9, B)])];
        assert_eq!(Agreement::of(here, &both, 3), Agreement::Equal);
        let before = [voter(2, &[(5, C)]), voter(3, &[(5, C)])];
        assert_eq!(Agreement::of(here, &before, 3), Agreement::Outvoted { index: 5 });
    }
}
