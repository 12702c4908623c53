//! What a list is asked for, and how a page is cut out of it.

use std::cmp::Ordering;

/// Which rows of a sorted list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub offset: usize,
    /// Rows at most.
    pub limit: usize,
}

impl Window {
    pub const ALL: Self = Self { offset: 0, limit: usize::MAX };
}

/// One page, and how many rows all pages have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    pub rows: Vec<T>,
    pub total: usize,
}

/// What a list can be sorted by.
pub trait Column: Copy + 'static {
    /// The columns by name; some have a second name.
    const NAMES: &'static [(&'static str, Self)];
}

/// A column and a direction: `name`, or `-name` for the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order<C> {
    pub by: C,
    pub descending: bool,
}

impl<C: Column> Order<C> {
    pub const fn ascending(by: C) -> Self {
        Self { by, descending: false }
    }

    /// # Errors
    /// For an unknown column, with those there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let known = C::NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, by)| Self { by: *by, descending }).ok_or_else(|| {
            let names: Vec<&str> = C::NAMES.iter().map(|(name, _)| *name).collect();
            format!("sort is one of {}; with a - before it the other way round", names.join(", "))
        })
    }

    /// `ordering` in this direction.
    pub(super) const fn turn(&self, ordering: Ordering) -> Ordering {
        if self.descending { ordering.reverse() } else { ordering }
    }
}

/// A text that is searched for in whatever case; an empty one is in every text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needle(String);

impl Needle {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_lowercase())
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In lower case.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Whether one of the texts has it.
    pub fn is_in<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> bool {
        self.is_empty() || texts.into_iter().any(|text| text.to_lowercase().contains(&self.0))
    }
}

/// The rows of `window` when all `rows` are in order. Rows must not be equal; only those of the window are sorted.
pub(super) fn cut<T>(mut rows: Vec<T>, window: Window, order: impl Fn(&T, &T) -> Ordering) -> Listed<T> {
    let total = rows.len();
    let from = window.offset.min(total);
    let count = window.limit.min(total - from);
    if from > 0 && from < total {
        rows.select_nth_unstable_by(from, &order);
    }
    let mut rows = rows.split_off(from);
    if count < rows.len() {
        rows.select_nth_unstable_by(count, &order);
        rows.truncate(count);
    }
    rows.sort_unstable_by(order);
    Listed { rows, total }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_what_sorting_all_would_give() {
        let all: Vec<u32> = (0..100).map(|n| n * 37 % 100).collect();
        for (offset, limit) in [(0, 0), (0, 10), (3, 1), (90, 20), (99, 1), (100, 5), (1_000, 1), (0, usize::MAX)] {
            let listed = cut(all.clone(), Window { offset, limit }, Ord::cmp);
            let expected: Vec<u32> = (0..100).skip(offset).take(limit).collect();
            assert_eq!((listed.rows, listed.total), (expected, 100), "{offset} {limit}");
        }
    }

    #[test]
    fn a_needle_is_found_in_whatever_case() {
        assert!(Needle::new(" GRÖSSE ").is_in(["none", "die größe", "grösse"]));
        assert!(!Needle::new("GRÖSSE").is_in(["grosse"]));
        assert!(Needle::new(" ").is_in(["x"]));
    }
}
