//! One declaration of a row gives all three forms of output: table, JSON and plain.

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use std::io::Write;

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: an array of objects, or one object.
    Json,
    /// For shell scripts: tab-separated values without a heading.
    Plain,
}

/// Named values in the order shown.
#[derive(Clone, Debug, Default)]
pub struct Row {
    cells: Vec<(&'static str, Value, bool)>,
}

impl Row {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A column; its heading is made of `key`: `smart_account` gives `Smart Account`.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: Value) -> Self {
        self.cells.push((key, value, true));
        self
    }

    /// A value that is in JSON only, lest tables get too wide.
    #[must_use]
    pub fn json_only(mut self, key: &'static str, value: Value) -> Self {
        self.cells.push((key, value, false));
        self
    }

    fn shown(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.cells.iter().filter(|(.., shown)| *shown).map(|(key, value, _)| (*key, value))
    }

    fn plain(&self) -> String {
        let cells: Vec<String> = self.shown().map(|(_, v)| text(v, "").replace(['\t', '\n'], " ")).collect();
        cells.join("\t")
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.cells.len()))?;
        for (key, value, _) in &self.cells {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// A value of a row.
pub fn cell(value: impl Into<Value>) -> Value {
    value.into()
}

/// Text, or nothing where it is empty.
pub fn text_or_none(value: &str) -> Value {
    if value.is_empty() { Value::Null } else { value.into() }
}

/// A time of the API (milliseconds, 0 for none) in RFC 3339.
pub fn time(ms: u64) -> Value {
    if ms == 0 { Value::Null } else { crate::admin::rfc3339(crate::license::Millis(ms)).into() }
}

/// The word of an enumeration's value: `ACCOUNT_STATUS_ACTIVE` gives `active`.
pub fn enum_word(name: &str, prefix: &str) -> Value {
    name.trim_start_matches(prefix).to_ascii_lowercase().replace('_', "-").into()
}

/// Prints a list. An empty one says so in table form, naming `things`.
pub fn print_list(format: Format, things: &str, rows: &[Row]) {
    match format {
        Format::Json => print_json(&rows),
        Format::Plain => put(&rows.iter().map(|r| r.plain() + "\n").collect::<String>()),
        Format::Table if rows.is_empty() => put(&format!("No {things}.\n")),
        Format::Table => put(&format!("{}\n", table(rows))),
    }
}

/// Prints one thing: in table form a line a value.
pub fn print_one(format: Format, row: &Row) {
    match format {
        Format::Json => print_json(row),
        Format::Plain => put(&(row.plain() + "\n")),
        Format::Table => {
            let width = row.cells.iter().map(|(key, ..)| key.len() + 1).max().unwrap_or(0);
            let lines = row
                .cells
                .iter()
                .map(|(key, value, _)| format!("{:<width$}  {}\n", heading(key) + ":", text(value, "-")));
            put(&lines.collect::<String>());
        }
    }
}

/// Prints one row of a stream that may go on for ever: JSON is an object a line.
pub fn print_streamed(format: Format, row: &Row, line: &str) {
    match format {
        Format::Json => put(&format!("{}\n", serde_json::to_string(row).unwrap_or_default())),
        Format::Plain => put(&(row.plain() + "\n")),
        Format::Table => put(&format!("{line}\n")),
    }
}

/// Prints `value` as indented JSON.
pub fn print_json(value: &impl Serialize) {
    // Rows and statuses have text keys and finite numbers only: they always serialise.
    put(&format!("{}\n", serde_json::to_string_pretty(value).unwrap_or_default()));
}

/// Writes to standard output. A reader that has gone (`| head`) ends the program quietly, as other tools do.
pub fn put(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    if let Some(first) = rows.first() {
        table.set_header(first.shown().map(|(key, _)| heading(key).to_uppercase()));
    }
    for row in rows {
        table.add_row(row.shown().map(|(_, v)| text(v, "-")));
    }
    let numeric = |i: usize| rows.iter().all(|r| r.shown().nth(i).is_some_and(|(_, v)| v.is_number()));
    let columns = table.column_count();
    for i in 0..columns {
        if let Some(column) = table.column_mut(i) {
            column.set_padding((0, 2));
            if numeric(i) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table
}

fn heading(key: &str) -> String {
    let words = key.split('_').map(|w| match w.chars().next() {
        Some(first) if w != "id" => first.to_uppercase().collect::<String>() + &w[first.len_utf8()..],
        _ => w.to_uppercase(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn text(value: &Value, none: &str) -> String {
    match value {
        Value::Null => none.to_owned(),
        Value::String(s) => s.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(values) => values.iter().map(|v| text(v, none)).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row::new()
            .with("id", cell(7))
            .with("smart_account", cell("A\tB"))
            .with("due", time(0))
            .json_only("x", cell(true))
    }

    #[test]
    fn headings_come_from_keys() {
        assert_eq!(heading("smart_account"), "Smart Account");
        assert_eq!(heading("id"), "ID");
    }

    #[test]
    fn plain_has_tabs_only_between_values() {
        assert_eq!(row().plain(), "7\tA B\t");
    }

    #[test]
    fn json_keeps_the_order_and_has_all() {
        let json = serde_json::to_string(&row()).unwrap();
        assert_eq!(json, r#"{"id":7,"smart_account":"A\tB","due":null,"x":true}"#);
    }

    #[test]
    fn tables_have_headings_and_dashes() {
        let text = table(&[row()]).to_string();
        assert!(text.starts_with("ID  SMART ACCOUNT  DUE"), "{text}");
        assert!(text.lines().nth(1).unwrap().trim_end().ends_with('-'), "{text}");
    }
}
