//! Driver `hook`: commands of the operator move the address, for clouds where only their interface can.

use super::driver::{Driver, Finding};
use std::io::{self, Read};
use std::net::IpAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long one command may take; then it is killed and counts as failed.
const LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at a running command.
const LOOK: Duration = Duration::from_millis(5);
/// Of what a failed command says so much goes into the message.
const MOST_OUTPUT: u64 = 2_000;

/// Runs `add` and `remove` with the address as their last argument, once for each address.
#[derive(Clone, Debug)]
pub struct Hook {
    add: Vec<String>,
    remove: Vec<String>,
}

impl Hook {
    /// Programs with their arguments; the configuration has checked that they are there.
    #[must_use]
    pub const fn new(add: Vec<String>, remove: Vec<String>) -> Self {
        Self { add, remove }
    }
}

/// Runs one command to its end, or kills it when `going_on` says no or the time is over.
fn run(command: &[String], address: IpAddr, going_on: &dyn Fn() -> bool) -> io::Result<()> {
    let [program, arguments @ ..] = command else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the hook has no program"));
    };
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{program} {address}: {e}"));
    let mut child = Command::new(program)
        .args(arguments)
        .arg(address.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(named)?;
    let status = wait(&mut child, going_on).map_err(named)?;
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    if let Some(errors) = child.stderr.take() {
        errors.take(MOST_OUTPUT).read_to_string(&mut said).map_err(named)?;
    }
    Err(io::Error::other(format!("{program} {address} ended with {status}: {}", said.trim())))
}

fn wait(child: &mut Child, going_on: &dyn Fn() -> bool) -> io::Result<ExitStatus> {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let over = Instant::now() > deadline;
        if over || !going_on() {
            child.kill()?;
            child.wait()?;
            let why = if over { format!("no end within {} s", LIMIT.as_secs()) } else { "no longer serving".into() };
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        std::thread::sleep(LOOK);
    }
}

impl Driver for Hook {
    fn raise(&mut self, addresses: &[IpAddr], serving: &dyn Fn() -> bool) -> io::Result<()> {
        let raised = addresses.iter().try_for_each(|address| run(&self.add, *address, serving));
        if raised.is_err() {
            self.lower(addresses)?;
        }
        raised
    }

    fn renew(&mut self, _: &[IpAddr]) -> io::Result<()> {
        Ok(())
    }

    /// Tries all before it tells of the first that failed.
    fn lower(&mut self, addresses: &[IpAddr]) -> io::Result<()> {
        let lowered: Vec<_> = addresses.iter().map(|address| run(&self.remove, *address, &|| true)).collect();
        lowered.into_iter().collect()
    }

    fn announce(&mut self, _: &[IpAddr]) -> io::Result<()> {
        Ok(())
    }

    fn check(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Nothing: the commands may act on the whole network, and so take the address from the node that holds it.
    fn sweep(&mut self, _: &[IpAddr]) -> io::Result<()> {
        Ok(())
    }

    fn findings(&mut self) -> Vec<Finding> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).into()
    }

    #[test]
    fn commands_get_the_address_and_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let note = |what: &str| shell(&format!("echo {what} $0 >> {}", log.display()));
        let addresses = [[10, 0, 0, 12].into(), [10, 0, 0, 13].into()];
        let mut hook = Hook::new(note("add"), note("remove"));
        hook.raise(&addresses, &|| true).unwrap();
        hook.lower(&addresses).unwrap();
        let expected = "add 10.0.0.12\nadd 10.0.0.13\nremove 10.0.0.12\nremove 10.0.0.13\n";
        assert_eq!(std::fs::read_to_string(&log).unwrap(), expected);

        std::fs::remove_file(&log).unwrap();
        let mut hook = Hook::new(shell("echo the quota is used up >&2; exit 3"), note("remove"));
        let error = hook.raise(&addresses[..1], &|| true).unwrap_err().to_string();
        assert!(error.contains("the quota is used up") && error.contains('3'), "{error}");
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "remove 10.0.0.12\n", "a half-done add must be undone");
    }

    #[test]
    fn a_command_ends_with_the_lease() {
        let mut hook = Hook::new(shell("exec sleep 60"), shell("true"));
        let began = Instant::now();
        let looks = std::cell::Cell::new(0);
        let serving = || {
            looks.set(looks.get() + 1);
            looks.get() < 5
        };
        let error = hook.raise(&[[10, 0, 0, 12].into()], &serving).unwrap_err().to_string();
        assert!(error.contains("no longer serving"), "{error}");
        assert!(began.elapsed() < LIMIT, "it was waited for");
    }
}
