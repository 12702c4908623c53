//! Licenses: what each virtual account has and uses.

use crate::admin::error::{AdminError, Kind};
use crate::admin::service::{Call, Service};
use crate::admin::{find, wire};
use crate::license::{self, Command, LicenseId, MAX_USAGE_DAYS, Millis, State, UsageTotal, VirtualAccountId};
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

    async fn usage(&self, request: Request<UsageRequest>) -> Result<Response<UsageReply>, Status> {
        let (state, asked) = (self.state(), request.into_inner());
        if !(1..=MAX_USAGE_DAYS).contains(&(asked.days as usize)) {
            let message = format!("usage over time can be shown of 1 to {MAX_USAGE_DAYS} days");
            return Err(AdminError::new(Kind::Invalid, message).because("older days are not kept").into());
        }
        let pools = pools_with_usage(&state, &asked)?;
        let today = state.now().0 / Millis::DAY;
        let from = (today + 1).saturating_sub(asked.days.into());
        // All licenses of a large account take a while.
        let totals = tokio::task::spawn_blocking(move || state.usage(pools, from..=today)).await;
        let totals = totals.map_err(|error| AdminError::new(Kind::Internal, error.to_string()))?;
        Ok(Response::new(UsageReply { days: totals.iter().map(usage_day).collect() }))
    }
}

/// What is asked for, as pools that there are or were.
fn pools_with_usage(state: &State, asked: &UsageRequest) -> Result<Vec<(VirtualAccountId, LicenseId)>, AdminError> {
    let account = find::account(state, &asked.account)?;
    let vas: Vec<_> = match asked.virtual_accounts.as_slice() {
        [] => state.virtual_accounts(account.id).collect(),
        named => named.iter().map(|name| find::virtual_account_of(state, account, name)).collect::<Result<_, _>>()?,
    };
    if asked.license.is_empty() {
        let licenses = |va: &license::VirtualAccount| state.licenses_with_usage(va.id);
        return Ok(vas.into_iter().flat_map(|va| licenses(va).into_iter().map(|license| (va.id, license))).collect());
    }
    let license = find::license(state, account, &asked.license)?.id;
    Ok(vas.into_iter().map(|va| (va.id, license)).collect())
}

fn usage_day(total: &UsageTotal) -> UsageDay {
    UsageDay {
        day_ms: total.day * Millis::DAY,
        purchased: total.purchased,
        in_use: total.in_use,
        substitution: total.substitution,
        peak_in_use: total.peak,
        lowest_balance: total.lowest,
        out_of_compliance: total.short,
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
