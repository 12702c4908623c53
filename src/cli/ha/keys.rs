//! `licraft ha generate-keys`.

use super::super::Context;
use super::super::error::CliError;
use super::super::output::{Format, Row, cell, print_one, put, time};
use super::super::stream;
use crate::proto::admin::cluster_client::ClusterClient;
use crate::proto::admin::generate_keys_reply::Reply;
use crate::proto::admin::{GenerateKeysRequest, PairingCode};
use std::process::ExitCode;

/// On the primary: make the cluster's keys and a one-time code with which one node may join (30 minutes, one use).
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha generate-keys
  licraft ha generate-keys -o json")]
pub struct Args {}

pub async fn run(context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let replies = client
        .direct(GenerateKeysRequest {}, |c, r| async move { ClusterClient::new(c).generate_keys(r).await })
        .await?;
    let mut made = None;
    stream::each(replies, "generating keys", |reply, spinner| match reply.reply {
        Some(Reply::Step(step)) => context.step(spinner, &step.text),
        Some(Reply::Code(code)) => made = Some(code),
        None => {}
    })
    .await?;
    let code = made.ok_or_else(|| CliError::failed("the node made no pairing code"))?;
    match context.format {
        Format::Table => put(&instructions(&code)),
        format => print_one(
            format,
            &Row::new()
                .with("code", cell(code.code))
                .with("join_address", cell(code.join_address))
                .with("expires", time(code.expires_ms)),
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn instructions(code: &PairingCode) -> String {
    let PairingCode { code, join_address, .. } = code;
    format!(
        "Pairing code (30 minutes, one use): {code}\n\n\
         On the second node run:\n  licraft ha provision-standby --join {join_address} --code {code}\n\
         or, for a witness:\n  licraft ha provision-witness --join {join_address} --code {code}\n"
    )
}
