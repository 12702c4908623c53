//! The clock of the active node: whether it is in doubt, and that it is right.

use crate::admin::service::{Call, Service};
use crate::license::{Command, Millis};
use crate::proto::admin::*;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl clock_server::Clock for Service {
    async fn show(&self, _: Request<ShowClockRequest>) -> Result<Response<ShowClockReply>, Status> {
        let state = self.state();
        let clock = state.now().plus(state.meta().clock_ahead);
        Ok(Response::new(ShowClockReply { state_ms: state.now().0, clock_ms: clock.0 }))
    }

    async fn accept(&self, request: Request<AcceptClockRequest>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        let command = Command::AcceptClock { time: Millis(asked.time_ms) };
        Ok(Response::new(Changed { id: self.change(&call, command).await? }))
    }
}
