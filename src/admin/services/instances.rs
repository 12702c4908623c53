//! Product instances.

use super::Replies;
use crate::admin::service::{Call, Service};
use crate::admin::{find, wire};
use crate::license::{self, Command, State, VirtualAccountId};
use crate::proto::admin::*;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Messages made ahead of a slow reader; also how often the state is looked at for them.
const BATCH: usize = 256;

#[tonic::async_trait]
impl instances_server::Instances for Service {
    type ListStream = Replies<Instance>;

    /// From one state, a batch at a time: a list of a hundred thousand is neither held in memory twice nor torn.
    async fn list(&self, request: Request<ListInstancesRequest>) -> Result<Response<Self::ListStream>, Status> {
        let state = self.state();
        let asked = request.into_inner();
        let vas: Vec<VirtualAccountId> =
            find::virtual_accounts(&state, asked.virtual_account.as_ref())?.into_iter().map(|(_, va)| va.id).collect();
        let limit = if asked.limit == 0 { u64::MAX } else { asked.limit };
        let (tx, rx) = mpsc::channel(BATCH);
        tokio::spawn(send_all(state, vas, limit, tx));
        Ok(Response::new(Box::pin(ReceiverStream::new(rx))))
    }

    async fn show(&self, request: Request<InstanceRef>) -> Result<Response<InstanceDetail>, Status> {
        let state = self.state();
        let asked = request.into_inner();
        let instance = find::instance(&state, &asked.account, &asked.instance)?;
        let authorization = state.authorization(instance.id);
        let granted = authorization.as_ref().filter(|_| instance.authorized_until.is_some());
        let licenses = authorization.iter().flat_map(|a| &a.licenses).map(|l| LicenseCount {
            tag: l.tag.clone(),
            name: l.name.clone(),
            count: l.count,
            in_compliance: l.in_compliance,
        });
        Ok(Response::new(InstanceDetail {
            instance: Some(message(&state, instance)),
            licenses: licenses.collect(),
            next_contact_ms: granted.map_or(0, |a| a.next_contact.0),
            enforce_from_ms: granted.map_or(0, |a| wire::some_ms(a.enforce_from)),
            certificate_expires_ms: instance.certificate.not_after.0,
            devices: instance.devices().iter().map(device).collect(),
        }))
    }

    async fn transfer(&self, request: Request<TransferInstanceRequest>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        let named = asked.instance.unwrap_or_default();
        let command = {
            let state = self.state();
            let instance = find::instance(&state, &named.account, &named.instance)?;
            let account = match find::account_of(&state, instance) {
                Some(account) => account,
                None => find::account(&state, &named.account)?,
            };
            let to = find::virtual_account_of(&state, account, &asked.to_virtual_account)?.id;
            Command::TransferInstance { instance: instance.id, to }
        };
        Ok(Response::new(Changed { id: self.change(&call, command).await? }))
    }

    async fn remove(&self, request: Request<InstanceRef>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        let instance = find::instance(&self.state(), &asked.account, &asked.instance)?.id;
        Ok(Response::new(Changed { id: self.change(&call, Command::RemoveInstance { instance }).await? }))
    }
}

async fn send_all(
    state: Arc<State>,
    vas: Vec<VirtualAccountId>,
    limit: u64,
    tx: mpsc::Sender<Result<Instance, Status>>,
) {
    let mut left = limit;
    for va in vas {
        let mut after = None;
        while left > 0 {
            let wanted = BATCH.min(usize::try_from(left).unwrap_or(BATCH));
            let batch: Vec<Instance> = state.instances_of(va, after).take(wanted).map(|i| message(&state, i)).collect();
            let Some(last) = batch.last() else { break };
            after = Some(license::InstanceId(last.id));
            left -= batch.len() as u64;
            for instance in batch {
                if tx.send(Ok(instance)).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn device(device: &license::Device) -> Device {
    let license::Device { udi, host_name } = device;
    let host_name = host_name.as_deref().unwrap_or_default().to_owned();
    Device { pid: udi.pid.clone(), sn: udi.sn.clone(), host_name }
}

fn message(state: &State, instance: &license::Instance) -> Instance {
    let va = state.virtual_account(instance.va);
    Instance {
        id: instance.id.0,
        name: find::display_name(instance),
        account: find::account_name(state, va.map(|v| v.account)),
        virtual_account: va.map(|v| v.name.clone()).unwrap_or_default(),
        product_type: instance.product_type.to_string(),
        software_version: instance.software_version.to_string(),
        registered_ms: instance.registered.0,
        last_contact_ms: instance.last_contact.0,
        in_compliance: state.authorization(instance.id).is_none_or(|a| a.in_compliance()),
        pid: instance.udi.pid.clone(),
        sn: instance.udi.sn.clone(),
        authorized_until_ms: wire::some_ms(state.in_force_until(instance)),
        export_controlled: instance.export_controlled,
        alerts: state.failures(instance).map(|kind| kind.title().to_owned()).collect(),
    }
}
