//! Pictures, as numbers for inline SVG: bars of what is used of what was purchased, the cluster, who was active when.

use super::availability::NodeView;
use crate::license::{Millis, Pool, VirtualAccount};
use crate::web::view::minute;

/// Width of a bar's full length, in units of the drawing.
const LENGTH: u64 = 300;

/// What a virtual account uses of what it has.
pub struct Bar {
    pub label: String,
    pub has: i64,
    pub in_use: u64,
    /// Lengths, of [`LENGTH`].
    pub has_length: u64,
    pub use_length: u64,
    pub short: bool,
}

impl Bar {
    /// The same in words.
    pub fn sentence(&self) -> String {
        let balance = self.has - i64::try_from(self.in_use).unwrap_or(i64::MAX);
        format!("{}: {} in use of {}, balance {balance}", self.label, self.in_use, self.has)
    }

    pub fn of(va: &VirtualAccount, pool: &Pool) -> Self {
        // Counts are limited to 2^40, so this cast is exact.
        let has = pool.purchased as i64 + pool.substitution;
        let most = has.unsigned_abs().max(pool.in_use).max(1);
        let length = |n: u64| n.saturating_mul(LENGTH) / most;
        Self {
            label: va.name.clone(),
            has,
            in_use: pool.in_use,
            has_length: length(u64::try_from(has).unwrap_or(0)),
            use_length: length(pool.in_use),
            short: pool.balance() < 0,
        }
    }
}

/// A node in the drawing of the cluster.
pub struct Box {
    pub x: u64,
    pub name: String,
    pub word: &'static str,
    pub tone: &'static str,
    pub holder: bool,
    /// How it follows, for all but the active node.
    pub follows: Option<String>,
}

/// Distance of two boxes, and the width of one.
const STEP: u64 = 220;
const WIDTH: u64 = 190;
/// Room for so many boxes, so that fewer are not drawn larger.
const LEAST: usize = 3;

/// The cluster: who holds the address and who follows whom.
pub struct Cluster {
    pub boxes: Vec<Box>,
    pub width: u64,
    pub vip: String,
    /// Where the lines of replication begin: the middle of the active node; none without one.
    pub active_x: Option<u64>,
}

impl Cluster {
    pub fn of(nodes: &[NodeView], vip: &str, holder: &str) -> Self {
        let boxes: Vec<Box> = nodes
            .iter()
            .zip(0..)
            .map(|(node, n)| Box {
                x: n * STEP + 5,
                name: node.name.clone(),
                word: node.badge.1,
                tone: node.badge.0.class(),
                holder: node.name == holder && !vip.is_empty(),
                follows: (!node.active()).then(|| node.replication.clone()),
            })
            .collect();
        let active_x = nodes.iter().position(NodeView::active).map(|n| boxes[n].x + WIDTH / 2);
        let width = boxes.len().max(LEAST) as u64 * STEP;
        Self { boxes, width, vip: vip.to_owned(), active_x }
    }
}

impl Box {
    pub const fn middle(&self) -> u64 {
        self.x + WIDTH / 2
    }
}

/// A time for which one node was active.
pub struct Span {
    pub x: u64,
    pub width: u64,
    /// Row of the node.
    pub y: u64,
    pub title: String,
}

/// Who was active when.
pub struct Timeline {
    /// Name of each node, with the place of its row.
    pub rows: Vec<(String, u64)>,
    pub spans: Vec<Span>,
    pub height: u64,
    pub from: String,
}

/// Where the rows begin, and how long the whole time is.
const NAMES: u64 = 160;
const TIME: u64 = 620;
const ROW: u64 = 28;

impl Timeline {
    /// From the changes (when, who, why), oldest first, up to `now`; None before any.
    pub fn of(changes: &[(Millis, String, String)], now: Millis) -> Option<Self> {
        let from = changes.first()?.0;
        let all = now.0.saturating_sub(from.0).max(1);
        let place = |at: Millis| NAMES + at.0.saturating_sub(from.0).min(all) * TIME / all;
        let mut names: Vec<&String> = Vec::new();
        changes.iter().for_each(|(_, name, _)| {
            if !names.contains(&name) {
                names.push(name);
            }
        });
        let row = |name: &String| names.iter().position(|known| *known == name).unwrap_or(0) as u64 * ROW;
        let ends = changes.iter().skip(1).map(|(at, ..)| *at).chain([now]);
        let spans = changes.iter().zip(ends).map(|((at, name, cause), end)| Span {
            x: place(*at),
            // However short, it is seen.
            width: (place(end) - place(*at)).max(2),
            y: row(name),
            title: format!("{name} active from {}: {cause}", minute(*at)),
        });
        let spans = spans.collect();
        let height = names.len() as u64 * ROW;
        Some(Self {
            rows: names.iter().map(|name| ((*name).clone(), row(name))).collect(),
            spans,
            height,
            from: minute(from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_follow_each_other_and_end_now() {
        let at = |ms: u64, name: &str| (Millis(ms), name.to_owned(), "start".to_owned());
        assert!(Timeline::of(&[], Millis(5)).is_none());
        let line = Timeline::of(&[at(1_000, "a"), at(2_000, "b"), at(3_000, "a")], Millis(5_000)).unwrap();
        assert_eq!((line.rows.len(), line.from.as_str()), (2, "1970-01-01 00:00 UTC"));
        let places: Vec<_> = line.spans.iter().map(|s| (s.x, s.width, s.y)).collect();
        assert_eq!(places, [(160, 155, 0), (315, 155, 28), (470, 310, 0)]);
    }
}
