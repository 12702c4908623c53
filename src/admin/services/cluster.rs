//! The cluster's verbs; answered by the node that is asked.

use super::{Replies, backup, stream_work, users};
use crate::admin::caller::Peer;
use crate::admin::cluster::{Deploy, Initialize, Preflight, Promote, Provision, Switchover, Told};
use crate::admin::error::{AdminError, Kind};
use crate::admin::service::{Call, Service};
use crate::license::{Role, User};
use crate::proto::admin::*;
use std::net::{IpAddr, SocketAddr};
use tonic::{Request, Response, Status, Streaming};

/// Addresses that another node may have this one connect to.
const MAX_REACH: usize = 4;

#[tonic::async_trait]
impl cluster_server::Cluster for Service {
    type GenerateKeysStream = Replies<GenerateKeysReply>;
    type ProvisionStream = Replies<Step>;
    type DeployStream = Replies<DeployReply>;
    type SwitchoverStream = Replies<SwitchoverReply>;
    type StopStream = Replies<Step>;
    type StartStream = Replies<Step>;
    type RemoveStream = Replies<Step>;
    type TeardownStream = Replies<Step>;
    type PromoteStream = Replies<PromoteReply>;
    type ResolveStream = Replies<Step>;
    type RestoreSetAsideStream = Replies<Step>;
    type DrillStream = Replies<DrillReply>;
    type SaveBackupStream = Replies<SaveBackupReply>;
    type RestoreBackupStream = Replies<RestoreBackupReply>;

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<ClusterStatus>, Status> {
        Ok(Response::new(self.parts.cluster.status().await.into()))
    }

    async fn initialize(&self, request: Request<InitializeRequest>) -> Result<Response<InitializeReply>, Status> {
        let InitializeRequest { administrator: name, password, must_change } = request.into_inner();
        users::check_name(&name)?;
        let hash = self.hash(&name, password).await?;
        let administrator = User::new(name, Role::SystemAdministrator, hash, must_change);
        let done = self.parts.cluster.initialize(Initialize { administrator }).await?;
        Ok(Response::new(InitializeReply { server_uid: done.server_uid }))
    }

    async fn generate_keys(
        &self,
        _: Request<GenerateKeysRequest>,
    ) -> Result<Response<Self::GenerateKeysStream>, Status> {
        use generate_keys_reply::Reply;
        let cluster = self.parts.cluster.clone();
        Ok(stream_work(
            |progress| async move { cluster.generate_keys(progress).await },
            |told| GenerateKeysReply { reply: Some(Reply::Step(step(told))) },
            |made| {
                let code = PairingCode { code: made.code, expires_ms: made.expires.0, join_address: made.join_address };
                Some(GenerateKeysReply { reply: Some(Reply::Code(code)) })
            },
        ))
    }

    async fn provision(&self, request: Request<ProvisionRequest>) -> Result<Response<Self::ProvisionStream>, Status> {
        let cluster = self.parts.cluster.clone();
        let ProvisionRequest { join, code, witness, replace } = request.into_inner();
        let provision = Provision { join, code, witness, replace };
        Ok(stream_work(|progress| async move { cluster.provision(provision, progress).await }, step, |()| None))
    }

    async fn deploy(&self, request: Request<DeployRequest>) -> Result<Response<Self::DeployStream>, Status> {
        use deploy_reply::Reply;
        let cluster = self.parts.cluster.clone();
        let deploy = deploy(request.into_inner())?;
        Ok(stream_work(
            |progress| async move { cluster.deploy(deploy, progress).await },
            |told| {
                let reply = match told {
                    Told::Step(text) => Reply::Step(Step { text }),
                    Told::Check(check) => Reply::Check(check.into()),
                };
                DeployReply { reply: Some(reply) }
            },
            |()| None,
        ))
    }

    async fn switchover(
        &self,
        request: Request<SwitchoverRequest>,
    ) -> Result<Response<Self::SwitchoverStream>, Status> {
        use switchover_reply::Reply;
        let cluster = self.parts.cluster.clone();
        let SwitchoverRequest { to, dry_run } = request.into_inner();
        let switchover = Switchover { to: Some(to).filter(|t| !t.is_empty()), dry_run };
        Ok(stream_work(
            |progress| async move { cluster.switchover(switchover, progress).await },
            |told| {
                let reply = match told {
                    Told::Step(text) => Reply::Step(Step { text }),
                    Told::Check(check) => Reply::Check(check.into()),
                };
                SwitchoverReply { reply: Some(reply) }
            },
            |report| {
                let report = report.map(|r| SwitchoverReport { from: r.from, to: r.to, gap_ms: r.gap_ms })?;
                Some(SwitchoverReply { reply: Some(Reply::Report(report)) })
            },
        ))
    }

