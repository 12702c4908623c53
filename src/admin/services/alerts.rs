//! Alerts: what is wrong now and what to do about it.

use crate::admin::error::{AdminError, Kind};
use crate::admin::service::{Call, Service};
use crate::admin::{find, wire};
use crate::license::Command;
use crate::proto::admin::*;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl alerts_server::Alerts for Service {
    async fn list(&self, request: Request<ListAlertsRequest>) -> Result<Response<ListAlertsReply>, Status> {
        let state = self.state();
        let account = match request.get_ref().account.as_str() {
            "" => None,
            name => Some(find::account(&state, name)?.id),
        };
        let alerts = state.alerts().filter(|a| account.is_none() || a.account == account).map(|alert| Alert {
            kind: alert.key.kind.as_str().to_owned(),
            source: alert.key.source.clone(),
            severity: wire::severity(alert.severity).into(),
            account: find::account_name(&state, alert.account),
            raised_ms: alert.raised.0,
            due_ms: wire::some_ms(alert.due),
            message: alert.message.clone(),
            action: alert.action.clone(),
            acknowledged: alert.acknowledged,
        });
        Ok(Response::new(ListAlertsReply { alerts: alerts.collect() }))
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
