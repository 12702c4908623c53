//! Alerts: what is wrong now and what to do about it, and what was.

use crate::admin::error::{AdminError, Kind};
use crate::admin::service::{Call, Service};
use crate::admin::{find, wire};
use crate::license::{self, Command, State};
use crate::listing::{self, AlertFilter, Needle};
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
        let (search, severity) = (Needle::new(&asked.search), wire::some_severity(asked.severity()));
        let wanted = AlertFilter { account, search, severity };
        let alerts = match asked.history {
            true => (listing::past_alerts(&state, 0, &wanted).rev())
                .map(|past| Alert {
                    cleared_ms: past.cleared.0,
                    cleared_by: past.cleared_by.clone(),
                    ..message(&state, &past.alert)
                })
                .collect(),
            false => state.alerts().filter(|alert| wanted.takes(alert)).map(|alert| message(&state, alert)).collect(),
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
        acknowledged: alert.acknowledged.is_some(),
        acknowledged_ms: alert.acknowledged.as_ref().map_or(0, |a| a.at.0),
        acknowledged_by: alert.acknowledged.as_ref().map(|a| a.by.clone()).unwrap_or_default(),
        cleared_ms: 0,
        cleared_by: String::new(),
    }
}
