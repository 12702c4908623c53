//! Long lists, a page at a time: what is asked for and what is shown of it.

use super::form::query;
use super::likings;
use crate::listing::{Column, Listed, Needle, Order, Window};
use http::Uri;
use url::form_urlencoded;

/// Longest search text that is looked at, in characters.
const MAX_SEARCH: usize = 128;

/// Longest name of a column, or number of a virtual account, that is looked at.
const MAX_WORD: usize = 32;

/// What the address asks for.
pub struct Asked {
    path: String,
    page: usize,
    /// Rows of one page, as the person likes it.
    rows: usize,
    /// As typed, for the search field.
    pub search: String,
    needle: String,
    /// Name of the column to sort by, led by `-` for the largest first; empty: the list's own order.
    sort: String,
    /// The virtual account that the list is cut to; empty: all.
    va: String,
    /// Further parameters that cut the list, by name.
    filters: Vec<(&'static str, String)>,
}

impl Asked {
    pub fn read(uri: &Uri) -> Self {
        let search: String = query(uri, "q").trim().chars().take(MAX_SEARCH).collect();
        let page = query(uri, "page").parse().unwrap_or(1).max(1);
        let needle = search.to_lowercase();
        let word = |name| query(uri, name).chars().take(MAX_WORD).collect();
        let (sort, va) = (word("sort"), word("va"));
        let (path, rows) = (uri.path().to_owned(), likings::rows().max(1));
        Self { path, page, rows, search, needle, sort, va, filters: Vec::new() }
    }

    /// With these further parameters of the address.
    pub fn filtered(mut self, uri: &Uri, names: &[&'static str]) -> Self {
        let value = |name| query(uri, name).trim().chars().take(MAX_SEARCH).collect();
        self.filters = names.iter().map(|name| (*name, value(name))).collect();
        self
    }

    /// What a further parameter says; empty: nothing.
    pub fn filter(&self, name: &str) -> &str {
        filter(&self.filters, name)
    }

    /// The column to sort by, and whether the largest come first.
    pub fn sort(&self) -> (&str, bool) {
        self.sort.strip_prefix('-').map_or((self.sort.as_str(), false), |column| (column, true))
    }

    /// Whether one of the texts contains what is searched for, in any case.
    pub fn matches<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> bool {
        self.needle.is_empty() || texts.into_iter().any(|t| t.to_lowercase().contains(&self.needle))
    }

    /// What is searched for, for the lists that the node keeps.
    pub fn sought(&self) -> Needle {
        Needle::new(&self.search)
    }

    /// The order that is asked for; `otherwise` where that is none of these columns.
    pub fn order<C: Column>(&self, otherwise: Order<C>) -> Order<C> {
        Order::parse(&self.sort).unwrap_or(otherwise)
    }

    /// The asked page of what `find` finds, or the last one there is.
    pub fn found<T, R>(&self, find: impl Fn(Window) -> Listed<T>, row: impl Fn(T) -> R) -> List<R> {
        let at = |page: usize| find(Window { offset: (page - 1).saturating_mul(self.rows), limit: self.rows });
        let (mut page, mut found) = (self.page, at(self.page));
        let pages = found.total.div_ceil(self.rows).max(1);
        if page > pages {
            page = pages;
            found = at(page);
        }
        self.list(found.rows.into_iter().map(row).collect(), found.total, page, pages)
    }

    /// Takes the asked page of `items`, or the last one there is; only its items become rows.
    pub fn page<T, R, I: Iterator<Item = T>>(&self, items: impl Fn() -> I, row: impl Fn(T) -> R) -> List<R> {
        let mut page = self.page;
        let (mut kept, total) = window(items(), page, self.rows);
        let pages = total.div_ceil(self.rows).max(1);
        if page > pages {
            page = pages;
            (kept, _) = window(items(), page, self.rows);
        }
        self.list(kept.into_iter().map(row).collect(), total, page, pages)
    }

    fn list<R>(&self, rows: Vec<R>, total: usize, page: usize, pages: usize) -> List<R> {
        let (path, search, sort, va) = (self.path.clone(), self.search.clone(), self.sort.clone(), self.va.clone());
        List { rows, total, page, pages, path, search, sort, va, filters: self.filters.clone() }
    }
}

/// The items of one page, and how many there are in all.
fn window<T>(items: impl Iterator<Item = T>, page: usize, rows: usize) -> (Vec<T>, usize) {
    let first = (page - 1).saturating_mul(rows);
    let (mut kept, mut total) = (Vec::new(), 0);
    for item in items {
        if total >= first && kept.len() < rows {
            kept.push(item);
        }
        total += 1;
    }
    (kept, total)
}

/// One page of a list.
pub struct List<R> {
    pub rows: Vec<R>,
    total: usize,
    page: usize,
    pages: usize,
    path: String,
    pub search: String,
    sort: String,
    pub va: String,
    filters: Vec<(&'static str, String)>,
}

impl<R> List<R> {
    /// `Showing Page 1 of 1 (4 Records)`, the words operators know.
    pub fn summary(&self) -> String {
        format!("Showing Page {} of {} ({} {})", self.page, self.pages, self.total, records(self.total))
    }

    /// `Showing All 2 Records` where all fit on one page.
    pub fn summary_all(&self) -> String {
        if self.pages > 1 {
            return self.summary();
        }
        format!("Showing All {} {}", self.total, records(self.total))
    }

    pub fn previous(&self) -> Option<String> {
        (self.page > 1).then(|| self.link(self.page - 1))
    }

