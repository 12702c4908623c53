//! Talking with a person: questions, passwords without echo, spinners. Nothing is asked without a terminal.

use super::error::CliError;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
use std::time::Duration;
use zeroize::Zeroizing;

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// `-y/--yes`.
#[derive(clap::Args, Debug)]
pub struct Yes {
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
}

impl Yes {
    /// Goes on only when `question` is answered with yes.
    pub fn confirm(&self, question: &str) -> Result<(), CliError> {
        if self.yes {
            return Ok(());
        }
        if !is_interactive() {
            return Err(CliError::usage("this needs a confirmation, and there is no terminal to ask on")
                .because(question.to_owned())
                .hint("repeat it with --yes"));
        }
        match ask(&format!("{question} [y/N] "))?.to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(CliError::failed("nothing was done").because("you did not say yes")),
        }
    }

    /// As [`Self::confirm`], for what cannot be taken back: only the whole word goes on. `question` says so.
    pub fn insist(&self, question: &str) -> Result<(), CliError> {
        if self.yes {
            return Ok(());
        }
        if !is_interactive() {
            return Err(CliError::usage("this needs a confirmation, and there is no terminal to ask on")
                .hint("repeat it with --yes"));
        }
        match ask(question)?.as_str() {
            "yes" => Ok(()),
            _ => Err(CliError::failed("nothing was done").because("you did not enter 'yes'")),
        }
    }
}

/// Whether there is a person to ask.
pub fn is_interactive() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}

/// Asks on standard error, since standard output may be read by a program.
pub fn ask(question: &str) -> Result<String, CliError> {
    let failed = |e: std::io::Error| CliError::failed("the answer cannot be read").because(e.to_string());
    let mut err = stderr().lock();
    err.write_all(question.as_bytes()).and_then(|()| err.flush()).map_err(failed)?;
    let mut line = String::new();
    stdin().lock().read_line(&mut line).map_err(failed)?;
    Ok(line.trim().to_owned())
}

/// Asks for a secret without showing it.
pub fn ask_secret(question: &str) -> Result<Zeroizing<String>, CliError> {
    let silence = NoEcho::new()?;
    let answer = ask(question).map(Zeroizing::new);
    drop(silence);
    // The person's own line feed was not echoed either.
    let _ = stderr().write_all(b"\n");
    answer
}

/// Keeps the terminal from echoing until dropped.
struct NoEcho(Termios);

impl NoEcho {
    fn new() -> Result<Self, CliError> {
        let failed =
            |e: rustix::io::Errno| CliError::failed("the terminal cannot hide a password").because(e.to_string());
        let before = tcgetattr(stdin()).map_err(failed)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin(), OptionalActions::Flush, &silent).map_err(failed)?;
        Ok(Self(before))
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        // A terminal that has gone needs no restoring.
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.0);
    }
}

/// A spinner on standard error; hidden where that is no terminal. Cleared when dropped.
pub struct Spinner(ProgressBar);

impl Spinner {
    pub fn new(doing: &str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(doing.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Runs `print` with the spinner out of the way.
    pub fn aside(&self, print: impl FnOnce()) {
        self.0.suspend(print);
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
