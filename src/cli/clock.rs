//! `licraft clock`.

use super::Context;
use super::error::CliError;
use super::output::{Row, cell, print_one, time};
use super::terminal::Yes;
use crate::proto::admin::clock_client::ClockClient;
use crate::proto::admin::{AcceptClockRequest, ShowClockReply, ShowClockRequest};
use clap::Subcommand;
use std::process::ExitCode;

/// The clock of the active node. When it jumps ahead and nothing confirms that, nothing lapses or ends until it is set
/// right or accepted.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft clock show
  licraft clock accept")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Show the time by which the cluster goes, and the clock's while it is in doubt.
    #[command(after_help = "Examples:\n  licraft clock show\n  licraft clock show -o json | jq -r .state_time")]
    Show,
    /// Confirm that the active node's clock is right although it has jumped.
    #[command(after_help = "Examples:\n  licraft clock accept\n  licraft clock accept --yes")]
    Accept {
        #[command(flatten)]
        yes: Yes,
    },
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let shown = client.call(ShowClockRequest {}, |c, r| async move { ClockClient::new(c).show(r).await }).await?;
    match args.verb {
        Verb::Show => {
            let row = Row::new()
                .with("state_time", time(shown.state_ms))
                .with("clock", time(shown.clock_ms))
                .with("in_doubt", cell(doubted(&shown)));
            print_one(context.format, &row);
        }
        Verb::Accept { .. } if !doubted(&shown) => {
            context.done("The active node's clock is in no doubt; there is nothing to accept.", 0);
        }
        Verb::Accept { yes } => {
            let clock = time(shown.clock_ms).as_str().unwrap_or_default().to_owned();
            eprintln!("WARNING: {}", warning(&shown, &clock));
            yes.confirm(&format!("Is it {clock}?"))?;
            let asked = AcceptClockRequest { time_ms: shown.clock_ms };
            client.call(asked, |c, r| async move { ClockClient::new(c).accept(r).await }).await?;
            context.done(&format!("The clock is accepted: it is {clock}."), 0);
        }
    }
    Ok(ExitCode::SUCCESS)
}

const fn doubted(shown: &ShowClockReply) -> bool {
    shown.clock_ms > shown.state_ms
}

fn warning(shown: &ShowClockReply, clock: &str) -> String {
    let hours = (shown.clock_ms - shown.state_ms) / 3_600_000;
    format!(
        "The active node's clock says {clock}, {} days and {} hours ahead of where it should be. If that is wrong, terms \
         and authorizations end too early, and it cannot be taken back: state time never runs back.",
        hours / 24,
        hours % 24
    )
}
