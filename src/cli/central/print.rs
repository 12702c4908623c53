//! How central's replies are printed.

use super::super::error::CliError;
use super::super::output::{Format, Row, cell, print_list, print_one, put, text_or_none, time};
use super::unexpected;
use crate::central::admin::{AccountRow, AdminReply, Order, ServerRow, TokenRow, UserRow};
use crate::central::document::LicenseTerms;

pub fn done(format: Format, reply: AdminReply) -> Result<(), CliError> {
    let AdminReply::Done(sentence) = reply else { return Err(unexpected()) };
    match format {
        Format::Json => print_one(format, &Row::new().with("done", cell(sentence))),
        Format::Table | Format::Plain => put(&(sentence + "\n")),
    }
    Ok(())
}

pub fn list(format: Format, reply: AdminReply) -> Result<(), CliError> {
    match reply {
        AdminReply::Accounts(rows) => {
            let rows: Vec<Row> = rows.into_iter().flat_map(account_rows).collect();
            print_list(format, "smart accounts", &rows);
        }
        AdminReply::Servers(rows) => {
            let rows: Vec<Row> = rows.into_iter().map(server_row).collect();
            print_list(format, "servers", &rows);
        }
        AdminReply::Events(events) => {
            let rows: Vec<Row> = events
                .into_iter()
                .map(|e| {
                    Row::new()
                        .with("time", time(e.at.0))
                        .with("event", cell(e.kind))
                        .with("server", cell(e.server))
                        .with("account", text_or_none(&e.account))
                        .with("message", cell(e.message))
                })
                .collect();
            print_list(format, "events", &rows);
        }
        AdminReply::Orders(orders) => {
            print_list(format, "orders", &orders.into_iter().map(order_row).collect::<Vec<_>>());
        }
        AdminReply::Users(users) => {
            let row = |user: UserRow| {
                Row::new()
                    .with("user", cell(user.name))
                    .with("sees", cell(user.smart_account.unwrap_or_else(|| "everything".into())))
                    .with("created", time(user.created.0))
                    .with("must_change_password", cell(user.must_change))
            };
            print_list(format, "users", &users.into_iter().map(row).collect::<Vec<_>>());
        }
        AdminReply::Tokens(tokens) => {
            let row = |token: TokenRow| {
                Row::new()
                    .with("id", cell(token.id))
                    .with("description", text_or_none(&token.description))
                    .with("sees", cell(token.smart_account.unwrap_or_else(|| "everything".into())))
                    .with("created", time(token.created.0))
                    .with("created_by", cell(token.created_by))
            };
            print_list(format, "tokens", &tokens.into_iter().map(row).collect::<Vec<_>>());
        }
        AdminReply::Done(_)
        | AdminReply::Document(_)
        | AdminReply::Audit(_)
        | AdminReply::AuditVerdict { .. }
        | AdminReply::Issuing(_) => return Err(unexpected()),
    }
    Ok(())
}

/// One row a license, or one for an account without any.
fn account_rows(account: AccountRow) -> Vec<Row> {
    let head = Row::new()
        .with("smart_account", cell(account.smart_account))
        .with("virtual_account", cell(account.virtual_account))
        .with("account", cell(account.account))
        .json_only("server", cell(account.server));
    if account.licenses.is_empty() {
        return vec![
            head.with("license", cell(None::<String>))
                .with("name", cell(None::<String>))
                .with("purchased", cell(0))
                .with("in_use", cell(0))
                .with("substitution", cell(0)),
        ];
    }
    let usage = account.usage;
    let license = |l: LicenseTerms| {
        let used = usage.iter().find(|u| u.tag == l.tag);
        let purchased: u64 = l.terms.iter().map(|t| t.quantity).sum();
        let terms = serde_json::to_value(&l.terms).unwrap_or_default();
        head.clone()
            .with("license", cell(l.tag))
            .with("name", cell(l.name))
            .with("purchased", cell(purchased))
            .with("in_use", cell(used.map_or(0, |u| u.in_use)))
            .with("substitution", cell(used.map_or(0, |u| u.substitution)))
            .json_only("covered_by", cell(l.covered_by))
            .json_only("export_controlled", cell(l.export_controlled))
            .json_only("terms", terms)
    };
    account.licenses.into_iter().map(license).collect()
}

fn order_row(order: Order) -> Row {
    Row::new()
        .with("time", time(order.at.0))
        .with("by", cell(order.actor))
        .with("smart_account", cell(order.smart_account))
        .with("virtual_account", cell(order.virtual_account))
        .with("license", cell(order.tag))
        .with("before", cell(order.before.as_ref().map(LicenseTerms::in_words)))
        .with("after", cell(order.after.as_ref().map(LicenseTerms::in_words)))
        .json_only("number", cell(order.seq))
        .json_only("license_before", serde_json::to_value(&order.before).unwrap_or_default())
        .json_only("license_after", serde_json::to_value(&order.after).unwrap_or_default())
}

fn server_row(server: ServerRow) -> Row {
    Row::new()
        .with("server", cell(server.server))
        .with("status", cell(server.status))
        .with(
            "account",
            cell(server.account.map(|name| if server.closed.is_some() { format!("{name} (ended)") } else { name })),
        )
        .with("smart_account", cell(server.smart_account))
        .with("virtual_account", cell(server.virtual_account))
        .with("instances", cell(server.instances))
        .with("last_synchronization", time(server.synchronized.unwrap_or_default().0))
        .json_only("sequence", cell(server.seq))
        .json_only("incarnation", cell(server.incarnation))
        .json_only("last_contact", time(server.last_contact.0))
        .json_only("closed", time(server.closed.unwrap_or_default().0))
}
