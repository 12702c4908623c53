//! etcd with three nodes, doing the same checkout as one transaction that compares the pool's revision.

use super::report::{Row, Runs};
use anyhow::{Context, Result, bail};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tonic::transport::Channel;

/// The few messages of etcd's v3 API that are used, by their field numbers.
mod api {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct KeyValue {
        #[prost(int64, tag = "3")]
        pub mod_revision: i64,
        #[prost(bytes = "vec", tag = "5")]
        pub value: Vec<u8>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct RangeRequest {
        #[prost(bytes = "vec", tag = "1")]
        pub key: Vec<u8>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct RangeResponse {
        #[prost(message, repeated, tag = "2")]
        pub kvs: Vec<KeyValue>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct PutRequest {
        #[prost(bytes = "vec", tag = "1")]
        pub key: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub value: Vec<u8>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct PutResponse {}
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Compare {
        /// 0: equal.
        #[prost(int32, tag = "1")]
        pub result: i32,
        /// 2: mod revision.
        #[prost(int32, tag = "2")]
        pub target: i32,
        #[prost(bytes = "vec", tag = "3")]
        pub key: Vec<u8>,
        #[prost(int64, tag = "6")]
        pub mod_revision: i64,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct RequestOp {
        #[prost(message, optional, tag = "2")]
        pub put: Option<PutRequest>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TxnRequest {
        #[prost(message, repeated, tag = "1")]
        pub compare: Vec<Compare>,
        #[prost(message, repeated, tag = "2")]
        pub success: Vec<RequestOp>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TxnResponse {
        #[prost(bool, tag = "2")]
        pub succeeded: bool,
    }
}

/// Three members on loopback, ended when dropped.
struct Cluster {
    members: Vec<Child>,
    _dir: tempfile::TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

fn client_url(i: usize) -> String {
    format!("http://127.0.0.1:{}", 22379 + 2 * i)
}

impl Cluster {
    async fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("licraft-bench-etcd").tempdir()?;
        let peer = |i: usize| format!("http://127.0.0.1:{}", 22380 + 2 * i);
        let all = (0..3).map(|i| format!("n{i}={}", peer(i))).collect::<Vec<_>>().join(",");
        let mut cluster = Self { members: Vec::new(), _dir: dir };
        for i in 0..3 {
            let data = cluster._dir.path().join(format!("n{i}"));
            let mut command = Command::new("etcd");
            command.args(["--name", &format!("n{i}"), "--data-dir", &data.to_string_lossy()]);
            command.args(["--listen-client-urls", &client_url(i), "--advertise-client-urls", &client_url(i)]);
            command.args(["--listen-peer-urls", &peer(i), "--initial-advertise-peer-urls", &peer(i)]);
            command.args(["--initial-cluster", &all, "--initial-cluster-state", "new"]);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            cluster.members.push(command.spawn().context("starting etcd")?);
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(channel) = connect().await
                && put(channel, b"hot", b"0").await.is_ok()
            {
                return Ok(cluster);
            }
            if Instant::now() > deadline {
                bail!("etcd did not start within 30 s");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn connect() -> Result<Channel> {
    Ok(Channel::from_shared(client_url(0))?.connect().await?)
}

async fn call<Q, A>(channel: Channel, path: &'static str, request: Q) -> Result<A>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + Default + 'static,
{
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await?;
    let codec = tonic_prost::ProstCodec::<Q, A>::default();
    let path = http::uri::PathAndQuery::from_static(path);
    Ok(grpc.unary(tonic::Request::new(request), path, codec).await?.into_inner())
}

async fn put(channel: Channel, key: &[u8], value: &[u8]) -> Result<()> {
    let request = api::PutRequest { key: key.to_vec(), value: value.to_vec() };
    call::<_, api::PutResponse>(channel, "/etcdserverpb.KV/Put", request).await?;
    Ok(())
}

/// One checkout; false when another client was faster and it must be tried again.
async fn checkout(channel: &Channel, n: u64) -> Result<bool> {
    let range = api::RangeRequest { key: b"hot".to_vec() };
    let pool: api::RangeResponse = call(channel.clone(), "/etcdserverpb.KV/Range", range).await?;
    let pool = pool.kvs.first().context("the pool is missing")?;
    let used: u64 = std::str::from_utf8(&pool.value)?.parse()?;
    let op = |key: String, value: String| api::RequestOp {
        put: Some(api::PutRequest { key: key.into_bytes(), value: value.into_bytes() }),
    };
    let compare = api::Compare { result: 0, target: 2, key: b"hot".to_vec(), mod_revision: pool.mod_revision };
    let success = vec![
        op("hot".into(), (used + 1).to_string()),
        op(format!("instance/{}", n % 100_000), used.to_string()),
        op(format!("event/{n}"), "checkout".into()),
    ];
    let txn = api::TxnRequest { compare: vec![compare], success };
    let reply: api::TxnResponse = call(channel.clone(), "/etcdserverpb.KV/Txn", txn).await?;
    Ok(reply.succeeded)
}

async fn load(clients: usize, time: Duration, plain: bool) -> Result<f64> {
    let done = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + time;
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..clients {
        let (channel, done) = (connect().await?, done.clone());
        tasks.spawn(async move {
            let mut n = client as u64;
            while Instant::now() < end {
                n += clients as u64;
                let granted = if plain {
                    put(channel.clone(), format!("plain/{n}").as_bytes(), b"checkout").await.map(|()| true)
                } else {
                    checkout(&channel, n).await
                };
                if granted? {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok::<(), anyhow::Error>(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(done.load(Ordering::Relaxed) as f64 / time.as_secs_f64())
}

/// Measures the cluster at each number of clients: checkouts on one hot pool, and plain puts.
pub async fn measure(runs: usize, time: Duration) -> Result<Option<Vec<Row>>> {
    if Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return Ok(None);
    }
    let _cluster = Cluster::start().await?;
    let mut rows = Vec::new();
    for (plain, what) in [(false, HOT_POOL), (true, "plain puts")] {
        for clients in [1, 16, 64] {
            let mut rate = Runs::default();
            for _ in 0..runs {
                rate.0.push(load(clients, time, plain).await?);
            }
            let what = work(what, clients);
            rows.push(Row { what, unit: "/s", runs: rate, target: None });
        }
    }
    Ok(Some(rows))
}

const HOT_POOL: &str = "compare-and-swap on one hot pool";

fn work(what: &str, clients: usize) -> String {
    format!("etcd, three nodes, {what}, {clients} client(s)")
}

/// How the report calls the work of so many clients on one pool.
pub fn hot_pool(clients: usize) -> String {
    work(HOT_POOL, clients)
}
