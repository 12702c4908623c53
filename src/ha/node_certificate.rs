//! The certificate by which the other nodes know this one: renewed in good time, for the key that it has. A data node does
//! it by the cluster CA's key; a witness, which does not have that, asks the active node.

use super::control::internal;
use super::identity::{NODE_CERTIFICATE_DAYS, NodeIdentity, replace_node_certificate};
use super::pairing::{node_certificate, node_hosts, node_life};
use super::running::{active_name, member_channel};
use super::shared::Shared;
use crate::admin::{AdminError, Kind, on_behalf};
use crate::license::{Member, Millis, State};
use crate::pki::PkiError;
use crate::pki::ca;
use crate::pki::jws::SigningKey;
use crate::pki::tls::{Identity as TlsIdentity, NodeTls};
use crate::proto::admin::CertifyNodeRequest;
use crate::proto::admin::cluster_client::ClusterClient;
use crate::raft::Replica;
use anyhow::{Context, Result};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// So long before its end it is renewed: a third of its life, in which a node may be off.
const RENEWAL: u64 = NODE_CERTIFICATE_DAYS / 3 * Millis::DAY;
/// How often its end is looked at, and a renewal that failed is tried again.
const LOOK: Duration = Duration::from_secs(60);

/// Renews the certificate of a data node where that is due. Before the node starts: one that was off for long comes with a
/// certificate that has ended.
///
/// # Errors
/// When it cannot be read, made or written.
pub(super) fn renew_own(shared: &Shared, identity: &NodeIdentity) -> Result<()> {
    let now = (shared.clock)();
    let (tls, Some(authority)) = (identity.tls.load(), &identity.ca) else { return Ok(()) };
    if !due(&tls, now)? {
        return Ok(());
    }
    let (config, file) = (&shared.config, &identity.file);
    let hosts = node_hosts(config.address, config.raft.listen.ip(), &file.name);
    let life = node_life(since(&tls)?, now);
    let cert =
        node_certificate(authority, &csr(&tls, &file.name)?, file.node_id, &file.cluster_id, &file.name, hosts, life)?;
    take(shared, identity, cert)
}

