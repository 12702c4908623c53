//! Before any service: establishes the caller, checks the role, and passes calls that need the active node on to it.

use super::caller::{ACTOR_KEY, Caller, Peer, ROLE_KEY};
use super::error::{AdminError, Kind};
use crate::license::{Action, Role, State};
use crate::raft::Ledger;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tower::{Layer, Service, ServiceExt};

/// Knows which node is active and how to reach it.
pub trait Forwarder: Send + Sync + 'static {
    /// Where calls about licensing are answered at this moment.
    fn route(&self) -> Route;
}

/// Where a call goes.
#[derive(Clone, Debug)]
pub enum Route {
    /// This node is active.
    Here,
    /// Over mutual TLS to the active node (see [`super::channel`]).
    To(Channel),
    /// There is no active node: why, and what to do.
    Nowhere(AdminError),
}

/// The layer that guards all services.
#[derive(Clone)]
pub struct Guard {
    forwarder: Arc<dyn Forwarder>,
    ledger: Arc<dyn Ledger>,
}

impl Guard {
    pub fn new(forwarder: Arc<dyn Forwarder>, ledger: Arc<dyn Ledger>) -> Self {
        Self { forwarder, ledger }
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, forwarder: self.forwarder.clone(), ledger: self.ledger.clone() }
    }
}

/// A service behind the guard.
#[derive(Clone)]
pub struct Guarded<S> {
    inner: S,
    forwarder: Arc<dyn Forwarder>,
    ledger: Arc<dyn Ledger>,
}

type Request = http::Request<Body>;
type Response = http::Response<Body>;

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<tonic::codegen::StdError> + Send,
{
    type Response = Response;
    type Error = tonic::codegen::StdError;
    type Future = BoxFuture<'static, Result<Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Readiness is awaited in `call`, on the clone that takes the request.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let inner = self.inner.clone();
        let (forwarder, state) = (self.forwarder.clone(), self.ledger.state());
        Box::pin(async move {
            let decision = admit(&mut request, &state).and_then(|way| match way {
                Way::Here => Ok(None),
                Way::Active { passed_on } => match forwarder.route() {
                    Route::Here => Ok(None),
                    // One hop at most: two nodes that each believe in the other must not play ball.
                    Route::To(_) if passed_on => Err(moved()),
                    Route::To(channel) => Ok(Some(channel)),
                    Route::Nowhere(error) => Err(error),
                },
            });
            match decision {
                Ok(None) => inner.oneshot(request).await.map_err(Into::into),
                Ok(Some(channel)) => Ok(pass_on(channel, request).await),
                Err(error) => Ok(tonic::Status::from(error).into_http()),
            }
        })
    }
}

/// Which node answers.
enum Way {
    /// The one that is asked.
    Here,
    Active {
        passed_on: bool,
    },
}

/// Establishes the caller and its right to make this call.
fn admit(request: &mut Request, state: &State) -> Result<Way, AdminError> {
    let peer = request.extensions().get::<Peer>().cloned();
    let peer = peer.ok_or_else(|| AdminError::new(Kind::Internal, "the connection has no identity"))?;
    let metadata = MetadataMap::from_headers(request.headers().clone());
    let caller = Caller::of(&peer, &metadata, state)?;
    let (service, method) = split(request.uri().path());
    if matches!(peer, Peer::Founder { .. }) && (service, method) != ("Cluster", "Preflight") {
        return Err(AdminError::new(Kind::Denied, format!("{} may not do this", caller.actor))
            .because("this node has just joined and knows no members yet")
            .hint("run `licraft ha deploy` on the active node first"));
    }
    let anywhere = service == "Cluster" && !matches!(method, "Remove" | "StandDown");
    let action = action(service, method);
    if !caller.role.may(action) {
        let roles = Role::ALL.into_iter().filter(|role| role.is_for_server() && role.may(action));
        let roles: Vec<&str> = roles.map(|role| role.as_str()).collect();
        return Err(AdminError::new(Kind::Denied, format!("{} may not do this", caller.actor))
            .because(format!("it needs the role {}, and the caller has {}", roles.join(" or "), caller.role))
            .hint(match peer {
                Peer::Node { witness: true, .. } => "run this on a data node: a witness is trusted with no change",
                _ => "use an identity with that role",
            }));
    }
    request.extensions_mut().insert(caller);
    Ok(if anywhere { Way::Here } else { Way::Active { passed_on: matches!(peer, Peer::Node { .. }) } })
}

