//! Alerts: what is wrong now and what to do about it, and what was.

use crate::admin::error::{AdminError, Kind};
use crate::admin::service::{Call, Service};
use crate::admin::{find, wire};
use crate::license::{self, Command, State};
use crate::proto::admin::*;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl alerts_server::Alerts for Service {
    async fn list(&self, request: Request<ListAlertsRequest>) -> Result<Response<ListAlertsReply>, Status> {
        let state = self.state();
        let asked = request.into_inner();
        let account = match asked.account.as_str() {
            "" => None,
            name => Some(find::account(&state, name)?.id),
        };
        let wanted = |alert: &license::Alert| account.is_none() || alert.account == account;
        let alerts = match asked.history {
            true => (state.past_alerts(0).rev().filter(|past| wanted(&past.alert)))
                .map(|past| Alert { cleared_ms: past.cleared.0, ..message(&state, &past.alert) })
                .collect(),
            false => state.alerts().filter(|alert| wanted(alert)).map(|alert| message(&state, alert)).collect(),
        };
        Ok(Response::new(ListAlertsReply { alerts }))
    }

    async fn acknowledge(&self, request: Request<AlertRef>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        let state = self.state();
        let found = state.alerts().find(|a| a.key.kind.as_str() == asked.kind && a.key.source == asked.source);
        let key = found.map(|a| a.key.clone()).ok_or_else(|| {
            AdminError::new(Kind::NotFound, format!("there is no alert `{}` about `{}`", asked.kind, asked.source))
                .hint("`licraft alert list` shows them")
        })?;
        Ok(Response::new(Changed { id: self.change(&call, Command::AcknowledgeAlert { key }).await? }))
    }
}

fn message(state: &State, alert: &license::Alert) -> Alert {
    Alert {
        kind: alert.key.kind.as_str().to_owned(),
        source: alert.key.source.clone(),
        severity: wire::severity(alert.severity).into(),
        account: find::account_name(state, alert.account),
        raised_ms: alert.raised.0,
        due_ms: wire::some_ms(alert.due),
        message: alert.message.clone(),
        action: alert.action.clone(),
        acknowledged: alert.acknowledged,
        cleared_ms: 0,
    }
}
