//! Figures as tables: the median with the spread, and ratios against a peer measured in the same run.

use std::fmt::Write;

/// Repeated measurements of one figure.
#[derive(Clone, Debug, Default)]
pub struct Runs(pub Vec<f64>);

impl Runs {
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }

    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }
}

/// `12,345`, or with decimals below ten.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return "-".into();
    }
    if value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// One line of a report: what, how much, over which range, and what was asked for.
pub struct Row {
    pub what: String,
    pub unit: &'static str,
    pub runs: Runs,
    pub target: Option<&'static str>,
}

/// Prints rows as a Markdown table.
pub fn print(title: &str, rows: &[Row]) {
    let mut text = format!("\n### {title}\n\n| figure | median | min – max | runs | target |\n|---|---|---|---|---|\n");
    for row in rows {
        let Row { what, unit, runs, target } = row;
        let (median, min, max) = (number(runs.median()), number(runs.min()), number(runs.max()));
        let target = target.unwrap_or("");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {what} | {median} {unit} | {min} – {max} | {} | {target} |", runs.0.len());
    }
    println!("{text}");
}

/// What two sides of a comparison are called in their reports.
pub struct Pair {
    pub ours: String,
    pub theirs: String,
}

/// Prints how many times as much of each figure we do as the peer, with the range that both spreads allow.
pub fn ratios(peer: &str, ours: &[Row], theirs: &[Row], pairs: &[Pair]) {
    let find = |rows: &[Row], what: &str| rows.iter().find(|row| row.what == what).map(|row| row.runs.clone());
    let mut text =
        format!("\n### Times {peer}, in the same run\n\n| ours | theirs | ratio | range |\n|---|---|---|---|\n");
    for pair in pairs {
        let (Some(a), Some(b)) = (find(ours, &pair.ours), find(theirs, &pair.theirs)) else { continue };
        let ratio = number(a.median() / b.median());
        let (low, high) = (number(a.min() / b.max()), number(a.max() / b.min()));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} | {} | {ratio} | {low} – {high} |", pair.ours, pair.theirs);
    }
    println!("{text}");
}