    pub fn next(&self) -> Option<String> {
        (self.page < self.pages).then(|| self.link(self.page + 1))
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Sorts by a column, the other way round if that is so already.
    pub fn sort_link(&self, column: &str) -> String {
        let sort = if self.sort == column { format!("-{column}") } else { column.to_owned() };
        self.address(1, &sort)
    }

    /// For `aria-sort`: how the list is sorted by a column; empty: by another one.
    pub fn sorted(&self, column: &str) -> &'static str {
        match self.sort.strip_prefix('-') {
            Some(sorted) if sorted == column => "descending",
            None if self.sort == column => "ascending",
            _ => "",
        }
    }

    pub const fn sort(&self) -> &String {
        &self.sort
    }

    /// Whether anything is searched for or cut away.
    pub fn narrowed(&self) -> bool {
        !self.search.is_empty() || !self.va.is_empty() || self.filters.iter().any(|(_, value)| !value.is_empty())
    }

    /// What a further parameter says; empty: nothing.
    pub fn filter(&self, name: &str) -> &str {
        filter(&self.filters, name)
    }

    /// What the list is cut to, as in an address.
    pub fn narrowing(&self) -> String {
        let own = [("q", self.search.as_str()), ("va", &self.va)];
        let all = own.into_iter().chain(self.filters.iter().map(|(name, value)| (*name, value.as_str())));
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(all.filter(|(_, value)| !value.is_empty()));
        pairs.finish()
    }

    fn link(&self, page: usize) -> String {
        self.address(page, &self.sort)
    }

    fn address(&self, page: usize, sort: &str) -> String {
        let mut pairs = form_urlencoded::Serializer::for_suffix(self.narrowing(), 0);
        if !sort.is_empty() {
            pairs.append_pair("sort", sort);
        }
        pairs.append_pair("page", &page.to_string());
        format!("{}?{}", self.path, pairs.finish())
    }
}

fn filter<'a>(filters: &'a [(&'static str, String)], name: &str) -> &'a str {
    filters.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

/// A list of choices beside the search field.
pub struct Choice {
    pub name: &'static str,
    pub label: &'static str,
    /// Values with their texts; the first one is no restriction.
    pub options: Vec<(String, String)>,
}

fn records(n: usize) -> &'static str {
    if n == 1 { "Record" } else { "Records" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(uri: &str, n: usize) -> List<usize> {
        Asked::read(&uri.parse().unwrap()).page(|| 0..n, |i| i)
    }

    #[test]
    fn pages_are_cut_and_named_as_operators_know_them() {
        let all = list("/x", 4);
        assert_eq!(
            (all.summary(), all.summary_all()),
            ("Showing Page 1 of 1 (4 Records)".into(), "Showing All 4 Records".into())
        );
        assert_eq!((all.previous(), all.next()), (None, None));
        assert_eq!(list("/x", 0).summary(), "Showing Page 1 of 1 (0 Records)");

        let second = list("/x?page=2&q=a%26b", 120);
        assert_eq!(second.rows, (50..100).collect::<Vec<_>>());
        assert_eq!(second.summary_all(), "Showing Page 2 of 3 (120 Records)");
        assert_eq!(second.next().as_deref(), Some("/x?q=a%26b&page=3"));
        assert_eq!(second.previous().as_deref(), Some("/x?q=a%26b&page=1"));
    }

    #[test]
    fn a_page_beyond_the_end_is_the_last_one() {
        let last = list("/x?page=18446744073709551615", 51);
        assert_eq!((last.rows, last.page), (vec![50], 2));
        assert_eq!(list("/x?page=-1", 1).rows, [0]);
    }

    #[test]
    fn a_kept_list_is_cut_in_the_same_way() {
        let find = |uri: &str, n: usize| {
            let found = |window: Window| {
                let rows = (0..n).skip(window.offset).take(window.limit).collect();
                Listed { rows, total: n }
            };
            Asked::read(&uri.parse().unwrap()).found(found, |row| row)
        };
        for (uri, n) in [("/x", 0), ("/x?page=2&q=a", 120), ("/x?page=18446744073709551615&sort=-name", 51)] {
            let (kept, looked_at) = (find(uri, n), list(uri, n));
            assert_eq!(
                (kept.summary(), kept.next(), kept.rows),
                (looked_at.summary(), looked_at.next(), looked_at.rows)
            );
        }
    }

    #[test]
    fn a_column_sorts_one_way_and_then_the_other() {
        let all = list("/x?sort=name&va=7&page=2", 120);
        assert_eq!((all.sorted("name"), all.sorted("kind")), ("ascending", ""));
        assert_eq!(all.sort_link("name"), "/x?va=7&sort=-name&page=1");
        assert_eq!(all.next().as_deref(), Some("/x?va=7&sort=name&page=3"));
        assert_eq!(Asked::read(&"/x?sort=-in-use".parse().unwrap()).sort(), ("in-use", true));
    }

    #[test]
    fn filters_stay_from_page_to_page() {
        let uri: Uri = "/x?q=a&severity=major&page=2&other=1".parse().unwrap();
        let asked = Asked::read(&uri).filtered(&uri, &["severity", "account"]);
        assert_eq!((asked.filter("severity"), asked.filter("account"), asked.filter("other")), ("major", "", ""));
        let list = asked.page(|| 0..120, |i| i);
        assert_eq!(list.next().as_deref(), Some("/x?q=a&severity=major&page=3"));
        assert_eq!(
            (list.filter("severity"), list.narrowed(), list.narrowing().as_str()),
            ("major", true, "q=a&severity=major")
        );
    }

    #[test]
    fn search_ignores_case() {
        let asked = Asked::read(&"/x?q=%20GRÖSSE%20".parse().unwrap());
        assert!(asked.matches(["none", "die größe", "grösse"]));
        assert!(asked.sought().is_in(["grösse"]) && !asked.sought().is_in(["grosse"]));
        assert!(!asked.matches(["grosse"]));
    }
}
