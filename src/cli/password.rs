//! Passwords given on the command line: by a file, by asking, or made here.

use super::error::CliError;
use super::terminal::{ask_secret, is_interactive};
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A password file is one line; more is some other file.
const MAX_PASSWORD_FILE_BYTES: u64 = 4 * 1024;

/// `--password-file`.
#[derive(clap::Args, Debug)]
pub struct PasswordFile {
    /// File with the password, - for standard input. Without it the password is asked for on a terminal; left empty, or
    /// without a terminal, one is made and printed once.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// A password, and whether it was made here: then it must be changed at the first sign-in.
pub struct Password {
    pub text: Zeroizing<String>,
    pub made: bool,
}

impl PasswordFile {
    /// The password for `name`.
    pub fn password(&self, name: &str) -> Result<Password, CliError> {
        let chosen = match &self.password_file {
            Some(file) => Some(read("password", file)?),
            None if is_interactive() => ask(name)?,
            None => None,
        };
        let made = chosen.is_none();
        Ok(Password { text: chosen.unwrap_or_else(|| Zeroizing::new(crate::pki::random::token())), made })
    }
}

impl Password {
    /// What is printed of it for people; nothing where they chose it.
    pub fn line(&self) -> String {
        match self.made {
            true => format!("Password: {} (shown once; to be changed at the first sign-in)\n", *self.text),
            false => String::new(),
        }
    }

    /// What is printed of it for programs.
    pub fn cell(&self) -> serde_json::Value {
        if self.made { super::output::cell(self.text.as_str()) } else { serde_json::Value::Null }
    }
}

/// The first line of a file, which holds a secret.
pub fn read(what: &str, file: &Path) -> Result<Zeroizing<String>, CliError> {
    let failed = |e: std::io::Error| {
        CliError::failed(format!("the {what} cannot be read from {}", file.display())).because(e.to_string())
    };
    let mut text = Zeroizing::new(String::new());
    let source: Box<dyn Read> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(std::fs::File::open(file).map_err(failed)?),
    };
    source.take(MAX_PASSWORD_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

/// None: left empty.
fn ask(name: &str) -> Result<Option<Zeroizing<String>>, CliError> {
    let first = ask_secret(&format!("Password for {name} (empty: one is made): "))?;
    if first.is_empty() {
        return Ok(None);
    }
    let second = ask_secret("Again: ")?;
    if first != second {
        return Err(CliError::failed("the two passwords differ").hint("run it again"));
    }
    Ok(Some(first))
}