/// `/licraft.admin.Tokens/List` is method `List` of `Tokens`.
fn split(path: &str) -> (&str, &str) {
    let (service, method) = path.trim_start_matches('/').rsplit_once('/').unwrap_or((path, ""));
    (service.rsplit('.').next().unwrap_or(service), method)
}

/// What a call does. One that is not listed is taken for the gravest.
fn action(service: &str, method: &str) -> Action {
    match (service, method) {
        ("Audit", _) => Action::ReadAudit,
        // Answers members alone, each for itself.
        ("Cluster", "CertifyNode") => Action::Look,
        (_, "List" | "ListSetAside" | "Show" | "Status" | "Get" | "History" | "Check" | "Usage") => Action::Look,
        ("Accounts", _) => Action::ManageAccounts,
        ("VirtualAccounts", _) => Action::ManageVirtualAccounts,
        ("Tokens", _) => Action::ManageTokens,
        ("Licenses", _) => Action::ManageLicenses,
        ("Instances", _) => Action::ManageInstances,
        ("Sync", _) => Action::Synchronize,
        ("Alerts", _) => Action::AcknowledgeAlerts,
        ("ApiClients", _) => Action::ManageApiClients,
        ("Users" | "AdminIdentities", _) => Action::ManageUsers,
        ("Settings", _) | ("Certificates", "ImportBrowser" | "ResetBrowser") => Action::ManageSettings,
        _ => Action::ManageCluster,
    }
}

/// Sends the call to the active node on behalf of its caller; the answer is passed back as it comes.
async fn pass_on(channel: Channel, mut request: Request) -> Response {
    if let Some(Caller { actor, role }) = request.extensions_mut().remove() {
        let mut metadata = MetadataMap::from_headers(std::mem::take(request.headers_mut()));
        metadata.insert_bin(ACTOR_KEY, MetadataValue::from_bytes(actor.as_bytes()));
        metadata.insert(ROLE_KEY, MetadataValue::from_static(role.as_str()));
        *request.headers_mut() = metadata.into_headers();
    }
    channel.oneshot(request).await.unwrap_or_else(|error| {
        let error = AdminError::new(Kind::NotActive, "the active node cannot be reached from here")
            .because(super::connect::causes(&error))
            .hint("repeat the command; if it goes on, look at `licraft ha status`");
        tonic::Status::from(error).into_http()
    })
}

fn moved() -> AdminError {
    AdminError::new(Kind::NotActive, "the active node changes just now").hint("repeat the command")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_for_all_and_the_cluster_for_administrators() {
        for (path, wanted) in [
            ("/licraft.admin.Tokens/List", Action::Look),
            ("/licraft.admin.Tokens/Create", Action::ManageTokens),
            ("/licraft.admin.Cluster/Status", Action::Look),
            ("/licraft.admin.Cluster/Stop", Action::ManageCluster),
            ("/licraft.admin.Settings/Set", Action::ManageSettings),
            ("/licraft.admin.Audit/Export", Action::ReadAudit),
            ("/licraft.admin.AdminIdentities/Create", Action::ManageUsers),
            ("/licraft.admin.Users/ResetTotp", Action::ManageUsers),
            ("/licraft.admin.Users/SetPreferences", Action::ManageUsers),
            ("/licraft.admin.Licenses/Label", Action::ManageLicenses),
            ("/licraft.admin.Licenses/Usage", Action::Look),
            ("/licraft.admin.Later/Anything", Action::ManageCluster),
        ] {
            let (service, method) = split(path);
            assert_eq!(action(service, method), wanted, "{path}");
        }
    }

    #[test]
    fn a_node_that_nobody_here_can_know_yet_may_only_ask_for_the_checks() {
        let call = |peer: Peer, path: &str| {
            let mut request = Request::new(tonic::body::Body::empty());
            *request.uri_mut() = path.parse().unwrap();
            request.extensions_mut().insert(peer);
            admit(&mut request, &State::default()).map(drop).map_err(|error| error.kind)
        };
        let founder = Peer::Founder { node: 1 };
        assert_eq!(call(founder.clone(), "/licraft.admin.Cluster/Preflight"), Ok(()));
        for method in ["Cluster/Status", "Cluster/Initialize", "Tokens/Preflight"] {
            assert_eq!(call(founder.clone(), &format!("/licraft.admin.{method}")), Err(Kind::Denied), "{method}");
        }
    }
}
