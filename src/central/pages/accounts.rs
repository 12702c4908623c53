//! Smart accounts with their virtual accounts, what those purchased, and what is used of it.

use super::{App, Viewer, unexpected};
use crate::central::admin::{AccountRow, AdminReply, AdminRequest};
use crate::central::document::LicenseTerms;
use crate::web::list::{Asked, List};
use crate::web::view::{Shell, page};
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use std::sync::Arc;

/// A license of a virtual account; one without for a virtual account that has none.
#[derive(Clone)]
struct Row {
    smart_account: String,
    virtual_account: String,
    account: String,
    license: Option<LicenseRow>,
}

#[derive(Clone)]
struct LicenseRow {
    name: String,
    tag: String,
    purchased: u64,
    terms: String,
    in_use: u64,
    substitution: i64,
    balance: i128,
}

#[derive(Template)]
#[template(path = "central_accounts.html")]
struct AccountsPage {
    shell: Shell,
    list: List<Row>,
}

pub async fn show(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let rows = match app.ask(&viewer, AdminRequest::ListAccounts).await {
        Ok(AdminReply::Accounts(rows)) => rows,
        Ok(_) => return unexpected(),
        Err(page) => return page,
    };
    let asked = Asked::read(&uri);
    let rows: Vec<Row> = rows.into_iter().flat_map(licenses).filter(|row| found(&asked, row)).collect();
    let list = asked.page(|| rows.iter(), Row::clone);
    page(StatusCode::OK, &AccountsPage { shell: viewer.shell("/", "Accounts"), list })
}

fn found(asked: &Asked, row: &Row) -> bool {
    let license = row.license.iter().flat_map(|license| [license.name.as_str(), &license.tag]);
    asked.matches([row.smart_account.as_str(), &row.virtual_account, &row.account].into_iter().chain(license))
}

fn licenses(row: AccountRow) -> Vec<Row> {
    let usage = row.usage;
    let head = Row {
        smart_account: row.smart_account,
        virtual_account: row.virtual_account.unwrap_or_default(),
        account: row.account.unwrap_or_default(),
        license: None,
    };
    if row.licenses.is_empty() {
        return vec![head];
    }
    let license = |license: LicenseTerms| {
        let used = usage.iter().find(|used| used.tag == license.tag);
        let (in_use, substitution) = used.map_or((0, 0), |used| (used.in_use, used.substitution));
        let (purchased, terms) = (license.purchased(), license.in_words());
        let balance = i128::from(purchased) + i128::from(substitution) - i128::from(in_use);
        let LicenseTerms { name, tag, .. } = license;
        LicenseRow { name, tag, purchased, terms, in_use, substitution, balance }
    };
    row.licenses.into_iter().map(|l| Row { license: Some(license(l)), ..head.clone() }).collect()
}