    async fn stop(&self, request: Request<StopRequest>) -> Result<Response<Self::StopStream>, Status> {
        let cluster = self.parts.cluster.clone();
        let force = request.into_inner().force;
        Ok(stream_work(|progress| async move { cluster.stop(force, progress).await }, step, |()| None))
    }

    async fn start(&self, _: Request<StartRequest>) -> Result<Response<Self::StartStream>, Status> {
        let cluster = self.parts.cluster.clone();
        Ok(stream_work(|progress| async move { cluster.start(progress).await }, step, |()| None))
    }

    async fn remove(&self, request: Request<RemoveRequest>) -> Result<Response<Self::RemoveStream>, Status> {
        let (cluster, node) = (self.parts.cluster.clone(), request.into_inner().node);
        Ok(stream_work(|progress| async move { cluster.remove(node, progress).await }, step, |()| None))
    }

    async fn stand_down(&self, request: Request<StandDownRequest>) -> Result<Response<StandDownReply>, Status> {
        self.parts.cluster.stand_down_member(request.into_inner().node).await?;
        Ok(Response::new(StandDownReply {}))
    }

    async fn teardown(&self, _: Request<TeardownRequest>) -> Result<Response<Self::TeardownStream>, Status> {
        let cluster = self.parts.cluster.clone();
        Ok(stream_work(|progress| async move { cluster.teardown(progress).await }, step, |()| None))
    }

    async fn drill(&self, request: Request<DrillRequest>) -> Result<Response<Self::DrillStream>, Status> {
        use drill_reply::Reply;
        let (cluster, fence) = (self.parts.cluster.clone(), request.into_inner().fence);
        let work = move |progress| async move {
            Ok(match fence {
                false => {
                    let done = cluster.drill(progress).await?;
                    let crate::admin::cluster::DrillReport { other, there_ms, back_ms, digests } = done;
                    Reply::Report(DrillReport { other, there_ms, back_ms, digests: digests as u64 })
                }
                true => {
                    let done = cluster.drill_fence(progress).await?;
                    let crate::admin::cluster::FenceDrillReport { fenced, off_ms, back_ms, digests } = done;
                    Reply::Fenced(FenceDrillReport { fenced, off_ms, back_ms, digests: digests as u64 })
                }
            })
        };
        let told = |told| DrillReply { reply: Some(Reply::Step(step(told))) };
        Ok(stream_work(work, told, |reply| Some(DrillReply { reply: Some(reply) })))
    }

    async fn promote(&self, request: Request<PromoteRequest>) -> Result<Response<Self::PromoteStream>, Status> {
        use promote_reply::Reply;
        let cluster = self.parts.cluster.clone();
        let PromoteRequest { only_look, accept_data_loss } = request.into_inner();
        let promote = Promote { only_look, accept_data_loss };
        Ok(stream_work(
            |progress| async move { cluster.promote(promote, progress).await },
            |told| PromoteReply { reply: Some(Reply::Step(step(told))) },
            |stakes| {
                let lacks = stakes.lacks.unwrap_or_default();
                Some(PromoteReply { reply: Some(Reply::Stakes(PromotionStakes { others: stakes.others, lacks })) })
            },
        ))
    }

    async fn resolve(&self, request: Request<ResolveRequest>) -> Result<Response<Self::ResolveStream>, Status> {
        let (cluster, keep) = (self.parts.cluster.clone(), request.into_inner().keep);
        Ok(stream_work(|progress| async move { cluster.resolve(keep, progress).await }, step, |()| None))
    }

    async fn list_set_aside(&self, _: Request<ListSetAsideRequest>) -> Result<Response<ListSetAsideReply>, Status> {
        let kept = self.parts.cluster.list_set_aside().await?.into_iter();
        let kept = kept.map(|k| SetAside { name: k.name, node: k.node, epoch: k.epoch, bytes: k.bytes, why: k.why });
        Ok(Response::new(ListSetAsideReply { kept: kept.collect() }))
    }

    async fn restore_set_aside(
        &self,
        request: Request<SetAsideRef>,
    ) -> Result<Response<Self::RestoreSetAsideStream>, Status> {
        let (cluster, name) = (self.parts.cluster.clone(), request.into_inner().name);
        Ok(stream_work(|progress| async move { cluster.restore_set_aside(name, progress).await }, step, |()| None))
    }

    async fn delete_set_aside(&self, request: Request<SetAsideRef>) -> Result<Response<DeleteSetAsideReply>, Status> {
        self.parts.cluster.delete_set_aside(request.into_inner().name).await?;
        Ok(Response::new(DeleteSetAsideReply {}))
    }

