//! Licenses: what each virtual account has and uses.

use crate::admin::service::{Call, Service};
use crate::admin::{find, wire};
use crate::license::{self, Command, State};
use crate::proto::admin::*;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl licenses_server::Licenses for Service {
    async fn list(&self, request: Request<ListLicensesRequest>) -> Result<Response<ListLicensesReply>, Status> {
        let state = self.state();
        let mut pools = Vec::new();
        let ListLicensesRequest { virtual_account, label } = request.get_ref();
        let wanted = |pool: &Pool| label.is_empty() || pool.labels.contains(label);
        for (account, va) in find::virtual_accounts(&state, virtual_account.as_ref())? {
            pools.extend(state.pools(va.id).filter_map(|pool| message(&state, account, va, pool)).filter(wanted));
        }
        Ok(Response::new(ListLicensesReply { pools }))
    }

    async fn show(&self, request: Request<ShowLicenseRequest>) -> Result<Response<ShowLicenseReply>, Status> {
        let state = self.state();
        let asked = request.into_inner();
        let account = find::account(&state, &asked.account)?;
        let license = find::license(&state, account, &asked.license)?;
        let pools = state.virtual_accounts(account.id).filter_map(|va| {
            let pool = state.pool(va.id, license.id)?;
            message(&state, account, va, pool)
        });
        let name = |id| state.license(id).map(|l| l.name.clone()).unwrap_or_default();
        let loan = |va: &license::VirtualAccount, loan: license::Loan| Loan {
            virtual_account: va.name.clone(),
            from: name(loan.from),
            to: name(loan.to),
            count: loan.count,
            lacked: loan.lacked,
            spare: loan.spare,
            rules: state.rules_between(loan.to, loan.from).into_iter().map(name).collect(),
        };
        let loans = state
            .virtual_accounts(account.id)
            .flat_map(|va| state.loans(va.id, license.id).into_iter().map(move |l| loan(va, l)));
        Ok(Response::new(ShowLicenseReply { loans: loans.collect(), pools: pools.collect() }))
    }

    async fn transfer(&self, request: Request<TransferLicenseRequest>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        let command = {
            let state = self.state();
            let account = find::account(&state, &asked.account)?;
            Command::TransferLicense {
                license: find::license(&state, account, &asked.license)?.id,
                from: find::virtual_account_of(&state, account, &asked.from)?.id,
                to: find::virtual_account_of(&state, account, &asked.to)?.id,
                quantity: asked.quantity,
            }
        };
        Ok(Response::new(Changed { id: self.change(&call, command).await? }))
    }

    async fn label(&self, request: Request<LabelLicenseRequest>) -> Result<Response<Changed>, Status> {
        let (call, LabelLicenseRequest { account, license, add, remove }) = Call::split(request)?;
        let license = {
            let state = self.state();
            find::license(&state, find::account(&state, &account)?, &license)?.id
        };
        let command = Command::LabelLicense { license, add, remove };
        Ok(Response::new(Changed { id: self.change(&call, command).await? }))
    }
}

fn message(
    state: &State,
    account: &license::Account,
    va: &license::VirtualAccount,
    pool: &license::Pool,
) -> Option<Pool> {
    let license = state.license(pool.license)?;
    let billing = pool.terms.first().map_or(license::Billing::Prepaid, |t| t.billing);
    let terms = pool.terms.iter().map(|t| Term {
        quantity: t.quantity,
        start_ms: t.start.0,
        end_ms: wire::some_ms(t.end),
        billing: t.billing.as_str().to_owned(),
    });
    Some(Pool {
        license_id: license.id.0,
        license: license.name.clone(),
        tag: license.tag.clone(),
        account: account.name.clone(),
        virtual_account: va.name.clone(),
        billing: billing.as_str().to_owned(),
        purchased: pool.purchased,
        in_use: pool.in_use,
        substitution: pool.substitution,
        balance: pool.balance(),
        export_controlled: license.export_controlled,
        out_of_compliance_since_ms: wire::some_ms(pool.out_of_compliance_since),
        terms: terms.collect(),
        labels: license.labels.clone(),
    })
}
