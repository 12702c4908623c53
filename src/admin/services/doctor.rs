//! Checks on demand: kept totals against recounted ones, replicas against each other.

use crate::admin::cluster::{Check, CheckResult, NodeDigest};
use crate::admin::error::AdminError;
use crate::admin::service::Service;
use crate::admin::status::ClusterState;
use crate::license::Millis;
use crate::proto::admin::{self as proto, BundleReply, BundleRequest, DoctorReply, DoctorRequest, doctor_server};
use tonic::{Request, Response, Status};

/// Findings named in one check; the rest is counted.
const SHOWN: usize = 10;

#[tonic::async_trait]
impl doctor_server::Doctor for Service {
    async fn check(&self, _: Request<DoctorRequest>) -> Result<Response<DoctorReply>, Status> {
        Ok(Response::new(DoctorReply { checks: self.checks().await? }))
    }

    async fn bundle(&self, _: Request<BundleRequest>) -> Result<Response<BundleReply>, Status> {
        let checks = self.checks().await?;
        Ok(Response::new(Service::bundle(self, checks).await?))
    }
}

impl Service {
    async fn checks(&self) -> Result<Vec<proto::Check>, Status> {
        let state = self.state();
        // A recount of everything takes a while at a hundred thousand instances: not on a thread that serves.
        let counted = state.clone();
        let findings = tokio::task::spawn_blocking(move || counted.check());
        let findings = findings.await.map_err(|_| Status::internal("the recount ended unexpectedly"))?;
        let status = self.parts.cluster.status().await;
        let checks = [
            totals(&findings, state.instance_count()),
            digests(self.parts.cluster.digests().await),
            cluster(status.cluster, &status.verdict),
            failed_actions(status.failed_actions.len()),
            clock(state.meta().clock_ahead),
            alerts(state.alerts().filter(|a| a.acknowledged.is_none()).count()),
        ];
        Ok(checks.into_iter().map(Into::into).collect())
    }
}

fn totals(findings: &[String], instances: u64) -> Check {
    let (result, detail) = match findings.len() {
        0 => (CheckResult::Passed, format!("all totals equal a recount over {instances} product instances")),
        n => {
            let named = findings.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
            let more = n.saturating_sub(SHOWN);
            let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
            (CheckResult::Failed, format!("{named}{rest}: a fault of the program; report it with a copy of the data"))
        }
    };
    Check { name: "kept totals".into(), result, detail }
}

fn digests(answer: Result<Vec<NodeDigest>, AdminError>) -> Check {
    let (result, detail) = match answer {
        Err(error) => (CheckResult::Warning, format!("replicas could not be compared: {error}")),
        Ok(digests) => compare(&digests),
    };
    Check { name: "replicas".into(), result, detail }
}

fn compare(digests: &[NodeDigest]) -> (CheckResult, String) {
    let known: Vec<(&str, &str)> =
        digests.iter().filter_map(|d| Some((d.node.as_str(), d.digest.as_deref()?))).collect();
    let silent: Vec<&str> = digests.iter().filter(|d| d.digest.is_none()).map(|d| d.node.as_str()).collect();
    let differing = known.iter().any(|(_, digest)| *digest != known[0].1);
    if differing {
        let all = known.iter().map(|(node, digest)| format!("{node} {digest}")).collect::<Vec<_>>().join(", ");
        return (CheckResult::Failed, format!("the replicas differ: {all}; provision the one in the minority afresh"));
    }
    match (known.len(), silent.is_empty()) {
        (n, true) => (CheckResult::Passed, format!("{n} of {n} replicas are equal")),
        (n, false) => {
            let who = silent.join(", ");
            (CheckResult::Warning, format!("{n} of {} replicas are equal; no digest from {who}", digests.len()))
        }
    }
}

fn cluster(state: ClusterState, verdict: &str) -> Check {
    let result = match state {
        ClusterState::Normal | ClusterState::Standalone => CheckResult::Passed,
        ClusterState::Degraded => CheckResult::Warning,
        _ => CheckResult::Failed,
    };
    Check { name: "cluster".into(), result, detail: verdict.to_owned() }
}

fn failed_actions(count: usize) -> Check {
    let (result, detail) = match count {
        0 => (CheckResult::Passed, "none".to_owned()),
        n => (CheckResult::Warning, format!("{n}: see `licraft ha status`")),
    };
    Check { name: "failed actions".into(), result, detail }
}

fn clock(ahead: u64) -> Check {
    let (result, detail) = match ahead / Millis::HOUR {
        _ if ahead == 0 => (CheckResult::Passed, "the active node's clock is in no doubt".to_owned()),
        hours => {
            let detail = format!(
                "the active node's clock is {hours} h ahead, and nothing has confirmed it; set it right, or run \
                 `licraft clock accept`"
            );
            (CheckResult::Failed, detail)
        }
    };
    Check { name: "clock".into(), result, detail }
}

fn alerts(open: usize) -> Check {
    let (result, detail) = match open {
        0 => (CheckResult::Passed, "none that nobody has acknowledged".to_owned()),
        n => (CheckResult::Warning, format!("{n} not acknowledged: see `licraft alert list`")),
    };
    Check { name: "alerts".into(), result, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(node: &str, digest: Option<&str>) -> NodeDigest {
        NodeDigest { node: node.into(), digest: digest.map(Into::into) }
    }

    #[test]
    fn differing_replicas_fail_and_silent_ones_warn() {
        assert_eq!(compare(&[digest("a", Some("1")), digest("b", Some("1"))]).0, CheckResult::Passed);
        assert_eq!(compare(&[digest("a", Some("1")), digest("b", None)]).0, CheckResult::Warning);
        assert_eq!(compare(&[digest("a", Some("1")), digest("b", Some("2"))]).0, CheckResult::Failed);
        assert_eq!(compare(&[]).0, CheckResult::Passed);
    }

    #[test]
    fn many_findings_are_counted() {
        let findings: Vec<String> = (0..12).map(|n| format!("finding {n}")).collect();
        let check = totals(&findings, 1);
        assert_eq!(check.result, CheckResult::Failed);
        assert!(check.detail.contains("finding 9; and 2 more"), "{}", check.detail);
    }
}
