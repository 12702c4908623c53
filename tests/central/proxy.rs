//! Synchronization by an HTTP proxy.

use super::forward::Proxy;
use super::*;

/// A name that resolves nowhere (RFC 6761, 6.4): only the proxy knows the way.
pub const HOST: &str = "central.invalid";

/// A server that knows central by [`HOST`] alone, with an account that was requested.
async fn scene(proxy: &str) -> (Central, Arc<Memory>, AccountId) {
    let central = Central::start().await;
    let ledger = server(SERVER, &format!("https://{HOST}"));
    let settings = Settings { proxy: proxy.into(), ..ledger.state().settings().clone() };
    ledger.must(Command::SetSettings { settings });
    let account = request_account(&ledger, "TEST", "Default");
    (central, ledger, account)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_registered_and_synchronized_by_a_proxy() {
    let (central, ledger, account) = scene("").await;
    let sealer = Sealer::generate();
    let direct = node(&ledger, &sealer, central.root());
    let error = direct.approve_account(account, "admin").await.unwrap_err();
    assert!(error.may_pass(), "{error}");

    let port = central.running.as_ref().unwrap().address.port();
    let proxy = Proxy::start("200 Connection established", port).await;
    let settings = Settings { proxy: proxy.url(), ..ledger.state().settings().clone() };
    ledger.must(Command::SetSettings { settings });
    let by_proxy = node(&ledger, &sealer, central.root());
    by_proxy.approve_account(account, "admin").await.unwrap();
    assert_eq!(by_proxy.synchronize(account, "admin").await.unwrap().seq, 1);
    assert_eq!(purchased(&ledger, account, "BASE"), 10);
    for (line, sent) in proxy.seen.lock().unwrap().iter() {
        assert_eq!(line, &format!("CONNECT {HOST}:443 HTTP/1.1"));
        assert_eq!(sent[0], 22, "a TLS handshake record (RFC 8446, 5.1)");
    }
    proxy.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_refuses_is_named_with_what_to_do() {
    let (central, ledger, account) = scene("").await;
    let (port, sealer) = (central.running.as_ref().unwrap().address.port(), Sealer::generate());
    for (status, says) in [
        ("403 Forbidden", "allow CONNECT to this host and port"),
        ("407 Proxy Authentication Required", "set them with `licraft settings set proxy-login @FILE`"),
    ] {
        let proxy = Proxy::start(status, port).await;
        let settings = Settings { proxy: proxy.url(), ..ledger.state().settings().clone() };
        ledger.must(Command::SetSettings { settings });
        let by_proxy = node(&ledger, &sealer, central.root());
        let error = match ledger.state().account(account).unwrap().status {
            AccountStatus::Requested => by_proxy.approve_account(account, "admin").await.unwrap_err(),
            _ => by_proxy.register(account, "admin").await.unwrap_err(),
        };
        assert!(!proxy.seen.lock().unwrap().is_empty(), "{status}: {error}");
        let text = error.to_string();
        assert!(text.contains(says) && text.contains(&format!("the proxy {}", proxy.url())), "{text}");
        proxy.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_is_told_the_name_and_password_that_are_set_and_sealed() {
    let (central, ledger, account) = scene("").await;
    let (port, sealer) = (central.running.as_ref().unwrap().address.port(), Sealer::generate());
    // "Aladdin:open sesame", as in RFC 7617, section 2.
    let proxy = Proxy::for_login("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", port).await;
    let set = |login: &str| {
        let sealed = sealer.seal(Settings::PROXY_LOGIN_CONTEXT, login.as_bytes());
        let settings = Settings { proxy: proxy.url(), proxy_login: Some(sealed), ..ledger.state().settings().clone() };
        ledger.must(Command::SetSettings { settings });
    };
    set("Aladdin:wrong");
    let error = node(&ledger, &sealer, central.root()).approve_account(account, "admin").await.unwrap_err().to_string();
    assert!(error.contains("does not take the name and password that are set as `proxy-login`"), "{error}");
    assert!(!error.contains("wrong"), "the password is told: {error}");
    set("Aladdin:open sesame");
    let by_proxy = node(&ledger, &sealer, central.root());
    by_proxy.register(account, "admin").await.unwrap();
    assert_eq!(by_proxy.synchronize(account, "admin").await.unwrap().seq, 1);
    proxy.task.abort();
}