    async fn save_backup(
        &self,
        request: Request<SaveBackupRequest>,
    ) -> Result<Response<Self::SaveBackupStream>, Status> {
        let (call, asked) = Call::split(request)?;
        backup::save(self, &call, asked.passphrase).await
    }

    async fn restore_backup(
        &self,
        request: Request<Streaming<RestoreBackupRequest>>,
    ) -> Result<Response<Self::RestoreBackupStream>, Status> {
        backup::restore(self, request.into_inner()).await
    }

    async fn preflight(&self, request: Request<PreflightRequest>) -> Result<Response<PreflightReply>, Status> {
        let checks = self.parts.cluster.preflight(preflight(request.into_inner())?).await?;
        Ok(Response::new(PreflightReply { checks: checks.into_iter().map(Into::into).collect() }))
    }

    async fn take_sealing_key(
        &self,
        request: Request<TakeSealingKeyRequest>,
    ) -> Result<Response<TakeSealingKeyReply>, Status> {
        let from = request.extensions().get::<Peer>();
        if !matches!(from, Some(Peer::Node { witness: false, .. })) {
            let error = AdminError::new(Kind::Denied, "only a data node of the cluster may hand over a sealing key");
            return Err(error.hint("run `licraft cert rotate-sealing-key` on the active node").into());
        }
        self.parts.cluster.take_sealing_key(&request.get_ref().key).await?;
        Ok(Response::new(TakeSealingKeyReply {}))
    }

    async fn certify_node(&self, request: Request<CertifyNodeRequest>) -> Result<Response<CertifyNodeReply>, Status> {
        let Some(Peer::Node { name, .. }) = request.extensions().get::<Peer>().cloned() else {
            let error = AdminError::new(Kind::Denied, "only a node of the cluster may ask for this");
            return Err(error.hint("nodes renew their certificates by themselves").into());
        };
        let certificate = self.parts.cluster.certify_node(&name, &request.get_ref().csr).await?;
        Ok(Response::new(CertifyNodeReply { certificate: certificate.into() }))
    }

    async fn history(&self, _: Request<HistoryRequest>) -> Result<Response<HistoryReply>, Status> {
        let state = self.state();
        let changes = state.role_changes().map(|change| RoleChange {
            at_ms: change.at.0,
            term: change.term,
            node: state.member(change.node_id).map_or_else(|| format!("node {}", change.node_id), |m| m.name.clone()),
            cause: change.cause.clone(),
        });
        Ok(Response::new(HistoryReply { changes: changes.collect() }))
    }
}

/// A verb that tells steps only shows a check as one.
pub(super) fn step(told: Told) -> Step {
    match told {
        Told::Step(text) => Step { text },
        Told::Check(check) => Step { text: format!("{}: {}", check.name, check.detail) },
    }
}

fn deploy(request: DeployRequest) -> Result<Deploy, AdminError> {
    let vip = virtual_addresses(&request.vip)?;
    if vip.is_empty() {
        return Err(AdminError::new(Kind::Invalid, "there is no virtual address").hint("give one with --vip"));
    }
    let interface = Some(request.interface).filter(|i| !i.is_empty());
    Ok(Deploy { vip, interface, dry_run: request.dry_run })
}

fn preflight(request: PreflightRequest) -> Result<Preflight, AdminError> {
    let reach: Result<Vec<SocketAddr>, _> = request.reach.iter().map(|text| text.parse()).collect();
    let reach = reach.ok().filter(|reach| reach.len() <= MAX_REACH);
    let reach = reach.ok_or_else(|| {
        AdminError::new(Kind::Invalid, format!("`reach` must be up to {MAX_REACH} addresses with ports"))
    })?;
    let interface = Some(request.interface).filter(|i| !i.is_empty());
    Ok(Preflight { reach, vip: virtual_addresses(&request.vip)?, interface })
}

/// At most one of each family.
fn virtual_addresses(texts: &[String]) -> Result<Vec<IpAddr>, AdminError> {
    let mut vip: Vec<IpAddr> = Vec::new();
    for text in texts {
        let address: IpAddr = text.parse().map_err(|_| {
            AdminError::new(Kind::Invalid, format!("`{text}` is not an IP address"))
                .hint("give the virtual address without a prefix length, as in 10.0.0.12")
        })?;
        if vip.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
            return Err(AdminError::new(Kind::Invalid, "there are two virtual addresses of one family")
                .hint("give at most one IPv4 and one IPv6 address"));
        }
        vip.push(address);
    }
    Ok(vip)
}
