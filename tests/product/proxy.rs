//! `licraft agent` behind an HTTP proxy (CONNECT, RFC 9110, 9.3.6).

use super::forward::Proxy;
use super::server::{BASE, Node, Site, TOKEN};
use std::path::Path;
use std::process::Output;
use tokio::net::TcpListener;

/// A name that resolves nowhere (RFC 6761, 6.4): only the proxy knows the way.
const HOST: &str = "licenses.invalid";

/// Runs `licraft agent` as a product's script would.
pub async fn agent(args: &[&str]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_licraft"));
    command.arg("agent").args(args);
    // A proxy in the environment must not help.
    for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Registers at `HOST` by `proxy`.
async fn register(site: &Site, dir: &Path, proxy: Option<&str>, seconds: &str) -> Output {
    let (ca, root, state) = (dir.join("ca.pem"), dir.join("root.pem"), dir.join("state"));
    std::fs::write(&ca, site.ca_pem()).unwrap();
    std::fs::write(&root, licraft::pki::ca::certificates_pem([&site.root_der[..]])).unwrap();
    let url = format!("https://{HOST}/SmartTransport");
    let [ca, root, state] = [&ca, &root, &state].map(|p| p.to_str().unwrap());
    let mut args = vec!["register", "--dir", state, "--url", &url, "--ca", ca, "--root", root, "--token", TOKEN];
    args.extend(["--pid", "ROUTER", "--sn", "SN1", "--timeout", seconds]);
    args.extend(proxy.into_iter().flat_map(|p| ["--proxy", p]));
    agent(&args).await
}

async fn serve_as_host(site: &Site) -> Node {
    let node = site.serve().await;
    node.tls.renew(&site.identity(HOST), &[b"http/1.1"]).unwrap();
    node
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn the_agent_goes_through_a_proxy_and_remembers_it() {
    let site = Site::new();
    let node = serve_as_host(&site).await;
    let proxy = Proxy::start("200 Connection established", node.port).await;
    let dir = tempfile::tempdir().unwrap();
    let registered = register(&site, dir.path(), Some(&proxy.url()), "30").await;
    assert!(registered.status.success(), "{}", stderr(&registered));
    let state = dir.path().join("state");
    let license = format!("{BASE}=1");
    let requested = agent(&["request", "--dir", state.to_str().unwrap(), "--license", &license]).await;
    assert!(requested.status.success(), "{}", stderr(&requested));
    assert_eq!((site.instances(), site.in_use(BASE)), (1, 1));
    let seen = proxy.seen.lock().unwrap().clone();
    assert!(seen.len() >= 2, "both commands went by the proxy");
    for (line, sent) in seen {
        assert_eq!(line, format!("CONNECT {HOST}:443 HTTP/1.1"));
        assert_eq!(sent[0], 22, "a TLS handshake record (RFC 8446, 5.1)");
        assert!(!sent.windows(TOKEN.len()).any(|w| w == TOKEN.as_bytes()), "the proxy can read the token");
    }
    proxy.task.abort();
    node.stop().await;
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_with_what_to_do() {
    let site = Site::new();
    let node = serve_as_host(&site).await;
    for (status, says) in [
        ("403 Forbidden", "did not open a connection"),
        ("502 Bad Gateway", "did not open a connection"),
        ("407 Proxy Authentication Required", "wants a name and a password"),
    ] {
        let proxy = Proxy::start(status, node.port).await;
        let dir = tempfile::tempdir().unwrap();
        let refused = register(&site, dir.path(), Some(&proxy.url()), "1").await;
        let error = stderr(&refused);
        assert!(!refused.status.success(), "{status}");
        for part in [says, HOST, &format!("the proxy 127.0.0.1:{}", proxy.port)] {
            assert!(error.contains(part), "{part:?} is not in {error}");
        }
        assert!(!proxy.seen.lock().unwrap().is_empty());
        proxy.task.abort();
    }
    assert_eq!(site.instances(), 0);
    node.stop().await;
}

#[tokio::test]
async fn a_dead_proxy_is_named_and_its_password_is_not() {
    let site = Site::new();
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let dir = tempfile::tempdir().unwrap();
    let proxy = format!("http://user:secret@127.0.0.1:{port}");
    let failed = register(&site, dir.path(), Some(&proxy), "1").await;
    let error = stderr(&failed);
    assert!(!failed.status.success());
    assert!(error.contains(&format!("the proxy 127.0.0.1:{port}")), "{error}");
    assert!(error.contains("Connection refused") && !error.contains("CONNECT") && !error.contains("secret"), "{error}");
}
