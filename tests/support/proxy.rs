//! An HTTP proxy (CONNECT, RFC 9110, 9.3.6) that alone knows the way.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// First line of every request, and what was sent through after it.
pub type Seen = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

pub struct Proxy {
    pub port: u16,
    pub seen: Seen,
    pub task: JoinHandle<()>,
}

/// What a proxy answers.
#[derive(Clone)]
enum Rule {
    Always(&'static str),
    /// 200 to whoever sends this value of `Proxy-Authorization`, 407 to others.
    Login(String),
}

impl Proxy {
    /// Answers every CONNECT with `status`; a 200 leads to `node`, whatever the name.
    pub async fn start(status: &'static str, node: u16) -> Self {
        Self::by(Rule::Always(status), node).await
    }

    /// Opens the way to `node` for whoever gives this `Proxy-Authorization`.
    #[allow(dead_code, reason = "not every suite has such a proxy")]
    pub async fn for_login(authorization: &str, node: u16) -> Self {
        Self::by(Rule::Login(authorization.into()), node).await
    }

    async fn by(rule: Rule, node: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Seen::default();
        let log = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(forward(stream, rule.clone(), node, Arc::clone(&log)));
            }
        });
        Self { port, seen, task }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

async fn forward(mut client: TcpStream, rule: Rule, node: u16, log: Seen) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8_lossy(&head);
    let line = head.lines().next().unwrap_or("").to_owned();
    let given = head.lines().filter_map(|line| line.split_once(": "));
    let given = given.filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization")).map(|(_, value)| value);
    let status = match &rule {
        Rule::Always(status) => status,
        Rule::Login(wanted) if given.eq([wanted.as_str()]) => "200 Connection established",
        Rule::Login(_) => "407 Proxy Authentication Required",
    };
    let at = {
        let mut log = log.lock().unwrap();
        log.push((line, Vec::new()));
        log.len() - 1
    };
    let opens = status.starts_with("200");
    let length = if opens { "" } else { "content-length: 0\r\n" };
    client.write_all(format!("HTTP/1.1 {status}\r\n{length}\r\n").as_bytes()).await.unwrap();
    if !opens {
        return;
    }
    let server = TcpStream::connect(("127.0.0.1", node)).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
            log.lock().unwrap()[at].1.extend_from_slice(&bytes[..read]);
            if to_server.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}