/// Keeps it renewed, until `stop`.
pub(super) async fn keep(
    shared: Arc<Shared>,
    identity: Arc<NodeIdentity>,
    node_tls: NodeTls,
    replica: Arc<Replica>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let before = identity.tls.load_full();
        let renewed = match identity.ca {
            Some(_) => renew_own(&shared, &identity),
            None => ask(&shared, &identity, &node_tls, &replica).await,
        };
        if let Err(error) = renewed {
            tracing::warn!(error = format!("{error:#}"), "this node's certificate could not be renewed; trying again");
        }
        let tls = identity.tls.load_full();
        if !Arc::ptr_eq(&before, &tls) {
            match node_tls.renew(&identity.ca_cert, &tls) {
                Ok(()) => tracing::info!("this node's certificate was renewed"),
                Err(error) => tracing::error!(%error, "the renewed certificate is unusable; the old one stays"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Has the active node certify this witness again, where that is due.
async fn ask(shared: &Shared, identity: &NodeIdentity, node_tls: &NodeTls, replica: &Replica) -> Result<()> {
    let tls = identity.tls.load_full();
    if !due(&tls, (shared.clock)())? {
        return Ok(());
    }
    let active = active_name(replica).context("no node is active now")?;
    let channel = member_channel(&shared.config, replica, node_tls, &active).context("the active node is no member")?;
    let request = CertifyNodeRequest { csr: csr(&tls, &identity.file.name)?.into() };
    let reply = ClusterClient::new(channel).certify_node(on_behalf(request, "renewal")).await?;
    take(shared, identity, reply.into_inner().certificate.to_vec())
}

fn due(tls: &TlsIdentity, now: Millis) -> Result<bool, PkiError> {
    Ok(now.plus(RENEWAL) >= ca::not_after(leaf(tls)?)?)
}

fn since(tls: &TlsIdentity) -> Result<Millis, PkiError> {
    ca::not_before(leaf(tls)?)
}

fn leaf(tls: &TlsIdentity) -> Result<&[u8], PkiError> {
    tls.chain.first().map(Vec::as_slice).ok_or(PkiError::Key("the node has no certificate"))
}

fn csr(tls: &TlsIdentity, name: &str) -> Result<Vec<u8>, PkiError> {
    ca::csr(&SigningKey::from_pkcs8_der(&tls.key_pkcs8)?, name)
}

fn take(shared: &Shared, identity: &NodeIdentity, cert: Vec<u8>) -> Result<()> {
    let key_pkcs8 = identity.tls.load().key_pkcs8.clone();
    if ca::certificate_key(&cert)? != SigningKey::from_pkcs8_der(&key_pkcs8)?.public_key() {
        anyhow::bail!("the new certificate is for another key");
    }
    replace_node_certificate(&shared.config.data_dir, &cert)?;
    identity.tls.store(Arc::new(TlsIdentity { chain: vec![cert], key_pkcs8 }));
    Ok(())
}

/// Certifies the member called `name`, which has shown that it is that, for the key in its request.
///
/// # Errors
/// When it is no member, or this node has no CA.
pub(super) fn certify(
    identity: &NodeIdentity,
    state: &State,
    name: &str,
    csr: &[u8],
    now: Millis,
) -> Result<Vec<u8>, AdminError> {
    let Some(authority) = &identity.ca else {
        return Err(AdminError::new(Kind::State, "a witness certifies nobody").hint("ask a data node"));
    };
    let member = state.members().find(|member| !member.retired && member.name == name).ok_or_else(|| {
        AdminError::new(Kind::Denied, format!("{name} is no member")).hint("provision that node afresh")
    })?;
    let (public, cluster) = addresses(member)?;
    let hosts = node_hosts(public, cluster, name);
    let cluster_id = &identity.file.cluster_id;
    let life = node_life(member.joined, now);
    node_certificate(authority, csr, member.node_id, cluster_id, name, hosts, life).map_err(internal)
}

fn addresses(member: &Member) -> Result<(IpAddr, IpAddr), AdminError> {
    let cluster: SocketAddr = member.cluster_address.parse().map_err(internal)?;
    Ok((member.public_address.parse().map_err(internal)?, cluster.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::ha::control::Control;
    use crate::license::{Changes, Command, Request, Settings, Stamp, User};
    use crate::pki::ca::Authority;
    use crate::pki::seal::Sealer;
    use std::path::Path;

    const START: Millis = Millis(1_760_000_000_000);

    /// A data node at a time.
    fn node(dir: &Path, now: Millis) -> Arc<Shared> {
        let text = format!(
            "name = \"primary-node\"\ndata_dir = \"{}\"\nrole = \"data\"\naddress = \"10.0.0.5\"\n",
            dir.display()
        );
        Shared::new(
            Config::parse(&text).unwrap(),
            Arc::new(move || now),
            None,
            tokio::sync::mpsc::unbounded_channel().0,
        )
    }

    fn created(dir: &Path) -> NodeIdentity {
        let ca = Authority::self_signed("cluster CA", 7_300, START).unwrap();
        let control = Control::new(node(dir, START));
        let identity = control.founder(ca, Sealer::generate(), &Settings::default()).unwrap();
        identity.create(dir).unwrap();
        NodeIdentity::load(dir).unwrap()
    }

    #[test]
    fn a_data_node_renews_its_certificate_in_its_last_third_and_after_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let identity = created(dir.path());
        let first = identity.tls.load_full();
        renew_own(&node(dir.path(), START.plus(59 * Millis::DAY)), &identity).unwrap();
        assert!(Arc::ptr_eq(&first, &identity.tls.load_full()), "not yet");
        for (days, before) in [(60, &first.chain), (400, &first.chain)] {
            let now = START.plus(days * Millis::DAY);
            renew_own(&node(dir.path(), now), &identity).unwrap();
            let tls = identity.tls.load_full();
            assert_ne!(&tls.chain, before);
            assert_eq!(tls.key_pkcs8, first.key_pkcs8);
            assert_eq!(ca::not_after(&tls.chain[0]).unwrap(), Millis(now.plus(90 * Millis::DAY).0 / 1000 * 1000));
            assert!(ca::not_before(&tls.chain[0]).unwrap() <= START, "nobody sees it as one of the future");
            NodeTls::new(&identity.ca_cert, &tls).unwrap();
            let kept = NodeIdentity::load(dir.path()).unwrap();
            assert_eq!(kept.tls.load().chain, tls.chain, "it outlives a restart");
        }
    }

    #[test]
    fn a_member_is_certified_under_its_own_name_and_id_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let identity = created(dir.path());
        let mut state = State::default();
        let administrator = User::new("a".into(), crate::license::Role::SystemAdministrator, "x".into(), false);
        let member = |node_id, name: &str, retired| Command::PutMember {
            member: Member {
                node_id,
                name: name.into(),
                public_address: "10.0.0.15".into(),
                cluster_address: "192.168.1.15:7441".into(),
                witness: true,
                joined: START,
                retired,
            },
        };
        let commands = [
            Command::Initialize { server_uid: "00".into(), administrator },
            member(3, "witness", false),
            member(4, "gone", false),
            Command::RetireMember { node_id: 4 },
        ];
        for command in commands {
            let request = Request { id: 0, actor: "test".into(), command };
            state.apply(Stamp::at(START), &request, &mut Changes::new());
        }
        let key = SigningKey::generate(crate::pki::jws::Algorithm::Es256).unwrap();
        let request = ca::csr(&key, "whoever").unwrap();
        let cert = certify(&identity, &state, "witness", &request, START).unwrap();
        let (id, cluster) = crate::pki::tls::node_of_certificate(&cert).unwrap();
        assert_eq!((id, &cluster), (3, &identity.file.cluster_id));
        for name in ["gone", "stranger"] {
            assert_eq!(certify(&identity, &state, name, &request, START).unwrap_err().kind, Kind::Denied, "{name}");
        }
    }
}
