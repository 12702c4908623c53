//! Checks of a preflight or of `doctor`: lines as they come in table form, a list at the end otherwise.

use super::output::{Format, Row, cell, print_list, put};
use crate::proto::admin::{Check, CheckResult};

/// Column widths of the lines: the longest result, and most names.
const RESULT_WIDTH: usize = 7;
const NAME_WIDTH: usize = 24;

pub struct Checks {
    format: Format,
    rows: Vec<Row>,
    failed: usize,
}

impl Checks {
    pub fn new(format: Format) -> Self {
        Self { format, rows: Vec::new(), failed: 0 }
    }

    pub fn add(&mut self, check: Check) {
        let result = match check.result() {
            CheckResult::Passed => "passed",
            CheckResult::Warning => "warning",
            CheckResult::Failed | CheckResult::Unspecified => "failed",
        };
        self.failed += usize::from(result == "failed");
        let Check { name, detail, .. } = check;
        if self.format == Format::Table {
            put(&format!("{result:<RESULT_WIDTH$}  {name:<NAME_WIDTH$}  {detail}\n"));
        } else {
            self.rows
                .push(Row::new().with("result", cell(result)).with("name", cell(name)).with("detail", cell(detail)));
        }
    }

    /// Prints what was kept back; the number of failed checks.
    pub fn finish(self) -> usize {
        if self.format != Format::Table {
            print_list(self.format, "checks", &self.rows);
        }
        self.failed
    }
}
